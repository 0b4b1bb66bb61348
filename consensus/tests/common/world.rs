//! The world: replicas, their disks, and the messages between them, in virtual time.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use lockstep_consensus::{
    Ancestry, Application as _, Arrival, Challenge, CommittedBlock, Config, Evidence, Fatal, Held,
    Input, LeaderRule, Message, Outbound, Parts, Recovered, Refusal, Replica, SafetyRecord,
    TimerConfig, To, root_link,
};
use lockstep_types::{
    Block, BlockId, Committee, CommitteeId, Digest, Domain, Durable, EpochContext, GenesisHash,
    KeyedHashEngine, KeyedSigner, LinkedBlock, LogPosition, MemberIndex, ShardId, Signer, Time,
    Timeout, Verified, Verifier, Vote,
};

use parity_scale_codec::Encode as _;

use super::Numbers;
use super::chaos::Chaos;
use super::disk::Disk;

/// A message on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) message: Message,
}

enum Event {
    Deliver(Sent),
    Synced(usize, u32, Box<Write>),
    Wake(usize),
}

struct Write {
    log: Vec<Arc<LinkedBlock>>,
    record: Option<SafetyRecord>,
    held: Held,
}

type Drop = Box<dyn Fn(&Sent) -> bool>;

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) delay: Duration,
    pub(crate) sync: Duration,
    pub(crate) timers: TimerConfig,
    leaders: LeaderRule,
    pub(crate) context: EpochContext,
    pub(crate) root: Block,
    pub(crate) verifier: Verifier,
    pub(crate) signers: Vec<KeyedSigner>,
    pub(crate) replicas: Vec<Option<Replica<Numbers>>>,
    pub(crate) disks: Vec<Disk>,
    incarnations: Vec<u32>,
    /// Restarts ask the others first.
    pub(crate) asks: bool,
    /// When each replica asked last to be woken.
    wakes: Vec<Option<Time>>,
    events: BTreeMap<(Time, u64), Event>,
    next_event: u64,
    drops: Vec<Drop>,
    /// With chance instead of the fixed delay.
    pub(crate) chaos: Option<Chaos>,
    /// Every message put on the wire, dropped ones included.
    pub(crate) wire: Vec<Sent>,
    pub(crate) commits: Vec<Vec<(Time, CommittedBlock)>>,
    pub(crate) evidence: Vec<(usize, Evidence)>,
    pub(crate) refused: Vec<(usize, MemberIndex, Refusal)>,
    pub(crate) stopped: BTreeMap<usize, Fatal>,
    pub(crate) served_by_log: usize,
    pub(crate) trace: String,
    names: BTreeMap<BlockId, String>,
}

pub(crate) fn member(index: usize) -> MemberIndex {
    MemberIndex::new(u8::try_from(index).unwrap())
}

impl World {
    pub(crate) fn new(size: usize) -> Self {
        Self::with_timers(size, TimerConfig::DEFAULT)
    }

    /// Members that ask the others at every start, have ordered one number and run for `ms`.
    pub(crate) fn asking(ms: u64) -> Self {
        let mut world = World::new(4);
        world.asks = true;
        world.submit(1);
        world.run_ms(ms);
        world
    }

    /// One member runs; the test speaks for the others.
    pub(crate) fn lone(index: usize) -> Self {
        let mut world = World::new(4);
        (0..4)
            .filter(|other| *other != index)
            .for_each(|other| world.crash(other));
        world
    }

