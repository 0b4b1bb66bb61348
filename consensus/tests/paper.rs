//! One test for each rule of PROTOCOL.md, named after it. Each fails when the function that is the
//! rule does not hold.

use core::time::Duration;
use std::collections::BTreeSet;

use lockstep_consensus::{
    Certificates, Evidence, Fatal, MAX_BLOCKS_PER_ANSWER, MAX_SERVED_PER_INTERVAL, MAX_TREE_BLOCKS,
    Message, Proposal, Refusal, TimerConfig,
};
use lockstep_types::{
    Block, Executed, Header, Height, MemberIndex, Occupancy, QuorumCertificate, Rejection, Signers,
    Time, TimeoutCertificate, View,
};

use crate::common::{POISON, Sent, WITHHELD, World, member};

fn proposal(world: &World, block: &Block, justify: &QuorumCertificate) -> Message {
    let proposal = world.forge_proposal(block.clone(), justify.clone(), None);
    Message::Proposal(Box::new(proposal))
}

fn proposal_after(
    world: &World,
    block: &Block,
    justify: &QuorumCertificate,
    tc: TimeoutCertificate,
) -> Message {
    let proposal = world.forge_proposal(block.clone(), justify.clone(), Some(tc));
    Message::Proposal(Box::new(proposal))
}

fn certificates(high_qc: QuorumCertificate, high_tc: Option<TimeoutCertificate>) -> Message {
    Message::Certificates(Box::new(Certificates { high_qc, high_tc }))
}

/// The first block, by the leader of view 1, and its certificate.
fn first_block(world: &World) -> (Block, QuorumCertificate) {
    let block = world.forge_block(1, &world.root, &[1]);
    let qc = world.forge_qc(&block);
    (block, qc)
}

/// The same block with a changed header, by the same proposer.
fn changed(block: &Block, change: impl FnOnce(&mut Header)) -> Block {
    let mut header = block.header().clone();
    change(&mut header);
    Block::new(header, block.payload().to_vec())
}

fn refusals(world: &World) -> Vec<&Refusal> {
    world
        .refused
        .iter()
        .map(|(_, _, refusal)| refusal)
        .collect()
}

#[test]
fn r1_views_are_entered_by_certificate_only_and_never_left_backwards() {
    let mut world = World::lone(0);
    world.submit(1);
    world.run_ms(60_000);
    assert_eq!(
        world.replica(0).view(),
        View::new(1),
        "time alone moves nothing"
    );
    let far = world.forge_block(40, &world.root, &[1]);
    let qc = world.forge_qc(&far);
    world.tell(0, 1, certificates(qc.clone(), None));
    assert_eq!(world.replica(0).view(), View::new(41));
    let tc = world.forge_tc(50, &world.root_qc());
    world.tell(0, 1, certificates(world.root_qc(), Some(tc)));
    assert_eq!(world.replica(0).view(), View::new(51));
    let (_, old) = first_block(&world);
    world.tell(0, 1, certificates(old, None));
    assert_eq!(world.replica(0).view(), View::new(51));
    assert_eq!(world.replica(0).high_qc(), &qc);
}

#[test]
fn r2_one_vote_per_view_and_none_after_giving_up() {
    let mut world = World::lone(0);
    let block = world.forge_block(1, &world.root, &[1]);
    let rival = world.forge_block(1, &world.root, &[2]);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.tell(0, 1, proposal(&world, &rival, &world.root_qc()));
    let votes = world.votes(0);
    assert_eq!(votes.len(), 1);
    assert_eq!(votes[0].block, block.id());

    let mut world = World::lone(0);
    world.submit(1);
    world.run_ms(500);
    assert_eq!(world.timeouts(0).len(), 1);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    assert!(world.votes(0).is_empty(), "gave up on the view");
}

#[test]
fn r2_only_in_the_current_view() {
    let mut world = World::lone(0);
    let tc = world.forge_tc(1, &world.root_qc());
    world.tell(0, 2, certificates(world.root_qc(), Some(tc)));
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    assert!(world.votes(0).is_empty());
}

#[test]
fn r3_a_block_extends_the_last_views_certificate_or_the_highest_a_quorum_knew() {
    let world = World::new(4);
    let (block, qc) = first_block(&world);
    let root_qc = world.root_qc();
    let check = |proposal: Proposal| world.verifier.check(proposal, &world.context).map(|_| ());

    let skips = world.forge_block(3, &world.root, &[2]);
    let without = world.forge_proposal(skips.clone(), root_qc.clone(), None);
    assert!(matches!(check(without), Err(Rejection::Inconsistent(_))));

    let knew_more = world.forge_tc(2, &qc);
    let rewinds = world.forge_proposal(skips.clone(), root_qc.clone(), Some(knew_more.clone()));
    assert!(matches!(check(rewinds), Err(Rejection::WrongView { .. })));

    let other_view = world.forge_tc(1, &root_qc);
    let stale = world.forge_proposal(skips, root_qc, Some(other_view));
    assert!(matches!(check(stale), Err(Rejection::Inconsistent(_))));

    let extends = world.forge_block(3, &block, &[2]);
    assert_eq!(
        check(world.forge_proposal(extends, qc, Some(knew_more))),
        Ok(())
    );
}

#[test]
fn r4_a_vote_locks_what_its_block_extends() {
    let mut world = World::lone(0);
    let (first, qc) = first_block(&world);
    world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
    assert_eq!(world.replica(0).record().lock, View::ZERO);
    let second = world.forge_block(2, &first, &[2]);
    world.tell(0, 2, proposal(&world, &second, &qc));
    assert_eq!(world.replica(0).record().lock, View::new(1));
    assert_eq!(world.disks[0].record.as_ref().unwrap().lock, View::new(1));
}

#[test]
fn r5_a_voter_may_still_give_up_and_names_at_least_its_lock() {
    let mut world = World::lone(0);
    let (first, qc) = first_block(&world);
    world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
    let second = world.forge_block(2, &first, &[2]);
    world.tell(0, 2, proposal(&world, &second, &qc));
    world.submit(3);
    world.run_ms(600);
    let timeouts = world.timeouts(0);
    assert_eq!(timeouts[0].view, View::new(2));
    assert_eq!(timeouts[0].high_qc, qc);
}

#[test]
fn r6_a_timeout_brings_the_certificate_it_names_and_how_its_view_was_entered() {
    let world = World::new(4);
    let (_, qc) = first_block(&world);
    let check = |timeout| world.verifier.check(timeout, &world.context).map(|_| ());
    let mut invented = qc.clone();
    invented.view = View::new(5);
    let liar = world.forge_timeout(0, 6, &invented, None);
    assert!(matches!(check(liar), Err(Rejection::BadSignature { .. })));
    let unexplained = world.forge_timeout(0, 3, &qc, None);
    assert!(matches!(
        check(unexplained),
        Err(Rejection::Inconsistent(_))
    ));
    assert_eq!(check(world.forge_timeout(0, 2, &qc, None)), Ok(()));
    let tc = world.forge_tc(2, &qc);
    assert_eq!(check(world.forge_timeout(0, 3, &qc, Some(tc))), Ok(()));
}

