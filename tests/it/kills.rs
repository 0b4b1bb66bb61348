//! kill -9 under load: one validator, one of every committee, all of them, and the leader in the
//! middle of a barrier. A kill keeps the page cache, so what this shows is that a process can end
//! between any two instructions; the loss of unsynced writes is the simulator's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lockstep_client::Client;
use lockstep_types::CommitteeId;

use crate::network::CALL;
use crate::pulse::now_us;
use crate::run::Run;
use crate::tally::Kind;

/// A committee whose validator is started again commits, as it did before.
const ONE: Kind = Kind {
    name: "a random validator killed",
    bound: Duration::from_secs(5),
};
/// Each committee has lost as many as it can.
const ONE_OF_EACH: Kind = Kind {
    name: "one of every committee killed",
    bound: Duration::from_secs(5),
};
/// Counted from the start of the last process, which reads its disk first.
const ALL: Kind = Kind {
    name: "all killed",
    bound: Duration::from_secs(5),
};
/// Two views time out at most: the one the leader was in, and one it would have led next.
const LEADER: Kind = Kind {
    name: "the leader killed in a barrier: longest gap",
    bound: Duration::from_secs(2),
};
/// Until it has executed what the others have, and all are connected.
const BACK: Kind = Kind {
    name: "a killed validator is back",
    bound: Duration::from_secs(10),
};

/// A barrier comes every half second; it is watched for this long.
const BARRIER_PATIENCE: Duration = Duration::from_secs(20);
/// Kills that came after the record, for each one that is wanted.
const MISSES: u32 = 20;

/// A random validator, and starts it again soon. Others may still be coming back.
pub(crate) fn one(run: &mut Run) -> anyhow::Result<()> {
    let index = run.any_validator();
    run.kill(index);
    run.sleep(0, 1_000);
    run.restart(index)?;
    let committee = run.network.cluster.places()[index].committee;
    run.resumes(ONE, &[committee])
}

/// A random validator, and waits until it votes.
pub(crate) fn one_and_its_vote(run: &mut Run) -> anyhow::Result<()> {
    let index = run.any_validator();
    let committee = run.network.cluster.places()[index].committee;
    run.kill(index);
    run.sleep(500, 1_500);
    run.all_commit_after(now_us())?;
    let view = run.network.view(committee);
    run.restart(index)?;
    let took = run.catches_up(index)?;
    run.tally.note(BACK, took);
    run.network.wait_for_vote(index, view, BACK.bound)
}

/// One of every committee at once.
pub(crate) fn one_of_each(run: &mut Run) -> anyhow::Result<()> {
    run.calm()?;
    let committees = run.committees();
    let mut killed = Vec::new();
    for committee in &committees {
        let members = run.network.members(*committee);
        killed.push(run.pick(&members));
    }
    for index in &killed {
        run.kill(*index);
    }
    run.resumes(ONE_OF_EACH, &committees)?;
    for index in killed {
        run.restart(index)?;
    }
    Ok(())
}

/// All of them, and starts them again at once.
pub(crate) fn all(run: &mut Run) -> anyhow::Result<()> {
    for index in 0..run.validators() {
        run.kill(index);
    }
    for index in 0..run.validators() {
        run.restart(index)?;
    }
    let committees = run.committees();
    run.resumes(ALL, &committees)
}

/// The leader of a shard or of the beacon while the shard has sealed and the record has not come.
/// A kill that came too late is tried again.
pub(crate) fn leader_in_a_barrier(run: &mut Run, of: CommitteeId) -> anyhow::Result<()> {
    for _ in 0..MISSES {
        run.calm()?;
        if kill_leader(run, of)? {
            return Ok(());
        }
    }
    anyhow::bail!("the record came before the kill {MISSES} times")
}

fn kill_leader(run: &mut Run, of: CommitteeId) -> anyhow::Result<bool> {
    let shards = run.shards();
    let shard = match of {
        CommitteeId::Beacon => *run.random.pick(&shards),
        shard => shard,
    };
    let members = run.network.members(shard);
    let watched = run.pick(&members);
    let watch = client(run, watched)?;
    let (barrier, leader) = run.network.runtime.block_on(sealed(&watch))?;
    let leader = match of {
        CommitteeId::Beacon => run.leader(of),
        _ => members[usize::from(leader)],
    };
    let killed_us = now_us();
    run.pulse.mark();
    run.kill(leader);
    for shard in &shards {
        let next = barrier.max(run.pulse.record(*shard)) + 1;
        run.pulse.wait_for_record(*shard, next, BARRIER_PATIENCE)?;
    }
    let alive = members.into_iter().find(|index| *index != leader);
    let alive = client(run, alive.context("a committee of one")?)?;
    let phases = run.network.runtime.block_on(alive.barriers(barrier))?;
    let phases = phases.iter().find(|phases| phases.number == barrier);
    let applied = phases.and_then(|phases| phases.applied_us);
    let hit = applied.is_some_and(|applied| applied > killed_us);
    if hit {
        run.note_gap(LEADER);
    }
    run.restart(leader)?;
    Ok(hit)
}

fn client(run: &Run, index: usize) -> anyhow::Result<Client> {
    let place = &run.network.cluster.places()[index];
    Ok(Client::new(&[place.url()], CALL)?)
}

/// Asks without a pause until the shard has sealed and waits for the record; returns its number
/// and the shard's leader.
async fn sealed(watch: &Client) -> anyhow::Result<(u64, u8)> {
    let started = Instant::now();
    loop {
        let status = watch.status().await?;
        let replica = status.replicas.first().context("a replica")?;
        if replica.sealed > replica.record {
            return Ok((replica.sealed, replica.leader));
        }
        ensure!(started.elapsed() < BARRIER_PATIENCE, "no seal: {replica:?}");
    }
}
