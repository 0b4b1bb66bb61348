//! secp256k1 keys and ECDSA signatures over SHA-256 digests (k256; RFC 6979 nonces, low-s).

use core::fmt;
use core::str::FromStr;

use k256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner};
use parity_scale_codec::{Decode, Encode, MaxEncodedLen};

use crate::Digest;

/// A compressed secp256k1 point: 33 bytes. Whether it lies on the curve is settled by the engine
/// that checks a signature with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen)]
pub struct PublicKey([u8; 33]);

impl PublicKey {
    /// Wraps 33 bytes.
    pub const fn new(bytes: [u8; 33]) -> Self {
        PublicKey(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// Is this a point of the curve in compressed form?
    pub fn is_on_curve(&self) -> bool {
        k256::ecdsa::VerifyingKey::from_sec1_bytes(&self.0).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..5]))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 33];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(
            |_| KeyError::NotHex {
                expected_digits: 66,
            },
        )?;
        let key = PublicKey(bytes);
        if key.is_on_curve() {
            Ok(key)
        } else {
            Err(KeyError::NotOnCurve)
        }
    }
}

/// A 64-byte ECDSA signature, `r` then `s`, with `s` in the lower half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps 64 bytes.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Signature(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Something that can sign for one identity: a key in memory, a key service, or the simulator's
/// keyed hash.
pub trait Signer: Send + Sync {
    /// Whose signatures these are.
    fn public_key(&self) -> PublicKey;

    /// Signs a digest. Deterministic: the same digest gives the same bytes.
    fn sign(&self, digest: &Digest) -> Signature;
}

/// A secp256k1 key pair held in memory; erased when dropped.
#[derive(Clone)]
pub struct SecretKey {
    signing: SigningKey,
    public: PublicKey,
}

impl SecretKey {
    /// Reads a scalar.
    ///
    /// # Errors
    /// [`KeyError::NotAScalar`] when the bytes are zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let signing = SigningKey::from_slice(bytes).map_err(|_| KeyError::NotAScalar)?;
        let point = signing.verifying_key().to_sec1_point(true);
        let public = PublicKey(
            point
                .as_bytes()
                .try_into()
                .expect("a compressed point is 33 bytes"),
        );
        Ok(SecretKey { signing, public })
    }

    /// A key derived from public text. Anyone can compute it: for development chains only.
    pub fn insecure_from_seed(seed: u64, role: &str) -> Self {
        (0u32..)
            .find_map(|attempt| {
                let digest = crate::hash("lockstep/dev-key", &(seed, role, attempt));
                SecretKey::from_bytes(digest.as_bytes()).ok()
            })
            .expect("all but one in 2^128 digests are scalars")
    }

    /// The scalar, for writing it to a keystore.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.signing.to_bytes().into()
    }
}

impl Signer for SecretKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, digest: &Digest) -> Signature {
        let signature: k256::ecdsa::Signature = self
            .signing
            .sign_prehash(digest.as_bytes())
            .expect("signing a 32-byte digest cannot fail");
        Signature(signature.to_bytes().into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {:?}", self.public)
    }
}

/// Why some bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The scalar is zero or too large.
    #[error("not a secp256k1 secret key: the number is zero or not below the group order")]
    NotAScalar,
    /// The point is not on the curve, or not in compressed form.
    #[error("not a secp256k1 public key: no such point on the curve")]
    NotOnCurve,
    /// Not hexadecimal, or of another length.
    #[error("expected {expected_digits} hexadecimal digits")]
    NotHex {
        /// How many digits were expected.
        expected_digits: usize,
    },
}
