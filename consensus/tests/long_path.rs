//! Blocks that are certified one by one, never in two views in a row: nothing is committed, and the
//! undecided path grows. One liar does that to a committee while one correct member is cut off.

use std::collections::BTreeSet;

use lockstep_consensus::{
    Certificates, MAX_FILLED_PATH, MAX_PATH_BLOCKS, Message, Proposal, Refusal,
};
use lockstep_types::{Block, Height, Occupancy, QuorumCertificate, Timeout, View};

use crate::common::World;

/// Cut off, correct.
const CUT_OFF: usize = 2;
/// Votes for every block whose view a timeout certificate let enter, and for no other; always gives
/// up with the others. So what is certified is never certified in the view after its parent's.
const LIAR: usize = 3;

/// The liar's part, answering what members 0 and 1 say.
struct Withholder {
    read: usize,
    voted: BTreeSet<View>,
    gave_up: BTreeSet<View>,
}

impl Withholder {
    fn new() -> Self {
        Withholder {
            read: 0,
            voted: BTreeSet::new(),
            gave_up: BTreeSet::new(),
        }
    }

    fn act(&mut self, world: &mut World) {
        let heard = world.wire[self.read..].to_vec();
        self.read = world.wire.len();
        for sent in heard.iter().filter(|sent| sent.to == LIAR) {
            match &sent.message {
                Message::Proposal(proposal) => self.vote(world, proposal),
                Message::Timeout(timeout) => self.give_up(world, timeout),
                _ => {}
            }
        }
    }

    fn vote(&mut self, world: &mut World, proposal: &Proposal) {
        if proposal.entered_by.is_some() && self.voted.insert(proposal.view()) {
            let vote = world.forge_vote(LIAR, &proposal.block);
            world.send_as(LIAR, &[0, 1], Message::Vote(vote));
        }
    }

    fn give_up(&mut self, world: &mut World, timeout: &Timeout) {
        if self.gave_up.insert(timeout.view) {
            let entered_by = timeout.entered_by.clone();
            let view = timeout.view.get();
            let timeout = world.forge_timeout(LIAR, view, &timeout.high_qc, entered_by);
            world.send_as(LIAR, &[0, 1], Message::Timeout(Box::new(timeout)));
        }
    }
}

fn undecided(world: &World) -> usize {
    let mut sizes: Vec<Occupancy> = Vec::new();
    world.replica(0).measure(&mut sizes);
    assert!(sizes.iter().all(Occupancy::is_within), "{sizes:?}");
    let high = world.replica(0).high_qc().block;
    let high = world.replica(0).block(&high);
    let committed = world.replica(0).committed().header().height;
    let height = high.map_or(committed, |block| block.header().height);
    usize::try_from(height.since(committed)).unwrap()
}

/// Goes on until the newest certified block is so many blocks above the newest committed one.
fn starve(world: &mut World, liar: &mut Withholder, blocks: usize) {
    while undecided(world) < blocks {
        world.run_ms(50);
        liar.act(world);
        assert!(world.commits.iter().all(Vec::is_empty), "starved");
        let hours = world.now.micros() / 3_600_000_000;
        assert!(hours < 4, "the path ends at {}", undecided(world));
    }
}

fn starved(blocks: usize) -> World {
    let mut world = World::new(4);
    world.crash(LIAR);
    world.drop_when(|sent| [sent.from, sent.to].contains(&CUT_OFF));
    world.submit(1);
    starve(&mut world, &mut Withholder::new(), blocks);
    world
}

/// Blocks of every second view up to a height, all of them certified, told to member 0. Each is
/// filled with its height as far as it may be. Returns the last one's certificate.
fn forge_path(world: &mut World, height: u64) -> (Block, QuorumCertificate) {
    let mut parent = world.root.clone();
    let mut qc = world.root_qc();
    for at in 1..=height {
        let number = u32::try_from(at).unwrap();
        let numbers = [number];
        let filled = if at <= MAX_FILLED_PATH {
            &numbers[..]
        } else {
            &[]
        };
        tell_after_timeouts(world, 2 * at - 1, &parent, &qc, filled);
        parent = world.forge_block(2 * at - 1, &parent, filled);
        qc = world.forge_qc(&parent);
    }
    (parent, qc)
}

/// A block of a view that was entered by timeouts, or of the first view.
fn tell_after_timeouts(
    world: &mut World,
    view: u64,
    parent: &Block,
    qc: &QuorumCertificate,
    numbers: &[u32],
) {
    let block = world.forge_block(view, parent, numbers);
    let proposer = block.header().proposer.get();
    let entered_by = (view > 1).then(|| world.forge_tc(view - 1, qc));
    let proposal = world.forge_proposal(block, qc.clone(), entered_by);
    world.tell(0, proposer, Message::Proposal(Box::new(proposal)));
}

