//! The test vectors of `MERKLE.md`, computed by a second implementation that shares nothing with
//! the crate but SHA-256: every preimage is put together here byte by byte, as the page says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_ledger::merkle::{Log, RangeProof, Trie, Walk};
use lockstep_ledger::{Account, RECEIPTS, Receipt, ReceiptResult, Subject};
use lockstep_types::{AccountId, AssetId, Digest, TransactionId};
use parity_scale_codec::Encode;
use sha2::{Digest as _, Sha256};

type Hash = [u8; 32];

fn hash(tag: &str, parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([u8::try_from(tag.len()).unwrap()]);
    sha.update(tag);
    parts.iter().for_each(|part| sha.update(part));
    sha.finalize().into()
}

/// SCALE's compact integers below 2^30.
fn compact(value: u32) -> Vec<u8> {
    match value {
        0..0x40 => vec![(value as u8) << 2],
        0x40..0x4000 => ((value as u16) << 2 | 1).to_le_bytes().to_vec(),
        _ => (value << 2 | 2).to_le_bytes().to_vec(),
    }
}

mod list {
    use super::*;

    pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
        hash("lockstep/log-node", &[left, right])
    }

    pub(crate) fn top(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => [0; 32],
            [leaf] => *leaf,
            _ => {
                let middle = leaves.len().next_power_of_two() / 2;
                node(&top(&leaves[..middle]), &top(&leaves[middle..]))
            }
        }
    }

    /// The hashes a range proof holds, from left to right.
    pub(crate) fn proof(leaves: &[Hash], from: usize, to: usize) -> Vec<Hash> {
        if leaves.is_empty() {
            vec![]
        } else if to == 0 || from >= leaves.len() {
            vec![top(leaves)]
        } else if leaves.len() == 1 {
            vec![]
        } else {
            let middle = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(middle);
            let mut hashes = proof(left, from.min(middle), to.min(middle));
            if from >= middle {
                hashes = vec![top(left)];
            }
            let inner = (from.saturating_sub(middle), to.saturating_sub(middle));
            hashes.extend(proof(right, inner.0, inner.1));
            hashes
        }
    }

    pub(crate) fn receipt(number: u8) -> Hash {
        // Subject 0 (a transaction), its id, result 0 (applied).
        hash("lockstep/receipt", &[&[0], &[number; 32], &[0]])
    }

    pub(crate) fn receipts_root(count: u8) -> Hash {
        let leaves: Vec<Hash> = (0..count).map(receipt).collect();
        hash(
            "lockstep/receipts",
            &[&compact(count.into()), &top(&leaves)],
        )
    }
}

mod trie {
    use super::*;

    pub(crate) type Leaf = ([u8; 20], Hash);

    pub(crate) fn account(nonce: u32, native: u32) -> Vec<u8> {
        // One balance: asset 0, so much.
        [compact(nonce), compact(1), compact(0), compact(native)].concat()
    }

    pub(crate) fn leaf(id: u8, account: &[u8]) -> Leaf {
        ([id; 20], hash("lockstep/trie-leaf", &[&[id; 20], account]))
    }

    pub(crate) fn bit(id: &[u8; 20], depth: u8) -> bool {
        id[usize::from(depth / 8)] & (0x80 >> (depth % 8)) != 0
    }

    /// Splits at the first bit in which the sorted leaves differ.
    pub(crate) fn root(leaves: &[Leaf]) -> Hash {
        match leaves {
            [] => [0; 32],
            [(_, leaf)] => *leaf,
            _ => {
                let (depth, left, right) = split(leaves);
                branch(depth, &root(left), &root(right))
            }
        }
    }

    pub(crate) fn branch(depth: u8, left: &Hash, right: &Hash) -> Hash {
        hash("lockstep/trie-branch", &[&[depth], left, right])
    }

    pub(crate) fn split(leaves: &[Leaf]) -> (u8, &[Leaf], &[Leaf]) {
        let differ = |d: &u8| {
            leaves
                .iter()
                .any(|l| bit(&l.0, *d) != bit(&leaves[0].0, *d))
        };
        let depth = (0..160).find(differ).unwrap();
        let middle = leaves.iter().position(|l| bit(&l.0, depth)).unwrap();
        (depth, &leaves[..middle], &leaves[middle..])
    }

    /// The steps of a walk, and the leaf it ends at.
    pub(crate) fn walk(leaves: &[Leaf], id: &[u8; 20]) -> (Vec<(u8, Hash)>, [u8; 20]) {
        if let [(found, _)] = leaves {
            return (vec![], *found);
        }
        let (depth, left, right) = split(leaves);
        let (taken, other) = if bit(id, depth) {
            (right, left)
        } else {
            (left, right)
        };
        let (rest, found) = walk(taken, id);
        ([vec![(depth, root(other))], rest].concat(), found)
    }
}

const IDS: [u8; 5] = [0x00, 0x01, 0x40, 0x80, 0xff];

fn leaves(count: usize) -> Vec<trie::Leaf> {
    let leaf = |id: u8| trie::leaf(id, &trie::account(id.into(), 1_000 + u32::from(id)));
    IDS[..count].iter().map(|id| leaf(*id)).collect()
}

fn theirs(count: usize) -> Trie {
    Trie::default().updated(IDS[..count].iter().map(|&id| {
        let mut account = Account {
            nonce: id.into(),
            ..Account::default()
        };
        let amount = 1_000 + u128::from(id);
        account.balances.add(AssetId::NATIVE, amount).unwrap();
        (AccountId::new([id; 20]), Arc::new(account))
    }))
}

