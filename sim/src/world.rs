//! A whole network in virtual time: every member of every committee is the production code, driven
//! by a heap of timed events. Nothing happens between events, so a thousand simulated seconds cost
//! what their events cost.
//!
//! Breaks if: anything but the seed and the calls made to a world decides what happens in it.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::{DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_ledger::Transaction;
use lockstep_shard::{
    Archive, CertifiedRecord, Destination, ExecuteBlock, ExecutedBlock, Executor, Input, Member,
    Message, Outbound, Peer, PhaseStamp, Ready, Request, Setup, VerifyContext, run_in_order,
};
use lockstep_types::{
    CommitteeId, Digest, Durable, Hasher, Height, KeyedHashEngine, Time, TransactionId, Verified,
    Verifier, WindowNumber,
};

use crate::byzantine::{Behaviour, Seat};
use crate::checker::Checkers;
use crate::disk::Disk;
use crate::event::{Agenda, Event};
use crate::network::{Links, Network};
use crate::node::{Node, Running};
use crate::trace::{self, Summary};
use crate::{Broken, Random};

/// A chain that worlds run: its genesis and everybody's keys. Making one costs more than a short
/// world does, so worlds share it.
#[derive(Clone)]
pub struct Chain {
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// The keys of its accounts.
    pub keys: Arc<DevelopmentKeys>,
}

impl Chain {
    /// A development chain.
    ///
    /// # Panics
    /// When the specification is out of bounds.
    pub fn new(spec: &DevelopmentSpec) -> Self {
        let (genesis, keys) =
            Genesis::development(spec).expect("the simulated chain is well-formed");
        Chain {
            genesis: Arc::new(genesis),
            keys: Arc::new(keys),
        }
    }
}

/// What a world is made of.
#[derive(Clone)]
pub struct WorldSpec {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// The chain.
    pub chain: Chain,
    /// The links at the start.
    pub links: Links,
    /// How long a sync takes.
    pub sync: Duration,
    /// Durations of consensus.
    pub timers: TimerConfig,
}

/// How often a process dies in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoints {
    /// Of so many thousand steps that write, one crashes before its sync, or after it and before
    /// all its messages are sent.
    pub one_in: u64,
    /// How long the process stays down, at most.
    pub down: Duration,
}

/// A simulated network.
pub struct World {
    chain: Chain,
    engine: KeyedHashEngine,
    verifier: Verifier,
    contexts: BTreeMap<CommitteeId, VerifyContext>,
    timers: TimerConfig,
    now: Time,
    agenda: Agenda,
    nodes: Vec<Node>,
    seats: BTreeMap<Peer, usize>,
    network: Network,
    crash_points: Option<CrashPoints>,
    /// Up to where each beacon member's committed blocks were judged.
    judged: BTreeMap<Peer, Height>,
    /// For what happens in the world.
    random: Random,
    /// For what liars do, so that a liar's draws change nothing else.
    whims: Random,
    digest: Option<Hasher>,
    trace: Option<trace::Sink>,
    /// What must hold after every step.
    pub checkers: Checkers,
    /// Steps of the barrier as members stamped them.
    pub phases: Vec<(Peer, PhaseStamp)>,
    steps: u64,
}

impl World {
    /// Builds a world and starts every member at the genesis time.
    pub fn new(spec: WorldSpec) -> Self {
        let mut random = Random::new(spec.seed);
        let genesis = spec.chain.genesis.clone();
        let engine = KeyedHashEngine::new([7; 32]);
        let context = |id| (id, VerifyContext::new(genesis.clone(), id));
        let mut world = World {
            verifier: Verifier::new(Arc::new(engine.clone())),
            contexts: genesis.committees().map(context).collect(),
            checkers: Checkers::new(genesis.clone(), engine.clone()),
            network: Network::new(spec.links, random.fork()),
            whims: random.fork(),
            now: genesis.time,
            agenda: Agenda::default(),
            nodes: Vec::new(),
            seats: BTreeMap::new(),
            crash_points: None,
            judged: BTreeMap::new(),
            digest: Some(Hasher::new("lockstep/simulated-events")),
            trace: None,
            phases: Vec::new(),
            steps: 0,
            random,
            timers: spec.timers,
            engine,
            chain: spec.chain,
        };
        world.seat_everybody(spec.sync);
        world
    }

