//! A ledger as of one of its seals, to be given to replicas that have lost theirs, and the way back
//! from what they were given to a store that [`Ledger::load`] reads.
//!
//! ```text
//! seal (certified) ─▶ state root ─▶ frame: accounts root, supply, peers ─▶ parts of the trie
//!                  └▶ outbox root ─▶ frame: counts and tops ─▶ ranges of entries
//! ```
//!
//! Everything follows from the seal: the frame is checked against it, each part against the frame
//! or against a part above. Parts are put into the store as they come; the store counts as empty
//! until [`Ledger::install`] has looked at all of it once more.
//!
//! Breaks if: execution comes to depend on something that neither the seal nor the state root
//! covers, or the head is written before everything else is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::{Digest, MerkleRoot, ShardId, WindowNumber};
use parity_scale_codec::{Decode, Encode};

use crate::account::Holding;
use crate::ledger::Peer;
use crate::merkle::{ProofError, RangeProof, Trie, TriePart, TriePath};
use crate::outbox::{ENTRIES, OUTBOX, OutboxEntry, OutboxLeaf};
use crate::recovery::scan;
use crate::seal::{meta_digest, outbox_leaves, state_root_of, supply_digest};
use crate::store::schema::{self, PeerRecord};
use crate::{Column, Ledger, LedgerConfig, LedgerError, Seal, SealChoice, Store, Write};

/// Most entries in one part.
pub const MAX_PART_ENTRIES: usize = 4_096;

/// All of a ledger at a seal but accounts and entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LedgerFrame {
    /// Root of the trie of accounts.
    pub accounts: Digest,
    recorded: Option<WindowNumber>,
    peers: Vec<(ShardId, PeerRecord)>,
    outboxes: Vec<OutboxLeaf>,
}

/// Entries to one destination that were not acknowledged at the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct EntryRange {
    /// To whom.
    pub destination: ShardId,
    /// The sequence number of the first.
    #[codec(compact)]
    pub from: u64,
    /// The one after the last.
    #[codec(compact)]
    pub to: u64,
}

impl EntryRange {
    /// What takes these entries out of a store again.
    pub fn forget(&self) -> impl Iterator<Item = Write> + use<> {
        let destination = self.destination;
        let key = move |sequence| schema::entry_key(destination, sequence);
        (self.from..self.to).map(move |sequence| Write::delete(Column::Meta, key(sequence)))
    }
}

/// Some entries, with the proof that they stand in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EntryPart {
    /// The entries, in order.
    pub entries: Vec<OutboxEntry>,
    /// Their place in the log to their destination.
    pub proof: RangeProof,
}

impl EntryPart {
    /// Can a part hold so much? Asked of every part that comes, wanted or not.
    pub fn is_possible(&self) -> bool {
        self.entries.len() <= MAX_PART_ENTRIES
    }
}

impl LedgerFrame {
    /// Is this the frame of the ledger that was sealed so?
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, seal: &Seal) -> Result<(), ProofError> {
        let supply = supply_digest(&seal.supply);
        let meta = meta_digest(self.recorded, &self.peers);
        let got = state_root_of(&self.accounts, &supply, &meta);
        same(got, seal.state_root)?;
        same(OUTBOX.root_of(&self.outboxes), seal.outbox_root)
    }

    /// The entries that belong to it, in ranges of which each is a part.
    pub fn entries(&self) -> Vec<EntryRange> {
        let step = MAX_PART_ENTRIES as u64;
        let mut ranges = Vec::new();
        for (destination, peer) in &self.peers {
            let mut from = peer.acknowledged;
            while from < peer.sent_count {
                let to = from.saturating_add(step).min(peer.sent_count);
                let destination = *destination;
                ranges.push(EntryRange {
                    destination,
                    from,
                    to,
                });
                from = to;
            }
        }
        ranges
    }

    /// Are these the entries of `range`?
    ///
    /// # Errors
    /// Why not.
    pub fn verify_entries(&self, range: &EntryRange, part: &EntryPart) -> Result<(), ProofError> {
        let malformed = ProofError::Malformed("entries of another range");
        let leaf = self.leaf(range.destination).ok_or(malformed)?;
        if part.entries.len() as u64 != range.to.saturating_sub(range.from) {
            return Err(malformed);
        }
        let hashes: Vec<Digest> = part.entries.iter().map(|e| ENTRIES.leaf(e)).collect();
        let top = part.proof.top(&hashes, range.from, leaf.count);
        let got = top.ok_or(malformed)?;
        if got == leaf.top {
            Ok(())
        } else {
            let expected = leaf.top;
            Err(ProofError::OtherRoot { got, expected })
        }
    }

    fn leaf(&self, destination: ShardId) -> Option<&OutboxLeaf> {
        let outboxes = &self.outboxes;
        let at = outboxes.binary_search_by_key(&destination, |leaf| leaf.destination);
        Some(&outboxes[at.ok()?])
    }
}

fn same(got: MerkleRoot, expected: MerkleRoot) -> Result<(), ProofError> {
    if got == expected {
        return Ok(());
    }
    Err(ProofError::OtherRoot {
        got: *got.digest(),
        expected: *expected.digest(),
    })
}

