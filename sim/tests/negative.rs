//! Negative vectors for everything that can be verified: a good value is encoded, each of its bits
//! flipped in turn, and what still decodes must be refused. It must be refused by a verifier that
//! knows nothing and by one that remembers the good value, and the good value itself must be
//! refused where another committee or chain is asked.
//!
//! What may still pass, because no signature of the value itself covers it, is stated at each type;
//! everything else is a hole.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_consensus::{Certificates, Evidence, Message, Proposal, Testimony};
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::{Piece, TriePart, TriePath};
use lockstep_shard::{
    self as shard, BatchContext, CheckpointVote, Part, PartBody, PartName, VerifyContext,
};
use lockstep_sim::fuzz::{Forge, is_vouched_for};
use lockstep_types::generate::Random;
use lockstep_types::{
    Block, CommitteeId, EpochContext, Header, MemberIndex, Rejection, ShardId, Timeout, Verifiable,
    Vote, WindowNumber,
};
use parity_scale_codec::{Decode, DecodeAll, Encode};

const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

/// Says which variant a value is, and lists all that there are. One that is left out of the list does
/// not compile, so whoever adds one comes by here.
macro_rules! variants {
    ($of:ident, $all:ident, $type:ty { $($name:literal: $pattern:pat),+ $(,)? }) => {
        const $all: &[&str] = &[$($name),+];

        fn $of(value: &$type) -> &'static str {
            match value {
                $($pattern => $name),+
            }
        }
    };
}

/// Flips each bit of the good value's encoding.
fn check<T>(
    name: &str,
    good: &T,
    context: &T::Context,
    other: &T::Context,
    may_pass: impl Fn(&T) -> bool,
) where
    T: Verifiable + Encode + Decode + Clone + PartialEq + core::fmt::Debug,
{
    let forge = Forge::new();
    let knows = forge.verifier();
    assert!(knows.check(good.clone(), context).is_ok(), "{name} is good");
    assert!(
        forge.verifier().check(good.clone(), other).is_err(),
        "{name} elsewhere"
    );
    assert!(
        knows.check(good.clone(), other).is_err(),
        "{name} elsewhere, remembered"
    );
    let bytes = good.encode();
    let (mut malformed, mut refused, mut passed) = (0, 0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = T::decode_all(&mut &bent[..]) else {
            malformed += 1;
            continue;
        };
        assert_ne!(changed, *good, "{name}: bit {bit} means nothing");
        let anew = forge.verifier().check(changed.clone(), context).is_ok();
        let again = knows.check(changed.clone(), context).is_ok();
        assert_eq!(anew, again, "{name}: bit {bit} and what is remembered");
        if anew {
            assert!(
                may_pass(&changed),
                "{name}: bit {bit} passes as {changed:?}"
            );
            passed += 1;
        } else {
            refused += 1;
        }
    }
    for length in 0..bytes.len() {
        assert!(
            T::decode_all(&mut &bytes[..length]).is_err(),
            "{name}: cut at {length}"
        );
    }
    println!("{name}: {refused} refused, {malformed} malformed, {passed} may pass");
    assert!(refused > 200, "{name}: hardly anything decodes");
}

/// Nothing may change.
fn nothing<T>(_: &T) -> bool {
    false
}

/// Flips each bit and lets `sign` put its author's name under the outcome: what stands inside must
/// be refused although the author says so.
fn check_signed_anew<T>(
    name: &str,
    good: &T,
    context: &T::Context,
    sign: impl Fn(T) -> T,
    may_pass: impl Fn(&T) -> bool,
) where
    T: Verifiable + Encode + Decode + Clone + PartialEq + core::fmt::Debug,
{
    let verifier = Forge::new().verifier();
    let bytes = good.encode();
    let (mut refused, mut passed) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = T::decode_all(&mut &bent[..]) else {
            continue;
        };
        let changed = sign(changed);
        if verifier.check(changed.clone(), context).is_err() {
            refused += 1;
        } else if changed != *good {
            assert!(
                may_pass(&changed),
                "{name}: bit {bit} passes as {changed:?}"
            );
            passed += 1;
        }
    }
    println!("{name}, signed anew: {refused} refused, {passed} may pass");
    assert!(refused > 200, "{name}: hardly anything decodes");
}

