//! Checkpoints: what a shard's committee signs about its seal, and how the beacon gathers a quorum.
//!
//! A checkpoint is signed after its seal is committed, executed, and the log is synced through the
//! seal's commit proof; so a certified checkpoint stands for a final state that survives a crash of
//! everybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::Seal;
use lockstep_types::{
    BlockId, Claims, CommitteeId, Digest, Domain, Epoch, Gauge, Kind, MemberIndex, Rejection,
    ShardId, Signature, Signer, Signers, Time, Verifiable, View, WindowNumber, hash, quorum_claims,
};
use parity_scale_codec::{Decode, Encode};

/// Most assets and peers one checkpoint may name; a bound on what a beacon member decodes.
const MAX_LISTED: usize = 4_096;

/// A shard at the end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the seal, whose committee signs.
    pub epoch: Epoch,
    /// The seal.
    pub block: BlockId,
    /// The newest record applied at the seal.
    pub record: WindowNumber,
    /// What the ledger came to: window, height, roots, supply, flows.
    pub seal: Seal,
    /// Hash of what a member must know of the chain's past to go on from here, besides the ledger:
    /// see [`rest_digest`](crate::rest_digest).
    pub rest: Digest,
}

impl Checkpoint {
    /// The window it ends.
    pub fn window(&self) -> WindowNumber {
        self.seal.window
    }

    /// What its signers sign.
    pub fn statement(&self, genesis: &Genesis) -> Digest {
        let domain: Domain = genesis.domain(CommitteeId::Shard(self.shard));
        domain.statement(Kind::Checkpoint, self.epoch, View::ZERO, self)
    }

    fn check_shape(&self, genesis: &Genesis) -> Result<(), Rejection> {
        if !genesis.has(CommitteeId::Shard(self.shard)) {
            return Err(Rejection::Inconsistent(
                "a checkpoint of a shard that does not exist",
            ));
        }
        if self.epoch != Epoch::ZERO {
            return Err(Rejection::WrongEpoch {
                got: self.epoch,
                expected: Epoch::ZERO,
            });
        }
        let amounts = self.seal.flows.iter().map(|flow| flow.amounts.len());
        let amounts = amounts.fold(0usize, usize::saturating_add);
        let got = self
            .seal
            .supply
            .len()
            .max(self.seal.flows.len())
            .max(amounts);
        if got > MAX_LISTED {
            return Err(Rejection::TooMany {
                what: "assets or flows in a checkpoint",
                got,
                limit: MAX_LISTED,
            });
        }
        Ok(())
    }
}

/// One member's signature under a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckpointVote {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Who signs.
    pub member: MemberIndex,
    /// The signature over [`Checkpoint::statement`].
    pub signature: Signature,
}

impl CheckpointVote {
    /// Signs a checkpoint.
    pub fn sign(
        genesis: &Genesis,
        signer: &dyn Signer,
        member: MemberIndex,
        checkpoint: Checkpoint,
    ) -> Self {
        let signature = signer.sign(&checkpoint.statement(genesis));
        CheckpointVote {
            checkpoint,
            member,
            signature,
        }
    }
}

impl Verifiable for CheckpointVote {
    type Context = Arc<Genesis>;

    fn claims(&self, genesis: &Arc<Genesis>, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        self.checkpoint.check_shape(genesis)?;
        let committee = genesis.committee(CommitteeId::Shard(self.checkpoint.shard));
        let key = *committee.key(self.member).ok_or(Rejection::NotAMember)?;
        claims.add_once(key, self.checkpoint.statement(genesis), self.signature);
        Ok(())
    }
}

/// A checkpoint signed by a quorum of its shard.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CertifiedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Who signed.
    pub signers: Signers,
    /// Their signatures, in index order.
    pub signatures: Vec<Signature>,
}

impl Verifiable for CertifiedCheckpoint {
    type Context = Arc<Genesis>;

    fn claims(&self, genesis: &Arc<Genesis>, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        self.checkpoint.check_shape(genesis)?;
        let committee = genesis.committee(CommitteeId::Shard(self.checkpoint.shard));
        let statement = self.checkpoint.statement(genesis);
        quorum_claims(committee, statement, self.signers, &self.signatures, claims)
    }
}

/// Windows of one shard that may be gathered at a time. A shard runs at most two windows ahead of
/// the last record, and renumbers while it is absent.
pub const MAX_WINDOWS_GATHERED: usize = 64;

