//! One test per rule of `BARRIER.md` that is not a matter of window arithmetic; those stand beside
//! `window.rs`. Names carry the rule's number.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::{Application, Check, Turn};
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::{Bundle, Flow, FlowAmount, OutboxEntry, Seal};
use lockstep_shard::{
    BarrierRecord, Batch, BatchContext, BatchRef, BeaconChain, BeaconPlace, BundleRef,
    CertifiedCheckpoint, CertifiedRecord, Checkpoint, CheckpointTally, CheckpointVote, MAX_BODIES,
    MAX_WINDOWS_AHEAD, MAX_WINDOWS_GATHERED, Message, NotKept, Payload, Place, RecordRef,
    ShardChain, ShardEntry, VerifyContext, epoch_context, root_block,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    AssetId, BatchDigest, Block, CommitProof, CommitteeId, Digest, EffectsDigest, Epoch, Executed,
    Header, Height, KeyedHashEngine, MemberIndex, MerkleRoot, QuorumCertificate, RecordHash,
    Rejection, ShardId, Time, Verifier, View, Vote, WindowNumber, hash,
};

const START: Time = Time::from_millis(10_000);
const W: Duration = Duration::from_millis(1_000);
const PATIENCE: Duration = Duration::from_millis(4_000);

fn genesis() -> Arc<Genesis> {
    let shape = DevelopmentSpec {
        depth: 0,
        interval: W,
        patience: PATIENCE,
        time: START,
        ..DevelopmentSpec::default()
    };
    Arc::new(Genesis::development(&shape).unwrap().0)
}

fn at(millis: u64) -> Time {
    START.after(Duration::from_millis(millis))
}

fn child(parent: &Block, time: Time, payload: Vec<u8>) -> Block {
    let above = parent.header();
    let header = Header {
        epoch: Epoch::ZERO,
        view: above.view.next(),
        height: above.height.next(),
        parent: parent.id(),
        parent_view: above.view,
        time,
        proposer: MemberIndex::new(0),
        executed: Executed::default(),
        payload: Digest::ZERO,
    };
    Block::new(header, payload)
}

fn shard_chain(genesis: &Genesis) -> (ShardChain, Block) {
    shard_chain_at(genesis, ShardChain::first_place(genesis))
}

/// A chain that starts at `place`.
fn shard_chain_at(genesis: &Genesis, place: Place) -> (ShardChain, Block) {
    let root = root_block(genesis, CommitteeId::Shard(ShardId::new(0)));
    let (shard, me) = (ShardId::new(0), MemberIndex::new(0));
    let digests = BTreeMap::from([(Height::ZERO, EffectsDigest::ZERO)]);
    (
        ShardChain::new(genesis, shard, me, &root, place, digests),
        root,
    )
}

fn batch() -> BatchRef {
    BatchRef {
        digest: BatchDigest::new(hash("test", &1u8)),
        transactions: 1,
    }
}

#[test]
fn b4_no_payload_between_a_seal_and_its_record() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let listing = Payload {
        batches: vec![batch()],
        ..Payload::default()
    }
    .to_bytes();
    let open = child(&root, at(500), listing.clone());
    assert_eq!(
        chain.check(at(500), &open),
        Check::Hold,
        "open: only the body is missing"
    );
    let seal = child(&root, at(1_000), Vec::new());
    chain.on_block(&seal);
    assert_eq!(
        chain.place(&seal.id()).unwrap().seal,
        Some(WindowNumber::new(1))
    );
    let late = child(&seal, at(1_100), listing);
    assert!(matches!(chain.check(at(1_100), &late), Check::Refuse(_)));
    assert_eq!(
        chain.check(at(1_100), &child(&seal, at(1_100), Vec::new())),
        Check::Accept
    );
    assert!(
        !chain.has_work(at(9_000), &seal),
        "waiting for the record is not work"
    );
}

#[test]
fn a_due_seal_is_work_and_nothing_else_is_in_an_idle_shard() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let turn = Turn {
        view: View::new(1),
        parent: &root,
        commits: Height::ZERO,
        may_fill: true,
        commit_needed: false,
    };
    assert!(!chain.has_work(at(999), &root));
    assert_eq!(chain.propose(at(999), &turn), None);
    assert_eq!(chain.due_at(&root.id()), Some(at(1_000)));
    assert!(chain.has_work(at(1_000), &root));
    let content = chain.propose(at(1_000), &turn).unwrap();
    assert_eq!((content.time, content.payload), (at(1_000), Vec::new()));
}

