//! From the store back to a ledger.

use lockstep_ledger::{
    Column, Durability, History, Ledger, LedgerError, MemoryStore, Store, TrieJob, Write,
};
use lockstep_types::{ShardId, WindowNumber};

use crate::bench::*;

fn load(store: &MemoryStore) -> Result<Ledger, LedgerError> {
    Ledger::load(config(0, 2), &allocations(), store)
}

/// A store with a few blocks, a seal among them; and the ledger that wrote it.
fn written() -> (MemoryStore, Ledger) {
    let (mut ledger, store) = (ledger(0), MemoryStore::new());
    for nonce in 0..3 {
        let actions = vec![native(holder(1, 0), 20), native(holder(0, 8), 20)];
        let transactions = vec![transaction(holder(0, 0), nonce, actions)];
        let seal = (nonce == 1).then_some(1);
        let outcome = execute(
            &mut ledger,
            Block {
                window: 1,
                transactions,
                seal,
                ..Block::default()
            },
        );
        let mut writes = outcome.writes;
        if let Some(pending) = outcome.seal {
            let done = pending.jobs.into_iter().map(TrieJob::run).collect();
            writes.extend(ledger.finish_seal(done).1);
        }
        store.write(&writes, Durability::Synced).unwrap();
    }
    (store, ledger)
}

#[test]
fn an_empty_store_is_genesis() {
    let ledger = load(&MemoryStore::new()).unwrap();
    assert_eq!(ledger.height().get(), 0);
    assert_eq!(ledger.digest(), lockstep_types::EffectsDigest::ZERO);
    assert_eq!(ledger.account_count(), 3);
}

#[test]
fn everything_comes_back() {
    let (store, mut ledger) = written();
    let mut loaded = load(&store).unwrap();
    assert_eq!(loaded.height(), ledger.height());
    assert_eq!(loaded.digest(), ledger.digest());
    assert_eq!(loaded.supply(), ledger.supply());
    assert_eq!(loaded.flows(), ledger.flows());
    assert_eq!(loaded.account_count(), 4, "untouched accounts too");
    let [sealed] = &History::new(&store).seals().unwrap()[..] else {
        panic!("one seal was finished")
    };
    assert_eq!(sealed.window, WindowNumber::new(1));
    // The seal from before the restart can still be recorded and served from.
    for ledger in [&mut ledger, &mut loaded] {
        let _ = record(ledger, 2, &[certified(0, sealed, 0)]);
    }
    let there = ShardId::new(1);
    assert_eq!(loaded.bundle(there, 0, 9), ledger.bundle(there, 0, 9));
    assert_eq!(loaded.provable(there), 0..2);
    assert_eq!(seal(&mut loaded, 2), seal(&mut ledger, 2));
}

fn damaged(key: &[u8], change: impl Fn(Option<Vec<u8>>) -> Option<Vec<u8>>) -> LedgerError {
    let (store, _) = written();
    let column = if key.len() == 20 {
        Column::Accounts
    } else {
        Column::Meta
    };
    let old = store.get(column, key).unwrap();
    assert!(old.is_some(), "there is something to damage");
    let write = Write {
        column,
        key: key.to_vec(),
        value: change(old),
    };
    store.write(&[write], Durability::Synced).unwrap();
    load(&store).unwrap_err()
}

#[test]
fn a_damaged_state_is_not_opened() {
    let other_version = damaged(b"h", |old| {
        let mut bytes = old.unwrap();
        bytes[0] = 77;
        Some(bytes)
    });
    assert_eq!(
        other_version,
        LedgerError::Format {
            got: 77,
            expected: 1
        }
    );
    let shorten = |old: Option<Vec<u8>>| {
        let mut bytes = old.unwrap();
        bytes.pop();
        Some(bytes)
    };
    let entry = [b"o\0\x01".as_slice(), &[0; 8]].concat();
    let sealed = [b"s".as_slice(), &1u64.to_be_bytes()].concat();
    let account = *holder(0, 8).id.as_bytes();
    for key in [&b"h"[..], b"p\0\x01", &entry, &sealed, &account] {
        assert!(
            matches!(damaged(key, shorten), LedgerError::Damaged(_)),
            "{key:?}"
        );
    }
    for key in [&entry[..], b"p\0\x01"] {
        assert!(matches!(damaged(key, |_| None), LedgerError::Damaged(_)));
    }
    let richer = damaged(&account, |old| {
        let mut bytes = old.unwrap();
        let amount = bytes.iter().position(|&byte| byte == 60 << 2).unwrap();
        bytes[amount] = 63 << 2;
        Some(bytes)
    });
    assert!(matches!(richer, LedgerError::Broken(_)));
}
