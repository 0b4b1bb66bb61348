//! A member as its thread meets it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::{Action, MemoryStore, Transaction};
use lockstep_shard::{Input, MAX_WAITING_PER_AUTHOR, Member, Message, PACK_DELAY, Setup};
use lockstep_types::{
    AccountId, AssetId, CommitteeId, MemberIndex, SecretKey, ShardId, Time, Verified, WindowNumber,
};

const START: Time = Time::from_millis(10_000);

#[test]
fn a_member_without_room_for_a_batch_does_not_wake_for_one() {
    let shape = DevelopmentSpec {
        time: START,
        ..DevelopmentSpec::default()
    };
    let (genesis, keys) = Genesis::development(&shape).unwrap();
    let genesis = Arc::new(genesis);
    let (committee, me) = (CommitteeId::Shard(ShardId::new(0)), MemberIndex::new(3));
    let setup = Setup {
        genesis: genesis.clone(),
        committee,
        me,
        signer: Arc::new(keys.validator(committee, me).unwrap().key.clone()),
        timers: TimerConfig::default(),
    };
    let mut member = Member::recover(setup, &MemoryStore::default(), None).unwrap();
    let sender = SecretKey::insecure_from_seed(1, "sender");
    let (mut now, mut batches) = (START, 0);
    // Nobody else is there, so no block lists any of the batches.
    for nonce in 0..MAX_WAITING_PER_AUTHOR as u64 + 1 {
        let action = Action::Transfer {
            to: AccountId::new([9; 20]),
            asset: AssetId::NATIVE,
            amount: 5,
        };
        let expiry = WindowNumber::new(8);
        let signed = Transaction::sign(&genesis.hash(), &sender, nonce, expiry, vec![action]);
        let transaction = Verified::vouch(signed);
        let submitted = member.step(now, Input::Submitted { transaction });
        now = now.after(PACK_DELAY);
        let ready = member.step(now, Input::Tick);
        let sent = submitted.prompt.iter().chain(&ready.prompt);
        batches += sent
            .filter(|outbound| matches!(outbound.message, Message::Batch(_)))
            .count();
        let woken = ready.wake_at.expect("a view ends some day");
        assert!(woken > now, "batch {nonce}: it would wake again at once");
    }
    assert_eq!(batches, MAX_WAITING_PER_AUTHOR);
}
