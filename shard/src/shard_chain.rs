//! What a shard's blocks mean to consensus: which payload may stand where, what a leader puts
//! into a block, and what waits to be put there.
//!
//! Everything that decides validity is a function of the chain: each block has a [`Place`], the
//! state of windows, watermarks and pace after it, computed from its parent's place. Only whether
//! this replica *can judge yet* depends on what it holds.

mod leader;
mod voting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lockstep_consensus::{Application, Check, Content, MAX_BLOCKS_PER_ANSWER, MAX_UNDECIDED, Turn};
use lockstep_genesis::{Genesis, Limits};
use lockstep_types::{
    BatchDigest, Block, BlockId, Digest, EffectsDigest, Gauge, Height, MemberIndex, ShardId, Time,
    WindowNumber,
};
use parity_scale_codec::{Decode, Encode};

use self::voting::all;
use crate::batch_pool::{BatchPool, MAX_WAITING_PER_AUTHOR};
use crate::bundle_pool::BundlePool;
use crate::payload::{BatchRef, Payload, RecordRef};
use crate::window::{AppliedRecord, Window, WindowRules};
use crate::{BarrierRecord, Batch};

/// How far committing may run ahead of execution before a replica stops proposing; voters refuse
/// more (R24: the named height lags by at most eight).
const MAX_EXECUTION_LAG: u64 = 8;

/// Committed blocks that wait to be executed, before a replica takes no more in. As many as two
/// answers bring, so that one is fetched while the other is worked on.
pub const MAX_UNEXECUTED: u64 = 2 * MAX_BLOCKS_PER_ANSWER as u64;

/// The same with what one more answer, and the undecided blocks that it decides, may add.
pub(crate) const MAX_COMMITTED: usize = 3 * MAX_BLOCKS_PER_ANSWER + MAX_UNDECIDED;

/// Effects digests kept: what headers may still name, and some to spare for slow peers.
const DIGESTS_KEPT: usize = 256;

/// Longest stretch of time a paced shard may make up for. A stall is never made up for.
const MAX_PACE_CREDIT_MICROS: u64 = 100_000;

/// A paced leader proposes when it may order this part of a second's worth.
const PACE_STEPS_PER_SECOND: u64 = 20;

/// The state of a shard's chain after one block, as far as the validity of the next depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The block's height.
    pub height: Height,
    /// Its time.
    pub time: Time,
    /// The window state after it.
    pub window: Window,
    /// The window it seals, if it is a seal.
    pub seal: Option<WindowNumber>,
    /// Watermarks of the sources after it. Blocks without bundles share their parent's: of a long
    /// undecided path that is almost all.
    pub consumed: Arc<BTreeMap<ShardId, u64>>,
    /// For paced chains: what may still be ordered, in transactions times microseconds.
    pub pace_credit: u64,
}

#[derive(Clone, Debug)]
struct Node {
    parent: BlockId,
    height: Height,
    time: Time,
    payload: Arc<Payload>,
    /// None until the record that the block names is held.
    place: Option<Arc<Place>>,
}

/// Bodies that a block needs and this replica lacks, with the proposer of the newest undecided block
/// that lists them: it has them, and maybe nobody else. What is committed most members have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Batches.
    pub batches: BTreeMap<BatchDigest, Option<MemberIndex>>,
    /// Bundles.
    pub bundles: BTreeMap<Digest, Option<MemberIndex>>,
    /// A record.
    pub record: Option<WindowNumber>,
}

impl Wanted {
    /// Nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.bundles.is_empty() && self.record.is_none()
    }
}

/// The application of a shard's replica.
#[derive(Debug)]
pub struct ShardChain {
    rules: WindowRules,
    limits: Limits,
    me: MemberIndex,
    nodes: BTreeMap<BlockId, Node>,
    committed: BlockId,
    /// Committed blocks whose places cannot be told yet, in order.
    unsettled: VecDeque<BlockId>,
    executed: BTreeMap<Height, EffectsDigest>,
    /// Batches held.
    pub batches: BatchPool,
    /// Records and bundles held.
    pub bundles: BundlePool,
    /// What blocks that were looked at lack.
    pub wanted: Wanted,
    /// Own batches that can no longer be listed, to be packed again.
    pub returned: Vec<Arc<Batch>>,
}

