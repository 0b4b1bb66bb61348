//! Value across shards: outbox, records, bundles, acknowledgement, back-pressure.

use lockstep_ledger::{
    Broken, Bundle, BundleError, BundleRefusal, Failure, Ledger, MAX_BUNDLE_ENTRIES,
    MAX_CERTIFIED_ROOTS, MAX_UNRECORDED_SEALS, ReceiptResult, Refusal, Subject,
};
use lockstep_types::{AssetId, MerkleRoot, ShardId, WindowNumber};

use crate::bench::*;

const HERE: ShardId = ShardId::new(0);
const THERE: ShardId = ShardId::new(1);

/// Sends `count` transfers of 20 to the other shard.
fn send(ledger: &mut Ledger, count: u64) {
    let (from, to) = (holder(0, 0), holder(1, 0));
    for _ in 0..count {
        let nonce = ledger.account(&from.id).unwrap().nonce;
        let block = Block {
            window: nonce, // never the window limit
            transactions: vec![transaction(from, nonce, vec![native(to, 20)])],
            ..Block::default()
        };
        let receipt = execute(ledger, block).receipts[0];
        assert_eq!(receipt.result, ReceiptResult::Applied);
    }
}

/// A source with three recorded entries, and a destination that has applied the same record.
fn recorded() -> (Ledger, Ledger) {
    let (mut source, mut destination) = (ledger(0), ledger(1));
    send(&mut source, 3);
    let seal = seal(&mut source, 1);
    assert!(source.bundle(THERE, 0, 9).is_none(), "not recorded so far");
    let _ = record(&mut source, 2, &[certified(0, &seal, 0)]);
    let _ = record(&mut destination, 2, &[certified(0, &seal, 1)]);
    (source, destination)
}

fn refusals(ledger: &mut Ledger, listed: &[&Bundle]) -> Vec<BundleRefusal> {
    let outcome = bundles(ledger, 2, listed);
    assert_eq!(outcome.broken, None);
    outcome
        .refused
        .into_iter()
        .map(|(_, refusal)| refusal)
        .collect()
}

#[test]
fn all_bundles_are_cut_at_the_same_numbers() {
    let (source, _) = recorded();
    let ends = |from: u64| source.bundle(THERE, from, 2).map(|bundle| bundle.to());
    let all: Vec<_> = (0..4).map(ends).collect();
    assert_eq!(all, [Some(2), Some(2), Some(3), None]);
}

#[test]
fn value_arrives_exactly_once() {
    let (source, mut destination) = recorded();
    assert_eq!(source.provable(THERE), 0..3);
    assert_eq!(source.destinations(), [THERE]);
    let (first, rest) = (
        source.bundle(THERE, 0, 2).unwrap(),
        source.bundle(THERE, 2, 9).unwrap(),
    );
    let early = refusals(&mut destination, &[&rest]);
    assert_eq!(
        early,
        [BundleRefusal::OutOfOrder {
            expected: 0,
            got: 2
        }]
    );
    let outcome = bundles(&mut destination, 2, &[&first, &first, &rest]);
    assert_eq!(outcome.refused.len(), 1, "a repetition");
    assert_eq!(outcome.receipts.len(), 3);
    assert!(matches!(
        outcome.receipts[2].subject,
        Subject::Credit {
            source: HERE,
            sequence: 2,
            action: 0,
            ..
        }
    ));
    assert_eq!(
        destination.account(&holder(1, 0).id).unwrap().native(),
        1_060
    );
    assert_eq!(destination.consumed(HERE), 3);
    assert_eq!(refusals(&mut destination, &[&first, &rest]).len(), 2);
    assert_eq!(
        destination.account(&holder(1, 0).id).unwrap().native(),
        1_060
    );
}

#[test]
fn nothing_is_credited_before_its_root_is_certified() {
    let (source, _) = recorded();
    let mut unaware = ledger(1);
    let bundle = source.bundle(THERE, 0, 9).unwrap();
    assert!(matches!(
        refusals(&mut unaware, &[&bundle])[..],
        [BundleRefusal::UnknownRoot { .. }]
    ));
}

