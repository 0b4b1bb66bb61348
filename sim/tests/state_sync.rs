//! A shard's member whose directory was wiped, or that is very far behind, fetches its state from the
//! others: not block by block, also when one of them lies, and when it dies on the way.

#![allow(clippy::unwrap_used)]

use core::ops::Range;
use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::{Archive, MAX_REPLAY, Peer};
use lockstep_sim::byzantine::Kind;
use lockstep_sim::{Cut, Harm, Random, Workload, World, WorldSpec};
use lockstep_types::{CommitteeId, Height, MemberIndex, ShardId};

struct Run {
    world: World,
    clients: Workload,
    random: Random,
}

impl Run {
    fn new(seed: u64, depth: u8) -> Self {
        Self::replaying(MAX_REPLAY, seed, depth)
    }

    /// Members that are further behind than so many blocks fetch a state.
    fn replaying(max_replay: u64, seed: u64, depth: u8) -> Self {
        let chain = DevelopmentSpec {
            depth,
            interval: Duration::from_millis(1_000),
            ..DevelopmentSpec::default()
        };
        let world = World::new(WorldSpec {
            max_replay,
            ..WorldSpec::calm(seed, &chain)
        });
        let mut random = Random::new(seed);
        let clients = Workload::new(&mut random, &world);
        Run {
            world,
            clients,
            random,
        }
    }

    fn go(&mut self, millis: u64) {
        let span = Duration::from_millis(millis);
        let (random, world) = (&mut self.random, &mut self.world);
        self.clients.run(random, world, span).unwrap();
    }

    fn height(&self, peer: &Peer) -> Height {
        let executor = self.world.executor(peer);
        executor.map_or(Height::ZERO, |executor| executor.ledger().height())
    }

    /// How many of these heights' blocks a member has executed.
    fn held(&self, peer: &Peer, heights: Range<u64>) -> usize {
        let archive = Archive::new(self.world.store(peer));
        heights
            .filter(|height| archive.block(Height::new(*height)).unwrap().is_some())
            .count()
    }

    /// Does the member execute what member 0 does, at its heels?
    fn is_back(&self, peer: &Peer) -> bool {
        let (here, there) = (self.height(peer), self.height(&member(0)));
        here > Height::ZERO && here.plus(8) >= there
    }

    /// Runs until a wiped member is back. It must not take more than three barriers.
    fn until_back(&mut self, peer: &Peer) {
        let before = self.world.checkers.agreement.record();
        while !self.is_back(peer) {
            self.go(20);
            let passed = self.world.checkers.agreement.record().since(before);
            assert!(passed <= 3, "{passed} barriers have passed");
        }
    }
}

fn member(member: u8) -> Peer {
    Peer {
        committee: CommitteeId::Shard(ShardId::new(0)),
        member: MemberIndex::new(member),
    }
}

#[test]
fn a_wiped_member_gets_its_state_and_not_every_block() {
    for depth in 0..3 {
        let mut run = Run::new(7, depth);
        run.go(8_000);
        run.world
            .harm(&member(2), Harm::Wipe, Duration::from_millis(300));
        run.go(310);
        run.until_back(&member(2));
        let archive = Archive::new(run.world.store(&member(2)));
        let mut heights = (1..).map(Height::new);
        let first = heights.find(|height| matches!(archive.block(*height), Ok(Some(_))));
        let first = first.unwrap();
        assert!(first > Height::new(20), "depth {depth}: from {first} on");
    }
}

/// A checkpoint counts only with a quorum under the very same content. With another member gone,
/// the one that came back is needed for each.
#[test]
fn what_it_signs_afterwards_is_what_the_others_sign() {
    for depth in 0..3 {
        let mut run = Run::new(8, depth);
        run.go(6_000);
        run.world
            .harm(&member(2), Harm::Wipe, Duration::from_millis(300));
        run.go(310);
        run.until_back(&member(2));
        run.go(4_000);
        run.world.crash(&member(3), Duration::from_secs(3_600));
        run.go(1_500);
        let recorded = run.world.executor(&member(0)).unwrap().ledger().recorded();
        run.go(6_000);
        let later = run.world.executor(&member(0)).unwrap().ledger().recorded();
        let passed = later.unwrap().since(recorded.unwrap());
        assert!(passed >= 3, "depth {depth}: {passed} seals were recorded");
    }
}