#[test]
fn r7_a_timeout_certificate_carries_the_highest_certificate_its_signers_knew() {
    let mut world = World::lone(0);
    let (_, qc) = first_block(&world);
    let tc = world.forge_tc(1, &world.root_qc());
    for (author, knows_more) in [(1, false), (2, true), (3, false)] {
        let timeout = if knows_more {
            world.forge_timeout(author, 2, &qc, None)
        } else {
            world.forge_timeout(author, 2, &world.root_qc(), Some(tc.clone()))
        };
        world.tell(0, author, Message::Timeout(Box::new(timeout)));
    }
    assert_eq!(world.replica(0).view(), View::new(3));
    let formed = world.replica(0).high_tc().unwrap().clone();
    assert_eq!(formed.high_qc, qc);
    assert!(world.verifier.check(formed.clone(), &world.context).is_ok());

    let mut hides = formed.clone();
    hides.high_qc = world.root_qc();
    assert!(world.verifier.check(hides, &world.context).is_err());
    let mut forgets = formed;
    forgets.high_qc_views[1] = View::ZERO;
    forgets.high_qc = world.root_qc();
    assert!(world.verifier.check(forgets, &world.context).is_err());
}

#[test]
fn r8_one_proposal_per_view_across_restarts() {
    // Member 2 proposes in view 2 the moment it has the certificate of view 1, before its own vote
    // is on disk, and crashes. Back again it has the same certificate and other numbers.
    let mut world = World::new(4);
    world.sync = Duration::from_millis(5);
    world.submit(1);
    let proposes = |sent: &Sent| sent.from == 2 && sent.message.kind() == "proposal";
    while !world.wire.iter().any(proposes) {
        world.run_ms(1);
    }
    world.crash(2);
    world.restart(2);
    world.submit(2);
    world.run_ms(10_000);
    world.check_no_equivocation();
    assert!(world.evidence.is_empty());
    assert!((0..4).all(|index| world.commits[index].len() >= 2));
}

#[test]
fn r8_a_proposal_in_no_reserved_view_waits_for_the_disk() {
    // The very first proposal: no record exists that would keep a restart from making another.
    let mut world = World::new(4);
    world.sync = Duration::from_millis(5);
    world.submit(1);
    world.run_ms(4);
    assert!(world.said(1).is_empty());
    world.crash(1);
    world.restart(1);
    world.submit(2);
    world.run_ms(10_000);
    world.check_no_equivocation();
    assert!(world.commits.iter().all(|blocks| !blocks.is_empty()));
}

#[test]
fn r8_a_proposal_does_not_wait_for_the_disk_when_its_view_is_reserved() {
    let mut world = World::new(4);
    world.submit(1);
    world.run_ms(1_000);
    world.sync = Duration::from_millis(7);
    let start = world.now;
    world.submit(2);
    // The empty block that committed number 1 is committed on the way.
    while world.commits[0].len() < 3 {
        world.run_ms(1);
    }
    // Four delays and two syncs: neither proposal waits for its proposer's disk.
    assert_eq!(
        world.now.since(start),
        Duration::from_millis(4 * 10 + 2 * 7)
    );
}

#[test]
fn r9_statements_leave_after_the_sync_of_their_record_and_block() {
    let mut world = World::lone(0);
    world.sync = Duration::from_millis(50);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.run_ms(49);
    assert!(world.votes(0).is_empty());
    world.run_ms(1);
    assert_eq!(world.votes(0).len(), 1);
    assert_eq!(world.disks[0].log.len(), 1, "with its block");
    assert!(world.disks[0].record.as_ref().unwrap().last_voted.is_some());
}

/// A crash between the syncs of record and log left the record without the log's end. The next
/// record is written over this one, and may tear it.
#[test]
fn r9_what_a_record_without_its_log_end_says_leaves_with_the_next_one() {
    let mut world = World::lone(0);
    world.submit(1);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.run_ms(3_000);
    let timeouts = world.timeouts(0).len();
    assert!(timeouts > 0);
    world.crash(0);
    world.disks[0].log.clear();
    world.sync = Duration::from_secs(2);
    world.restart(0);
    world.submit(2);
    world.run_ms(1_900); // time to repeat it
    assert_eq!(world.timeouts(0).len(), timeouts, "not on disk yet");
    world.run_ms(3_000);
    assert!(world.timeouts(0).len() > timeouts);
    world.check_no_equivocation();
}

#[test]
fn r10_our_own_vote_counts_once_it_is_synced() {
    let mut world = World::lone(0);
    world.sync = Duration::from_millis(50);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    for author in [1, 2] {
        world.tell(0, author, Message::Vote(world.forge_vote(author, &block)));
    }
    world.run_ms(49);
    assert_eq!(world.replica(0).view(), View::new(1));
    world.run_ms(1);
    assert_eq!(world.replica(0).view(), View::new(2));
}

#[test]
fn r11_a_repeat_is_the_same_bytes_across_restarts_too() {
    let mut world = World::lone(0);
    world.submit(1);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.run_ms(3_000);
    world.crash(0);
    world.restart(0);
    world.submit(1);
    world.run_ms(3_000);
    assert!(world.votes(0).len() > 3 && world.timeouts(0).len() > 3);
    world.check_no_equivocation();
}

#[test]
fn r12_a_vote_whose_block_the_log_lost_stays_unsaid() {
    // The record was synced and the log was not, so the vote never left.
    let mut world = World::lone(0);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    let said_before = world.votes(0).len();
    world.crash(0);
    world.disks[0].log.clear();
    world.restart(0);
    world.submit(1);
    world.run_ms(2_000);
    assert_eq!(
        world.replica(0).record().last_voted_view(),
        View::new(1),
        "facts are kept"
    );
    assert_eq!(world.votes(0).len(), said_before);
    let vouched = world.replica(0).record().log_end;
    assert_eq!(vouched.height, Height::ZERO, "and no more than the log has");
    // A later record names a log end that is there. The vote's block still is not.
    world.crash(0);
    world.restart(0);
    world.submit(2);
    world.run_ms(2_000);
    assert_eq!(world.votes(0).len(), said_before, "not at a later start");
    let rival = world.forge_block(1, &world.root, &[2]);
    world.tell(0, 1, proposal(&world, &rival, &world.root_qc()));
    assert_eq!(
        world.votes(0).len(),
        said_before,
        "and bar another vote in the view"
    );
}

#[test]
fn r13_a_restart_is_in_the_view_after_the_highest_certificate_of_either_kind() {
    let mut world = World::lone(0);
    let tc = world.forge_tc(7, &world.root_qc());
    world.tell(0, 1, certificates(world.root_qc(), Some(tc)));
    world.submit(1);
    world.run_ms(1_000);
    assert_eq!(world.timeouts(0)[0].view, View::new(8));
    world.crash(0);
    world.restart(0);
    assert_eq!(world.replica(0).view(), View::new(8));
}

#[test]
fn r13_what_was_signed_before_a_restart_counts_after_it() {
    // Exactly a quorum is left, and all of it restarts after giving up on view 1.
    let mut world = World::new(4);
    world.crash(1);
    world.drop_when(|sent| sent.message.kind() == "timeout");
    world.submit(1);
    world.run_ms(600);
    world.drop_nothing();
    for index in [0, 2, 3] {
        assert_eq!(world.timeouts(index).len(), 1);
        world.crash(index);
    }
    for index in [0, 2, 3] {
        world.restart(index);
    }
    world.submit(2);
    world.run_ms(10_000);
    assert!(
        [0, 2, 3]
            .iter()
            .all(|index| !world.commits[*index].is_empty())
    );
}

