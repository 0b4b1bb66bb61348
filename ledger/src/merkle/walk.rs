//! Proof of what an account holds under a trie root, or that it does not exist: the walk that
//! follows the account's bits from the root to the only leaf that could be it.

use lockstep_types::{AccountId, Digest};
use parity_scale_codec::{Decode, Encode};

use super::trie::{KEY_BITS, bit, branch_hash, leaf_hash};
use crate::Account;

/// One branch on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Step {
    /// The bit the branch decides.
    pub depth: u8,
    /// The hash of the side not taken.
    pub sibling: Digest,
}

/// A walk through the trie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Walk {
    /// Where it ends; `None` in a trie without accounts.
    pub leaf: Option<(AccountId, Account)>,
    /// The branches passed, from the root down.
    pub steps: Vec<Step>,
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It leads to another root.
    #[error("the proof leads to {got}, expected {expected}")]
    OtherRoot {
        /// Where it leads.
        got: Digest,
        /// Where it should.
        expected: Digest,
    },
    /// Its parts do not fit together.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
}

impl Walk {
    /// What `key` holds under `root`: `None` when the walk shows that no such account exists.
    ///
    /// # Errors
    /// When the walk is not one of `key` under `root`.
    pub fn account(&self, key: &AccountId, root: &Digest) -> Result<Option<&Account>, ProofError> {
        let got = self.root(key)?;
        if got != *root {
            return Err(ProofError::OtherRoot {
                got,
                expected: *root,
            });
        }
        Ok(self.ends_at(key))
    }

    /// What the walk ends at, if that is `key`.
    pub(crate) fn ends_at(&self, key: &AccountId) -> Option<&Account> {
        let found = self.leaf.as_ref().filter(|(found, _)| found == key);
        found.map(|(_, account)| account)
    }

    /// The root that this walk of `key` leads up to.
    pub(crate) fn root(&self, key: &AccountId) -> Result<Digest, ProofError> {
        let Some((found, account)) = &self.leaf else {
            return match self.steps.len() {
                0 => Ok(Digest::ZERO),
                _ => Err(ProofError::Malformed("steps that lead nowhere")),
            };
        };
        let mut below = KEY_BITS;
        let mut hash = leaf_hash(found, account);
        for Step { depth, sibling } in self.steps.iter().rev() {
            if *depth >= below {
                return Err(ProofError::Malformed("bits out of order"));
            }
            below = *depth;
            // The walk follows the key's bits, and a leaf stands under its own bits.
            let side = bit(key, *depth);
            if bit(found, *depth) != side {
                return Err(ProofError::Malformed("a leaf off its path"));
            }
            hash = if side {
                branch_hash(*depth, sibling, &hash)
            } else {
                branch_hash(*depth, &hash, sibling)
            };
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Trie;
    use lockstep_types::{AssetId, hash};
    use std::sync::Arc;

    fn key(number: u64) -> AccountId {
        AccountId::new(
            hash("test/key", &number).as_bytes()[..20]
                .try_into()
                .unwrap(),
        )
    }

    fn trie() -> Trie {
        Trie::default().updated((0..64u64).map(|i| {
            let mut account = Account::default();
            account.balances.add(AssetId::NATIVE, i.into()).unwrap();
            (key(i), Arc::new(account))
        }))
    }

    #[test]
    fn a_changed_walk_never_shows_another_value() {
        let trie = trie();
        let root = trie.root();
        for asked in [key(3), key(1_000)] {
            let good = trie.walk(&asked);
            let truth = good.account(&asked, &root).unwrap().cloned();
            let mut mutants = vec![
                Walk {
                    leaf: None,
                    ..good.clone()
                },
                Walk::default(),
            ];
            for at in 0..good.steps.len() {
                let mut other = good.clone();
                other.steps[at].depth ^= 1;
                mutants.push(other.clone());
                other = good.clone();
                other.steps[at].sibling = hash("test", &at.to_le_bytes());
                mutants.push(other.clone());
                other.steps.remove(at);
                mutants.push(other);
            }
            for i in 0..64 {
                // The honest walk of another account, shown for this one.
                mutants.push(trie.walk(&key(i)));
            }
            let (found, account) = good.leaf.clone().unwrap();
            let richer = Account {
                nonce: 9,
                ..account.clone()
            };
            mutants.push(Walk {
                leaf: Some((found, richer)),
                ..good.clone()
            });
            mutants.push(Walk {
                leaf: Some((asked, Account::default())),
                ..good.clone()
            });
            for mutant in mutants.iter().filter(|mutant| **mutant != good) {
                if let Ok(shown) = mutant.account(&asked, &root) {
                    assert_eq!(shown.cloned(), truth);
                }
            }
        }
    }

    #[test]
    fn a_walk_that_no_trie_has_is_malformed_whatever_its_root() {
        let (low, high) = (AccountId::new([0; 20]), AccountId::new([0xff; 20]));
        let sibling = hash("test", &1u8);
        let walk = |depths: &[u8]| Walk {
            leaf: Some((low, Account::default())),
            steps: depths
                .iter()
                .map(|&depth| Step { depth, sibling })
                .collect(),
        };
        assert!(walk(&[3, 7]).root(&low).is_ok());
        for depths in [&[7, 3][..], &[3, 3], &[KEY_BITS], &[255]] {
            assert!(matches!(
                walk(depths).root(&low),
                Err(ProofError::Malformed(_))
            ));
        }
        // A leaf on the side where its own bits would never lead.
        assert!(matches!(
            walk(&[3]).root(&high),
            Err(ProofError::Malformed(_))
        ));
    }
}
