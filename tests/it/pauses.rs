//! SIGSTOP and SIGCONT: a validator that is not gone but says nothing, and then finds the world
//! moved on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lockstep_types::CommitteeId;

use crate::run::Run;
use crate::tally::Kind;

const LEADER: Kind = Kind {
    name: "a shard's leader paused: longest gap",
    bound: Duration::from_secs(5),
};
const FOLLOWER: Kind = Kind {
    name: "a follower paused: longest gap",
    bound: Duration::from_secs(5),
};
const BEACON_LEADER: Kind = Kind {
    name: "the beacon's leader paused: longest gap",
    bound: Duration::from_secs(5),
};
/// Until it has executed what the others have, and all are connected.
const BACK: Kind = Kind {
    name: "a paused validator is back",
    bound: Duration::from_secs(10),
};

/// The leader of a shard.
pub(crate) fn leader(run: &mut Run, pause: Duration) -> anyhow::Result<()> {
    let shards = run.shards();
    let shard = *run.random.pick(&shards);
    let leader = run.leader(shard);
    paused(run, leader, pause, LEADER)
}

/// A member of a shard that does not lead.
pub(crate) fn follower(run: &mut Run, pause: Duration) -> anyhow::Result<()> {
    let shards = run.shards();
    let shard = *run.random.pick(&shards);
    let leader = run.leader(shard);
    let mut others = run.network.members(shard);
    others.retain(|index| *index != leader);
    let follower = run.pick(&others);
    paused(run, follower, pause, FOLLOWER)
}

/// The leader of the beacon.
pub(crate) fn beacon_leader(run: &mut Run, pause: Duration) -> anyhow::Result<()> {
    let leader = run.leader(CommitteeId::Beacon);
    paused(run, leader, pause, BEACON_LEADER)
}

fn paused(run: &mut Run, index: usize, pause: Duration, kind: Kind) -> anyhow::Result<()> {
    run.calm()?;
    run.pulse.mark();
    stop_for(run, index, pause)?;
    let took = run.catches_up(index)?;
    run.tally.note(BACK, took);
    run.note_gap(kind);
    Ok(())
}

/// Stops a process for a while. A shell does both, so that nothing stays stopped when this
/// process ends in between.
fn stop_for(run: &Run, index: usize, pause: Duration) -> anyhow::Result<()> {
    let process = run.network.cluster.process_id(index);
    let process = process.context("it does not run")?.to_string();
    let status = Command::new("sh")
        .args(["-c", "kill -STOP $1; sleep $2; kill -CONT $1", "pause"])
        .arg(process)
        .arg(pause.as_secs_f32().to_string())
        .status()?;
    ensure!(status.success(), "kill: {status}");
    Ok(())
}