impl ShardChain {
    /// A chain whose newest committed and executed block is `anchor`. `digests` are those of the
    /// heights up to it, as far as they are kept.
    pub fn new(
        genesis: &Genesis,
        shard: ShardId,
        me: MemberIndex,
        anchor: &Block,
        place: Place,
        digests: BTreeMap<Height, EffectsDigest>,
    ) -> Self {
        let header = anchor.header();
        assert_eq!(place.height, header.height, "the place is the anchor's");
        let newest = digests.last_key_value().map(|(height, _)| *height);
        assert_eq!(newest, Some(header.height), "the state is the anchor's");
        let (open, applied) = (place.window.number, place.window.record);
        let node = Node {
            parent: header.parent,
            height: header.height,
            time: header.time,
            payload: Arc::default(),
            place: Some(Arc::new(place)),
        };
        ShardChain {
            unsettled: VecDeque::new(),
            rules: Self::rules(genesis),
            limits: genesis.limits,
            me,
            nodes: BTreeMap::from([(anchor.id(), node)]),
            committed: anchor.id(),
            executed: digests,
            batches: BatchPool::new(open),
            bundles: BundlePool::new(shard, applied),
            wanted: Wanted::default(),
            returned: Vec::new(),
        }
    }

    /// The window rules of a chain.
    pub fn rules(genesis: &Genesis) -> WindowRules {
        WindowRules {
            interval: genesis.interval,
            depth: genesis.depth,
        }
    }

    /// The place of a chain's first block.
    pub fn first_place(genesis: &Genesis) -> Place {
        let rules = Self::rules(genesis);
        let record = BarrierRecord::genesis_hash(genesis);
        Place {
            height: Height::ZERO,
            time: genesis.time,
            window: Window::first(&rules, genesis.time, record),
            seal: None,
            consumed: Arc::default(),
            pace_credit: 0,
        }
    }

    /// The place of a block, once it can be told.
    pub fn place(&self, block: &BlockId) -> Option<&Arc<Place>> {
        self.nodes.get(block)?.place.as_ref()
    }

    /// A block's payload.
    pub fn payload(&self, block: &BlockId) -> Option<&Arc<Payload>> {
        Some(&self.nodes.get(block)?.payload)
    }

