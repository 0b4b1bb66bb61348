//! Parts of the trie, for a replica that builds it anew from what others send. A part stands for
//! one subtree: all its accounts when they are few, else its topmost branches with the hashes
//! below. Whoever knows the subtree's hash can check a part alone, whoever sent it and in whatever
//! order parts come.
//!
//! Breaks if: a part is taken under another hash than one that a certified root or a checked part
//! above it names.

use std::sync::Arc;

use lockstep_types::{AccountId, Digest};
use parity_scale_codec::{Decode, Encode};

use super::trie::{KEY_BITS, Node, Trie, branch_hash};
use super::walk::ProofError;
use crate::Account;

/// Most accounts in a part. At some 50 bytes each it is checked within milliseconds.
pub const MAX_PART_ACCOUNTS: usize = 4_096;

/// Most bytes of accounts in a part, unless it is a single account.
pub const MAX_PART_BYTES: usize = 512 * 1024;

/// Levels of branches in a part without accounts: sixteen subtrees, so that those of a million
/// accounts are reached by two questions.
const PART_LEVELS: u8 = 4;

/// These branches and what hangs below them.
const MAX_PIECES: usize = (2 << PART_LEVELS) - 1;

/// Where a subtree hangs: the sides taken from the root down, `true` for the right one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct TriePath(Vec<bool>);

impl TriePath {
    /// The root.
    pub const ROOT: TriePath = TriePath(Vec::new());

    /// The subtree that `below` leads to from here.
    #[must_use]
    pub fn then(&self, below: &TriePath) -> TriePath {
        TriePath([&self.0[..], &below.0].concat())
    }

    /// Can a trie be this deep?
    pub fn is_possible(&self) -> bool {
        self.0.len() <= usize::from(KEY_BITS)
    }
}

/// A piece of the top of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Piece {
    /// A branch that decides this bit; its left side follows, then its right one.
    #[codec(index = 0)]
    Branch(u8),
    /// A subtree of which only the hash is shown.
    #[codec(index = 1)]
    Below(Digest),
}

/// A part of the trie.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TriePart {
    /// Every account of the subtree, ascending.
    #[codec(index = 0)]
    Accounts(Vec<(AccountId, Account)>),
    /// The top of the subtree.
    #[codec(index = 1)]
    Branches(Vec<Piece>),
}

impl Trie {
    /// The part that stands for the subtree at `path`. None when there is no such subtree.
    pub fn part(&self, path: &TriePath) -> Option<TriePart> {
        let mut node = self.top.as_ref()?;
        for side in &path.0 {
            let Node::Branch { sides, .. } = &**node else {
                return None;
            };
            node = &sides[usize::from(*side)];
        }
        let mut accounts = Vec::new();
        let mut room = MAX_PART_BYTES;
        if node.collect(&mut accounts, &mut room) {
            return Some(TriePart::Accounts(accounts));
        }
        let mut pieces = Vec::new();
        node.collect_top(PART_LEVELS, &mut pieces);
        Some(TriePart::Branches(pieces))
    }
}

impl Node {
    /// Adds the accounts below, unless they are too many: then it answers no. The first one always
    /// has room.
    fn collect(&self, accounts: &mut Vec<(AccountId, Account)>, room: &mut usize) -> bool {
        match self {
            Node::Leaf { key, account, .. } => {
                let takes = key.as_bytes().len() + account.encoded_size();
                if !accounts.is_empty() && (accounts.len() >= MAX_PART_ACCOUNTS || takes > *room) {
                    return false;
                }
                *room = room.saturating_sub(takes);
                accounts.push((*key, Account::clone(account)));
                true
            }
            Node::Branch { sides, .. } => sides.iter().all(|side| side.collect(accounts, room)),
        }
    }

    fn collect_top(&self, levels: u8, pieces: &mut Vec<Piece>) {
        match self {
            Node::Branch { depth, sides, .. } if levels > 0 => {
                pieces.push(Piece::Branch(*depth));
                sides
                    .iter()
                    .for_each(|side| side.collect_top(levels - 1, pieces));
            }
            _ => pieces.push(Piece::Below(*self.hash())),
        }
    }
}

impl TriePart {
    /// Can a part hold so much? Asked of every part that comes, wanted or not.
    pub fn is_possible(&self) -> bool {
        match self {
            TriePart::Accounts(accounts) => accounts.len() <= MAX_PART_ACCOUNTS,
            TriePart::Branches(pieces) => pieces.len() <= MAX_PIECES,
        }
    }

    /// Is this the subtree with the hash `expected`? Returns the subtrees of which only the hash is
    /// shown, with the way to each from here.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, expected: &Digest) -> Result<Vec<(TriePath, Digest)>, ProofError> {
        let mut below = Vec::new();
        let got = match self {
            TriePart::Accounts(accounts) => root_of(accounts)?,
            TriePart::Branches(pieces) => {
                if !matches!(pieces.first(), Some(Piece::Branch(_))) {
                    return Err(ProofError::Malformed("a part that shows nothing"));
                }
                let mut pieces = pieces.iter();
                let mut path = TriePath::ROOT;
                let top = rebuild(&mut pieces, PART_LEVELS, &mut path, &mut below)?;
                if pieces.next().is_some() {
                    return Err(ProofError::Malformed("pieces left over"));
                }
                top
            }
        };
        if got == *expected {
            Ok(below)
        } else {
            let expected = *expected;
            Err(ProofError::OtherRoot { got, expected })
        }
    }
}