#[test]
fn where_no_payload_may_stand_a_seal_still_falls_due_and_a_record_waits() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let turn = Turn {
        view: View::new(1),
        parent: &root,
        commits: Height::ZERO,
        may_fill: false,
        commit_needed: true,
    };
    let content = chain.propose(at(1_000), &turn).unwrap();
    assert!(content.payload.is_empty());
    let seal = child(&root, content.time, content.payload);
    chain.on_block(&seal);
    assert!(chain.place(&seal.id()).unwrap().seal.is_some());

    let mut beacon = Beacon::new();
    beacon.hear(at(1_500), &checkpoint(0, 1, Vec::new()));
    beacon.hear(at(1_500), &checkpoint(1, 1, Vec::new()));
    assert!(beacon.chain.has_work(at(1_600), &beacon.root));
    let root = beacon.root.clone();
    let turn = Turn {
        parent: &root,
        ..turn
    };
    let content = beacon.chain.propose(at(1_600), &turn).unwrap();
    assert!(content.payload.is_empty());
    let turn = Turn {
        may_fill: true,
        ..turn
    };
    let content = beacon.chain.propose(at(1_600), &turn).unwrap();
    assert!(!content.payload.is_empty());
}

#[test]
fn a_block_lists_a_batch_once() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let twice = Payload {
        batches: vec![batch(), batch()],
        ..Payload::default()
    };
    let block = child(&root, at(10), twice.to_bytes());
    assert_eq!(
        chain.check(at(10), &block),
        Check::Refuse("lists a batch twice")
    );
}

#[test]
fn what_only_dead_blocks_list_is_not_wanted() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let listing = Payload {
        batches: vec![batch()],
        bundles: vec![BundleRef {
            source: ShardId::new(1),
            from: 0,
            to: 1,
            digest: hash("test", &2u8),
        }],
        ..Payload::default()
    };
    let invented = child(&root, at(10), listing.to_bytes());
    chain.on_block(&invented);
    assert_eq!(chain.check(at(10), &invented), Check::Hold);
    let missing = (chain.wanted.batches.len(), chain.wanted.bundles.len());
    assert_eq!(missing, (1, 1));
    let rival = child(&root, at(11), Vec::new());
    chain.on_block(&rival);
    chain.on_commit(&rival);
    assert!(chain.wanted.is_empty(), "{:?}", chain.wanted);
}

#[test]
fn b10_records_are_named_in_order_and_held() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let naming = |number| {
        let record = RecordRef {
            number: WindowNumber::new(number),
            hash: RecordHash::ZERO,
        };
        Payload {
            record: Some(record),
            ..Payload::default()
        }
        .to_bytes()
    };
    let block = child(&root, at(10), naming(2));
    assert_eq!(
        chain.check(at(10), &block),
        Check::Refuse("names a record out of order")
    );
    let block = child(&root, at(10), naming(1));
    assert_eq!(chain.check(at(10), &block), Check::Hold);
    assert_eq!(
        chain.wanted.record,
        Some(WindowNumber::new(1)),
        "it is asked for"
    );
}

#[test]
fn b16_bundles_continue_the_watermark() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let listing = |from, to| {
        let (source, digest) = (ShardId::new(1), hash("test", &from));
        let bundles = vec![BundleRef {
            source,
            from,
            to,
            digest,
        }];
        child(
            &root,
            at(10),
            Payload {
                bundles,
                ..Payload::default()
            }
            .to_bytes(),
        )
    };
    let answer = Check::Refuse("lists a bundle that does not continue the watermark");
    assert_eq!(chain.check(at(10), &listing(5, 6)), answer, "a gap");
    assert_eq!(chain.check(at(10), &listing(0, 0)), answer, "nothing");
    assert_eq!(
        chain.check(at(10), &listing(0, 3)),
        Check::Hold,
        "only the body is missing"
    );
}

