//! Negative vectors for everything that can be verified: a good value is encoded, each of its bits
//! flipped in turn, and what still decodes must be refused. It must be refused by a verifier that
//! knows nothing and by one that remembers the good value, and the good value itself must be
//! refused where another committee or chain is asked.
//!
//! What may still pass, because no signature of the value itself covers it, is stated at each type;
//! everything else is a hole.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use lockstep_consensus::{Certificates, Evidence, Message, Proposal};
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_shard::{self as shard, BatchContext, CheckpointVote, VerifyContext};
use lockstep_sim::fuzz::Forge;
use lockstep_types::generate::Random;
use lockstep_types::{
    Block, CommitteeId, EpochContext, Header, MemberIndex, ShardId, Timeout, Verifiable, Vote,
    WindowNumber,
};
use parity_scale_codec::{Decode, DecodeAll, Encode};

const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

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
    check("evidence of votes", &votes, &here, &there, nothing);
    let first = &chain[2];
    let header = Header {
        time: first.block.header().time.next(),
        ..first.block.header().clone()
    };
    let rival = Block::new(header, Vec::new());
    let signer = p.forge.signer(SHARD, first.proposer());
    let second = Proposal::sign(&signer, &domain, rival, first.justify.clone(), None);
    let proposals = Evidence::Proposals(Box::new([first.clone(), second]));
    check("evidence of proposals", &proposals, &here, &there, nothing);
}

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

/// Every kind of message as a replica gets it. Requests and bundles carry no signature: requests are
/// bounded, and a bundle is proven against a certified root when that is known.
#[test]
fn messages() {
    let mut p = places();
    let genesis = p.forge.genesis.clone();
    let contexts = [SHARD, CommitteeId::Beacon].map(|id| VerifyContext::new(genesis.clone(), id));
    let unsigned = |message: &shard::Message| {
        use shard::Message as M;
        matches!(
            message,
            M::Request(_)
                | M::Bundle(_)
                | M::Consensus(Message::BlockRequest { .. } | Message::Blocks(_))
        )
    };
    let mut kinds = std::collections::BTreeSet::new();
    for (at, committee) in [SHARD, CommitteeId::Beacon].into_iter().enumerate() {
        for message in p.forge.messages(committee, &mut p.random) {
            kinds.insert(message.kind());
            // A record is for everybody; the rest is for one committee.
            if unsigned(&message) || message.kind() == "record" {
                continue;
            }
            check(
                message.kind(),
                &message,
                &contexts[at],
                &contexts[1 - at],
                |changed| unsigned(changed) && !unsigned(&message),
            );
        }
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}