#[test]
fn a_bundle_that_is_wrong_anywhere_has_no_effect() {
    let (source, mut destination) = recorded();
    let good = source.bundle(THERE, 0, 2).unwrap();
    let stranger = holder(1, 5).id;
    let change = |edit: &dyn Fn(&mut Bundle)| {
        let mut bad = good.clone();
        edit(&mut bad);
        assert_ne!(bad.digest(), good.digest());
        bad
    };
    let bad = [
        change(&|b| b.entries[0].amount += 1),
        change(&|b| b.entries[1].to = stranger),
        change(&|b| b.entries[0].asset = GOLD),
        change(&|b| b.entries[0].action = 1),
        change(&|b| b.entries[0].transaction = b.entries[1].transaction),
        change(&|b| b.entries.swap(0, 1)),
        change(&|b| b.entries.truncate(1)),
        change(&|b| b.entries.clear()),
        change(&|b| b.from = 1),
        change(&|b| b.source = THERE),
        change(&|b| b.source = ShardId::new(9)),
        change(&|b| b.destination = HERE),
        change(&|b| b.window = b.window.next()),
        change(&|b| b.proof.count = 4),
        change(&|b| b.proof.count = u64::MAX),
        change(&|b| b.proof.position = 1),
        change(&|b| b.proof.destinations = 2),
        change(&|b| b.proof.destinations = 0),
        change(&|b| b.proof.entries = b.proof.leaf.clone()),
    ];
    let listed: Vec<_> = bad.iter().collect();
    assert_eq!(refusals(&mut destination, &listed).len(), bad.len());
    assert_eq!(destination.consumed(HERE), 0);
    assert!(refusals(&mut destination, &[&good]).is_empty());
}

#[test]
fn a_bundle_is_bounded() {
    let (source, destination) = recorded();
    let mut large = source.bundle(THERE, 0, 2).unwrap();
    large
        .entries
        .resize(MAX_BUNDLE_ENTRIES + 1, large.entries[0]);
    let root = destination
        .certified_root(HERE, WindowNumber::new(1))
        .unwrap();
    let got = MAX_BUNDLE_ENTRIES + 1;
    assert_eq!(large.verify(root), Err(BundleError::Size { got }));
    assert!(source.bundle(THERE, 0, 0).is_none());
}

#[test]
fn an_entry_for_another_shards_account_is_refused_even_when_proven() {
    // The source counts two shards, the destination three: it is lied to by a whole committee.
    let mut source = ledger(0);
    let mut destination = Ledger::genesis(config(1, 3), &[]);
    let lost = holder_where(0, |id| id.shard(2) == THERE && id.shard(3) != THERE);
    let paid = transaction(holder(0, 0), 0, vec![native(lost, 20)]);
    let _ = run(&mut source, vec![paid]);
    let seal = seal(&mut source, 1);
    let _ = record(&mut source, 2, &[certified(0, &seal, 0)]);
    let _ = record(&mut destination, 2, &[certified(0, &seal, 1)]);
    let bundle = source.bundle(THERE, 0, 9).unwrap();
    assert_eq!(
        refusals(&mut destination, &[&bundle]),
        [BundleRefusal::ForeignAccount]
    );
}

#[test]
fn a_credit_may_make_an_account_that_cannot_send() {
    let (mut source, mut destination) = (ledger(0), ledger(1));
    let new = holder(1, 8);
    let _ = run(
        &mut source,
        vec![transaction(holder(0, 0), 0, vec![pay(new, GOLD, 5)])],
    );
    let seal = seal(&mut source, 1);
    let _ = record(&mut source, 2, &[certified(0, &seal, 0)]);
    let _ = record(&mut destination, 2, &[certified(0, &seal, 1)]);
    let bundle = source.bundle(THERE, 0, 9).unwrap();
    assert!(refusals(&mut destination, &[&bundle]).is_empty());
    assert_eq!(destination.account(&new.id).unwrap().balances.get(GOLD), 5);
    let outcome = run(
        &mut destination,
        vec![transaction(new, 0, vec![pay(new, GOLD, 1)])],
    );
    let poor = Refusal::BelowMinimum {
        held: 0,
        minimum: MINIMUM,
    };
    assert_eq!(outcome.skipped[0].1, poor);
}