#[test]
fn b16_a_bundle_holds_no_more_than_genesis_allows() {
    let genesis = genesis();
    let limit = genesis.limits.bundle_entries;
    let (mut chain, root) = shard_chain(&genesis);
    let mut check = |to: u64| {
        let listing = Payload {
            bundles: vec![BundleRef {
                source: ShardId::new(1),
                from: 0,
                to,
                digest: hash("test", &2u8),
            }],
            ..Payload::default()
        };
        chain.check(at(10), &child(&root, at(10), listing.to_bytes()))
    };
    assert_eq!(check(limit.into()), Check::Hold, "only the body is missing");
    assert_eq!(
        check(u64::from(limit) + 1),
        Check::Refuse("lists a bundle with too many entries")
    );
    let shard = CommitteeId::Shard(ShardId::new(0));
    let context = VerifyContext::new(genesis.clone(), shard);
    let verifier = Verifier::new(Arc::new(KeyedHashEngine::new([0; 32])));
    let receive = |entries: usize| {
        let mut bundle: Bundle = Random::new(1).make();
        bundle.destination = ShardId::new(0);
        let entry: OutboxEntry = Random::new(1).make();
        bundle.entries = vec![entry; entries];
        verifier.check(Message::Bundle(Arc::new(bundle)), &context)
    };
    let limit = limit as usize;
    assert!(receive(limit).is_ok());
    let refused = receive(limit + 1).unwrap_err();
    let (what, got) = ("entries in a bundle", limit + 1);
    assert_eq!(refused, Rejection::TooMany { what, got, limit });
}

fn seal(window: u64, flows: Vec<Flow>) -> Seal {
    Seal {
        window: WindowNumber::new(window),
        height: Height::new(7),
        digest: EffectsDigest::ZERO,
        state_root: MerkleRoot::ZERO,
        outbox_root: MerkleRoot::ZERO,
        inbox_root: MerkleRoot::ZERO,
        supply: Vec::new(),
        flows,
    }
}

fn checkpoint(shard: u16, window: u64, flows: Vec<Flow>) -> Checkpoint {
    Checkpoint {
        shard: ShardId::new(shard),
        epoch: Epoch::ZERO,
        block: root_block(&genesis(), CommitteeId::Beacon).id(),
        record: WindowNumber::ZERO,
        seal: seal(window, flows),
        rest: Digest::ZERO,
    }
}

struct Beacon {
    genesis: Arc<Genesis>,
    engine: KeyedHashEngine,
    chain: BeaconChain,
    root: Block,
}

impl Beacon {
    fn new() -> Self {
        let genesis = genesis();
        let root = root_block(&genesis, CommitteeId::Beacon);
        let place = BeaconPlace::first(&genesis);
        let chain = BeaconChain::new(genesis.clone(), &root, place, &[]);
        Beacon {
            engine: KeyedHashEngine::new([3; 32]),
            genesis,
            chain,
            root,
        }
    }

    fn vote(&self, member: u8, checkpoint: Checkpoint) -> CheckpointVote {
        let member = MemberIndex::new(member);
        let committee = self.genesis.committee(CommitteeId::Shard(checkpoint.shard));
        let signer = self.engine.signer_for(*committee.key(member).unwrap());
        CheckpointVote::sign(&self.genesis, &signer, member, checkpoint)
    }

    fn hear(&mut self, now: Time, checkpoint: &Checkpoint) -> Option<Arc<CertifiedCheckpoint>> {
        let place = BeaconPlace::first(&self.genesis);
        let votes: Vec<_> = (0..3)
            .map(|member| self.vote(member, checkpoint.clone()))
            .collect();
        votes
            .into_iter()
            .filter_map(|v| self.chain.on_checkpoint(now, v, &place))
            .last()
    }

    fn propose(&mut self, now: Time) -> Option<Block> {
        let root = self.root.clone();
        let turn = Turn {
            view: View::new(1),
            parent: &root,
            commits: Height::ZERO,
            may_fill: true,
            commit_needed: false,
        };
        let content = self.chain.propose(now, &turn)?;
        Some(child(&root, content.time, content.payload))
    }
}