    pub(crate) fn with_timers(size: usize, timers: TimerConfig) -> Self {
        let engine = KeyedHashEngine::new([7; 32]);
        let signers: Vec<_> = (0..size)
            .map(|i| engine.signer(&format!("member {i}")))
            .collect();
        let domain = Domain {
            genesis: GenesisHash::new(Digest::new([1; 32])),
            committee: CommitteeId::Shard(ShardId::new(0)),
        };
        let root = Block::genesis(&domain, Time::ZERO);
        let keys = signers.iter().map(KeyedSigner::public_key).collect();
        let context = EpochContext {
            domain,
            epoch: root.header().epoch,
            committee: Committee::new(keys).unwrap(),
            root: root.id(),
        };
        let mut world = World {
            now: Time::from_millis(1_000),
            delay: Duration::from_millis(10),
            sync: Duration::ZERO,
            timers,
            leaders: LeaderRule::Rotation,
            names: BTreeMap::from([(root.id(), "root".to_owned())]),
            context,
            root,
            verifier: Verifier::new(Arc::new(engine)),
            signers,
            replicas: Vec::new(),
            disks: vec![Disk::default(); size],
            incarnations: vec![0; size],
            asks: false,
            wakes: vec![None; size],
            events: BTreeMap::new(),
            next_event: 0,
            drops: Vec::new(),
            chaos: None,
            wire: Vec::new(),
            commits: vec![Vec::new(); size],
            evidence: Vec::new(),
            refused: Vec::new(),
            stopped: BTreeMap::new(),
            served_by_log: 0,
            trace: String::new(),
        };
        for index in 0..size {
            world.replicas.push(None);
            world.boot(index, Recovered::fresh(world.root.clone()));
        }
        world
    }

    pub(crate) fn size(&self) -> usize {
        self.signers.len()
    }

    pub(crate) fn config(&self, index: usize) -> Config {
        Config {
            domain: self.context.domain,
            committee: self.context.committee.clone(),
            me: member(index),
            root: self.root.clone(),
            timers: self.timers,
            leaders: self.leaders.clone(),
        }
    }

    /// Starts everybody over with these leaders of the first views.
    pub(crate) fn lead_by(&mut self, leaders: &[usize]) {
        let leaders: Vec<_> = leaders.iter().map(|index| member(*index)).collect();
        self.leaders = LeaderRule::Listed(leaders.into());
        for index in 0..self.size() {
            self.boot(index, Recovered::fresh(self.root.clone()));
        }
    }

    fn boot(&mut self, index: usize, recovered: Recovered) {
        let signer = Arc::new(self.signers[index].clone());
        let replica = Replica::new(self.config(index), signer, Numbers::default(), recovered);
        self.replicas[index] = Some(replica.unwrap());
    }

    pub(crate) fn replica(&self, index: usize) -> &Replica<Numbers> {
        self.replicas[index].as_ref().unwrap()
    }

    pub(crate) fn application(&mut self, index: usize) -> &mut Numbers {
        self.replicas[index].as_mut().unwrap().application_mut()
    }

    /// Hands a number in to everybody who runs.
    pub(crate) fn submit(&mut self, number: u32) {
        for index in 0..self.size() {
            self.submit_to(index, number);
        }
    }

    pub(crate) fn submit_to(&mut self, index: usize, number: u32) {
        if self.replicas[index].is_some() {
            self.application(index).pending.insert(number);
            self.step(index, Input::Tick);
        }
    }

    /// From now on messages that `lost` matches get lost.
    pub(crate) fn drop_when(&mut self, lost: impl Fn(&Sent) -> bool + 'static) {
        self.drops.push(Box::new(lost));
    }

    pub(crate) fn drop_nothing(&mut self) {
        self.drops.clear();
    }

    /// Stops a replica. What it had not synced is lost.
    pub(crate) fn crash(&mut self, index: usize) {
        self.note(index, "crashes");
        self.replicas[index] = None;
        self.wakes[index] = None;
        self.incarnations[index] += 1;
    }

    /// Starts it again from its disk and connects it to everybody.
    pub(crate) fn restart(&mut self, index: usize) {
        self.restart_from(index, 0);
    }

    /// Empties the disk of a stopped replica; until it has a record again it starts as one that
    /// lost it.
    pub(crate) fn wipe(&mut self, index: usize) {
        assert!(self.replicas[index].is_none());
        self.disks[index] = Disk {
            lost: true,
            ..Disk::default()
        };
    }