#[test]
#[should_panic(expected = "statements of another member")]
fn r12_the_record_of_a_colleague_is_no_record() {
    let mut world = World::new(4);
    world.submit(1);
    world.run_ms(2_000);
    world.crash(0);
    world.disks[0] = world.disks[1].clone();
    world.restart(0);
}

#[test]
fn r14_f_plus_one_who_gave_up_are_joined_even_without_work() {
    let mut world = World::lone(0);
    let timeout = |world: &World, author| {
        Message::Timeout(Box::new(world.forge_timeout(
            author,
            1,
            &world.root_qc(),
            None,
        )))
    };
    world.tell(0, 1, timeout(&world, 1));
    world.tell(0, 1, timeout(&world, 1));
    assert!(world.timeouts(0).is_empty(), "one liar moves nobody");
    world.tell(0, 2, timeout(&world, 2));
    assert_eq!(world.timeouts(0).len(), 1);
    assert_eq!(
        world.replica(0).view(),
        View::new(2),
        "and its own completes the quorum"
    );
}

#[test]
fn r15_a_quorum_is_n_minus_f_members() {
    for size in 4..=10 {
        let world = World::new(size);
        let block = world.forge_block(1, &world.root, &[1]);
        let good = world.forge_qc(&block);
        let check = |qc: QuorumCertificate| world.verifier.check(qc, &world.context).map(|_| ());
        assert_eq!(check(good.clone()), Ok(()));
        let mut short = good.clone();
        short.signatures.pop();
        short.signers = good
            .signers
            .iter()
            .take(short.signatures.len())
            .collect::<Signers>();
        assert!(
            matches!(check(short), Err(Rejection::NoQuorum { .. })),
            "n = {size}"
        );
        let mut twice = good.clone();
        twice.signers = good
            .signers
            .iter()
            .take(good.signatures.len() - 1)
            .collect();
        assert!(
            matches!(check(twice), Err(Rejection::NoQuorum { .. })),
            "n = {size}"
        );
    }
}

#[test]
fn r16_two_statements_for_one_view_are_evidence_and_the_first_counts() {
    let mut world = World::lone(0);
    let (block, qc) = first_block(&world);
    let rival = world.forge_block(1, &world.root, &[2]);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.tell(0, 1, proposal(&world, &rival, &world.root_qc()));
    world.tell(0, 3, Message::Vote(world.forge_vote(3, &block)));
    world.tell(0, 3, Message::Vote(world.forge_vote(3, &rival)));
    world.tell(0, 2, Message::Vote(world.forge_vote(2, &block)));
    assert_eq!(
        world.replica(0).view(),
        View::new(2),
        "the first vote still counts"
    );
    let tc = world.forge_tc(1, &world.root_qc());
    let low = world.forge_timeout(3, 2, &world.root_qc(), Some(tc));
    let high = world.forge_timeout(3, 2, &qc, None);
    world.tell(0, 3, Message::Timeout(Box::new(low)));
    world.tell(0, 3, Message::Timeout(Box::new(high)));
    let found: Vec<&Evidence> = world
        .evidence
        .iter()
        .map(|(_, evidence)| evidence)
        .collect();
    assert!(matches!(found[0], Evidence::Proposals(_)));
    assert!(matches!(found[1], Evidence::Votes(_)));
    assert!(matches!(found[2], Evidence::Timeouts(_)));
    assert_eq!(found.len(), 3);
}

#[test]
fn r17_a_block_is_committed_by_a_child_of_the_very_next_view_only() {
    let mut world = World::lone(0);
    let (first, qc1) = first_block(&world);
    world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
    let tc = world.forge_tc(2, &qc1);
    let third = world.forge_block(3, &first, &[3]);
    let qc3 = world.forge_qc(&third);
    world.tell(0, 3, proposal_after(&world, &third, &qc1, tc));
    world.tell(0, 3, certificates(qc3.clone(), None));
    assert!(
        world.commits[0].is_empty(),
        "view 2 could have certified a rival"
    );
    let fourth = world.forge_block(4, &third, &[]);
    let qc4 = world.forge_qc(&fourth);
    world.tell(0, 1, certificates(qc4.clone(), None));
    assert!(world.commits[0].is_empty(), "the block itself is needed");
    // Its leader is member 0 itself, which is in view 5 by now; a peer hands the block over.
    world.run_ms(1_000);
    let blocks = vec![world.link(&fourth, &qc3)];
    let asked = world
        .wire
        .iter()
        .rev()
        .find(|sent| sent.message.kind() == "block-request");
    let peer = asked.unwrap().to;
    world.tell(0, peer, Message::Blocks(blocks));
    assert_eq!(world.commits[0].len(), 2);
}

#[test]
fn r18_ancestors_come_in_order_each_with_its_proof() {
    let mut world = World::new(4);
    world.drop_when(|sent| match &sent.message {
        Message::Proposal(proposal) => proposal.view().get() % 3 == 2,
        _ => false,
    });
    for number in 0..5 {
        world.submit(number);
        world.run_ms(3_000);
    }
    assert!(world.commits.iter().all(|blocks| blocks.len() >= 5));
    let longest = world.commits[0]
        .iter()
        .map(|(_, block)| block.proof.headers.len())
        .max();
    assert!(
        longest >= Some(2),
        "some block was committed through a descendant"
    );
}

#[test]
fn r19_only_the_leader_of_a_view_proposes_in_it() {
    let mut world = World::lone(0);
    let (block, _) = first_block(&world);
    let usurped = changed(&block, |header| header.proposer = member(2));
    world.tell(0, 2, proposal(&world, &usurped, &world.root_qc()));
    assert!(world.votes(0).is_empty());
    assert!(matches!(refusals(&world)[..], [Refusal::NotLeader { .. }]));
}

#[test]
fn r19_who_failed_lately_is_passed_over() {
    let mut world = World::new(4);
    world.crash(3);
    for number in 0..250 {
        world.submit(number);
        world.run_ms(100);
    }
    let given_up: BTreeSet<View> = world.timeouts(0).iter().map(|t| t.view).collect();
    let views = world.replica(0).view().get();
    assert!(views > 400, "{views}");
    // In 3, and then after 8 turns: the next is after 1,024.
    assert_eq!(given_up.len(), 2, "{given_up:?}");
}

#[test]
fn r19_who_failed_once_leads_again_soon() {
    let mut world = World::new(4);
    world.crash(3);
    for number in 0..8 {
        world.submit(number);
        world.run_ms(200);
    }
    world.restart(3);
    for number in 8..200 {
        world.submit(number);
        world.run_ms(100);
    }
    let led = world.commits[0]
        .iter()
        .filter(|(_, block)| block.block().header().proposer == member(3));
    assert!(led.count() > 10);
    assert_eq!(world.replica(0).leader(), world.replica(3).leader());
}

#[test]
fn r19_a_restart_passes_over_the_same_members() {
    let mut world = World::new(4);
    world.crash(3);
    for number in 0..8 {
        world.submit(number);
        world.run_ms(200);
    }
    world.crash(0);
    world.restart(0);
    for number in 8..16 {
        world.submit(number);
        world.run_ms(200);
    }
    for (index, timeouts) in [(0, 1), (1, 1)] {
        let given_up: BTreeSet<View> = world.timeouts(index).iter().map(|t| t.view).collect();
        assert_eq!(given_up.len(), timeouts, "{index}: {given_up:?}");
    }
}

