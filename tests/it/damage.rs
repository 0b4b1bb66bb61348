//! What can happen to the files of a stopped validator. It must refuse to start, by a name, and
//! refuse again when it is started again; or come back right. It must never sign against itself,
//! which the judgement at the end of the run sees.
//!
//! Each damage is done to one validator at a time, which counts as the faulty one of its committee.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lockstep_node::exit::ExitCode;
use lockstep_sim::Random;

use crate::run::Run;
use crate::tally::Kind;

/// A start reads the whole disk; then the others tell what was missed.
const HEALED: Kind = Kind {
    name: "damaged files: refused, or back",
    bound: Duration::from_secs(10),
};
/// What a refusal may be called.
const NAMED: [ExitCode; 3] = [ExitCode::Storage, ExitCode::Broken, ExitCode::SecondCopy];

/// What is done, in the directory of one committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// `safety` is gone.
    SafetyDeleted,
    /// The second half of `safety` is gone.
    SafetyTruncated,
    /// One bit in each slot of `safety`.
    SafetyFlipped,
    /// The two halves of `safety` have changed places.
    SafetyTurned,
    /// `safety` is that of a colleague.
    SafetySwapped,
    /// The committee's directory is gone, and the rest of the home is there.
    AllDeleted,
    /// The database is gone.
    DatabaseDeleted,
    /// The file that names the database's parts is gone.
    CurrentDeleted,
    /// One bit in the list of the database's parts.
    ManifestFlipped,
    /// The second half of the newest write-ahead log is gone.
    LogTruncated,
    /// One bit in the middle of it.
    LogFlipped,
    /// Bits all over the tables.
    TablesFlipped,
}

impl Damage {
    const ALL: [Damage; 12] = [
        Damage::SafetyDeleted,
        Damage::SafetyTruncated,
        Damage::SafetyFlipped,
        Damage::SafetyTurned,
        Damage::SafetySwapped,
        Damage::AllDeleted,
        Damage::DatabaseDeleted,
        Damage::CurrentDeleted,
        Damage::ManifestFlipped,
        Damage::LogTruncated,
        Damage::LogFlipped,
        Damage::TablesFlipped,
    ];

    /// Those after which nothing can be known any more of what was signed.
    fn must_be_refused(self) -> bool {
        !matches!(
            self,
            Damage::SafetyTurned
                | Damage::LogTruncated
                | Damage::LogFlipped
                | Damage::TablesFlipped
        )
    }

    fn apply(self, data: &Path, colleague: &Path, random: &mut Random) -> anyhow::Result<()> {
        let safety = data.join("safety");
        let database = data.join("db");
        match self {
            Damage::SafetyDeleted => fs::remove_file(safety)?,
            Damage::SafetyTruncated => halve(&safety)?,
            Damage::SafetyFlipped => {
                let mut bytes = fs::read(&safety)?;
                let half = bytes.len() / 2;
                // Within the record of each slot: what is behind it is unused.
                flip(&mut bytes[32..64], random);
                flip(&mut bytes[half + 32..half + 64], random);
                fs::write(safety, bytes)?;
            }
            Damage::SafetyTurned => {
                let mut bytes = fs::read(&safety)?;
                let half = bytes.len() / 2;
                bytes.rotate_left(half);
                fs::write(safety, bytes)?;
            }
            Damage::SafetySwapped => {
                fs::copy(colleague.join("safety"), safety)?;
            }
            Damage::AllDeleted => fs::remove_dir_all(data)?,
            Damage::DatabaseDeleted => fs::remove_dir_all(database)?,
            Damage::CurrentDeleted => fs::remove_file(database.join("CURRENT"))?,
            Damage::ManifestFlipped => {
                for file in files(&database, |name| name.starts_with("MANIFEST"))? {
                    flip_file(&file, usize::MAX, random)?;
                }
            }
            Damage::LogTruncated => halve(&newest_log(&database)?)?,
            Damage::LogFlipped => flip_file(&newest_log(&database)?, usize::MAX, random)?,
            Damage::TablesFlipped => {
                for file in files(&database, |name| name.ends_with(".sst"))? {
                    flip_file(&file, 512, random)?;
                }
            }
        }
        Ok(())
    }
}

/// Every damage once, each to another validator.
pub(crate) fn every_kind(run: &mut Run) -> anyhow::Result<()> {
    for damage in Damage::ALL {
        one(run, damage)?;
    }
    old_copy(run)
}

/// Does this damage to the safety file of a stopped validator, which refuses to start, and starts it
/// as with `--recover`.
pub(crate) fn without_record(run: &mut Run, index: usize, damage: Damage) -> anyhow::Result<()> {
    let (data, colleague) = directories(run, index);
    damage.apply(&data, &colleague, &mut run.random)?;
    let ended = ends(run, index)?;
    ensure!(is_named(ended), "{damage:?}: ended with {ended}");
    Ok(run.network.cluster.recover(index)?)
}

/// One damage that is drawn.
pub(crate) fn any(run: &mut Run) -> anyhow::Result<()> {
    let damage = *run.random.pick(&Damage::ALL);
    one(run, damage)
}

