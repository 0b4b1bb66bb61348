//! A shard's member that learns how far its committee is: when it leaves its own state for another,
//! and what it does then.

#![allow(clippy::unwrap_used)]

use core::time::Duration;
use std::sync::Arc;

use lockstep_consensus::{Arrival, TimerConfig};
use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::{Durability, LedgerFrame, MemoryStore, Store};
use lockstep_shard::{
    CertifiedCheckpoint, CertifiedRecord, Input, Manifest, Member, Message, Peer, Ready, Request,
    Setup, ShardEntry, finish_state_sync,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    Block, CommitteeId, Durable, Header, Height, MemberIndex, ShardId, Time, Verified,
    WindowNumber, hash,
};
use parity_scale_codec::{DecodeAll, Encode};

const START: Time = Time::from_millis(10_000);
const MAX_REPLAY: u64 = 30;
const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

struct Host {
    setup: Setup,
    store: MemoryStore,
    member: Member,
    now: Time,
}

impl Host {
    fn new() -> Self {
        let shape = DevelopmentSpec {
            time: START,
            ..DevelopmentSpec::default()
        };
        let (genesis, keys) = Genesis::development(&shape).unwrap();
        let me = MemberIndex::new(3);
        let setup = Setup {
            genesis: Arc::new(genesis),
            committee: SHARD,
            me,
            signer: Arc::new(keys.validator(SHARD, me).unwrap().key.clone()),
            timers: TimerConfig::default(),
            arrival: Arrival::Unasked,
            max_replay: MAX_REPLAY,
        };
        let store = MemoryStore::default();
        let member = Member::recover(setup.clone(), &store, None).unwrap();
        Host {
            setup,
            store,
            member,
            now: START,
        }
    }

    fn step(&mut self, input: Input) -> Ready {
        self.now = self.now.after(Duration::from_millis(1));
        self.member.step(self.now, input)
    }

    fn hear(&mut self, from: Peer, message: Message) -> Ready {
        let message = Verified::vouch(message); // only its numbers are looked at
        self.step(Input::Received { from, message })
    }

    fn hear_record(&mut self, number: u64, height: u64) -> Ready {
        let from = Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(0),
        };
        self.hear(from, Message::Record(Arc::new(record(number, height))))
    }

    fn answer(&mut self, member: u8, state: Option<Manifest>) -> Ready {
        let from = Peer {
            committee: SHARD,
            member: MemberIndex::new(member),
        };
        self.hear(from, Message::Manifest(state.map(Arc::new)))
    }

    /// Writes what the step asks for and tells the member.
    fn sync(&mut self, ready: &Ready) -> Ready {
        self.store
            .write(ready.writes(), Durability::Synced)
            .unwrap();
        self.step(Input::Synced(Durable::synced(ready.position())))
    }

    fn restart(&mut self) {
        let finished = finish_state_sync(&self.setup.genesis, ShardId::new(0), &self.store);
        assert!(finished.unwrap().is_none(), "nothing was fetched");
        self.member = Member::recover(self.setup.clone(), &self.store, None).unwrap();
    }
}

fn record(number: u64, height: u64) -> CertifiedRecord {
    let mut random = Random::new(number);
    let mut record: CertifiedRecord = random.make();
    let mut certified: CertifiedCheckpoint = random.make();
    certified.checkpoint.seal.height = Height::new(height);
    record.record.number = WindowNumber::new(number);
    record.record.shards = vec![ShardEntry::Certified(Box::new(certified))];
    record
}

fn state(number: u64, height: u64) -> Manifest {
    let mut random = Random::new(number);
    let mut state: Manifest = random.make();
    let header = Header {
        height: Height::new(height),
        ..random.make()
    };
    state.link.block = Block::new(header, Vec::new());
    let accounts = hash("test/accounts", &number);
    let bytes = (accounts, None::<WindowNumber>, 0u8, 0u8).encode(); // no traffic
    state.ledger = LedgerFrame::decode_all(&mut &bytes[..]).unwrap();
    state.record = Arc::new(record(number, height));
    state
}

fn asks_for_a_state(ready: &Ready) -> bool {
    let mut sent = ready.prompt.iter();
    sent.any(|outbound| matches!(outbound.message, Message::Request(Request::Manifest)))
}

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
        let two = host.answer(1, None);
        assert!(two.writes().is_empty() && !two.restart);
        assert!(host.member.status().signs);
        for _ in 0..10 {
            host.now = host.now.after(Duration::from_millis(300));
            assert!(!asks_for_a_state(&host.step(Input::Tick)), "once a record");
        }
        assert!(asks_for_a_state(&host.hear_record(2, 1_000)));
    }
}

#[test]
fn b23_the_choice_is_synced_before_it_leaves_and_nothing_is_begun_meanwhile() {
    let mut host = Host::new();
    let _asked = host.hear_record(5, 1_000);
    let _one = host.answer(0, Some(state(3, 600)));
    // One alone may hold the newer state, and go; two hold the older.
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
        assert_eq!(host.member.fetches(), Some(Height::new(600)));
        assert!(!host.member.status().signs);
    }
    let begun = host.step(Input::Tick);
    let _synced = host.sync(&begun);
    host.restart();
    assert_eq!(host.member.fetches(), Some(Height::new(600)));
}
