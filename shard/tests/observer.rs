//! The observer finds what no correct member does, and nothing else.

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Observer, Subject};
use lockstep_types::{
    BlockId, CommitteeId, Domain, Epoch, GenesisHash, KeyedHashEngine, MemberIndex,
    QuorumCertificate, ShardId, Signature, Signers, Timeout, TimeoutCertificate, View, Vote, hash,
};

const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

fn block(number: u8) -> BlockId {
    BlockId::new(hash("test/block", &number))
}

fn domain() -> Domain {
    Domain {
        genesis: GenesisHash::new(hash("test", &0u8)),
        committee: SHARD,
    }
}

fn vote(author: u8, view: u64, number: u8) -> Message {
    let signer = KeyedHashEngine::new([1; 32]).signer("member");
    let (author, view) = (MemberIndex::new(author), View::new(view));
    let vote = Vote::sign(&signer, &domain(), author, Epoch::ZERO, view, block(number));
    Message::Consensus(consensus::Message::Vote(vote))
}

fn certificate(view: u64, number: u8, signers: &[u8]) -> QuorumCertificate {
    QuorumCertificate {
        epoch: Epoch::ZERO,
        view: View::new(view),
        block: block(number),
        signers: signers
            .iter()
            .copied()
            .map(MemberIndex::new)
            .collect::<Signers>(),
        signatures: vec![Signature::new([0; 64]); signers.len()],
    }
}

fn timeout(author: u8, view: u64, named: QuorumCertificate) -> Message {
    let signer = KeyedHashEngine::new([1; 32]).signer("member");
    let (author, view) = (MemberIndex::new(author), View::new(view));
    let timeout = Timeout::sign(&signer, &domain(), author, view, named, None);
    Message::Consensus(consensus::Message::Timeout(Box::new(timeout)))
}

fn observe(messages: &[Message]) -> Vec<(u8, Subject)> {
    let mut observer = Observer::default();
    for message in messages {
        observer.on_message(SHARD, message);
    }
    let found = observer.contradictions().iter();
    found
        .map(|one| (one.by.member.get() as u8, one.subject))
        .collect()
}

#[test]
fn repeats_and_different_views_are_no_contradiction() {
    let root = certificate(0, 0, &[]);
    let messages = [
        vote(1, 3, 1),
        vote(1, 3, 1),
        vote(1, 4, 2),
        vote(2, 3, 1),
        timeout(1, 3, root.clone()),
        timeout(1, 3, root),
    ];
    assert_eq!(observe(&messages), []);
}

#[test]
fn two_votes_in_a_view_are_found_in_any_order() {
    let expected = [(1, Subject::Vote(Epoch::ZERO, View::new(3)))];
    let pair = [vote(1, 3, 1), vote(1, 3, 2)];
    assert_eq!(observe(&pair), expected);
    let [first, second] = pair;
    let again = [second.clone(), first, second];
    assert_eq!(observe(&again), expected, "and once");
}

#[test]
fn a_vote_against_a_signature_in_a_certificate_is_found() {
    let certificates = consensus::Certificates {
        high_qc: certificate(3, 2, &[0, 1, 2]),
        high_tc: None,
    };
    let certificates = Message::Consensus(consensus::Message::Certificates(Box::new(certificates)));
    let found = observe(&[vote(1, 3, 1), certificates]);
    assert_eq!(found, [(1, Subject::Vote(Epoch::ZERO, View::new(3)))]);
}

#[test]
fn two_names_for_the_highest_certificate_are_found() {
    let low = certificate(2, 0, &[0, 1, 2]);
    let entered = TimeoutCertificate {
        epoch: Epoch::ZERO,
        view: View::new(5),
        signers: [1].into_iter().map(MemberIndex::new).collect(),
        high_qc_views: vec![View::new(4)],
        signatures: vec![Signature::new([0; 64])],
        high_qc: certificate(4, 0, &[0, 1, 2]),
    };
    let certificates = consensus::Certificates {
        high_qc: low.clone(),
        high_tc: Some(entered),
    };
    let certificates = Message::Consensus(consensus::Message::Certificates(Box::new(certificates)));
    let found = observe(&[timeout(1, 5, low), certificates]);
    assert_eq!(found, [(1, Subject::Timeout(Epoch::ZERO, View::new(5)))]);
}
