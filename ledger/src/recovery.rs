//! From the store back to a ledger. The state on disk is genesis plus every write since, so
//! accounts that no block has touched come from genesis again.

use lockstep_types::{AccountId, AssetId, ShardId, codec};
use parity_scale_codec::DecodeAll;

use crate::account::{Holding, HoldingRecord};
use crate::ledger::Peer;
use crate::outbox::SealedOutbox;
use crate::store::schema::{self, Head, PeerRecord};
use crate::{Column, Ledger, LedgerConfig, LedgerError, Store, check_allocations};

impl Ledger {
    /// The ledger at the height that the store's state has reached; at genesis if it is empty.
    ///
    /// Seals from before are not readable with proofs; the next one is.
    ///
    /// # Errors
    /// When the store fails, is damaged, or holds a state that breaks an invariant.
    pub fn load(
        config: LedgerConfig,
        allocations: &[(AccountId, AssetId, u128)],
        store: &dyn Store,
    ) -> Result<Self, LedgerError> {
        check_allocations(allocations)?;
        let mut ledger = Ledger::genesis(config, allocations);
        let Some(head) = store.get(Column::Meta, schema::HEAD)? else {
            return Ok(ledger);
        };
        let format = head.first().copied().unwrap_or(0);
        if format != schema::FORMAT {
            return Err(LedgerError::Format {
                got: format,
                expected: schema::FORMAT,
            });
        }
        let head: Head = own(&head, "the head")?;
        ledger.height = head.height;
        ledger.digest = head.digest;
        ledger.recorded = head.recorded;
        ledger.supplies = head.supply.into_iter().map(|s| (s.asset, s)).collect();
        ledger.load_accounts(store)?;
        ledger.load_peers(store)?;
        ledger.load_sealed_outboxes(store)?;
        ledger.recount()?;
        ledger.rebuild_trie();
        Ok(ledger)
    }

    pub(crate) fn load_accounts(&mut self, store: &dyn Store) -> Result<(), LedgerError> {
        scan(store, Column::Accounts, &[], |key, value| {
            let id = key
                .try_into()
                .map_err(|_| LedgerError::Damaged("an account id"))?;
            let record: HoldingRecord = own(value, "an account")?;
            self.accounts
                .restore(AccountId::new(id), Holding::from(record));
            Ok(())
        })
    }

    fn load_peers(&mut self, store: &dyn Store) -> Result<(), LedgerError> {
        let mut records = Vec::new();
        scan(store, Column::Meta, &[schema::PEER], |key, value| {
            let shard = schema::shard_of(key).ok_or(LedgerError::Damaged("a peer's key"))?;
            records.push((shard, own(value, "a peer")?));
            Ok(())
        })?;
        self.restore_peers(records, store)
    }

    /// Puts the peers in as these records have them, with their entries from the store.
    pub(crate) fn restore_peers(
        &mut self,
        records: Vec<(ShardId, PeerRecord)>,
        store: &dyn Store,
    ) -> Result<(), LedgerError> {
        let mut counts = Vec::new();
        for (shard, record) in records {
            counts.push((shard, record.sent_count));
            let (outbox, inbox) = record.restore().ok_or(LedgerError::Damaged("a peer"))?;
            self.peers.insert(shard, Peer { outbox, inbox });
        }
        scan(store, Column::Meta, &[schema::ENTRY], |key, value| {
            let damaged = LedgerError::Damaged("an outbox entry");
            let shard = schema::shard_of(key).ok_or(damaged.clone())?;
            let peer = self.peers.get_mut(&shard).ok_or(damaged.clone())?;
            if schema::sequence_of(key) != Some(peer.outbox.count()) {
                return Err(damaged);
            }
            peer.outbox.push(own(value, "an outbox entry")?);
            Ok(())
        })?;
        for (shard, count) in counts {
            if self.sent_count(shard) != count {
                return Err(LedgerError::Damaged("the outbox"));
            }
        }
        Ok(())
    }

    fn load_sealed_outboxes(&mut self, store: &dyn Store) -> Result<(), LedgerError> {
        scan(
            store,
            Column::Meta,
            &[schema::SEALED_OUTBOX],
            |key, value| {
                let window = schema::window_of(key).ok_or(LedgerError::Damaged("a seal's key"))?;
                let leaves = own(value, "a sealed outbox")?;
                let sealed = SealedOutbox::new(window, leaves);
                self.sealed_outboxes.insert(window, sealed);
                Ok(())
            },
        )
    }
}

fn own<T: DecodeAll>(bytes: &[u8], what: &'static str) -> Result<T, LedgerError> {
    codec::decode_own(bytes).map_err(|_| LedgerError::Damaged(what))
}

/// Visits the keys of a column that start with `prefix`.
pub(crate) fn scan(
    store: &dyn Store,
    column: Column,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut result = Ok(());
    store.scan(column, prefix, &mut |key, value| {
        if !key.starts_with(prefix) {
            return false;
        }
        result = visit(key, value);
        result.is_ok()
    })?;
    result
}
