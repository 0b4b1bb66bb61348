//! A replica without state gets it from others, in parts, and goes on as if it had never lost it.

use lockstep_ledger::{
    Durability, Ledger, LedgerError, LedgerSnapshot, MemoryStore, ProofError, SealChoice, Store,
    TriePart, TriePath,
};
use lockstep_types::{Digest, WindowNumber};

use crate::bench::*;

/// A ledger with traffic in both directions, a recorded seal, and what came after that seal: one
/// entry is acknowledged and new ones are on their way.
fn busy() -> (Ledger, LedgerSnapshot) {
    let (mut here, mut there) = (ledger(0), ledger(1));
    let to = holder(1, 0);
    for nonce in 0..3 {
        let pays = vec![native(to, 20), native(holder(0, 7 + nonce as usize), 15)];
        let _ = run(&mut here, vec![transaction(holder(0, 0), nonce, pays)]);
    }
    let pays = vec![native(holder(0, 0), 30)];
    let _ = run(&mut there, vec![transaction(holder(1, 1), 0, pays)]);
    let (ours, theirs) = (seal(&mut here, 1), seal(&mut there, 1));
    let first = [certified(0, &ours, 0), certified(1, &theirs, 0)];
    let _ = record(&mut here, 2, &first);
    let _ = record(&mut there, 2, &[certified(0, &ours, 1)]);
    let credit = there.bundle(holder_shard(0), 0, 9);
    assert!(credit.is_none(), "their own seal is not recorded there");
    let bundle = here.bundle(holder_shard(1), 0, 1).unwrap();
    let _ = bundles(&mut there, 2, &[&bundle]);
    // The account of a credit or payment keeps a count of the window before.
    let _ = run_in(&mut here, 2, 3);
    let (ours, theirs) = (seal(&mut here, 2), seal(&mut there, 2));
    let snapshot = here.snapshot(SealChoice::Newest).unwrap();
    assert_eq!(snapshot.seal, ours);
    let second = [certified(0, &ours, 0), certified(1, &theirs, 0)];
    let _ = record(&mut here, 3, &second);
    assert_eq!(here.acknowledged(holder_shard(1)), 1);
    (here, snapshot)
}

fn holder_shard(shard: u16) -> lockstep_types::ShardId {
    lockstep_types::ShardId::new(shard)
}

fn run_in(ledger: &mut Ledger, window: u64, nonce: u64) -> lockstep_types::EffectsDigest {
    let pays = vec![native(holder(0, 1), 12), native(holder(1, 2), 12)];
    let block = Block {
        window,
        transactions: vec![transaction(holder(0, 0), nonce, pays)],
        ..Block::default()
    };
    execute(ledger, block).digest
}

/// Fetches everything into a store.
fn fetched(snapshot: &LedgerSnapshot) -> MemoryStore {
    let store = MemoryStore::new();
    snapshot.frame.verify(&snapshot.seal).unwrap();
    let mut wanted = vec![(TriePath::ROOT, snapshot.frame.accounts)];
    while let Some((path, hash)) = wanted.pop() {
        let part = snapshot.accounts(&path).unwrap();
        let below = part.verify(&hash).unwrap();
        wanted.extend(below.iter().map(|(way, hash)| (path.then(way), *hash)));
        store.write(&part.writes(), Durability::Synced).unwrap();
    }
    for range in snapshot.frame.entries() {
        let part = snapshot.entries(&range).unwrap();
        snapshot.frame.verify_entries(&range, &part).unwrap();
        let writes = part.writes(&range);
        store.write(&writes, Durability::Synced).unwrap();
    }
    store
}

fn install(snapshot: &LedgerSnapshot, store: &MemoryStore) -> Result<Ledger, LedgerError> {
    let (seal, frame) = (&snapshot.seal, &snapshot.frame);
    let writes = Ledger::install(config(0, 2), seal, frame, store)?;
    store.write(&writes, Durability::Synced)?;
    Ledger::load(config(0, 2), &allocations(), store)
}

