//! A shard's member that learns how far its committee is: when it leaves its own state for another,
//! and what it does then.

use core::time::Duration;

use crate::common::{Host, MAX_REPLAY, asks_for_a_state, state};
use lockstep_shard::{Input, Member};
use lockstep_types::Height;

#[test]
fn b23_a_state_is_sought_beyond_the_limit_only() {
    let mut host = Host::new();
    assert!(!asks_for_a_state(&host.hear_record(1, MAX_REPLAY)));
    assert!(asks_for_a_state(&host.hear_record(2, MAX_REPLAY + 1)));
    // Too few have answered: it goes on asking, now and then.
    let _one = host.answer(0, Some(state(2, MAX_REPLAY + 1)));
    assert!(!asks_for_a_state(&host.step(Input::Tick)));
    host.now = host.now.after(Duration::from_millis(500));
    assert!(asks_for_a_state(&host.step(Input::Tick)));
    assert!(!host.member.is_syncing());
}

#[test]
fn b23_without_a_state_far_ahead_it_goes_on_with_blocks() {
    for offered in [None, Some(state(1, MAX_REPLAY / 2))] {
        let mut host = Host::new();
        let _asked = host.hear_record(1, 1_000);
        let _one = host.answer(0, offered);
        let _two = host.answer(1, None);
        let three = host.answer(2, None);
        assert!(three.writes().is_empty() && !three.restart);
        assert!(host.member.status().signs);
        for _ in 0..10 {
            host.now = host.now.after(Duration::from_millis(300));
            assert!(!asks_for_a_state(&host.step(Input::Tick)), "once a record");
        }
        assert!(asks_for_a_state(&host.hear_record(2, 1_000)));
    }
}

/// Of f + 1 answers f may be lies.
#[test]
fn b23_one_fast_liar_does_not_keep_it_from_a_state() {
    for offered in [None, Some(state(1, MAX_REPLAY / 2))] {
        let mut host = Host::new();
        let _asked = host.hear_record(5, 1_000);
        let _liar = host.answer(0, offered);
        let one = host.answer(1, Some(state(4, 800)));
        assert!(!one.needs_sync(), "one of the two may lie");
        let two = host.answer(2, Some(state(4, 800)));
        assert!(two.needs_sync(), "these two show it");
        assert!(host.sync(&two).restart);
    }
}

#[test]
fn b23_who_does_not_answer_is_waited_for_no_longer_than_two_seconds() {
    let mut host = Host::new();
    let _asked = host.hear_record(5, 1_000);
    let _one = host.answer(0, None);
    let _two = host.answer(1, Some(state(4, 800)));
    let mut asked = 0;
    for _ in 0..40 {
        host.now = host.now.after(Duration::from_millis(100));
        asked += usize::from(asks_for_a_state(&host.step(Input::Tick)));
    }
    assert_eq!(asked, 3, "after 0.5, 1, and 1.5 seconds");
    let late = host.answer(2, Some(state(4, 800)));
    assert!(!late.needs_sync(), "with the next record it asks again");
    assert!(host.member.status().signs);
}

#[test]
fn b23_the_choice_is_synced_before_it_leaves_and_nothing_is_begun_meanwhile() {
    let mut host = Host::new();
    let _asked = host.hear_record(5, 1_000);
    let _one = host.answer(0, Some(state(3, 600)));
    // Two hold one worthwhile. The newest is what the others hold too, or will in a moment.
    let chosen = host.answer(1, Some(state(4, 800)));
    assert!(chosen.needs_sync() && !chosen.restart);
    assert!(!host.member.status().signs);
    // Until the choice is written, a start finds an ordinary member.
    host.now = host.now.after(Duration::from_secs(60));
    let idle = host.step(Input::Tick);
    assert!(idle.prompt.is_empty() && !idle.needs_sync() && !idle.restart);
    let other = Member::recover(host.setup.clone(), &host.store, None).unwrap();
    assert!(!other.is_syncing());
    // After it every start fetches, and the first step of it makes the store forget the old state.
    assert!(host.sync(&chosen).restart);
    for _ in 0..2 {
        host.restart();
        assert_eq!(host.member.fetches(), Some(Height::new(800)));
        assert!(!host.member.status().signs);
    }
    let begun = host.step(Input::Tick);
    let _synced = host.sync(&begun);
    host.restart();
    assert_eq!(host.member.fetches(), Some(Height::new(800)));
}