    fn seat_everybody(&mut self, sync: Duration) {
        let genesis = self.chain.genesis.clone();
        for committee in genesis.committees() {
            for member in genesis.committee(committee).indices() {
                let key = genesis.committee(committee).key(member);
                let key = *key.expect("an index of it");
                let peer = Peer { committee, member };
                self.seats.insert(peer, self.nodes.len());
                self.nodes.push(Node {
                    peer,
                    signer: self.engine.signer_for(key),
                    disk: Disk::default(),
                    running: None,
                    life: 0,
                    skew: 0,
                    paused_until: Time::ZERO,
                    behaviour: None,
                    sync: (sync, sync),
                });
            }
        }
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
    }

    /// The chain.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.chain.genesis
    }

    /// The keys of its accounts.
    pub fn keys(&self) -> &DevelopmentKeys {
        &self.chain.keys
    }

    /// Signs for any key of this world.
    pub fn engine(&self) -> &KeyedHashEngine {
        &self.engine
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The links.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Steps taken by all members together.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// All seats.
    pub fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.nodes.iter().map(|node| node.peer)
    }

    /// Seats of members that keep the rules.
    pub fn correct(&self) -> impl Iterator<Item = Peer> + '_ {
        self.peers().filter(|peer| self.checkers.is_correct(peer))
    }

    /// A running member.
    pub fn member(&self, peer: &Peer) -> Option<&Member> {
        let running = self.nodes[self.seats[peer]].running.as_ref();
        running.map(|running| &running.member)
    }

    /// A running shard member's execution.
    pub fn executor(&self, peer: &Peer) -> Option<&Executor> {
        let running = self.nodes[self.seats[peer]].running.as_ref();
        running?.executor.as_ref()
    }

    /// How often a member has been started again.
    pub fn life(&self, peer: &Peer) -> u64 {
        self.nodes[self.seats[peer]].life
    }

    /// A digest of every event so far: two runs of one seed give the same.
    pub fn event_digest(mut self) -> Digest {
        self.digest.take().expect("there between events").finish()
    }

    /// Tells every event as a line of text from now on.
    pub fn trace_to(&mut self, sink: trace::Sink) {
        self.trace = Some(sink);
    }

    fn tell(&mut self, node: usize, text: core::fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.trace {
            trace::line(sink, self.now, &self.nodes[node].peer, text);
        }
    }

    /// Makes a member lie. It is excused from the checkers.
    pub fn corrupt(&mut self, peer: &Peer, behaviour: Box<dyn Behaviour>) {
        let node = self.seats[peer];
        self.tell(node, format_args!("is a liar: {}", behaviour.name()));
        self.nodes[node].behaviour = Some(behaviour);
        self.checkers.excuse(*peer);
    }

    /// Gives a member a transaction, as its RPC would: checked, and admitted by its ledger.
    /// None when it is down or refuses.
    pub fn submit(&mut self, to: &Peer, transaction: Transaction) -> Option<TransactionId> {
        let node = self.seats[to];
        let running = self.nodes[node].running.as_ref()?;
        let window = running.member.status().window;
        let executor = running.executor.as_ref();
        let ledger = executor.expect("transactions go to shards").ledger();
        ledger.admits(&transaction, window).ok()?;
        let genesis = self.chain.genesis.hash();
        let transaction = self.verifier.check(transaction, &genesis).ok()?;
        let id = transaction.id(&genesis);
        self.checkers.on_submitted(id);
        self.tell(node, format_args!("takes in {id:?}"));
        self.step(node, Input::Submitted { transaction });
        Some(id)
    }

    /// Ends a member's life. It comes back after `down`, from what its disk kept.
    pub fn crash(&mut self, peer: &Peer, down: Duration) {
        self.crash_node(self.seats[peer], down);
    }

    fn crash_node(&mut self, node: usize, down: Duration) {
        let mut random = self.random.fork();
        if self.nodes[node].crash(&mut random) {
            self.tell(node, format_args!("crashes for {} ms", down.as_millis()));
            self.agenda.add(self.now.after(down), node, Event::Restart);
        }
    }

    /// Stops a member's process for a while. It misses nothing and answers nothing.
    pub fn pause(&mut self, peer: &Peer, pause: Duration) {
        let node = self.seats[peer];
        self.tell(node, format_args!("pauses for {} ms", pause.as_millis()));
        self.nodes[node].paused_until = self.now.after(pause);
    }

    /// Sets a member's clock this many microseconds before or behind the world's.
    pub fn set_skew(&mut self, peer: &Peer, micros: i64) {
        let node = self.seats[peer];
        self.nodes[node].skew = micros;
        // Its timers run by its clock; asking once too often does no harm.
        let life = self.nodes[node].life;
        if let Some(running) = &mut self.nodes[node].running {
            running.wake_at = Some(self.now);
            self.agenda.add(self.now, node, Event::Wake { life });
        }
    }

    /// Sets how long a member's disk takes for a sync.
    pub fn set_sync(&mut self, peer: &Peer, least: Duration, most: Duration) {
        self.nodes[self.seats[peer]].sync = (least, most);
    }

    /// Lets processes die in the middle of steps, or no longer.
    pub fn set_crash_points(&mut self, points: Option<CrashPoints>) {
        self.crash_points = points;
    }

    /// Ends all pauses and starts whatever is down.
    pub fn wake_everybody(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = self.now;
            if self.nodes[node].running.is_none() {
                self.restart(node);
            }
        }
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].running.is_some() {
            return; // started by hand before its time
        }
        let genesis = self.chain.genesis.clone();
        let this = &mut self.nodes[node];
        let setup = Setup {
            genesis: genesis.clone(),
            committee: this.peer.committee,
            me: this.peer.member,
            signer: Arc::new(this.signer.clone()),
            timers: self.timers,
        };
        let peer = this.peer;
        let record = this.disk.record().cloned();
        let member = match Member::recover(setup, this.disk.store(), record) {
            Ok(member) => member,
            Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
        };
        let load = |shard| Executor::load(genesis, shard, this.disk.store());
        let executor = match peer.committee.shard().map(load).transpose() {
            Ok(executor) => executor,
            Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
        };
        this.running = Some(Running {
            member,
            executor,
            syncing: VecDeque::new(),
            synced_at: self.now,
            wake_at: Some(self.now),
        });
        let life = this.life;
        self.tell(node, format_args!("starts"));
        self.agenda.add(self.now, node, Event::Wake { life });
        self.connect(node);
    }

    fn connect(&mut self, node: usize) {
        let peer = self.nodes[node].peer;
        for other in 0..self.nodes.len() {
            let theirs = self.nodes[other].peer;
            if other == node || theirs.committee != peer.committee {
                continue;
            }
            for (at, with) in [(other, peer), (node, theirs)] {
                let here = &self.nodes[at];
                if here.running.is_some() && here.paused_until <= self.now {
                    self.step(at, Input::Connected { peer: with });
                }
            }
        }
    }

    /// Runs until `end`, or until a checker objects.
    ///
    /// # Errors
    /// What does not hold.
    pub fn run_until(&mut self, end: Time) -> Result<(), Broken> {
        while let Some((at, node, event)) = self.agenda.next(end) {
            self.now = at;
            self.handle(node, event);
            if let Some(broken) = self.checkers.broken() {
                return Err(broken.clone());
            }
        }
        self.now = end;
        self.checkers.broken().cloned().map_or(Ok(()), Err)
    }

    fn handle(&mut self, node: usize, event: Event) {
        let paused_until = self.nodes[node].paused_until;
        if paused_until > self.now {
            return self.agenda.add(paused_until, node, event);
        }
        match event {
            Event::Deliver { from, message } => self.deliver(from, node, message),
            Event::Wake { life } if self.is_alive(node, life) => {
                let due = self.running(node).wake_at.is_some_and(|at| at <= self.now);
                if due {
                    self.running(node).wake_at = None;
                    self.step(node, Input::Tick);
                }
            }
            Event::Synced { life } if self.is_alive(node, life) => self.on_synced(node),
            Event::Executed { life, block } if self.is_alive(node, life) => {
                self.on_executed(node, block);
            }
            Event::Restart => self.restart(node),
            Event::Wake { .. } | Event::Synced { .. } | Event::Executed { .. } => {}
        }
    }

    fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].running.is_some()
    }

    fn running(&mut self, node: usize) -> &mut Running {
        let running = self.nodes[node].running.as_mut();
        running.expect("asked of running nodes only")
    }

    fn deliver(&mut self, from: Peer, node: usize, message: Rc<Verified<Message>>) {
        let Some(running) = &self.nodes[node].running else {
            return;
        };
        // What a validator drops before it checks signatures.
        if let Message::Consensus(inner) = &**message
            && inner.is_stale(&running.member.horizon())
        {
            return;
        }
        let kind = message.kind();
        let digest = self.digest.take().expect("put back below");
        self.digest = Some(digest.value(&(self.now, from, node as u64)).value(&kind));
        self.tell(
            node,
            format_args!("<- {:<10} {}", trace::Name(&from), Summary(&message)),
        );
        if let Some(behaviour) = &mut self.nodes[node].behaviour {
            behaviour.hear(&message);
        }
        self.checkers.on_accepted(&self.nodes[node].peer, &message);
        let message = Rc::unwrap_or_clone(message);
        self.step(node, Input::Received { from, message });
    }

    fn step(&mut self, node: usize, input: Input) {
        self.steps += 1;
        let now = self.nodes[node].local(self.now);
        let mut ready = self.running(node).member.step(now, input);
        let peer = self.nodes[node].peer;
        self.checkers.on_step(&peer, &ready);
        self.tell_step(node, &ready);
        if ready.stop.is_some() {
            self.nodes[node].running = None;
            self.nodes[node].life += 1;
            return;
        }
        for stamp in core::mem::take(&mut ready.phases) {
            self.phases.push((peer, stamp));
        }
        let writes = ready.needs_sync();
        let dies = writes && self.dies_here();
        let mut prompt = core::mem::take(&mut ready.prompt);
        if dies {
            prompt.truncate(self.prefix(prompt.len()));
        }
        self.send(node, prompt);
        for block in core::mem::take(&mut ready.execute) {
            self.execute(node, block);
        }
        self.serve(node, &mut ready);
        self.set_wake(node, ready.wake_at);
        if writes {
            self.start_sync(node, ready);
        }
        if dies {
            self.die(node);
        }
    }

    fn tell_step(&mut self, node: usize, ready: &Ready) {
        if self.trace.is_none() {
            return;
        }
        for block in &ready.execute {
            let header = block.link.block.header();
            let id = block.link.block.id();
            let (height, view) = (header.height, header.view);
            self.tell(node, format_args!("commits {height} {view} {id:?}"));
        }
        for (from, reason) in &ready.refused {
            self.tell(
                node,
                format_args!("refuses {}: {reason}", trace::Name(from)),
            );
        }
        for stamp in &ready.phases {
            let (phase, barrier) = (stamp.phase.name(), stamp.barrier);
            self.tell(node, format_args!("barrier {barrier}: {phase}"));
        }
        if let Some(fatal) = &ready.stop {
            self.tell(node, format_args!("stops: {fatal}"));
        }
    }

    fn dies_here(&mut self) -> bool {
        let points = self.crash_points;
        points.is_some_and(|points| self.random.below(points.one_in) == 0)
    }

    fn prefix(&mut self, length: usize) -> usize {
        let some = self.random.below(length as u64 + 1);
        usize::try_from(some).expect("at most a length")
    }

    fn die(&mut self, node: usize) {
        let most = self
            .crash_points
            .map_or(Duration::ZERO, |points| points.down);
        let down = self.random.duration(Duration::from_millis(50), most);
        self.crash_node(node, down);
    }

    fn start_sync(&mut self, node: usize, ready: Ready) {
        let (least, most) = self.nodes[node].sync;
        let takes = if least == most {
            least
        } else {
            self.random.duration(least, most)
        };
        let now = self.now;
        let life = self.nodes[node].life;
        let running = self.running(node);
        running.syncing.push_back(ready);
        running.synced_at = running.synced_at.max(now.after(takes));
        let done = running.synced_at;
        self.agenda.add(done, node, Event::Synced { life });
    }

    fn set_wake(&mut self, node: usize, at: Option<Time>) {
        let Some(at) = at else { return };
        let at = self.nodes[node].global(at).max(self.now.next());
        let life = self.nodes[node].life;
        if self.running(node).wake_at.is_none_or(|set| at < set) {
            self.running(node).wake_at = Some(at);
            self.agenda.add(at, node, Event::Wake { life });
        }
    }

    /// The disk has finished the oldest step's writes.
    fn on_synced(&mut self, node: usize) {
        let ready = self.running(node).syncing.pop_front();
        let ready = ready.expect("one sync per event");
        let this = &mut self.nodes[node];
        this.disk.write_synced(ready.writes(), ready.record());
        if this.peer.committee == CommitteeId::Beacon {
            self.judge_beacon(node);
        }
        let durable = Durable::synced(ready.position());
        let mut messages = ready.release(&durable);
        if self.dies_here() {
            messages.truncate(self.prefix(messages.len()));
            self.send(node, messages);
            return self.die(node);
        }
        self.send(node, messages);
        self.step(node, Input::Synced(durable));
    }

    /// A beacon's commits show in its store.
    fn judge_beacon(&mut self, node: usize) {
        let peer = self.nodes[node].peer;
        let archive = Archive::new(self.nodes[node].disk.store());
        let judged = self.judged.entry(peer).or_default();
        loop {
            let height = judged.next();
            let found = archive.block(height).and_then(|block| {
                let proof = archive.proof(height)?;
                Ok(block.zip(proof))
            });
            match found {
                Ok(Some((link, proof))) => self.checkers.on_committed(&peer, &link, &proof),
                Ok(None) => return,
                Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
            }
            *judged = height;
        }
    }

    fn execute(&mut self, node: usize, block: ExecuteBlock) {
        let peer = self.nodes[node].peer;
        let executor = self.running(node).executor.as_mut();
        let executor = executor.expect("shards execute");
        match executor.step(block, &mut run_in_order) {
            Ok(execution) => {
                let block = Box::new(execution.executed);
                self.nodes[node].disk.write_behind(&execution.writes);
                let running = self.nodes[node].running.as_ref();
                let executor = running.and_then(|running| running.executor.as_ref());
                let ledger = executor.expect("just used").ledger();
                self.checkers.on_executed(&peer, &block, ledger);
                let life = self.nodes[node].life;
                self.agenda
                    .add(self.now, node, Event::Executed { life, block });
            }
            Err(fatal) => self.checkers.on_fatal(&peer, &fatal),
        }
    }

    fn on_executed(&mut self, node: usize, block: Box<ExecutedBlock>) {
        let digest = self.digest.take().expect("put back below");
        self.digest = Some(digest.value(&(self.now, node as u64)).value(&block.digest));
        self.step(node, Input::Executed(block));
    }

    fn serve(&mut self, node: usize, ready: &mut Ready) {
        let mut answers = Vec::new();
        for (peer, request) in core::mem::take(&mut ready.serve) {
            let found = match &request {
                Request::Entries { destination, from } => {
                    let executor = self.running(node).executor.as_ref();
                    let bundle = executor.and_then(|e| e.entries(*destination, *from));
                    let bundle = bundle.map(|b| Message::Bundle(Arc::new(b)));
                    bundle.into_iter().collect()
                }
                _ => Archive::new(self.nodes[node].disk.store())
                    .answer(&request)
                    .expect("memory does not fail"),
            };
            let to = Destination::Member(peer);
            answers.extend(found.into_iter().map(|message| Outbound { to, message }));
        }
        for request in core::mem::take(&mut ready.serve_blocks) {
            let answer = Archive::new(self.nodes[node].disk.store())
                .answer_blocks(&request)
                .expect("memory does not fail");
            let to = Destination::Seat(request.peer);
            answers.extend(answer.map(|message| Outbound { to, message }));
        }
        self.send(node, answers);
    }

    fn receivers(&self, from: &Peer, to: Destination) -> Vec<Peer> {
        let committee = from.committee;
        match to {
            Destination::Seat(member) => vec![Peer { committee, member }],
            Destination::Member(peer) => vec![peer],
            Destination::Committee | Destination::Gossip => {
                let members = self.chain.genesis.committee(committee).indices();
                members
                    .map(|member| Peer { committee, member })
                    .filter(|peer| peer != from)
                    .collect()
            }
        }
    }

    fn send(&mut self, node: usize, messages: Vec<Outbound>) {
        let from = self.nodes[node].peer;
        if let Some(mut behaviour) = self.nodes[node].behaviour.take() {
            self.lie(node, &mut *behaviour, messages);
            self.nodes[node].behaviour = Some(behaviour);
            return;
        }
        for Outbound { to, message } in messages {
            self.checkers.on_sent(&from, &message);
            self.transmit(from, &self.receivers(&from, to), message);
        }
    }

    fn lie(&mut self, node: usize, behaviour: &mut dyn Behaviour, messages: Vec<Outbound>) {
        let from = self.nodes[node].peer;
        let mut honest = Vec::new();
        for Outbound { to, message } in messages {
            let receivers = self.receivers(&from, to).into_iter();
            honest.extend(receivers.map(|receiver| (receiver, message.clone())));
        }
        let mut seat = Seat {
            genesis: &self.chain.genesis,
            peer: from,
            signer: &self.nodes[node].signer,
            random: &mut self.whims,
        };
        for (to, message) in behaviour.send(&mut seat, honest) {
            self.checkers.on_sent(&from, &message);
            self.transmit(from, &[to], message);
        }
    }

    /// Puts a message on the links. It is checked once, for all receivers, which are of one
    /// committee; the check depends on nothing that could change on the way.
    fn transmit(&mut self, from: Peer, receivers: &[Peer], message: Message) {
        let mut arrivals = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            let seat = self.seats[receiver];
            let times = self.network.arrivals(self.now, &from, receiver);
            arrivals.extend(times.map(|at| (at, seat)));
        }
        let Some(committee) = receivers.first().map(|peer| peer.committee) else {
            return;
        };
        if arrivals.is_empty() {
            return;
        }
        let message = match self.verifier.check(message, &self.contexts[&committee]) {
            Ok(message) => Rc::new(message),
            Err(rejection) => return self.checkers.on_rejected(&from, &rejection),
        };
        for (at, seat) in arrivals {
            let message = message.clone();
            self.agenda.add(at, seat, Event::Deliver { from, message });
        }
    }

    /// The record with a number, as some member of the beacon has it.
    pub fn record(&self, number: WindowNumber) -> Option<CertifiedRecord> {
        let beacon = self
            .nodes
            .iter()
            .filter(|n| n.peer.committee == CommitteeId::Beacon);
        let mut found = beacon.filter_map(|node| {
            Archive::new(node.disk.store())
                .record(number)
                .expect("memory does not fail")
        });
        found.next()
    }
}
