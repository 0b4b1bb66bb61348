//! Transactions: what an account holder signs. The id covers the genesis and everything but the
//! signature, and the id is what is signed; so an id names one meaning on one chain.

use lockstep_types::{
    AccountId, AssetId, Claims, FORMAT_VERSION, GenesisHash, Hasher, PublicKey, Rejection,
    Signature, Signer, TransactionId, Verifiable, WindowNumber,
};
use parity_scale_codec::{Compact, Decode, Encode};

/// Most actions in one transaction. Enough for a payroll run of a small firm; one transaction may
/// not take more of a block than a handful of plain ones.
pub const MAX_ACTIONS: usize = 16;

/// Longest encoding of a transaction: every number at its largest.
pub const MAX_TRANSACTION_BYTES: usize = 33 + 9 + 8 + 1 + MAX_ACTIONS * (1 + 20 + 5 + 17) + 64;

/// One thing a transaction does. Each action is one variant and one function of the overlay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Gives value to another account, of this shard or another.
    #[codec(index = 0)]
    Transfer {
        /// Who receives.
        to: AccountId,
        /// What kind of value.
        #[codec(compact)]
        asset: AssetId,
        /// How much; not zero.
        #[codec(compact)]
        amount: u128,
    },
}

/// A signed request of one account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// The sender's key.
    pub key: PublicKey,
    /// How many transactions of the sender came before.
    #[codec(compact)]
    pub nonce: u64,
    /// The last window it may execute in.
    pub expiry: WindowNumber,
    /// What it does, all of it or nothing.
    pub actions: Vec<Action>,
    /// The sender's signature over the id.
    pub signature: Signature,
}

impl Transaction {
    /// Makes and signs a transaction.
    pub fn sign(
        genesis: &GenesisHash,
        signer: &dyn Signer,
        nonce: u64,
        expiry: WindowNumber,
        actions: Vec<Action>,
    ) -> Self {
        let key = signer.public_key();
        let id = id(genesis, &key, nonce, expiry, &actions);
        Transaction {
            key,
            nonce,
            expiry,
            actions,
            signature: signer.sign(id.digest()),
        }
    }

    /// Its id on the chain with this genesis; this is also the digest that is signed.
    pub fn id(&self, genesis: &GenesisHash) -> TransactionId {
        id(genesis, &self.key, self.nonce, self.expiry, &self.actions)
    }

    /// The account that sends it.
    pub fn sender(&self) -> AccountId {
        AccountId::of(&self.key)
    }
}

fn id(
    genesis: &GenesisHash,
    key: &PublicKey,
    nonce: u64,
    expiry: WindowNumber,
    actions: &[Action],
) -> TransactionId {
    let digest = Hasher::new("lockstep/transaction")
        .value(&FORMAT_VERSION)
        .value(genesis)
        .value(key)
        .value(&Compact(nonce))
        .value(&expiry)
        .value(&actions)
        .finish();
    TransactionId::new(digest)
}

impl Verifiable for Transaction {
    type Context = GenesisHash;

    fn claims(&self, genesis: &GenesisHash, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        if self.actions.is_empty() {
            return Err(Rejection::Inconsistent("a transaction without an action"));
        }
        if self.actions.len() > MAX_ACTIONS {
            return Err(Rejection::TooMany {
                what: "actions",
                got: self.actions.len(),
                limit: MAX_ACTIONS,
            });
        }
        for action in &self.actions {
            match action {
                Action::Transfer { amount: 0, .. } => {
                    return Err(Rejection::Inconsistent("a transfer of nothing"));
                }
                Action::Transfer { .. } => {}
            }
        }
        claims.add(self.key, *self.id(genesis).digest(), self.signature);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use lockstep_types::{Digest, K256Engine, SecretKey, Verifier, codec, hash};

    fn genesis(number: u8) -> GenesisHash {
        GenesisHash::new(hash("test/genesis", &number))
    }

    fn transfer(amount: u128) -> Action {
        Action::Transfer {
            to: AccountId::new([9; 20]),
            asset: AssetId::NATIVE,
            amount,
        }
    }

    fn signed(actions: Vec<Action>) -> Transaction {
        let key = SecretKey::insecure_from_seed(1, "transaction");
        Transaction::sign(&genesis(0), &key, 3, WindowNumber::new(8), actions)
    }

    fn check(transaction: Transaction, on: &GenesisHash) -> Result<(), Rejection> {
        let verifier = Verifier::new(Arc::new(K256Engine::new()));
        verifier.check(transaction, on).map(|_| ())
    }

    #[test]
    fn holds_on_its_own_chain_only() {
        let transaction = signed(vec![transfer(5)]);
        assert_eq!(check(transaction.clone(), &genesis(0)), Ok(()));
        assert!(matches!(
            check(transaction, &genesis(1)),
            Err(Rejection::BadSignature { .. })
        ));
    }

    #[test]
    fn every_field_is_signed() {
        let good = signed(vec![transfer(5)]);
        let other_key = SecretKey::insecure_from_seed(2, "transaction").public_key();
        let mutants = [
            Transaction {
                key: other_key,
                ..good.clone()
            },
            Transaction {
                nonce: 4,
                ..good.clone()
            },
            Transaction {
                expiry: WindowNumber::new(9),
                ..good.clone()
            },
            Transaction {
                actions: vec![transfer(6)],
                ..good.clone()
            },
            Transaction {
                actions: vec![transfer(5), transfer(5)],
                ..good.clone()
            },
        ];
        for mutant in mutants {
            assert_ne!(mutant.id(&genesis(0)), good.id(&genesis(0)));
            assert!(matches!(
                check(mutant, &genesis(0)),
                Err(Rejection::BadSignature { .. })
            ));
        }
    }

    #[test]
    fn the_signature_is_not_part_of_the_id() {
        let good = signed(vec![transfer(5)]);
        let unsigned = Transaction {
            signature: Signature::new([0; 64]),
            ..good.clone()
        };
        assert_eq!(unsigned.id(&genesis(0)), good.id(&genesis(0)));
        assert_ne!(good.id(&genesis(0)).digest(), &Digest::ZERO);
    }

    #[test]
    fn shapes_are_checked_before_signatures() {
        for actions in [
            vec![],
            vec![transfer(0)],
            vec![transfer(1), transfer(0)],
            vec![transfer(1); MAX_ACTIONS + 1],
        ] {
            let refused = check(signed(actions), &genesis(0));
            assert!(!matches!(
                refused,
                Err(Rejection::BadSignature { .. }) | Ok(())
            ));
        }
        assert_eq!(
            check(signed(vec![transfer(1); MAX_ACTIONS]), &genesis(0)),
            Ok(())
        );
    }

    #[test]
    fn the_longest_transaction_has_the_stated_length() {
        let key = SecretKey::insecure_from_seed(1, "transaction");
        let action = Action::Transfer {
            to: AccountId::new([9; 20]),
            asset: AssetId::new(u32::MAX),
            amount: u128::MAX,
        };
        let longest = Transaction::sign(
            &genesis(0),
            &key,
            u64::MAX,
            WindowNumber::new(u64::MAX),
            vec![action; MAX_ACTIONS],
        );
        let bytes = longest.encode();
        assert_eq!(bytes.len(), MAX_TRANSACTION_BYTES);
        assert_eq!(
            codec::decode_canonical::<Transaction>(&bytes, MAX_TRANSACTION_BYTES),
            Ok(longest)
        );
    }
}