/// Signatures under one shard's checkpoints, on the way to a quorum. Per member and window the
/// first one counts.
#[derive(Debug, Default)]
pub struct CheckpointTally {
    windows: BTreeMap<WindowNumber, WindowTally>,
    /// With the moment at which the last signature came.
    certified: BTreeMap<WindowNumber, (Time, Arc<CertifiedCheckpoint>)>,
}

#[derive(Debug, Default)]
struct WindowTally {
    heard: Signers,
    by_content: BTreeMap<Digest, (Checkpoint, BTreeMap<MemberIndex, Signature>)>,
}

impl CheckpointTally {
    /// Adds a checked vote. Returns the certificate when this vote completes it.
    pub fn add(
        &mut self,
        now: Time,
        vote: CheckpointVote,
        quorum: usize,
    ) -> Option<Arc<CertifiedCheckpoint>> {
        let window = vote.checkpoint.window();
        if self.certified.contains_key(&window) {
            return None;
        }
        let tally = self.windows.entry(window).or_default();
        if !tally.heard.insert(vote.member) {
            return None;
        }
        let content = hash("lockstep/checkpoint", &vote.checkpoint);
        let (checkpoint, signatures) = tally
            .by_content
            .entry(content)
            .or_insert_with(|| (vote.checkpoint, BTreeMap::new()));
        signatures.insert(vote.member, vote.signature);
        if signatures.len() < quorum {
            self.bound();
            return None;
        }
        let certified = Arc::new(CertifiedCheckpoint {
            checkpoint: checkpoint.clone(),
            signers: signatures.keys().copied().collect(),
            signatures: signatures.values().copied().collect(),
        });
        self.windows.remove(&window);
        self.certified.insert(window, (now, certified.clone()));
        self.bound();
        Some(certified)
    }

    /// Does a checked vote contradict what its member signed before, or what a quorum of its shard
    /// has signed? No correct member does either.
    pub fn contradicts(&self, vote: &CheckpointVote) -> bool {
        let window = vote.checkpoint.window();
        if let Some((_, certified)) = self.certified.get(&window) {
            return certified.checkpoint != vote.checkpoint;
        }
        let Some(tally) = self.windows.get(&window) else {
            return false;
        };
        let mut own = tally.by_content.values();
        tally.heard.contains(vote.member)
            && !own.any(|(checkpoint, signatures)| {
                signatures.contains_key(&vote.member) && *checkpoint == vote.checkpoint
            })
    }

    /// Old windows go first: a shard that was absent for long comes back with a new one, and what
    /// is far ahead is not taken in.
    fn bound(&mut self) {
        while self.windows.len() > MAX_WINDOWS_GATHERED {
            self.windows.pop_first();
        }
        while self.certified.len() > MAX_WINDOWS_GATHERED {
            self.certified.pop_first();
        }
    }

    /// How full it is. Of the windows that one vote opens the oldest goes with the next vote.
    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        let (gathered, certified) = (self.windows.len(), self.certified.len());
        gauge.note("windows gathered", gathered, MAX_WINDOWS_GATHERED);
        gauge.note("windows certified", certified, MAX_WINDOWS_GATHERED);
    }

    /// The newest certified checkpoint with a window in `(after, upto]`.
    pub fn newest(
        &self,
        after: WindowNumber,
        upto: WindowNumber,
    ) -> Option<&Arc<CertifiedCheckpoint>> {
        if after >= upto {
            return None;
        }
        self.certified
            .range(after.next()..=upto)
            .next_back()
            .map(|(_, (_, certified))| certified)
    }

    /// When the checkpoint of `window` was certified here.
    pub fn certified_at(&self, window: WindowNumber) -> Option<Time> {
        self.certified.get(&window).map(|(at, _)| *at)
    }

    /// Has any signature for a window after `after` been seen?
    pub fn has_heard(&self, after: WindowNumber) -> bool {
        self.windows.range(after.next()..).next().is_some()
            || self.certified.range(after.next()..).next().is_some()
    }

    /// Forgets what records up to `recorded` have decided.
    pub fn forget(&mut self, recorded: WindowNumber) {
        self.windows = self.windows.split_off(&recorded.next());
        self.certified = self.certified.split_off(&recorded.next());
    }
}
