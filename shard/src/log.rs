//! Where a member keeps what it must not lose, how it comes back from it, and how others' questions
//! are answered from it.
//!
//! ```text
//! blocks   'b' height (8, BE) block id (32)  → LinkedBlock, before any vote for it leaves
//!          'c' height (8, BE)                → block id, once committed (state part)
//!          'p' height (8, BE)                → CommitProof (state part), of blocks that were
//!                                              committed directly, of seals, and of a state's seal
//! batches  digest (32)                       → Batch
//! records  number (8, BE)                    → CertifiedRecord
//! bundles  digest (32)                       → Bundle
//! meta     'A'                               → Anchor: the newest block whose effects are stored
//!          'K' window mod 4                  → our newest Checkpoints (state part)
//!          'B'                               → Base: what is known of the past below a state that
//!                                              came from others
//! ```
//!
//! The log part is written and synced before the messages that rest on it; the state part follows
//! in its own time, and a restart executes the committed blocks above the anchor again.

use core::ops::RangeInclusive;
use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_consensus::{self as consensus, Ancestry, Recovered, SafetyRecord, root_link};
use lockstep_ledger::{Bundle, Column, Store, StoreError, Write};
use lockstep_types::{
    BatchDigest, BlockId, CommitProof, Digest, EffectsDigest, Height, LinkedBlock, LogPosition,
    MAX_PROOF_HEADERS, Time, WindowNumber, codec,
};
use parity_scale_codec::{Decode, DecodeAll, Encode};

use crate::member::Setup;
use crate::message::{Message, Request};
use crate::payload::Payload;
use crate::snapshot::Manifest;
use crate::{Batch, CertifiedRecord, Checkpoint, Fatal};

const BLOCK: u8 = b'b';
const COMMITTED: u8 = b'c';
const PROOF: u8 = b'p';
const ANCHOR: &[u8] = b"A";
const CHECKPOINT: u8 = b'K';
const BASE: &[u8] = b"B";

/// Checkpoints kept. A shard seals at most depth windows (at most two) beyond the last record, and
/// each of their checkpoints may still have to be sent again.
pub(crate) const CHECKPOINTS_KEPT: u64 = 4;

/// Records that the beacon reads back at a start.
const RECORDS_READ: u64 = 2 * lockstep_ledger::MAX_CERTIFIED_ROOTS as u64;

fn height_key(prefix: u8, height: Height) -> Vec<u8> {
    [&[prefix][..], &height.get().to_be_bytes()].concat()
}

fn block_key(height: Height, id: &BlockId) -> Vec<u8> {
    [&height_key(BLOCK, height)[..], id.as_bytes()].concat()
}

/// Logs a block.
pub(crate) fn write_block(link: &LinkedBlock) -> Write {
    let height = link.block.header().height;
    Write::put(
        Column::Blocks,
        block_key(height, &link.block.id()),
        link.encode(),
    )
}

/// Logs a batch.
pub(crate) fn write_batch(batch: &Batch) -> Write {
    Write::put(Column::Batches, *batch.digest().as_bytes(), batch.encode())
}

/// Logs a record.
pub(crate) fn write_record(record: &CertifiedRecord) -> Write {
    let key = record.record.number.get().to_be_bytes();
    Write::put(Column::Records, key, record.encode())
}

/// Logs a bundle.
pub(crate) fn write_bundle(bundle: &Bundle) -> Write {
    Write::put(
        Column::Bundles,
        *bundle.digest().as_bytes(),
        bundle.encode(),
    )
}

/// Logs the proof of a committed block.
pub(crate) fn write_proof(proof: &CommitProof) -> Write {
    Write::put(
        Column::Blocks,
        height_key(PROOF, proof.committed().height),
        proof.encode(),
    )
}

/// The state part of a committed block: that it is, and why. A block that is final by a descendant's
/// certificates has that one's proof, and the headers up to it are those of the log
/// ([`Archive::proof`]): to write them with each block would be quadratic in their number.
pub(crate) fn write_committed(
    link: &LinkedBlock,
    proof: &CommitProof,
) -> impl Iterator<Item = Write> + use<> {
    let key = height_key(COMMITTED, link.block.header().height);
    let committed = Write::put(Column::Blocks, key, link.block.id().encode());
    let directly = proof.headers.len() == 1;
    let proof = directly.then(|| write_proof(proof));
    [committed].into_iter().chain(proof)
}

