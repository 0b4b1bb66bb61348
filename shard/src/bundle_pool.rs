//! Records and bundles a shard replica holds: what other shards have certified, and the entries
//! that prove to be theirs.

use core::ops::RangeInclusive;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lockstep_ledger::{Bundle, BundleError, MAX_CERTIFIED_ROOTS};
use lockstep_types::{Digest, Gauge, MerkleRoot, ShardId, WindowNumber};

use crate::CertifiedRecord;

/// Bundles that came before the record that certifies them. They come from members of other
/// shards, so the oldest makes room.
pub const MAX_UNPROVEN: usize = 64;

/// Proven bundles of one source that wait to be listed or executed.
pub const MAX_PROVEN_PER_SOURCE: usize = 64;

/// Records that may be held ahead of the chain. A replica that is further behind fetches them as
/// it goes.
pub const MAX_RECORDS_AHEAD: u64 = 64;

/// Records held: those ahead, and those whose roots may still be credited.
const MAX_RECORDS: usize = MAX_RECORDS_AHEAD as usize + MAX_CERTIFIED_ROOTS + 1;

/// Certified roots of one source: those of the records held, and an older one of a source that has
/// sealed nothing since.
const MAX_ROOTS: usize = MAX_RECORDS + 1;

#[derive(Clone, Copy, Debug)]
struct Certified {
    record: WindowNumber,
    root: MerkleRoot,
    /// Entries for us under that root.
    count: u64,
}

/// Proven bundles of one source, by the first entry and the window of the root. A range may be held
/// under several roots: an old one may age out before the range is credited, a new one may not be
/// applied yet.
type Proven = BTreeMap<(u64, WindowNumber), (Digest, Arc<Bundle>)>;

/// Held records and bundles of one shard replica.
#[derive(Debug)]
pub struct BundlePool {
    shard: ShardId,
    /// The newest record whose effects are executed.
    executed: WindowNumber,
    records: BTreeMap<WindowNumber, Arc<CertifiedRecord>>,
    certified: BTreeMap<ShardId, BTreeMap<WindowNumber, Certified>>,
    unproven: VecDeque<Arc<Bundle>>,
    proven: BTreeMap<ShardId, Proven>,
    /// Bundles that undecided or unexecuted blocks list, by digest.
    by_digest: BTreeMap<Digest, Arc<Bundle>>,
}

impl BundlePool {
    /// An empty one of a member that has executed up to a record.
    pub fn new(shard: ShardId, executed: WindowNumber) -> Self {
        BundlePool {
            shard,
            executed,
            records: BTreeMap::new(),
            certified: BTreeMap::new(),
            unproven: VecDeque::new(),
            proven: BTreeMap::new(),
            by_digest: BTreeMap::new(),
        }
    }

    /// How full it is, when blocks list at most so many bundles.
    pub(crate) fn measure(&self, most_listed: usize, gauge: &mut dyn Gauge) {
        let sources = self.certified.len();
        let roots = self.certified.values().map(BTreeMap::len).max();
        let of_one = self.proven.values().map(BTreeMap::len).max();
        gauge.note("records", self.records.len(), MAX_RECORDS);
        gauge.note("certified roots", roots.unwrap_or(0), MAX_ROOTS);
        gauge.note("unproven bundles", self.unproven.len(), MAX_UNPROVEN);
        let proven = of_one.unwrap_or(0);
        gauge.note("bundles of one source", proven, MAX_PROVEN_PER_SOURCE);
        let most = sources * MAX_PROVEN_PER_SOURCE + most_listed;
        gauge.note("bundles", self.by_digest.len(), most);
    }

    /// Numbers of the records that blocks may still be executed with: those whose roots may be
    /// credited, and some that are not applied yet.
    pub fn records_of_use(&self) -> RangeInclusive<u64> {
        let applied = self.executed.get();
        let oldest = applied.saturating_sub(MAX_CERTIFIED_ROOTS as u64);
        oldest..=applied.saturating_add(MAX_RECORDS_AHEAD)
    }

    /// A held record.
    pub fn record(&self, number: WindowNumber) -> Option<&Arc<CertifiedRecord>> {
        self.records.get(&number)
    }

    /// Keeps a record, and returns the bundles that it proves. What blocks have `listed` stays.
    pub fn add_record(
        &mut self,
        record: Arc<CertifiedRecord>,
        listed: &BTreeSet<Digest>,
    ) -> Vec<Arc<Bundle>> {
        let number = record.record.number;
        for outbox in record.record.outboxes_for(self.shard) {
            let certified = Certified {
                record: number,
                root: outbox.outbox_root,
                count: outbox.flow.map_or(0, |flow| flow.sent_count),
            };
            let roots = self.certified.entry(outbox.source).or_default();
            roots.entry(outbox.window).or_insert(certified);
        }
        self.records.insert(number, record);
        let waiting = core::mem::take(&mut self.unproven);
        waiting
            .into_iter()
            .filter_map(|bundle| self.add(bundle, listed).ok().flatten())
            .collect()
    }

    /// Is a bundle cut where its source's members cut: from `watermark`, from a multiple of `most`, or
    /// from where an earlier outbox ended, to the next multiple or to where its own outbox ends? A
    /// true one that is cut elsewhere comes from a liar: listed, it would leave the next without one
    /// that fits on it, and there are enough of them to fill the pool.
    pub fn is_well_cut(&self, bundle: &Bundle, watermark: u64, most: u64) -> bool {
        let (from, to) = (bundle.from, bundle.to());
        let mut roots = self.certified.get(&bundle.source).into_iter().flatten();
        let begins = from == watermark
            || from.is_multiple_of(most)
            || roots.any(|(_, certified)| certified.count == from);
        begins && (to.is_multiple_of(most) || to == bundle.proof.count)
    }

