//! `Verified<T>`: bytes from outside become this, or they become a [`Rejection`].
//!
//! A type says in [`Verifiable::claims`] what must hold for it: first everything that costs
//! nothing (lengths, indices, views), then the signatures it rests on. The [`Verifier`] runs the
//! cheap checks, hands all signatures to the engine at once, and only then wraps the value.
//!
//! Breaks if: a value is wrapped anywhere else. The two doors are [`Verifier`] and
//! [`Verified::vouch`], and a test lists the files that may use the second.

use core::ops::Deref;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::codec::CodecError;
use crate::{Claim, Digest, Engine, Epoch, PublicKey, Signature, View, hash};

/// A value whose bounds, shape and signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Wraps a value that is valid because this process has just made it from checked parts or
    /// signed it itself, or reads back what it had checked before it wrote it.
    pub fn vouch(value: T) -> Self {
        Verified(value)
    }

    /// Gives the value up to a place that no longer distinguishes.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Who pays for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The sender sent what no correct member sends.
    Sender,
    /// Early, late or unknown: nobody is at fault.
    Nobody,
}

/// Why something from outside was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The bytes are not an encoding of the expected type.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A signature does not hold.
    #[error("the signature of {key} does not hold")]
    BadSignature {
        /// Whose signature it claims to be.
        key: PublicKey,
    },
    /// More of something than is allowed.
    #[error("{got} {what} where at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many came.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Signed by fewer than a quorum.
    #[error("{got} signers where {needed} are needed")]
    NoQuorum {
        /// How many signed.
        got: usize,
        /// How many must.
        needed: usize,
    },
    /// The signer is no member of the committee.
    #[error("not a member of the committee")]
    NotAMember,
    /// For another epoch.
    #[error("epoch {got} where {expected} runs")]
    WrongEpoch {
        /// The epoch it is for.
        got: Epoch,
        /// The epoch that runs.
        expected: Epoch,
    },
    /// A view that cannot be.
    #[error("view {got} {problem} {other}")]
    WrongView {
        /// The view named.
        got: View,
        /// What is wrong about it, in relation to `other`.
        problem: &'static str,
        /// The view it is compared with.
        other: View,
    },
    /// Parts that contradict each other.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// Addressed to another committee or not for this node.
    #[error("not for us: {0}")]
    NotForUs(&'static str),
}

impl Rejection {
    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Rejection::WrongEpoch { .. } | Rejection::NotForUs(_) => Blame::Nobody,
            _ => Blame::Sender,
        }
    }
}

/// Something that can be checked against a context (a committee, a genesis hash, limits).
pub trait Verifiable {
    /// What the check needs to know.
    type Context;

    /// Checks everything but signatures, cheapest first, and adds the signatures it rests on.
    ///
    /// # Errors
    /// The first thing that does not hold.
    fn claims(&self, context: &Self::Context, claims: &mut Claims<'_>) -> Result<(), Rejection>;
}

/// The signatures a value rests on, collected for the engine.
pub struct Claims<'a> {
    list: Vec<Claim>,
    memory: &'a Memory,
    /// Certificates and statements to remember once the engine has said yes.
    certificates: Vec<Digest>,
}

impl Claims<'_> {
    /// Adds one signature.
    pub fn add(&mut self, key: PublicKey, digest: Digest, signature: Signature) {
        self.list.push(Claim {
            key,
            digest,
            signature,
        });
    }

    /// Adds one signature that will be met again inside a certificate, unless it has been found
    /// good before: a replica that has checked the votes does not check their certificate anew.
    pub fn add_once(&mut self, key: PublicKey, digest: Digest, signature: Signature) {
        let claim = hash("lockstep/claim", &(key, digest, signature));
        if !self.memory.knows(&claim) {
            self.add(key, digest, signature);
            self.certificates.push(claim);
        }
    }

    /// Adds the signatures of a certificate, unless a certificate with this very `digest` (over
    /// all its bytes) has been found good before.
    ///
    /// # Errors
    /// Whatever `add` finds.
    pub fn certificate(
        &mut self,
        digest: Digest,
        add: impl FnOnce(&mut Self) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        if self.memory.knows(&digest) {
            return Ok(());
        }
        add(self)?;
        self.certificates.push(digest);
        Ok(())
    }
}

/// Certificates, statements and batches remembered. A replica meets the same one in a proposal, in
/// resent status messages and inside timeouts; this covers the last views of a large committee,
/// beside some thousand batches.
const MAX_REMEMBERED: usize = 8_192;

#[derive(Default)]
struct Memory(Mutex<(BTreeSet<Digest>, VecDeque<Digest>)>);

impl Memory {
    fn knows(&self, digest: &Digest) -> bool {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .0
            .contains(digest)
    }

    fn remember(&self, digests: Vec<Digest>) {
        if digests.is_empty() {
            return;
        }
        let mut guard = self.0.lock().expect("no holder of this lock panics");
        let (known, order) = &mut *guard;
        for digest in digests {
            if known.insert(digest) {
                order.push_back(digest);
            }
            if order.len() > MAX_REMEMBERED {
                let oldest = order.pop_front().expect("longer than its bound");
                known.remove(&oldest);
            }
        }
    }
}

/// Runs checks. One per node, shared by its worker threads.
pub struct Verifier {
    engine: Arc<dyn Engine>,
    memory: Memory,
}