    /// How full everything is that grows with what others say. What stands on the chain itself,
    /// such as the digests listed in the open window and the one before, is not bounded by number.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        let batches = self.limits.block_batches as usize;
        let bundles = self.limits.block_bundles as usize;
        let nodes = self.nodes.len();
        gauge.note("blocks", nodes, MAX_COMMITTED + MAX_UNDECIDED + 1);
        gauge.note("unsettled blocks", self.unsettled.len(), MAX_COMMITTED);
        gauge.note("effects digests", self.executed.len(), DIGESTS_KEPT);
        let wanted = &self.wanted;
        gauge.note("wanted batches", wanted.batches.len(), nodes * batches);
        gauge.note("wanted bundles", wanted.bundles.len(), nodes * bundles);
        let own = MAX_WAITING_PER_AUTHOR + batches;
        gauge.note("own batches returned", self.returned.len(), own);
        self.batches.measure(MAX_COMMITTED * batches, gauge);
        self.bundles.measure(nodes * bundles, gauge);
    }

    /// Execution has come to `height`.
    pub fn on_executed(&mut self, height: Height, digest: EffectsDigest, place: &Place) {
        self.executed.insert(height, digest);
        if self.executed.len() > DIGESTS_KEPT {
            self.executed.pop_first();
        }
        self.bundles
            .on_executed(&place.consumed, place.window.record);
        // Execution never needs places below; consensus asks from the committed block on.
        let committed = self.nodes[&self.committed].height;
        let keep = height.min(committed);
        self.nodes
            .retain(|id, node| node.height >= keep || *id == self.committed);
        self.forget_unlisted();
    }

    /// The bundles that blocks list which are undecided or wait to be executed.
    pub fn listed_bundles(&self) -> BTreeSet<Digest> {
        let payloads = self.nodes.values().map(|node| &node.payload);
        payloads
            .flat_map(|payload| payload.bundles.iter().map(|bundle| bundle.digest))
            .collect()
    }

    /// Wants no body any more that only dead blocks list: a liar may list what does not exist.
    fn forget_unlisted(&mut self) {
        if self.wanted.batches.is_empty() && self.wanted.bundles.is_empty() {
            return;
        }
        let payloads = self.nodes.values().map(|node| &node.payload);
        let batches: BTreeSet<_> = payloads
            .flat_map(|payload| payload.batches.iter().map(|batch| batch.digest))
            .collect();
        let bundles = self.listed_bundles();
        self.wanted
            .batches
            .retain(|digest, _| batches.contains(digest));
        self.wanted
            .bundles
            .retain(|digest, _| bundles.contains(digest));
    }

    /// The newest executed height.
    pub fn executed_height(&self) -> Height {
        *self
            .executed
            .last_key_value()
            .expect("the anchor's digest is there")
            .0
    }

    /// Our effects digest at a height, if it is kept.
    pub fn digest_at(&self, height: Height) -> Option<EffectsDigest> {
        self.executed.get(&height).copied()
    }

    /// A record has come: places that waited for it can be told.
    pub fn on_record(&mut self) {
        let mut unresolved: Vec<(Height, BlockId)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.place.is_none())
            .map(|(id, node)| (node.height, *id))
            .collect();
        unresolved.sort();
        for (_, id) in unresolved {
            let place = self.place_of(&id);
            self.nodes.get_mut(&id).expect("listed above").place = place;
        }
        self.want_record();
        self.settle();
    }

    /// The lowest record without which the place of some block cannot be told. A replica that was
    /// away may lack several; undecided blocks name them one after the other.
    fn want_record(&mut self) {
        let missing = self.nodes.values().filter(|node| node.place.is_none());
        let missing = missing.filter_map(|node| {
            let parent = self.place(&node.parent)?;
            let number = node.payload.record?.number;
            let held = self.bundles.record(number).is_some();
            (number.follows(parent.window.record) && !held).then_some(number)
        });
        // What was wanted before may have come by now, and must not stand before the next one.
        let before = self.wanted.record;
        let before = before.filter(|number| self.bundles.record(*number).is_none());
        self.wanted.record = missing.chain(before).min();
    }

    /// Draws the consequences of committed blocks whose places can be told.
    fn settle(&mut self) {
        while let Some(id) = self.unsettled.front() {
            let Some(node) = self.nodes.get(id) else {
                unreachable!("committed blocks are kept until they are executed")
            };
            let Some(place) = &node.place else { return };
            let window = place.window.number;
            for batch in &node.payload.batches {
                self.batches.on_listed(window, batch.digest);
            }
            if window != self.batches.open_window() {
                self.returned
                    .extend(self.batches.on_window(window, self.me));
            }
            self.unsettled.pop_front();
        }
    }

    /// The window open on the committed chain.
    pub fn open_window(&self) -> WindowNumber {
        self.batches.open_window()
    }

    fn place_of(&self, id: &BlockId) -> Option<Arc<Place>> {
        let node = self.nodes.get(id)?;
        let parent = self.place(&node.parent)?;
        self.place_after(parent, node.height, node.time, &node.payload)
            .map(Arc::new)
    }

    /// The record that `reference` names, if it is the next one on this branch and is held.
    fn applied(&self, parent: &Place, reference: &RecordRef) -> Option<AppliedRecord> {
        let held = self.bundles.record(reference.number)?;
        let follows = reference.number.follows(parent.window.record)
            && held.record.previous == parent.window.record_hash;
        let fits = held.record.hash() == reference.hash
            && (follows || lockstep_types::planted!(SkipRecord));
        fits.then(|| AppliedRecord {
            number: reference.number,
            hash: reference.hash,
            base: held.record.base,
        })
    }

    fn place_after(
        &self,
        parent: &Place,
        height: Height,
        time: Time,
        payload: &Payload,
    ) -> Option<Place> {
        let record = match &payload.record {
            None => None,
            Some(reference) => Some(self.applied(parent, reference)?),
        };
        let (window, seal) = parent.window.after(&self.rules, time, record);
        let mut consumed = parent.consumed.clone();
        for bundle in &payload.bundles {
            if lockstep_types::planted!(CreditTwice)
                || lockstep_types::planted!(ChainForgetsWatermark)
            {
                continue;
            }
            Arc::make_mut(&mut consumed).insert(bundle.source, bundle.to);
        }
        let ordered: u64 = match self.limits.pace {
            None => 0,
            Some(_) => Self::transactions_in(&payload.batches),
        };
        let credit = self.pace_credit(parent, &window, time);
        let pace_credit = credit.saturating_sub(ordered.saturating_mul(1_000_000));
        Some(Place {
            height,
            time,
            window,
            seal,
            consumed,
            pace_credit,
        })
    }

    /// What a paced block at `time` may order, in transactions times microseconds: the pace since
    /// its parent or since its window opened, whichever is later.
    fn pace_credit(&self, parent: &Place, window: &Window, time: Time) -> u64 {
        let Some(pace) = self.limits.pace else {
            return 0;
        };
        if parent.window.sealed || window.number != parent.window.number {
            return 0;
        }
        let elapsed = time.since(parent.time).as_micros();
        let elapsed = u64::try_from(elapsed)
            .unwrap_or(u64::MAX)
            .min(MAX_PACE_CREDIT_MICROS);
        let most = u64::from(pace).saturating_mul(MAX_PACE_CREDIT_MICROS);
        parent
            .pace_credit
            .saturating_add(elapsed.saturating_mul(pace.into()))
            .min(most)
    }

    fn transactions_in(batches: &[BatchRef]) -> u64 {
        batches
            .iter()
            .fold(0, |total, batch| total + u64::from(batch.transactions))
    }

    /// Digests listed by the undecided blocks from `block` down to the committed one.
    fn listed_on_branch(&self, block: &BlockId) -> BTreeSet<BatchDigest> {
        let mut listed = BTreeSet::new();
        let mut at = *block;
        while at != self.committed {
            let Some(node) = self.nodes.get(&at) else {
                break;
            };
            listed.extend(node.payload.batches.iter().map(|batch| batch.digest));
            at = node.parent;
        }
        listed
    }

    /// May payload stand in a block after `parent`, once the block has named `record`?
    fn is_open(window: &Window) -> bool {
        !window.sealed || lockstep_types::planted!(PayloadAfterSeal)
    }

    fn window_with(&self, parent: &Place, time: Time, record: Option<&RecordRef>) -> Window {
        let record = record.and_then(|reference| self.applied(parent, reference));
        match record {
            Some(record) => parent.window.after(&self.rules, time, Some(record)).0,
            None => parent.window,
        }
    }

    /// The next moment at which a block on `parent` becomes due by time alone.
    pub fn due_at(&self, parent: &BlockId) -> Option<Time> {
        let place = self.place(parent)?;
        if place.window.sealed {
            return None;
        }
        let paced = self
            .limits
            .pace
            .filter(|_| self.batches.waiting().next().is_some())
            .map(|pace| {
                let step = (u64::from(pace) / PACE_STEPS_PER_SECOND).max(1) * 1_000_000;
                let missing = step.saturating_sub(place.pace_credit).div_ceil(pace.into());
                place.time.after(core::time::Duration::from_micros(missing))
            });
        Some(paced.map_or(place.window.end, |paced| paced.min(place.window.end)))
    }
}