/// The state part of the newest block whose effects are stored.
pub(crate) fn write_anchor<P: Encode>(link: &LinkedBlock, ancestry: &Ancestry, place: &P) -> Write {
    Write::put(Column::Meta, ANCHOR, (link, ancestry, place).encode())
}

/// What a member whose state came from others knows of the blocks up to that state's seal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Base {
    /// The seal.
    pub(crate) height: Height,
    /// Batches listed in the window it ends.
    pub(crate) listed: Vec<BatchDigest>,
    /// Effects digests, the seal's last.
    pub(crate) digests: Vec<(Height, EffectsDigest)>,
}

impl Base {
    /// What a state that others give shows of the past.
    pub(crate) fn of(state: &Manifest) -> Self {
        Base {
            height: state.link.block.header().height,
            listed: state.listed.clone(),
            digests: state.digests().into_iter().collect(),
        }
    }
}

/// The state part of a state that came from others.
pub(crate) fn write_base(base: &Base) -> Write {
    Write::put(Column::Meta, BASE, base.encode())
}

pub(crate) fn read_base(store: &dyn Store) -> Result<Option<Base>, Fatal> {
    let bytes = store.get(Column::Meta, BASE)?;
    bytes.map(|bytes| own(&bytes, "the base")).transpose()
}

fn checkpoint_key(window: u64) -> [u8; 2] {
    let slot = u8::try_from(window % CHECKPOINTS_KEPT).expect("a small remainder");
    [CHECKPOINT, slot]
}

/// The state part of a seal: what there is to sign, should a crash come before a record names it.
pub(crate) fn write_checkpoint(checkpoint: &Checkpoint) -> Write {
    let key = checkpoint_key(checkpoint.window().get());
    Write::put(Column::Meta, key, checkpoint.encode())
}

/// Our newest checkpoints.
pub(crate) fn read_checkpoints(store: &dyn Store) -> Result<Vec<Checkpoint>, Fatal> {
    let mut checkpoints = Vec::new();
    for slot in 0..CHECKPOINTS_KEPT {
        if let Some(bytes) = store.get(Column::Meta, &checkpoint_key(slot))? {
            checkpoints.push(own(&bytes, "a checkpoint")?);
        }
    }
    Ok(checkpoints)
}

fn own<T: DecodeAll>(bytes: &[u8], what: &str) -> Result<T, Fatal> {
    codec::decode_own(bytes).map_err(|_| Fatal::Store(format!("{what} in the store is damaged")))
}

impl From<StoreError> for Fatal {
    fn from(error: StoreError) -> Self {
        Fatal::Store(error.to_string())
    }
}

/// What a member finds on its disk.
pub(crate) struct Found<P> {
    pub(crate) recovered: Recovered,
    pub(crate) place: P,
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) bundles: Vec<Arc<Bundle>>,
}

/// Reads the log above the newest block whose effects are stored. A store without one stands at the
/// root, at the place `first`.
pub(crate) fn read<P: Decode>(
    store: &dyn Store,
    setup: &Setup,
    record: Option<SafetyRecord>,
    first: P,
) -> Result<Found<P>, Fatal> {
    let fresh = || (root_link(setup.root()), Ancestry::default(), first);
    let (anchor, ancestry, place) = read_anchor::<P>(store)?.unwrap_or_else(fresh);
    let above = anchor.block.header().height.next();
    let mut blocks = Vec::new();
    let mut damaged = None;
    store.scan(
        Column::Blocks,
        &height_key(BLOCK, above),
        &mut |key, value| {
            if key.first() != Some(&BLOCK) {
                return false;
            }
            match own::<LinkedBlock>(value, "a block") {
                Ok(block) => blocks.push(block),
                Err(fatal) => damaged = Some(fatal),
            }
            damaged.is_none()
        },
    )?;
    if let Some(fatal) = damaged {
        return Err(fatal);
    }
    let payloads: Vec<Payload> = blocks
        .iter()
        .filter_map(|link| Payload::from_bytes(link.block.payload()).ok())
        .collect();
    let batches = payloads.iter().flat_map(|payload| &payload.batches);
    let bundles = payloads.iter().flat_map(|payload| &payload.bundles);
    let log_end = record.as_ref().map(|record| record.log_end.position);
    Ok(Found {
        batches: batches
            .filter_map(|batch| batch_in(store, &batch.digest).transpose())
            .collect::<Result<_, _>>()?,
        bundles: bundles
            .filter_map(|bundle| bundle_in(store, &bundle.digest).transpose())
            .collect::<Result<_, _>>()?,
        recovered: Recovered {
            record,
            arrival: setup.arrival,
            blocks,
            anchor,
            ancestry,
            log_end: log_end.unwrap_or(LogPosition::START),
        },
        place,
    })
}

