//! Every liar lies, and its lies get as far as the code they are for: somebody refuses them for the
//! reason they deserve, or takes them as lawful and nothing follows from it.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_sim::byzantine::{Kind, Lies};
use lockstep_sim::{Links, Random, Workload, World, WorldSpec};
use lockstep_types::{CommitteeId, Height, MemberIndex, ShardId};

/// How long each world runs.
const SPAN: Duration = Duration::from_secs(12);

const SEEDS: u64 = 3;

/// What each kind must be answered at least once over all seeds.
fn expected(kind: Kind) -> &'static [&'static str] {
    const SIGNATURE: &str = "the signature of";
    match kind {
        Kind::BadBatch => &[
            "ahead of",
            "a second batch with sequence number",
            "a batch without transactions",
            "transactions in a batch where at most",
            "batches of its author are waiting",
            SIGNATURE,
        ],
        Kind::DoubleVoter | Kind::VoteReplacer => &["a second statement of"],
        Kind::DuplicateSigner => &[
            SIGNATURE,
            "signers where",
            "as many signatures as signers",
            "not a member of the committee",
        ],
        Kind::Equivocator => &["a second proposal for view"],
        Kind::FarFuture => &[
            "not worth checking",
            "does not show how its view was entered",
            "ahead of",
        ],
        Kind::Flooder => &[
            "served # requests in this interval",
            "batches requested where at most",
        ],
        Kind::Forger => &["a certificate for another block", SIGNATURE],
        Kind::Garbage => &[SIGNATURE, "not a valid encoding"],
        Kind::RecordLiar => &[
            "leaves out a checkpoint that came in time",
            "does not follow from the chain",
            "a record with one entry per shard",
        ],
        Kind::Stale => &["is extended, although a quorum knew of"],
        Kind::SyncLiar => &["blocks that were not asked for"],
        Kind::TcForger => &[SIGNATURE, "is not the highest certified view signed"],
        Kind::WithheldBatch => &["asks for a withheld batch"],
        Kind::WrongBlock => &["height # on a parent", "a payload that cannot be read"],
        Kind::WrongExecuted => &["another effects digest than ours", "executed height"],
        Kind::FalseCheckpoint => &["a checkpoint that contradicts"],
        Kind::OutboxForger => &["the bundle leads to outbox root"],
        Kind::Hidden
        | Kind::LowTc
        | Kind::Replayer
        | Kind::Selective
        | Kind::Silent
        | Kind::StateDenier
        | Kind::Twin => &[],
    }
}

fn world(seed: u64, validators: u8) -> World {
    let chain = DevelopmentSpec {
        depth: 1,
        validators,
        interval: Duration::from_millis(700),
        ..DevelopmentSpec::default()
    };
    World::new(WorldSpec {
        links: Links {
            delay_min: Duration::from_millis(5),
            delay_max: Duration::from_millis(30),
            straggler_per_mille: 5,
            loss_per_mille: 80,
            tail_per_mille: 0,
            duplicate_per_mille: 20,
        },
        sync: Duration::from_millis(1),
        ..WorldSpec::calm(seed, &chain)
    })
}

/// A world with one liar in a committee, and what became of its lies.
fn run(kind: Kind, committee: CommitteeId, seed: u64) -> Lies {
    let mut world = world(seed, 4);
    let member = |at: u64| Peer {
        committee,
        member: MemberIndex::new(u8::try_from(at % 4).unwrap()),
    };
    let liar = member(seed);
    world.corrupt(&liar, kind);
    let mut random = Random::new(seed);
    let mut clients = Workload::new(&mut random, &world);
    let end = world.now().after(SPAN);
    let mut crash = world.now().after(Duration::from_secs(2));
    while world.now() < end {
        clients.act(&mut random, &mut world);
        if world.now() >= crash {
            // Somebody has to catch up.
            world.crash(&member(seed + 1), Duration::from_secs(1));
            crash = world.now().after(Duration::from_secs(4));
        }
        let next = world.now().after(Duration::from_millis(50)).min(end);
        let result = world.run_until(next);
        assert_eq!(
            result,
            Ok(()),
            "{} at {committee:?}, seed {seed}",
            kind.name()
        );
    }
    let height = world.checkers.agreement.height(committee);
    let least = Height::new(2);
    assert!(
        height > least,
        "{} at {committee:?}, seed {seed}: {height}",
        kind.name()
    );
    world.checkers.lies()[&liar].clone()
}

/// What is wrong with a kind of liar, if anything.
fn check(kind: Kind) -> Result<(), String> {
    let name = kind.name();
    let shard = CommitteeId::Shard(ShardId::new(0));
    let homes = [shard, CommitteeId::Beacon].into_iter();
    let homes = homes.filter(|id| Kind::of(*id).contains(&kind));
    let mut all = Lies::default();
    for (committee, seed) in homes.flat_map(|id| (0..SEEDS).map(move |seed| (id, seed))) {
        let lies = run(kind, committee, seed);
        // It needs a timeout certificate when it leads; at the beacon some seeds have none.
        let waits = kind == Kind::LowTc && committee == CommitteeId::Beacon;
        if lies.acts() == 0 && kind != Kind::Twin && !waits {
            return Err(format!("{name} at {committee:?} does nothing, seed {seed}"));
        }
        all.add(&lies);
    }
    println!("{name}: {all}");
    for answer in expected(kind) {
        if all.met(answer) == 0 {
            return Err(format!("{name}: nobody says {answer:?}: {all}"));
        }
    }
    // What it shows is signed by whom it names: nobody can tell it from the truth.
    let lawful = [Kind::LowTc, Kind::FalseCheckpoint, Kind::Selective];
    if lawful.contains(&kind) && all.met("the signature of") > 0 {
        return Err(format!("{name}: does not sign what it says: {all}"));
    }
    let contradicts = [
        Kind::Equivocator,
        Kind::DoubleVoter,
        Kind::Twin,
        Kind::VoteReplacer,
    ];
    if contradicts.contains(&kind) && all.evidence == 0 {
        return Err(format!("{name}: nobody has evidence"));
    }
    Ok(())
}

#[test]
fn every_liar_lies_and_is_answered() {
    let problems = Kind::ALL.into_iter().filter_map(|kind| check(kind).err());
    assert_eq!(problems.collect::<Vec<String>>(), Vec::<String>::new());
}

#[test]
fn two_liars_of_seven_in_every_committee_at_once() {
    for seed in 0..8 {
        let mut world = world(seed, 7);
        let mut random = Random::new(seed);
        let committees: Vec<CommitteeId> = world.genesis().committees().collect();
        let mut liars = Vec::new();
        for committee in &committees {
            for half in [0, 3] {
                let member = MemberIndex::new(half + u8::try_from(random.below(3)).unwrap());
                let committee = *committee;
                let kind = *random.pick(&Kind::of(committee));
                world.corrupt(&Peer { committee, member }, kind);
                liars.push((committee, kind.name()));
            }
        }
        let mut clients = Workload::new(&mut random, &world);
        let result = clients.run(&mut random, &mut world, SPAN);
        assert_eq!(result, Ok(()), "seed {seed}: {liars:?}");
        for committee in committees {
            let height = world.checkers.agreement.height(committee);
            let least = Height::new(5);
            assert!(
                height > least,
                "seed {seed}: {committee:?} at {height}, {liars:?}"
            );
        }
    }
}