#[test]
fn an_installed_ledger_goes_on_like_the_one_it_came_from() {
    let (_, snapshot) = busy();
    let store = fetched(&snapshot);
    let unseen = Ledger::load(config(0, 2), &allocations(), &store).unwrap();
    assert_eq!(
        unseen.height().get(),
        0,
        "nothing is believed before the head is there"
    );
    let mut installed = install(&snapshot, &store).unwrap();
    assert_eq!(installed.height(), snapshot.seal.height);
    assert_eq!(installed.digest(), snapshot.seal.digest);
    assert_eq!(installed.recorded(), Some(WindowNumber::new(1)));

    // The same blocks as `busy` ends with, and more.
    let mut original = rewound();
    for ledger in [&mut original, &mut installed] {
        let own = certified(0, &snapshot.seal, 0);
        let applied = record(ledger, 3, &[own]);
        assert_eq!(applied.broken, None);
        run_in(ledger, 3, 4);
    }
    assert_eq!(installed.digest(), original.digest());
    assert_eq!(seal(&mut installed, 3), seal(&mut original, 3));
    let to = holder_shard(1);
    let from = original.acknowledged(to);
    assert_eq!(installed.bundle(to, from, 9), original.bundle(to, from, 9));
    assert!(installed.bundle(to, from, 9).is_some());
}

/// The ledger of `busy` at the seal of its snapshot.
fn rewound() -> Ledger {
    let (_, snapshot) = busy();
    let (mut here, mut there) = (ledger(0), ledger(1));
    for nonce in 0..3 {
        let pays = vec![
            native(holder(1, 0), 20),
            native(holder(0, 7 + nonce as usize), 15),
        ];
        let _ = run(&mut here, vec![transaction(holder(0, 0), nonce, pays)]);
    }
    let pays = vec![native(holder(0, 0), 30)];
    let _ = run(&mut there, vec![transaction(holder(1, 1), 0, pays)]);
    let (ours, theirs) = (seal(&mut here, 1), seal(&mut there, 1));
    let _ = record(
        &mut here,
        2,
        &[certified(0, &ours, 0), certified(1, &theirs, 0)],
    );
    run_in(&mut here, 2, 3);
    assert_eq!(seal(&mut here, 2), snapshot.seal);
    here
}

#[test]
fn entries_come_with_the_snapshot_though_they_are_acknowledged_since() {
    let (here, snapshot) = busy();
    let [range] = snapshot.frame.entries()[..] else {
        panic!("one destination")
    };
    assert_eq!((range.from, range.to), (0, 4));
    assert_eq!(here.acknowledged(range.destination), 1);
    let part = snapshot.entries(&range).unwrap();
    let mut other = part.clone();
    other.entries[2].amount += 1;
    assert!(snapshot.frame.verify_entries(&range, &other).is_err());
    other.entries.pop();
    assert!(snapshot.frame.verify_entries(&range, &other).is_err());
    let shifted = lockstep_ledger::EntryRange {
        from: 1,
        to: 5,
        ..range
    };
    assert!(snapshot.frame.verify_entries(&shifted, &part).is_err());
}

#[test]
fn a_frame_is_that_of_its_seal_only() {
    let (_, snapshot) = busy();
    let mut other = snapshot.frame.clone();
    other.accounts = Digest::ZERO;
    let refused = other.verify(&snapshot.seal);
    assert!(matches!(refused, Err(ProofError::OtherRoot { .. })));
    let mut later = snapshot.seal.clone();
    later.supply[0].balances += 1;
    assert!(snapshot.frame.verify(&later).is_err());
    let mut later = snapshot.seal.clone();
    later.outbox_root = later.inbox_root;
    assert!(snapshot.frame.verify(&later).is_err());
}

#[test]
fn what_the_disk_lost_or_changed_since_is_not_installed() {
    let (_, snapshot) = busy();
    let TriePart::Accounts(accounts) = snapshot.accounts(&TriePath::ROOT).unwrap() else {
        panic!("few accounts")
    };
    for mut changed in accounts {
        let store = fetched(&snapshot);
        changed.1.nonce += 1;
        let writes = TriePart::Accounts(vec![changed]).writes();
        store.write(&writes, Durability::Synced).unwrap();
        assert!(install(&snapshot, &store).is_err());
    }
    let range = snapshot.frame.entries()[0];
    let store = fetched(&snapshot);
    let mut part = snapshot.entries(&range).unwrap();
    part.entries[3].amount += 1;
    let writes = part.writes(&range);
    store.write(&writes, Durability::Synced).unwrap();
    assert!(install(&snapshot, &store).is_err());
}

#[test]
fn a_state_that_is_forgotten_gives_way_to_another() {
    let (_, snapshot) = busy();
    let store = fetched(&snapshot);
    let _ = install(&snapshot, &store).unwrap();
    let forget = Ledger::forget(&store).unwrap();
    store.write(&forget, Durability::Synced).unwrap();
    assert_eq!(
        Ledger::load(config(0, 2), &allocations(), &store)
            .unwrap()
            .height()
            .get(),
        0
    );
    assert!(install(&snapshot, &store).is_err(), "its entries are gone");
}