#[test]
fn b9_a_member_counts_once_and_a_quorum_certifies() {
    let beacon = Beacon::new();
    let mut tally = CheckpointTally::default();
    let one = checkpoint(0, 1, Vec::new());
    let other = Checkpoint {
        record: WindowNumber::new(9),
        ..one.clone()
    };
    assert_eq!(tally.add(at(0), beacon.vote(0, one.clone()), 3), None);
    assert_eq!(
        tally.add(at(0), beacon.vote(0, one.clone()), 3),
        None,
        "again"
    );
    assert_eq!(
        tally.add(at(0), beacon.vote(0, other.clone()), 3),
        None,
        "another one"
    );
    assert!(tally.contradicts(&beacon.vote(0, other.clone())), "its own");
    assert!(!tally.contradicts(&beacon.vote(0, one.clone())), "a repeat");
    assert!(!tally.contradicts(&beacon.vote(2, other.clone())));
    assert_eq!(tally.add(at(0), beacon.vote(1, other.clone()), 3), None);
    assert_eq!(
        tally.add(at(0), beacon.vote(2, one.clone()), 3),
        None,
        "two of one kind"
    );
    let certified = tally.add(at(5), beacon.vote(3, one.clone()), 3).unwrap();
    assert_eq!(certified.checkpoint, one);
    assert_eq!(certified.signers.count(), 3);
    assert_eq!(tally.certified_at(WindowNumber::new(1)), Some(at(5)));
    assert!(tally.contradicts(&beacon.vote(1, other)), "the quorum's");
    assert!(!tally.contradicts(&beacon.vote(1, one)));
}

#[test]
fn b11_a_record_follows_from_the_chain() {
    let mut beacon = Beacon::new();
    for shard in 0..2 {
        assert!(
            beacon
                .hear(at(1_050), &checkpoint(shard, 1, Vec::new()))
                .is_some()
        );
    }
    let block = beacon.propose(at(1_100)).unwrap();
    assert_eq!(beacon.chain.check(at(1_100), &block), Check::Accept);
    let record = BeaconChain::record_in(&block).unwrap();
    let answer = Check::Refuse("carries a record that does not follow from the chain");
    let wrong = [
        BarrierRecord {
            number: WindowNumber::new(2),
            ..record.clone()
        },
        BarrierRecord {
            previous: RecordHash::ZERO,
            ..record.clone()
        },
        BarrierRecord {
            committees: Digest::ZERO,
            ..record.clone()
        },
        BarrierRecord {
            base: START,
            ..record.clone()
        },
    ];
    for record in wrong {
        let block = child(&beacon.root, block.header().time, record.encode_bytes());
        assert_eq!(beacon.chain.check(at(1_100), &block), answer);
    }
    let none = BarrierRecord {
        shards: vec![ShardEntry::Absent; 2],
        ..record
    };
    let block = child(&beacon.root, block.header().time, none.encode_bytes());
    let answer = Check::Refuse("carries a record without any checkpoint");
    assert_eq!(beacon.chain.check(at(1_100), &block), answer);
}

trait Encoded {
    fn encode_bytes(&self) -> Vec<u8>;
}

impl Encoded for BarrierRecord {
    fn encode_bytes(&self) -> Vec<u8> {
        parity_scale_codec::Encode::encode(self)
    }
}

#[test]
fn b12_a_late_shard_is_waited_for_as_long_as_patience_lasts() {
    let mut beacon = Beacon::new();
    assert!(
        beacon
            .hear(at(1_050), &checkpoint(0, 1, Vec::new()))
            .is_some()
    );
    assert_eq!(beacon.propose(at(1_100)), None, "shard 1 may still come");
    // Patience runs from the first signature heard, which came after the window's scheduled end.
    let end = at(1_050).after(PATIENCE);
    assert_eq!(beacon.chain.due_at(at(1_100), &beacon.root.id()), Some(end));
    let block = beacon.propose(end).unwrap();
    assert_eq!(
        BeaconChain::record_in(&block).unwrap().shards[1],
        ShardEntry::Absent
    );

    let mut voter = Beacon::new();
    assert!(
        voter
            .hear(at(1_300), &checkpoint(0, 1, Vec::new()))
            .is_some()
    );
    assert_eq!(
        voter.chain.check(end, &block),
        Check::Hold,
        "its own patience lasts longer"
    );
    assert_eq!(
        voter.chain.check(at(1_300).after(PATIENCE), &block),
        Check::Accept
    );
    assert!(
        voter
            .hear(at(1_400), &checkpoint(1, 1, Vec::new()))
            .is_some()
    );
    let answer = Check::Refuse("leaves out a checkpoint that came in time");
    assert_eq!(voter.chain.check(at(1_300).after(PATIENCE), &block), answer);
}

