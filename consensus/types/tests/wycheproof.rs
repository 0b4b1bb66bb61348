//! Project Wycheproof's vectors for ECDSA over secp256k1 with SHA-256, held against our verifier.
//!
//! Ours takes 64 raw bytes with a low s and a 33-byte key, so a vector is translated first: the key
//! is compressed, and a DER signature is read strictly. What cannot be translated cannot be sent to
//! us either, and must be one of the vectors to be refused. A valid signature with a high s has
//! to be refused, and its low twin accepted.

#![allow(clippy::unwrap_used)]

use k256::elliptic_curve::scalar::IsHigh;
use lockstep_types::{Claim, Digest, Engine, K256Engine, PublicKey, Signature};
use sha2::Digest as _;
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

/// A signature over a digest, and whether we must take it.
struct Vector {
    name: String,
    claim: Claim,
    valid: bool,
}

/// What became of the vectors of a set.
#[derive(Debug, Default)]
struct Read {
    vectors: Vec<Vector>,
    untranslatable: usize,
    high_s: usize,
}

impl core::fmt::Debug for Vector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.name)
    }
}

fn compress(point: &[u8]) -> PublicKey {
    assert_eq!((point.len(), point[0]), (65, 4), "an uncompressed point");
    let mut key = [0; 33];
    key[0] = 2 + (point[64] & 1);
    key[1..].copy_from_slice(&point[1..33]);
    PublicKey::new(key)
}

/// `r` then `s`, or nothing when the bytes are not one strict encoding of both.
fn raw(bytes: &[u8], der: bool) -> Option<[u8; 64]> {
    if der {
        let signature = k256::ecdsa::Signature::from_der(bytes).ok()?;
        Some(signature.to_bytes().into())
    } else {
        bytes.try_into().ok()
    }
}

fn is_high(signature: &k256::ecdsa::Signature) -> bool {
    bool::from(signature.s().is_high())
}

/// The same signature with the other s: n − s.
fn twin(signature: &k256::ecdsa::Signature) -> Signature {
    let twin = k256::ecdsa::Signature::from_scalars(signature.r(), -*signature.s()).unwrap();
    Signature::new(twin.to_bytes().into())
}

fn read(name: TestName, der: bool) -> Read {
    let mut read = Read::default();
    for group in TestSet::load(name).unwrap().test_groups {
        let key = compress(group.key.key.as_ref());
        for test in group.tests {
            let valid = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("no verdict on {}", test.tc_id),
            };
            let Some(bytes) = raw(test.sig.as_ref(), der) else {
                assert!(!valid, "{name:?} {}: valid, and not readable", test.tc_id);
                read.untranslatable += 1;
                continue;
            };
            let claim = Claim {
                key,
                digest: Digest::new(sha2::Sha256::digest(&test.msg).into()),
                signature: Signature::new(bytes),
            };
            let name = format!("{name:?} {} {}", test.tc_id, test.comment);
            let parsed = k256::ecdsa::Signature::from_slice(&bytes).ok();
            let high = parsed.as_ref().is_some_and(is_high);
            read.high_s += usize::from(valid && high);
            if let Some(parsed) = parsed.filter(|_| valid) {
                read.vectors.push(Vector {
                    name: format!("{name}, with the other s"),
                    claim: Claim {
                        signature: twin(&parsed),
                        ..claim
                    },
                    valid: high,
                });
            }
            read.vectors.push(Vector {
                name,
                claim,
                valid: valid && !high,
            });
        }
    }
    read
}

fn check(name: TestName, der: bool) -> Read {
    let read = read(name, der);
    let engine = K256Engine::new();
    let claims: Vec<Claim> = read.vectors.iter().map(|vector| vector.claim).collect();
    let together = engine.check(&claims);
    for (vector, together) in read.vectors.iter().zip(&together) {
        assert_eq!(*together, vector.valid, "{}", vector.name);
        // Alone, by an engine that has seen nothing before.
        let alone = K256Engine::new().check(&[vector.claim]);
        assert_eq!(alone, [vector.valid], "{}, alone", vector.name);
    }
    let valid = together.iter().filter(|answer| **answer).count();
    println!(
        "{name:?}: {} claims, {valid} valid, {} with a high s, {} unreadable",
        claims.len(),
        read.high_s,
        read.untranslatable
    );
    assert!(valid > 50 && claims.len() - valid > 100);
    read
}

#[test]
fn raw_signatures() {
    let read = check(TestName::EcdsaSecp256k1Sha256P1363, false);
    assert!(
        read.high_s > 10,
        "the set has valid signatures with a high s"
    );
}

#[test]
fn der_signatures() {
    let read = check(TestName::EcdsaSecp256k1Sha256, true);
    assert!(read.high_s > 10);
}

/// This set has our rule for s.
#[test]
fn der_signatures_as_bitcoin_reads_them() {
    let read = check(TestName::EcdsaSecp256k1Sha256Bitcoin, true);
    assert_eq!(read.high_s, 0);
}
