//! What the beacon's blocks mean: each carries one barrier record or nothing.
//!
//! Every voter computes the record anew from the chain and from the checkpoints inside it. What is
//! not a function of the chain, namely whether a shard was late, each member decides on its own
//! clock, and only for itself: it withholds its vote, it never calls a committed record invalid.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::{Application, Check, Content, MAX_UNDECIDED, Turn};
use lockstep_genesis::Genesis;
use lockstep_types::{
    Block, BlockId, CommitteeId, Digest, EffectsDigest, Executed, Gauge, Height, RecordHash,
    ShardId, Time, WindowNumber, codec,
};
use parity_scale_codec::{Decode, Encode};

use crate::checkpoint::{CertifiedCheckpoint, CheckpointTally, CheckpointVote};
use crate::conservation::conserves;
use crate::record::{BarrierRecord, CertifiedRecord, ShardEntry};
use crate::window::{WindowRules, record_base};

/// The state of the beacon's chain after one block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BeaconPlace {
    /// The block's height.
    pub height: Height,
    /// The newest record.
    pub number: WindowNumber,
    /// Its hash.
    pub hash: RecordHash,
    /// Its base time.
    pub base: Time,
    /// The time of the block that carries it.
    pub time: Time,
    /// Per shard, the newest window recorded, and whether the newest record marks it absent.
    /// Blocks without a record share their parent's.
    pub shards: Arc<Vec<(WindowNumber, bool)>>,
}

impl BeaconPlace {
    /// Before the first record. Record 0 is genesis.
    pub fn first(genesis: &Genesis) -> Self {
        let shards = vec![(WindowNumber::ZERO, false); usize::from(genesis.shard_count())];
        BeaconPlace {
            height: Height::ZERO,
            number: WindowNumber::ZERO,
            hash: BarrierRecord::genesis_hash(genesis),
            base: genesis.time,
            time: genesis.time,
            shards: Arc::new(shards),
        }
    }

    fn after(&self, height: Height, time: Time, record: Option<&BarrierRecord>) -> Self {
        let Some(record) = record else {
            return BeaconPlace {
                height,
                ..self.clone()
            };
        };
        let entries = self.shards.iter().zip(&record.shards);
        let shards: Vec<_> = entries
            .map(|((recorded, _), entry)| match entry.checkpoint() {
                Some(certified) => (certified.checkpoint.window(), false),
                None => (*recorded, true),
            })
            .collect();
        BeaconPlace {
            height,
            number: record.number,
            hash: record.hash(),
            base: record.base,
            time,
            shards: Arc::new(shards),
        }
    }
}

#[derive(Clone, Debug)]
struct Node {
    place: Arc<BeaconPlace>,
    carries_record: bool,
}

/// Why a record is not ready, or that it is.
enum Gathered {
    /// All that can be expected is there.
    Ready(Vec<ShardEntry>),
    /// Some shard may still come; ask again at this time, if time alone can settle it.
    Waiting(Option<Time>),
}

/// The application of a beacon replica.
pub struct BeaconChain {
    genesis: Arc<Genesis>,
    rules: WindowRules,
    committees: Digest,
    nodes: BTreeMap<BlockId, Node>,
    tallies: BTreeMap<ShardId, CheckpointTally>,
    executed: BTreeMap<Height, EffectsDigest>,
    /// When the first checkpoint signature for a barrier came, by this replica's clock.
    first_heard: BTreeMap<WindowNumber, Time>,
}

/// Windows beyond the next record that a shard may have sealed: its depth, and one to spare for a
/// beacon member that is a record behind. Later ones are sent again until they are due.
const MAX_WINDOWS_AHEAD: u64 = 4;

/// Effects digests kept; headers name heights at most eight below.
const DIGESTS_KEPT: usize = 64;

impl BeaconChain {
    /// A chain whose newest committed block is `anchor`. `records` are the newest ones, ascending,
    /// as far as they are kept.
    pub fn new(
        genesis: Arc<Genesis>,
        anchor: &Block,
        place: BeaconPlace,
        records: &[Arc<CertifiedRecord>],
    ) -> Self {
        let height = anchor.header().height;
        assert_eq!(place.height, height, "the place is the anchor's");
        let executed = Self::digests_below(&genesis, height, &place, records);
        let node = Node {
            place: Arc::new(place),
            carries_record: false,
        };
        BeaconChain {
            rules: WindowRules {
                interval: genesis.interval,
                depth: genesis.depth,
            },
            committees: BarrierRecord::committees_of(&genesis),
            nodes: BTreeMap::from([(anchor.id(), node)]),
            tallies: BTreeMap::new(),
            executed,
            first_heard: BTreeMap::new(),
            genesis,
        }
    }