#[test]
fn a_full_pair_is_busy_until_credits_are_recorded() {
    let (mut source, mut destination) = (ledger(0), ledger(1));
    let cap = config(0, 2).pair_cap;
    send(&mut source, cap - 1);
    // Two in one transaction count both: nothing of it happens.
    let nonce = source.account(&holder(0, 0).id).unwrap().nonce;
    let two = vec![native(holder(1, 0), 20), native(holder(1, 0), 20)];
    let busy = ReceiptResult::Failed(Failure::Busy { destination: THERE });
    let block = Block {
        window: 50,
        transactions: vec![transaction(holder(0, 0), nonce, two)],
        ..Block::default()
    };
    assert_eq!(execute(&mut source, block).receipts[0].result, busy);
    send(&mut source, 1);
    assert_eq!(source.unacknowledged(THERE), cap);

    let first = seal(&mut source, 1);
    let _ = record(&mut source, 2, &[certified(0, &first, 0)]);
    let _ = record(&mut destination, 2, &[certified(0, &first, 1)]);
    let bundle = source.bundle(THERE, 0, 2).unwrap();
    assert!(refusals(&mut destination, &[&bundle]).is_empty());
    assert_eq!(
        source.unacknowledged(THERE),
        cap,
        "credited, but not recorded"
    );
    let back = certified(1, &seal(&mut destination, 2), 0);
    let _ = record(&mut source, 3, &[back]);
    assert_eq!(source.acknowledged(THERE), 2);
    send(&mut source, 2);
    assert!(
        source.bundle(THERE, 1, 9).is_none(),
        "acknowledged ones are gone"
    );
    assert_eq!(source.bundle(THERE, 2, 9).unwrap().entries.len(), 2);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_none() {
    let (mut source, mut destination) = recorded();
    let mut lie = certified(1, &seal(&mut destination, 2), 0);
    lie.flow = Some(lockstep_ledger::Flow {
        peer: HERE,
        sent_count: 0,
        received_count: 4,
        amounts: vec![],
    });
    let _ = record(&mut source, 3, &[lie]);
    assert_eq!(source.acknowledged(THERE), 0);
}

#[test]
fn bundles_against_old_roots_work_as_long_as_those_are_kept() {
    let (mut source, mut destination) = recorded();
    let bundle = source.bundle(THERE, 0, 9).unwrap();
    for window in 2..1 + MAX_CERTIFIED_ROOTS as u64 {
        let certified = certified(0, &seal(&mut source, window), 1);
        let _ = record(&mut destination, 2, &[certified]);
    }
    let mut behind = destination;
    let root = behind.certified_root(HERE, WindowNumber::new(1));
    assert!(root.is_some(), "the oldest that is kept");
    let next = certified(0, &seal(&mut source, 99), 1);
    let _ = record(&mut behind, 2, &[next]);
    assert!(matches!(
        refusals(&mut behind, &[&bundle])[..],
        [BundleRefusal::UnknownRoot { .. }]
    ));
    assert_eq!(behind.newest_certified(HERE), Some(WindowNumber::new(99)));
}

#[test]
fn a_record_that_contradicts_us_stops_us() {
    let (mut source, _) = (ledger(0), ());
    send(&mut source, 1);
    let mut wrong = certified(0, &seal(&mut source, 1), 0);
    wrong.outbox_root = MerkleRoot::ZERO;
    let outcome = record(&mut source, 2, &[wrong]);
    assert!(matches!(outcome.broken, Some(Broken::Diverged { .. })));
}

#[test]
fn an_absent_shard_remembers_a_bounded_number_of_seals() {
    let (mut source, mut destination) = (ledger(0), ledger(1));
    send(&mut source, 2);
    let first = seal(&mut source, 1);
    let _ = record(&mut source, 2, &[certified(0, &first, 0)]);
    let count = 3 * MAX_UNRECORDED_SEALS as u64;
    let mut last = first.clone();
    for window in 2..count {
        last = seal(&mut source, window);
    }
    assert!(
        source.bundle(THERE, 0, 9).is_some(),
        "the recorded one stays"
    );
    let _ = record(&mut source, 2, &[certified(0, &last, 0)]);
    let _ = record(&mut destination, 2, &[certified(0, &last, 1)]);
    let bundle = source.bundle(THERE, 0, 9).unwrap();
    assert_eq!(bundle.window, last.window);
    assert!(refusals(&mut destination, &[&bundle]).is_empty());
}

#[test]
fn flows_tell_both_directions() {
    let (mut source, mut destination) = recorded();
    let bundle = source.bundle(THERE, 0, 2).unwrap();
    let _ = bundles(&mut destination, 2, &[&bundle]);
    let [out] = &seal(&mut source, 2).flows[..] else {
        panic!("one peer")
    };
    assert_eq!(
        (out.peer, out.sent_count, out.received_count),
        (THERE, 3, 0)
    );
    assert_eq!(out.amounts[0].sent, 60);
    let there = seal(&mut destination, 2);
    let [into] = &there.flows[..] else {
        panic!("one peer")
    };
    assert_eq!(
        (into.peer, into.sent_count, into.received_count),
        (HERE, 0, 2)
    );
    assert_eq!(
        (into.amounts[0].asset, into.amounts[0].received),
        (AssetId::NATIVE, 40)
    );
    let native = there
        .supply
        .iter()
        .find(|s| s.asset == AssetId::NATIVE)
        .unwrap();
    assert_eq!((native.received, native.balances), (40, 3_040));
}
