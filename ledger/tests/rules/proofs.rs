//! What can be shown to somebody who trusts a root only.

use lockstep_ledger::{
    Durability, History, MAX_PROOF_STEPS, MemoryStore, ReceiptResult, SealChoice, Store, TrieJob,
};
use lockstep_types::{EffectsDigest, Height};

use crate::bench::*;

#[test]
fn a_seals_state_stays_readable_while_later_blocks_execute() {
    let (mut ledger, from, to) = (ledger(0), holder(0, 0), holder(0, 1));
    assert!(ledger.prove(&from.id, SealChoice::Newest).is_none());
    let first = seal(&mut ledger, 1);
    let _ = run(
        &mut ledger,
        vec![transaction(from, 0, vec![native(to, 100)])],
    );
    let second = seal(&mut ledger, 2);
    assert_ne!(first.state_root, second.state_root);
    let held = |choice, seal: &lockstep_ledger::Seal| {
        let proof = ledger.prove(&from.id, choice).unwrap();
        assert_eq!(proof.window, seal.window);
        let shown = proof.verify(&from.id, &seal.state_root).unwrap();
        shown.unwrap().native()
    };
    assert_eq!(held(SealChoice::Window(first.window), &first), 1_000);
    assert_eq!(held(SealChoice::Newest, &second), 900);
    let nobody = holder(0, 9).id;
    let absent = ledger.prove(&nobody, SealChoice::Newest).unwrap();
    assert_eq!(absent.verify(&nobody, &second.state_root), Ok(None));
    assert!(absent.verify(&nobody, &first.state_root).is_err());
    let _ = record(&mut ledger, 3, &[certified(0, &second, 0)]);
    assert!(
        ledger
            .prove(&from.id, SealChoice::Window(first.window))
            .is_none()
    );
    assert!(ledger.prove(&from.id, SealChoice::Recorded).is_some());
}

#[test]
fn a_proof_covers_the_rest_of_the_state_too() {
    let mut ledger = ledger(0);
    let seal = seal(&mut ledger, 1);
    let id = holder(0, 0).id;
    let mut proof = ledger.prove(&id, SealChoice::Newest).unwrap();
    assert!(proof.verify(&id, &seal.state_root).is_ok());
    (proof.supply, proof.meta) = (proof.meta, proof.supply);
    assert!(proof.verify(&id, &seal.state_root).is_err());
}

#[test]
fn blocks_may_execute_while_a_seals_jobs_run() {
    let finish = |between: bool| {
        let mut ledger = ledger(0);
        let actions = vec![native(holder(0, 1), 100)];
        let _ = run(
            &mut ledger,
            vec![transaction(holder(0, 0), 0, actions.clone())],
        );
        let block = Block {
            window: 1,
            seal: Some(1),
            ..Block::default()
        };
        let pending = execute(&mut ledger, block).seal.unwrap();
        let later = transaction(holder(0, 0), 1, actions);
        if between {
            let _ = run(&mut ledger, vec![later.clone()]);
        }
        let done = pending.jobs.into_iter().map(TrieJob::run).collect();
        let (first, _) = ledger.finish_seal(done);
        if !between {
            let _ = run(&mut ledger, vec![later]);
        }
        (first, seal(&mut ledger, 2))
    };
    assert_eq!(finish(true), finish(false));
}

