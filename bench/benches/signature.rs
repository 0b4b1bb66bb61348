//! Signing, and checking one signature or many with the engine validators use.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstep_types::{Claim, Engine, K256Engine, SecretKey, Signer, hash};
use std::hint::black_box;

const MANY: u32 = 256;

fn claims(keys: u32) -> Vec<Claim> {
    let keys: Vec<_> = (0..keys)
        .map(|i| SecretKey::insecure_from_seed(u64::from(i), "bench"))
        .collect();
    (0..MANY)
        .map(|number| {
            let key = &keys[number as usize % keys.len()];
            let digest = hash("lockstep/bench-claim", &number);
            Claim {
                key: key.public_key(),
                digest,
                signature: key.sign(&digest),
            }
        })
        .collect()
}

fn signature(c: &mut Criterion) {
    let key = SecretKey::insecure_from_seed(0, "bench");
    let digest = hash("lockstep/bench-sign", &0u8);
    c.bench_function("signature/sign", |b| {
        b.iter(|| key.sign(black_box(&digest)))
    });

    let engine = K256Engine::new();
    let known = claims(16);
    c.bench_function("signature/check_one", |b| {
        b.iter(|| engine.check(black_box(&known[..1])))
    });
    let mut group = c.benchmark_group("signature");
    group.throughput(Throughput::Elements(u64::from(MANY)));
    group.bench_function("check_many_known_keys", |b| {
        b.iter(|| engine.check(black_box(&known)))
    });
    let fresh = claims(MANY);
    group.bench_function("check_many_new_keys", |b| {
        b.iter_batched_ref(
            K256Engine::new,
            |engine| engine.check(black_box(&fresh)),
            criterion::BatchSize::LargeInput,
        )
    });
    group.finish();
}

criterion_group!(benches, signature);
criterion_main!(benches);
