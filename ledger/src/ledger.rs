//! The ledger of one shard: its accounts, its outbox and inbox, and the commitments to them. It
//! changes only by [`Ledger::execute`], block after block, and every replica that executes the
//! same blocks holds the same ledger and the same digests.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_types::{
    AccountId, AssetId, EffectsDigest, Gauge, GenesisHash, Height, MerkleRoot, ShardId,
    WindowNumber,
};

use crate::account::{Account, Holding};
use crate::accounts::Accounts;
use crate::bundle::{Bundle, BundleProof, MAX_BUNDLE_ENTRIES};
use crate::inbox::{Inbox, MAX_CERTIFIED_ROOTS};
use crate::merkle::Trie;
use crate::outbox::{Outbox, SealedOutbox};
use crate::seal::{Committed, MAX_UNRECORDED_SEALS, Unfinished};
use crate::{Broken, LedgerError, Supply};

/// Most of one asset that genesis may allocate over all shards. What has ever been sent or received
/// is counted in 128 bits; this leaves room for 2^32 times the whole supply.
pub const MAX_SUPPLY: u128 = 1 << 96;

/// What a ledger must know of genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// The chain.
    pub genesis: GenesisHash,
    /// This shard.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: u16,
    /// What an account must hold of the native asset.
    pub minimum_balance: u128,
    /// Most transactions of one account that may have an effect in one window.
    pub account_window_limit: u32,
    /// Most unacknowledged entries to one other shard.
    pub pair_cap: u64,
}

/// What passes between this shard and another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
}

/// One shard's state.
#[derive(Debug)]
pub struct Ledger {
    config: LedgerConfig,
    pub(crate) height: Height,
    pub(crate) digest: EffectsDigest,
    pub(crate) accounts: Accounts,
    pub(crate) supplies: BTreeMap<AssetId, Supply>,
    pub(crate) peers: BTreeMap<ShardId, Peer>,
    /// The newest seal of ours that a record names.
    pub(crate) recorded: Option<WindowNumber>,
    /// Outboxes as sealed, from the recorded one on.
    pub(crate) sealed_outboxes: BTreeMap<WindowNumber, SealedOutbox>,
    /// Seals whose state is still readable, from the recorded one on.
    pub(crate) committed: BTreeMap<WindowNumber, Committed>,
    /// The trie of the newest finished seal.
    pub(crate) trie: Trie,
    pub(crate) unfinished: Option<Unfinished>,
    /// Makes the transaction with this nonce panic, for the test of the unwind boundary.
    #[cfg(test)]
    pub(crate) panic_at_nonce: Option<u64>,
}

impl Ledger {
    /// The ledger of a shard at genesis. Takes the allocations of all shards and keeps its own.
    ///
    /// # Panics
    /// When [`check_allocations`] refuses them; genesis has been checked before.
    pub fn genesis(config: LedgerConfig, allocations: &[(AccountId, AssetId, u128)]) -> Self {
        check_allocations(allocations).expect("genesis has been checked");
        let mut ledger = Self::unallocated(config);
        for (id, asset, amount) in allocations {
            if id.shard(config.shards) != config.shard {
                continue;
            }
            let mut account = ledger.account(id).cloned().unwrap_or_default();
            let added = account.balances.add(*asset, *amount);
            added.expect("allocations are within MAX_SUPPLY");
            ledger.accounts.restore(*id, Holding::new(account));
            let supply = ledger.supply_mut(*asset);
            supply.genesis += amount;
            supply.balances += amount;
        }
        ledger.rebuild_trie();
        ledger.recount().expect("genesis conserves value");
        ledger
    }

    pub(crate) fn unallocated(config: LedgerConfig) -> Self {
        assert!(config.shards > 0, "there is at least one shard");
        assert!(
            config.shard.get() < config.shards,
            "shards are numbered from 0"
        );
        Ledger {
            config,
            height: Height::ZERO,
            digest: EffectsDigest::ZERO,
            accounts: Accounts::default(),
            supplies: BTreeMap::new(),
            peers: BTreeMap::new(),
            recorded: None,
            sealed_outboxes: BTreeMap::new(),
            committed: BTreeMap::new(),
            trie: Trie::default(),
            unfinished: None,
            #[cfg(test)]
            panic_at_nonce: None,
        }
    }

