//! One transaction's actions, tried on copies. Nothing reaches the ledger until all of them have
//! succeeded; a failure or a panic halfway leaves no trace.
//!
//! Breaks if: an action reads an account from the ledger instead of through [`Overlay::account`],
//! so that it would not see what the action before it did (and a transfer to oneself would double).

use lockstep_types::{AccountId, AssetId, ShardId, TransactionId};

use crate::accounts::Slot;
use crate::amounts::AmountError;
use crate::outbox::OutboxEntry;
use crate::{Account, Action, Failure, Ledger};

/// What a transaction changes.
pub(crate) struct Changes {
    /// Accounts of this shard, as they become.
    pub(crate) accounts: Vec<Changed>,
    /// New entries, in order.
    pub(crate) sent: Vec<(ShardId, OutboxEntry)>,
}

/// An account as a transaction leaves it.
pub(crate) struct Changed {
    pub(crate) id: AccountId,
    /// Where it is, unless the transaction makes it.
    pub(crate) slot: Option<Slot>,
    pub(crate) account: Account,
}

pub(crate) struct Overlay<'a> {
    ledger: &'a Ledger,
    changes: Changes,
}

impl<'a> Overlay<'a> {
    /// An overlay that holds the sender's account, which exists.
    pub(crate) fn new(ledger: &'a Ledger, sender: AccountId, slot: Slot) -> Self {
        let account = Account::clone(&ledger.accounts.get(slot).account);
        Overlay {
            ledger,
            changes: Changes {
                accounts: vec![Changed {
                    id: sender,
                    slot: Some(slot),
                    account,
                }],
                sent: Vec::new(),
            },
        }
    }

    /// Runs all actions of a transaction.
    pub(crate) fn run(
        mut self,
        transaction: &TransactionId,
        sender: &AccountId,
        actions: &[Action],
    ) -> Result<Changes, Failure> {
        for (index, action) in (0u8..).zip(actions) {
            match action {
                Action::Transfer { to, asset, amount } => {
                    let entry = OutboxEntry {
                        transaction: *transaction,
                        action: index,
                        to: *to,
                        asset: *asset,
                        amount: *amount,
                    };
                    self.transfer(sender, entry)?;
                }
            }
        }
        self.check_minimum()?;
        Ok(self.changes)
    }

    fn transfer(&mut self, sender: &AccountId, entry: OutboxEntry) -> Result<(), Failure> {
        let OutboxEntry {
            to,
            asset,
            amount,
            action,
            ..
        } = entry;
        let free = to == *sender && lockstep_types::planted!(SelfTransferDoubles);
        self.account(sender)
            .balances
            .sub(asset, if free { 0 } else { amount })
            .map_err(|_| Failure::Insufficient { action })?;
        let destination = to.shard(self.ledger.config().shards);
        if destination == self.ledger.config().shard {
            let credited = self.account(&to).balances.add(asset, amount);
            credited.map_err(|_: AmountError| Failure::Overflow)
        } else {
            self.send(destination, entry)
        }
    }

    /// Everything that could go wrong at the destination must go wrong here.
    fn send(&mut self, destination: ShardId, entry: OutboxEntry) -> Result<(), Failure> {
        let config = self.ledger.config();
        if entry.asset == AssetId::NATIVE && entry.amount < config.minimum_balance {
            return Err(Failure::BelowMinimum);
        }
        let (mut waiting, mut sent) = (self.ledger.unacknowledged(destination), 0u128);
        for (to, earlier) in &self.changes.sent {
            waiting += u64::from(*to == destination);
            if earlier.asset == entry.asset {
                sent = sent.checked_add(earlier.amount).ok_or(Failure::Overflow)?;
            }
        }
        if waiting >= config.pair_cap {
            return Err(Failure::Busy { destination });
        }
        // The shard's total bounds each destination's.
        self.ledger
            .sent(entry.asset)
            .checked_add(sent)
            .and_then(|sum| sum.checked_add(entry.amount))
            .ok_or(Failure::Overflow)?;
        self.changes.sent.push((destination, entry));
        Ok(())
    }

    /// Every account that the transaction touched must hold the minimum in the end.
    fn check_minimum(&self) -> Result<(), Failure> {
        let minimum = self.ledger.config().minimum_balance;
        let poor = |changed: &Changed| changed.account.native() < minimum;
        if self.changes.accounts.iter().any(poor) {
            return Err(Failure::BelowMinimum);
        }
        Ok(())
    }

    /// The account as the actions so far have left it.
    fn account(&mut self, id: &AccountId) -> &mut Account {
        let accounts = &mut self.changes.accounts;
        let at = accounts.iter().position(|known| known.id == *id);
        let at = at.unwrap_or_else(|| {
            let slot = self.ledger.accounts.find(id);
            let held = slot.map(|slot| &self.ledger.accounts.get(slot).account);
            accounts.push(Changed {
                id: *id,
                slot,
                account: held.map_or_else(Account::default, |held| Account::clone(held)),
            });
            accounts.len() - 1
        });
        &mut accounts[at].account
    }
}