/// The newest records, and all between.
pub(crate) fn read_newest_records(store: &dyn Store) -> Result<Vec<Arc<CertifiedRecord>>, Fatal> {
    let mut newest = None;
    store.scan(Column::Records, &[], &mut |key, _| {
        newest = key.try_into().ok().map(u64::from_be_bytes);
        true
    })?;
    let newest = newest.unwrap_or(0);
    read_records(store, newest.saturating_sub(RECORDS_READ)..=newest)
}

/// The records with these numbers that are there.
pub(crate) fn read_records(
    store: &dyn Store,
    numbers: RangeInclusive<u64>,
) -> Result<Vec<Arc<CertifiedRecord>>, Fatal> {
    let mut records = Vec::new();
    for number in numbers {
        if let Some(bytes) = store.get(Column::Records, &number.to_be_bytes())? {
            records.push(Arc::new(own(&bytes, "a record")?));
        }
    }
    Ok(records)
}

/// Digests listed by the anchor and its ancestors back to `since`, block by block with the block's
/// time, the newest first. Below a state that came from others, all that is known of it.
pub(crate) fn listed_since(
    store: &dyn Store,
    anchor: &LinkedBlock,
    since: Time,
) -> Result<Vec<(Time, Vec<BatchDigest>)>, Fatal> {
    let base = read_base(store)?;
    let mut listed = Vec::new();
    let mut at = anchor.clone();
    while at.block.header().time >= since {
        let header = at.block.header();
        let payload = Payload::from_bytes(at.block.payload()).unwrap_or_default();
        let here: Vec<_> = payload.batches.iter().map(|batch| batch.digest).collect();
        let count = here.len();
        listed.push((header.time, here));
        if let Some(base) = base.as_ref().filter(|base| base.height == header.height) {
            // The seal's own stand at the end. The others are older than the seal and younger
            // than any window's start that is asked about.
            let earlier = base.listed.len().saturating_sub(count);
            let before = Time::from_micros(header.time.micros().saturating_sub(1));
            listed.push((before, base.listed[..earlier].to_vec()));
            break;
        }
        let Some(below) = header.height.previous() else {
            break;
        };
        let Some(bytes) = store.get(Column::Blocks, &block_key(below, &header.parent))? else {
            break;
        };
        at = own(&bytes, "a block")?;
    }
    Ok(listed)
}

/// The block whose effects are stored last, with the chain state after it.
pub(crate) fn read_anchor<P: Decode>(
    store: &dyn Store,
) -> Result<Option<(LinkedBlock, Ancestry, P)>, Fatal> {
    let bytes = store.get(Column::Meta, ANCHOR)?;
    bytes.map(|bytes| own(&bytes, "the anchor")).transpose()
}

/// Makes a store forget where its chain stands.
pub(crate) fn forget_anchor() -> [Write; 2] {
    [ANCHOR, BASE].map(|key| Write::delete(Column::Meta, key))
}

fn batch_in(store: &dyn Store, digest: &BatchDigest) -> Result<Option<Arc<Batch>>, Fatal> {
    let bytes = store.get(Column::Batches, digest.as_bytes())?;
    bytes
        .map(|bytes| own(&bytes, "a batch").map(Arc::new))
        .transpose()
}

fn bundle_in(store: &dyn Store, digest: &Digest) -> Result<Option<Arc<Bundle>>, Fatal> {
    let bytes = store.get(Column::Bundles, digest.as_bytes())?;
    bytes
        .map(|bytes| own(&bytes, "a bundle").map(Arc::new))
        .transpose()
}

