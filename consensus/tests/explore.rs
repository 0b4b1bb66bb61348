//! Worlds drawn from seeds: messages are lost, late, doubled and out of order, replicas crash and
//! come back, clocks of disks differ. Agreement, order, proofs and "durable before sent" are
//! asserted by the world at every step; after healing, everybody must catch up and commit.

use lockstep_consensus::Message;
use lockstep_types::Height;

use crate::common::{Chaos, Random, World};

/// `LOCKSTEP_SEED=n` runs one world and prints its trace when it fails; `LOCKSTEP_SEEDS=n` runs
/// that many.
fn seeds() -> Vec<u64> {
    let read = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    match read("LOCKSTEP_SEED") {
        Some(seed) => vec![seed],
        None => (0..read("LOCKSTEP_SEEDS").unwrap_or(150)).collect(),
    }
}

#[test]
fn chaos_then_everybody_catches_up() {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| explore(seed));
        assert!(outcome.is_ok(), "fails with LOCKSTEP_SEED={seed}");
    }
}

fn explore(seed: u64) {
    let mut random = Random::new(seed);
    let size = 4 + random.below(4) as usize;
    let mut world = World::new(size);
    world.sync = core::time::Duration::from_millis(random.below(20));
    let slowest = if random.percent(20) { 2_000 } else { 100 };
    world.chaos = Some(Chaos {
        loss: random.below(30),
        repeat: random.below(30),
        longest_ms: 1 + random.below(slowest),
        random: Random::new(seed + 1_000_000),
    });
    let crashes = random.percent(70);
    for number in 0..60 {
        world.submit(number);
        world.run_ms(random.below(400));
        let index = random.below(size as u64) as usize;
        if crashes && random.percent(15) && world.is_running(index) {
            world.crash(index);
        }
        let index = random.below(size as u64) as usize;
        if !world.is_running(index) && random.percent(50) {
            world.restart_from(index, random.below(80) as usize);
        }
    }
    heal(&mut world);
    // What only a crashed member held is handed in again; somebody alone with work cannot move the
    // committee, which is what spreading it is for.
    (0..60).for_each(|number| world.submit(number));
    world.submit(1_000);
    world.run_ms(20_000);
    check_caught_up(&world);
}

/// One member is hostile: it signs whatever may confuse the others, and shows each of them
/// something else.
#[test]
fn a_hostile_member_neither_splits_nor_stops_the_others() {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| explore_hostile(seed));
        assert!(outcome.is_ok(), "fails with LOCKSTEP_SEED={seed}");
    }
}

fn explore_hostile(seed: u64) {
    let mut random = Random::new(seed);
    let size = 4 + random.below(4) as usize;
    let mut world = World::new(size);
    world.sync = core::time::Duration::from_millis(random.below(10));
    world.chaos = Some(Chaos {
        loss: random.below(10),
        repeat: random.below(20),
        longest_ms: 1 + random.below(100),
        random: Random::new(seed + 2_000_000),
    });
    let hostile = random.below(size as u64) as usize;
    world.crash(hostile);
    for number in 0..60 {
        world.submit(number);
        for _ in 0..4 {
            misbehave(&mut world, &mut random, hostile);
            world.run_ms(random.below(60));
        }
    }
    world.chaos = None;
    world.submit(1_000);
    world.run_ms(40_000);
    assert!(world.stopped.is_empty(), "{}", world.trace);
    for index in (0..size).filter(|index| *index != hostile) {
        let committed = &world.replica(index).application().committed;
        assert!(
            committed.contains(&1_000),
            "member {index}\n{}",
            world.trace
        );
    }
    let blamed = |author: &lockstep_types::MemberIndex| author.get() == hostile;
    assert!(
        world
            .evidence
            .iter()
            .all(|(_, evidence)| blamed(&evidence.author()))
    );
}

