//! Whether a transaction would execute. The same checks decide at execution and, earlier and only
//! as a filter, at the mempool's door.

use lockstep_types::{AccountId, AssetId, ShardId, WindowNumber};

use crate::accounts::Slot;
use crate::{Action, Amounts, Ledger, Transaction};

/// How far ahead of an account's next nonce the mempool holds transactions for it.
pub const MAX_NONCE_AHEAD: u64 = 64;

/// Why a transaction does not execute. It has no effect then and leaves no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its sender's account is in another shard.
    #[error("the sender's account is in {account}, this is {ours}")]
    WrongShard {
        /// Where the account is.
        account: ShardId,
        /// Where the transaction came.
        ours: ShardId,
    },
    /// Its sender has no account.
    #[error("the sender has no account")]
    UnknownSender,
    /// Its nonce has been used.
    #[error("nonce {got} has been used, next is {expected}")]
    StaleNonce {
        /// The next one.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Transactions before it are missing.
    #[error("nonce {got} is ahead, next is {expected}")]
    NonceAhead {
        /// The next one.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// Its last window is over.
    #[error("expired with window {expiry}, open is {window}")]
    Expired {
        /// Its last window.
        expiry: WindowNumber,
        /// The open one.
        window: WindowNumber,
    },
    /// Its sender holds less of the native asset than an account must to send.
    #[error("the sender holds {held} where at least {minimum} are needed to send")]
    BelowMinimum {
        /// What it holds.
        held: u128,
        /// What it must.
        minimum: u128,
    },
    /// Its sender holds less than it gives away.
    #[error("it gives away {needed} of asset {}, the sender holds {held}", asset.get())]
    Insufficient {
        /// Of which asset.
        asset: AssetId,
        /// What it gives away, as far as that can be counted.
        needed: u128,
        /// What the sender holds.
        held: u128,
    },
}

impl Ledger {
    /// May the mempool take this transaction, whose signature has been checked, while `window` is
    /// open? A transaction whose turn has not come is judged by the present balance.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, transaction: &Transaction, window: WindowNumber) -> Result<(), Refusal> {
        let slot = self.entitled(&transaction.sender(), transaction, window)?;
        let account = &self.accounts.get(slot).account;
        let expected = account.nonce;
        if transaction.nonce - expected >= MAX_NONCE_AHEAD {
            return Err(Refusal::NonceAhead {
                expected,
                got: transaction.nonce,
            });
        }
        let mut needed = Amounts::default();
        for action in &transaction.actions {
            let Action::Transfer { asset, amount, .. } = action;
            let held = account.balances.get(*asset);
            let counted = needed.add(*asset, *amount).map(|()| needed.get(*asset));
            let needed = counted.unwrap_or(u128::MAX);
            if needed > held {
                return Err(Refusal::Insufficient {
                    asset: *asset,
                    needed,
                    held,
                });
            }
        }
        Ok(())
    }

    /// Does it execute now? Then this is its sender's slot.
    pub(crate) fn executes(
        &self,
        sender: &AccountId,
        transaction: &Transaction,
        window: WindowNumber,
    ) -> Result<Slot, Refusal> {
        let slot = self.entitled(sender, transaction, window)?;
        let expected = self.accounts.get(slot).account.nonce;
        if transaction.nonce == expected {
            Ok(slot)
        } else {
            Err(Refusal::NonceAhead {
                expected,
                got: transaction.nonce,
            })
        }
    }

    /// The checks that do not depend on how far ahead a nonce may be.
    fn entitled(
        &self,
        sender: &AccountId,
        transaction: &Transaction,
        window: WindowNumber,
    ) -> Result<Slot, Refusal> {
        let config = self.config();
        let shard = sender.shard(config.shards);
        if shard != config.shard {
            return Err(Refusal::WrongShard {
                account: shard,
                ours: config.shard,
            });
        }
        let slot = self.accounts.find(sender);
        let slot = slot.ok_or(Refusal::UnknownSender)?;
        let account = &self.accounts.get(slot).account;
        let expected = account.nonce;
        if transaction.nonce < expected {
            return Err(Refusal::StaleNonce {
                expected,
                got: transaction.nonce,
            });
        }
        if transaction.expiry < window {
            return Err(Refusal::Expired {
                expiry: transaction.expiry,
                window,
            });
        }
        let held = account.native();
        if held < config.minimum_balance {
            return Err(Refusal::BelowMinimum {
                held,
                minimum: config.minimum_balance,
            });
        }
        Ok(slot)
    }
}
