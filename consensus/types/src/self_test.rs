//! Do hashing and signatures work on this machine? Fixed vectors, checked once at start.
//!
//! Both have faster code for some processors than for others, and a wrong digest from one of these
//! would make this replica disagree with everybody, or accept what nobody signed. A node whose
//! vectors fail does not start.

use crate::{Claim, Digest, Engine, PublicKey, SecretKey, Signature, Signer, hash};

/// A primitive that does not give the published result here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not give the published result on this machine")]
pub struct SelfTestFailure(pub &'static str);

/// SHA-256: nothing, one block, two blocks (FIPS 180-2, appendix B), and 15,625 blocks at once,
/// which is what takes the widest code.
const HASHES: [(&[u8], usize, &str); 4] = [
    (
        b"",
        1,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    (
        b"abc",
        1,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    (
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        1,
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (
        b"a",
        1_000_000,
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ),
];

/// ECDSA with the secret key 1 and an RFC 6979 nonce over SHA-256 of this text.
const MESSAGE: &[u8] = b"Satoshi Nakamoto";
const SIGNATURE: &str = "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
                         2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5";

fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::new(sha2::Sha256::digest(bytes).into())
}

fn check(what: &'static str, holds: bool) -> Result<(), SelfTestFailure> {
    holds.then_some(()).ok_or(SelfTestFailure(what))
}

/// Tries SHA-256, signing, and the engine that this node will check signatures with.
///
/// # Errors
/// The first primitive whose result is not the published one.
pub fn self_test(engine: &dyn Engine) -> Result<(), SelfTestFailure> {
    for (text, times, expected) in HASHES {
        check(
            "SHA-256",
            sha256(&text.repeat(times)).to_string() == expected,
        )?;
    }
    let mut scalar = [0; 32];
    scalar[31] = 1;
    let key = SecretKey::from_bytes(&scalar).map_err(|_| SelfTestFailure("reading a key"))?;
    let digest = sha256(MESSAGE);
    let signature = key.sign(&digest);
    check(
        "ECDSA signing",
        hex::encode(signature.as_bytes()) == SIGNATURE,
    )?;
    let mut bent = *signature.as_bytes();
    bent[63] ^= 1;
    let claim = |key: PublicKey, digest, signature| Claim {
        key,
        digest,
        signature,
    };
    let other = SecretKey::insecure_from_seed(0, "self-test").public_key();
    let answers = engine.check(&[
        claim(key.public_key(), digest, signature),
        claim(key.public_key(), digest, Signature::new(bent)),
        claim(
            key.public_key(),
            hash("lockstep/self-test", &0u8),
            signature,
        ),
        claim(other, digest, signature),
        claim(key.public_key(), digest, signature),
    ]);
    check(
        "checking ECDSA signatures",
        answers == [true, false, false, false, true],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{K256Engine, KeyedHashEngine};

    struct Says(bool);

    impl Engine for Says {
        fn check(&self, claims: &[Claim]) -> Vec<bool> {
            vec![self.0; claims.len()]
        }
    }

    #[test]
    fn a_sound_engine_passes_and_others_are_refused() {
        assert_eq!(self_test(&K256Engine::new()), Ok(()));
        for unsound in [Says(true), Says(false)] {
            let failure = self_test(&unsound).unwrap_err();
            assert_eq!(failure.0, "checking ECDSA signatures");
        }
        assert!(self_test(&KeyedHashEngine::new([1; 32])).is_err());
    }
}
