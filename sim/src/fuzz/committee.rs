//! A committee of four with one hostile member, driven by a script: what arrives when and twice,
//! who crashes in which step, what the hostile member says. The checkers of the simulator look at
//! every step, and in the end, when the hostile member falls silent, the others come together.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal, SafetyRecord, TimerConfig};
use lockstep_ledger::{Durability, MemoryStore, Store, Write};
use lockstep_shard::{
    Archive, BarrierRecord, CertifiedRecord, CheckpointVote, Destination, ExecuteBlock, Executor,
    Input, Member, Message, Outbound, Peer, Ready, Request, Setup, ShardEntry, VerifyContext,
    run_in_order,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    Block, BlockId, CommitteeId, Durable, Epoch, EpochContext, Header, Height, MemberIndex,
    QuorumCertificate, RecordHash, ShardId, Time, Timeout, TimeoutCertificate, Verified, Verifier,
    View, Vote, WindowNumber, codec,
};
use parity_scale_codec::Encode;

use super::forge::SHARD;
use super::script::Script;
use super::{Forge, Target};
use crate::checker::Checkers;

/// The seat of the hostile member.
const HOSTILE: usize = 3;

/// Choices of a script that are followed. A longer one only takes longer.
const MAX_CHOICES: usize = 1_500;

/// Messages on their way; the oldest get lost.
const MAX_QUEUE: usize = 256;

/// Things the hostile member remembers, of each kind.
const MAX_HEARD: usize = 64;

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(Scripted {
            name: "beacon",
            committee: CommitteeId::Beacon,
            forge: Forge::new(),
        }),
        Box::new(Scripted {
            name: "shard",
            committee: SHARD,
            forge: Forge::new(),
        }),
    ]
}

struct Scripted {
    name: &'static str,
    committee: CommitteeId,
    forge: Forge,
}

impl Target for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let quiet = |random: &mut Random| -> Vec<u8> {
            // Mostly deliveries and time, so that something is committed between the attacks.
            (0..600 + random.below(600))
                .map(|_| {
                    let wild = random.one_in(6);
                    let calm = random.below(160) as u8;
                    if wild { random.make() } else { calm }
                })
                .collect()
        };
        (0..8).map(|_| quiet(random)).collect()
    }

    /// Taken in: something was committed.
    fn run(&self, input: &[u8]) -> bool {
        let mut world = World::new(&self.forge, self.committee);
        let mut script = Script::new(input);
        for _ in 0..MAX_CHOICES {
            if script.is_done() {
                break;
            }
            world.choose(&mut script);
            world.judge();
        }
        world.heal();
        world.highest() > Height::ZERO
    }
}

/// A correct member, its disk and its process.
struct Host {
    member: Member,
    executor: Option<Executor>,
    store: MemoryStore,
    record: Option<SafetyRecord>,
}

/// What a crash in the middle of a step leaves on the disk.
#[derive(Clone, Copy)]
enum Crash {
    Nothing,
    LogOnly,
    RecordOnly,
    BothUnsent,
}

struct World<'a> {
    forge: &'a Forge,
    committee: CommitteeId,
    context: EpochContext,
    receiving: VerifyContext,
    verifier: Verifier,
    checkers: Checkers,
    now: Time,
    hosts: Vec<Host>,
    queue: VecDeque<(Peer, usize, Message)>,
    /// The next step that writes ends like this.
    crash: Option<Crash>,
    judged: Vec<Height>,
    submitted: u64,
    record: (WindowNumber, RecordHash),
    heard: Heard,
}

/// What the hostile member can build on.
#[derive(Default)]
struct Heard {
    messages: Vec<Message>,
    blocks: Vec<Block>,
    qcs: Vec<QuorumCertificate>,
    tcs: Vec<TimeoutCertificate>,
    votes: BTreeMap<(View, BlockId), BTreeMap<MemberIndex, Vote>>,
    timeouts: BTreeMap<View, BTreeMap<MemberIndex, Timeout>>,
}

fn remember<T>(list: &mut Vec<T>, value: T) {
    if list.len() >= MAX_HEARD {
        list.remove(0);
    }
    list.push(value);
}

