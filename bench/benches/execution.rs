//! Executing a block of transfers whose signatures have been checked, and sealing it.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lockstep_bench::workload;
use lockstep_ledger::{Ledger, TrieJob};
use lockstep_types::WindowNumber;

const TRANSFERS: u32 = 1_000;
const ACCOUNTS: u32 = 20_000;

fn block(c: &mut Criterion) {
    let keys = workload::keys(TRANSFERS);
    let accounts = workload::allocations(&keys, ACCOUNTS);
    let transactions = workload::transfers(&keys, &accounts, 0);
    let fresh = || Ledger::genesis(workload::config(), &accounts);
    let mut group = c.benchmark_group("execution");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(u64::from(TRANSFERS)));
    group.bench_function("transfers", |b| {
        b.iter_batched_ref(
            fresh,
            |ledger| workload::execute(ledger, &transactions, None),
            BatchSize::PerIteration,
        )
    });
    group.bench_function("transfers_and_seal", |b| {
        b.iter_batched_ref(
            fresh,
            |ledger| {
                let seal = Some(WindowNumber::new(1));
                let outcome = workload::execute(ledger, &transactions, seal);
                let jobs = outcome.seal.expect("the block is a seal").jobs;
                ledger.finish_seal(jobs.into_iter().map(TrieJob::run).collect())
            },
            BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group!(benches, block);
criterion_main!(benches);
