//! What is signed: no two kinds of statement share a digest, whatever they are about, so that a
//! signature made for one purpose, chain, committee or view never serves another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lockstep_consensus::{Proposal, Testimony};
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::Transaction;
use lockstep_shard::{Batch, BatchContext, Checkpoint, CheckpointVote};
use lockstep_types::generate::{GOLDEN_VALUES, Random};
use lockstep_types::{
    Block, BlockId, CommitteeId, Digest, Domain, Epoch, GenesisHash, Kind, MemberIndex, PublicKey,
    ShardId, Signature, Signer, Timeout, Verified, View, Vote,
};

/// Lists all kinds of statement. One that is left out does not compile.
macro_rules! kinds {
    ($($kind:ident),+) => {
        const KINDS: &[Kind] = &[$(Kind::$kind),+];
        const _: fn(Kind) = |kind| match kind {
            $(Kind::$kind => (),)+
        };
    };
}

kinds!(
    Proposal, Vote, Timeout, Batch, Checkpoint, Handshake, Testimony
);

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

/// What a signature is for: one chain, one committee and one kind; no kind is a client's.
type Purpose = (GenesisHash, ShardId, Option<Kind>);

/// Every signing door of the product.
struct Doors {
    genesis: Arc<Genesis>,
    shard: ShardId,
    random: Random,
    recorder: Recorder,
}

impl Doors {
    /// What is signed of this kind, if anything: always about the same view and, where the type
    /// allows, the same bytes.
    fn statement(&self, kind: Kind) -> Option<Digest> {
        let Doors { genesis, shard, .. } = self;
        let recorder = &self.recorder;
        let mut random = self.random.clone();
        let domain = genesis.domain(CommitteeId::Shard(*shard));
        let (epoch, me) = (Epoch::ZERO, MemberIndex::new(0));
        let block: Block = random.make();
        let view = block.header().view;
        match kind {
            Kind::Vote => drop(Vote::sign(recorder, &domain, me, epoch, view, block.id())),
            Kind::Timeout => {
                let high_qc = random.make();
                drop(Timeout::sign(recorder, &domain, me, view, high_qc, None));
            }
            Kind::Proposal => {
                let justify = random.make();
                drop(Proposal::sign(recorder, &domain, block, justify, None));
            }
            Kind::Batch => {
                let transactions = random.list::<Transaction>();
                let checked = transactions.into_iter().map(Verified::vouch).collect();
                let context = BatchContext::new(genesis, *shard);
                let window = random.make();
                drop(Batch::pack(&context, recorder, me, window, 0, checked));
            }
            Kind::Checkpoint => {
                let checkpoint = Checkpoint {
                    shard: *shard,
                    ..random.make()
                };
                drop(CheckpointVote::sign(genesis, recorder, me, checkpoint));
            }
            Kind::Testimony => {
                let testimony: Testimony = random.make();
                drop(testimony.signed(recorder, &domain, epoch));
            }
            Kind::Handshake => return None, // a number that nothing signs under
        }
        Some(recorder.last())
    }

    /// What a client signs: for a chain, whatever the shard.
    fn transaction(&self) -> Digest {
        let mut random = self.random.clone();
        let (chain, actions) = (self.genesis.hash(), random.list());
        let _ = Transaction::sign(&chain, &self.recorder, 0, random.make(), actions);
        self.recorder.last()
    }

    fn signed(&self) -> Vec<(Purpose, Digest)> {
        let chain = self.genesis.hash();
        let kinds = KINDS.iter().filter_map(|kind| {
            let digest = self.statement(*kind)?;
            Some(((chain, self.shard, Some(*kind)), digest))
        });
        let client = (chain, ShardId::new(0), None);
        kinds.chain([(client, self.transaction())]).collect()
    }
}

#[test]
fn no_door_ever_signs_what_another_has_signed() {
    let chains = [0, 1].map(|seed| {
        let spec = DevelopmentSpec {
            seed,
            ..DevelopmentSpec::default()
        };
        Arc::new(Genesis::development(&spec).unwrap().0)
    });
    let mut random = Random::new(19);
    let mut seen: BTreeMap<Digest, Purpose> = BTreeMap::new();
    for round in 0..GOLDEN_VALUES {
        random.draw();
        for place in 0..4u16 {
            let doors = Doors {
                genesis: chains[usize::from(place / 2)].clone(),
                shard: ShardId::new(place % 2),
                random: random.clone(),
                recorder: Recorder::default(),
            };
            for (purpose, digest) in doors.signed() {
                let before = seen.insert(digest, purpose);
                assert!(
                    before.is_none_or(|before| before == purpose),
                    "{before:?} and {purpose:?}, round {round}"
                );
            }
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
            for &kind in KINDS {
                let digest = domain.statement(kind, epoch, view, &content);
                let meaning = (domain, epoch, kind, view, content);
                let before = seen.insert(digest, meaning);
                assert!(before.is_none_or(|before| before == meaning), "{meaning:?}");
            }
        }
    }
    assert!(seen.len() > GOLDEN_VALUES * KINDS.len());
}