#[test]
fn r19_nobody_takes_the_place_of_a_leader_whose_parent_is_missing() {
    let mut world = World::lone(0);
    let (first, _) = first_block(&world);
    let qc = world.forge_qc(&first);
    let second = world.forge_block(2, &first, &[2]);
    let usurped = changed(&second, |header| header.proposer = member(3));
    world.tell(0, 3, proposal(&world, &usurped, &qc));
    world.tell(0, 2, proposal(&world, &second, &qc));
    assert!(world.votes(0).is_empty(), "the parent is missing");
    world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
    assert_eq!(
        world.votes(0).last().map(|vote| vote.block),
        Some(second.id())
    );
    assert!(matches!(refusals(&world)[..], [Refusal::NotLeader { .. }]));
}

#[test]
fn r20_an_idle_committee_is_silent() {
    let mut world = World::new(4);
    world.run_ms(600_000);
    assert!(world.wire.is_empty());
    world.submit(1);
    world.run_ms(1_000);
    assert!(world.is_idle());
    let said = world.wire.len();
    world.run_ms(600_000);
    assert_eq!(world.wire.len(), said);
}

#[test]
fn r20_an_empty_block_commits_what_waits_and_nothing_more() {
    let mut world = World::new(4);
    world.submit(1);
    world.run_ms(1_000);
    assert!(
        world.commits.iter().all(|blocks| blocks.len() == 1),
        "the empty block stays open"
    );
}

/// One correct member alone has seen the certificate that commits a block, and the chain goes on beside
/// it. That member waits for nothing, and has to help all the same: between its turns and those of
/// the crashed one no two views in a row succeed.
#[test]
fn r20_a_commit_that_the_chain_does_not_show_is_still_needed() {
    let mut world = World::new(4);
    let is_vote_of =
        |sent: &Sent, view| matches!(&sent.message, Message::Vote(vote) if vote.view.get() == view);
    world.drop_when(|sent| sent.from == 0);
    world.drop_when(move |sent| sent.to != 0 && is_vote_of(sent, 2));
    world.drop_when(|sent| matches!(&sent.message, Message::Proposal(p) if p.block.header().view > View::new(3)));
    world.submit(1);
    world.run_ms(3_000);
    let counts: Vec<_> = world.commits.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 0, 0, 0]);
    world.crash(2);
    world.drop_nothing();
    world.run_ms(30_000);
    for index in [1, 3] {
        assert!(
            !world.commits[index].is_empty(),
            "{index} waits for the commit"
        );
    }
    world.run_ms(30_000);
    assert!(world.is_idle());
}

#[test]
fn r21_views_fail_at_a_growing_pace_up_to_the_cap() {
    let mut world = World::new(4);
    world.drop_when(|sent| sent.message.kind() == "proposal");
    world.submit(1);
    world.run_ms(30_000);
    let mut times: Vec<(View, Time)> = Vec::new();
    for sent in world
        .wire
        .iter()
        .filter(|sent| sent.from == 0 && sent.to == 1)
    {
        if let Message::Timeout(timeout) = &sent.message
            && times.last().is_none_or(|(view, _)| *view < timeout.view)
        {
            times.push((timeout.view, sent.at));
        }
    }
    let gaps: Vec<u128> = times
        .windows(2)
        .map(|w| w[1].1.since(w[0].1).as_millis())
        .collect();
    assert_eq!(gaps[..5], [1_010, 2_010, 4_010, 4_010, 4_010]);
    world.drop_nothing();
    world.run_ms(10_000);
    assert!(world.commits.iter().all(|blocks| blocks.len() == 1));
}

#[test]
fn r21_a_member_that_failed_before_is_waited_for_a_tenth_as_long() {
    let mut world = World::new(4);
    world.crash(3);
    for number in 0..100 {
        world.submit(number);
        world.run_ms(100);
    }
    let given_up: BTreeSet<View> = world.timeouts(0).iter().map(|t| t.view).collect();
    let waited: Vec<u128> = given_up
        .iter()
        .map(|view| {
            let said = |sent: &&Sent| match &sent.message {
                Message::Vote(vote) => vote.view.next() == *view,
                Message::Timeout(timeout) => timeout.view == *view,
                _ => false,
            };
            let mut said = world.wire.iter().filter(|sent| sent.from == 0).filter(said);
            let from = said.next().unwrap().at;
            said.next_back().unwrap().at.since(from).as_millis()
        })
        .collect();
    assert_eq!(waited.len(), 2, "{given_up:?}");
    assert!((500..600).contains(&waited[0]), "{waited:?}");
    assert!((50..150).contains(&waited[1]), "{waited:?}");
}

#[test]
fn r22_what_was_lost_is_said_again() {
    let timers = TimerConfig {
        base: Duration::from_secs(3),
        ..TimerConfig::DEFAULT
    };
    for kind in ["vote", "proposal"] {
        let mut world = World::with_timers(4, timers);
        world.drop_when(move |sent| sent.message.kind() == kind);
        world.submit(1);
        world.run_ms(300);
        world.drop_nothing();
        world.run_ms(300);
        let high = world.replica(0).high_qc().view;
        assert!(
            high >= View::new(1),
            "{kind}s of view 1 are repeated within it"
        );
    }
}

#[test]
fn r22_who_is_behind_is_given_our_certificates_once_per_interval() {
    let mut world = World::lone(0);
    let (_, qc) = first_block(&world);
    world.tell(0, 1, certificates(qc.clone(), None));
    let helped = |world: &World| {
        let help = |sent: &&Sent| sent.to == 3 && sent.message.kind() == "certificates";
        world.wire.iter().filter(help).count()
    };
    for _ in 0..10 {
        world.tell(0, 3, certificates(world.root_qc(), None));
    }
    assert_eq!(helped(&world), 1);
}

#[test]
fn r23_a_block_fits_on_its_parent() {
    let wrong: [fn(&mut Header); 3] = [
        |header| header.height = Height::new(2),
        |header| header.time = Time::ZERO,
        |header| header.executed.height = Height::new(1),
    ];
    for change in wrong {
        let mut world = World::lone(0);
        let (block, _) = first_block(&world);
        let block = changed(&block, change);
        world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
        assert!(world.votes(0).is_empty());
        assert_eq!(world.refused.len(), 1);
    }
}

#[test]
fn r24_executed_is_from_the_parents_to_what_the_ancestry_commits() {
    // On the third block of consecutive views the ancestry commits height 1.
    for (executed, fits) in [(0, true), (1, true), (2, false)] {
        let mut world = World::lone(0);
        let (first, qc1) = first_block(&world);
        let second = world.forge_block(2, &first, &[2]);
        let qc2 = world.forge_qc(&second);
        world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
        world.tell(0, 2, proposal(&world, &second, &qc1));
        let third = changed(&world.forge_block(3, &second, &[3]), |header| {
            header.executed = Executed {
                height: Height::new(executed),
                digest: Default::default(),
            };
        });
        world.tell(0, 3, proposal(&world, &third, &qc2));
        assert_eq!(world.votes(0).len() == 3, fits, "executed {executed}");
    }
}