impl Application for ShardChain {
    fn on_block(&mut self, block: &Block) {
        let header = block.header();
        if self.nodes.contains_key(&block.id()) {
            return;
        }
        // A certified block has a readable payload: a correct member voted for it. A block that
        // has none is refused in `check` and carries nothing here.
        let payload = Arc::new(Payload::from_bytes(block.payload()).unwrap_or_default());
        let node = Node {
            parent: header.parent,
            height: header.height,
            time: header.time,
            payload,
            place: None,
        };
        self.nodes.insert(block.id(), node);
        let place = self.place_of(&block.id());
        let unknown = place.is_none();
        self.nodes
            .get_mut(&block.id())
            .expect("inserted above")
            .place = place;
        if unknown {
            self.want_record();
        }
    }

    fn check(&mut self, _now: Time, block: &Block) -> Check {
        let header = block.header();
        let Ok(payload) = Payload::from_bytes(block.payload()) else {
            return Check::Refuse("carries a payload that cannot be read");
        };
        let Some(parent) = self.place(&header.parent).cloned() else {
            return Check::Hold;
        };
        let record = match &payload.record {
            None => Check::Accept,
            Some(reference) => self.check_record(&parent, reference),
        };
        if record != Check::Accept {
            return record;
        }
        let window = self.window_with(&parent, header.time, payload.record.as_ref());
        let has_payload = !payload.bundles.is_empty() || !payload.batches.is_empty();
        if has_payload && !Self::is_open(&window) {
            return Check::Refuse("carries payload between a seal and its record");
        }
        all([
            record,
            self.check_bundles(&parent, &window, header.proposer, &payload.bundles),
            self.check_batches(&parent, &window, header, &payload.batches),
            if payload.is_empty() && lockstep_types::planted!(EmptyBlockExecutedUnchecked) {
                Check::Accept
            } else {
                self.check_executed(&header.executed)
            },
        ])
    }