fn one(run: &mut Run, damage: Damage) -> anyhow::Result<()> {
    run.calm()?;
    run.sleep(600, 700); // a start empties the write-ahead log; every window writes to it
    let index = run.any_validator();
    let (data, colleague) = directories(run, index);
    run.kill(index);
    let aside = tempfile::tempdir()?;
    copy(&data, aside.path())?;
    let place = run.network.cluster.places()[index].name.clone();
    run.load.history.damaged(&place);
    damage.apply(&data, &colleague, &mut run.random)?;
    let started = Instant::now();
    let ended = start(run, index).with_context(|| format!("{damage:?} at {place}"))?;
    run.tally.note(HEALED, started.elapsed());
    let Some(code) = ended else {
        ensure!(
            !damage.must_be_refused(),
            "{damage:?}: {place} starts as if nothing had happened"
        );
        return Ok(());
    };
    ensure!(is_named(code), "{damage:?}: {place} ended with {code}");
    // A supervisor starts it again, and again. The database may have been made anew meanwhile, and
    // then the safety record knows better.
    run.load.history.damaged(&place);
    let again = start(run, index)?;
    ensure!(
        again.is_some_and(is_named),
        "{damage:?}: {place} ended with {code}, and then with {again:?}"
    );
    // It has signed nothing since, so these are its newest files.
    run.network.cluster.kill(index);
    run.load.history.damaged(&place);
    replace(&data, aside.path())?;
    match start(run, index)? {
        None => Ok(()),
        Some(code) => bail!("{damage:?}: {place}, as it was before, ended with {code}"),
    }
}

/// A copy from before is put back. It is whole, and only the others know that it is old: the start
/// that asks them ends before it signs, and so does every later one until a person has looked.
fn old_copy(run: &mut Run) -> anyhow::Result<()> {
    run.calm()?;
    let index = run.any_validator();
    let (data, _) = directories(run, index);
    let committee = run.network.cluster.places()[index].committee;
    let (name, held) = {
        let place = &run.network.cluster.places()[index];
        (place.name.clone(), place.home.held_file())
    };
    run.kill(index);
    let (old, newest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    copy(&data, old.path())?;
    let view = run.network.view(committee);
    ensure!(start(run, index)?.is_none(), "{name} is whole");
    run.network.wait_for_vote(index, view, HEALED.bound)?;
    run.kill(index);
    copy(&data, newest.path())?;
    // Until it has asked the others, it answers from what it finds.
    run.load.history.damaged(&name);
    replace(&data, old.path())?;
    for attempt in ["the old copy", "the old copy once more"] {
        let ended = ends(run, index)?;
        ensure!(
            ended == ExitCode::SecondCopy as i32,
            "{attempt} of {name} ended with {ended}"
        );
    }
    replace(&data, newest.path())?;
    fs::remove_file(held)?;
    ensure!(start(run, index)?.is_none(), "{name} is whole again");
    Ok(())
}

/// Starts a validator that must end by itself; its exit code.
pub(crate) fn ends(run: &mut Run, index: usize) -> anyhow::Result<i32> {
    run.restart(index)?;
    let started = Instant::now();
    loop {
        if let Some(code) = run.network.cluster.exit_code(index) {
            return Ok(code);
        }
        let waited = started.elapsed();
        ensure!(waited < HEALED.bound, "still running after {waited:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_named(code: i32) -> bool {
    NAMED.iter().any(|named| *named as i32 == code)
}

/// The committee's directory of a validator, and that of its neighbour in the committee.
fn directories(run: &Run, index: usize) -> (PathBuf, PathBuf) {
    let places = run.network.cluster.places();
    let committee = places[index].committee;
    let members = run.network.members(committee);
    let neighbour = members.iter().find(|member| **member != index);
    let neighbour = *neighbour.expect("a committee of four");
    (
        places[index].home.committee_data(committee),
        places[neighbour].home.committee_data(committee),
    )
}

/// Starts a validator and waits: its exit code when it ends, nothing when it has caught up.
fn start(run: &mut Run, index: usize) -> anyhow::Result<Option<i32>> {
    run.restart(index)?;
    let started = Instant::now();
    let committee = run.network.cluster.places()[index].committee;
    let target = run.network.height(committee);
    loop {
        if let Some(code) = run.network.cluster.exit_code(index) {
            return Ok(Some(code));
        }
        let status = run.network.status(index);
        if status.is_some_and(|status| status.height >= target && status.connected >= 3) {
            return Ok(None);
        }
        let waited = started.elapsed();
        ensure!(
            waited < 3 * HEALED.bound,
            "neither up nor down for {waited:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = usize::try_from(random.below(bytes.len() as u64)).expect("an index");
    bytes[at] ^= 1 << random.below(8);
}

/// One bit in every `each` bytes, or one in the middle third.
fn flip_file(file: &Path, each: usize, random: &mut Random) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    ensure!(bytes.len() >= 3, "{} is empty", file.display());
    if each > bytes.len() {
        let third = bytes.len() / 3;
        flip(&mut bytes[third..2 * third], random);
    } else {
        for part in bytes.chunks_mut(each) {
            flip(part, random);
        }
    }
    Ok(fs::write(file, bytes)?)
}

fn halve(file: &Path) -> anyhow::Result<()> {
    let file = fs::File::options().write(true).open(file)?;
    Ok(file.set_len(file.metadata()?.len() / 2)?)
}

fn files(directory: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The newest write-ahead log that holds something.
fn newest_log(database: &Path) -> anyhow::Result<PathBuf> {
    let mut logs = files(database, |name| name.ends_with(".log"))?;
    logs.retain(|log| fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0));
    logs.pop().context("no write-ahead log")
}

/// Puts a copy in the place of a directory, which may be gone.
pub(crate) fn replace(directory: &Path, by: &Path) -> anyhow::Result<()> {
    if directory == by {
        return Ok(());
    }
    if directory.try_exists()? {
        fs::remove_dir_all(directory)?;
    }
    copy(by, directory)
}

pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
