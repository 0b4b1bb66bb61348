//! Seals: what a shard's checkpoint says about its ledger. Executing a seal fixes everything but
//! the state root; that comes from jobs that may run elsewhere while later blocks execute.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::{
    AccountId, Digest, EffectsDigest, Height, MerkleRoot, ShardId, WindowNumber, hash,
};
use parity_scale_codec::{Decode, Encode};

use crate::inbox::{INBOX, InboxLeaf};
use crate::ledger::Peer;
use crate::merkle::{ProofError, Trie, TrieDone, TrieJob, Walk};
use crate::outbox::{OutboxLeaf, SealedOutbox};
use crate::store::schema::{self, PeerRecord};
use crate::{Account, Column, Flow, FlowAmount, Ledger, Supply, Write};

/// Seals of this shard that are remembered while no record names one. A shard that is absent from
/// more records than this keeps its newest.
pub const MAX_UNRECORDED_SEALS: usize = 16;

/// A shard's ledger at the end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Seal {
    /// The window.
    pub window: WindowNumber,
    /// The height of the seal.
    pub height: Height,
    /// The effects digest at that height.
    pub digest: EffectsDigest,
    /// Commits to every account and to all else that a ledger is made of.
    pub state_root: MerkleRoot,
    /// Commits to every entry ever sent.
    pub outbox_root: MerkleRoot,
    /// Commits to the watermark of every source.
    pub inbox_root: MerkleRoot,
    /// The terms of the conservation equation, ascending by asset.
    pub supply: Vec<Supply>,
    /// Traffic with every shard that there ever was traffic with, ascending.
    pub flows: Vec<Flow>,
}

/// The work that is left before a seal's state root is known.
#[derive(Debug)]
#[must_use = "without its state root the window has no checkpoint"]
pub struct PendingSeal {
    /// The window.
    pub window: WindowNumber,
    /// Independent jobs; the results go to [`Ledger::finish_seal`].
    pub jobs: Vec<TrieJob>,
}

/// A seal that waits for its state root.
#[derive(Debug)]
pub(crate) struct Unfinished {
    seal: Seal,
    state: SealedPeers,
    jobs: usize,
}

/// What a seal fixed besides accounts and supply. The copy holds what is on its way to other
/// shards, which is bounded by the cap per pair.
#[derive(Clone, Debug)]
pub(crate) struct SealedPeers {
    pub(crate) recorded: Option<WindowNumber>,
    pub(crate) peers: Arc<BTreeMap<ShardId, Peer>>,
}

impl SealedPeers {
    /// The peers as the state root covers them.
    pub(crate) fn records(&self) -> Vec<(ShardId, PeerRecord)> {
        let peers = self.peers.iter();
        peers
            .map(|(peer, state)| (*peer, PeerRecord::of(&state.outbox, &state.inbox)))
            .collect()
    }
}

/// A seal whose state can be read with proofs.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) trie: Trie,
    supply: Digest,
    meta: Digest,
    pub(crate) state: SealedPeers,
    pub(crate) seal: Seal,
}

/// Which sealed state to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealChoice {
    /// The newest one whose state root is known.
    Newest,
    /// The newest one that a record names.
    Recorded,
    /// That of one window.
    Window(WindowNumber),
}

/// What an account held at a seal, with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AccountProof {
    /// The window that the seal ended.
    pub window: WindowNumber,
    /// The walk through the trie of accounts.
    pub walk: Walk,
    /// Hash of the supply list.
    pub supply: Digest,
    /// Hash of the rest of the state.
    pub meta: Digest,
}

impl AccountProof {
    /// What `id` held under `state_root`: `None` when the proof shows that it did not exist.
    ///
    /// # Errors
    /// When the proof is not one for `id` under that root.
    pub fn verify(
        &self,
        id: &AccountId,
        state_root: &MerkleRoot,
    ) -> Result<Option<&Account>, ProofError> {
        let got = state_root_of(&self.walk.root(id)?, &self.supply, &self.meta);
        if got != *state_root {
            return Err(ProofError::OtherRoot {
                got: *got.digest(),
                expected: *state_root.digest(),
            });
        }
        Ok(self.walk.ends_at(id))
    }
}

pub(crate) fn state_root_of(accounts: &Digest, supply: &Digest, meta: &Digest) -> MerkleRoot {
    MerkleRoot::new(hash("lockstep/state", &(accounts, supply, meta)))
}

pub(crate) fn supply_digest(supply: &[Supply]) -> Digest {
    hash("lockstep/supply", &supply)
}

/// Hash of the state besides accounts and supply: every peer's inbox and outbox.
pub(crate) fn meta_digest(
    recorded: Option<WindowNumber>,
    peers: &[(ShardId, PeerRecord)],
) -> Digest {
    hash("lockstep/meta", &(recorded, peers))
}

