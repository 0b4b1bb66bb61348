//! Proofs: whatever our verifiers take, a second verifier takes as well, and the other way round.
//! The second one is written from `MERKLE.md`, level by level from the leaves up, where ours walks
//! from the root down.

use lockstep_ledger::merkle::{Log, RangeProof, RootKind, Trie, Walk};
use lockstep_ledger::{
    Account, AccountProof, Bundle, BundleProof, MAX_BUNDLE_ENTRIES, MAX_PROOF_STEPS, OutboxEntry,
    OutboxLeaf, Receipt, ReceiptProof,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    AccountId, AssetId, Digest, EffectsDigest, Hasher, MerkleRoot, ShardId, WindowNumber, codec,
    hash,
};
use parity_scale_codec::{Decode, Encode};
use std::sync::Arc;

use super::Target;

const RECEIPTS: RootKind = RootKind::new("lockstep/receipts", "lockstep/receipt");
const OUTBOX: RootKind = RootKind::new("lockstep/outbox", "lockstep/outbox-leaf");
const ENTRIES: RootKind = RootKind::new("lockstep/entries", "lockstep/outbox-entry");

/// Largest proof read here.
const LIMIT: usize = 1 << 20;

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![Box::new(Bundles), Box::new(Receipts), Box::new(Accounts)]
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Hasher::new("lockstep/log-node")
        .value(left)
        .value(right)
        .finish()
}

/// The top of a list of `count` in which `leaves` stand from `from` on, from the leaves up: on
/// every level the known stretch takes its left neighbour when it begins at an odd place, and its
/// right one when it ends at an odd place before the level's end.
fn top(proof: &RangeProof, leaves: &[Digest], from: u64, count: u64) -> Option<Digest> {
    let hashes = Vec::<Digest>::decode(&mut &proof.encode()[..]).ok()?;
    let to = from.checked_add(leaves.len() as u64)?;
    if leaves.is_empty() || to > count {
        return None;
    }
    let lefts = from.count_ones() as usize;
    let (left, right) = hashes.split_at_checked(lefts)?;
    let (mut left, mut right) = (left.iter().rev(), right.iter());
    let (mut begin, mut level, mut length) = (from, leaves.to_vec(), count);
    while length > 1 {
        if begin % 2 == 1 {
            level.insert(0, *left.next()?);
            begin -= 1;
        }
        let end = begin + level.len() as u64;
        if end % 2 == 1 && end < length {
            level.push(*right.next()?);
        }
        let pairs = level.chunks(2);
        level = pairs
            .map(|pair| match pair {
                [a, b] => node(a, b),
                one => one[0],
            })
            .collect();
        begin /= 2;
        length = length.div_ceil(2);
    }
    let whole = left.next().is_none() && right.next().is_none();
    whole.then(|| level[0])
}

fn bundle_root(bundle: &Bundle) -> Option<MerkleRoot> {
    let proof = &bundle.proof;
    if bundle.entries.is_empty() || bundle.entries.len() > MAX_BUNDLE_ENTRIES {
        return None;
    }
    let leaves: Vec<_> = bundle.entries.iter().map(|e| ENTRIES.leaf(e)).collect();
    let leaf = OutboxLeaf {
        destination: bundle.destination,
        count: proof.count,
        top: top(&proof.entries, &leaves, bundle.from, proof.count)?,
    };
    let destinations = u64::from(proof.destinations);
    let above = [OUTBOX.leaf(&leaf)];
    let top = top(&proof.leaf, &above, proof.position.into(), destinations)?;
    Some(OUTBOX.root(destinations, &top))
}

/// `bundle`: a root and a bundle that should lead there.
struct Bundles;

impl Target for Bundles {
    fn name(&self) -> &'static str {
        "bundle"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        (0..16).map(|_| bundle(random)).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok((root, bundle)) = codec::decode::<(MerkleRoot, Bundle)>(input, LIMIT) else {
            return false;
        };
        let taken = bundle.verify(&root).is_ok();
        assert_eq!(
            taken,
            bundle_root(&bundle) == Some(root),
            "the verifiers differ"
        );
        taken
    }
}

/// A bundle from the middle of a log, under an outbox root over several destinations.
fn bundle(random: &mut Random) -> Vec<u8> {
    let entries: Vec<OutboxEntry> = (0..1 + random.below(40)).map(|_| random.make()).collect();
    let count = entries.len() as u64;
    let from = random.below(count);
    let to = from + 1 + random.below(count - from);
    let log = ENTRIES.log_of(&entries);
    let destination = ShardId::new(7);
    let own = OutboxLeaf {
        destination,
        count,
        top: log.top(count),
    };
    let mut leaves: Vec<OutboxLeaf> = (0..random.below(5)).map(|_| random.make()).collect();
    let position = random.below(leaves.len() as u64 + 1);
    leaves.insert(position as usize, own);
    let tree = OUTBOX.log_of(&leaves);
    let destinations = tree.count();
    let prove = |log: &Log, from, to| log.prove(from, to, log.count()).expect("within the log");
    let bundle = Bundle {
        source: random.make(),
        destination,
        window: WindowNumber::new(3),
        from,
        entries: entries[from as usize..to as usize].to_vec(),
        proof: BundleProof {
            count,
            entries: prove(&log, from, to),
            position: position as u16,
            destinations: destinations as u16,
            leaf: prove(&tree, position, position + 1),
        },
    };
    (OUTBOX.root(destinations, &tree.top(destinations)), bundle).encode()
}