fn receipt(number: u8) -> Receipt {
    Receipt {
        subject: Subject::Transaction(TransactionId::new(Digest::new([number; 32]))),
        result: ReceiptResult::Applied,
    }
}

fn steps(steps: &[(u8, Hash)]) -> String {
    let step = |(depth, sibling): &(u8, Hash)| format!("{depth}:{}", hex::encode(sibling));
    steps.iter().map(step).collect::<Vec<_>>().join(" ")
}

/// Every vector, by the second implementation.
fn vectors() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for count in [0, 1, 2, 3, 7] {
        all.insert(
            format!("receipts-root {count}"),
            hex::encode(list::receipts_root(count)),
        );
        let root = trie::root(&leaves(usize::from(count).min(5)));
        all.insert(format!("accounts-root {}", count.min(5)), hex::encode(root));
    }
    all.insert("receipt-leaf 1".into(), hex::encode(list::receipt(1)));
    let seven: Vec<Hash> = (0..7).map(list::receipt).collect();
    let hashes: Vec<String> = list::proof(&seven, 2, 5).iter().map(hex::encode).collect();
    all.insert("range-proof 2..5 of 7".into(), hashes.join(" "));
    all.insert("account 01".into(), hex::encode(trie::account(1, 1_001)));
    all.insert("account-leaf 01".into(), hex::encode(leaves(2)[1].1));
    for id in [0x01, 0x02] {
        let (walk, found) = trie::walk(&leaves(5), &[id; 20]);
        let shown = format!("{} ends {:02x}", steps(&walk), found[0]);
        all.insert(format!("walk {id:02x} of 5"), shown);
    }
    all
}

#[test]
fn the_page_states_the_vectors() {
    let page = include_str!("../MERKLE.md");
    let stated: BTreeMap<String, String> = page
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, _)| !name.contains("H("))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in vectors() {
        println!("{name} = {value}");
        assert_eq!(stated.get(&name), Some(&value), "{name}");
    }
}

#[test]
fn the_crate_computes_the_vectors() {
    for count in [0, 1, 2, 3, 7] {
        let root = RECEIPTS.root_of((0..count).map(receipt));
        assert_eq!(*root.as_bytes(), list::receipts_root(count));
    }
    let log: Log = RECEIPTS.log_of((0..7).map(receipt));
    let seven: Vec<Hash> = (0..7).map(list::receipt).collect();
    for from in 0..7 {
        for to in from + 1..=7 {
            let proof = log.prove(from, to, 7).unwrap();
            let hashes = list::proof(&seven, from as usize, to as usize);
            assert_eq!(proof.encode(), hashes.encode(), "{from}..{to}");
        }
    }
    for count in 0..=5 {
        let root = theirs(count).root();
        assert_eq!(*root.as_bytes(), trie::root(&leaves(count)));
    }
    for id in 0..=255 {
        let walk = theirs(5).walk(&AccountId::new([id; 20]));
        let (steps, found) = trie::walk(&leaves(5), &[id; 20]);
        let shown: Vec<_> = walk
            .steps
            .iter()
            .map(|s| (s.depth, *s.sibling.as_bytes()))
            .collect();
        assert_eq!(shown, steps);
        assert_eq!(walk.leaf.unwrap().0, AccountId::new(found));
    }
}

/// The second verifier and the first accept the same walks.
#[test]
fn two_verifiers_agree_on_mutated_walks() {
    let trie = theirs(5);
    let root = trie.root();
    let reference = |walk: &Walk, id: &AccountId| {
        let (found, account) = walk.leaf.as_ref()?;
        let mut hash = trie::leaf(found.as_bytes()[0], &account.encode()).1;
        assert_eq!([found.as_bytes()[0]; 20], *found.as_bytes());
        for step in walk.steps.iter().rev() {
            let sibling = step.sibling.as_bytes();
            if step.depth >= 160 {
                return None;
            }
            hash = match trie::bit(id.as_bytes(), step.depth) {
                true => trie::branch(step.depth, sibling, &hash),
                false => trie::branch(step.depth, &hash, sibling),
            };
        }
        (hash == *root.as_bytes()).then_some(found == id)
    };
    let mut accepted = 0;
    for id in (0..=255).map(|id| AccountId::new([id; 20])) {
        let honest = trie.walk(&id);
        let mut walks = vec![honest.clone()];
        walks.extend(IDS.map(|other| trie.walk(&AccountId::new([other; 20]))));
        for at in 0..honest.steps.len() {
            for depth in [0, 1, 7, 8, 159, 160, 255] {
                let mut mutant = honest.clone();
                mutant.steps[at].depth = depth;
                walks.push(mutant);
            }
            let mut mutant = honest.clone();
            mutant.steps.swap(0, at);
            walks.push(mutant);
        }
        for walk in walks {
            let first = walk.account(&id, &root).map(|shown| shown.is_some());
            assert_eq!(first.ok(), reference(&walk, &id));
            accepted += u32::from(first.is_ok());
        }
    }
    assert!(accepted > 256, "honest walks are accepted");
}

#[test]
fn a_proof_of_nothing_is_refused() {
    let nothing = RangeProof::default();
    assert!(nothing.is_empty());
    assert_eq!(nothing.top(&[], 0, 0), None);
}
