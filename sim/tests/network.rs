//! A two-shard network with its beacon, without faults: latency in network delays, transfers
//! within and across shards, and silence when there is nothing to do.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_ledger::{Action, Transaction};
use lockstep_shard::{Peer, Phase};
use lockstep_sim::{Links, World, WorldSpec};
use lockstep_types::{AssetId, CommitteeId, MemberIndex, ShardId, Time, WindowNumber};

const DELAY: Duration = Duration::from_millis(20);

fn world(seed: u64) -> World {
    let chain = DevelopmentSpec {
        depth: 0,
        interval: Duration::from_secs(1),
        ..DevelopmentSpec::default()
    };
    World::new(WorldSpec {
        links: Links::exact(DELAY),
        sync: Duration::ZERO,
        ..WorldSpec::calm(seed, &chain)
    })
}

fn shard(shard: u16, member: u8) -> Peer {
    Peer {
        committee: CommitteeId::Shard(ShardId::new(shard)),
        member: MemberIndex::new(member),
    }
}

fn transfer(world: &World, from: &str, to: &str, nonce: u64, amount: u128) -> Transaction {
    let from = world.keys().account(from).unwrap();
    let to = world.keys().account(to).unwrap().account;
    use lockstep_types::Signer;
    let signer = world.engine().signer_for(from.key.public_key());
    let actions = vec![Action::Transfer {
        to,
        asset: AssetId::NATIVE,
        amount,
    }];
    Transaction::sign(
        &world.genesis().hash(),
        &signer,
        nonce,
        WindowNumber::new(1_000),
        actions,
    )
}

#[test]
fn barriers_follow_each_other_and_transfers_settle() {
    let mut world = world(1);
    world.run_until(Time::from_millis(1_300)).unwrap();
    let local = transfer(&world, "alice", "carol", 0, 5_000_000_000);
    let across = transfer(&world, "alice", "bob", 1, 7_000_000_000);
    assert!(world.submit(&shard(0, 0), local).is_some());
    assert!(world.submit(&shard(0, 0), across).is_some());
    world.run_until(Time::from_millis(6_000)).unwrap();
    assert!(world.checkers.agreement.record() >= WindowNumber::new(3));
    assert_eq!(world.checkers.exactly_once.applied(), 2);
    assert_eq!(world.checkers.exactly_once.credited(), 1);
    let bob = world.keys().account("bob").unwrap().account;
    for member in 0..4 {
        let executor = world.executor(&shard(1, member)).unwrap();
        let held = executor.ledger().account(&bob).unwrap().native();
        assert_eq!(held, 10_007_000_000_000);
    }
    let ledgers = [shard(0, 0), shard(1, 0)];
    let ledgers = ledgers
        .iter()
        .map(|peer| world.executor(peer).unwrap().ledger());
    world.checkers.exactly_once.check_total(ledgers).unwrap();
}

fn stamps(world: &World, phase: Phase, barrier: u64) -> Vec<(Peer, Time)> {
    let barrier = WindowNumber::new(barrier);
    let of = |(peer, stamp): &(Peer, _)| -> Option<(Peer, Time)> {
        let stamp: &lockstep_shard::PhaseStamp = stamp;
        (stamp.phase == phase && stamp.barrier == barrier).then_some((*peer, stamp.at))
    };
    world.phases.iter().filter_map(of).collect()
}

#[test]
fn a_block_is_final_everywhere_four_delays_after_its_proposal() {
    let mut world = world(2);
    world.run_until(Time::from_millis(4_000)).unwrap();
    // The seal of window 1 is proposed the moment its time has come.
    let proposed = world.genesis().time.after(world.genesis().interval);
    let sealed = stamps(&world, Phase::Sealed, 1);
    assert_eq!(sealed.len(), 8, "at every member of both shards");
    for (peer, at) in sealed {
        assert_eq!(at.since(proposed), 4 * DELAY, "{peer:?}");
    }
}

#[test]
fn ten_delays_from_a_seal_to_the_next_window() {
    let mut world = world(2);
    world.run_until(Time::from_millis(4_000)).unwrap();
    let first = |phase| {
        let stamps = stamps(&world, phase, 1);
        stamps.into_iter().map(|(_, at)| at).min().unwrap()
    };
    let sealed = first(Phase::Sealed);
    // Proposal at t, committed at t + 4δ; signed there, recorded 1 + 4 later, received 1 later:
    // the block that opens the next window is proposed at t + 10δ, and committed 4 later like the
    // seal before it.
    assert_eq!(first(Phase::Recorded).since(sealed), 5 * DELAY);
    assert_eq!(first(Phase::Received).since(sealed), 6 * DELAY);
    let applied = stamps(&world, Phase::Applied, 1);
    assert_eq!(applied.len(), 8);
    for (peer, at) in applied {
        assert_eq!(at.since(sealed), 10 * DELAY, "{peer:?}");
    }
}

#[test]
fn an_idle_network_makes_seals_records_and_what_commits_them() {
    let mut world = world(4);
    world.run_until(Time::from_millis(20_500)).unwrap();
    let records = world.checkers.agreement.record().get();
    assert!(records >= 14, "a barrier per window and ten delays");
    for peer in world.peers().collect::<Vec<_>>() {
        let blocks = world.member(&peer).unwrap().status().committed.get();
        // A shard: seal, naming block, and a block on each that commits it. The beacon: the record
        // and a block on it. The last block of all waits for company.
        let per_record = if peer.committee == CommitteeId::Beacon {
            2
        } else {
            4
        };
        let complete = records * per_record - 1;
        let begun = complete..complete + per_record;
        assert!(
            begun.contains(&blocks),
            "{peer:?}: {blocks} blocks for {records} records"
        );
    }
    // And between barriers nothing happens at all.
    let steps = world.steps();
    world.run_until(Time::from_millis(20_505)).unwrap();
    assert!(world.steps() - steps < 200);
}

#[test]
fn one_seed_one_history() {
    let run = || {
        let mut world = world(3);
        world.run_until(Time::from_millis(3_000)).unwrap();
        let transaction = transfer(&world, "alice", "bob", 0, 1_000_000_000);
        world.submit(&shard(0, 1), transaction).unwrap();
        world.run_until(Time::from_millis(6_000)).unwrap();
        (world.steps(), world.event_digest())
    };
    assert_eq!(run(), run());
}