/// An abandoned block of view 3 makes height 1 final, which nothing on the chain that goes on shows.
/// Who starts again on height 1 judges as those who saw it all: else a block that some may vote for
/// has no child that the others may.
#[test]
fn r24_a_restart_knows_what_the_ancestry_commits() {
    for (restarts, executed) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut world = World::lone(0);
        let first = world.forge_block(2, &world.root, &[1]);
        let qc2 = world.forge_qc(&first);
        let tc1 = world.forge_tc(1, &world.root_qc());
        world.tell(0, 2, proposal_after(&world, &first, &world.root_qc(), tc1));
        let abandoned = world.forge_block(3, &first, &[2]);
        world.tell(0, 3, proposal(&world, &abandoned, &qc2));
        world.tell(0, 3, certificates(world.forge_qc(&abandoned), None));
        if restarts {
            world.run_ms(100); // until all is on disk
            world.crash(0);
            world.restart_from(0, 1);
        }
        assert_eq!(world.replica(0).committed().id(), first.id());
        let second = world.forge_block(5, &first, &[3]);
        let tc4 = world.forge_tc(4, &qc2);
        world.tell(0, 1, proposal_after(&world, &second, &qc2, tc4));
        let third = changed(&world.forge_block(7, &second, &[4]), |header| {
            header.executed = Executed {
                height: Height::new(executed),
                digest: Default::default(),
            };
        });
        let qc5 = world.forge_qc(&second);
        let tc6 = world.forge_tc(6, &qc5);
        world.tell(0, 3, proposal_after(&world, &third, &qc5, tc6));
        let votes = world.votes(0);
        let voted = votes.last().is_some_and(|vote| vote.view == View::new(7));
        assert_eq!(voted, executed == 0, "restarts: {restarts}");
    }
}

#[test]
fn r24_execution_may_lag_by_eight_blocks() {
    let mut world = World::lone(0);
    let mut parent = world.root.clone();
    let mut justify = world.root_qc();
    let mut votes = Vec::new();
    for view in 1..14 {
        let block = world.forge_block(view, &parent, &[u32::try_from(view).unwrap()]);
        if block.header().proposer != member(0) {
            world.tell(
                0,
                block.header().proposer.get(),
                proposal(&world, &block, &justify),
            );
        } else {
            let next = world.forge_qc(&block);
            world.tell(0, 1, certificates(next, None));
            world.run_ms(100);
            let request = world
                .wire
                .iter()
                .rev()
                .find(|sent| sent.message.kind() == "block-request");
            let peer = request.unwrap().to;
            world.tell(0, peer, Message::Blocks(vec![world.link(&block, &justify)]));
        }
        justify = world.forge_qc(&block);
        parent = block;
        votes.push(world.votes(0).last().map(|vote| vote.view.get()));
    }
    // The block of view v has an ancestry that commits height v − 2, and names height 0.
    assert_eq!(votes.last(), Some(&Some(10)), "view 11 would lag by nine");
}

#[test]
fn r25_a_voter_waits_for_its_clock_and_not_for_more_than_a_second() {
    for (ahead_ms, votes) in [(600, 1), (1_001, 0)] {
        let mut world = World::lone(0);
        let (block, _) = first_block(&world);
        let time = world.now.after(Duration::from_millis(ahead_ms));
        let block = changed(&block, |header| header.time = time);
        world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
        world.run_for(Duration::from_micros(ahead_ms * 1_000 - 1));
        assert!(world.votes(0).is_empty(), "{ahead_ms}");
        world.run_for(Duration::from_micros(1));
        assert_eq!(world.votes(0).len(), votes, "{ahead_ms}");
    }
}

#[test]
fn r26_a_held_block_is_asked_about_again_and_a_refused_one_is_not() {
    let mut world = World::lone(0);
    let block = world.forge_block(1, &world.root, &[WITHHELD]);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    assert!(world.votes(0).is_empty());
    world.application(0).complete = true;
    world.submit(5);
    world.run_ms(0);
    assert_eq!(world.votes(0).len(), 1);

    let mut world = World::lone(0);
    let block = world.forge_block(1, &world.root, &[POISON]);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.submit(5);
    assert!(world.votes(0).is_empty());
    assert_eq!(refusals(&world), [&Refusal::Application("poison")]);
}

#[test]
fn r26_a_leader_checks_its_own_block_first() {
    let mut world = World::new(4);
    world.application(1).executed = Some(9);
    world.submit(1);
    assert!(world.said(1).is_empty());
    assert!(matches!(
        refusals(&world)[..],
        [Refusal::OwnProposal(_), ..]
    ));
    world.run_ms(3_000);
    assert!(
        world.commits.iter().all(|blocks| !blocks.is_empty()),
        "the next leader goes on"
    );
}

#[test]
fn r27_a_voter_has_the_block_and_its_ancestors_on_disk() {
    let mut world = World::lone(0);
    let (first, qc1) = first_block(&world);
    let tc = world.forge_tc(1, &world.root_qc());
    world.tell(0, 2, certificates(world.root_qc(), Some(tc)));
    // The first block comes too late for a vote, so it is not logged yet.
    world.tell(0, 1, proposal(&world, &first, &world.root_qc()));
    assert!(world.disks[0].log.is_empty());
    let second = world.forge_block(2, &first, &[2]);
    world.tell(0, 2, proposal(&world, &second, &qc1));
    let logged: Vec<_> = world.disks[0]
        .log
        .iter()
        .map(|link| link.block.id())
        .collect();
    assert_eq!(logged, [first.id(), second.id()], "parents first");
}

#[test]
fn r28_a_replica_far_behind_catches_up_by_ranges() {
    let (mut world, behind) = far_behind();
    world.connect_all();
    world.run_ms(5_000);
    assert!(world.commits[3].len() >= behind);
    assert!(world.served_by_log > 0, "older blocks come from the log");
}

#[test]
fn r32_a_replica_with_too_much_to_execute_takes_no_more_in_until_it_has_room() {
    let mut world = World::new(4);
    world.application(3).full = true;
    for number in 0..10 {
        world.submit(number);
        world.run_ms(300);
    }
    assert!(world.commits[0].len() >= 10, "three of four go on");
    assert_eq!(world.commits[3].len(), 0);
    assert!(world.votes(3).is_empty());
    world.application(3).full = false;
    world.submit_to(3, 10);
    world.run_ms(3_000);
    assert!(world.commits[3].len() >= 10);
}

#[test]
fn r28_answers_that_always_come_late_are_as_good() {
    let mut world = World::new(4);
    world.delay = world.timers.fetch; // one way, so that an answer takes two of them
    world.drop_when(|sent| sent.to == 3);
    for number in 0..40 {
        world.submit(number);
        world.run_ms(2_000);
    }
    let behind = world.commits[0].len();
    assert!(behind > 20, "{behind}");
    world.drop_nothing();
    world.connect_all();
    world.run_ms(10_000);
    assert!(world.commits[3].len() >= behind);
    let asked = world.wire.iter();
    let asked = asked.filter(|sent| sent.from == 3 && sent.message.kind() == "block-request");
    let asked = asked.count();
    assert!(asked < 10, "{asked} questions");
}

#[test]
fn r28_who_does_not_answer_is_passed_over() {
    let mut world = World::new(4);
    world.drop_when(|sent| sent.to == 3);
    world.submit(1);
    world.run_ms(1_000);
    world.drop_nothing();
    world.drop_when(|sent| sent.from != 2 && sent.message.kind() == "blocks");
    world.connect_all();
    world.run_ms(3_000);
    assert_eq!(world.commits[3].len(), 1);
}

/// Member 3 misses this many blocks, and is connected again.
fn far_behind() -> (World, usize) {
    let mut world = World::new(4);
    world.drop_when(|sent| sent.to == 3);
    for number in 0..200 {
        world.submit(number);
        world.run_ms(if number % 4 == 0 { 600 } else { 60 });
    }
    let behind = world.commits[0].len();
    assert!(behind > 2 * MAX_BLOCKS_PER_ANSWER, "{behind}");
    world.drop_nothing();
    (world, behind)
}

