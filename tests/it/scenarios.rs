//! The short form of every fault, each on a network of its own.

use std::time::Duration;

use lockstep_types::CommitteeId;

use crate::run::Run;
use crate::space::SmallDisk;
use crate::wipes::Loss;
use crate::{copies, damage, kills, lines, pauses, space, wipes};

/// Any will do; a soak draws its own.
const SEED: u64 = 7;

pub(crate) fn killed_validators_come_back() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    for _ in 0..3 {
        kills::one_and_its_vote(&mut run)?;
    }
    for _ in 0..4 {
        kills::one(&mut run)?;
        run.sleep(200, 1_000);
    }
    kills::one_of_each(&mut run)?;
    run.pass()
}

pub(crate) fn a_killed_network_comes_back() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    for _ in 0..3 {
        run.sleep(500, 1_500);
        kills::all(&mut run)?;
    }
    run.pass()
}

pub(crate) fn leaders_killed_in_a_barrier_are_replaced() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    let shards = run.shards();
    for of in [
        CommitteeId::Beacon,
        shards[0],
        CommitteeId::Beacon,
        shards[1],
    ] {
        kills::leader_in_a_barrier(&mut run, of)?;
    }
    run.pass()
}

pub(crate) fn paused_validators_catch_up() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    let pause = Duration::from_secs(2);
    pauses::leader(&mut run, pause)?;
    pauses::follower(&mut run, pause)?;
    pauses::beacon_leader(&mut run, pause)?;
    run.pass()
}

pub(crate) fn broken_lines_heal() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    let shards = run.shards();
    let time = Duration::from_secs(3);
    lines::split(&mut run, shards[0], time)?;
    lines::split(&mut run, CommitteeId::Beacon, time)?;
    lines::refused(&mut run, shards[1], time)?;
    lines::halves(&mut run, time)?;
    lines::mute(&mut run, time)?;
    lines::deaf(&mut run, time)?;
    lines::slow(&mut run, time)?;
    lines::trickle(&mut run, time)?;
    run.pass()
}

pub(crate) fn damaged_files_are_refused_or_healed() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    damage::every_kind(&mut run)?;
    run.pass()
}

pub(crate) fn a_copied_home_is_noticed() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    copies::run_beside_each_other(&mut run)?;
    run.pass()
}

pub(crate) fn wiped_validators_come_back() -> anyhow::Result<()> {
    let mut run = Run::start(SEED)?;
    for committee in run.committees() {
        for loss in Loss::ALL {
            run.sleep(500, 1_500);
            wipes::one(&mut run, committee, loss)?;
        }
    }
    run.pass()
}

pub(crate) fn full_disks_are_waited_for() -> anyhow::Result<()> {
    let disks = match (SmallDisk::mount(), SmallDisk::mount()) {
        (Ok(first), Ok(second)) => [first, second],
        (first, second) => {
            let why = first.err().or(second.err()).expect("one of them failed");
            println!("  skipped: {why:#}");
            return Ok(());
        }
    };
    let mut run = Run::start(SEED)?;
    let members = run.network.members(run.shards()[0]);
    let (first, second) = (members[1], members[2]);
    space::move_to(&mut run, first, &disks[0])?;
    space::move_to(&mut run, second, &disks[1])?;
    for _ in 0..3 {
        let both = [(first, &disks[0]), (second, &disks[1])];
        space::shard_halts_and_resumes(&mut run, both)?;
        run.sleep(500, 1_500);
    }
    for _ in 0..2 {
        space::filled_to_the_last_byte(&mut run, first, &disks[0])?;
        run.sleep(500, 1_500);
    }
    run.pass()
}
