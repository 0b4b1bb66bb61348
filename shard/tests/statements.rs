//! What is signed: no two kinds of statement share a digest, whatever they are about, so that a
//! signature made for one purpose, chain, committee or view never serves another.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lockstep_consensus::Proposal;
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::Transaction;
use lockstep_shard::{Batch, BatchContext, Checkpoint, CheckpointVote};
use lockstep_types::generate::{GOLDEN_VALUES, Random};
use lockstep_types::{
    BlockId, CommitteeId, Digest, Domain, Epoch, Kind, MemberIndex, PublicKey, ShardId, Signature,
    Signer, Timeout, Verified, View, Vote,
};

const KINDS: [Kind; 6] = [
    Kind::Proposal,
    Kind::Vote,
    Kind::Timeout,
    Kind::Batch,
    Kind::Checkpoint,
    Kind::Handshake,
];

/// Signs nothing and remembers what it was given.
#[derive(Default)]
struct Recorder(Mutex<Vec<Digest>>);

impl Signer for Recorder {
    fn public_key(&self) -> PublicKey {
        PublicKey::new([2; 33])
    }

    fn sign(&self, digest: &Digest) -> Signature {
        self.0.lock().unwrap().push(*digest);
        Signature::new([0; 64])
    }
}

impl Recorder {
    fn last(&self) -> Digest {
        *self.0.lock().unwrap().last().unwrap()
    }
}

/// Every signing door of the product, asked to sign about the same view and, where the type
/// allows, the same bytes.
fn signed(genesis: &Arc<Genesis>, random: &mut Random) -> Vec<(&'static str, Digest)> {
    let shard = ShardId::new(0);
    let domain = genesis.domain(CommitteeId::Shard(shard));
    let (epoch, me) = (Epoch::ZERO, MemberIndex::new(0));
    let recorder = Recorder::default();
    let block: lockstep_types::Block = random.make();
    let view = block.header().view;
    let mut digests = Vec::new();
    let mut note = |name| digests.push((name, recorder.last()));
    Vote::sign(&recorder, &domain, me, epoch, view, block.id());
    note("vote");
    Timeout::sign(&recorder, &domain, me, view, random.make(), None);
    note("timeout");
    Proposal::sign(&recorder, &domain, block, random.make(), None);
    note("proposal");
    let transactions = random.list::<Transaction>();
    let checked = transactions.into_iter().map(Verified::vouch).collect();
    let context = BatchContext::new(genesis, shard);
    let _ = Batch::pack(&context, &recorder, me, random.make(), 0, checked);
    note("batch");
    let checkpoint = Checkpoint {
        shard,
        ..random.make()
    };
    CheckpointVote::sign(genesis, &recorder, me, checkpoint);
    note("checkpoint");
    let actions = random.list();
    Transaction::sign(&genesis.hash(), &recorder, 0, random.make(), actions);
    note("transaction");
    digests
}

#[test]
fn no_door_ever_signs_what_another_has_signed() {
    let (genesis, _) = Genesis::development(&DevelopmentSpec::default()).unwrap();
    let genesis = Arc::new(genesis);
    let mut random = Random::new(19);
    let mut seen: BTreeMap<Digest, &str> = BTreeMap::new();
    for _ in 0..GOLDEN_VALUES {
        for (name, digest) in signed(&genesis, &mut random) {
            let before = seen.insert(digest, name);
            assert!(
                before.is_none_or(|before| before == name),
                "{before:?} and {name}"
            );
        }
    }
}

/// The same content in every kind, and the parts of the domain moved against each other: a digest
/// stands for one (committee, epoch, kind, view, content) only.
#[test]
fn kinds_and_domains_never_share_a_preimage() {
    let mut random = Random::new(20);
    let mut seen = BTreeMap::new();
    for _ in 0..GOLDEN_VALUES {
        let genesis = random.make();
        let content: BlockId = random.make();
        // Small numbers, so that neighbouring fields often hold the same bytes.
        let (epoch, view) = (Epoch::new(random.below(3)), View::new(random.below(3)));
        for committee in [
            CommitteeId::Beacon,
            CommitteeId::Shard(ShardId::new(0)),
            CommitteeId::Shard(ShardId::new(1)),
        ] {
            let domain = Domain { genesis, committee };
            for kind in KINDS {
                let digest = domain.statement(kind, epoch, view, &content);
                let meaning = (domain, epoch, kind, view, content);
                let before = seen.insert(digest, meaning);
                assert!(before.is_none_or(|before| before == meaning), "{meaning:?}");
            }
        }
    }
    assert!(seen.len() > GOLDEN_VALUES * KINDS.len());
}