/// How often member 3 has asked each member for blocks.
fn questions_of_3(world: &World) -> [usize; 3] {
    let asked = |sent: &&Sent| sent.from == 3 && sent.message.kind() == "block-request";
    let to = |member: usize| move |sent: &&Sent| asked(sent) && sent.to == member;
    [0, 1, 2].map(|member| world.wire.iter().filter(to(member)).count())
}

#[test]
fn r28_a_member_that_answers_slowly_and_in_crumbs_does_not_keep_us_behind() {
    for at_once in [2, MAX_BLOCKS_PER_ANSWER] {
        let (mut world, behind) = far_behind();
        let late = world.timers.fetch - Duration::from_millis(20);
        world.drop_when(|sent| sent.from == 0 && sent.message.kind() == "blocks");
        let chain: Vec<_> = world.commits[0]
            .iter()
            .map(|(_, b)| (*b.link).clone())
            .collect();
        let tip = world.replica(0).high_qc().clone();
        world.tell(3, 0, certificates(tip.clone(), None));
        let start = world.now;
        let mut read = 0;
        while world.commits[3].len() < behind && world.now.since(start).as_secs() < 2 {
            let to_liar = |sent: &Sent| match &sent.message {
                Message::BlockRequest { from, .. } if sent.to == 0 => Some(*from),
                _ => None,
            };
            let from = world.wire[read..].iter().find_map(to_liar);
            read = world.wire.len();
            if let Some(from) = from {
                world.run_for(late);
                let crumbs = chain.iter().skip(from.get() as usize - 1).take(at_once);
                let crumbs: Vec<_> = crumbs.cloned().collect();
                world.tell(3, 0, certificates(tip.clone(), None)); // it hints at itself again
                world.tell(3, 0, Message::Blocks(crumbs));
            }
            world.run_ms(1);
        }
        let (here, asked) = (world.commits[3].len(), questions_of_3(&world));
        assert!(
            here >= behind,
            "{here} of {behind} blocks, asked {asked:?} in crumbs of {at_once}"
        );
        assert!(asked[0] <= asked[1], "asked {asked:?}");
    }
}

#[test]
fn r28_the_only_member_that_has_the_blocks_is_found_once() {
    for helper in 0..3 {
        let (mut world, behind) = far_behind();
        world.drop_when(move |sent| sent.from != helper && sent.message.kind() == "blocks");
        world.connect_all();
        world.run_ms(1_000);
        assert!(world.commits[3].len() >= behind, "member {helper} has them");
        let mut asked = questions_of_3(&world);
        assert!(asked[helper] > 2, "asked {asked:?}");
        asked[helper] = 0;
        assert!(asked.iter().all(|times| *times <= 1), "asked {asked:?}");
    }
}

#[test]
fn r28_blocks_are_taken_only_when_asked_for_and_only_under_certificates() {
    let mut world = World::lone(0);
    let (first, qc1) = first_block(&world);
    let second = world.forge_block(2, &first, &[2]);
    let links = vec![
        world.link(&first, &world.root_qc()),
        world.link(&second, &qc1),
    ];
    world.tell(0, 1, Message::Blocks(links.clone()));
    assert_eq!(refusals(&world), [&Refusal::NotAsked]);
    // Asked for the first block, a peer adds one that nobody has certified.
    world.tell(0, 1, certificates(qc1.clone(), None));
    world.tell(0, 1, Message::Blocks(links.clone()));
    assert!(world.replica(0).block(&first.id()).is_some());
    assert!(world.replica(0).block(&second.id()).is_none());
    // A chain with a certificate that does not hold never gets here.
    let mut unsigned = links;
    unsigned[1].justify.signatures[0] = unsigned[1].justify.signatures[1];
    let check = world
        .verifier
        .check(Message::Blocks(unsigned), &world.context);
    assert!(matches!(check, Err(Rejection::BadSignature { .. })));
}

#[test]
fn r29_requests_are_answered_a_bounded_number_of_times() {
    let mut world = World::new(4);
    world.submit(1);
    world.run_ms(1_000);
    let tip = world.replica(0).high_qc().block;
    let from = Height::new(1);
    let answered = |world: &World| {
        let answer = |sent: &&Sent| sent.to == 3 && sent.message.kind() == "blocks";
        world.wire.iter().filter(answer).count()
    };
    for _ in 0..2 * MAX_SERVED_PER_INTERVAL {
        world.tell(0, 3, Message::BlockRequest { from, tip });
    }
    assert_eq!(answered(&world), MAX_SERVED_PER_INTERVAL as usize);
    world.run_ms(1_000);
    world.tell(0, 3, Message::BlockRequest { from, tip });
    assert_eq!(answered(&world), MAX_SERVED_PER_INTERVAL as usize + 1);
}

#[test]
fn r30_a_statement_of_ours_that_we_did_not_make_stops_us() {
    let mut world = World::lone(0);
    let (block, _) = first_block(&world);
    world.tell(0, 1, proposal(&world, &block, &world.root_qc()));
    world.tell(0, 2, Message::Vote(world.forge_vote(0, &block)));
    assert!(
        world.stopped.is_empty(),
        "an echo of our own vote is harmless"
    );
    let rival = world.forge_block(1, &world.root, &[2]);
    let vote = Message::Vote(world.forge_vote(0, &rival));
    world.tell(0, 2, vote.clone());
    assert_eq!(world.stopped[&0], second_copy(1, vote));

    let mut world = World::lone(0);
    let timeout = world.forge_timeout(0, 1, &world.root_qc(), None);
    let timeout = Message::Timeout(Box::new(timeout));
    world.tell(0, 2, timeout.clone());
    assert_eq!(world.stopped[&0], second_copy(1, timeout));
}

fn second_copy(view: u64, shown: Message) -> Fatal {
    Fatal::SecondCopy {
        view: View::new(view),
        shown: Box::new(shown),
    }
}

#[test]
fn r30_a_certificate_with_our_name_that_we_did_not_give_stops_us() {
    for quorum in [true, false] {
        let mut world = World::asking(300);
        world.crash(0);
        world.restart(0);
        world.run_ms(300);
        world.submit(2);
        world.run_ms(300);
        assert!(world.stopped.is_empty(), "its own past is known");
        let view = world.replica(0).view().get() + 3;
        let parent = world.replica(0).committed().clone();
        let block = world.forge_block(view, &parent, &[9]);
        let message = if quorum {
            certificates(world.forge_qc(&block), None)
        } else {
            let high = world.replica(0).high_qc().clone();
            certificates(high.clone(), Some(world.forge_tc(view, &high)))
        };
        world.tell(0, 1, message);
        assert!(matches!(
            world.stopped.get(&0),
            Some(Fatal::SecondCopy { .. })
        ));
    }
}

#[test]
fn r34_a_start_signs_nothing_before_enough_others_have_answered() {
    let mut world = World::asking(1_000);
    world.crash(0);
    world.drop_when(|sent| sent.message.kind() == "testimony" && sent.from != 3);
    world.restart(0);
    let before = world.votes(0).len() + world.timeouts(0).len();
    for number in 2..10 {
        world.submit(number);
        world.run_ms(300);
    }
    assert_eq!(world.votes(0).len() + world.timeouts(0).len(), before);
    assert!(world.commits[0].len() > 5, "it follows all the same");
    world.drop_nothing();
    for number in 10..15 {
        world.submit(number);
        world.run_ms(300);
    }
    assert!(world.votes(0).len() > before);
    world.check_no_equivocation();
}