/// A ledger at a seal. Cheap to hold: it shares the trie with the ledger.
#[derive(Clone, Debug)]
pub struct LedgerSnapshot {
    /// The seal.
    pub seal: Seal,
    /// What it consists of.
    pub frame: LedgerFrame,
    trie: Trie,
    peers: Arc<BTreeMap<ShardId, Peer>>,
}

impl LedgerSnapshot {
    /// The part of the accounts at `path`.
    pub fn accounts(&self, path: &TriePath) -> Option<TriePart> {
        self.trie.part(path)
    }

    /// The entries of a range, if there are not too many.
    pub fn entries(&self, range: &EntryRange) -> Option<EntryPart> {
        let EntryRange {
            destination,
            from,
            to,
        } = *range;
        if to.checked_sub(from)? > MAX_PART_ENTRIES as u64 {
            return None;
        }
        let outbox = &self.peers.get(&destination)?.outbox;
        Some(EntryPart {
            proof: outbox.log().prove(from, to, outbox.count())?,
            entries: outbox.range(from, to)?,
        })
    }
}

impl TriePart {
    /// What puts the accounts of this part into a store.
    pub fn writes(&self) -> Vec<Write> {
        let TriePart::Accounts(accounts) = self else {
            return Vec::new();
        };
        let put = |(id, account): &(_, crate::Account)| {
            let id: &lockstep_types::AccountId = id;
            let holding = Holding::new(account.clone());
            let record = holding.record(WindowNumber::ZERO);
            Write::put(Column::Accounts, *id.as_bytes(), record)
        };
        accounts.iter().map(put).collect()
    }
}

impl EntryPart {
    /// What puts these entries of `range` into a store.
    pub fn writes(&self, range: &EntryRange) -> Vec<Write> {
        let put = |(sequence, entry): (u64, &OutboxEntry)| {
            let key = schema::entry_key(range.destination, sequence);
            Write::put(Column::Meta, key, entry.encode())
        };
        (range.from..).zip(&self.entries).map(put).collect()
    }
}

impl Ledger {
    /// The ledger at a seal, to be given to others. None for a seal from before this process
    /// started.
    pub fn snapshot(&self, choice: SealChoice) -> Option<LedgerSnapshot> {
        let committed = self.committed(choice)?;
        let state = &committed.state;
        Some(LedgerSnapshot {
            seal: committed.seal.clone(),
            frame: LedgerFrame {
                accounts: committed.trie.root(),
                recorded: state.recorded,
                peers: state.records(),
                outboxes: outbox_leaves(&state.peers),
            },
            trie: committed.trie.clone(),
            peers: Arc::clone(&state.peers),
        })
    }

    /// What makes a store forget its state, so that another can be put in. Accounts stay: each is
    /// overwritten, since none is ever removed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(store: &dyn Store) -> Result<Vec<Write>, LedgerError> {
        let mut writes = vec![Write::delete(Column::Meta, schema::HEAD)];
        for prefix in [
            schema::PEER,
            schema::ENTRY,
            schema::SEALED_OUTBOX,
            schema::SEAL,
        ] {
            scan(store, Column::Meta, &[prefix], |key, _| {
                writes.push(Write::delete(Column::Meta, key));
                Ok(())
            })?;
        }
        Ok(writes)
    }

    /// What makes the state out of the parts in a store: it is counted and hashed once more, as it
    /// is on disk. The writes belong into one atomic write.
    ///
    /// # Errors
    /// When the store fails, or what it holds is not the state under `seal`.
    pub fn install(
        config: LedgerConfig,
        seal: &Seal,
        frame: &LedgerFrame,
        store: &dyn Store,
    ) -> Result<Vec<Write>, LedgerError> {
        let mut ledger = Ledger::unallocated(config);
        ledger.height = seal.height;
        ledger.digest = seal.digest;
        ledger.recorded = frame.recorded;
        ledger.supplies = seal.supply.iter().map(|s| (s.asset, *s)).collect();
        ledger.load_accounts(store)?;
        ledger.restore_peers(frame.peers.clone(), store)?;
        ledger.recount()?;
        ledger.rebuild_trie();
        let built = LedgerFrame {
            accounts: ledger.trie.root(),
            ..frame.clone()
        };
        let other = |_| LedgerError::Damaged("a snapshot that is not the one certified");
        built.verify(seal).map_err(other)?;
        if frame.outboxes != outbox_leaves(&ledger.peers) {
            return Err(LedgerError::Damaged("a snapshot's outbox"));
        }
        Ok(ledger.head_writes(seal, frame))
    }

    fn head_writes(&self, seal: &Seal, frame: &LedgerFrame) -> Vec<Write> {
        let window_key = |prefix| schema::window_key(prefix, seal.window);
        let (leaves, sealed) = (frame.outboxes.encode(), seal.encode());
        let mut writes = vec![
            self.write_head(),
            Write::put(Column::Meta, window_key(schema::SEALED_OUTBOX), leaves),
            Write::put(Column::Meta, window_key(schema::SEAL), sealed),
        ];
        for (peer, record) in &frame.peers {
            let key = schema::peer_key(*peer);
            writes.push(Write::put(Column::Meta, key, record.encode()));
        }
        writes
    }
}
