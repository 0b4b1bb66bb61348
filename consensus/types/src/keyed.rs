//! A keyed hash in the place of signatures, for simulation and tests only.
//!
//! A simulated world signs millions of statements, and ECDSA would be all it does. Here a signature
//! is a hash over a secret of the world, the signer's public key and the digest. Whoever lacks the
//! world's secret cannot make one, and an actor of the world gets only the [`KeyedSigner`]s of its
//! own identities; so nobody signs for another, which is what the protocol needs of signatures.
//!
//! Breaks if: a real chain uses it. Every holder of the engine can sign for everybody.

use crate::{Claim, Digest, Engine, Hasher, PublicKey, Signature, Signer};

/// Makes and checks keyed-hash signatures of one simulated world.
#[derive(Clone)]
pub struct KeyedHashEngine {
    world_secret: [u8; 32],
}

impl KeyedHashEngine {
    /// An engine for one world.
    pub fn new(world_secret: [u8; 32]) -> Self {
        KeyedHashEngine { world_secret }
    }

    /// The signer of an invented identity. Its public key is not a point of the curve's group and
    /// serves only in this world.
    pub fn signer(&self, name: &str) -> KeyedSigner {
        let digest = crate::hash("lockstep/keyed-identity", &name);
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(digest.as_bytes());
        self.signer_for(PublicKey::new(bytes))
    }

    /// The signer of an identity that has a real public key, as in a chain whose genesis was made
    /// for real keys and which is now run in a simulated world.
    pub fn signer_for(&self, public: PublicKey) -> KeyedSigner {
        KeyedSigner {
            engine: self.clone(),
            public,
        }
    }

    fn tag(&self, key: &PublicKey, digest: &Digest) -> Signature {
        let tag = Hasher::new("lockstep/keyed-signature")
            .bytes(&self.world_secret)
            .value(key)
            .value(digest)
            .finish();
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(tag.as_bytes());
        Signature::new(bytes)
    }
}

impl Engine for KeyedHashEngine {
    fn check(&self, claims: &[Claim]) -> Vec<bool> {
        claims
            .iter()
            .map(|claim| self.tag(&claim.key, &claim.digest) == claim.signature)
            .collect()
    }
}

/// Signs for one identity of a simulated world.
#[derive(Clone)]
pub struct KeyedSigner {
    engine: KeyedHashEngine,
    public: PublicKey,
}

impl Signer for KeyedSigner {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, digest: &Digest) -> Signature {
        self.engine.tag(&self.public, digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    #[test]
    fn nobody_signs_for_another_nor_in_another_world() {
        let world = KeyedHashEngine::new([1; 32]);
        let other_world = KeyedHashEngine::new([2; 32]);
        let (alice, bob) = (world.signer("alice"), world.signer("bob"));
        let digest = hash("test", &1u8);
        let claim = |key, signature| Claim {
            key,
            digest,
            signature,
        };
        assert_eq!(
            world.check(&[
                claim(alice.public_key(), alice.sign(&digest)),
                claim(alice.public_key(), bob.sign(&digest)),
                claim(
                    alice.public_key(),
                    other_world.signer("alice").sign(&digest)
                ),
                claim(alice.public_key(), alice.sign(&hash("test", &2u8))),
            ]),
            [true, false, false, false]
        );
    }
}