    fn digest_of(height: Height, place: &BeaconPlace) -> EffectsDigest {
        Self::digest_at(height, place.number, place.hash)
    }

    /// What the beacon has done up to a height. It has no state but its records.
    fn digest_at(height: Height, number: WindowNumber, hash: RecordHash) -> EffectsDigest {
        if height == Height::ZERO {
            EffectsDigest::ZERO
        } else {
            EffectsDigest::new(lockstep_types::hash(
                "lockstep/beacon-effects",
                &(number, hash),
            ))
        }
    }

    /// The digests of the heights up to the anchor's. After a restart of everybody, leaders name
    /// heights below the anchor, and voters must be able to compare.
    fn digests_below(
        genesis: &Genesis,
        anchor: Height,
        place: &BeaconPlace,
        records: &[Arc<CertifiedRecord>],
    ) -> BTreeMap<Height, EffectsDigest> {
        let mut digests = BTreeMap::from([(anchor, Self::digest_of(anchor, place))]);
        let mut height = anchor;
        while let Some(below) = height.previous()
            && digests.len() < DIGESTS_KEPT
        {
            height = below;
            let newest = records
                .iter()
                .rev()
                .find(|record| record.header().height <= height);
            let (number, hash) = match newest {
                Some(record) => (record.record.number, record.record.hash()),
                // Before the first record; further back than records are kept nobody asks.
                None if records
                    .first()
                    .is_none_or(|first| first.record.number.get() == 1) =>
                {
                    (WindowNumber::ZERO, BarrierRecord::genesis_hash(genesis))
                }
                None => break,
            };
            digests.insert(height, Self::digest_at(height, number, hash));
        }
        digests
    }

    /// The place of a block.
    pub fn place(&self, block: &BlockId) -> Option<&Arc<BeaconPlace>> {
        self.nodes.get(block).map(|node| &node.place)
    }