fn root_of(accounts: &[(AccountId, Account)]) -> Result<Digest, ProofError> {
    let ascending = accounts.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if accounts.is_empty() || !ascending {
        return Err(ProofError::Malformed("accounts that do not ascend"));
    }
    let accounts = accounts.iter();
    let changes = accounts.map(|(id, account)| (*id, Arc::new(account.clone())));
    Ok(Trie::default().updated(changes).root())
}

fn rebuild(
    pieces: &mut core::slice::Iter<'_, Piece>,
    levels: u8,
    path: &mut TriePath,
    below: &mut Vec<(TriePath, Digest)>,
) -> Result<Digest, ProofError> {
    match pieces.next() {
        None => Err(ProofError::Malformed("pieces missing")),
        Some(Piece::Below(hash)) => {
            below.push((path.clone(), *hash));
            Ok(*hash)
        }
        Some(Piece::Branch(_)) if levels == 0 => Err(ProofError::Malformed("too many levels")),
        Some(Piece::Branch(depth)) => {
            let mut side = |right| {
                path.0.push(right);
                let hash = rebuild(pieces, levels - 1, path, below);
                path.0.pop();
                hash
            };
            Ok(branch_hash(*depth, &side(false)?, &side(true)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{AssetId, hash};
    use std::collections::BTreeMap;

    fn trie(accounts: u64) -> Trie {
        Trie::default().updated((0..accounts).map(|i| {
            let mut account = Account::default();
            account
                .balances
                .add(AssetId::NATIVE, 1 + u128::from(i))
                .unwrap();
            let id = hash("test/key", &i).as_bytes()[..20].try_into().unwrap();
            (AccountId::new(id), Arc::new(account))
        }))
    }

    /// Builds the trie anew from parts, as a replica without state does.
    fn rebuilt(trie: &Trie) -> (BTreeMap<AccountId, Account>, usize) {
        let mut wanted = vec![(TriePath::ROOT, trie.root())];
        let (mut found, mut parts) = (BTreeMap::new(), 0);
        while let Some((path, hash)) = wanted.pop() {
            let part = trie.part(&path).unwrap();
            parts += 1;
            assert!(part.is_possible());
            let below = part.verify(&hash).unwrap();
            wanted.extend(below.iter().map(|(way, hash)| (path.then(way), *hash)));
            if let TriePart::Accounts(accounts) = part {
                found.extend(accounts);
            }
        }
        (found, parts)
    }

    #[test]
    fn the_parts_give_every_account_and_the_same_root() {
        for count in [1, 2, 100, MAX_PART_ACCOUNTS as u64, 4_200, 20_000] {
            let trie = trie(count);
            let (found, parts) = rebuilt(&trie);
            assert_eq!(found.len() as u64, count);
            let again = found.into_iter().map(|(id, a)| (id, Arc::new(a)));
            assert_eq!(Trie::default().updated(again).root(), trie.root());
            assert_eq!(parts == 1, count <= MAX_PART_ACCOUNTS as u64, "{parts}");
        }
    }

    #[test]
    fn a_changed_part_is_refused() {
        let (few, many) = (trie(50), trie(20_000));
        let TriePart::Accounts(accounts) = few.part(&TriePath::ROOT).unwrap() else {
            panic!("few accounts are one part")
        };
        let mut mutants = vec![TriePart::Accounts(Vec::new())];
        for at in 0..accounts.len() {
            let mut less = accounts.clone();
            less.remove(at);
            mutants.push(TriePart::Accounts(less));
            let mut richer = accounts.clone();
            richer[at].1.balances.add(AssetId::NATIVE, 1).unwrap();
            mutants.push(TriePart::Accounts(richer));
            let mut twice = accounts.clone();
            twice.insert(at, accounts[at].clone());
            mutants.push(TriePart::Accounts(twice));
        }
        for mutant in &mutants {
            assert!(mutant.verify(&few.root()).is_err());
        }
        let TriePart::Branches(pieces) = many.part(&TriePath::ROOT).unwrap() else {
            panic!("many accounts are not one part")
        };
        assert_eq!(pieces.len(), 31, "fifteen branches, sixteen hashes");
        let mut mutants = vec![vec![], vec![Piece::Below(many.root())]];
        for at in 0..pieces.len() {
            let mut other = pieces.clone();
            other.remove(at);
            mutants.push(other);
            let mut other = pieces.clone();
            other[at] = match other[at] {
                Piece::Branch(depth) => Piece::Branch(depth ^ 1),
                Piece::Below(_) => Piece::Below(Digest::ZERO),
            };
            mutants.push(other);
        }
        mutants.push([&pieces[..], &[Piece::Branch(9)]].concat());
        mutants.push(vec![Piece::Branch(0); 100_000]);
        assert!(!TriePart::Branches(vec![Piece::Branch(0); 32]).is_possible());
        for mutant in mutants {
            assert!(TriePart::Branches(mutant).verify(&many.root()).is_err());
        }
    }

    #[test]
    fn there_is_no_part_where_there_is_no_subtree() {
        assert_eq!(Trie::default().part(&TriePath::ROOT), None);
        let one = trie(1);
        assert_eq!(one.part(&TriePath(vec![true])), None);
        assert_eq!(trie(9).part(&TriePath(vec![false; 200])), None);
        assert!(!TriePath(vec![false; 161]).is_possible());
    }
}