    /// Keeps a bundle. Returns it when it is new and proven: then it must be logged. What blocks have
    /// `listed` stays when it makes room for another.
    ///
    /// # Errors
    /// When it is of a certified window and does not lead to that window's root.
    pub fn add(
        &mut self,
        bundle: Arc<Bundle>,
        listed: &BTreeSet<Digest>,
    ) -> Result<Option<Arc<Bundle>>, BundleError> {
        if bundle.destination != self.shard {
            return Ok(None);
        }
        let roots = self.certified.get(&bundle.source);
        let Some(certified) = roots.and_then(|roots| roots.get(&bundle.window)) else {
            let newest = roots.and_then(|roots| roots.last_key_value());
            if newest.is_none_or(|(window, _)| bundle.window > *window) {
                self.unproven.push_back(bundle);
                if self.unproven.len() > MAX_UNPROVEN {
                    self.unproven.pop_front();
                }
            }
            return Ok(None);
        };
        let proven = self.proven.entry(bundle.source).or_default();
        let key = (bundle.from, bundle.window);
        let longer = proven
            .get(&key)
            .is_none_or(|(_, held)| held.to() < bundle.to());
        if !longer {
            return Ok(None);
        }
        bundle.verify(&certified.root)?;
        let digest = bundle.digest();
        if let Some((shorter, _)) = proven.insert(key, (digest, bundle.clone()))
            && !listed.contains(&shorter)
        {
            self.by_digest.remove(&shorter);
        }
        self.by_digest.insert(digest, bundle.clone());
        // What is credited first stays longest.
        if proven.len() > MAX_PROVEN_PER_SOURCE
            && let Some((_, (last, _))) = proven.pop_last()
            && !listed.contains(&last)
        {
            self.by_digest.remove(&last);
        }
        Ok(self.by_digest.contains_key(&digest).then_some(bundle))
    }

    /// Keeps a bundle that a block lists, whether or not it is the one we would list.
    pub fn add_listed(&mut self, bundle: Arc<Bundle>) -> Option<Arc<Bundle>> {
        let known = self.certified.get(&bundle.source)?.get(&bundle.window)?;
        bundle.verify(&known.root).ok()?;
        self.by_digest
            .insert(bundle.digest(), bundle.clone())
            .is_none()
            .then_some(bundle)
    }

    /// A bundle that a block lists.
    pub fn by_digest(&self, digest: &Digest) -> Option<&Arc<Bundle>> {
        self.by_digest.get(digest)
    }

    /// May `bundle` be credited where `applied` is the newest record applied? The record that
    /// certifies it must be, and must be young enough that the ledger still keeps the root.
    pub fn is_certified(&self, bundle: &Bundle, applied: WindowNumber) -> bool {
        let known = self
            .certified
            .get(&bundle.source)
            .and_then(|r| r.get(&bundle.window));
        known.is_some_and(|certified| {
            lockstep_types::planted!(CreditBeforeRecord)
                || certified.record <= applied
                    && applied.since(certified.record) < MAX_CERTIFIED_ROOTS as u64
        })
    }

    /// The longest proven bundle that continues a source at watermark `from`; of equally long ones
    /// that under the newest root.
    pub fn next(
        &self,
        source: ShardId,
        from: u64,
        applied: WindowNumber,
    ) -> Option<(Digest, &Arc<Bundle>)> {
        let any = (from, WindowNumber::ZERO)..=(from, WindowNumber::new(u64::MAX));
        let held = self.proven.get(&source)?.range(any);
        held.map(|(_, (digest, bundle))| (*digest, bundle))
            .filter(|(_, bundle)| self.is_certified(bundle, applied))
            .max_by_key(|(_, bundle)| bundle.to())
    }

    /// Sources whose certified outbox holds more for us than `consumed` says, once record
    /// `applied` is applied.
    pub fn owing<'a>(
        &'a self,
        consumed: &'a BTreeMap<ShardId, u64>,
        applied: WindowNumber,
    ) -> impl Iterator<Item = (ShardId, u64)> + 'a {
        self.certified.iter().filter_map(move |(source, roots)| {
            let from = consumed.get(source).copied().unwrap_or(0);
            let newest = roots.values().rev().find(|certified| {
                certified.record <= applied || lockstep_types::planted!(CreditBeforeRecord)
            })?;
            (newest.count > from).then_some((*source, from))
        })
    }

    /// Everything up to these watermarks is credited and executed.
    pub fn on_executed(&mut self, consumed: &BTreeMap<ShardId, u64>, applied: WindowNumber) {
        for (source, bundles) in &mut self.proven {
            let from = consumed.get(source).copied().unwrap_or(0);
            *bundles = bundles.split_off(&(from, WindowNumber::ZERO));
        }
        self.by_digest
            .retain(|_, bundle| bundle.to() > consumed.get(&bundle.source).copied().unwrap_or(0));
        self.executed = applied;
        let oldest = WindowNumber::new(*self.records_of_use().start());
        self.records = self.records.split_off(&oldest);
        // By what is executed, and not by number: a member whose execution is behind needs the roots
        // that its blocks were made with, however many newer ones there are.
        for roots in self.certified.values_mut() {
            while roots.len() > 1
                && roots
                    .first_key_value()
                    .is_some_and(|(_, certified)| certified.record < oldest)
            {
                roots.pop_first();
            }
        }
    }
}