#[test]
fn any_receipt_is_provable_from_any_later_digest() {
    let (mut ledger, store) = (ledger(0), MemoryStore::new());
    let (from, to) = (holder(0, 0), holder(0, 1));
    let mut digests = vec![EffectsDigest::ZERO];
    let mut ids = Vec::new();
    for nonce in 0..5 {
        let amount = if nonce == 3 { 5_000 } else { 5 };
        let paid = transaction(from, nonce, vec![native(to, amount)]);
        let other = transaction(to, nonce, vec![native(from, 5)]);
        ids.push(paid.id(&config(0, 2).genesis));
        let outcome = run(&mut ledger, vec![paid, other]);
        store.write(&outcome.writes, Durability::Buffered).unwrap();
        digests.push(outcome.digest);
    }
    let history = History::new(&store);
    for (nonce, id) in ids.iter().enumerate() {
        let (height, position) = history.find(id).unwrap().unwrap();
        assert_eq!((height.get(), position), (nonce as u64 + 1, 0));
        for upto in height.get()..=5 {
            let proof = history
                .prove(height, position, Height::new(upto))
                .unwrap()
                .unwrap();
            assert_eq!(proof.receipt.transaction(), *id);
            assert_eq!(proof.receipt.result == ReceiptResult::Applied, nonce != 3);
            let expected = &digests[upto as usize];
            assert_eq!(proof.verify(expected), Ok(()));
            assert!(proof.verify(&digests[upto as usize - 1]).is_err());

            let mut other = proof.clone();
            other.receipt.result = ReceiptResult::Applied;
            assert_eq!(other.verify(expected).is_ok(), nonce != 3);
            let mut other = proof.clone();
            other.position = 1;
            assert!(other.verify(expected).is_err());
            let mut other = proof.clone();
            other.count = 1;
            assert!(other.verify(expected).is_err());
            let mut other = proof.clone();
            other.previous = digests[upto as usize];
            assert!(other.verify(expected).is_err());
            let mut other = proof;
            let step = lockstep_ledger::ReceiptStep {
                receipts_root: Default::default(),
                effects: Default::default(),
            };
            other.steps.resize(MAX_PROOF_STEPS + 1, step);
            assert!(other.verify(expected).is_err());
        }
    }
    assert_eq!(history.prove(Height::new(2), 0, Height::new(1)), Ok(None));
    assert_eq!(history.prove(Height::new(2), 9, Height::new(2)), Ok(None));
    assert_eq!(history.prove(Height::new(2), 0, Height::new(6)), Ok(None));
    assert_eq!(
        history.block(Height::new(5)).unwrap().unwrap().digest(),
        digests[5]
    );
}

#[test]
fn a_credit_is_found_by_the_transaction_that_sent_it() {
    let (mut source, mut destination) = (ledger(0), ledger(1));
    let store = MemoryStore::new();
    let actions = vec![native(holder(0, 1), 20), native(holder(1, 0), 20)];
    let sent = transaction(holder(0, 0), 0, actions);
    let id = sent.id(&config(0, 2).genesis);
    let _ = run(&mut source, vec![sent]);
    let sealed = seal(&mut source, 1);
    let _ = record(&mut source, 2, &[certified(0, &sealed, 0)]);
    let certified = certified(0, &sealed, 1);
    let bundle = source.bundle(destination.config().shard, 0, 9).unwrap();
    let block = Block {
        window: 2,
        record: Some(&[certified]),
        bundles: vec![&bundle],
        ..Block::default()
    };
    let outcome = execute(&mut destination, block);
    store.write(&outcome.writes, Durability::Buffered).unwrap();
    let history = History::new(&store);
    let place = Some((Height::new(1), 0));
    assert_eq!(history.find_credit(&id, 1), Ok(place));
    assert_eq!(history.find_credit(&id, 0), Ok(None));
    assert_eq!(history.find(&id), Ok(None));
    assert_eq!(history.seals(), Ok(vec![]));
}

#[test]
fn a_seal_that_finishes_after_a_later_one_is_recorded_leaves_nothing_behind() {
    let mut ledger = ledger(0);
    let block = Block {
        window: 1,
        seal: Some(1),
        ..Block::default()
    };
    let pending = execute(&mut ledger, block).seal.unwrap();
    let mut later = ledger_seal_of_window(2);
    later.outbox_root = Default::default();
    let _ = record(&mut ledger, 3, &[certified(0, &later, 0)]);
    let done = pending.jobs.into_iter().map(TrieJob::run).collect();
    let (_, writes) = ledger.finish_seal(done);
    assert!(writes.is_empty());
    assert!(ledger.seal(SealChoice::Newest).is_none());
}

/// A seal of a window that the ledger under test has not sealed itself.
fn ledger_seal_of_window(window: u64) -> lockstep_ledger::Seal {
    seal(&mut ledger(0), window)
}
