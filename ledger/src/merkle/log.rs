//! An append-only list under one root, as in RFC 6962: the left subtree of n leaves is the largest
//! power of two below n. Old leaves can be dropped; proofs for what remains still work, because
//! the roots of the dropped complete subtrees (the peaks) stay.
//!
//! ```text
//!            root(7)                 level 2:  a            one node per complete subtree;
//!          /        \                level 1:  b  c  d      dropping leaves 0..3 keeps b (the
//!         a          x               level 0:  0 1 2 3 4 5 6   peak that ends there) and leaf 2
//!       /   \      /   \
//!      b     c    d     6            proof for [2, 5) of 7: b, then what is missing right of 5
//!     0 1   2 3  4 5
//! ```
//!
//! Breaks if: the number of leaves is not bound beside the root. [`RootKind::root`] binds it.

use std::collections::VecDeque;

use lockstep_types::{Digest, Hasher, MerkleRoot};
use parity_scale_codec::{Compact, Decode, Encode};

/// Levels of a list of 2^64 leaves. A proof holds at most one hash per level on either side.
const MAX_LEVELS: usize = 64;

fn node(left: &Digest, right: &Digest) -> Digest {
    Hasher::new("lockstep/log-node")
        .bytes(left.as_bytes())
        .bytes(right.as_bytes())
        .finish()
}

/// A kind of list: its hash domains. Lists of different kinds never share a root or a leaf.
#[derive(Clone, Copy, Debug)]
pub struct RootKind {
    root: &'static str,
    leaf: &'static str,
}

impl RootKind {
    /// Names a kind by its root domain and its leaf domain.
    pub const fn new(root: &'static str, leaf: &'static str) -> Self {
        RootKind { root, leaf }
    }

    /// Hash of one element.
    pub fn leaf(&self, value: &impl Encode) -> Digest {
        Hasher::new(self.leaf).value(value).finish()
    }

    /// The root that is published: it binds the number of leaves.
    pub fn root(&self, count: u64, top: &Digest) -> MerkleRoot {
        MerkleRoot::new(
            Hasher::new(self.root)
                .value(&Compact(count))
                .value(top)
                .finish(),
        )
    }

    /// The published root of a whole list.
    pub fn root_of<T: Encode>(&self, values: impl IntoIterator<Item = T>) -> MerkleRoot {
        let log = self.log_of(values);
        self.root(log.count(), &log.top(log.count()))
    }

    /// A list of these values.
    pub fn log_of<T: Encode>(&self, values: impl IntoIterator<Item = T>) -> Log {
        let mut log = Log::default();
        for value in values {
            log.push(self.leaf(&value));
        }
        log
    }
}

/// The complete subtrees of one height, from index `first` on.
#[derive(Clone, Debug, Default)]
struct Level {
    first: u64,
    nodes: VecDeque<Digest>,
}

impl Level {
    fn get(&self, index: u64) -> Digest {
        let offset = index.checked_sub(self.first).expect("not dropped");
        let offset = usize::try_from(offset).expect("fits into memory");
        self.nodes[offset]
    }

    fn next(&self) -> u64 {
        self.first + self.nodes.len() as u64
    }
}

/// An append-only list of leaf hashes.
#[derive(Clone, Debug, Default)]
pub struct Log {
    levels: Vec<Level>,
    count: u64,
    dropped: u64,
}

impl Log {
    /// Continues a list of `count` leaves, all of them dropped, from its peaks.
    ///
    /// # Panics
    /// When there is not exactly one peak per one-bit of `count`.
    pub fn from_peaks(count: u64, peaks: &[Digest]) -> Self {
        assert_eq!(
            peaks.len(),
            count.count_ones() as usize,
            "one peak per one-bit of the count"
        );
        let levels = (0..MAX_LEVELS as u32 - count.leading_zeros())
            .map(|level| {
                let index = count >> level;
                let nodes = if index & 1 == 1 {
                    // Peaks are listed from the largest down: skip those of the higher bits.
                    let higher = (index >> 1).count_ones() as usize;
                    VecDeque::from([peaks[higher]])
                } else {
                    VecDeque::new()
                };
                Level {
                    first: index & !1,
                    nodes,
                }
            })
            .collect();
        Log {
            levels,
            count,
            dropped: count,
        }
    }