impl<'a> World<'a> {
    fn new(forge: &'a Forge, committee: CommitteeId) -> Self {
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
    fn restart(&mut self, at: usize) {
        let host = &self.hosts[at];
        let peer = peer(self.committee, at);
        self.checkers.on_recovered(&peer, host.record.as_ref());
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

    fn highest(&self) -> Height {
        let committed = self.hosts.iter().map(|host| host.member.status().committed);
        committed.max().unwrap_or_default()
    }

    /// The checkers' verdict.
    fn judge(&self) {
        if let Some(broken) = self.checkers.broken() {
            panic!("{broken}");
        }
    }

    // What a member does.

    fn step(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut ready = self.hosts[at].member.step(self.now, input);
            self.checkers.on_step(&peer(self.committee, at), &ready);
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

    fn post(&mut self, from: Peer, to: usize, message: Message) {
        if to == HOSTILE {
            return self.hear(message);
        }
        if self.queue.len() >= MAX_QUEUE {
            self.queue.pop_front();
        }
        self.queue.push_back((from, to, message));
    }

    fn deliver(&mut self, (from, to, message): (Peer, usize, Message)) {
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

    fn pass_time(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        (0..HOSTILE).for_each(|at| self.step(at, Input::Tick));
    }

    /// Everything arrives, nobody lies: the correct members come to the same height.
    fn heal(&mut self) {
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

    // What the script decides.

    fn choose(&mut self, script: &mut Script<'_>) {
        match script.below(20) {
            0..=6 => {
                if let Some(next) = self.queue.pop_front() {
                    self.deliver(next);
                }
            }
            7 => {
                if !self.queue.is_empty() {
                    let late = script.index(self.queue.len());
                    let late = self.queue.remove(late).expect("an index");
                    self.deliver(late);
                }
            }
            8 => {
                // Arrives, and once more later.
                if let Some(next) = self.queue.front().cloned() {
                    self.queue.rotate_left(1);
                    self.deliver(next);
                }
            }
            9..=10 => self.pass_time(u64::from(script.byte())),
            11..=12 => self.work(script),
            13 => drop(self.queue.pop_front()),
            14 => {
                let kinds = [
                    Crash::Nothing,
                    Crash::LogOnly,
                    Crash::RecordOnly,
                    Crash::BothUnsent,
                ];
                let choice = script.below(8);
                match kinds.get(choice) {
                    Some(crash) => self.crash = Some(*crash),
                    None => self.restart(choice % HOSTILE),
                }
            }
            15 => self.lie_vote(script),
            16 => self.lie_timeout(script),
            17 => self.lie_proposal(script),
            18 => self.gather(script),
            _ => self.bend(script),
        }
    }

    /// Something to order: checkpoints at the beacon, payments and records at the shard.
    fn work(&mut self, script: &mut Script<'_>) {
        let mut random = Random::new(self.submitted);
        self.submitted += 1;
        let Some(shard) = self.committee.shard() else {
            return self.checkpoint(script);
        };
        match script.below(8) {
            0 => self.give_record(),
            1 => {
                let batch = self.forge.batch(&mut random, shard, member(HOSTILE));
                for transaction in &batch.transactions {
                    let id = transaction.id(&self.forge.genesis.hash());
                    self.checkers.on_submitted(id);
                }
                let to = script.below(HOSTILE);
                let from = peer(self.committee, HOSTILE);
                self.post(from, to, Message::Batch(Arc::new(batch)));
            }
            choice => {
                let expiry = WindowNumber::new(1 + u64::from(script.byte()));
                let nonce = u64::from(script.below(3) as u8);
                let payment = self.forge.payment(&mut random, shard, nonce, expiry);
                let id = payment.id(&self.forge.genesis.hash());
                self.checkers.on_submitted(id);
                let transaction = Verified::vouch(payment);
                self.step(choice % HOSTILE, Input::Submitted { transaction });
            }
        }
    }

    /// A shard's member tells the beacon where it stands; its fourth member tells something else.
    fn checkpoint(&mut self, script: &mut Script<'_>) {
        let shard = ShardId::new(u16::from(script.byte() % 2));
        let window = 1 + u64::from(script.below(4) as u8) + self.record.0.get();
        let seat = script.below(HOSTILE + 1);
        let false_one = u64::from(seat == HOSTILE && script.byte() % 2 == 1);
        let mut random = Random::new(window * 4 + u64::from(shard.get()) + 1_000 * false_one);
        let mut checkpoint = self.forge.checkpoint(&mut random, shard);
        checkpoint.seal.window = WindowNumber::new(window);
        checkpoint.seal.height = Height::new(window * 10);
        checkpoint.seal.flows.clear();
        checkpoint.seal.supply.clear();
        checkpoint.record = WindowNumber::ZERO;
        let committee = CommitteeId::Shard(shard);
        let signer = self.forge.signer(committee, member(seat));
        let genesis = &self.forge.genesis;
        let vote = CheckpointVote::sign(genesis, &signer, member(seat), checkpoint);
        for to in 0..HOSTILE {
            let message = Message::Checkpoint(Box::new(vote.clone()));
            self.post(peer(committee, seat), to, message);
        }
    }

    /// The beacon's next record, in which every shard is absent.
    fn give_record(&mut self) {
        let genesis = &self.forge.genesis;
        let number = self.record.0.next();
        let record = BarrierRecord {
            number,
            previous: self.record.1,
            committees: BarrierRecord::committees_of(genesis),
            base: self.now,
            shards: vec![ShardEntry::Absent; usize::from(genesis.shard_count())],
        };
        self.record = (number, record.hash());
        let mut random = Random::new(number.get());
        let payload = record.encode();
        let proof = self.forge.proof(CommitteeId::Beacon, &mut random, payload);
        let record = Arc::new(CertifiedRecord { record, proof });
        for to in 0..HOSTILE {
            let from = peer(CommitteeId::Beacon, to);
            self.post(from, to, Message::Record(record.clone()));
        }
    }

    // What the hostile member does.

    fn hear(&mut self, message: Message) {
        let heard = &mut self.heard;
        if let Message::Consensus(message) = &message {
            match message {
                consensus::Message::Proposal(proposal) => {
                    remember(&mut heard.blocks, proposal.block.clone());
                    remember(&mut heard.qcs, proposal.justify.clone());
                }
                consensus::Message::Vote(vote) => {
                    let votes = heard.votes.entry((vote.view, vote.block)).or_default();
                    votes.insert(vote.author, vote.clone());
                }
                consensus::Message::Timeout(timeout) => {
                    remember(&mut heard.qcs, timeout.high_qc.clone());
                    let timeouts = heard.timeouts.entry(timeout.view).or_default();
                    timeouts.insert(timeout.author, (**timeout).clone());
                }
                consensus::Message::Certificates(certificates) => {
                    remember(&mut heard.qcs, certificates.high_qc.clone());
                    if let Some(tc) = &certificates.high_tc {
                        remember(&mut heard.tcs, tc.clone());
                    }
                }
                _ => {}
            }
        }
        while heard.votes.len() > MAX_HEARD {
            heard.votes.pop_first();
        }
        while heard.timeouts.len() > MAX_HEARD {
            heard.timeouts.pop_first();
        }
        remember(&mut heard.messages, message);
    }

    /// Says something to one member, or to all.
    fn say(&mut self, script: &mut Script<'_>, message: consensus::Message) {
        let message = Message::Consensus(message);
        if let Message::Consensus(consensus::Message::Proposal(proposal)) = &message {
            remember(&mut self.heard.blocks, proposal.block.clone());
        }
        let from = peer(self.committee, HOSTILE);
        self.checkers.on_sent(&from, &message);
        let one = script.below(2 * HOSTILE);
        for to in (0..HOSTILE).filter(|to| one >= HOSTILE || one == *to) {
            self.post(from, to, message.clone());
        }
    }

    fn vote_for(&self, view: View, block: BlockId) -> Vote {
        let me = member(HOSTILE);
        let signer = self.forge.signer(self.committee, me);
        Vote::sign(
            &signer,
            &self.context.domain,
            me,
            self.context.epoch,
            view,
            block,
        )
    }

    fn lie_vote(&mut self, script: &mut Script<'_>) {
        let block = &self.heard.blocks[script.index(self.heard.blocks.len())];
        let view = block.header().view.plus(u64::from(script.byte() / 200));
        let vote = self.vote_for(view, block.id());
        self.say(script, consensus::Message::Vote(vote));
    }

    fn timeout_in(&self, script: &mut Script<'_>) -> Timeout {
        let heard = &self.heard;
        let qc = heard.qcs[script.index(heard.qcs.len())].clone();
        let choice = script.index(heard.tcs.len() + 1);
        let tc = heard
            .tcs
            .get(choice)
            .filter(|tc| tc.view > qc.view)
            .cloned();
        let entered = tc.as_ref().map_or(qc.view, |tc| tc.view);
        let me = member(HOSTILE);
        let signer = self.forge.signer(self.committee, me);
        Timeout::sign(&signer, &self.context.domain, me, entered.next(), qc, tc)
    }

    fn lie_timeout(&mut self, script: &mut Script<'_>) {
        let timeout = self.timeout_in(script);
        self.say(script, consensus::Message::Timeout(Box::new(timeout)));
    }

    /// A block on any certificate known, in the view after it or after a timeout certificate.
    fn lie_proposal(&mut self, script: &mut Script<'_>) {
        let heard = &self.heard;
        let justify = heard.qcs[script.index(heard.qcs.len())].clone();
        let parent = heard
            .blocks
            .iter()
            .find(|block| block.id() == justify.block);
        let Some(parent) = parent.cloned() else {
            return;
        };
        let choice = script.index(heard.tcs.len() + 1);
        let tc = heard
            .tcs
            .get(choice)
            .filter(|tc| tc.view > justify.view)
            .cloned();
        let entered = tc.as_ref().map_or(justify.view, |tc| tc.view);
        let payload = match script.below(4) {
            0 | 1 => Vec::new(),
            2 => heard.blocks[script.index(heard.blocks.len())]
                .payload()
                .to_vec(),
            _ => Random::new(u64::from(script.byte()))
                .make::<lockstep_shard::Payload>()
                .to_bytes(),
        };
        let header = Header {
            view: entered.next(),
            height: parent.header().height.next(),
            parent: parent.id(),
            parent_view: parent.header().view,
            time: parent.header().time.next().max(self.now),
            proposer: member(HOSTILE),
            ..parent.header().clone()
        };
        let block = Block::new(header, payload);
        let signer = self.forge.signer(self.committee, member(HOSTILE));
        let proposal = Proposal::sign(&signer, &self.context.domain, block, justify, tc);
        self.say(script, consensus::Message::Proposal(Box::new(proposal)));
    }

    /// Makes a certificate of what was heard and an own statement, and shows it now or later.
    fn gather(&mut self, script: &mut Script<'_>) {
        let mut newest = None;
        let quorum = self.context.committee.quorum();
        let own = |vote: &Vote| self.vote_for(vote.view, vote.block);
        for votes in self.heard.votes.values().rev() {
            let mut votes = votes.clone();
            let Some(first) = votes.values().next() else {
                continue;
            };
            votes.insert(member(HOSTILE), own(first));
            if votes.len() >= quorum {
                let first = votes[&member(HOSTILE)].clone();
                newest = Some(QuorumCertificate {
                    epoch: Epoch::ZERO,
                    view: first.view,
                    block: first.block,
                    signers: votes.keys().copied().collect(),
                    signatures: votes.values().map(|vote| vote.signature).collect(),
                });
                break;
            }
        }
        if let Some(qc) = newest {
            remember(&mut self.heard.qcs, qc);
        }
        for (view, timeouts) in self.heard.timeouts.iter().rev() {
            let highest = timeouts
                .values()
                .map(|t| &t.high_qc)
                .max_by_key(|qc| qc.view);
            if timeouts.len() < quorum {
                continue;
            }
            let tc = TimeoutCertificate {
                epoch: Epoch::ZERO,
                view: *view,
                signers: timeouts.keys().copied().collect(),
                high_qc_views: timeouts.values().map(|t| t.high_qc.view).collect(),
                signatures: timeouts.values().map(|t| t.signature).collect(),
                high_qc: highest.expect("a quorum is not empty").clone(),
            };
            remember(&mut self.heard.tcs, tc);
            break;
        }
        if script.byte().is_multiple_of(2) {
            return;
        }
        let high_qc = self.heard.qcs[script.index(self.heard.qcs.len())].clone();
        let choice = script.index(self.heard.tcs.len() + 1);
        let certificates = consensus::Certificates {
            high_qc,
            high_tc: self.heard.tcs.get(choice).cloned(),
        };
        self.say(
            script,
            consensus::Message::Certificates(Box::new(certificates)),
        );
    }

    /// Something heard before, as it was or with a byte changed.
    fn bend(&mut self, script: &mut Script<'_>) {
        if self.heard.messages.is_empty() {
            return;
        }
        let message = &self.heard.messages[script.index(self.heard.messages.len())];
        let mut bytes = message.encode();
        let (at, change) = (usize::from(script.pair()), script.byte());
        let length = bytes.len();
        bytes[at % length] ^= change;
        let to = script.below(HOSTILE);
        if let Ok(bent) = codec::decode::<Message>(&bytes, lockstep_shard::MAX_MESSAGE_BYTES) {
            self.post(peer(self.committee, HOSTILE), to, bent);
        }
    }
}

fn member(at: usize) -> MemberIndex {
    MemberIndex::new(u8::try_from(at).expect("one of four"))
}

fn peer(committee: CommitteeId, at: usize) -> Peer {
    Peer {
        committee,
        member: member(at),
    }
}
