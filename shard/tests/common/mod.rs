//! A shard's member and its disk, and states that others offer it.

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

pub(crate) const START: Time = Time::from_millis(10_000);
pub(crate) const MAX_REPLAY: u64 = 30;
pub(crate) const SHARD: CommitteeId = CommitteeId::Shard(ShardId::new(0));

pub(crate) struct Host {
    pub(crate) setup: Setup,
    pub(crate) store: MemoryStore,
    pub(crate) member: Member,
    pub(crate) now: Time,
}

impl Host {
    pub(crate) fn new() -> Self {
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

    /// One whose disk is empty.
    pub(crate) fn wiped() -> Self {
        let mut host = Self::new();
        host.member = Member::sync(host.setup.clone(), ShardId::new(0), &host.store).unwrap();
        host
    }

    pub(crate) fn step(&mut self, input: Input) -> Ready {
        self.now = self.now.after(Duration::from_millis(1));
        self.member.step(self.now, input)
    }

    pub(crate) fn hear(&mut self, from: Peer, message: Message) -> Ready {
        let message = Verified::vouch(message); // only its numbers are looked at
        self.step(Input::Received { from, message })
    }

    pub(crate) fn hear_record(&mut self, number: u64, height: u64) -> Ready {
        let from = Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(0),
        };
        self.hear(from, Message::Record(Arc::new(record(number, height))))
    }

    pub(crate) fn answer(&mut self, member: u8, state: Option<Manifest>) -> Ready {
        let from = Peer {
            committee: SHARD,
            member: MemberIndex::new(member),
        };
        self.hear(from, Message::Manifest(state.map(Arc::new)))
    }

    /// Writes what the step asks for and tells the member.
    pub(crate) fn sync(&mut self, ready: &Ready) -> Ready {
        self.store
            .write(ready.writes(), Durability::Synced)
            .unwrap();
        self.step(Input::Synced(Durable::synced(ready.position())))
    }

    pub(crate) fn restart(&mut self) {
        let finished = finish_state_sync(&self.setup.genesis, ShardId::new(0), &self.store);
        assert!(finished.unwrap().is_none(), "nothing was fetched");
        self.member = Member::recover(self.setup.clone(), &self.store, None).unwrap();
    }
}

pub(crate) fn record(number: u64, height: u64) -> CertifiedRecord {
    let mut random = Random::new(number);
    let mut record: CertifiedRecord = random.make();
    let mut certified: CertifiedCheckpoint = random.make();
    certified.checkpoint.seal.height = Height::new(height);
    record.record.number = WindowNumber::new(number);
    record.record.shards = vec![ShardEntry::Certified(Box::new(certified))];
    record
}

pub(crate) fn state(number: u64, height: u64) -> Manifest {
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
    state.place.window.record = WindowNumber::ZERO; // nothing besides the accounts
    state.record = Arc::new(record(number, height));
    state
}

pub(crate) fn asks_for_a_state(ready: &Ready) -> bool {
    let mut sent = ready.prompt.iter();
    sent.any(|outbound| matches!(outbound.message, Message::Request(Request::Manifest)))
}