    /// How many leaves were ever appended.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many leaves from the front are gone.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        let mut index = self.count;
        self.count = self.count.checked_add(1).expect("never 2^64 leaves");
        for height in 0.. {
            if height == self.levels.len() {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[height];
            assert_eq!(level.next(), index, "levels grow in step");
            level.nodes.push_back(hash);
            if index & 1 == 0 {
                return;
            }
            hash = node(&level.get(index - 1), &hash);
            index >>= 1;
        }
    }

    /// Forgets the leaves before `before`, except for what later proofs need of them.
    pub fn drop_before(&mut self, before: u64) {
        assert!(before <= self.count, "only what exists can be dropped");
        self.dropped = self.dropped.max(before);
        for (height, level) in self.levels.iter_mut().enumerate() {
            // The left sibling of the next node stays: it is a peak of `before`.
            let keep = (self.dropped >> height) & !1;
            while level.first < keep {
                level.nodes.pop_front().expect("complete up to the count");
                level.first += 1;
            }
        }
    }

    /// The roots of the complete subtrees that the first `count` leaves fall into, largest first.
    pub fn peaks(&self, count: u64) -> Vec<Digest> {
        assert!(count <= self.count, "only what exists has peaks");
        (0..self.levels.len())
            .rev()
            .filter(|height| (count >> height) & 1 == 1)
            .map(|height| self.levels[height].get((count >> height) - 1))
            .collect()
    }

    /// The hash over the first `count` leaves; zero for none.
    pub fn top(&self, count: u64) -> Digest {
        let mut peaks = self.peaks(count).into_iter().rev();
        let Some(last) = peaks.next() else {
            return Digest::ZERO;
        };
        peaks.fold(last, |right, left| node(&left, &right))
    }

    /// Proof that the leaves `from..to` stand there in the list of the first `count`. `None` when
    /// the range is empty, out of bounds, or starts among dropped leaves.
    pub fn prove(&self, from: u64, to: u64, count: u64) -> Option<RangeProof> {
        if from >= to || to > count || count > self.count || from < self.dropped {
            return None;
        }
        let mut hashes = Vec::new();
        self.collect(0, count, from, to, &mut hashes);
        Some(RangeProof(hashes))
    }

    fn collect(&self, low: u64, high: u64, from: u64, to: u64, out: &mut Vec<Digest>) {
        if high <= from || low >= to {
            out.push(self.subtree(low, high));
        } else if high - low > 1 {
            let middle = low + left_size(high - low);
            self.collect(low, middle, from, to, out);
            self.collect(middle, high, from, to, out);
        }
    }

    /// The hash over the leaves `low..high` of a subtree.
    fn subtree(&self, low: u64, high: u64) -> Digest {
        let size = high - low;
        if size.is_power_of_two() {
            let height = size.trailing_zeros();
            return self.levels[height as usize].get(low >> height);
        }
        let middle = low + left_size(size);
        node(&self.subtree(low, middle), &self.subtree(middle, high))
    }
}