fn misbehave(world: &mut World, random: &mut Random, hostile: usize) {
    let size = world.size() as u64;
    let victim = (hostile + 1 + random.below(size - 1) as usize) % world.size();
    let listeners: Vec<usize> = (0..world.size())
        .filter(|peer| *peer != hostile && random.percent(60))
        .collect();
    let view = world.replica(victim).view();
    let record = world.replica(victim).record().clone();
    match random.below(6) {
        0 | 1 => {
            for half in [0, 1] {
                let halves = listeners.iter().copied().filter(|peer| peer % 2 == half);
                let numbers = [random.below(1_000_000) as u32];
                propose_as(
                    world,
                    hostile,
                    victim,
                    &halves.collect::<Vec<_>>(),
                    &numbers,
                );
            }
        }
        2 => vote_as(world, random, hostile, &listeners),
        3 => {
            // A timeout with the lowest certificate that can be shown.
            let tc = record.high_tc.filter(|tc| view.follows(tc.view));
            let high_qc = if tc.is_some() {
                world.root_qc()
            } else {
                record.high_qc
            };
            if high_qc.view < view && (tc.is_some() || view.follows(high_qc.view)) {
                let timeout = world.forge_timeout(hostile, view.get(), &high_qc, tc);
                let message = Message::Timeout(Box::new(timeout));
                world.send_as(hostile, &listeners, message);
            }
        }
        4 => {
            // Whatever was ever said, again and to others.
            if !world.wire.is_empty() {
                let index = random.below(world.wire.len() as u64) as usize;
                let message = world.wire[index].message.clone();
                world.send_as(hostile, &listeners, message);
            }
        }
        _ => {
            let tip = record.high_qc.block;
            let from = Height::new(random.below(20));
            let message = Message::BlockRequest { from, tip };
            world.send_as(hostile, &listeners, message);
        }
    }
}

/// A block for the view the victim is in, if that is the hostile member's turn.
fn propose_as(world: &mut World, hostile: usize, victim: usize, to: &[usize], numbers: &[u32]) {
    let replica = world.replica(victim);
    let (view, justify) = (replica.view(), replica.high_qc().clone());
    if replica.leader().get() != hostile {
        return;
    }
    let Some(parent) = replica.block(&justify.block).cloned() else {
        return;
    };
    let tc = replica
        .high_tc()
        .filter(|tc| !view.follows(justify.view) && view.follows(tc.view));
    let tc = tc.cloned();
    let block = world.forge_block(view.get(), &parent, numbers);
    let proposal = world.forge_proposal(block, justify, tc);
    world.send_as(hostile, to, Message::Proposal(Box::new(proposal)));
}

/// A vote for some proposal of late, whatever was voted for before.
fn vote_as(world: &mut World, random: &mut Random, hostile: usize, to: &[usize]) {
    let late = world.wire.iter().rev().take(200);
    let blocks: Vec<_> = late
        .filter_map(|sent| match &sent.message {
            Message::Proposal(proposal) => Some(proposal.block.clone()),
            _ => None,
        })
        .collect();
    if !blocks.is_empty() {
        let block = &blocks[random.below(blocks.len() as u64) as usize];
        let vote = world.forge_vote(hostile, block);
        world.send_as(hostile, to, Message::Vote(vote));
    }
}

fn heal(world: &mut World) {
    world.chaos = None;
    for index in 0..world.size() {
        if !world.is_running(index) {
            world.restart(index);
        }
    }
    world.connect_all();
}

fn check_caught_up(world: &World) {
    world.check_no_equivocation();
    assert!(world.stopped.is_empty(), "{}", world.trace);
    for index in 0..world.size() {
        let committed = &world.replica(index).application().committed;
        assert!(
            committed.contains(&1_000),
            "member {index} did not commit after healing\n{}",
            world.trace
        );
    }
    assert!(
        world.is_idle(),
        "not silent after the work is done\n{}",
        world.trace
    );
    assert!(world.evidence.is_empty(), "nobody broke a rule");
}
