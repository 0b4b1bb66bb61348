//! A two-shard network with its beacon, without faults: latency in network delays, transfers
//! within and across shards, and silence when there is nothing to do.

use core::time::Duration;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::DevelopmentSpec;
use lockstep_ledger::{Action, Transaction};
use lockstep_shard::{Peer, Phase};
use lockstep_sim::{Chain, Links, World, WorldSpec};
use lockstep_types::{AssetId, CommitteeId, MemberIndex, ShardId, Time, WindowNumber};

const DELAY: Duration = Duration::from_millis(20);

fn world(seed: u64) -> World {
    World::new(WorldSpec {
        seed,
        chain: Chain::new(&DevelopmentSpec {
            depth: 0,
            interval: Duration::from_secs(1),
            time: Time::from_millis(1_000),
            ..DevelopmentSpec::default()
        }),
        links: Links::exact(DELAY),
        sync: Duration::ZERO,
        timers: TimerConfig::DEFAULT,
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

#[test]
fn ten_delays_from_a_seal_to_the_next_window() {
    let mut world = world(2);
    world.run_until(Time::from_millis(4_000)).unwrap();
    let first = |phase| {
        let stamps = world.phases.iter().map(|(_, stamp)| stamp);
        stamps
            .filter(|s| s.phase == phase && s.barrier == WindowNumber::new(1))
            .map(|s| s.at)
            .min()
    };
    let sealed = first(Phase::Sealed).unwrap();
    let recorded = first(Phase::Recorded).unwrap();
    let received = first(Phase::Received).unwrap();
    // Proposal at t, committed at t + 4δ; signed there, recorded 1 + 4 later, received 1 later:
    // the block that opens the next window is proposed at t + 10δ.
    assert_eq!(recorded.since(sealed), 5 * DELAY);
    assert_eq!(received.since(sealed), 6 * DELAY);
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