    /// The same when the host has dealt with the blocks up to some height already.
    pub(crate) fn restart_from(&mut self, index: usize, height: usize) {
        assert!(self.replicas[index].is_none());
        let logged = |block: &CommittedBlock| self.disks[index].log.contains(&block.link);
        let synced = self.commits[index]
            .iter()
            .take_while(|(_, block)| logged(block))
            .count();
        self.commits[index].truncate(height.min(synced));
        let (anchor, ancestry) = self.commits[index].last().map_or_else(
            || (root_link(self.root.clone()), Ancestry::default()),
            |(_, block)| ((*block.link).clone(), block.ancestry.clone()),
        );
        let mut recovered = self.disks[index].recovered(anchor, ancestry);
        let challenge = Challenge([self.incarnations[index] as u8; 32]);
        if self.disks[index].lost {
            recovered.arrival = Arrival::RecordLost(challenge);
        } else if self.asks {
            recovered.arrival = Arrival::FromDisk(challenge);
        }
        self.boot(index, recovered);
        for (_, block) in self.commits[index].clone() {
            self.application(index).on_commit(block.block());
        }
        let view = self.replica(index).view();
        self.note(index, &format!("restarts in {view}"));
        self.step(index, Input::Tick);
        for peer in 0..self.size() {
            if peer != index && self.replicas[peer].is_some() {
                self.step(index, Input::Connected { peer: member(peer) });
                self.step(
                    peer,
                    Input::Connected {
                        peer: member(index),
                    },
                );
            }
        }
    }

    pub(crate) fn is_running(&self, index: usize) -> bool {
        self.replicas[index].is_some()
    }

