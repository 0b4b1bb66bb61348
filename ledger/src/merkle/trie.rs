//! The state trie: a binary trie over the bits of account ids with compressed paths. A branch
//! stands where two accounts first differ and commits to that bit position; there are no empty
//! nodes. So the account at the end of a walk that follows the bits of an id is the only one that
//! could be it, and one kind of proof shows presence and absence.
//!
//! Nodes are copy-on-write: an update builds new nodes along the paths it touches and leaves the
//! old root readable. The top four bits split the trie into 16 parts that are updated as
//! independent jobs and joined; the root does not depend on that split.
//!
//! Accounts are never removed, so neither are leaves.

use std::sync::Arc;

use lockstep_types::{AccountId, Digest, Hasher};

use super::walk::{Step, Walk};
use crate::Account;

/// Bits of an account id.
pub(crate) const KEY_BITS: u8 = 160;

/// Bits that choose the part: 16 parts keep eight workers busy although parts differ in size.
const PART_BITS: u8 = 4;
const PARTS: usize = 1 << PART_BITS;

/// Bit `depth` of an account id, the highest first.
pub(crate) fn bit(key: &AccountId, depth: u8) -> bool {
    key.as_bytes()[usize::from(depth / 8)] >> (7 - depth % 8) & 1 == 1
}

/// The first bit in which two ids differ; [`KEY_BITS`] when they are equal.
fn first_difference(a: &AccountId, b: &AccountId) -> u8 {
    let pairs = a.as_bytes().iter().zip(b.as_bytes());
    for (index, (x, y)) in (0u8..).zip(pairs) {
        if x != y {
            let within = u8::try_from((x ^ y).leading_zeros()).expect("at most 8");
            return index * 8 + within;
        }
    }
    KEY_BITS
}

/// Hash of a leaf: the id, then what it holds.
pub(crate) fn leaf_hash(key: &AccountId, account: &Account) -> Digest {
    Hasher::new("lockstep/trie-leaf")
        .bytes(key.as_bytes())
        .value(account)
        .finish()
}

/// Hash of a branch: the bit it decides, then both sides.
pub(crate) fn branch_hash(depth: u8, left: &Digest, right: &Digest) -> Digest {
    Hasher::new("lockstep/trie-branch")
        .bytes(&[depth])
        .bytes(left.as_bytes())
        .bytes(right.as_bytes())
        .finish()
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf {
        key: AccountId,
        account: Arc<Account>,
        hash: Digest,
    },
    Branch {
        /// The first bit in which the accounts below differ.
        depth: u8,
        /// Any account below: its first `depth` bits are those of all.
        sample: AccountId,
        sides: [Arc<Node>; 2],
        hash: Digest,
    },
}

type Change = (AccountId, Arc<Account>);

impl Node {
    fn leaf((key, account): &Change) -> Arc<Node> {
        Arc::new(Node::Leaf {
            key: *key,
            account: account.clone(),
            hash: leaf_hash(key, account),
        })
    }

    fn branch(depth: u8, left: Arc<Node>, right: Arc<Node>) -> Arc<Node> {
        Arc::new(Node::Branch {
            depth,
            sample: *left.sample(),
            hash: branch_hash(depth, left.hash(), right.hash()),
            sides: [left, right],
        })
    }

    pub(super) fn hash(&self) -> &Digest {
        match self {
            Node::Leaf { hash, .. } | Node::Branch { hash, .. } => hash,
        }
    }

    fn sample(&self) -> &AccountId {
        match self {
            Node::Leaf { key, .. } => key,
            Node::Branch { sample, .. } => sample,
        }
    }

    /// The bits all accounts below have in common.
    fn depth(&self) -> u8 {
        match self {
            Node::Leaf { .. } => KEY_BITS,
            Node::Branch { depth, .. } => *depth,
        }
    }

    /// A trie of `changes`, which are ascending, distinct and not empty.
    fn build(changes: &[Change]) -> Arc<Node> {
        let [first, .., last] = changes else {
            return Node::leaf(&changes[0]);
        };
        let depth = first_difference(&first.0, &last.0);
        let (left, right) = split(changes, depth);
        Node::branch(depth, Node::build(left), Node::build(right))
    }

