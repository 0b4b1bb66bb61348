//! Full disks: validators whose data is on small file systems of their own, which are filled under
//! load and freed again. They stand still, say so, and go on by themselves; or, when the disk fills
//! up faster than they look, stop by the right name and come back once there is room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lockstep_node::config::NodeConfig;
use lockstep_node::exit::ExitCode;

use crate::damage::copy;
use crate::pulse::now_us;
use crate::run::Run;
use crate::tally::Kind;

/// A shard without quorum, until there is room again.
const FREED: Kind = Kind {
    name: "disks of two members full, and freed",
    bound: Duration::from_secs(5),
};
/// Reads its disk first.
const BACK: Kind = Kind {
    name: "a disk filled to the last byte, and freed",
    bound: Duration::from_secs(10),
};

/// The small file systems. What a short run writes is a tenth of this.
const SIZE_MIB: u64 = 320;
/// Where their validators stand still.
const MIN_FREE_MIB: u64 = 96;
/// Between two pieces of what fills them: slow enough to be seen in time.
const FILL_EVERY: Duration = Duration::from_millis(20);
const PIECE: usize = 4 << 20;

/// How long a validator may take to notice.
const NOTICE: Duration = Duration::from_secs(10);
/// How long a shard without quorum is watched.
const WATCH: Duration = Duration::from_secs(1);

/// A file system in memory. It is gone when this is dropped, which must be after the run.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one. Only the superuser can.
    pub(crate) fn mount() -> anyhow::Result<Self> {
        let place = tempfile::tempdir()?;
        let done = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={SIZE_MIB}m"),
                "lockstep-test",
            ])
            .arg(place.path())
            .status()?;
        ensure!(done.success(), "cannot mount a small file system: {done}");
        Ok(SmallDisk(place))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn open(&self) -> io::Result<File> {
        File::options()
            .create(true)
            .append(true)
            .open(self.filler())
    }

    /// Everything that is left, at once.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = self.open()?;
        for piece in [PIECE, 4_096, 1] {
            loop {
                match file.write_all(&vec![7; piece]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What cannot be unmounted here goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Puts a validator's data on a small disk.
pub(crate) fn move_to(run: &mut Run, index: usize, disk: &SmallDisk) -> anyhow::Result<()> {
    run.kill(index);
    let home = run.network.cluster.places()[index].home.clone();
    let there = disk.0.path().join("data");
    copy(&home.data(), &there)?;
    fs::remove_dir_all(home.data())?;
    std::os::unix::fs::symlink(&there, home.data())?;
    let file = home.config_file();
    let mut config = NodeConfig::read(&file)?;
    config.storage.min_free_mib = MIN_FREE_MIB;
    fs::write(file, config.to_toml())?;
    run.restart(index)?;
    run.catches_up(index)?;
    Ok(())
}

/// Two members of a shard run out of room, so that it has no quorum; then there is room again.
pub(crate) fn shard_halts_and_resumes(
    run: &mut Run,
    members: [(usize, &SmallDisk); 2],
) -> anyhow::Result<()> {
    let committee = run.network.cluster.places()[members[0].0].committee;
    run.commit_after(&[committee], now_us())?;
    for (index, disk) in members {
        fill_until_noticed(run, index, disk)?;
    }
    let height = run.network.height(committee);
    std::thread::sleep(WATCH);
    let later = run.network.height(committee);
    ensure!(
        later <= height + 2,
        "{committee} went from {height} to {later} with half of it out of room"
    );
    for (_, disk) in members {
        disk.free()?;
    }
    run.resumes(FREED, &[committee])?;
    for (index, _) in members {
        run.catches_up(index)?;
        ensure!(run.network.cluster.exit_code(index).is_none(), "it stopped");
    }
    Ok(())
}

/// One disk is full from one moment to the next. The others go on. The validator may see it before
/// a write fails: the database keeps some room ahead of its log.
pub(crate) fn filled_to_the_last_byte(
    run: &mut Run,
    index: usize,
    disk: &SmallDisk,
) -> anyhow::Result<()> {
    let committee = run.network.cluster.places()[index].committee;
    disk.fill()?;
    let ended = until("notice", || {
        let code = run.network.cluster.exit_code(index);
        code.map(Some)
            .or_else(|| is_full(run, index).then_some(None))
    })?;
    run.commit_after(&[committee], now_us())?;
    if let Some(code) = ended {
        ensure!(code == ExitCode::Full as i32, "it ended with {code}");
        run.restart(index)?;
        let again = until("refusal", || run.network.cluster.exit_code(index))?;
        ensure!(
            again == ExitCode::Full as i32,
            "it ended with {code}, then {again}"
        );
    }
    disk.free()?;
    let freed = Instant::now();
    if ended.is_some() {
        run.restart(index)?;
    }
    run.catches_up(index)?;
    run.tally.note(BACK, freed.elapsed());
    Ok(())
}

fn fill_until_noticed(run: &Run, index: usize, disk: &SmallDisk) -> anyhow::Result<()> {
    let mut file = disk.open()?;
    until("notice", || {
        if is_full(run, index) {
            return Some(Ok(()));
        }
        std::thread::sleep(FILL_EVERY);
        file.write_all(&vec![7; PIECE]).err().map(Err)
    })?
    .context("there was no room left before it was noticed")
}

fn is_full(run: &Run, index: usize) -> bool {
    let status = run.network.status(index);
    let blocked = status.and_then(|status| status.blocked);
    blocked.is_some_and(|why| why.contains("disk full"))
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(started.elapsed() < NOTICE, "no {what} within {NOTICE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