    /// How full everything is that grows with what others say.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        gauge.note("blocks", self.nodes.len(), MAX_UNDECIDED + 1);
        gauge.note("effects digests", self.executed.len(), DIGESTS_KEPT);
        let most = usize::try_from(MAX_WINDOWS_AHEAD).map_or(usize::MAX, |ahead| ahead + 1);
        gauge.note("windows heard of", self.first_heard.len(), most);
        for tally in self.tallies.values() {
            tally.measure(gauge);
        }
    }

    /// Adds a checked checkpoint signature. Returns the certificate that it completes.
    pub fn on_checkpoint(
        &mut self,
        now: Time,
        vote: CheckpointVote,
        recorded: &BeaconPlace,
    ) -> Option<Arc<CertifiedCheckpoint>> {
        let shard = vote.checkpoint.shard;
        let (last, _) = *recorded.shards.get(usize::from(shard.get()))?;
        let window = vote.checkpoint.window();
        let next = recorded.number.next();
        if window <= last || window > next.plus(MAX_WINDOWS_AHEAD) {
            return None;
        }
        if window >= next {
            self.first_heard.entry(window).or_insert(now);
        }
        let quorum = self.genesis.committee(CommitteeId::Shard(shard)).quorum();
        self.tallies
            .entry(shard)
            .or_default()
            .add(now, vote, quorum)
    }

    /// See [`CheckpointTally::contradicts`].
    pub fn contradicts(&self, vote: &CheckpointVote) -> bool {
        let tally = self.tallies.get(&vote.checkpoint.shard);
        tally.is_some_and(|tally| tally.contradicts(vote))
    }

    /// Is any checkpoint certified for the record after `place`?
    pub fn has_any(&self, place: &BeaconPlace) -> bool {
        let number = place.number.next();
        self.genesis_shards()
            .any(|shard| self.newest(shard, place, number).is_some())
    }

    /// Are the checkpoints of all awaited shards certified for the record after `place`?
    pub fn has_all(&self, place: &BeaconPlace) -> bool {
        let number = place.number.next();
        self.genesis_shards()
            .all(|shard| self.newest(shard, place, number).is_some())
    }

    fn genesis_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.genesis.shard_count()).map(ShardId::new)
    }

    fn newest(
        &self,
        shard: ShardId,
        place: &BeaconPlace,
        number: WindowNumber,
    ) -> Option<&Arc<CertifiedCheckpoint>> {
        let (recorded, _) = place.shards[usize::from(shard.get())];
        self.tallies.get(&shard)?.newest(recorded, number)
    }

    /// Until when this member waits for shards that are late for record `number`. Runs from the
    /// later of the window's scheduled end and the first checkpoint heard; before that, for ever.
    fn patience_ends(&self, place: &BeaconPlace, number: WindowNumber) -> Option<Time> {
        let first = *self.first_heard.get(&number)?;
        let scheduled = match self.rules.depth {
            0 => place.time.after(self.rules.interval),
            _ => place.base.after(self.rules.interval),
        };
        Some(first.max(scheduled).after(self.genesis.patience))
    }

    /// Is a shard waited for? One that the last record marks absent is not, until it is heard of.
    fn is_awaited(&self, shard: ShardId, place: &BeaconPlace) -> bool {
        let (recorded, absent) = place.shards[usize::from(shard.get())];
        !absent
            || self
                .tallies
                .get(&shard)
                .is_some_and(|tally| tally.has_heard(recorded))
    }

    fn gather(&self, now: Time, place: &BeaconPlace) -> Gathered {
        let number = place.number.next();
        let patience = self.patience_ends(place, number);
        let impatient = patience.is_some_and(|end| now >= end);
        let mut entries = Vec::new();
        let mut waiting = false;
        for shard in self.genesis_shards() {
            let mut newest = self.newest(shard, place, number);
            if lockstep_types::planted!(CountShardTwice) {
                newest = self.newest(ShardId::new(0), place, number);
            }
            let current = newest.is_some_and(|c| c.checkpoint.window() == number);
            waiting |= !current && self.is_awaited(shard, place);
            entries.push(match newest {
                Some(certified) => ShardEntry::Certified(Box::new((**certified).clone())),
                None => ShardEntry::Absent,
            });
        }
        let present = entries.iter().any(|entry| entry.checkpoint().is_some());
        if present && (!waiting || impatient) {
            Gathered::Ready(entries)
        } else {
            Gathered::Waiting(patience.filter(|_| present))
        }
    }

    /// When patience alone makes a record ready on `parent`.
    pub fn due_at(&self, now: Time, parent: &BlockId) -> Option<Time> {
        let place = self.place(parent)?;
        match self.gather(now, place) {
            Gathered::Ready(_) => None,
            Gathered::Waiting(until) => until,
        }
    }

    fn record(&self, place: &BeaconPlace, time: Time, shards: Vec<ShardEntry>) -> BarrierRecord {
        BarrierRecord {
            number: place.number.next(),
            previous: place.hash,
            committees: self.committees,
            base: record_base(&self.rules, place.base, time),
            shards,
        }
    }

    /// Does `record` follow from the chain and from the checkpoints it holds?
    fn check_record(&self, place: &BeaconPlace, time: Time, record: &BarrierRecord) -> Check {
        let expected = self.record(place, time, record.shards.clone());
        if *record != expected {
            return Check::Refuse("carries a record that does not follow from the chain");
        }
        for (entry, (recorded, _)) in record.shards.iter().zip(&*place.shards) {
            let Some(certified) = entry.checkpoint() else {
                continue;
            };
            let window = certified.checkpoint.window();
            if window <= *recorded || window > record.number {
                return Check::Refuse("carries a checkpoint of another barrier");
            }
        }
        if record
            .shards
            .iter()
            .all(|entry| entry.checkpoint().is_none())
        {
            return Check::Refuse("carries a record without any checkpoint");
        }
        if let Err(reason) = conserves(record) {
            return Check::Refuse(reason);
        }
        Check::Accept
    }

    /// Does this member's own patience allow what the record leaves out?
    fn check_absences(&self, now: Time, place: &BeaconPlace, record: &BarrierRecord) -> Check {
        let patience = self.patience_ends(place, record.number);
        let over = |at: Time| patience.is_some_and(|end| at >= end);
        for (shard, entry) in self.genesis_shards().zip(&record.shards) {
            let held = self
                .newest(shard, place, record.number)
                .map(|c| c.checkpoint.window());
            let named = entry.checkpoint().map(|c| c.checkpoint.window());
            if named == Some(record.number) {
                continue;
            }
            let came_at = held
                .filter(|held| Some(*held) > named)
                .and_then(|held| self.tallies.get(&shard)?.certified_at(held));
            if came_at.is_some_and(|at| !over(at)) {
                return Check::Refuse("leaves out a checkpoint that came in time");
            }
            if self.is_awaited(shard, place) && !over(now) {
                return Check::Hold;
            }
        }
        Check::Accept
    }

    fn executed_for(&self, turn: &Turn<'_>) -> Option<Executed> {
        let least = turn.parent.header().executed.height;
        let height = turn.commits.previous().unwrap_or(Height::ZERO).max(least);
        let newest = *self.executed.last_key_value()?.0;
        let height = height.min(newest);
        self.executed.get(&height).map(|digest| Executed {
            height,
            digest: *digest,
        })
    }

    /// The record a beacon block carries, if any.
    pub fn record_in(block: &Block) -> Option<BarrierRecord> {
        if block.payload().is_empty() {
            return None;
        }
        codec::decode_canonical(block.payload(), lockstep_consensus::MAX_PAYLOAD_BYTES).ok()
    }

    /// How long this member waits for late shards.
    pub fn patience(&self) -> Duration {
        self.genesis.patience
    }
}

