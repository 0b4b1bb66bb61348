//! All accounts of a shard. An ordered index finds an account's slot; whoever has the slot needs no
//! second search, so a transfer costs two searches. The map is ordered and not hashed: anybody may
//! choose the ids that value is sent to, and a search must not become slow by such a choice.
//!
//! Also remembered: the accounts written in the block that executes, and those written since the
//! trie was last given its changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::AccountId;

use crate::Account;
use crate::account::Holding;

/// Where an account is. Never reused: accounts are not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    fn at(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Entry {
    id: AccountId,
    holding: Holding,
    /// It stands in `Accounts::touched`.
    touched: bool,
    /// It stands in `Accounts::dirty`.
    dirty: bool,
}

/// The accounts of a shard.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    index: BTreeMap<AccountId, Slot>,
    entries: Vec<Entry>,
    /// Written in this block.
    touched: Vec<Slot>,
    /// Written since the last seal.
    dirty: Vec<Slot>,
}

impl Accounts {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, id: &AccountId) -> Option<Slot> {
        self.index.get(id).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> &Holding {
        &self.entries[slot.at()].holding
    }

    /// Everything, in no particular but always the same order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (AccountId, &Holding)> {
        self.entries.iter().map(|entry| (entry.id, &entry.holding))
    }

    /// Puts an account in as genesis or the disk has it. Not a write of any block.
    pub(crate) fn restore(&mut self, id: AccountId, holding: Holding) {
        let slot = self.find(&id).unwrap_or_else(|| self.create(id));
        self.entries[slot.at()].holding = holding;
    }

    /// The slot of an account, which is made if there is none.
    pub(crate) fn find_or_create(&mut self, id: AccountId) -> Slot {
        self.find(&id).unwrap_or_else(|| self.create(id))
    }

    fn create(&mut self, id: AccountId) -> Slot {
        let slot = u32::try_from(self.entries.len()).expect("2^32 accounts fit no memory");
        self.entries.push(Entry {
            id,
            holding: Holding::default(),
            touched: false,
            dirty: false,
        });
        self.index.insert(id, Slot(slot));
        Slot(slot)
    }

    /// An account to be written by the block that executes.
    pub(crate) fn write(&mut self, slot: Slot) -> &mut Holding {
        let entry = &mut self.entries[slot.at()];
        if !core::mem::replace(&mut entry.touched, true) {
            self.touched.push(slot);
        }
        if !core::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(slot);
        }
        &mut entry.holding
    }

    /// Ends a block: the accounts it has written, ascending by id.
    pub(crate) fn take_touched(&mut self) -> Vec<(AccountId, Slot)> {
        let touched = core::mem::take(&mut self.touched);
        let mut written: Vec<_> = touched
            .into_iter()
            .map(|slot| {
                let entry = &mut self.entries[slot.at()];
                entry.touched = false;
                (entry.id, slot)
            })
            .collect();
        written.sort_unstable_by_key(|(id, _)| *id);
        written
    }

    /// Ends a window: the accounts written since the last call, as they are.
    pub(crate) fn take_dirty(&mut self) -> Vec<(AccountId, Arc<Account>)> {
        let dirty = core::mem::take(&mut self.dirty);
        let changes = dirty.into_iter().map(|slot| {
            let entry = &mut self.entries[slot.at()];
            entry.dirty = false;
            (entry.id, entry.holding.account.clone())
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> AccountId {
        AccountId::new([number; 20])
    }

    #[test]
    fn each_written_account_is_listed_once_per_block_and_once_per_window() {
        let mut accounts = Accounts::default();
        accounts.restore(id(9), Holding::default());
        assert!(accounts.take_touched().is_empty());
        for number in [9, 3, 9, 3, 7] {
            let slot = accounts.find_or_create(id(number));
            accounts.write(slot).executed += 1;
        }
        let ids = |list: Vec<(AccountId, Slot)>| -> Vec<AccountId> {
            list.into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(ids(accounts.take_touched()), [id(3), id(7), id(9)]);
        let slot = accounts.find(&id(3)).unwrap();
        accounts.write(slot);
        assert_eq!(ids(accounts.take_touched()), [id(3)]);
        assert_eq!(accounts.take_dirty().len(), 3);
        assert!(accounts.take_dirty().is_empty());
        assert_eq!((accounts.len(), accounts.get(slot).executed), (3, 2));
    }
}