/// What others may read of a member's store, and what a node shows its clients.
pub struct Archive<'a>(&'a dyn Store);

impl<'a> Archive<'a> {
    /// Reads a store.
    pub fn new(store: &'a dyn Store) -> Self {
        Archive(store)
    }

    /// The committed block at a height.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn block(&self, height: Height) -> Result<Option<LinkedBlock>, Fatal> {
        let Some(bytes) = self.0.get(Column::Blocks, &height_key(COMMITTED, height))? else {
            return Ok(None);
        };
        let id: BlockId = own(&bytes, "a block id")?;
        let bytes = self.0.get(Column::Blocks, &block_key(height, &id))?;
        bytes.map(|bytes| own(&bytes, "a block")).transpose()
    }

    /// Everything above this height was executed here: 0, or the height of the seal whose state a
    /// member fetched last. Of what came before it may know some, from before it fell behind.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn history_after(&self) -> Result<Height, Fatal> {
        let base = read_base(self.0)?;
        Ok(base.map_or(Height::ZERO, |base| base.height))
    }

    /// The proof that the block at a height is final: its own, or the headers from it to the next
    /// block that has one, and the rest of that one.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn proof(&self, height: Height) -> Result<Option<CommitProof>, Fatal> {
        let Some(proof) = self.next_proof(height)? else {
            return Ok(None);
        };
        let end = proof.committed().height;
        if end == height {
            return Ok(Some(proof));
        }
        if end.since(height) > MAX_PROOF_HEADERS as u64 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        for distance in 0..end.since(height) {
            let Some(link) = self.block(height.plus(distance))? else {
                return Ok(None);
            };
            headers.push(link.block.header().clone());
        }
        headers.extend_from_slice(&proof.headers);
        let headers = headers.into();
        Ok(Some(CommitProof { headers, ..proof }))
    }

    /// The proof of the lowest block from a height on that has one of its own.
    fn next_proof(&self, height: Height) -> Result<Option<CommitProof>, Fatal> {
        let from = height_key(PROOF, height);
        if let Some(bytes) = self.0.get(Column::Blocks, &from)? {
            return own(&bytes, "a proof").map(Some);
        }
        let mut found = None;
        self.0.scan(Column::Blocks, &from, &mut |key, value| {
            if key.first() == Some(&PROOF) {
                found = Some(own(value, "a proof"));
            }
            false
        })?;
        found.transpose()
    }

    /// A record with its proof.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn record(&self, number: WindowNumber) -> Result<Option<CertifiedRecord>, Fatal> {
        let bytes = self.0.get(Column::Records, &number.get().to_be_bytes())?;
        bytes.map(|bytes| own(&bytes, "a record")).transpose()
    }

    /// A batch.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn batch(&self, digest: &BatchDigest) -> Result<Option<Arc<Batch>>, Fatal> {
        batch_in(self.0, digest)
    }

    /// Answers a question of another replica. [`Request::Entries`] is the executor's to
    /// answer, questions about states are the [`Shelf`](crate::Shelf)'s.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn answer(&self, request: &Request) -> Result<Vec<Message>, Fatal> {
        match request {
            Request::Batches(digests) => {
                // Who names a batch twice gets it once.
                let named: BTreeSet<_> = digests.iter().collect();
                let found = named.into_iter().map(|digest| batch_in(self.0, digest));
                found
                    .filter_map(|found| found.map(|b| b.map(Message::Batch)).transpose())
                    .collect()
            }
            Request::Record(number) => Ok(self
                .record(*number)?
                .map(|r| Message::Record(Arc::new(r)))
                .into_iter()
                .collect()),
            Request::Bundle(digest) => Ok(bundle_in(self.0, digest)?
                .map(Message::Bundle)
                .into_iter()
                .collect()),
            Request::Entries { .. } | Request::Manifest | Request::Part { .. } => Ok(Vec::new()),
        }
    }

    /// Answers a request for committed blocks.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn answer_blocks(&self, request: &consensus::LogRequest) -> Result<Option<Message>, Fatal> {
        let mut blocks = Vec::new();
        let mut height = request.from;
        while blocks.len() < consensus::MAX_BLOCKS_PER_ANSWER {
            let Some(link) = self.block(height)? else {
                break;
            };
            let last = link.block.id() == request.tip;
            blocks.push(Arc::new(link));
            if last {
                break;
            }
            height = height.next();
        }
        Ok(consensus::Message::answer(blocks).map(Message::Consensus))
    }
}