struct Places {
    forge: Forge,
    random: Random,
    shard: EpochContext,
    beacon: EpochContext,
}

fn places() -> Places {
    let forge = Forge::new();
    Places {
        shard: forge.context(SHARD),
        beacon: forge.context(CommitteeId::Beacon),
        forge,
        random: Random::new(6),
    }
}

impl Places {
    /// A chain of proposals, one of which at least skips a view.
    fn chain(&mut self) -> Vec<Proposal> {
        loop {
            let payloads = [vec![1, 2, 3], Vec::new(), vec![4]];
            let chain = self.forge.chain(SHARD, &mut self.random, &payloads);
            if chain[1].entered_by.is_some() && chain[2].entered_by.is_none() {
                return chain;
            }
        }
    }
}

#[test]
fn certificates_and_statements() {
    let mut p = places();
    let chain = p.chain();
    let (early, direct) = (&chain[1], &chain[2]);
    let (here, there) = (p.shard.clone(), p.beacon.clone());
    check(
        "quorum certificate",
        &direct.justify,
        &here,
        &there,
        nothing,
    );
    let tc = early.entered_by.clone().unwrap();
    check("timeout certificate", &tc, &here, &there, nothing);
    check("proposal after a timeout", early, &here, &there, nothing);
    check("proposal", direct, &here, &there, nothing);
    let certificates = Certificates {
        high_qc: direct.justify.clone(),
        high_tc: Some(tc.clone()),
    };
    check("certificates", &certificates, &here, &there, nothing);
    let me = MemberIndex::new(2);
    let signer = p.forge.signer(SHARD, me);
    let (domain, epoch) = (here.domain, here.epoch);
    let vote = Vote::sign(
        &signer,
        &domain,
        me,
        epoch,
        direct.view(),
        direct.block.id(),
    );
    check("vote", &vote, &here, &there, nothing);
    let timeout = Timeout::sign(
        &signer,
        &domain,
        me,
        early.view(),
        early.justify.clone(),
        Some(tc),
    );
    check("timeout", &timeout, &here, &there, nothing);
    let proof = p.forge.proof(SHARD, &mut p.random, vec![7]);
    check("commit proof", &proof, &here, &there, nothing);
}

/// Its author signs all of a testimony, so that nobody else can leave anything out; and must not be
/// believed about what others have signed.
#[test]
fn testimonies() {
    let mut p = places();
    let (here, there) = (p.shard.clone(), p.beacon.clone());
    let chain = p.chain();
    let good = p.forge.testimony(SHARD, &mut p.random, &chain[1]);
    check("testimony", &good, &here, &there, nothing);
    let sign = |testimony: Testimony| {
        let members = here.committee.indices().count();
        // One that is no member signs with somebody's key.
        let author = MemberIndex::new((testimony.author.get() % members) as u8);
        let signer = p.forge.signer(SHARD, author);
        testimony.signed(&signer, &here.domain, here.epoch)
    };
    let shows_the_same = |changed: &Testimony| {
        let Testimony {
            asker,
            certificates,
            vote,
            timeout,
            ..
        } = changed;
        (asker, certificates) == (&good.asker, &good.certificates)
            && (vote, timeout) == (&good.vote, &good.timeout)
    };
    check_signed_anew("testimony", &good, &here, sign, shows_the_same);
    let less = |leave_out: &dyn Fn(&mut Testimony)| {
        let mut changed = good.clone();
        leave_out(&mut changed);
        changed
    };
    let verifier = p.forge.verifier();
    for changed in [
        less(&|changed| changed.vote = None),
        less(&|changed| changed.timeout = None),
        less(&|changed| changed.certificates.high_tc = None),
    ] {
        assert!(verifier.check(changed.clone(), &here).is_err());
        assert!(verifier.check(sign(changed), &here).is_ok());
    }
}

