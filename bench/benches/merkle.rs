//! Bulk updates of the state trie, on one thread.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lockstep_bench::workload;
use lockstep_ledger::Ledger;
use lockstep_ledger::merkle::Trie;

const ACCOUNTS: u32 = 100_000;

fn update(c: &mut Criterion) {
    let accounts = workload::allocations(&[], ACCOUNTS);
    let ledger = Ledger::genesis(workload::config(), &accounts);
    let changes: Vec<_> = accounts
        .iter()
        .map(|(id, ..)| {
            (
                *id,
                Arc::new(ledger.account(id).expect("allocated").clone()),
            )
        })
        .collect();
    let trie = Trie::default().updated(changes.iter().cloned());
    let mut group = c.benchmark_group("merkle");
    for count in [1_000usize, 10_000] {
        let some: Vec<_> = changes
            .iter()
            .step_by(changes.len() / count)
            .take(count)
            .cloned()
            .collect();
        group.throughput(Throughput::Elements(some.len() as u64));
        group.bench_function(BenchmarkId::new("update", count), |b| {
            b.iter(|| trie.updated(black_box(&some).iter().cloned()))
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("proof", |b| {
        b.iter(|| trie.walk(black_box(&accounts[77].0)))
    });
    group.finish();
}

criterion_group!(benches, update);
criterion_main!(benches);