/// Does the log hold any block? Then a member has run here, and may have signed.
///
/// # Errors
/// When the store fails.
pub fn has_any_block(store: &dyn Store) -> Result<bool, Fatal> {
    let mut any = false;
    store.scan(Column::Blocks, &[], &mut |_, _| {
        any = true;
        false
    })?;
    Ok(any)
}

/// Where a member's committed chain stands on disk: height and id of the anchor.
///
/// # Errors
/// When the store fails or is damaged.
pub fn anchor_of(store: &dyn Store) -> Result<Option<(Height, BlockId)>, Fatal> {
    let Some(bytes) = store.get(Column::Meta, ANCHOR)? else {
        return Ok(None);
    };
    let link = LinkedBlock::decode(&mut &bytes[..])
        .map_err(|_| Fatal::Store("the anchor in the store is damaged".into()))?;
    Ok(Some((link.block.header().height, link.block.id())))
}

/// Is this block in the log?
///
/// # Errors
/// When the store fails.
pub fn has_block(store: &dyn Store, height: Height, id: &BlockId) -> Result<bool, Fatal> {
    let found = store.get(Column::Blocks, &block_key(height, id))?;
    Ok(height == Height::ZERO || found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_ledger::{Durability, MemoryStore};
    use lockstep_types::generate::Random;
    use lockstep_types::{Block, Header, Headers};

    /// Four blocks that are committed together, the first of them at height 7, each with its proof.
    fn together() -> Vec<(LinkedBlock, CommitProof)> {
        let mut random = Random::new(1);
        let mut parent: BlockId = random.make();
        let mut links = Vec::new();
        for height in 7..11 {
            let height = Height::new(height);
            let header = Header {
                parent,
                height,
                ..random.make()
            };
            let block = Block::new(header, Vec::new());
            parent = block.id();
            let justify = random.make();
            links.push(LinkedBlock { block, justify });
        }
        let headers = links.iter().map(|link| link.block.header().clone());
        let headers: Headers = headers.collect();
        let last: CommitProof = random.make();
        let proof = |position| CommitProof {
            headers: headers.from_position(position),
            ..last.clone()
        };
        let proofs: Vec<_> = (0..links.len()).map(proof).collect();
        links.into_iter().zip(proofs).collect()
    }

    fn own_proofs(store: &MemoryStore) -> usize {
        let mut count = 0;
        let from = [PROOF];
        let visit = &mut |_: &[u8], _: &[u8]| {
            count += 1;
            true
        };
        store.scan(Column::Blocks, &from, visit).unwrap();
        count
    }

    #[test]
    fn blocks_that_are_committed_together_have_one_proof_on_disk_and_each_its_own_for_who_asks() {
        let store = MemoryStore::new();
        let blocks = together();
        for (link, proof) in &blocks {
            let writes: Vec<_> = [write_block(link)]
                .into_iter()
                .chain(write_committed(link, proof))
                .collect();
            store.write(&writes, Durability::Synced).unwrap();
        }
        assert_eq!(own_proofs(&store), 1);
        let archive = Archive::new(&store);
        for (link, proof) in &blocks {
            let height = link.block.header().height;
            assert_eq!(archive.proof(height).unwrap().as_ref(), Some(proof));
        }
        assert_eq!(archive.proof(Height::new(6)).unwrap(), None, "not there");
        assert_eq!(archive.proof(Height::new(11)).unwrap(), None, "to come");

        // A seal's is written before its checkpoint is signed.
        let seal = write_proof(&blocks[2].1);
        store.write(&[seal], Durability::Synced).unwrap();
        for (link, proof) in &blocks {
            let height = link.block.header().height;
            assert_eq!(archive.proof(height).unwrap().as_ref(), Some(proof));
        }
    }
}
