//! A shard's member without its state: which one it chooses, and when it gives that up.

use core::time::Duration;

use crate::common::{Host, SHARD, asks_for_a_state, state};
use lockstep_shard::{Input, Message, Part, PartName, Peer, Ready, Request};
use lockstep_types::{Height, MemberIndex, WindowNumber};

/// A part of the state that is asked for, and whom.
type Question = (u8, WindowNumber, PartName);

fn questions(ready: &Ready) -> Vec<Question> {
    let mut questions = Vec::new();
    for outbound in &ready.prompt {
        if let Message::Request(Request::Part { record, name }) = &outbound.message {
            let lockstep_shard::Destination::Member(peer) = outbound.to else {
                panic!("parts are asked of one");
            };
            let member = u8::try_from(peer.member.get()).unwrap();
            questions.push((member, *record, name.clone()));
        }
    }
    questions
}

/// `member` says that it does not hold this.
fn deny(host: &mut Host, member: u8, (_, record, name): &Question) -> Ready {
    let from = Peer {
        committee: SHARD,
        member: MemberIndex::new(member),
    };
    let part = Part {
        record: *record,
        name: name.clone(),
        body: None,
    };
    host.hear(from, Message::Part(Box::new(part)))
}

/// A member that fetches a state, and its first question.
fn fetching() -> (Host, Question) {
    let mut host = Host::wiped();
    assert!(asks_for_a_state(&host.step(Input::Tick)));
    let _one = host.answer(0, Some(state(4, 800)));
    let chosen = host.answer(1, Some(state(4, 800)));
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
    let question = questions(&chosen).pop().unwrap();
    (host, question)
}

#[test]
fn b20_who_was_not_asked_cannot_deny_a_state() {
    let (mut host, question) = fetching();
    let liar = (question.0 + 1) % 3;
    for _ in 0..100 {
        let ready = deny(&mut host, liar, &question);
        assert!(!asks_for_a_state(&ready) && questions(&ready).is_empty());
        assert_eq!(ready.refused.len(), 1);
    }
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
}

/// The others are slower than it: the next one is asked, and has time to answer.
#[test]
fn b20_one_that_denies_all_it_is_asked_for_is_set_aside_alone() {
    let (mut host, mut question) = fetching();
    let liar = question.0;
    let (mut denied, mut others) = (0, 0);
    for _ in 0..250 {
        let mut ready = host.step(Input::Tick);
        if question.0 == liar {
            denied += 1;
            ready = deny(&mut host, liar, &question);
            for _ in 0..100 {
                assert_eq!(deny(&mut host, liar, &question).refused.len(), 1);
            }
            question.0 = u8::MAX;
        }
        assert!(!asks_for_a_state(&ready));
        for asked in questions(&ready) {
            others += usize::from(asked.0 != liar);
            question = asked;
        }
    }
    assert_eq!((denied, others), (1, 1));
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
}

#[test]
fn b20_a_state_is_given_up_when_each_of_the_others_denies_it() {
    let (mut host, mut question) = fetching();
    let mut deniers = Vec::new();
    loop {
        deniers.push(question.0);
        let ready = deny(&mut host, question.0, &question);
        let Some(next) = questions(&ready).pop() else {
            assert!(asks_for_a_state(&ready));
            break;
        };
        question = next;
    }
    deniers.sort_unstable();
    assert_eq!(deniers, [0, 1, 2]);
    assert_eq!(host.member.fetches(), None);
}

#[test]
fn b20_a_state_is_given_up_when_nobody_answers_for_long() {
    let (mut host, _) = fetching();
    let started = host.now;
    while host.member.fetches().is_some() {
        host.now = host.now.after(Duration::from_millis(50));
        let _asked = host.step(Input::Tick);
        assert!(host.now.since(started) < Duration::from_secs(60));
    }
    assert!(host.now.since(started) > Duration::from_secs(5));
}

/// An old state of a liar's is not taken because another has just started and holds none yet.
#[test]
fn b19_an_old_state_is_not_taken_when_others_may_hold_a_newer_one() {
    let mut host = Host::wiped();
    let _asked = host.step(Input::Tick);
    let _liar = host.answer(0, Some(state(1, 100)));
    let _restarted = host.answer(1, None);
    assert_eq!(host.member.fetches(), None);
    let _third = host.answer(2, Some(state(4, 800)));
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
}

#[test]
fn b19_a_state_that_one_alone_holds_is_taken_when_the_others_had_time() {
    let mut host = Host::wiped();
    let _asked = host.step(Input::Tick);
    let _one = host.answer(0, Some(state(4, 800)));
    host.now = host.now.after(Duration::from_secs(3));
    let _alone = host.step(Input::Tick);
    assert_eq!(host.member.fetches(), None, "f + 1 have not answered");
    let _two = host.answer(1, None);
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
}