    /// Commits every account anew.
    pub(crate) fn rebuild_trie(&mut self) {
        let accounts = self.accounts.iter();
        self.trie = Trie::default().updated(accounts.map(|(id, h)| (id, h.account.clone())));
    }

    /// How full everything is that grows with what others say. The recorded seal stays beside those
    /// that no record names.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        let (outboxes, states) = (self.sealed_outboxes.len(), self.committed.len());
        gauge.note("sealed outboxes", outboxes, 1 + MAX_UNRECORDED_SEALS);
        gauge.note("readable states", states, 1 + MAX_UNRECORDED_SEALS);
        let cap = usize::try_from(self.config.pair_cap).unwrap_or(usize::MAX);
        let entries = self.peers.values().map(|peer| peer.outbox.held()).max();
        gauge.note("entries to one shard", entries.unwrap_or(0), cap);
        let roots = self.peers.values().map(|peer| peer.inbox.certified.len());
        let roots = roots.max().unwrap_or(0);
        gauge.note("roots of one source", roots, MAX_CERTIFIED_ROOTS);
    }

    /// What it was made with.
    pub fn config(&self) -> &LedgerConfig {
        &self.config
    }

    /// The last executed height.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The chained digest of everything up to that height.
    pub fn digest(&self) -> EffectsDigest {
        self.digest
    }

    /// An account, if it exists.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        let slot = self.accounts.find(id)?;
        Some(&self.accounts.get(slot).account)
    }

    /// How many accounts there are.
    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// The terms of the conservation equation, ascending by asset.
    pub fn supply(&self) -> Vec<Supply> {
        self.supplies.values().copied().collect()
    }

    pub(crate) fn supply_mut(&mut self, asset: AssetId) -> &mut Supply {
        self.supplies.entry(asset).or_insert(Supply {
            asset,
            ..Supply::default()
        })
    }

    /// How much of an asset has ever left for other shards.
    pub(crate) fn sent(&self, asset: AssetId) -> u128 {
        self.supplies.get(&asset).map_or(0, |supply| supply.sent)
    }

    /// Entries ever sent to a shard.
    pub fn sent_count(&self, destination: ShardId) -> u64 {
        self.peers.get(&destination).map_or(0, |p| p.outbox.count())
    }

    /// Entries that a shard has shown, in a record, to have credited.
    pub fn acknowledged(&self, destination: ShardId) -> u64 {
        let peer = self.peers.get(&destination);
        peer.map_or(0, |p| p.outbox.acknowledged())
    }

    /// Entries to a shard that are not acknowledged.
    pub fn unacknowledged(&self, destination: ShardId) -> u64 {
        self.sent_count(destination) - self.acknowledged(destination)
    }

    /// The watermark of a source: the next sequence number to credit.
    pub fn consumed(&self, source: ShardId) -> u64 {
        self.peers.get(&source).map_or(0, |p| p.inbox.consumed)
    }

    /// A source's certified outbox root of a window, if it is one of the newest.
    pub fn certified_root(&self, source: ShardId, window: WindowNumber) -> Option<&MerkleRoot> {
        self.peers.get(&source)?.inbox.root(window)
    }

    /// The newest window of a source whose outbox root is certified.
    pub fn newest_certified(&self, source: ShardId) -> Option<WindowNumber> {
        let (window, _) = self.peers.get(&source)?.inbox.certified.back()?;
        Some(*window)
    }

    /// The newest seal of this shard that a record names.
    pub fn recorded(&self) -> Option<WindowNumber> {
        self.recorded
    }

    /// Entries to a destination that bundles can be made for: those under the newest recorded seal
    /// that are not acknowledged.
    pub fn provable(&self, destination: ShardId) -> core::ops::Range<u64> {
        let from = self.acknowledged(destination);
        let sealed = self.recorded.and_then(|w| self.sealed_outboxes.get(&w));
        let leaf = sealed.and_then(|sealed| sealed.leaf(destination));
        from..leaf.map_or(from, |(_, leaf)| leaf.count.max(from))
    }

    /// Destinations that bundles can be made for, ascending.
    pub fn destinations(&self) -> Vec<ShardId> {
        let all = self.peers.keys().copied();
        all.filter(|peer| !self.provable(*peer).is_empty())
            .collect()
    }

    /// The entries to `destination` from sequence number `from` to the next multiple of
    /// `max_entries`, proven against the newest seal of ours that a record names. Wherever one
    /// begins, the next fits on one that was cut before. `None` when there are none, or when `from`
    /// has been acknowledged.
    pub fn bundle(&self, destination: ShardId, from: u64, max_entries: usize) -> Option<Bundle> {
        let sealed = self.sealed_outboxes.get(&self.recorded?)?;
        let (position, leaf) = sealed.leaf(destination)?;
        let outbox = &self.peers.get(&destination)?.outbox;
        let most = max_entries.min(MAX_BUNDLE_ENTRIES) as u64;
        let cut = from.checked_div(most)?.checked_add(1)?.checked_mul(most)?;
        let to = cut.min(leaf.count);
        let entries = outbox.log().prove(from, to, leaf.count)?;
        let (position, destinations) = (position as u64, sealed.tree.count());
        Some(Bundle {
            source: self.config.shard,
            destination,
            window: sealed.window,
            from,
            entries: outbox.range(from, to)?,
            proof: BundleProof {
                count: leaf.count,
                entries,
                position: u16::try_from(position).expect("fewer than 2^16 shards"),
                destinations: u16::try_from(destinations).expect("fewer than 2^16 shards"),
                leaf: sealed.tree.prove(position, position + 1, destinations)?,
            },
        })
    }

    /// Counts everything anew and compares with what is kept along the way.
    ///
    /// # Errors
    /// The first difference.
    pub fn recount(&self) -> Result<(), Broken> {
        let assets: BTreeSet<AssetId> = self
            .accounts
            .iter()
            .flat_map(|(_, holding)| holding.account.balances.iter())
            .map(|(asset, _)| asset)
            .chain(self.supplies.keys().copied())
            .collect();
        for asset in assets {
            let kept = self.supplies.get(&asset).copied().unwrap_or_default();
            let held = self.accounts.iter();
            let held = held.map(|(_, holding)| holding.account.balances.get(asset));
            compare("balances", kept.balances, held)?;
            let sent = self.peers.values().map(|p| p.outbox.sent.get(asset));
            compare("amounts sent", kept.sent, sent)?;
            let received = self.peers.values().map(|p| p.inbox.received.get(asset));
            compare("amounts received", kept.received, received)?;
            kept.check()?;
        }
        Ok(())
    }
}

fn compare(
    what: &'static str,
    kept: u128,
    mut terms: impl Iterator<Item = u128>,
) -> Result<(), Broken> {
    let counted = terms
        .try_fold(0u128, u128::checked_add)
        .unwrap_or(u128::MAX);
    if counted == kept {
        Ok(())
    } else {
        Err(Broken::Recount {
            what,
            kept,
            counted,
        })
    }
}

/// Does genesis give out no more than a ledger can count?
///
/// # Errors
/// [`LedgerError::TooMuch`], with the asset.
pub fn check_allocations(allocations: &[(AccountId, AssetId, u128)]) -> Result<(), LedgerError> {
    let mut totals: BTreeMap<AssetId, u128> = BTreeMap::new();
    for (_, asset, amount) in allocations {
        let total = totals.entry(*asset).or_default();
        *total = total
            .checked_add(*amount)
            .filter(|sum| *sum <= MAX_SUPPLY)
            .ok_or(LedgerError::TooMuch {
                asset: *asset,
                limit: MAX_SUPPLY,
            })?;
    }
    Ok(())
}
