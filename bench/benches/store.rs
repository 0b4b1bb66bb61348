//! Writes to the database as a validator makes them: the log synced before a vote, the state
//! buffered behind. Set TMPDIR to a directory on the disk in question.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockstep_ledger::{Column, Durability, RocksStore, Store, Write};

/// Rising keys, as in the log.
fn log_writes(number: &mut u64, bytes: usize) -> Vec<Write> {
    *number += 1;
    vec![Write::put(
        Column::Batches,
        number.to_be_bytes(),
        vec![0x5a; bytes],
    )]
}

/// Keys all over the column, as accounts are.
fn state_writes(number: &mut u64, count: u64) -> Vec<Write> {
    let key = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let writes = (*number..*number + count)
        .map(|i| Write::put(Column::Accounts, key(i % 100_000), vec![0x5a; 48]))
        .collect();
    *number += count;
    writes
}

fn write(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = RocksStore::open(&directory.path().join("store")).expect("a fresh database");
    let mut number = 0;
    let mut group = c.benchmark_group("store");
    group.sample_size(30);
    for kib in [4usize, 64, 1024] {
        group.throughput(Throughput::Bytes(kib as u64 * 1024));
        group.bench_function(BenchmarkId::new("log_synced_kib", kib), |b| {
            b.iter_batched(
                || log_writes(&mut number, kib * 1024),
                |writes| store.write(&writes, Durability::Synced),
                criterion::BatchSize::PerIteration,
            )
        });
    }
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("state_buffered_2000_keys", |b| {
        b.iter_batched(
            || state_writes(&mut number, 2_000),
            |writes| store.write(&writes, Durability::Buffered),
            criterion::BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group!(benches, write);
criterion_main!(benches);
