//! A member as its thread meets it.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_genesis::Genesis;
use lockstep_ledger::{Action, Refusal, Transaction, TriePath};
use lockstep_shard::{
    BatchRef, BundleRef, Destination, Input, MAX_TRANSACTIONS, MAX_WAITING_PER_AUTHOR, Member,
    Mempool, Message, PACK_DELAY, PartName, Payload, Peer, Ready, Request, root_block,
};
use lockstep_types::{
    AccountId, AssetId, BatchDigest, Block, CommitteeId, Header, MemberIndex, QuorumCertificate,
    SecretKey, ShardId, Verified, View, WindowNumber, hash,
};

use crate::common::{Host, START};

fn member() -> (Member, Arc<Genesis>) {
    let host = Host::new();
    (host.member, host.setup.genesis)
}

fn transfer(genesis: &Genesis, nonce: u64) -> Verified<Transaction> {
    let sender = SecretKey::insecure_from_seed(1, "sender");
    let action = Action::Transfer {
        to: AccountId::new([9; 20]),
        asset: AssetId::NATIVE,
        amount: 5,
    };
    let expiry = WindowNumber::new(8);
    let signed = Transaction::sign(&genesis.hash(), &sender, nonce, expiry, vec![action]);
    Verified::vouch(signed)
}

fn batches(ready: &Ready) -> usize {
    let sent = ready.prompt.iter();
    sent.filter(|outbound| matches!(outbound.message, Message::Batch(_)))
        .count()
}

#[test]
fn a_clock_that_is_set_back_keeps_no_transaction_waiting() {
    let (mut member, genesis) = member();
    let ahead = START.after(Duration::from_secs(3_600));
    let transaction = transfer(&genesis, 0);
    let ready = member.step(ahead, Input::Submitted { transaction });
    assert_eq!(batches(&ready), 0, "it waits for company");
    let _looked = member.step(START, Input::Tick);
    let ready = member.step(START.after(PACK_DELAY), Input::Tick);
    assert_eq!(batches(&ready), 1);
}

#[test]
fn who_hands_in_a_transaction_hears_that_there_was_no_room() {
    let (mut member, genesis) = member();
    let expiry = WindowNumber::new(8);
    let signed = Transaction::sign(
        &genesis.hash(),
        &SecretKey::insecure_from_seed(1, "sender"),
        0,
        expiry,
        vec![],
    );
    // Nobody looks at the signature here, so that many are made in no time.
    let hand_in = |member: &mut Member, nonce: usize| {
        let mut transaction = signed.clone();
        transaction.nonce = nonce as u64;
        let id = transaction.id(&genesis.hash());
        let transaction = Verified::vouch(transaction);
        let ready = member.step(START, Input::Submitted { transaction });
        (id, ready.turned_away)
    };
    for nonce in 0..MAX_TRANSACTIONS {
        assert_eq!(hand_in(&mut member, nonce).1, []);
    }
    assert_eq!(hand_in(&mut member, 0).1, [], "a repeat takes no room");
    let (id, turned_away) = hand_in(&mut member, MAX_TRANSACTIONS);
    assert_eq!(turned_away, [id]);
}

#[test]
fn what_only_our_shard_can_use_is_not_served_to_others() {
    let (mut member, _) = member();
    let mut asks = |shard: u16, request: &Request| {
        let committee = CommitteeId::Shard(ShardId::new(shard));
        let from = Peer {
            committee,
            member: MemberIndex::new(1),
        };
        let message = Verified::vouch(Message::Request(request.clone()));
        let ready = member.step(START, Input::Received { from, message });
        (ready.serve.len(), ready.refused.len())
    };
    let digest = hash("test/digest", &0u8);
    let batches = Request::Batches(vec![BatchDigest::new(digest)]);
    let bundle = Request::Bundle(digest);
    let part = Request::Part {
        record: WindowNumber::new(1),
        name: PartName::Accounts(TriePath::ROOT),
    };
    for request in [batches, bundle, Request::Manifest, part] {
        assert_eq!(asks(0, &request), (1, 0));
        assert_eq!(asks(1, &request), (0, 1), "{request:?}");
    }
    let entries = |shard: u16| Request::Entries {
        destination: ShardId::new(shard),
        from: 0,
    };
    assert_eq!(asks(1, &entries(1)), (1, 0));
    assert_eq!(asks(1, &entries(0)), (0, 1));
    assert_eq!(asks(1, &Request::Record(WindowNumber::new(1))), (1, 0));
}

