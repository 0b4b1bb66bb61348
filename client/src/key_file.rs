//! Key files in the Web3 Secret Storage format, version 3: the key is encrypted with AES-128 in
//! counter mode under a key derived from the password by scrypt, and authenticated by a Keccak-256
//! MAC. Other wallets read what is written here, and the other way round; older files that derive
//! the key by PBKDF2 are read as well.
//!
//! Breaks if: a MAC is not compared before the result is used, or a file may choose how much
//! memory its opening takes.

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use lockstep_types::{PublicKey, SecretKey, Signer as _};
use serde::{Deserialize, Serialize};
use sha3::Digest as _;
use zeroize::Zeroizing;

/// The only version there is in use.
const VERSION: u32 = 3;
/// Most memory a file may make us use: scrypt takes 128·n·r bytes. Twice what any wallet writes.
const MAX_SCRYPT_BYTES: u64 = 512 * 1024 * 1024;
/// Most passes over that memory.
const MAX_SCRYPT_PARALLEL: u32 = 16;
/// Most PBKDF2 iterations; wallets write 262,144.
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;

/// How hard guessing the password is made, against how long opening takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Logarithm of scrypt's n.
    pub log_n: u8,
    /// Block size.
    pub r: u32,
    /// Passes.
    pub p: u32,
}

impl Cost {
    /// 128 MiB and about a third of a second: what OWASP recommends.
    pub const STANDARD: Cost = Cost {
        log_n: 17,
        r: 8,
        p: 1,
    };
    /// For tests and for keys that anyone can compute anyway.
    pub const INSECURE_FAST: Cost = Cost {
        log_n: 4,
        r: 8,
        p: 1,
    };
}

/// An encrypted key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFile {
    version: u32,
    id: String,
    crypto: Crypto,
    /// Our addition; other programs pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lockstep: Option<Label>,
}

/// What may be known without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Label {
    purpose: String,
    public_key: String,
}

/// A key of this purpose signs transactions and nothing else.
const PURPOSE: &str = "account";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: u32,
        n: u64,
        p: u32,
        r: u32,
        salt: String,
    },
    Pbkdf2 {
        c: u32,
        dklen: u32,
        prf: String,
        salt: String,
    },
}

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not this format.
    #[error("not a key file: {0}")]
    Malformed(String),
    /// A format we do not read.
    #[error("{what} {got:?} is not supported; expected {expected}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// What stands there.
        got: String,
        /// What we read.
        expected: &'static str,
    },
    /// It would cost too much to open.
    #[error("the file asks for more work than any wallet does; it will not be opened")]
    TooExpensive,
    /// The MAC does not match.
    #[error("wrong password, or the file is damaged")]
    WrongPassword,
    /// The key inside is not the one the file names.
    #[error("the key inside is not the one the file names: the file was put together by hand")]
    OtherKey,
    /// The bytes inside are not a key.
    #[error("the content is not a secp256k1 key")]
    NotAKey,
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    NoRandomness(String),
}

impl KeyFile {
    /// Encrypts a key under a password.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn encrypt(key: &SecretKey, password: &str, cost: Cost) -> Result<Self, KeyFileError> {
        let (salt, iv, id) = (random::<32>()?, random::<16>()?, random::<16>()?);
        let kdf = Kdf::Scrypt {
            dklen: 32,
            n: 1 << cost.log_n,
            p: cost.p,
            r: cost.r,
            salt: hex::encode(salt),
        };
        let derived = kdf.derive(password)?;
        let mut text = Zeroizing::new(key.to_bytes());
        apply_cipher(&derived, &iv, text.as_mut_slice());
        Ok(KeyFile {
            version: VERSION,
            id: uuid(id),
            crypto: Crypto {
                cipher: "aes-128-ctr".to_owned(),
                cipherparams: CipherParams {
                    iv: hex::encode(iv),
                },
                mac: hex::encode(mac(&derived, text.as_slice())),
                ciphertext: hex::encode(text.as_slice()),
                kdf,
            },
            lockstep: Some(Label {
                purpose: PURPOSE.to_owned(),
                public_key: key.public_key().to_string(),
            }),
        })
    }

    /// Decrypts the key.
    ///
    /// # Errors
    /// Wrong password, damage, or a format that is not supported.
    pub fn decrypt(&self, password: &str) -> Result<SecretKey, KeyFileError> {
        let unsupported = |what, got: &str, expected| {
            Err(KeyFileError::Unsupported {
                what,
                got: got.to_owned(),
                expected,
            })
        };
        if self.version != VERSION {
            return unsupported("version", &self.version.to_string(), "3");
        }
        if self.crypto.cipher != "aes-128-ctr" {
            return unsupported("cipher", &self.crypto.cipher, "aes-128-ctr");
        }
        if let Some(label) = &self.lockstep
            && label.purpose != PURPOSE
        {
            return unsupported("purpose", &label.purpose, PURPOSE);
        }
        let iv: [u8; 16] = bytes(&self.crypto.cipherparams.iv, "iv")?;
        let mut text: Zeroizing<[u8; 32]> =
            Zeroizing::new(bytes(&self.crypto.ciphertext, "ciphertext")?);
        let expected: [u8; 32] = bytes(&self.crypto.mac, "mac")?;
        let derived = self.crypto.kdf.derive(password)?;
        // Not a secret comparison: whoever can time it has the file and can compute the MAC.
        if mac(&derived, text.as_slice()) != expected {
            return Err(KeyFileError::WrongPassword);
        }
        apply_cipher(&derived, &iv, text.as_mut_slice());
        let key = SecretKey::from_bytes(&text).map_err(|_| KeyFileError::NotAKey)?;
        match self.public_key() {
            Some(named) if named != key.public_key() => Err(KeyFileError::OtherKey),
            _ => Ok(key),
        }
    }

    /// The public key, when the file names it. Files of other wallets do not.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.lockstep.as_ref()?.public_key.parse().ok()
    }

    /// Reads the JSON text.
    ///
    /// # Errors
    /// When it is not this format.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        serde_json::from_str(text).map_err(|error| KeyFileError::Malformed(error.to_string()))
    }

    /// Writes the JSON text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data always encodes");
        text.push('\n');
        text
    }
}