#[test]
fn b13_a_lone_certificate_proves_no_record() {
    let mut beacon = Beacon::new();
    for shard in 0..2 {
        beacon.hear(at(1_050), &checkpoint(shard, 1, Vec::new()));
    }
    let block = beacon.propose(at(1_100)).unwrap();
    let next = child(&block, at(1_200), Vec::new());
    let context = epoch_context(&beacon.genesis, CommitteeId::Beacon);
    let certificate = |of: &Block| {
        let (view, id) = (of.header().view, of.id());
        let votes = (0..3).map(|member| {
            let member = MemberIndex::new(member);
            let signer = beacon
                .engine
                .signer_for(*context.committee.key(member).unwrap());
            Vote::sign(&signer, &context.domain, member, Epoch::ZERO, view, id)
        });
        let votes: Vec<Vote> = votes.collect();
        QuorumCertificate {
            epoch: Epoch::ZERO,
            view,
            block: id,
            signers: votes.iter().map(|vote| vote.author).collect(),
            signatures: votes.iter().map(|vote| vote.signature).collect(),
        }
    };
    let proof = CommitProof {
        headers: vec![block.header().clone()].into(),
        qc: certificate(&block),
        child: next.header().clone(),
        child_qc: certificate(&next),
    };
    let record = BeaconChain::record_in(&block).unwrap();
    let verifier = Verifier::new(Arc::new(beacon.engine.clone()));
    let good = CertifiedRecord {
        record: record.clone(),
        proof: proof.clone(),
    };
    assert!(verifier.check(good.clone(), &context).is_ok());

    let lone = CommitProof {
        child_qc: certificate(&block),
        ..proof.clone()
    };
    let lone = CertifiedRecord {
        proof: lone,
        ..good.clone()
    };
    assert!(matches!(
        verifier.check(lone, &context),
        Err(Rejection::Inconsistent(_))
    ));
    let other = BarrierRecord {
        base: START,
        ..record
    };
    let other = CertifiedRecord {
        record: other,
        proof,
    };
    assert!(matches!(
        verifier.check(other, &context),
        Err(Rejection::Inconsistent(_))
    ));
}

#[test]
fn b14_nobody_receives_what_was_not_sent() {
    let flow = |peer, (sent_count, sent), (received_count, received)| Flow {
        peer: ShardId::new(peer),
        sent_count,
        received_count,
        amounts: vec![FlowAmount {
            asset: AssetId::NATIVE,
            sent,
            received,
        }],
    };
    // More entries, and as many that were worth more.
    for (count, amount, fits) in [(4, 40, true), (5, 40, false), (4, 41, false)] {
        let mut beacon = Beacon::new();
        let sender = checkpoint(0, 1, vec![flow(1, (4, 40), (0, 0))]);
        let receiver = checkpoint(1, 1, vec![flow(0, (0, 0), (count, amount))]);
        beacon.hear(at(1_050), &sender);
        beacon.hear(at(1_050), &receiver);
        let block = beacon.propose(at(1_100)).unwrap();
        let answer = match fits {
            true => Check::Accept,
            false => Check::Refuse("carries a checkpoint that received more than was sent"),
        };
        assert_eq!(
            beacon.chain.check(at(1_100), &block),
            answer,
            "{count}, {amount}"
        );
    }
}

/// A batch of a hostile author: correctly signed, and otherwise what the test wants.
fn hostile_batch(genesis: &Arc<Genesis>, window: WindowNumber, sequence: u64) -> Arc<Batch> {
    let engine = KeyedHashEngine::new([3; 32]);
    let (shard, author) = (ShardId::new(0), MemberIndex::new(2));
    let key = *genesis
        .committee(CommitteeId::Shard(shard))
        .key(author)
        .unwrap();
    let context = BatchContext::new(genesis, shard);
    let signer = engine.signer_for(key);
    Arc::new(Batch::pack(&context, &signer, author, window, sequence, Vec::new()).into_inner())
}