    fn propose(&mut self, now: Time, turn: &Turn<'_>) -> Option<Content> {
        let parent_id = turn.parent.id();
        let parent = self.place(&parent_id)?.clone();
        let time = now.max(turn.parent.header().time.next());
        let executed = self.executed_for(turn)?;
        let record = self.next_record(&parent).filter(|_| turn.may_fill);
        let window = self.window_with(&parent, time, record.as_ref());
        let mut payload = Payload {
            record,
            ..Payload::default()
        };
        if turn.may_fill && Self::is_open(&window) {
            payload.bundles = self.choose_bundles(&parent, window.record);
            payload.batches = self.choose_batches(turn.parent, &parent, &window, time);
        }
        let due = payload.record.is_none() && parent.window.seals_at(&self.rules, time);
        if payload.is_empty() && !due && !turn.commit_needed {
            return None;
        }
        Some(Content {
            time,
            executed,
            payload: payload.to_bytes(),
        })
    }

    fn has_work(&self, now: Time, parent: &Block) -> bool {
        let Some(place) = self.place(&parent.id()) else {
            return false;
        };
        if self.next_record(place).is_some() || place.window.seals_at(&self.rules, now) {
            return true;
        }
        Self::is_open(&place.window)
            && (!self.choose_bundles(place, place.window.record).is_empty()
                || self.has_batch(parent, place, now))
    }

    fn needs_commit(&self, block: &Block) -> bool {
        !block.payload().is_empty()
            || self
                .place(&block.id())
                .is_some_and(|place| place.seal.is_some())
    }

    fn names_record(&self, block: &Block) -> bool {
        Payload::from_bytes(block.payload()).is_ok_and(|payload| payload.record.is_some())
    }

    fn on_commit(&mut self, block: &Block) {
        let (id, height) = (block.id(), block.header().height);
        self.committed = id;
        // Siblings are gone; what is below is kept until it is executed.
        self.nodes
            .retain(|other, node| node.height != height || *other == id);
        self.forget_unlisted();
        self.unsettled.push_back(id);
        self.settle();
    }

    fn retain(&mut self, is_held: &dyn Fn(&BlockId) -> bool) {
        let committed = self.nodes[&self.committed].height;
        self.nodes
            .retain(|id, node| node.height <= committed || is_held(id));
        self.forget_unlisted();
    }

    fn is_full(&self) -> bool {
        let committed = self.nodes[&self.committed].height;
        committed.since(self.executed_height()) >= MAX_UNEXECUTED
    }
}
