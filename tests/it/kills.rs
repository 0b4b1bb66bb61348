//! kill -9 of validators under load. A kill keeps the page cache, so what this shows is that a
//! process can end between any two instructions; the loss of unsynced writes is the simulator's.

use std::time::{Duration, Instant};

use anyhow::ensure;
use lockstep_types::{CommitteeId, ShardId};

use crate::Options;
use crate::load::Load;
use crate::network::Network;

const ACCOUNTS: u32 = 8;

/// How long a restarted validator may take until it has executed what the others had and votes.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How long a whole network may take to its first commit.
const RESUME: Duration = Duration::from_secs(5);

pub(crate) fn of_one(options: Options) -> anyhow::Result<()> {
    let mut network = Network::start(true, ACCOUNTS)?;
    let mut load = Load::start(&network, u64::MAX)?;
    let validators = network.cluster.places().len();
    let mut slowest = Duration::ZERO;
    for kill in 0..options.kills as usize {
        // Every validator in turn, with a stride that visits all of them.
        let index = kill * 5 % validators;
        let committee = network.cluster.places()[index].committee;
        std::thread::sleep(Duration::from_millis(300));
        network.cluster.kill(index);
        let before = load.journal.len();
        std::thread::sleep(Duration::from_millis(1_500));
        ensure!(
            load.journal.len() > before,
            "nothing was final while one validator was down"
        );
        let view = network.view(committee);
        let restarted = Instant::now();
        network
            .cluster
            .restart(index)
            .map_err(|stop| anyhow::anyhow!("{stop}"))?;
        let target = network.height(committee);
        network.wait_for(index, CATCH_UP, "catching up", |s| s.executed >= target)?;
        let left = CATCH_UP.saturating_sub(restarted.elapsed());
        network.wait_for_vote(index, view, left)?;
        slowest = slowest.max(restarted.elapsed());
    }
    load.stop(&network)?;
    ensure!(
        network.cluster.failed().is_none(),
        "{:?}",
        network.cluster.failed()
    );
    let credited = load.journal.check_credits(&network)?;
    settle(&network)?;
    load.journal.check(&network)?;
    network.check_supply()?;
    network.check_barriers()?;
    network.cluster.stop();
    let statements = network.check_statements()?;
    println!(
        "  {} kills, {} acknowledged, {credited} credited, slowest return {slowest:.1?}, \
         {statements} statements without contradiction",
        options.kills,
        load.journal.len()
    );
    Ok(())
}

pub(crate) fn of_all(options: Options) -> anyhow::Result<()> {
    let mut network = Network::start(true, ACCOUNTS)?;
    let mut load = Load::start(&network, u64::MAX)?;
    let validators = network.cluster.places().len();
    let kills = options.kills.div_ceil(3);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(1_200));
        for index in 0..validators {
            network.cluster.kill(index);
        }
        for index in 0..validators {
            network
                .cluster
                .restart(index)
                .map_err(|stop| anyhow::anyhow!("{stop}"))?;
        }
        let started = Instant::now();
        let (before, patience) = (load.journal.len(), RESUME + Duration::from_secs(5));
        while load.journal.len() == before && started.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        ensure!(
            load.journal.len() > before,
            "nothing was final within {patience:?}"
        );
        slowest = slowest.max(started.elapsed());
    }
    load.stop(&network)?;
    let credited = load.journal.check_credits(&network)?;
    settle(&network)?;
    load.journal.check(&network)?;
    network.check_supply()?;
    network.check_barriers()?;
    network.cluster.stop();
    let statements = network.check_statements()?;
    println!(
        "  {kills} kills of all, {} acknowledged, {credited} credited, slowest resumption \
         {slowest:.1?}, {statements} statements without contradiction",
        load.journal.len()
    );
    Ok(())
}

/// Waits until every validator of a shard has executed what the first one has.
fn settle(network: &Network) -> anyhow::Result<()> {
    for shard in 0..network.cluster.genesis().shard_count() {
        let committee = CommitteeId::Shard(ShardId::new(shard));
        let target = network.height(committee);
        for index in network.members(committee) {
            network.wait_for(index, CATCH_UP, "catching up", |s| s.executed >= target)?;
        }
    }
    Ok(())
}
