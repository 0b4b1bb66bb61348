//! The committee itself: correct members, the messages between them, and the checkers. Time passes
//! and messages arrive only when somebody says so.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use lockstep_consensus::{SafetyRecord, TimerConfig};
use lockstep_ledger::{Durability, MemoryStore, Store, Write};
use lockstep_shard::{
    Archive, BarrierRecord, Destination, ExecuteBlock, Executor, Input, Member, Message, Outbound,
    Peer, Ready, Request, Setup, VerifyContext, run_in_order,
};
use lockstep_types::{
    CommitteeId, Durable, EpochContext, Height, QuorumCertificate, RecordHash, Time, Verifier,
    WindowNumber,
};

use super::hostile::Heard;
use super::{HOSTILE, member, peer};
use crate::checker::Checkers;
use crate::fuzz::Forge;
/// Messages on their way; the oldest get lost.
const MAX_QUEUE: usize = 256;

// A correct member, its disk and its process.
pub(super) struct Host {
    pub(super) member: Member,
    pub(super) executor: Option<Executor>,
    pub(super) store: MemoryStore,
    pub(super) record: Option<SafetyRecord>,
}

/// What a crash in the middle of a step leaves on the disk.
#[derive(Clone, Copy)]
pub(super) enum Crash {
    Nothing,
    LogOnly,
    RecordOnly,
    BothUnsent,
}

pub(super) struct World<'a> {
    pub(super) forge: &'a Forge,
    pub(super) committee: CommitteeId,
    pub(super) context: EpochContext,
    receiving: VerifyContext,
    pub(super) verifier: Verifier,
    pub(super) checkers: Checkers,
    pub(super) now: Time,
    pub(super) hosts: Vec<Host>,
    pub(super) queue: VecDeque<(Peer, usize, Message)>,
    /// The next step that writes ends like this.
    pub(super) crash: Option<Crash>,
    judged: Vec<Height>,
    pub(super) submitted: u64,
    pub(super) record: (WindowNumber, RecordHash),
    pub(super) heard: Heard,
}

impl<'a> World<'a> {
    pub(super) fn new(forge: &'a Forge, committee: CommitteeId) -> Self {
        let context = forge.context(committee);
        let mut checkers = Checkers::new(forge.genesis.clone(), forge.engine());
        let mut world = World {
            heard: Heard::default(),
            forge,
            committee,
            receiving: VerifyContext::new(forge.genesis.clone(), committee),
            verifier: forge.verifier(),
            now: forge.genesis.time.after(Duration::from_secs(1)),
            hosts: Vec::new(),
            queue: VecDeque::new(),
            crash: None,
            judged: vec![Height::ZERO; HOSTILE],
            submitted: 0,
            record: (
                WindowNumber::ZERO,
                BarrierRecord::genesis_hash(&forge.genesis),
            ),
            checkers: {
                checkers.excuse(peer(committee, HOSTILE));
                checkers.expect_no_sums();
                checkers
            },
            context,
        };
        let root = lockstep_shard::root_block(&forge.genesis, committee);
        let qc = QuorumCertificate::root(world.context.epoch, root.id());
        world.heard.blocks.push(root);
        world.heard.qcs.push(qc);
        for at in 0..HOSTILE {
            let host = world.boot(at, MemoryStore::new(), None);
            world.hosts.push(host);
        }
        (0..HOSTILE).for_each(|at| world.connect(at));
        world
    }

    fn boot(&self, at: usize, store: MemoryStore, record: Option<SafetyRecord>) -> Host {
        let me = member(at);
        let setup = Setup {
            genesis: self.forge.genesis.clone(),
            committee: self.committee,
            me,
            signer: Arc::new(self.forge.signer(self.committee, me)),
            timers: TimerConfig::default(),
            arrival: lockstep_consensus::Arrival::Unasked,
            max_replay: lockstep_shard::MAX_REPLAY,
        };
        let recovered = Member::recover(setup, &store, record.clone());
        let load = |shard| Executor::load(self.forge.genesis.clone(), shard, &store);
        let executor = self.committee.shard().map(load).transpose();
        Host {
            member: recovered.unwrap_or_else(|fatal| panic!("a correct member: {fatal}")),
            executor: executor.unwrap_or_else(|fatal| panic!("a correct ledger: {fatal}")),
            store,
            record,
        }
    }

