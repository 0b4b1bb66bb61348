//! What every store must do, as one suite. Panics at the first thing that does not hold.

use super::{Column, Durability, Store, Write};

fn put(column: Column, key: &[u8], value: &[u8]) -> Write {
    Write::put(column, key, value.to_vec())
}

fn keys(store: &dyn Store, column: Column, from: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let scanned = store.scan(column, from, &mut |key, _| {
        keys.push(key.to_vec());
        keys.len() < limit
    });
    scanned.expect("the store works");
    keys
}

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store does not conform.
pub fn check(store: &dyn Store) {
    columns_are_apart(store);
    keys_are_ordered(store);
    the_last_change_wins(store);
    survives_odd_bytes(store);
}

/// Writes what [`check_reopened`] looks for.
///
/// # Panics
/// When a write fails.
pub fn prepare_reopen(store: &dyn Store) {
    let writes: Vec<Write> = Column::ALL
        .iter()
        .map(|&column| put(column, b"kept", column.name().as_bytes()))
        .collect();
    let buffered = store.write(&writes, Durability::Buffered);
    buffered.expect("the store works");
    let synced = store.write(&[put(Column::Meta, b"synced", b"1")], Durability::Synced);
    synced.expect("the store works");
}

/// After a store has been closed and opened again: everything written before the last synced write
/// is there, and so is that write.
///
/// # Panics
/// When something is missing.
pub fn check_reopened(store: &dyn Store) {
    for column in Column::ALL {
        let found = store.get(column, b"kept").expect("the store works");
        assert_eq!(found.as_deref(), Some(column.name().as_bytes()));
    }
    let synced = store.get(Column::Meta, b"synced").expect("the store works");
    assert_eq!(synced.as_deref(), Some(&b"1"[..]));
}

fn columns_are_apart(store: &dyn Store) {
    for column in Column::ALL {
        let before = store.get(column, b"k").expect("the store works");
        assert_eq!(before, None, "an empty store");
        let write = put(column, b"k", column.name().as_bytes());
        let written = store.write(&[write], Durability::Buffered);
        written.expect("the store works");
    }
    for column in Column::ALL {
        let found = store.get(column, b"k").expect("the store works");
        assert_eq!(found.as_deref(), Some(column.name().as_bytes()));
        let written = store.write(&[Write::delete(column, *b"k")], Durability::Synced);
        written.expect("the store works");
        assert!(keys(store, column, b"", 1).is_empty());
    }
}

fn keys_are_ordered(store: &dyn Store) {
    let column = Column::Blocks;
    let names: [&[u8]; 6] = [b"b", b"a", b"\xff\xff", b"a\x00", b"ab", b"\x00"];
    let writes: Vec<Write> = names.iter().map(|name| put(column, name, name)).collect();
    let written = store.write(&writes, Durability::Buffered);
    written.expect("the store works");
    let mut sorted = names.map(<[u8]>::to_vec).to_vec();
    sorted.sort();
    assert_eq!(keys(store, column, b"", 100), sorted);
    assert_eq!(keys(store, column, b"a", 2), sorted[1..3]);
    assert_eq!(keys(store, column, b"aa", 1), sorted[3..4]);
    assert!(keys(store, column, b"\xff\xff\x00", 1).is_empty());
}

fn the_last_change_wins(store: &dyn Store) {
    let column = Column::Accounts;
    let writes = [
        put(column, b"x", b"1"),
        Write::delete(column, *b"x"),
        put(column, b"y", b"1"),
        put(column, b"x", b"2"),
        Write::delete(column, *b"y"),
        Write::delete(column, *b"never there"),
    ];
    let written = store.write(&writes, Durability::Synced);
    written.expect("the store works");
    let x = store.get(column, b"x").expect("the store works");
    assert_eq!(x.as_deref(), Some(&b"2"[..]));
    let y = store.get(column, b"y").expect("the store works");
    assert_eq!(y, None);
    let nothing = store.write(&[], Durability::Synced);
    nothing.expect("nothing to write is no failure");
}

fn survives_odd_bytes(store: &dyn Store) {
    let long = vec![7; 1 << 20];
    let writes = [
        put(Column::Batches, b"long", &long),
        put(Column::Batches, b"empty", b""),
        put(Column::Batches, &[0; 300], b"long key"),
    ];
    let written = store.write(&writes, Durability::Synced);
    written.expect("the store works");
    let read = |key: &[u8]| store.get(Column::Batches, key).expect("the store works");
    assert_eq!(read(b"long"), Some(long));
    assert_eq!(read(b"empty"), Some(Vec::new()));
    assert_eq!(read(&[0; 300]).as_deref(), Some(&b"long key"[..]));
}