#[test]
fn a_member_without_room_for_a_batch_does_not_wake_for_one() {
    let (mut member, genesis) = member();
    let (mut now, mut sent) = (START, 0);
    // Nobody else is there, so no block lists any of the batches.
    for nonce in 0..MAX_WAITING_PER_AUTHOR as u64 + 1 {
        let transaction = transfer(&genesis, nonce);
        let submitted = member.step(now, Input::Submitted { transaction });
        now = now.after(PACK_DELAY);
        let ready = member.step(now, Input::Tick);
        sent += batches(&submitted) + batches(&ready);
        let woken = ready.wake_at.expect("a view ends some day");
        assert!(woken > now, "batch {nonce}: it would wake again at once");
    }
    assert_eq!(sent, MAX_WAITING_PER_AUTHOR);
}

#[test]
fn what_came_too_early_is_kept_for_a_minute_whoever_repeats_it() {
    let (_, genesis) = member();
    let transaction = transfer(&genesis, 1);
    let early = Refusal::NonceAhead {
        expected: 0,
        got: 1,
    };
    let after = |seconds| START.after(Duration::from_secs(seconds));
    let mut mempool = Mempool::new(genesis.hash());
    let id = mempool.submit(START, transaction.clone()).unwrap();
    mempool.on_skipped(after(59), &[(id, early)]);
    assert_eq!(mempool.pending(), 1);
    mempool.submit(after(59), transaction).unwrap();
    mempool.on_skipped(after(60), &[(id, early)]);
    assert_eq!(mempool.pending(), 0);
}

/// The proposal of view 1's leader, member 1, with bodies that nobody else has.
fn proposal_of_what_is_not_here(genesis: &Genesis) -> Proposal {
    let shard = CommitteeId::Shard(ShardId::new(0));
    let root = root_block(genesis, shard);
    let payload = Payload {
        bundles: vec![BundleRef {
            source: ShardId::new(1),
            from: 0,
            to: 1,
            digest: hash("test/bundle", &0u8),
        }],
        batches: vec![BatchRef {
            digest: BatchDigest::new(hash("test/batch", &0u8)),
            transactions: 1,
        }],
        ..Payload::default()
    };
    let header = Header {
        view: View::new(1),
        height: root.header().height.next(),
        parent: root.id(),
        time: START.after(Duration::from_millis(1)),
        proposer: MemberIndex::new(1),
        ..root.header().clone()
    };
    let block = Block::new(header, payload.to_bytes());
    let justify = QuorumCertificate::root(root.header().epoch, root.id());
    let signer = SecretKey::insecure_from_seed(1, "member 1"); // nobody looks at the signature here
    Proposal::sign(&signer, &genesis.domain(shard), block, justify, None)
}

#[test]
fn what_a_block_lists_is_asked_of_its_proposer_first() {
    let (mut member, genesis) = member();
    let committee = CommitteeId::Shard(ShardId::new(0));
    let from = Peer {
        committee,
        member: MemberIndex::new(1),
    };
    let proposal = Box::new(proposal_of_what_is_not_here(&genesis));
    let message = Message::Consensus(consensus::Message::Proposal(proposal));
    let message = Verified::vouch(message);
    let mut now = START.after(Duration::from_millis(1));
    let mut ready = member.step(now, Input::Received { from, message });
    let mut batches = Vec::new();
    let mut bundles = Vec::new();
    while batches.len() < 4 {
        for outbound in &ready.prompt {
            let Destination::Member(to) = outbound.to else {
                continue;
            };
            match outbound.message {
                Message::Request(Request::Batches(_)) => batches.push(to.member.get()),
                Message::Request(Request::Bundle(_)) => bundles.push(to.member.get()),
                _ => {}
            }
        }
        now = now.after(Duration::from_millis(5));
        assert!(now < START.after(Duration::from_secs(3)), "{batches:?}");
        ready = member.step(now, Input::Tick);
    }
    assert_eq!((batches[0], bundles[0]), (1, 1), "the proposer has it");
    let asked = |members: &[usize]| members.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(asked(&batches), BTreeSet::from([0, 1, 2]), "then others");
    assert_eq!(
        asked(&bundles[..3]),
        BTreeSet::from([0, 1, 2]),
        "then others"
    );
}