#[test]
fn a_batch_of_the_last_window_there_is_stops_nobody() {
    let genesis = genesis();
    let (mut chain, root) = shard_chain(&genesis);
    let end_of_time = hostile_batch(&genesis, WindowNumber::new(u64::MAX), 1);
    assert!(matches!(
        chain.batches.insert(end_of_time.clone(), true),
        Err(NotKept::TooFarAhead { .. })
    ));
    let ahead = hostile_batch(&genesis, WindowNumber::new(MAX_WINDOWS_AHEAD), 2);
    assert_eq!(chain.batches.insert(ahead.clone(), false), Ok(()));
    assert!(!chain.has_work(at(10), &root), "it cannot be listed now");
    let listed = BatchRef {
        digest: ahead.digest(),
        transactions: 0,
    };
    let payload = Payload {
        batches: vec![listed],
        ..Payload::default()
    };
    let block = child(&root, at(10), payload.to_bytes());
    assert_eq!(
        chain.check(at(10), &block),
        Check::Refuse("lists a batch of another window")
    );
}

#[test]
fn a_chain_that_starts_in_a_late_window_keeps_its_batches() {
    let genesis = genesis();
    let mut place = ShardChain::first_place(&genesis);
    let late = WindowNumber::new(2 * MAX_WINDOWS_AHEAD);
    place.window.number = late;
    let (mut chain, root) = shard_chain_at(&genesis, place);
    let batch = hostile_batch(&genesis, late, 1);
    assert_eq!(chain.batches.insert(batch, true), Ok(()));
    assert!(chain.has_work(at(10), &root));
}

#[test]
fn an_executed_batch_that_comes_again_is_not_kept() {
    let genesis = genesis();
    let (mut chain, _) = shard_chain(&genesis);
    let window = WindowNumber::new(1);
    let batch = hostile_batch(&genesis, window, 1);
    assert_eq!(chain.batches.insert(batch.clone(), false), Ok(()));
    chain.batches.on_listed(window, batch.digest());
    chain.batches.on_executing(&batch.digest());
    assert_eq!(
        chain.batches.insert(batch.clone(), false),
        Err(NotKept::Known)
    );
    assert_eq!(chain.batches.insert(batch, true), Err(NotKept::Known));
}

#[test]
fn a_full_pool_has_no_room_for_anybody() {
    let genesis = genesis();
    let (mut chain, _) = shard_chain(&genesis);
    let window = WindowNumber::new(1);
    let other = MemberIndex::new(0);
    for sequence in 0..MAX_BODIES as u64 {
        assert!(chain.batches.has_room(other), "{sequence}");
        // Blocks ask for them; unasked, one author gets nowhere near.
        let batch = hostile_batch(&genesis, window, sequence);
        assert_eq!(chain.batches.insert(batch, true), Ok(()));
    }
    assert!(!chain.batches.has_room(other));
    let one_more = hostile_batch(&genesis, window, MAX_BODIES as u64);
    assert_eq!(chain.batches.insert(one_more, false), Err(NotKept::TooMany));
}

#[test]
fn old_windows_of_a_liar_do_not_hide_the_present_one() {
    let mut beacon = Beacon::new();
    let place = BeaconPlace {
        number: WindowNumber::new(1_000),
        ..BeaconPlace::first(&beacon.genesis)
    };
    for window in 6..6 + 2 * MAX_WINDOWS_GATHERED as u64 {
        let vote = beacon.vote(3, checkpoint(0, window, Vec::new()));
        beacon.chain.on_checkpoint(at(0), vote, &place);
    }
    let far = beacon.vote(3, checkpoint(0, 2_000, Vec::new()));
    beacon.chain.on_checkpoint(at(0), far, &place);
    let present = checkpoint(0, 1_001, Vec::new());
    let votes: Vec<_> = (0..3)
        .map(|member| beacon.vote(member, present.clone()))
        .collect();
    let certified = votes
        .into_iter()
        .filter_map(|v| beacon.chain.on_checkpoint(at(9), v, &place));
    assert_eq!(certified.last().unwrap().checkpoint, present);
}