impl Ledger {
    /// Ends a window: fixes the roots and hands out the jobs for the state root.
    pub(crate) fn begin_seal(
        &mut self,
        window: WindowNumber,
        writes: &mut Vec<Write>,
    ) -> PendingSeal {
        assert!(
            self.unfinished.is_none(),
            "the last seal is finished before the next is executed"
        );
        let outbox = self.seal_outbox(window, writes);
        let received = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.inbox.consumed > 0);
        let inbox_root = INBOX.root_of(received.map(|(source, peer)| InboxLeaf {
            source: *source,
            consumed: peer.inbox.consumed,
        }));
        let mut changes = self.accounts.take_dirty();
        if lockstep_types::planted!(TrieMissesAccount) {
            changes.pop();
        }
        let jobs = self.trie.jobs(changes);
        self.unfinished = Some(Unfinished {
            seal: Seal {
                window,
                height: self.height,
                digest: self.digest,
                state_root: MerkleRoot::ZERO,
                outbox_root: outbox,
                inbox_root,
                supply: self.supply(),
                flows: self.flows(),
            },
            state: SealedPeers {
                recorded: self.recorded,
                peers: Arc::new(self.peers.clone()),
            },
            jobs: jobs.len(),
        });
        PendingSeal { window, jobs }
    }

    /// Puts the results of a seal's jobs together. The writes belong to the state and follow those
    /// of the block that sealed; best in one batch with them. A seal that a crash keeps from the
    /// disk is not made again: other members have it, or the next seal takes its place.
    ///
    /// # Panics
    /// When no seal is pending or a job is missing.
    pub fn finish_seal(&mut self, done: Vec<TrieDone>) -> (Seal, Vec<Write>) {
        let Unfinished {
            mut seal,
            state,
            jobs,
        } = self.unfinished.take().expect("a seal is pending");
        assert_eq!(done.len(), jobs, "one result per job");
        self.trie = self.trie.join(done);
        let supply = supply_digest(&seal.supply);
        let meta = meta_digest(state.recorded, &state.records());
        seal.state_root = state_root_of(&self.trie.root(), &supply, &meta);
        let committed = Committed {
            trie: self.trie.clone(),
            supply,
            meta,
            state,
            seal: seal.clone(),
        };
        if self.recorded.is_some_and(|recorded| recorded > seal.window) {
            return (seal, Vec::new()); // a record has named a later one meanwhile
        }
        self.committed.insert(seal.window, committed);
        let key = schema::window_key(schema::SEAL, seal.window);
        let writes = vec![Write::put(Column::Meta, key, seal.encode())];
        (seal, writes)
    }

    /// Remembers the outbox as it stands; returns its root.
    fn seal_outbox(&mut self, window: WindowNumber, writes: &mut Vec<Write>) -> MerkleRoot {
        let leaves = outbox_leaves(&self.peers);
        let key = schema::window_key(schema::SEALED_OUTBOX, window);
        writes.push(Write::put(Column::Meta, key, leaves.encode()));
        let sealed = SealedOutbox::new(window, leaves);
        let root = sealed.root();
        self.sealed_outboxes.insert(window, sealed);
        if let Some(excess) = self
            .sealed_outboxes
            .len()
            .checked_sub(1 + MAX_UNRECORDED_SEALS)
        {
            let unrecorded = self
                .sealed_outboxes
                .keys()
                .filter(|w| Some(**w) != self.recorded);
            let oldest: Vec<_> = unrecorded.take(excess).copied().collect();
            oldest
                .into_iter()
                .for_each(|window| self.forget_seal(window, writes));
        }
        root
    }

    /// Forgets the seals before `window`: a record names that one.
    pub(crate) fn forget_seals_before(&mut self, window: WindowNumber, writes: &mut Vec<Write>) {
        let old = self.sealed_outboxes.range(..window);
        let old: Vec<_> = old.map(|(window, _)| *window).collect();
        old.into_iter()
            .for_each(|window| self.forget_seal(window, writes));
    }

    fn forget_seal(&mut self, window: WindowNumber, writes: &mut Vec<Write>) {
        self.sealed_outboxes.remove(&window);
        self.committed.remove(&window);
        for prefix in [schema::SEALED_OUTBOX, schema::SEAL] {
            let key = schema::window_key(prefix, window);
            writes.push(Write::delete(Column::Meta, key));
        }
    }

    /// Traffic with every peer there ever was traffic with, ascending.
    pub fn flows(&self) -> Vec<Flow> {
        let flows = self.peers.iter().map(|(peer, state)| Flow {
            peer: *peer,
            sent_count: state.outbox.count(),
            received_count: state.inbox.consumed,
            amounts: flow_amounts(&state.outbox.sent, &state.inbox.received),
        });
        flows
            .filter(|flow| flow.sent_count > 0 || flow.received_count > 0)
            .collect()
    }

    /// A seal of ours that is still remembered.
    pub fn seal(&self, choice: SealChoice) -> Option<&Seal> {
        self.committed(choice).map(|committed| &committed.seal)
    }

    /// What an account held at a seal, with its proof. `None` when that seal's state is not held:
    /// before the first seal, or one from before this process started.
    pub fn prove(&self, id: &AccountId, choice: SealChoice) -> Option<AccountProof> {
        let committed = self.committed(choice)?;
        Some(AccountProof {
            window: committed.seal.window,
            walk: committed.trie.walk(id),
            supply: committed.supply,
            meta: committed.meta,
        })
    }

    pub(crate) fn committed(&self, choice: SealChoice) -> Option<&Committed> {
        match choice {
            SealChoice::Newest => self.committed.values().next_back(),
            SealChoice::Recorded => self.committed.get(&self.recorded?),
            SealChoice::Window(window) => self.committed.get(&window),
        }
    }
}

/// One leaf for every shard that anything was ever sent to, ascending.
pub(crate) fn outbox_leaves(peers: &BTreeMap<ShardId, Peer>) -> Vec<OutboxLeaf> {
    let sending = peers.iter().filter(|(_, peer)| peer.outbox.count() > 0);
    sending.map(|(to, peer)| peer.outbox.leaf(*to)).collect()
}

fn flow_amounts(sent: &crate::Amounts, received: &crate::Amounts) -> Vec<FlowAmount> {
    let assets = sent.iter().chain(received.iter()).map(|(asset, _)| asset);
    let assets: std::collections::BTreeSet<_> = assets.collect();
    let amount = |asset| FlowAmount {
        asset,
        sent: sent.get(asset),
        received: received.get(asset),
    };
    assets.into_iter().map(amount).collect()
}
