//! Coming back: opening the database and loading the state of a shard with many accounts,
//! including its whole Merkle trie.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstep_bench::workload;
use lockstep_ledger::{Durability, Ledger, RocksStore, Store};

const TRANSFERS: u32 = 2_000;
const ACCOUNTS: u32 = 50_000;
const BLOCKS: u64 = 5;

fn load(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let keys = workload::keys(TRANSFERS);
    let accounts = workload::allocations(&keys, ACCOUNTS);
    let mut ledger = Ledger::genesis(workload::config(), &accounts);
    let store = RocksStore::open(&path).expect("a fresh database");
    for nonce in 0..BLOCKS {
        let outcome = workload::execute(
            &mut ledger,
            &workload::transfers(&keys, &accounts, nonce),
            None,
        );
        store
            .write(&outcome.writes, Durability::Synced)
            .expect("room on the disk");
    }
    let digest = ledger.digest();
    drop(store);
    let mut group = c.benchmark_group("restart");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(accounts.len() as u64));
    group.bench_function("open_and_load", |b| {
        b.iter(|| {
            let store = RocksStore::open(&path).expect("the database of before");
            let ledger = Ledger::load(workload::config(), &accounts, &store);
            assert_eq!(ledger.expect("the state of before").digest(), digest);
        })
    });
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