impl Verifier {
    /// A verifier over an engine.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Verifier {
            engine,
            memory: Memory::default(),
        }
    }

    /// Checks one value.
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn check<T: Verifiable>(
        &self,
        value: T,
        context: &T::Context,
    ) -> Result<Verified<T>, Rejection> {
        let mut claims = Claims {
            list: Vec::new(),
            memory: &self.memory,
            certificates: Vec::new(),
        };
        value.claims(context, &mut claims)?;
        let answers = self.engine.check(&claims.list);
        assert_eq!(answers.len(), claims.list.len(), "one answer per claim");
        if let Some(bad) = answers.iter().position(|good| !good) {
            return Err(Rejection::BadSignature {
                key: claims.list[bad].key,
            });
        }
        self.memory.remember(claims.certificates);
        Ok(Verified(value))
    }

    /// Checks many independent values with one call to the engine; each is judged on its own.
    pub fn check_each<T: Verifiable>(
        &self,
        values: Vec<T>,
        context: &T::Context,
    ) -> Vec<Result<Verified<T>, Rejection>> {
        let mut claims = Claims {
            list: Vec::new(),
            memory: &self.memory,
            certificates: Vec::new(),
        };
        let ranges: Vec<_> = values
            .iter()
            .map(|value| {
                let (start, known) = (claims.list.len(), claims.certificates.len());
                let shape = value.claims(context, &mut claims);
                if shape.is_err() {
                    claims.list.truncate(start);
                    claims.certificates.truncate(known);
                }
                shape.map(|()| (start..claims.list.len(), known..claims.certificates.len()))
            })
            .collect();
        let answers = self.engine.check(&claims.list);
        assert_eq!(answers.len(), claims.list.len(), "one answer per claim");
        let certificates = claims.certificates;
        values
            .into_iter()
            .zip(ranges)
            .map(|(value, ranges)| {
                let (range, known) = ranges?;
                let start = range.start;
                if let Some(bad) = answers[range].iter().position(|good| !good) {
                    let key = claims.list[start + bad].key;
                    return Err(Rejection::BadSignature { key });
                }
                self.memory.remember(certificates[known].to_vec());
                Ok(Verified(value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{K256Engine, SecretKey, Signer, hash};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Note {
        text: u8,
        key: PublicKey,
        signature: Signature,
    }

    impl Verifiable for Note {
        type Context = u8;

        fn claims(&self, limit: &u8, claims: &mut Claims<'_>) -> Result<(), Rejection> {
            if self.text > *limit {
                return Err(Rejection::Inconsistent("too large"));
            }
            claims.certificate(hash("note", &(self.text, self.signature)), |claims| {
                claims.add(self.key, hash("text", &self.text), self.signature);
                Ok(())
            })
        }
    }

    fn note(text: u8, signed: u8) -> Note {
        let key = SecretKey::insecure_from_seed(0, "note");
        Note {
            text,
            key: key.public_key(),
            signature: key.sign(&hash("text", &signed)),
        }
    }

    #[derive(Default)]
    struct Counting(K256Engine, AtomicUsize);

    impl Engine for Counting {
        fn check(&self, claims: &[Claim]) -> Vec<bool> {
            self.1.fetch_add(claims.len(), Ordering::Relaxed);
            self.0.check(claims)
        }
    }

    #[test]
    fn each_value_is_judged_on_its_own() {
        let verifier = Verifier::new(Arc::new(K256Engine::new()));
        let results =
            verifier.check_each(vec![note(1, 1), note(2, 3), note(99, 99), note(4, 4)], &10);
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, false, true]);
        assert!(matches!(results[1], Err(Rejection::BadSignature { .. })));
        assert!(matches!(results[2], Err(Rejection::Inconsistent(_))));
    }

    #[test]
    fn a_certificate_is_checked_once_and_a_bad_one_never_remembered() {
        let engine = Arc::new(Counting::default());
        let verifier = Verifier::new(engine.clone());
        assert!(verifier.check(note(1, 1), &10).is_ok());
        assert!(verifier.check(note(1, 1), &10).is_ok());
        assert_eq!(engine.1.load(Ordering::Relaxed), 1);
        assert!(verifier.check(note(2, 3), &10).is_err());
        assert!(verifier.check(note(2, 3), &10).is_err());
    }

    struct Statement(Note);

    impl Verifiable for Statement {
        type Context = ();

        fn claims(&self, (): &(), claims: &mut Claims<'_>) -> Result<(), Rejection> {
            claims.add_once(self.0.key, hash("text", &self.0.text), self.0.signature);
            Ok(())
        }
    }

    #[test]
    fn a_statement_found_good_is_not_checked_again_and_a_bad_one_is() {
        let engine = Arc::new(Counting::default());
        let verifier = Verifier::new(engine.clone());
        let statements = vec![Statement(note(1, 1)), Statement(note(2, 3))];
        let results = verifier.check_each(statements, &());
        assert!(results[0].is_ok() && results[1].is_err());
        assert_eq!(engine.1.load(Ordering::Relaxed), 2);
        assert!(verifier.check(Statement(note(1, 1)), &()).is_ok());
        assert_eq!(engine.1.load(Ordering::Relaxed), 2, "remembered");
        assert!(verifier.check(Statement(note(2, 3)), &()).is_err());
        assert_eq!(engine.1.load(Ordering::Relaxed), 3, "a bad one never is");
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = Memory::default();
        for i in 0..2 * MAX_REMEMBERED as u32 {
            memory.remember(vec![hash("m", &i)]);
        }
        assert_eq!(memory.0.lock().unwrap().0.len(), MAX_REMEMBERED);
        assert!(!memory.knows(&hash("m", &0u32)));
        assert!(memory.knows(&hash("m", &(2 * MAX_REMEMBERED as u32 - 1))));
    }
}