/// The cut is over and the liar says nothing any more: three correct members are a quorum. Every
/// commit's proof is checked by the world.
fn commits_once_healed(world: &mut World, blocks: usize) {
    world.drop_nothing();
    world.submit(2);
    world.run_ms(120_000);
    for index in 0..LIAR {
        let commits = &world.commits[index];
        assert!(commits.len() > blocks, "member {index}: {}", commits.len());
        assert_eq!(world.replica(index).application().committed, [1, 2]);
    }
    world.check_no_equivocation();
    assert!(world.evidence.is_empty() && world.stopped.is_empty());
}

#[test]
fn r18_a_commit_after_a_long_starvation_has_a_proof_that_holds() {
    let mut world = starved(300);
    commits_once_healed(&mut world, 300);
    let (_, first) = &world.commits[0][0];
    assert!(first.proof.headers.len() >= 300);
    assert_eq!(first.block().header().height, Height::new(1));
}

#[test]
fn r36_a_path_longer_than_what_is_kept_beside_it_still_commits() {
    let mut world = starved(600);
    commits_once_healed(&mut world, 600);
}

#[test]
fn r36_far_above_what_is_committed_only_empty_blocks_are_made() {
    let mut world = World::new(4);
    world.crash(LIAR);
    world.drop_when(|sent| [sent.from, sent.to].contains(&CUT_OFF));
    world.submit(1);
    let mut liar = Withholder::new();
    starve(&mut world, &mut liar, 260);
    world.submit(2);
    starve(&mut world, &mut liar, 270);
    let proposed = world.wire.iter().filter_map(|sent| match &sent.message {
        Message::Proposal(proposal) => Some(&proposal.block),
        _ => None,
    });
    let mut above = proposed.filter(|block| block.header().height.get() > MAX_FILLED_PATH);
    assert!(above.clone().count() > 0);
    assert!(above.all(|block| block.payload().is_empty()));
    commits_once_healed(&mut world, 270);
}

#[test]
fn r36_nobody_votes_for_payload_far_above_what_is_committed() {
    let mut world = World::lone(0);
    let (parent, qc) = forge_path(&mut world, MAX_FILLED_PATH);
    assert_eq!(
        world.replica(0).record().last_voted_view(),
        parent.header().view
    );
    let view = 2 * MAX_FILLED_PATH + 1;
    tell_after_timeouts(&mut world, view, &parent, &qc, &[7]);
    let refused = world.refused.last().map(|(_, _, refusal)| refusal);
    assert_eq!(refused, Some(&Refusal::PayloadOnLongPath(MAX_FILLED_PATH)));
    assert_eq!(
        world.replica(0).record().last_voted_view(),
        parent.header().view
    );
    tell_after_timeouts(&mut world, view + 2, &parent, &qc, &[]);
    assert_eq!(
        world.replica(0).record().last_voted_view(),
        View::new(view + 2)
    );
}

#[test]
fn r36_the_path_is_bounded_and_the_longest_one_commits_with_proofs_that_hold() {
    let longest = MAX_PATH_BLOCKS as u64;
    let mut world = World::lone(0);
    let (last, qc) = forge_path(&mut world, longest - 1);
    // One block more fills the path, and nothing goes on top of it.
    let view = last.header().view.get() + 2;
    tell_after_timeouts(&mut world, view, &last, &qc, &[]);
    let end = world.forge_block(view, &last, &[]);
    let end_qc = world.forge_qc(&end);
    tell_after_timeouts(&mut world, view + 2, &end, &end_qc, &[]);
    let refused = world.refused.last().map(|(_, _, refusal)| refusal);
    assert_eq!(refused, Some(&Refusal::TreeFull(MAX_PATH_BLOCKS)));
    assert_eq!(undecided(&world), MAX_PATH_BLOCKS);

    let mut world = World::lone(0);
    let (last, qc) = forge_path(&mut world, longest - 1);
    let child = world.forge_block(last.header().view.next().get(), &last, &[]);
    let child_qc = world.forge_qc(&child);
    let proposer = child.header().proposer.get();
    let proposal = world.forge_proposal(child, qc, None);
    world.tell(0, proposer, Message::Proposal(Box::new(proposal)));
    let certificates = Certificates {
        high_qc: child_qc,
        high_tc: None,
    };
    world.tell(0, 1, Message::Certificates(Box::new(certificates)));
    assert_eq!(world.commits[0].len() as u64, longest - 1);
    let (_, first) = &world.commits[0][0];
    assert_eq!(first.proof.headers.len() as u64, longest - 1);
}

#[test]
fn r36_a_restart_of_everybody_keeps_the_long_path() {
    let mut world = starved(600);
    for index in 0..LIAR {
        world.crash(index);
    }
    for index in 0..LIAR {
        world.restart(index);
    }
    assert!(undecided(&world) >= 600);
    commits_once_healed(&mut world, 600);
}
