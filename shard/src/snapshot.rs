//! A shard's state at a checkpoint that a barrier record holds, as it is given to members that have
//! lost theirs.
//!
//! ```text
//! record (commit proof) ─▶ checkpoint ─▶ block   : the seal itself, and why it is final
//!                                     ├▶ seal    : the ledger's frame, accounts, entries
//!                                     └▶ rest    : place, ancestry, batches listed
//! ```
//!
//! The record alone is what is believed; everything else is checked against it by hashing. It does
//! not matter who sent it.
//!
//! Breaks if: a member comes to depend on something of its chain's past that is in none of these.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::Ancestry;
use lockstep_ledger::{
    EntryPart, EntryRange, LedgerFrame, LedgerSnapshot, MAX_CERTIFIED_ROOTS, MAX_PART_BYTES,
    ReceiptStep, TriePart, TriePath,
};
use lockstep_types::{
    BatchDigest, Claims, CommitProof, Digest, EffectsDigest, Height, LinkedBlock, Rejection, Time,
    Verifiable, WindowNumber, hash,
};
use parity_scale_codec::{Decode, Encode};

use crate::message::{Message, VerifyContext};
use crate::{CertifiedRecord, Checkpoint, Place};

/// Blocks up to the seal whose effects digests are shown. Headers name heights at most eight below
/// what their ancestry commits, and a voter must be able to compare. Where an outage keeps an ancestry
/// from committing anything for longer, it cannot vote until one does.
pub const MAX_STEPS: u64 = 16;
const MIN_STEPS: u64 = 9;

/// Largest manifest. It grows with shards and with the batches of a window; one beyond this is not
/// offered, and the next window's is.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Most bytes of a part. It has half as many, unless one account alone has more.
pub const MAX_PART_MESSAGE_BYTES: usize = 2 * MAX_PART_BYTES;

/// Hash of what a member needs of the chain's past at a seal and the ledger does not know.
pub fn rest_digest(place: &Place, ancestry: &Ancestry, listed: &[BatchDigest]) -> Digest {
    hash("lockstep/rest", &(place, ancestry, listed))
}

/// All of a state but accounts and entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The record that holds the shard's checkpoint.
    pub record: Arc<CertifiedRecord>,
    /// The seal.
    pub link: LinkedBlock,
    /// Why it is final.
    pub proof: CommitProof,
    /// The state of the chain after it.
    pub place: Place,
    /// What consensus must know of its ancestry to go on from it.
    pub ancestry: Ancestry,
    /// Batches listed in the window it ends: none may be listed again.
    pub listed: Vec<BatchDigest>,
    /// The effects digest before `steps`.
    pub before: EffectsDigest,
    /// What the last blocks up to the seal came to.
    pub steps: Vec<ReceiptStep>,
    /// The ledger.
    pub ledger: LedgerFrame,
}

impl Manifest {
    /// The number of the record.
    pub fn number(&self) -> WindowNumber {
        self.record.record.number
    }

    /// The checkpoint. A checked manifest has one.
    pub fn checkpoint(&self, shard: lockstep_types::ShardId) -> Option<&Checkpoint> {
        let entry = self.record.record.entry(shard)?;
        Some(&entry.checkpoint()?.checkpoint)
    }

    /// The digests of the heights that it shows, the seal's last.
    pub fn digests(&self) -> BTreeMap<Height, EffectsDigest> {
        let seal = self.link.block.header().height.get();
        let first = seal.saturating_sub(self.steps.len() as u64);
        let mut digest = self.before;
        let mut digests = BTreeMap::from([(Height::new(first), digest)]);
        for (height, step) in (first + 1..).zip(&self.steps) {
            digest = step.after(&digest);
            digests.insert(Height::new(height), digest);
        }
        digests
    }

    /// Records whose certified roots bundles may be proven against after the seal: the newest it
    /// has applied and those before it.
    pub fn records(&self) -> impl Iterator<Item = WindowNumber> + use<> {
        let newest = self.place.window.record.get();
        let first = newest.saturating_sub(MAX_CERTIFIED_ROOTS as u64) + 1;
        (first.max(1)..=newest).map(WindowNumber::new)
    }

    fn check_digests(&self, checkpoint: &Checkpoint) -> Result<(), Rejection> {
        let (count, height) = (self.steps.len() as u64, checkpoint.seal.height.get());
        if count > MAX_STEPS || count > height || count < MIN_STEPS.min(height) {
            return Err(Rejection::Inconsistent("as many steps as are asked about"));
        }
        if count == height && self.before != EffectsDigest::ZERO {
            return Err(Rejection::Inconsistent(
                "nothing was done before the first block",
            ));
        }
        let newest = self.digests().pop_last().map(|(_, digest)| digest);
        if newest != Some(checkpoint.seal.digest) {
            return Err(Rejection::Inconsistent(
                "steps that lead to the seal's digest",
            ));
        }
        Ok(())
    }
}

/// Only its size; what it is worth shows who knows which hash it must have.
impl Verifiable for Part {
    type Context = VerifyContext;

    fn claims(&self, _: &VerifyContext, _: &mut Claims<'_>) -> Result<(), Rejection> {
        if self.body.as_ref().is_none_or(PartBody::is_possible) {
            Ok(())
        } else {
            Err(Rejection::Inconsistent("a part no larger than any can be"))
        }
    }
}

impl Verifiable for Manifest {
    type Context = VerifyContext;

