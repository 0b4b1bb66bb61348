//! Checking many signatures at a time. Callers collect claims and hand them over together, so that
//! a faster engine (several lanes, batch equations, hardware) can replace this one unseen.

use std::collections::BTreeMap;
use std::sync::RwLock;

use k256::ecdsa::{VerifyingKey, signature::hazmat::PrehashVerifier};

use crate::{Digest, PublicKey, Signature};

/// "The owner of `key` signed `digest`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who signed.
    pub key: PublicKey,
    /// What was signed.
    pub digest: Digest,
    /// The signature.
    pub signature: Signature,
}

/// Checks signatures.
pub trait Engine: Send + Sync {
    /// One answer per claim, in order. Each claim is judged on its own: a bad one never spoils or
    /// saves another.
    fn check(&self, claims: &[Claim]) -> Vec<bool>;
}

/// Decompressed keys kept. 65,536 keys of about 150 bytes are 10 MiB; beyond that all are dropped
/// and the ones in use come back at 6 µs each.
const MAX_CACHED_KEYS: usize = 65_536;

/// Standard ECDSA over secp256k1 with low-s, by k256.
#[derive(Default)]
pub struct K256Engine {
    keys: RwLock<BTreeMap<PublicKey, VerifyingKey>>,
}

impl K256Engine {
    /// An engine with an empty key cache.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&self, key: &PublicKey) -> Option<VerifyingKey> {
        let known = self
            .keys
            .read()
            .expect("no holder of this lock panics")
            .get(key)
            .copied();
        if known.is_some() {
            return known;
        }
        let parsed = VerifyingKey::from_sec1_bytes(key.as_bytes()).ok()?;
        let mut keys = self.keys.write().expect("no holder of this lock panics");
        if keys.len() >= MAX_CACHED_KEYS {
            keys.clear();
        }
        keys.insert(*key, parsed);
        Some(parsed)
    }

    fn check_one(&self, claim: &Claim) -> bool {
        let Ok(signature) = k256::ecdsa::Signature::from_slice(claim.signature.as_bytes()) else {
            return false;
        };
        // Low-s is part of the format: without it every signature has a second valid form.
        if bool::from(signature.s().is_high_s()) {
            return false;
        }
        self.key(&claim.key).is_some_and(|key| {
            key.verify_prehash(claim.digest.as_bytes(), &signature)
                .is_ok()
        })
    }
}

trait HighS {
    fn is_high_s(&self) -> k256::elliptic_curve::subtle::Choice;
}

impl HighS for k256::NonZeroScalar {
    fn is_high_s(&self) -> k256::elliptic_curve::subtle::Choice {
        use k256::elliptic_curve::scalar::IsHigh;
        self.is_high()
    }
}

impl Engine for K256Engine {
    fn check(&self, claims: &[Claim]) -> Vec<bool> {
        claims.iter().map(|claim| self.check_one(claim)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, Signer, hash};

    fn claim() -> Claim {
        let key = SecretKey::insecure_from_seed(0, "test");
        let digest = hash("test", &1u8);
        Claim {
            key: key.public_key(),
            digest,
            signature: key.sign(&digest),
        }
    }

    #[test]
    fn accepts_the_signature_and_nothing_near_it() {
        let engine = K256Engine::new();
        let good = claim();
        let other_digest = Claim {
            digest: hash("test", &2u8),
            ..good
        };
        let other_key = Claim {
            key: SecretKey::insecure_from_seed(1, "test").public_key(),
            ..good
        };
        let not_a_point = Claim {
            key: PublicKey::new([0xff; 33]),
            ..good
        };
        let zero = Claim {
            signature: Signature::new([0; 64]),
            ..good
        };
        let mut bytes = *good.signature.as_bytes();
        bytes[63] ^= 1;
        let flipped = Claim {
            signature: Signature::new(bytes),
            ..good
        };
        assert_eq!(
            engine.check(&[
                good,
                other_digest,
                other_key,
                not_a_point,
                zero,
                flipped,
                good
            ]),
            [true, false, false, false, false, false, true]
        );
    }

    #[test]
    fn refuses_the_high_s_twin() {
        let good = claim();
        let signature = k256::ecdsa::Signature::from_slice(good.signature.as_bytes()).unwrap();
        let twin = k256::ecdsa::Signature::from_scalars(signature.r(), -*signature.s()).unwrap();
        let twin = Claim {
            signature: Signature::new(twin.to_bytes().into()),
            ..good
        };
        assert_eq!(K256Engine::new().check(&[twin, good]), [false, true]);
    }

    #[test]
    fn the_key_cache_is_bounded() {
        let engine = K256Engine::new();
        let good = claim();
        let key = VerifyingKey::from_sec1_bytes(good.key.as_bytes()).unwrap();
        {
            let mut keys = engine.keys.write().unwrap();
            for i in 0..MAX_CACHED_KEYS as u32 {
                let mut bytes = [0; 33];
                bytes[..4].copy_from_slice(&i.to_be_bytes());
                keys.insert(PublicKey::new(bytes), key);
            }
        }
        assert_eq!(engine.check(&[good]), [true]);
        assert_eq!(engine.keys.read().unwrap().len(), 1);
    }
}
