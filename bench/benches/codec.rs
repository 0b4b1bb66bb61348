//! Encoding and decoding of a signed transfer.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use lockstep_bench::workload;
use lockstep_ledger::{MAX_TRANSACTION_BYTES, Transaction};
use lockstep_types::codec;
use parity_scale_codec::Encode;
use std::hint::black_box;

fn transfer(c: &mut Criterion) {
    let keys = workload::keys(2);
    let accounts = workload::allocations(&keys, 0);
    let transaction = workload::transfers(&keys, &accounts, 3).remove(0);
    let bytes = transaction.encode();
    let genesis = workload::genesis();
    c.bench_function("codec/transfer_encode", |b| {
        b.iter(|| black_box(&transaction).encode())
    });
    c.bench_function("codec/transfer_decode", |b| {
        b.iter(|| codec::decode_canonical::<Transaction>(black_box(&bytes), MAX_TRANSACTION_BYTES))
    });
    c.bench_function("codec/transfer_id", |b| {
        b.iter(|| black_box(&transaction).id(&genesis))
    });
}

criterion_group!(benches, transfer);
criterion_main!(benches);
