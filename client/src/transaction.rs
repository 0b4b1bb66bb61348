//! Transactions as a wallet makes them: built and signed without a network, kept with their bytes
//! and id so that sending again sends the very same thing.

use lockstep_ledger::{Action, MAX_TRANSACTION_BYTES, Transaction};
use lockstep_types::{AccountId, AssetId, GenesisHash, Signer, TransactionId, WindowNumber, codec};
use parity_scale_codec::Encode as _;

/// Windows a transaction stays valid for when nothing else is asked for. It bounds how long a
/// sender must wait before an unanswered transaction can be called dead.
pub const DEFAULT_LIFETIME: u64 = 20;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who receives.
    pub to: AccountId,
    /// What kind of value.
    pub asset: AssetId,
    /// How many units.
    pub amount: u128,
}

/// A signed transaction with its bytes and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Its encoding.
    pub bytes: Vec<u8>,
    /// Its id on its chain.
    pub id: TransactionId,
}

impl SignedTransaction {
    /// Signs transfers: all of them happen, or none.
    pub fn transfers(
        genesis: &GenesisHash,
        signer: &dyn Signer,
        nonce: u64,
        expiry: WindowNumber,
        transfers: &[Transfer],
    ) -> Self {
        let actions = transfers
            .iter()
            .map(|transfer| Action::Transfer {
                to: transfer.to,
                asset: transfer.asset,
                amount: transfer.amount,
            })
            .collect();
        Self::from(
            Transaction::sign(genesis, signer, nonce, expiry, actions),
            genesis,
        )
    }

    /// Reads the hexadecimal bytes of a transaction of the chain `genesis`.
    ///
    /// # Errors
    /// When they are not one in canonical form. The signature is not checked.
    pub fn from_hex(text: &str, genesis: &GenesisHash) -> Result<Self, codec::CodecError> {
        let bytes = hex::decode(text.trim()).map_err(|_| codec::CodecError::Malformed)?;
        let transaction = codec::decode_canonical(&bytes, MAX_TRANSACTION_BYTES)?;
        Ok(Self::from(transaction, genesis))
    }

    fn from(transaction: Transaction, genesis: &GenesisHash) -> Self {
        SignedTransaction {
            bytes: transaction.encode(),
            id: transaction.id(genesis),
            transaction,
        }
    }

    /// The bytes in hexadecimal.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{SecretKey, hash};

    #[test]
    fn travels_as_hexadecimal() {
        let genesis = GenesisHash::new(hash("test", &1u8));
        let key = SecretKey::insecure_from_seed(0, "sender");
        let transfer = Transfer {
            to: AccountId::new([7; 20]),
            asset: AssetId::NATIVE,
            amount: 5,
        };
        let signed =
            SignedTransaction::transfers(&genesis, &key, 3, WindowNumber::new(9), &[transfer]);
        assert_eq!(
            SignedTransaction::from_hex(&signed.to_hex(), &genesis),
            Ok(signed.clone())
        );
        let other = GenesisHash::new(hash("test", &2u8));
        let elsewhere = SignedTransaction::from_hex(&signed.to_hex(), &other).unwrap();
        assert_ne!(elsewhere.id, signed.id, "the id names the chain");
        let mut longer = signed.to_hex();
        longer.push_str("00");
        for wrong in ["", "zz", &signed.to_hex()[2..], &longer] {
            assert!(SignedTransaction::from_hex(wrong, &genesis).is_err());
        }
    }
}