#[test]
fn evidence() {
    let mut p = places();
    let chain = p.chain();
    let (here, there) = (p.shard.clone(), p.beacon.clone());
    let me = MemberIndex::new(1);
    let signer = p.forge.signer(SHARD, me);
    let (domain, epoch, view) = (here.domain, here.epoch, chain[2].view());
    let vote = |block: &Block| Vote::sign(&signer, &domain, me, epoch, view, block.id());
    let votes = Evidence::Votes(Box::new([vote(&chain[1].block), vote(&chain[2].block)]));
    let first = &chain[2];
    let header = Header {
        time: first.block.header().time.next(),
        ..first.block.header().clone()
    };
    let rival = Block::new(header, Vec::new());
    let signer = p.forge.signer(SHARD, first.proposer());
    let second = Proposal::sign(&signer, &domain, rival, first.justify.clone(), None);
    let proposals = Evidence::Proposals(Box::new([first.clone(), second]));
    // The author knew of the parent's certificate, and said elsewhere that it did not.
    let signer = p.forge.signer(SHARD, me);
    let (low, high) = (&chain[1].justify, &first.justify);
    let skipped = p
        .forge
        .tc(SHARD, &mut p.random, view.previous().unwrap(), low);
    let timeout =
        |high_qc, entered_by| Timeout::sign(&signer, &domain, me, view, high_qc, entered_by);
    let timeouts = [
        timeout(high.clone(), None),
        timeout(low.clone(), Some(skipped)),
    ];
    let timeouts = Evidence::Timeouts(Box::new(timeouts));
    let all = [votes, proposals, timeouts];
    for evidence in &all {
        let name = evidence_of(evidence);
        check(name, evidence, &here, &there, nothing);
    }
    let seen: BTreeSet<_> = all.iter().map(evidence_of).collect();
    assert_eq!(seen, EVIDENCE.iter().copied().collect());
}

variants!(evidence_of, EVIDENCE, Evidence {
    "evidence of proposals": Evidence::Proposals(_),
    "evidence of votes": Evidence::Votes(_),
    "evidence of timeouts": Evidence::Timeouts(_),
});

/// The last block of an answer has no certificate yet: it is taken for the tip that was asked for,
/// by its id, or not at all. Everything before it, and its own certificate, stands fast.
#[test]
fn answers_with_blocks() {
    let mut p = places();
    let links: Vec<_> = p.chain().iter().map(Proposal::linked).collect();
    let good = links.clone();
    let only_the_tip = move |changed: &Message| {
        let Message::Blocks(changed) = changed else {
            return false;
        };
        let (last, before) = changed.split_last().unwrap();
        let (good_last, good_before) = good.split_last().unwrap();
        before == good_before
            && last.justify == good_last.justify
            && last.block.id() != good_last.block.id()
    };
    let (here, there) = (p.shard.clone(), p.beacon.clone());
    check(
        "blocks",
        &Message::Blocks(links),
        &here,
        &there,
        only_the_tip,
    );
}

#[test]
fn transactions_and_batches() {
    let mut p = places();
    let home = ShardId::new(0);
    let other = other_chain();
    let expiry = WindowNumber::new(9);
    let payment = p.forge.payment(&mut p.random, home, 3, expiry);
    let genesis = p.forge.genesis.clone();
    check(
        "transaction",
        &payment,
        &genesis.hash(),
        &other.hash(),
        nothing,
    );
    let batch = p.forge.batch(&mut p.random, home, MemberIndex::new(1));
    let here = BatchContext::new(&genesis, home);
    let there = BatchContext::new(&genesis, ShardId::new(1));
    check("batch", &batch, &here, &there, nothing);
}

fn other_chain() -> Arc<Genesis> {
    let spec = DevelopmentSpec {
        seed: 1,
        ..DevelopmentSpec::default()
    };
    Arc::new(Genesis::development(&spec).unwrap().0)
}