fn executed(before: &EffectsDigest, root: &MerkleRoot, effects: &Digest) -> EffectsDigest {
    EffectsDigest::new(hash("lockstep/executed", &(before, root, effects)))
}

fn receipt_digest(proof: &ReceiptProof) -> Option<EffectsDigest> {
    if proof.steps.len() > MAX_PROOF_STEPS {
        return None;
    }
    let leaf = [RECEIPTS.leaf(&proof.receipt)];
    let (position, count) = (u64::from(proof.position), u64::from(proof.count));
    let root = RECEIPTS.root(count, &top(&proof.path, &leaf, position, count)?);
    let mut digest = executed(&proof.previous, &root, &proof.effects);
    for step in &proof.steps {
        digest = executed(&digest, &step.receipts_root, &step.effects);
    }
    Some(digest)
}

/// `receipt`: an effects digest and a proof that a receipt is part of it.
struct Receipts;

impl Target for Receipts {
    fn name(&self) -> &'static str {
        "receipt"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let make = |random: &mut Random| {
            let receipts: Vec<Receipt> = (0..1 + random.below(20)).map(|_| random.make()).collect();
            let log = RECEIPTS.log_of(&receipts);
            let at = random.below(log.count());
            let proof = ReceiptProof {
                receipt: receipts[at as usize],
                position: at as u32,
                count: log.count() as u32,
                path: log.prove(at, at + 1, log.count()).expect("within the list"),
                ..random.make()
            };
            (receipt_digest(&proof).expect("a whole proof"), proof).encode()
        };
        (0..16).map(|_| make(random)).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok((digest, proof)) = codec::decode::<(EffectsDigest, ReceiptProof)>(input, LIMIT)
        else {
            return false;
        };
        let taken = proof.verify(&digest).is_ok();
        assert_eq!(
            taken,
            receipt_digest(&proof) == Some(digest),
            "the verifiers differ"
        );
        taken
    }
}

fn bit(id: &AccountId, number: u8) -> bool {
    let byte = id.as_bytes()[usize::from(number) / 8];
    byte & (0x80 >> (number % 8)) != 0
}

/// The root that a walk of `id` leads to, and what it shows, from the root's side: first the shape,
/// then the hashes.
fn walked(walk: &Walk, id: &AccountId) -> Option<Digest> {
    let Some((end, account)) = &walk.leaf else {
        return walk.steps.is_empty().then_some(Digest::ZERO);
    };
    let rising = walk
        .steps
        .windows(2)
        .all(|pair| pair[0].depth < pair[1].depth);
    let on_the_way = |depth: u8| depth < 160 && bit(id, depth) == bit(end, depth);
    if !rising || !walk.steps.iter().all(|step| on_the_way(step.depth)) {
        return None;
    }
    let leaf = Hasher::new("lockstep/trie-leaf")
        .value(end)
        .value(account)
        .finish();
    Some(walk.steps.iter().rfold(leaf, |below, step| {
        let mut sides = [below, step.sibling];
        if bit(id, step.depth) {
            sides.swap(0, 1);
        }
        Hasher::new("lockstep/trie-branch")
            .value(&step.depth)
            .value(&sides)
            .finish()
    }))
}

/// `account`: a state root, an account, and a proof of what it holds.
struct Accounts;

impl Target for Accounts {
    fn name(&self) -> &'static str {
        "account"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let make = |random: &mut Random| {
            let ids: Vec<AccountId> = (0..1 + random.below(40)).map(|_| random.make()).collect();
            let account = |random: &mut Random| {
                let mut account = Account::default();
                let added = account
                    .balances
                    .add(AssetId::NATIVE, random.make::<u64>().into());
                added.expect("one amount fits");
                Arc::new(account)
            };
            let trie = Trie::default().updated(ids.iter().map(|id| (*id, account(random))));
            let id = if random.one_in(3) {
                random.make()
            } else {
                *random.pick(&ids)
            };
            let proof = AccountProof {
                walk: trie.walk(&id),
                ..random.make()
            };
            let root = hash("lockstep/state", &(trie.root(), proof.supply, proof.meta));
            (MerkleRoot::new(root), id, proof).encode()
        };
        (0..16).map(|_| make(random)).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let decoded = codec::decode::<(MerkleRoot, AccountId, AccountProof)>(input, LIMIT);
        let Ok((root, id, proof)) = decoded else {
            return false;
        };
        let state = walked(&proof.walk, &id)
            .map(|walked| hash("lockstep/state", &(walked, proof.supply, proof.meta)));
        let holds = state == Some(*root.digest());
        let shown = proof.verify(&id, &root);
        assert_eq!(shown.is_ok(), holds, "the verifiers differ");
        if let Ok(shown) = shown {
            let end = proof.walk.leaf.as_ref().filter(|(end, _)| *end == id);
            assert_eq!(shown, end.map(|(_, account)| account));
        }
        holds
    }
}
