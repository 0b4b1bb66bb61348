//! The rules again, the slow and obvious way: one map of all accounts of all shards, a copy of
//! everything before each transaction, queues instead of Merkle logs.

use std::collections::BTreeMap;

use lockstep_ledger::{Action, Failure, LedgerConfig, OutboxEntry, ReceiptResult, Transaction};
use lockstep_types::{AccountId, AssetId, ShardId, WindowNumber};

#[derive(Clone, Default)]
pub(crate) struct NaiveAccount {
    pub(crate) nonce: u64,
    pub(crate) balances: BTreeMap<AssetId, u128>,
    executed: BTreeMap<WindowNumber, u32>,
}

impl NaiveAccount {
    pub(crate) fn balance(&self, asset: AssetId) -> u128 {
        self.balances.get(&asset).copied().unwrap_or(0)
    }
}

/// Everything ever sent from one shard to another.
#[derive(Clone, Default)]
pub(crate) struct Queue {
    pub(crate) entries: Vec<OutboxEntry>,
    pub(crate) credited: usize,
    pub(crate) acknowledged: u64,
}

#[derive(Clone)]
pub(crate) struct Naive {
    config: LedgerConfig,
    pub(crate) accounts: BTreeMap<AccountId, NaiveAccount>,
    pub(crate) queues: BTreeMap<(ShardId, ShardId), Queue>,
}

impl Naive {
    pub(crate) fn new(config: LedgerConfig, allocations: &[(AccountId, AssetId, u128)]) -> Self {
        let mut accounts: BTreeMap<AccountId, NaiveAccount> = BTreeMap::new();
        for (id, asset, amount) in allocations {
            *accounts
                .entry(*id)
                .or_default()
                .balances
                .entry(*asset)
                .or_default() += amount;
        }
        Naive {
            config,
            accounts,
            queues: BTreeMap::new(),
        }
    }

    /// `None`: no effect and no receipt.
    pub(crate) fn execute(
        &mut self,
        shard: ShardId,
        transaction: &Transaction,
        window: WindowNumber,
    ) -> Option<ReceiptResult> {
        let sender = transaction.sender();
        if sender.shard(self.config.shards) != shard || transaction.expiry < window {
            return None;
        }
        let account = self.accounts.get(&sender)?;
        if account.nonce != transaction.nonce
            || account.balance(AssetId::NATIVE) < self.config.minimum_balance
        {
            return None;
        }
        let executed = account.executed.get(&window).copied().unwrap_or(0);
        let before = (self.accounts.clone(), self.queues.clone());
        let result = if executed >= self.config.account_window_limit {
            Err(Failure::WindowLimit)
        } else {
            self.actions(shard, transaction)
        };
        if result.is_err() {
            (self.accounts, self.queues) = before;
        }
        let account = self.accounts.get_mut(&sender).unwrap();
        account.nonce += 1;
        *account.executed.entry(window).or_default() += 1;
        Some(match result {
            Ok(()) => ReceiptResult::Applied,
            Err(failure) => ReceiptResult::Failed(failure),
        })
    }

    fn actions(&mut self, shard: ShardId, transaction: &Transaction) -> Result<(), Failure> {
        let sender = transaction.sender();
        let genesis = self.config.genesis;
        let mut touched = vec![sender];
        for (index, action) in transaction.actions.iter().enumerate() {
            let Action::Transfer { to, asset, amount } = *action;
            let action = u8::try_from(index).unwrap();
            let balances = &mut self.accounts.get_mut(&sender).unwrap().balances;
            let balance = balances.entry(asset).or_default();
            *balance = balance
                .checked_sub(amount)
                .ok_or(Failure::Insufficient { action })?;
            let destination = to.shard(self.config.shards);
            if destination == shard {
                let balances = &mut self.accounts.entry(to).or_default().balances;
                *balances.entry(asset).or_default() += amount;
                touched.push(to);
                continue;
            }
            if asset == AssetId::NATIVE && amount < self.config.minimum_balance {
                return Err(Failure::BelowMinimum);
            }
            let queue = self.queues.entry((shard, destination)).or_default();
            if queue.entries.len() as u64 - queue.acknowledged >= self.config.pair_cap {
                return Err(Failure::Busy { destination });
            }
            queue.entries.push(OutboxEntry {
                transaction: transaction.id(&genesis),
                action,
                to,
                asset,
                amount,
            });
        }
        let poor = |id| self.accounts[id].balance(AssetId::NATIVE) < self.config.minimum_balance;
        if touched.iter().any(poor) {
            return Err(Failure::BelowMinimum);
        }
        Ok(())
    }

    /// Credits the next `count` entries from `source`; returns them with their numbers.
    pub(crate) fn credit(
        &mut self,
        source: ShardId,
        destination: ShardId,
        count: usize,
    ) -> Vec<(u64, OutboxEntry)> {
        let queue = self.queues.get_mut(&(source, destination)).unwrap();
        let first = queue.credited;
        queue.credited += count;
        let entries = queue.entries[first..first + count].to_vec();
        for entry in &entries {
            let account = self.accounts.entry(entry.to).or_default();
            *account.balances.entry(entry.asset).or_default() += entry.amount;
        }
        (first as u64..).zip(entries).collect()
    }

    /// Everything there is of an asset: held or on its way.
    pub(crate) fn total(&self, asset: AssetId) -> u128 {
        let mut total = 0;
        for account in self.accounts.values() {
            total += account.balance(asset);
        }
        for queue in self.queues.values() {
            for entry in &queue.entries[queue.credited..] {
                total += if entry.asset == asset {
                    entry.amount
                } else {
                    0
                };
            }
        }
        total
    }
}
