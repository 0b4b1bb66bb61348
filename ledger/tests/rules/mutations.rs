//! Bytes from outside, changed at random: decoding never panics, what decodes has one encoding
//! only, and no proof is accepted for anything but the truth.

use std::sync::Arc;

use lockstep_ledger::{
    AccountProof, Bundle, Durability, History, Ledger, MAX_TRANSACTION_BYTES, MemoryStore,
    ReceiptProof, SealChoice, Store, Transaction,
};
use lockstep_types::codec::{decode, decode_canonical};
use lockstep_types::{AccountId, K256Engine, SecretKey, ShardId, Verifier, WindowNumber};
use parity_scale_codec::{DecodeLimit, Encode};

use crate::bench::{
    self, allocations, certified, config, holder, ledger, native, record, seal, transaction,
};
use crate::random::Random;

const LIMIT: usize = 1 << 20;
const MUTANTS: u64 = 40_000;

/// `good` with one to three changes: a bit, a byte, a cut, a copy within.
fn mutate(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() as u64) as usize;
        if random.one_in(6) {
            bytes.truncate(at.max(1));
            continue;
        }
        match random.below(5) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            3 => bytes.insert(at, *random.pick(good)),
            _ => {
                let from = random.below(bytes.len() as u64) as usize;
                let length = random.below(40) as usize;
                let length = length.min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + length, at);
            }
        }
    }
    bytes
}

/// Feeds mutants of `good` to `judge` once they decode; says how many did.
fn mutants<T>(good: &T, count: u64, mut judge: impl FnMut(&T)) -> u64
where
    T: Encode + DecodeLimit + PartialEq + core::fmt::Debug,
{
    let bytes = good.encode();
    let mut random = Random::new(bytes.len() as u64);
    let mut decoded = 0;
    for _ in 0..count {
        let mutant = mutate(&mut random, &bytes);
        let Ok(value) = decode::<T>(&mutant, LIMIT) else {
            continue;
        };
        assert!(
            decode_canonical::<T>(&mutant, LIMIT).is_ok(),
            "one encoding only"
        );
        decoded += 1;
        judge(&value);
    }
    assert!(decoded > count / 100, "mutants that decode: {decoded}");
    decoded
}

/// A ledger with some history, its store, and its last seal recorded.
fn past() -> (Ledger, MemoryStore, lockstep_ledger::Seal) {
    let (mut ledger, store) = (ledger(0), MemoryStore::new());
    for nonce in 0..3 {
        let actions = vec![
            native(holder(0, 1), 20),
            native(holder(1, 0), 20 + u128::from(nonce)),
        ];
        let outcome = bench::run(&mut ledger, vec![transaction(holder(0, 0), nonce, actions)]);
        store.write(&outcome.writes, Durability::Buffered).unwrap();
    }
    let sealed = seal(&mut ledger, 1);
    let _ = record(&mut ledger, 2, &[certified(0, &sealed, 0)]);
    (ledger, store, sealed)
}

#[test]
fn no_mutant_of_a_bundle_credits_anything_else() {
    let (ledger, _, sealed) = past();
    let there = ShardId::new(1);
    let truth = ledger.bundle(there, 0, 9).unwrap();
    assert_eq!(truth.entries.len(), 3);
    let mut accepted = 0;
    for good in [truth.clone(), ledger.bundle(there, 1, 1).unwrap()] {
        mutants::<Bundle>(&good, MUTANTS, |mutant| {
            if mutant.verify(&sealed.outbox_root).is_ok() {
                accepted += 1;
                let from = mutant.from as usize;
                assert_eq!(mutant.destination, there);
                assert_eq!(
                    mutant.entries,
                    truth.entries[from..from + mutant.entries.len()]
                );
            }
        });
    }
    assert!(accepted > 0, "changes of what the proof need not cover");
}

#[test]
fn no_mutant_of_an_account_proof_shows_anything_else() {
    let (ledger, _, sealed) = past();
    let ids: Vec<AccountId> = allocations().iter().map(|(id, ..)| *id).collect();
    for asked in [holder(0, 0).id, holder(0, 9).id] {
        let good = ledger.prove(&asked, SealChoice::Newest).unwrap();
        mutants::<AccountProof>(&good, MUTANTS, |mutant| {
            for id in ids.iter().chain([&asked]) {
                if let Ok(shown) = mutant.verify(id, &sealed.state_root) {
                    assert_eq!(shown, ledger.account(id));
                }
            }
        });
    }
}

#[test]
fn no_mutant_of_a_receipt_proof_shows_another_receipt() {
    let (ledger, store, _) = past();
    let history = History::new(&store);
    let (low, high) = (2, 3);
    let height = lockstep_types::Height::new;
    let good = history
        .prove(height(low), 0, height(high))
        .unwrap()
        .unwrap();
    let digest = history.block(height(high)).unwrap().unwrap().digest();
    assert!(ledger.height() > height(high));
    assert_eq!(good.verify(&digest), Ok(()));
    let mut wrong = 0;
    mutants::<ReceiptProof>(&good, MUTANTS, |mutant| match mutant.verify(&digest) {
        Ok(()) => assert_eq!(mutant, &good),
        Err(_) => wrong += 1,
    });
    assert!(wrong > 0);
}

#[test]
fn no_mutant_of_a_transaction_is_signed() {
    let key = SecretKey::insecure_from_seed(1, "mutations");
    let genesis = config(0, 2).genesis;
    let actions = vec![native(holder(0, 1), 20), native(holder(1, 0), 1 << 70)];
    let good = Transaction::sign(&genesis, &key, 70, WindowNumber::new(9), actions);
    assert!(good.encoded_size() < MAX_TRANSACTION_BYTES);
    let verifier = Verifier::new(Arc::new(K256Engine::new()));
    mutants::<Transaction>(&good, 2_000, |mutant| {
        if mutant != &good {
            assert!(verifier.check(mutant.clone(), &genesis).is_err());
        }
    });
}