#[test]
fn checkpoints_and_records() {
    let mut p = places();
    let (here, there) = (p.forge.genesis.clone(), other_chain());
    let home = ShardId::new(1);
    let checkpoint = p.forge.checkpoint(&mut p.random, home);
    let me = MemberIndex::new(3);
    let signer = p.forge.signer(CommitteeId::Shard(home), me);
    let vote = CheckpointVote::sign(&here, &signer, me, checkpoint);
    check("checkpoint vote", &vote, &here, &there, nothing);
    let certified = p.forge.certified(&mut p.random, home);
    check("certified checkpoint", &certified, &here, &there, nothing);
    let record = loop {
        let record = p.forge.record(&mut p.random);
        if record
            .shards
            .iter()
            .all(|entry| entry.checkpoint().is_some())
        {
            break record;
        }
    };
    // Number, predecessor, committees and base are not signed by themselves: the beacon's voters
    // check them, and its commit proof covers them.
    let shards = record.shards.clone();
    let same_shards = move |changed: &shard::BarrierRecord| changed.shards == shards;
    check("record", &record, &here, &there, same_shards);
    let certified = p.forge.certified_record(&mut p.random);
    let elsewhere = EpochContext {
        epoch: p.beacon.epoch.next(),
        ..p.beacon.clone()
    };
    check(
        "certified record",
        &certified,
        &p.beacon,
        &elsewhere,
        nothing,
    );
}

variants!(kind_of, KINDS, shard::Message {
    "proposal": shard::Message::Consensus(Message::Proposal(_)),
    "vote": shard::Message::Consensus(Message::Vote(_)),
    "timeout": shard::Message::Consensus(Message::Timeout(_)),
    "certificates": shard::Message::Consensus(Message::Certificates(_)),
    "block request": shard::Message::Consensus(Message::BlockRequest { .. }),
    "blocks": shard::Message::Consensus(Message::Blocks(_)),
    "inquiry": shard::Message::Consensus(Message::Inquiry(_)),
    "testimony": shard::Message::Consensus(Message::Testimony(_)),
    "batch": shard::Message::Batch(_),
    "checkpoint": shard::Message::Checkpoint(_),
    "record": shard::Message::Record(_),
    "bundle": shard::Message::Bundle(_),
    "request": shard::Message::Request(_),
    "manifest": shard::Message::Manifest(Some(_)),
    "no manifest": shard::Message::Manifest(None),
    "part": shard::Message::Part(_),
});

/// Every kind of message as a replica gets it, at a member of the committee it is for and at one of
/// another. Three kinds need no turn here: what nobody vouches for, since it is bounded or proven
/// against something certified; a record, which is for everybody; and blocks, of which the tip is
/// named elsewhere. The latter two have tests of their own.
#[test]
fn messages() {
    let mut p = places();
    let genesis = p.forge.genesis.clone();
    let context = |id| VerifyContext::new(genesis.clone(), id);
    let neighbour = CommitteeId::Shard(ShardId::new(1));
    let mut kinds = BTreeSet::new();
    for (committee, other) in [(SHARD, neighbour), (CommitteeId::Beacon, SHARD)] {
        for message in p.forge.messages(committee, &mut p.random) {
            let kind = kind_of(&message);
            kinds.insert(kind);
            if !is_vouched_for(&message) || matches!(kind, "record" | "blocks") {
                continue;
            }
            // One bit may make a question or a hash of it.
            let other_kind = |changed: &shard::Message| !is_vouched_for(changed);
            let (here, there) = (context(committee), context(other));
            check(kind, &message, &here, &there, other_kind);
        }
    }
    assert_eq!(kinds, KINDS.iter().copied().collect());
}

/// A part is vouched for by nobody; who fetches a state knows its hash, and everybody else must not
/// be filled up with it.
#[test]
fn parts() {
    let forge = Forge::new();
    let context = VerifyContext::new(forge.genesis.clone(), SHARD);
    let verdict = |pieces: usize| {
        let part = Part {
            record: WindowNumber::new(1),
            name: PartName::Accounts(TriePath::ROOT),
            body: Some(PartBody::Accounts(TriePart::Branches(vec![
                Piece::Branch(0);
                pieces
            ]))),
        };
        let bytes = shard::Message::Part(Box::new(part)).encode();
        let message = shard::Message::from_bytes(&bytes)?;
        forge.verifier().check(message, &context).map(|_| ())
    };
    assert_eq!(verdict(31), Ok(()));
    let too_large = Rejection::Inconsistent("a part no larger than any can be");
    assert_eq!(verdict(32), Err(too_large));
    // These are not even read.
    let read = verdict(shard::MAX_PART_MESSAGE_BYTES / 2);
    assert!(matches!(read, Err(Rejection::TooMany { .. })), "{read:?}");
}
