//! A validator loses its disk, or what it has signed: it comes back with its keys, as with
//! `--recover`, fetches what it lacks from the others, and votes again soon, for nothing that it may
//! have voted for before. What all were told goes through the observer at the end of the run, as
//! always.

use std::time::Duration;

use anyhow::ensure;
use lockstep_types::CommitteeId;

use crate::damage::{self, Damage};
use crate::pulse::now_us;
use crate::run::Run;
use crate::tally::Kind;

/// Until a colleague has its vote. Windows are half a second long here; starting a process, opening
/// an empty database and connecting to everybody come before the first of them.
const VOTES: Kind = Kind {
    name: "without its disk or record: votes again",
    bound: Duration::from_secs(5),
};
/// Barriers that may pass from the moment at which it is connected until it votes.
const MAX_BARRIERS: u64 = 3;
/// A validator that needs longer than this will not come back.
const HOPELESS: Duration = Duration::from_secs(30);

/// What a validator loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All its data.
    Everything,
    /// The safety file; the database is there.
    Record,
    /// What the safety file says; the database is there.
    RecordFlipped,
}

impl Loss {
    pub(crate) const ALL: [Loss; 3] = [Loss::Everything, Loss::Record, Loss::RecordFlipped];
}

/// A random validator of a committee.
pub(crate) fn one(run: &mut Run, committee: CommitteeId, loss: Loss) -> anyhow::Result<()> {
    let members = run.network.members(committee);
    let index = run.pick(&members);
    run.calm()?;
    run.all_commit_after(now_us())?;
    let name = run.network.cluster.places()[index].name.clone();
    run.kill(index);
    let view = run.network.view(committee); // no vote of before is for a later one
    match loss {
        Loss::Everything => {
            run.load.history.damaged(&name);
            run.network.cluster.wipe(index)?;
        }
        Loss::Record => damage::without_record(run, index, Damage::SafetyDeleted)?,
        Loss::RecordFlipped => damage::without_record(run, index, Damage::SafetyFlipped)?,
    }
    let connecting = run
        .network
        .wait_for(index, HOPELESS, "connecting", |status| {
            usize::from(status.connected) == members.len()
        })?;
    let from = run.pulse.record(committee);
    let started = std::time::Instant::now();
    run.network.wait_for_vote(index, view, HOPELESS)?;
    run.tally.note(VOTES, connecting + started.elapsed());
    let passed = run.pulse.record(committee).saturating_sub(from);
    ensure!(
        passed <= MAX_BARRIERS,
        "{name}, {loss:?}: {passed} barriers from its connection to its first vote"
    );
    run.catches_up(index)?;
    Ok(())
}