    fn claims(&self, context: &VerifyContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        let shard = context.committee().shard();
        let shard = shard.ok_or(Rejection::NotForUs("the beacon has no such state"))?;
        let checkpoint = self.checkpoint(shard).ok_or(Rejection::Inconsistent(
            "a record that holds the shard's checkpoint",
        ))?;
        let (block, header) = (&self.link.block, self.link.block.header());
        if block.id() != checkpoint.block || !block.is_whole() {
            return Err(Rejection::Inconsistent("the block of the checkpoint"));
        }
        if self.link.justify.block != header.parent || self.proof.headers.is_empty() {
            return Err(Rejection::Inconsistent("certificates of the seal"));
        }
        if self.proof.committed().id() != block.id() {
            return Err(Rejection::Inconsistent("a proof of the seal"));
        }
        if rest_digest(&self.place, &self.ancestry, &self.listed) != checkpoint.rest {
            return Err(Rejection::Inconsistent("the rest that was certified"));
        }
        self.check_digests(checkpoint)?;
        let frame = self.ledger.verify(&checkpoint.seal);
        frame.map_err(|_| Rejection::Inconsistent("the frame of the state root"))?;
        self.record.claims(context.beacon(), claims)?;
        self.link.justify.claims(context.own(), claims)?;
        self.proof.claims(context.own(), claims)
    }
}

/// Names a part of a state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum PartName {
    /// A subtree of the accounts.
    #[codec(index = 0)]
    Accounts(TriePath),
    /// Entries on their way to another shard.
    #[codec(index = 1)]
    Entries(EntryRange),
}

/// What stands for a part.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PartBody {
    /// A subtree of the accounts.
    #[codec(index = 0)]
    Accounts(TriePart),
    /// Entries.
    #[codec(index = 1)]
    Entries(EntryPart),
}

impl PartBody {
    fn is_possible(&self) -> bool {
        match self {
            PartBody::Accounts(part) => part.is_possible(),
            PartBody::Entries(part) => part.is_possible(),
        }
    }
}

/// An answer to a question for a part.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Of the state in this record.
    pub record: WindowNumber,
    /// Which part.
    pub name: PartName,
    /// The part; `None` when that state is not held.
    pub body: Option<PartBody>,
}

/// A state that is held to be given to others. Shares the trie with the ledger it comes from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    manifest: Arc<Manifest>,
    ledger: LedgerSnapshot,
}

impl Snapshot {
    /// None when it is too large for one message or its past is not known.
    pub(crate) fn new(manifest: Manifest, ledger: LedgerSnapshot) -> Option<Self> {
        let height = manifest.link.block.header().height.get();
        let fits = manifest.encoded_size() <= MAX_MANIFEST_BYTES;
        let known = manifest.steps.len() as u64 >= MIN_STEPS.min(height);
        let manifest = Arc::new(manifest);
        (fits && known).then_some(Snapshot { manifest, ledger })
    }

    /// All of it but accounts and entries.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    fn part(&self, name: &PartName) -> Option<PartBody> {
        Some(match name {
            PartName::Accounts(path) => PartBody::Accounts(self.ledger.accounts(path)?),
            PartName::Entries(range) => PartBody::Entries(self.ledger.entries(range)?),
        })
    }
}

/// States kept besides the newest while somebody fetches them. A state is asked for again within
/// seconds; who comes later takes a newer one.
pub const MAX_OLD_SNAPSHOTS: usize = 3;

/// How long after the last question an old state is kept, in seconds.
const KEPT_AFTER_QUESTION: core::time::Duration = core::time::Duration::from_secs(30);

/// The states that a member gives to others.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    newest: Option<Arc<Snapshot>>,
    /// With the time of the last question.
    old: BTreeMap<WindowNumber, (Arc<Snapshot>, Time)>,
    asked: Option<Time>,
}

impl Shelf {
    /// Puts the newest state there. The one before stays while it is asked for.
    pub fn put(&mut self, now: Time, snapshot: Arc<Snapshot>) {
        let before = self.newest.replace(snapshot);
        let asked = self.asked.take();
        if let (Some(before), Some(asked)) = (before, asked) {
            let number = before.manifest().number();
            self.old.insert(number, (before, asked));
        }
        let recent = |asked: Time| now.since(asked) < KEPT_AFTER_QUESTION;
        self.old.retain(|_, (_, asked)| recent(*asked));
        if self.old.len() > MAX_OLD_SNAPSHOTS {
            self.old.pop_first();
        }
    }

    /// The answer to a question for the newest state.
    pub fn manifest(&self) -> Message {
        let newest = self.newest.as_ref();
        Message::Manifest(newest.map(|snapshot| snapshot.manifest().clone()))
    }

    /// Finds the state of a record, for a question about one of its parts.
    pub fn find(&mut self, now: Time, record: WindowNumber) -> Option<Arc<Snapshot>> {
        if let Some(newest) = &self.newest
            && newest.manifest().number() == record
        {
            self.asked = Some(now);
            return Some(newest.clone());
        }
        let (snapshot, asked) = self.old.get_mut(&record)?;
        *asked = now;
        Some(snapshot.clone())
    }
}

/// The answer to a question for a part of a state, as [`Shelf::find`] has found it. Takes some
/// milliseconds: the caller gives it to a thread that has time.
pub fn answer_part(snapshot: Option<&Snapshot>, record: WindowNumber, name: PartName) -> Message {
    let body = snapshot.and_then(|snapshot| snapshot.part(&name));
    Message::Part(Box::new(Part { record, name, body }))
}