#[test]
fn r34_a_restart_of_everybody_is_answered_at_once() {
    let mut world = World::asking(45);
    (0..4).for_each(|index| world.crash(index));
    (0..4).for_each(|index| world.restart(index));
    world.submit(1);
    world.run_ms(1_000);
    assert!(world.commits.iter().all(|blocks| !blocks.is_empty()));
    world.check_no_equivocation();
}

#[test]
fn r34_an_old_copy_of_the_disk_is_recognised_before_anything_is_signed() {
    let mut world = World::asking(300);
    let old = world.disks[0].clone();
    for number in 2..6 {
        world.submit(number);
        world.run_ms(300);
    }
    world.crash(0);
    let views =
        |world: &World| -> BTreeSet<View> { world.votes(0).iter().map(|vote| vote.view).collect() };
    let before = views(&world);
    world.disks[0] = old;
    world.restart(0);
    world.submit(6);
    world.run_ms(1_000);
    assert!(matches!(world.stopped[&0], Fatal::SecondCopy { .. }));
    assert_eq!(views(&world), before, "but for repeats of what it knows");
    world.check_no_equivocation();
}

/// All others have started since, and remember no single statement of ours.
#[test]
fn r34_an_old_copy_is_recognised_by_certificates_with_our_name() {
    for outage in [false, true] {
        let mut world = World::asking(300);
        let old = world.disks[0].clone();
        world.submit(2);
        if outage {
            // Only timeouts are certified from here on.
            world.run_ms(300);
            world.drop_when(|sent| sent.message.kind() == "proposal");
            world.submit(3);
        } else {
            // One less, and a certificate needs us.
            world.crash(3);
        }
        world.run_ms(6_000);
        (0..4).for_each(|index| world.crash(index));
        world.disks[0] = old;
        world.drop_nothing();
        world.drop_when(|sent| matches!(sent.message.kind(), "vote" | "timeout"));
        (0..3).for_each(|index| world.restart(index));
        world.run_ms(1_000);
        assert!(matches!(
            world.stopped.get(&0),
            Some(Fatal::SecondCopy { .. })
        ));
        world.check_no_equivocation();
    }
}

#[test]
fn r34_answers_are_for_one_start_and_one_asker() {
    let mut world = World::asking(300);
    world.crash(0);
    world.restart(0);
    world.run_ms(300);
    let answers: Vec<_> = world
        .wire
        .iter()
        .filter(|sent| sent.to == 0 && sent.message.kind() == "testimony")
        .map(|sent| (sent.from, sent.message.clone()))
        .collect();
    assert!(answers.len() >= 2);
    world.crash(0);
    world.drop_when(|sent| sent.message.kind() == "inquiry");
    world.restart(0);
    for (from, answer) in answers {
        world.tell(0, from, answer);
    }
    assert!(!world.replica(0).may_sign(), "answers to the start before");
    let stale = refusals(&world)
        .into_iter()
        .filter(|r| **r == Refusal::NotAsked);
    assert!(stale.count() >= 2);
}

#[test]
fn r35_without_its_record_a_member_is_silent_until_the_others_are_past_it() {
    for kill_at in (20..400).step_by(13) {
        let mut world = World::new(4);
        world.asks = true;
        for number in 0..3 {
            world.submit(number);
            world.run_ms(kill_at / 3);
        }
        world.crash(3);
        world.wipe(3);
        world.restart(3);
        world.run_ms(200);
        assert!(!world.replica(3).may_sign());
        let floor = world.replica(3).record().floor;
        let signed = world.votes(3).last().map_or(View::ZERO, |vote| vote.view);
        assert!(floor > signed, "{floor} is above {signed}");
        let before = world.votes(3).len();
        for number in 3..12 {
            world.submit(number);
            world.run_ms(200);
        }
        assert!(world.replica(3).may_sign());
        assert!(world.votes(3).len() > before);
        assert_eq!(world.commits[3].len(), world.commits[0].len());
        world.check_no_equivocation();
    }
}

#[test]
fn r35_a_statement_of_our_past_shown_while_we_ask_raises_the_floor_and_stops_nobody() {
    let mut world = World::asking(300);
    world.crash(3);
    world.wipe(3);
    world.drop_when(|sent| sent.message.kind() == "testimony");
    world.restart(3);
    let tc = world.forge_tc(39, &world.root_qc());
    let past = world.forge_timeout(3, 40, &world.root_qc(), Some(tc));
    world.tell(3, 1, Message::Timeout(Box::new(past)));
    let block = world.forge_block(41, &world.root, &[7]);
    world.tell(3, 1, Message::Vote(world.forge_vote(3, &block)));
    assert!(world.stopped.is_empty());
    world.drop_nothing();
    world.run_ms(2_000);
    assert_eq!(world.replica(3).record().floor, View::new(41));
}

#[test]
fn r35_the_floor_survives_a_restart() {
    let mut world = World::asking(300);
    world.crash(3);
    world.wipe(3);
    world.restart(3);
    world.run_ms(200);
    let floor = world.replica(3).record().floor;
    assert!(floor > View::ZERO);
    world.crash(3);
    world.restart(3);
    world.run_ms(200);
    assert_eq!(world.replica(3).record().floor, floor);
    assert!(!world.replica(3).may_sign());
    assert!(
        world.stopped.is_empty(),
        "what it signed below the floor is no second copy"
    );
}

#[test]
fn r35_who_lost_its_own_record_answers_nobody_and_needs_a_quorum_of_others() {
    let mut world = World::asking(300);
    for index in [2, 3] {
        world.crash(index);
        world.wipe(index);
        world.restart(index);
    }
    world.run_ms(5_000);
    for index in [2, 3] {
        assert!(!world.replica(index).may_sign(), "two of four have lost it");
        assert_eq!(world.replica(index).record().floor, View::ZERO);
    }
    assert!(refusals(&world).contains(&&Refusal::Recovering));
}

#[test]
fn r31_a_certified_rival_of_a_committed_block_stops_us() {
    let mut world = World::new(4);
    world.submit(1);
    world.run_ms(1_000);
    let rival = world.forge_block(5, &world.root, &[9]);
    let qc = world.forge_qc(&rival);
    world.tell(0, 2, certificates(qc, None));
    world.tell(
        0,
        2,
        Message::Blocks(vec![world.link(&rival, &world.root_qc())]),
    );
    assert!(matches!(world.stopped[&0], Fatal::Fork { .. }));
}

#[test]
fn r32_undecided_blocks_are_bounded() {
    let mut world = World::lone(0);
    let root_qc = world.root_qc();
    for view in 2..2 * MAX_TREE_BLOCKS as u64 {
        let block = world.forge_block(view, &world.root, &[1]);
        let proposer = block.header().proposer.get();
        if proposer != 0 {
            let tc = world.forge_tc(view - 1, &root_qc);
            world.tell(0, proposer, proposal_after(&world, &block, &root_qc, tc));
        }
    }
    let mut sizes: Vec<Occupancy> = Vec::new();
    world.replica(0).measure(&mut sizes);
    assert!(sizes.iter().all(Occupancy::is_within), "{sizes:?}");
    let blocks = sizes.iter().find(|size| size.of == "undecided blocks");
    assert!(blocks.unwrap().held > 0);
    assert!(blocks.unwrap().held <= MAX_TREE_BLOCKS);
    let known = world.replica(0).application().blocks_held();
    assert!(known <= MAX_TREE_BLOCKS + 1, "{known}");
}