impl Application for BeaconChain {
    fn on_block(&mut self, block: &Block) {
        let header = block.header();
        if self.nodes.contains_key(&block.id()) {
            return;
        }
        let Some(parent) = self.place(&header.parent) else {
            unreachable!("the parent joined the tree before")
        };
        let record = Self::record_in(block);
        let place = Arc::new(parent.after(header.height, header.time, record.as_ref()));
        let node = Node {
            place,
            carries_record: record.is_some(),
        };
        self.nodes.insert(block.id(), node);
    }

    fn check(&mut self, now: Time, block: &Block) -> Check {
        let header = block.header();
        let Some(place) = self.place(&header.parent).cloned() else {
            return Check::Hold;
        };
        let newest = self.executed.last_key_value().map(|(height, _)| *height);
        if newest.is_none_or(|newest| header.executed.height > newest) {
            return Check::Hold;
        }
        match self.executed.get(&header.executed.height) {
            Some(own) if *own == header.executed.digest => {}
            Some(_) => return Check::Refuse("names another effects digest than ours"),
            None => return Check::Refuse("names a height executed long ago"),
        }
        if block.payload().is_empty() {
            return Check::Accept;
        }
        let Some(record) = Self::record_in(block) else {
            return Check::Refuse("carries a payload that is not a record");
        };
        match self.check_record(&place, header.time, &record) {
            Check::Accept => self.check_absences(now, &place, &record),
            refused => refused,
        }
    }

    fn propose(&mut self, now: Time, turn: &Turn<'_>) -> Option<Content> {
        let place = self.place(&turn.parent.id())?.clone();
        let time = now.max(turn.parent.header().time.next());
        let executed = self.executed_for(turn)?;
        let payload = match self.gather(now, &place) {
            Gathered::Ready(shards) if turn.may_fill => self.record(&place, time, shards).encode(),
            _ if turn.commit_needed => Vec::new(),
            _ => return None,
        };
        Some(Content {
            time,
            executed,
            payload,
        })
    }

    fn has_work(&self, now: Time, parent: &Block) -> bool {
        let place = self.place(&parent.id());
        place.is_some_and(|place| matches!(self.gather(now, place), Gathered::Ready(_)))
    }

    fn needs_commit(&self, block: &Block) -> bool {
        self.nodes
            .get(&block.id())
            .is_some_and(|node| node.carries_record)
    }

    fn names_record(&self, block: &Block) -> bool {
        Self::record_in(block).is_some()
    }

    fn on_commit(&mut self, block: &Block) {
        let (id, height) = (block.id(), block.header().height);
        let place = self
            .place(&id)
            .expect("a committed block joined the tree")
            .clone();
        self.nodes
            .retain(|other, node| node.place.height > height || *other == id);
        self.executed
            .insert(height, Self::digest_of(height, &place));
        if self.executed.len() > DIGESTS_KEPT {
            self.executed.pop_first();
        }
        for (shard, (recorded, _)) in self.genesis_shards().zip(&*place.shards) {
            if let Some(tally) = self.tallies.get_mut(&shard) {
                tally.forget(*recorded);
            }
        }
        self.first_heard = self.first_heard.split_off(&place.number.next());
    }

    fn retain(&mut self, is_held: &dyn Fn(&BlockId) -> bool) {
        self.nodes.retain(|id, _| is_held(id));
    }

    /// A beacon executes within the step that commits.
    fn is_full(&self) -> bool {
        false
    }
}