impl Kdf {
    /// The first half of the result encrypts, the second authenticates.
    fn derive(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        let mut derived = Zeroizing::new([0; 32]);
        let (Kdf::Scrypt { dklen, salt, .. } | Kdf::Pbkdf2 { dklen, salt, .. }) = self;
        if *dklen != 32 {
            return Err(KeyFileError::Unsupported {
                what: "dklen",
                got: dklen.to_string(),
                expected: "32",
            });
        }
        let salt = hex::decode(salt).map_err(|_| malformed("salt"))?;
        match self {
            Kdf::Scrypt { n, p, r, .. } => {
                let memory = n
                    .checked_mul(128)
                    .and_then(|bytes| bytes.checked_mul((*r).into()));
                if memory.is_none_or(|bytes| bytes > MAX_SCRYPT_BYTES) || *p > MAX_SCRYPT_PARALLEL {
                    return Err(KeyFileError::TooExpensive);
                }
                if !n.is_power_of_two() {
                    return Err(malformed("n"));
                }
                let log_n = u8::try_from(n.trailing_zeros()).expect("at most 63");
                let params =
                    scrypt::Params::new(log_n, *r, *p).map_err(|_| malformed("kdfparams"))?;
                scrypt::scrypt(password.as_bytes(), &salt, &params, derived.as_mut_slice())
                    .expect("32 bytes are a possible length");
            }
            Kdf::Pbkdf2 { c, prf, .. } => {
                if prf != "hmac-sha256" {
                    return Err(KeyFileError::Unsupported {
                        what: "prf",
                        got: prf.clone(),
                        expected: "hmac-sha256",
                    });
                }
                if *c > MAX_PBKDF2_ITERATIONS {
                    return Err(KeyFileError::TooExpensive);
                }
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(
                    password.as_bytes(),
                    &salt,
                    *c,
                    derived.as_mut_slice(),
                );
            }
        }
        Ok(derived)
    }
}

fn malformed(what: &str) -> KeyFileError {
    KeyFileError::Malformed(format!("{what} is not what it should be"))
}

fn bytes<const N: usize>(text: &str, what: &str) -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|_| malformed(what))?;
    Ok(bytes)
}

fn apply_cipher(derived: &[u8; 32], iv: &[u8; 16], text: &mut [u8]) {
    let key: [u8; 16] = derived[..16].try_into().expect("16 of 32 bytes");
    Ctr128BE::<Aes128>::new(&key.into(), &(*iv).into()).apply_keystream(text);
}

fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> [u8; 32] {
    sha3::Keccak256::new()
        .chain_update(&derived[16..])
        .chain_update(ciphertext)
        .finalize()
        .into()
}

/// Bytes nobody can predict.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyFileError::NoRandomness(error.to_string()))?;
    Ok(bytes)
}

/// A new key from the system's randomness.
///
/// # Errors
/// When the system gives none.
pub fn generate() -> Result<SecretKey, KeyFileError> {
    loop {
        let bytes = Zeroizing::new(random::<32>()?);
        // All but one in 2^128 are keys.
        if let Ok(key) = SecretKey::from_bytes(&bytes) {
            return Ok(key);
        }
    }
}

