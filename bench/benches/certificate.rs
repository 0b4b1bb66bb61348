//! Checking a quorum certificate for the first time, and meeting it again.
#![allow(
    missing_docs,
    reason = "the macros of criterion make public items without docs"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use lockstep_types::{
    BlockId, Committee, CommitteeId, Domain, Epoch, EpochContext, GenesisHash, K256Engine,
    QuorumCertificate, SecretKey, ShardId, Signer, Signers, Verifier, View, Vote, hash,
};

fn certificate(members: u32) -> (EpochContext, QuorumCertificate) {
    let keys: Vec<_> = (0..members)
        .map(|i| SecretKey::insecure_from_seed(u64::from(i), "bench"))
        .collect();
    let committee = Committee::new(keys.iter().map(SecretKey::public_key).collect())
        .expect("distinct keys, at most 64");
    let domain = Domain {
        genesis: GenesisHash::new(hash("lockstep/bench", &0u8)),
        committee: CommitteeId::Shard(ShardId::new(0)),
    };
    let (epoch, view) = (Epoch::ZERO, View::new(7));
    let block = BlockId::new(hash("lockstep/bench-block", &0u8));
    let mut signers = Signers::default();
    let signatures = committee
        .indices()
        .take(committee.quorum())
        .map(|member| {
            signers.insert(member);
            Vote::sign(&keys[member.get()], &domain, member, epoch, view, block).signature
        })
        .collect();
    let root = BlockId::new(hash("lockstep/bench-root", &0u8));
    let context = EpochContext {
        domain,
        epoch,
        committee,
        root,
    };
    (
        context,
        QuorumCertificate {
            epoch,
            view,
            block,
            signers,
            signatures,
        },
    )
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("certificate");
    for members in [4u32, 31] {
        let (context, qc) = certificate(members);
        let engine = Arc::new(K256Engine::new());
        let verifier = Verifier::new(engine.clone());
        verifier
            .check(qc.clone(), &context)
            .expect("a quorum signed it");
        group.bench_function(BenchmarkId::new("first", members), |b| {
            b.iter_batched(
                // A new memory of certificates, over the same cache of keys.
                || (Verifier::new(engine.clone()), qc.clone()),
                |(verifier, qc)| verifier.check(black_box(qc), &context),
                BatchSize::SmallInput,
            )
        });
        group.bench_function(BenchmarkId::new("again", members), |b| {
            b.iter_batched(
                || qc.clone(),
                |qc| verifier.check(black_box(qc), &context),
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