/// With what it would do otherwise, which shows that the blocks are there to be replayed.
#[test]
fn a_member_far_behind_gets_a_state_and_not_every_block() {
    for depth in 0..3 {
        for max_replay in [30, MAX_REPLAY] {
            let mut run = Run::replaying(max_replay, 9, depth);
            run.go(3_000);
            let from = run.height(&member(2)).get();
            run.world.crash(&member(2), Duration::from_secs(12));
            run.go(12_010);
            let missed = from + 1..run.height(&member(0)).get();
            let most = usize::try_from(missed.end - missed.start).unwrap();
            assert!(most > 100, "{most} blocks were missed");
            if max_replay == MAX_REPLAY {
                run.go(15_000);
                let held = run.held(&member(2), missed);
                assert_eq!((held, run.world.left_behind()), (most, 0));
            } else {
                run.until_back(&member(2));
                let held = run.held(&member(2), missed);
                assert_eq!(run.world.left_behind(), 1, "depth {depth}");
                assert!(held < most / 3, "depth {depth}: {held} of {most} blocks");
            }
            assert!(run.is_back(&member(2)));
            let seen = run.world.member(&member(2)).unwrap().status();
            assert!(seen.signs, "with the safety record it had");
        }
    }
}

/// It was out of reach and not down: it hears all at once what the others say now.
#[test]
fn a_member_that_was_cut_off_gets_a_state_too() {
    let mut run = Run::replaying(30, 10, 1);
    run.go(3_000);
    let cut = Cut::Apart([member(2)].into());
    run.world.network_mut().cut(cut);
    run.go(12_000);
    run.world.network_mut().cut(Cut::Nothing);
    run.until_back(&member(2));
    assert_eq!(run.world.left_behind(), 1);
}

#[test]
fn a_member_far_behind_comes_back_although_it_dies_at_any_moment() {
    for (seed, after) in (40..).zip((0..24).map(|step| step * 45)) {
        let mut run = Run::replaying(30, seed, 1);
        run.go(3_000);
        run.world.crash(&member(1), Duration::from_secs(8));
        run.go(8_000 + after);
        run.world.crash(&member(1), Duration::from_millis(100));
        run.go(110);
        run.until_back(&member(1));
        assert!(run.world.left_behind() <= 2, "after {after} ms");
        run.go(1_000);
        assert!(run.is_back(&member(1)));
    }
}

#[test]
fn it_comes_back_although_it_dies_while_it_fetches() {
    for (seed, after) in (0..).zip([5, 30, 45, 60, 85, 100, 125, 140]) {
        let mut run = Run::new(seed, 1);
        run.go(6_000);
        run.world
            .harm(&member(1), Harm::Wipe, Duration::from_millis(200));
        run.go(200 + after);
        run.world.crash(&member(1), Duration::from_millis(100));
        run.go(110);
        run.until_back(&member(1));
    }
}

/// Member 3 lies to member 1, which always hears from it first, and from member 2 last.
fn run_with_liar(max_replay: u64, seed: u64, kind: Kind) -> Run {
    let mut run = Run::replaying(max_replay, seed, 1);
    run.world.corrupt(&member(3), kind);
    for (other, millis) in [(0, 20), (2, 60)] {
        let slower = Duration::from_millis(millis);
        let network = run.world.network_mut();
        network.slow_down(member(other), member(1), slower);
    }
    run
}

#[test]
fn it_comes_back_although_one_of_them_lies() {
    for (seed, kind) in (20..).zip([Kind::SyncLiar, Kind::StateDenier].repeat(4)) {
        let mut run = run_with_liar(MAX_REPLAY, seed, kind);
        run.go(6_000);
        run.world
            .harm(&member(1), Harm::Wipe, Duration::from_millis(200));
        run.go(210);
        run.until_back(&member(1));
        run.go(2_000);
        assert!(run.is_back(&member(1)));
    }
}

#[test]
fn one_far_behind_gets_a_state_although_one_of_them_lies() {
    for seed in 20..26 {
        let mut run = run_with_liar(30, seed, Kind::StateDenier);
        run.go(3_000);
        run.world.crash(&member(1), Duration::from_secs(12));
        run.go(12_010);
        run.until_back(&member(1));
        let left = run.world.left_behind();
        assert!(left > 0, "seed {seed}: it has replayed every block");
    }
}