#[test]
fn r32_far_votes_are_not_kept_and_harm_nobody() {
    let mut world = World::lone(0);
    let far = world.forge_block(1_000_000, &world.root, &[1]);
    for author in 1..4 {
        world.tell(0, author, Message::Vote(world.forge_vote(author, &far)));
    }
    assert_eq!(world.replica(0).view(), View::new(1));
    assert!(matches!(
        refusals(&world)[..],
        [Refusal::TooFarAhead { .. }, ..]
    ));
}

#[test]
fn r33_commits_everywhere_four_delays_after_the_proposal() {
    for size in 4..=10 {
        let mut world = World::new(size);
        world.submit(1);
        world.run_ms(39);
        assert!(world.commits.iter().all(Vec::is_empty));
        world.run_ms(1);
        assert!(
            world.commits.iter().all(|blocks| blocks.len() == 1),
            "n = {size}"
        );
        world.run_ms(100);
        assert!(world.is_idle());
    }
}

#[test]
fn committees_of_one_to_three_work_while_everybody_does() {
    for size in 1..=3 {
        let mut world = World::new(size);
        world.sync = Duration::from_millis(1);
        world.submit(1);
        world.run_ms(2_000);
        world.submit(2);
        world.run_ms(2_000);
        assert!(
            world.commits.iter().all(|blocks| blocks.len() >= 2),
            "n = {size}"
        );
        assert!(world.is_idle());
    }
}

#[test]
fn a_restart_goes_on_from_whatever_its_host_has_dealt_with() {
    for height in 0..9 {
        let mut world = World::new(4);
        for number in 0..4 {
            world.submit(number);
            world.run_ms(100);
        }
        let before = world.commits[3].len();
        world.crash(3);
        world.restart_from(3, height);
        world.run_ms(50); // the very last certificate is known to the others only
        assert_eq!(world.commits[3].len(), before, "the rest is given out anew");
        world.submit(4);
        world.run_ms(1_000);
        assert!(world.commits[3].len() > before);
    }
}

#[test]
fn f_silent_leaders_anywhere_do_not_stop_the_others() {
    let size = 7;
    for first in 0..size {
        for second in first + 1..size {
            let mut world = World::new(size);
            world.crash(first);
            world.crash(second);
            for number in 0..3 {
                world.submit(number);
                world.run_ms(10_000);
            }
            for index in (0..size).filter(|index| ![first, second].contains(index)) {
                let committed = world.replica(index).application().committed.len();
                assert_eq!(committed, 3, "silent: {first} and {second}");
            }
        }
    }
}

#[test]
fn after_ten_minutes_without_a_quorum_commits_resume_within_five_seconds() {
    let mut world = World::new(4);
    world.crash(2);
    world.crash(3);
    world.submit(1);
    world.run_ms(600_000);
    world.restart(2);
    world.submit_to(2, 1);
    world.run_ms(5_000);
    for index in [0, 1, 2] {
        assert!(!world.commits[index].is_empty(), "{}", world.trace);
    }
}

#[test]
fn after_everybody_was_killed_nothing_is_lost_and_commits_resume_within_five_seconds() {
    for kill_at in 0..60 {
        let mut world = World::new(4);
        world.sync = Duration::from_millis(3);
        world.submit(1);
        world.run_ms(80);
        world.submit(2);
        world.run_ms(kill_at);
        let before: Vec<_> = world
            .commits
            .iter()
            .max_by_key(|blocks| blocks.len())
            .unwrap()
            .clone();
        (0..4).for_each(|index| world.crash(index));
        (0..4).for_each(|index| world.restart(index));
        (0..4).for_each(|index| world.submit_to(index, 3));
        world.run_ms(5_000);
        for index in 0..4 {
            let after = &world.commits[index];
            assert!(after.len() > before.len(), "killed at {kill_at}");
            for (position, (_, block)) in before.iter().enumerate() {
                assert_eq!(after[position].1.block(), block.block());
            }
        }
        world.check_no_equivocation();
    }
}

#[test]
fn a_leader_whose_clock_is_behind_its_parents_waits_for_it() {
    let mut world = World::lone(0);
    let mut parent = world.root.clone();
    let mut justify = world.root_qc();
    for view in 1..4 {
        let time = world.now.after(Duration::from_millis(300 + view));
        let block = world.forge_block(view, &parent, &[1]);
        let block = changed(&block, |header| header.time = time);
        world.tell(
            0,
            block.header().proposer.get(),
            proposal(&world, &block, &justify),
        );
        justify = world.forge_qc(&block);
        parent = block;
    }
    world.tell(0, 1, certificates(justify, None));
    world.submit(7);
    assert!(
        world
            .said(0)
            .iter()
            .all(|message| message.kind() != "proposal")
    );
    world.run_ms(310);
    assert!(
        world
            .said(0)
            .iter()
            .any(|message| message.kind() == "proposal")
    );
    assert!(world.refused.is_empty());
}

#[test]
fn messages_from_outside_the_committee_are_refused() {
    let mut world = World::lone(0);
    let (_, qc) = first_block(&world);
    for stranger in [0, 9] {
        world.tell(0, stranger, certificates(qc.clone(), None));
    }
    assert_eq!(world.replica(0).view(), View::new(1));
    assert_eq!(
        refusals(&world),
        [
            &Refusal::NotAPeer(MemberIndex::new(0)),
            &Refusal::NotAPeer(MemberIndex::new(9))
        ]
    );
}

/// A world that names its leaders gets proposals of those and of nobody else; then it is by
/// rotation.
#[test]
fn r19_a_list_of_leaders_is_followed_to_its_end() {
    let mut world = World::new(4);
    world.lead_by(&[3, 3, 1]);
    world.submit(1);
    world.run_ms(100);
    world.submit(2);
    world.run_ms(100);
    world.submit(3);
    world.run_ms(100);
    let proposed = world.wire.iter().filter_map(|sent| match &sent.message {
        Message::Proposal(proposal) => Some((proposal.view().get(), sent.from)),
        _ => None,
    });
    let leaders: std::collections::BTreeMap<u64, usize> = proposed.collect();
    let first: Vec<_> = leaders.into_iter().take(4).collect();
    assert_eq!(first, [(1, 3), (2, 3), (3, 1), (4, 0)]);
}

/// Explorers rely on it: equal histories give equal fingerprints, and anything that is signed or
/// learned changes them.
#[test]
fn a_fingerprint_changes_with_what_is_signed_and_learned() {
    let mut world = World::lone(0);
    let fresh = world.replica(0).fingerprint();
    assert_eq!(fresh, World::lone(0).replica(0).fingerprint());
    let copy = world.replica(0).clone();
    let (first, _) = first_block(&world);
    let proposed = proposal(&world, &first, &world.root_qc());
    world.tell(0, 1, proposed);
    let voted = world.replica(0).fingerprint();
    assert_ne!(voted, fresh);
    assert_eq!(copy.fingerprint(), fresh, "a copy goes its own way");
    let timeout = world.forge_timeout(2, 1, &world.root_qc(), None);
    world.tell(0, 2, Message::Timeout(Box::new(timeout)));
    assert_ne!(world.replica(0).fingerprint(), voted);
}