    /// This trie with `changes` put in, which are ascending, distinct and not empty.
    fn update(self: &Arc<Node>, changes: &[Change]) -> Arc<Node> {
        let first = &changes[0].0;
        let last = &changes[changes.len() - 1].0;
        let among = first_difference(first, last);
        let depth = first_difference(self.sample(), first)
            .min(among)
            .min(self.depth());
        if depth == KEY_BITS {
            return Node::leaf(&changes[0]);
        }
        let (left, right) = split(changes, depth);
        let [old_left, old_right] = match &**self {
            Node::Branch {
                depth: at, sides, ..
            } if *at == depth => [Some(&sides[0]), Some(&sides[1])],
            // All of the old trie lies on one side of this bit.
            _ if bit(self.sample(), depth) => [None, Some(self)],
            _ => [Some(self), None],
        };
        Node::branch(depth, merge(old_left, left), merge(old_right, right))
    }
}

fn split(changes: &[Change], depth: u8) -> (&[Change], &[Change]) {
    changes.split_at(changes.partition_point(|(key, _)| !bit(key, depth)))
}

fn merge(old: Option<&Arc<Node>>, changes: &[Change]) -> Arc<Node> {
    match old {
        Some(node) if changes.is_empty() => node.clone(),
        Some(node) => node.update(changes),
        None => Node::build(changes),
    }
}

/// A root of the trie: cheap to copy, readable for as long as it is held.
#[derive(Clone, Debug, Default)]
pub struct Trie {
    parts: [Option<Arc<Node>>; PARTS],
    pub(super) top: Option<Arc<Node>>,
}

/// The update of one part. Pure: it may run anywhere, in any order.
#[derive(Debug)]
pub struct TrieJob {
    part: usize,
    old: Option<Arc<Node>>,
    changes: Vec<Change>,
}

/// A finished job.
#[derive(Debug)]
pub struct TrieDone {
    part: usize,
    new: Arc<Node>,
}

impl TrieJob {
    /// Does the work: hashes every changed account and every branch above it, once.
    pub fn run(mut self) -> TrieDone {
        self.changes.sort_unstable_by_key(|(key, _)| *key);
        TrieDone {
            part: self.part,
            new: merge(self.old.as_ref(), &self.changes),
        }
    }

    /// How many accounts it changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Never: a job has something to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Trie {
    /// The jobs that put `changes` in; the ids must be distinct.
    pub fn jobs(
        &self,
        changes: impl IntoIterator<Item = (AccountId, Arc<Account>)>,
    ) -> Vec<TrieJob> {
        let mut lists: [Vec<Change>; PARTS] = Default::default();
        for change in changes {
            let part = change.0.as_bytes()[0] >> (8 - PART_BITS);
            lists[usize::from(part)].push(change);
        }
        lists
            .into_iter()
            .enumerate()
            .filter(|(_, changes)| !changes.is_empty())
            .map(|(part, changes)| TrieJob {
                part,
                old: self.parts[part].clone(),
                changes,
            })
            .collect()
    }

    /// The trie with finished jobs put in. The jobs must be this trie's.
    pub fn join(&self, done: Vec<TrieDone>) -> Trie {
        let mut parts = self.parts.clone();
        for TrieDone { part, new } in done {
            parts[part] = Some(new);
        }
        let top = join_parts(&parts, 0);
        Trie { parts, top }
    }

    /// The trie with `changes` put in, computed here and now.
    pub fn updated(&self, changes: impl IntoIterator<Item = (AccountId, Arc<Account>)>) -> Trie {
        let jobs = self.jobs(changes);
        self.join(jobs.into_iter().map(TrieJob::run).collect())
    }

    /// The root hash; zero for a trie without accounts.
    pub fn root(&self) -> Digest {
        self.top.as_ref().map_or(Digest::ZERO, |node| *node.hash())
    }

    /// What `key` holds under this root.
    pub fn get(&self, key: &AccountId) -> Option<&Arc<Account>> {
        let mut node = self.top.as_ref()?;
        loop {
            match &**node {
                Node::Leaf {
                    key: found,
                    account,
                    ..
                } => return (found == key).then_some(account),
                Node::Branch { depth, sides, .. } => node = &sides[usize::from(bit(key, *depth))],
            }
        }
    }

    /// The walk to where `key` is or would be.
    pub fn walk(&self, key: &AccountId) -> Walk {
        let mut steps = Vec::new();
        let Some(mut node) = self.top.as_ref() else {
            return Walk::default();
        };
        loop {
            match &**node {
                Node::Leaf { key, account, .. } => {
                    return Walk {
                        leaf: Some((*key, Account::clone(account))),
                        steps,
                    };
                }
                Node::Branch { depth, sides, .. } => {
                    let side = usize::from(bit(key, *depth));
                    steps.push(Step {
                        depth: *depth,
                        sibling: *sides[1 - side].hash(),
                    });
                    node = &sides[side];
                }
            }
        }
    }
}