    /// A restart from what the disk holds.
    pub(super) fn restart(&mut self, at: usize) {
        let host = &self.hosts[at];
        let peer = peer(self.committee, at);
        self.checkers
            .on_recovered(&peer, host.record.as_ref(), false);
        self.hosts[at] = self.boot(at, host.store.clone(), host.record.clone());
        self.connect(at);
    }

    fn connect(&mut self, at: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != at) {
            for (here, there) in [(at, other), (other, at)] {
                let peer = peer(self.committee, there);
                self.step(here, Input::Connected { peer });
            }
        }
    }

    pub(super) fn highest(&self) -> Height {
        let committed = self.hosts.iter().map(|host| host.member.status().committed);
        committed.max().unwrap_or_default()
    }

    /// The checkers' verdict.
    pub(super) fn judge(&self) {
        if let Some(broken) = self.checkers.broken() {
            panic!("{broken}");
        }
    }

    pub(super) fn step(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut ready = self.hosts[at].member.step(self.now, input);
            let who = peer(self.committee, at);
            self.checkers.on_step(&who, self.now, &ready);
            let host = &self.hosts[at];
            let executor = host.executor.as_ref();
            self.checkers.on_held(&who, &host.member, executor);
            self.judge();
            let prompt = core::mem::take(&mut ready.prompt);
            self.send(at, prompt);
            for block in core::mem::take(&mut ready.execute) {
                inputs.push_back(self.execute(at, block));
            }
            self.serve(at, &mut ready);
            if !ready.needs_sync() {
                continue;
            }
            if let Some(crash) = self.crash.take() {
                self.write_in_part(at, &ready, crash);
                return self.restart(at);
            }
            self.write(at, ready.writes());
            if let Some(record) = ready.record() {
                self.hosts[at].record = Some(record.clone());
                self.checkers
                    .on_record_synced(&peer(self.committee, at), record);
            }
            self.look_at_commits(at);
            let durable = Durable::synced(ready.position());
            let held = ready.release(&durable);
            self.send(at, held);
            inputs.push_back(Input::Synced(durable));
        }
    }

    fn write(&self, at: usize, writes: &[Write]) {
        let written = self.hosts[at].store.write(writes, Durability::Synced);
        written.expect("memory does not fail");
    }

    fn write_in_part(&mut self, at: usize, ready: &Ready, crash: Crash) {
        if matches!(crash, Crash::LogOnly | Crash::BothUnsent) {
            self.write(at, ready.writes());
        }
        if matches!(crash, Crash::RecordOnly | Crash::BothUnsent)
            && let Some(record) = ready.record()
        {
            self.hosts[at].record = Some(record.clone());
        }
    }

    fn execute(&mut self, at: usize, block: ExecuteBlock) -> Input {
        let executor = self.hosts[at].executor.as_mut().expect("shards execute");
        let execution = executor.step(block, &mut run_in_order);
        let execution = execution.unwrap_or_else(|fatal| panic!("execution broke: {fatal}"));
        self.write(at, &execution.writes);
        let ledger = self.hosts[at]
            .executor
            .as_ref()
            .expect("just used")
            .ledger();
        let peer = peer(self.committee, at);
        self.checkers
            .on_executed(&peer, &execution.executed, ledger);
        Input::Executed(Box::new(execution.executed))
    }

    /// The beacon's commits show in its store.
    fn look_at_commits(&mut self, at: usize) {
        if self.committee != CommitteeId::Beacon {
            return;
        }
        let archive = Archive::new(&self.hosts[at].store);
        loop {
            let height = self.judged[at].next();
            let block = archive.block(height).expect("memory does not fail");
            let proof = archive.proof(height).expect("memory does not fail");
            let Some((link, proof)) = block.zip(proof) else {
                return;
            };
            let peer = peer(self.committee, at);
            self.checkers.on_committed(&peer, &link, &proof);
            self.judged[at] = height;
        }
    }

    fn serve(&mut self, at: usize, ready: &mut Ready) {
        let host = &self.hosts[at];
        let archive = Archive::new(&host.store);
        let mut answers = Vec::new();
        for (peer, request) in core::mem::take(&mut ready.serve) {
            let found = match &request {
                Request::Entries { destination, from } => {
                    let executor = host.executor.as_ref();
                    let bundle = executor.and_then(|e| e.entries(*destination, *from));
                    bundle
                        .into_iter()
                        .map(|b| Message::Bundle(Arc::new(b)))
                        .collect()
                }
                _ => archive.answer(&request).expect("memory does not fail"),
            };
            let to = Destination::Member(peer);
            answers.extend(found.into_iter().map(|message| Outbound { to, message }));
        }
        for request in core::mem::take(&mut ready.serve_blocks) {
            let answer = archive.answer_blocks(&request);
            let to = Destination::Seat(request.peer);
            let answer = answer.expect("memory does not fail");
            answers.extend(answer.map(|message| Outbound { to, message }));
        }
        self.send(at, answers);
    }

    fn send(&mut self, at: usize, messages: Vec<Outbound>) {
        let from = peer(self.committee, at);
        for Outbound { to, message } in messages {
            self.checkers.on_sent(&from, &message);
            let one = match to {
                Destination::Seat(seat) => Some(seat.get()),
                Destination::Member(to) if to.committee == self.committee => Some(to.member.get()),
                Destination::Member(_) => continue,
                Destination::Committee | Destination::Gossip => None,
            };
            for to in (0..=HOSTILE).filter(|to| *to != at && one.is_none_or(|one| one == *to)) {
                self.post(from, to, message.clone());
            }
        }
    }

    pub(super) fn post(&mut self, from: Peer, to: usize, message: Message) {
        if to == HOSTILE {
            return self.hear(message);
        }
        if self.queue.len() >= MAX_QUEUE {
            self.queue.pop_front();
        }
        self.queue.push_back((from, to, message));
    }

    pub(super) fn deliver(&mut self, (from, to, message): (Peer, usize, Message)) {
        if let Message::Consensus(inner) = &message
            && inner.is_stale(&self.hosts[to].member.horizon())
        {
            return;
        }
        match self.verifier.check(message, &self.receiving) {
            Ok(message) => {
                self.checkers
                    .on_accepted(&peer(self.committee, to), &message);
                self.step(to, Input::Received { from, message });
            }
            Err(rejection) => self.checkers.on_rejected(&from, &rejection),
        }
    }

    pub(super) fn pass_time(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        (0..HOSTILE).for_each(|at| self.step(at, Input::Tick));
    }

    /// Everything arrives, nobody lies: the correct members come to the same height.
    pub(super) fn heal(&mut self) {
        self.crash = None;
        (0..HOSTILE).for_each(|at| self.connect(at));
        for _ in 0..200 {
            for _ in 0..self.queue.len() {
                let next = self.queue.pop_front().expect("as many as there were");
                self.deliver(next);
            }
            self.pass_time(100);
            self.judge();
        }
        let committed = self.hosts.iter().map(|host| host.member.status().committed);
        let committed: Vec<Height> = committed.collect();
        let newest = self.highest();
        // The newest blocks may still be on their way.
        assert!(
            committed.iter().all(|height| newest.since(*height) <= 4),
            "twenty quiet seconds leave the correct members at {committed:?}"
        );
    }
}
