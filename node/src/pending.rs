//! Transactions that clients gave to this node and that have not been executed: for answers only,
//! what is proposed is the replica's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use lockstep_ledger::Transaction;
use lockstep_types::{AccountId, TransactionId, WindowNumber};

#[derive(Debug, Default)]
struct Inner {
    transactions: BTreeMap<TransactionId, (AccountId, u64, WindowNumber)>,
    nonces: BTreeSet<(AccountId, u64)>,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Inner>);

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn has(&self, id: &TransactionId) -> bool {
        self.lock().transactions.contains_key(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().transactions.len()
    }

    pub(crate) fn add(&self, id: TransactionId, transaction: &Transaction) {
        let sender = transaction.sender();
        let mut inner = self.lock();
        let entry = (sender, transaction.nonce, transaction.expiry);
        inner.transactions.insert(id, entry);
        inner.nonces.insert((sender, transaction.nonce));
    }

    /// These were executed or never will be.
    pub(crate) fn remove<'a>(&self, ids: impl Iterator<Item = &'a TransactionId>) {
        let mut inner = self.lock();
        for id in ids {
            if let Some((sender, nonce, _)) = inner.transactions.remove(id) {
                inner.nonces.remove(&(sender, nonce));
            }
        }
    }

    /// The replica has forgotten them all.
    pub(crate) fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// Those that could last be executed before `open` never will be.
    pub(crate) fn expire(&self, open: WindowNumber) {
        let inner = self.lock();
        let late: Vec<TransactionId> = inner
            .transactions
            .iter()
            .filter(|(_, (_, _, expiry))| *expiry < open)
            .map(|(id, _)| *id)
            .collect();
        drop(inner);
        self.remove(late.iter());
    }

    /// The nonce after everything of an account that waits without a gap from `nonce` on.
    pub(crate) fn next_nonce(&self, account: AccountId, nonce: u64) -> u64 {
        let inner = self.lock();
        let after = inner.nonces.range((account, nonce)..);
        let gapless = after
            .zip(nonce..)
            .take_while(|((sender, waiting), next)| *sender == account && waiting == next);
        nonce + gapless.count() as u64
    }
}