/// Joins neighbouring parts pairwise, from bit `depth` down.
fn join_parts(parts: &[Option<Arc<Node>>], depth: u8) -> Option<Arc<Node>> {
    let [one] = parts else {
        let (left, right) = parts.split_at(parts.len() / 2);
        return match (join_parts(left, depth + 1), join_parts(right, depth + 1)) {
            (Some(left), Some(right)) => Some(Node::branch(depth, left, right)),
            (one, other) => one.or(other),
        };
    };
    one.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{AssetId, hash};

    fn account(amount: u128) -> Arc<Account> {
        let mut account = Account::default();
        account.balances.add(AssetId::NATIVE, amount).unwrap();
        Arc::new(account)
    }

    fn key(number: u64) -> AccountId {
        AccountId::new(
            hash("test/key", &number).as_bytes()[..20]
                .try_into()
                .unwrap(),
        )
    }

    /// The definition: split the sorted accounts at the first bit in which they differ.
    fn naive(accounts: &[Change]) -> Digest {
        match accounts {
            [] => Digest::ZERO,
            [(key, account)] => leaf_hash(key, account),
            [first, .., last] => {
                let depth = (0..KEY_BITS)
                    .find(|&depth| bit(&first.0, depth) != bit(&last.0, depth))
                    .unwrap();
                let (left, right) = split(accounts, depth);
                branch_hash(depth, &naive(left), &naive(right))
            }
        }
    }

    #[test]
    fn updates_in_any_portions_give_the_root_of_the_definition() {
        let mut trie = Trie::default();
        let mut model = std::collections::BTreeMap::new();
        assert_eq!(trie.root(), Digest::ZERO);
        for round in 0u64..60 {
            let size = [1, 2, 3, 50][(round % 4) as usize];
            let changes: Vec<_> = (0..size)
                .map(|i| key(hash("pick", &(round, i)).as_bytes()[0].into()))
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .map(|key| (key, account(u128::from(round) + 1)))
                .collect();
            model.extend(changes.iter().cloned());
            let before = (trie.clone(), trie.root());
            trie = trie.updated(changes.into_iter().rev());
            let sorted: Vec<_> = model.iter().map(|(k, v)| (*k, v.clone())).collect();
            assert_eq!(trie.root(), naive(&sorted), "round {round}");
            assert_eq!(before.0.root(), before.1, "old roots stay");
            for (key, value) in &model {
                assert_eq!(trie.get(key), Some(value));
            }
        }
    }

    #[test]
    fn ids_that_differ_in_the_last_bit_only() {
        let mut bytes = [0u8; 20];
        let even = AccountId::new(bytes);
        bytes[19] = 1;
        let odd = AccountId::new(bytes);
        let trie = Trie::default().updated([(odd, account(1)), (even, account(2))]);
        let expected = branch_hash(
            159,
            &leaf_hash(&even, &account(2)),
            &leaf_hash(&odd, &account(1)),
        );
        assert_eq!(trie.root(), expected);
        assert_eq!(
            trie.walk(&odd).account(&odd, &trie.root()),
            Ok(Some(&*account(1)))
        );
    }

    #[test]
    fn jobs_may_finish_in_any_order() {
        let changes: Vec<_> = (0..500).map(|i| (key(i), account(i.into()))).collect();
        let expected = Trie::default().updated(changes.clone()).root();
        let trie = Trie::default();
        let mut done: Vec<_> = trie.jobs(changes).into_iter().map(TrieJob::run).collect();
        done.reverse();
        assert_eq!(trie.join(done).root(), expected);
    }

    #[test]
    fn a_walk_proves_what_is_there_and_what_is_not() {
        let trie = Trie::default().updated((0..200).map(|i| (key(i), account(i.into()))));
        let root = trie.root();
        for i in 0..400 {
            let walk = trie.walk(&key(i));
            let found = walk.account(&key(i), &root).unwrap();
            assert_eq!(found.is_some(), i < 200);
            assert_eq!(found, trie.get(&key(i)).map(|account| &**account));
        }
        let nobody = Trie::default();
        assert_eq!(
            nobody.walk(&key(1)).account(&key(1), &Digest::ZERO),
            Ok(None)
        );
        assert!(nobody.walk(&key(1)).account(&key(1), &root).is_err());
    }
}