    /// Connections are made anew.
    pub(crate) fn connect_all(&mut self) {
        for index in 0..self.size() {
            for peer in (0..self.size()).filter(|peer| *peer != index) {
                self.step(index, Input::Connected { peer: member(peer) });
            }
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now.after(span);
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), event) = self.events.pop_first().unwrap();
            self.now = at;
            self.handle(event);
        }
        self.now = end;
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.run_for(Duration::from_millis(ms));
    }

    /// Nothing is on the way and nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        let wakes_only = self
            .events
            .values()
            .all(|event| matches!(event, Event::Wake(_)));
        wakes_only && self.wakes.iter().all(Option::is_none)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver(sent) => self.deliver(sent),
            Event::Wake(index) => {
                if self.wakes[index] == Some(self.now) {
                    self.step(index, Input::Tick);
                }
            }
            Event::Synced(index, incarnation, write) => {
                if self.incarnations[index] == incarnation {
                    self.on_synced(index, *write);
                }
            }
        }
    }

    fn on_synced(&mut self, index: usize, write: Write) {
        let position = write.held.position();
        self.disks[index]
            .log
            .extend(write.log.iter().map(|link| (**link).clone()));
        if write.record.is_some() {
            self.disks[index].record = write.record;
            self.disks[index].lost = false;
        }
        self.disks[index].position = position;
        let token = Durable::synced(position);
        self.send(index, write.held.release(&token));
        self.step(index, Input::Synced(token));
    }

    fn deliver(&mut self, sent: Sent) {
        if self.replicas[sent.to].is_some() {
            let message = self.verify(sent.message);
            let from = member(sent.from);
            self.step(sent.to, Input::Received { from, message });
        }
    }

    /// Gives a message to a replica now, and lets its disk finish if it takes no time.
    pub(crate) fn tell(&mut self, to: usize, from: usize, message: Message) {
        let message = self.verify(message);
        let from = member(from);
        self.step(to, Input::Received { from, message });
        self.run_ms(0);
    }

    /// What a replica has said to everybody, in order.
    pub(crate) fn said(&self, index: usize) -> Vec<&Message> {
        let listener = (index + 1) % self.size();
        let heard = |sent: &&Sent| sent.from == index && sent.to == listener;
        self.wire
            .iter()
            .filter(heard)
            .map(|sent| &sent.message)
            .collect()
    }

    pub(crate) fn votes(&self, index: usize) -> Vec<Vote> {
        let vote = |message: &&Message| match message {
            Message::Vote(vote) => Some(vote.clone()),
            _ => None,
        };
        self.said(index).iter().filter_map(vote).collect()
    }

    pub(crate) fn timeouts(&self, index: usize) -> Vec<Timeout> {
        let timeout = |message: &&Message| match message {
            Message::Timeout(timeout) => Some((**timeout).clone()),
            _ => None,
        };
        self.said(index).iter().filter_map(timeout).collect()
    }

    /// Nobody ever signed two different statements of one kind for one view.
    pub(crate) fn check_no_equivocation(&self) {
        let mut signed: BTreeMap<(u8, usize, u64), Vec<u8>> = BTreeMap::new();
        for sent in &self.wire {
            let (kind, view, what) = match &sent.message {
                Message::Proposal(p) => (0, p.view(), p.block.id().encode()),
                Message::Vote(vote) => (1, vote.view, vote.encode()),
                Message::Timeout(timeout) => (2, timeout.view, timeout.encode()),
                _ => continue,
            };
            let first = signed
                .entry((kind, sent.from, view.get()))
                .or_insert(what.clone());
            assert_eq!(
                *first, what,
                "member {} in {view}\n{}",
                sent.from, self.trace
            );
        }
    }

    pub(crate) fn verify(&self, message: Message) -> Verified<Message> {
        self.verifier.check(message, &self.context).unwrap()
    }

    pub(crate) fn step(&mut self, index: usize, input: Input) {
        if self.stopped.contains_key(&index) {
            return;
        }
        let now = self.now;
        let Some(replica) = self.replicas[index].as_mut() else {
            return;
        };
        let before = replica.view();
        let parts = replica.step(now, input).into_parts();
        let after = replica.view();
        if before != after {
            self.note(index, &format!("enters {after}"));
        }
        self.take(index, parts);
    }

    fn take(&mut self, index: usize, parts: Parts) {
        let incarnation = self.incarnations[index];
        for block in parts.committed {
            self.on_commit(index, block);
        }
        for evidence in parts.evidence {
            let (author, view) = (evidence.author(), evidence.view());
            self.note(index, &format!("has evidence against {author} in {view}"));
            self.verifier
                .check(evidence.clone(), &self.context)
                .unwrap();
            self.evidence.push((index, evidence));
        }
        for (from, refusal) in parts.refused {
            self.refused.push((index, from, refusal));
        }
        if let Some(fatal) = parts.stop {
            self.note(index, &format!("stops: {fatal}"));
            self.stopped.insert(index, fatal);
        }
        self.send(index, parts.prompt);
        for request in parts.serve {
            self.serve(index, request);
        }
        if parts.held.position() > LogPosition::START {
            let write = Write {
                log: parts.log,
                record: parts.record,
                held: parts.held,
            };
            let at = self.now.after(self.sync);
            self.schedule(at, Event::Synced(index, incarnation, Box::new(write)));
        }
        self.wakes[index] = parts.wake_at;
        if let Some(at) = parts.wake_at {
            assert!(at > self.now, "a wake-up in the past would spin");
            self.schedule(at, Event::Wake(index));
        }
    }

    /// The host's part: blocks so old that only the log has them.
    fn serve(&mut self, index: usize, request: lockstep_consensus::LogRequest) {
        self.served_by_log += 1;
        let blocks = self.commits[index]
            .iter()
            .map(|(_, block)| block.link.clone())
            .filter(|link| link.block.header().height >= request.from);
        if let Some(message) = Message::answer(blocks.collect::<Vec<_>>()) {
            let to = To::Member(request.peer);
            self.send(index, vec![Outbound { to, message }]);
        }
    }

    fn on_commit(&mut self, index: usize, block: CommittedBlock) {
        let name = self.name(block.block());
        let height = block.block().header().height;
        self.note(index, &format!("commits {name} at {height}"));
        let proof = block.proof.clone();
        assert_eq!(proof.committed().id(), block.block().id());
        self.verifier.check(proof, &self.context).unwrap();
        let expected = self.commits[index].len() as u64 + 1;
        assert_eq!(height.get(), expected, "gap-free, in order, once");
        self.commits[index].push((self.now, block));
        self.check_agreement(index);
    }

    fn check_agreement(&self, index: usize) {
        let position = self.commits[index].len() - 1;
        let mine = self.commits[index][position].1.block().id();
        for other in &self.commits {
            if let Some((_, block)) = other.get(position) {
                assert_eq!(block.block().id(), mine, "two blocks at one height");
            }
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    /// What a correct replica sends must be on its disk before.
    fn check_durable(&self, from: usize, message: &Message) {
        let record = self.disks[from].record.as_ref();
        match message {
            Message::Vote(vote) => {
                let synced = record.map(SafetyRecord::last_voted_view);
                assert!(
                    synced >= Some(vote.view),
                    "vote sent before its record was synced"
                );
            }
            Message::Timeout(timeout) => {
                let synced = record.map(SafetyRecord::last_timed_out_view);
                assert!(
                    synced >= Some(timeout.view),
                    "timeout sent before its record was synced"
                );
            }
            _ => {}
        }
    }

    fn send(&mut self, from: usize, messages: Vec<Outbound>) {
        for outbound in &messages {
            self.check_durable(from, &outbound.message);
        }
        self.transmit(from, messages);
    }

    pub(crate) fn transmit(&mut self, from: usize, messages: Vec<Outbound>) {
        for Outbound { to, message } in messages {
            let text = self.describe(&message);
            match to {
                To::All => self.note(from, &format!("> all {text}")),
                To::Member(peer) => self.note(from, &format!("> {peer} {text}")),
            }
            let receivers: Vec<usize> = match to {
                To::All => (0..self.size()).filter(|peer| *peer != from).collect(),
                To::Member(peer) => vec![peer.get()],
            };
            for to in receivers {
                self.put_on_wire(from, to, message.clone());
            }
        }
    }

    fn put_on_wire(&mut self, from: usize, to: usize, message: Message) {
        let sent = Sent {
            at: self.now,
            from,
            to,
            message,
        };
        let lost = self.drops.iter().any(|lost| lost(&sent));
        self.wire.push(sent.clone());
        if lost {
            return;
        }
        let delays = match &mut self.chaos {
            None => vec![self.delay],
            Some(chaos) => chaos.delays(),
        };
        for delay in delays {
            self.schedule(self.now.after(delay), Event::Deliver(sent.clone()));
        }
    }

    pub(crate) fn note(&mut self, index: usize, text: &str) {
        let since = self.now.since(Time::from_millis(1_000));
        writeln!(self.trace, "{:>6} m{index} {text}", since.as_millis()).unwrap();
    }

    /// Blocks are called by their views; rivals of one view get primes.
    pub(crate) fn name(&mut self, block: &Block) -> String {
        let id = block.id();
        if !self.names.contains_key(&id) {
            let mut name = format!("B{}", block.header().view.get());
            while self.names.values().any(|taken| *taken == name) {
                name.push('\'');
            }
            self.names.insert(id, name);
        }
        self.names[&id].clone()
    }

    fn name_of(&self, id: &BlockId) -> String {
        self.names
            .get(id)
            .cloned()
            .unwrap_or_else(|| "?".to_owned())
    }

    fn describe(&mut self, message: &Message) -> String {
        match message {
            Message::Proposal(proposal) => {
                let name = self.name(&proposal.block);
                let parent = self.name_of(&proposal.block.header().parent);
                let by = proposal.entered_by.as_ref();
                let by = by.map_or(String::new(), |tc| format!(" with tc({})", tc.view));
                format!("proposal {name} on {parent}{by}")
            }
            Message::Vote(vote) => format!("vote {}", self.name_of(&vote.block)),
            Message::Timeout(timeout) => {
                format!("timeout {} with qc({})", timeout.view, timeout.high_qc.view)
            }
            Message::Certificates(certificates) => {
                let tc = certificates.high_tc.as_ref();
                let tc = tc.map_or(String::new(), |tc| format!(" tc({})", tc.view));
                format!("certificates qc({}){tc}", certificates.high_qc.view)
            }
            Message::BlockRequest { from, tip } => {
                format!("block-request from {from} to {}", self.name_of(tip))
            }
            Message::Blocks(blocks) => {
                let names: Vec<_> = blocks
                    .iter()
                    .map(|link| self.name_of(&link.block.id()))
                    .collect();
                format!("blocks {}", names.join(" "))
            }
            Message::Inquiry(_) => "inquiry".to_owned(),
            Message::Testimony(testimony) => {
                format!("testimony qc({})", testimony.certificates.high_qc.view)
            }
        }
    }
}