/// Leaves in the left subtree of a tree of `size` > 1: the largest power of two below `size`.
fn left_size(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The hashes of the subtrees that lie wholly outside a range, from left to right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct RangeProof(Vec<Digest>);

impl RangeProof {
    /// The top hash of a list of `count` leaves in which `leaves` stand from position `from` on.
    /// `None` when the shape does not fit: an empty range, one that ends behind the list, a hash
    /// too many or too few.
    pub fn top(&self, leaves: &[Digest], from: u64, count: u64) -> Option<Digest> {
        let to = from.checked_add(u64::try_from(leaves.len()).ok()?)?;
        if leaves.is_empty() || to > count || self.0.len() > 2 * MAX_LEVELS {
            return None;
        }
        let mut rebuild = Rebuild {
            leaves,
            from,
            to,
            hashes: self.0.iter(),
        };
        let top = rebuild.subtree(0, count)?;
        rebuild.hashes.next().is_none().then_some(top)
    }

    /// How many hashes it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Does it hold none, as for a list of which everything is shown?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Rebuild<'a> {
    leaves: &'a [Digest],
    from: u64,
    to: u64,
    hashes: core::slice::Iter<'a, Digest>,
}

impl Rebuild<'_> {
    fn subtree(&mut self, low: u64, high: u64) -> Option<Digest> {
        if high <= self.from || low >= self.to {
            return self.hashes.next().copied();
        }
        if high - low == 1 {
            let offset = usize::try_from(low - self.from).expect("inside the range");
            return Some(self.leaves[offset]);
        }
        let middle = low + left_size(high - low);
        let left = self.subtree(low, middle)?;
        let right = self.subtree(middle, high)?;
        Some(node(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::hash;

    fn leaf(index: u64) -> Digest {
        hash("test/leaf", &index)
    }

    fn log(count: u64) -> Log {
        let mut log = Log::default();
        (0..count).for_each(|index| log.push(leaf(index)));
        log
    }

    /// RFC 6962 §2.1, word for word.
    fn naive(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::ZERO,
            [one] => *one,
            many => {
                let k = left_size(many.len() as u64) as usize;
                node(&naive(&many[..k]), &naive(&many[k..]))
            }
        }
    }

    #[test]
    fn tops_equal_the_definition_at_every_earlier_count() {
        let leaves: Vec<_> = (0..70).map(leaf).collect();
        let log = log(70);
        for count in 0..=70 {
            assert_eq!(log.top(count), naive(&leaves[..count as usize]), "{count}");
        }
    }

    #[test]
    fn every_range_of_every_count_is_provable_whatever_was_dropped() {
        let leaves: Vec<_> = (0..21).map(leaf).collect();
        for dropped in 0..=21 {
            let mut log = log(21);
            log.drop_before(dropped);
            for count in dropped..=21 {
                for from in 0..=count {
                    for to in from..=count {
                        let proof = log.prove(from, to, count);
                        if from == to || from < dropped {
                            assert!(proof.is_none());
                            continue;
                        }
                        let range = &leaves[from as usize..to as usize];
                        let top = proof.unwrap().top(range, from, count);
                        assert_eq!(top, Some(naive(&leaves[..count as usize])));
                    }
                }
            }
        }
    }

    #[test]
    fn a_list_continues_from_its_peaks() {
        for stop in 0..40 {
            let mut whole = log(stop);
            let mut continued = Log::from_peaks(stop, &whole.peaks(stop));
            assert_eq!(continued.top(stop), whole.top(stop));
            for index in stop..stop + 30 {
                whole.push(leaf(index));
                continued.push(leaf(index));
                assert_eq!(continued.top(index + 1), whole.top(index + 1));
            }
            if stop > 0 {
                let range = (stop, stop + 7, stop + 30);
                assert_eq!(
                    continued.prove(range.0, range.1, range.2),
                    whole.prove(range.0, range.1, range.2)
                );
            }
        }
    }

    #[test]
    fn dropping_in_steps_keeps_memory_at_what_is_left() {
        let mut log = log(10_000);
        for before in (0..9_990).step_by(7) {
            log.drop_before(before);
        }
        let held: Vec<usize> = log.levels.iter().map(|level| level.nodes.len()).collect();
        assert!(held[0] < 24, "{held:?}");
        assert!(held.iter().all(|&nodes| nodes < 24));
    }

    #[test]
    fn a_changed_proof_gives_another_top_or_none() {
        let log = log(13);
        let leaves: Vec<_> = (3..6).map(leaf).collect();
        let proof = log.prove(3, 6, 13).unwrap();
        let top = Some(log.top(13));
        assert_eq!(proof.top(&leaves, 3, 13), top);
        assert_ne!(proof.top(&leaves, 4, 13), top);
        // The same hashes serve a list of 12: this is why a root must bind the count.
        assert_eq!(proof.top(&leaves, 3, 12), top);
        assert_ne!(proof.top(&leaves, 3, 6), top);
        assert_ne!(proof.top(&leaves[..2], 3, 13), top);
        assert_eq!(proof.top(&[], 3, 13), None);
        assert_eq!(proof.top(&leaves, u64::MAX, 13), None);
        for at in 0..proof.0.len() {
            let mut other = proof.clone();
            other.0[at] = leaf(99);
            assert_ne!(other.top(&leaves, 3, 13), top);
            other.0.remove(at);
            assert_eq!(other.top(&leaves, 3, 13), None);
        }
        let mut longer = proof.clone();
        longer.0.push(leaf(0));
        assert_eq!(longer.top(&leaves, 3, 13), None);
    }

    #[test]
    fn the_published_root_binds_kind_and_count() {
        const A: RootKind = RootKind::new("test/a", "test/a-leaf");
        const B: RootKind = RootKind::new("test/b", "test/a-leaf");
        assert_ne!(A.root_of([1u8, 2]), B.root_of([1u8, 2]));
        assert_ne!(A.root(2, &leaf(0)), A.root(3, &leaf(0)));
    }
}