/// The text form of a random UUID (RFC 9562, version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex::encode(bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the format's definition (Ethereum wiki, Web3 Secret Storage Definition).
    const SCRYPT_VECTOR: &str = r#"{
        "crypto" : {
            "cipher" : "aes-128-ctr",
            "cipherparams" : { "iv" : "83dbcc02d8ccb40e466191a123791e0e" },
            "ciphertext" : "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf" : "scrypt",
            "kdfparams" : {
                "dklen" : 32, "n" : 262144, "p" : 8, "r" : 1,
                "salt" : "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
            },
            "mac" : "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
        },
        "id" : "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version" : 3
    }"#;
    const PBKDF2_VECTOR: &str = r#"{
        "crypto" : {
            "cipher" : "aes-128-ctr",
            "cipherparams" : { "iv" : "6087dab2f9fdbbfaddc31a909735c1e6" },
            "ciphertext" : "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf" : "pbkdf2",
            "kdfparams" : {
                "c" : 262144, "dklen" : 32, "prf" : "hmac-sha256",
                "salt" : "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"
            },
            "mac" : "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"
        },
        "id" : "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version" : 3
    }"#;
    const VECTOR_SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";

    fn key() -> SecretKey {
        SecretKey::insecure_from_seed(7, "key file")
    }

    #[test]
    fn reads_the_vectors_of_the_standard() {
        for vector in [SCRYPT_VECTOR, PBKDF2_VECTOR] {
            let file = KeyFile::parse(vector).unwrap();
            let key = file.decrypt("testpassword").unwrap();
            assert_eq!(hex::encode(key.to_bytes()), VECTOR_SECRET);
            assert_eq!(file.public_key(), None);
        }
    }

    #[test]
    fn what_is_written_reads_back_with_the_password_only() {
        let file = KeyFile::encrypt(&key(), "correct horse", Cost::INSECURE_FAST).unwrap();
        let again = KeyFile::parse(&file.to_json()).unwrap();
        assert_eq!(again, file);
        assert_eq!(
            again.decrypt("correct horse").unwrap().to_bytes(),
            key().to_bytes()
        );
        assert_eq!(again.public_key(), Some(key().public_key()));
        assert_eq!(again.decrypt("").unwrap_err(), KeyFileError::WrongPassword);
        assert!(!file.to_json().contains(&hex::encode(key().to_bytes())));
    }

    #[test]
    fn two_files_of_one_key_share_nothing() {
        let [a, b] = [0, 1].map(|_| KeyFile::encrypt(&key(), "p", Cost::INSECURE_FAST).unwrap());
        assert_ne!(a.id, b.id);
        assert_ne!(a.crypto.ciphertext, b.crypto.ciphertext);
        assert_ne!(a.crypto.cipherparams, b.crypto.cipherparams);
        assert_eq!(a.id.len(), 36);
        assert_eq!(a.id.as_bytes()[14], b'4');
    }

    #[test]
    fn damage_is_noticed() {
        let good = KeyFile::encrypt(&key(), "p", Cost::INSECURE_FAST).unwrap();
        let edit = |edit: fn(&mut KeyFile)| {
            let mut file = good.clone();
            edit(&mut file);
            file.decrypt("p").unwrap_err()
        };
        assert_eq!(
            edit(|file| file.crypto.ciphertext.replace_range(..2, "zz")).to_string(),
            "not a key file: ciphertext is not what it should be"
        );
        assert_eq!(
            edit(|file| {
                let first = if file.crypto.ciphertext.starts_with('0') {
                    "1"
                } else {
                    "0"
                };
                file.crypto.ciphertext.replace_range(..1, first);
            }),
            KeyFileError::WrongPassword
        );
        assert_eq!(
            edit(|file| {
                let other = SecretKey::insecure_from_seed(8, "key file").public_key();
                file.lockstep.as_mut().unwrap().public_key = other.to_string();
            }),
            KeyFileError::OtherKey
        );
        assert!(matches!(
            edit(|file| file.version = 4),
            KeyFileError::Unsupported {
                what: "version",
                ..
            }
        ));
        assert!(matches!(
            edit(|file| file.lockstep.as_mut().unwrap().purpose = "validator".into()),
            KeyFileError::Unsupported {
                what: "purpose",
                ..
            }
        ));
    }

    #[test]
    fn a_file_cannot_demand_unbounded_work() {
        let good = KeyFile::encrypt(&key(), "p", Cost::INSECURE_FAST).unwrap();
        let with = |kdf: Kdf| {
            let mut file = good.clone();
            file.crypto.kdf = kdf;
            file.decrypt("p").unwrap_err()
        };
        let scrypt = |n, r, p| Kdf::Scrypt {
            dklen: 32,
            n,
            r,
            p,
            salt: String::new(),
        };
        let largest = MAX_SCRYPT_BYTES / 128 / 8;
        assert_eq!(with(scrypt(largest * 2, 8, 1)), KeyFileError::TooExpensive);
        assert_eq!(with(scrypt(u64::MAX, 8, 1)), KeyFileError::TooExpensive);
        assert_eq!(
            with(scrypt(2, 8, MAX_SCRYPT_PARALLEL + 1)),
            KeyFileError::TooExpensive
        );
        assert!(matches!(with(scrypt(3, 8, 1)), KeyFileError::Malformed(_)));
        assert!(matches!(with(scrypt(0, 8, 1)), KeyFileError::Malformed(_)));
        let pbkdf2 = Kdf::Pbkdf2 {
            c: MAX_PBKDF2_ITERATIONS + 1,
            dklen: 32,
            prf: "hmac-sha256".into(),
            salt: String::new(),
        };
        assert_eq!(with(pbkdf2), KeyFileError::TooExpensive);
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(
            generate().unwrap().to_bytes(),
            generate().unwrap().to_bytes()
        );
    }
}
