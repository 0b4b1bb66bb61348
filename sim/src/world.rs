//! A whole network in virtual time: every member of every committee is the production code, driven
//! by a heap of timed events. Nothing happens between events, so a thousand simulated seconds cost
//! what their events cost.
//!
//! Breaks if: anything but the seed and the calls made to a world decides what happens in it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::{DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_ledger::Transaction;
use lockstep_shard::{
    Archive, CertifiedRecord, Executor, Input, MAX_REPLAY, Member, Peer, PhaseStamp, Ready,
    VerifyContext,
};
use lockstep_types::{
    CommitteeId, Digest, Hasher, Height, KeyedHashEngine, Time, TransactionId, Verifier,
    WindowNumber,
};

use crate::byzantine::{Kind, Liar};
use crate::checker::Checkers;
use crate::clock::Clock;
use crate::event::{Agenda, Event};
use crate::network::{Links, Network};
use crate::node::{Node, Running};
use crate::replay::Recorder;
use crate::trace;
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
    /// Blocks that a member executes one by one rather than fetch the state after them.
    pub max_replay: u64,
}

impl WorldSpec {
    /// A world in which nothing goes wrong by itself: every message takes 20 ms and a sync 2 ms.
    ///
    /// # Panics
    /// When the chain's specification is out of bounds.
    pub fn calm(seed: u64, chain: &DevelopmentSpec) -> Self {
        WorldSpec {
            seed,
            chain: Chain::new(&DevelopmentSpec {
                time: Time::from_millis(1_000),
                ..chain.clone()
            }),
            links: Links::exact(Duration::from_millis(20)),
            sync: Duration::from_millis(2),
            timers: TimerConfig::DEFAULT,
            max_replay: MAX_REPLAY,
        }
    }
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
    pub(crate) chain: Chain,
    engine: KeyedHashEngine,
    pub(crate) verifier: Verifier,
    pub(crate) contexts: BTreeMap<CommitteeId, VerifyContext>,
    pub(crate) timers: TimerConfig,
    pub(crate) max_replay: u64,
    pub(crate) now: Time,
    pub(crate) agenda: Agenda,
    pub(crate) nodes: Vec<Node>,
    pub(crate) seats: BTreeMap<Peer, usize>,
    pub(crate) network: Network,
    pub(crate) crash_points: Option<CrashPoints>,
    /// What was said so far, when something of it is to be said again.
    pub(crate) recorder: Option<Recorder>,
    /// Up to where each beacon member's committed blocks were judged.
    pub(crate) judged: BTreeMap<Peer, Height>,
    /// For what happens in the world.
    pub(crate) random: Random,
    /// For what liars do, so that a liar's draws change nothing else.
    pub(crate) whims: Random,
    pub(crate) digest: Option<Hasher>,
    trace: Option<trace::Sink>,
    /// What must hold after every step.
    pub checkers: Checkers,
    /// Steps of the barrier as members stamped them.
    pub phases: Vec<(Peer, PhaseStamp)>,
    steps: u64,
    pub(crate) left_behind: u64,
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
            recorder: None,
            judged: BTreeMap::new(),
            digest: Some(Hasher::new("lockstep/simulated-events")),
            trace: None,
            phases: Vec::new(),
            steps: 0,
            left_behind: 0,
            random,
            timers: spec.timers,
            max_replay: spec.max_replay,
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
                let signer = self.engine.signer_for(key);
                self.nodes.push(Node::new(peer, signer, (sync, sync)));
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

    /// How often a member was so far behind that it fetched a state.
    pub fn left_behind(&self) -> u64 {
        self.left_behind
    }

    /// All seats.
    pub fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.seats.keys().copied()
    }

    /// Seats of members that keep the rules, and whose disks let them.
    pub fn correct(&self) -> impl Iterator<Item = Peer> + '_ {
        self.peers().filter(|peer| self.checkers.is_sound(peer))
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

    /// What a member's disk holds.
    pub fn store(&self, peer: &Peer) -> &dyn lockstep_ledger::Store {
        self.nodes[self.seats[peer]].disk.contents()
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

    pub(crate) fn tell(&mut self, node: usize, text: core::fmt::Arguments<'_>) {
        if let Some(sink) = &mut self.trace {
            trace::line(sink, self.now, &self.nodes[node].peer, text);
        }
    }

    /// Makes a member lie. It is excused from the checkers.
    pub fn corrupt(&mut self, peer: &Peer, kind: Kind) {
        if kind == Kind::Twin {
            return self.twin(peer);
        }
        let node = self.seats[peer];
        self.tell(node, format_args!("is a liar: {}", kind.name()));
        self.nodes[node].liar = Some(Box::new(Liar::new(kind, &mut self.whims)));
        self.checkers.excuse(*peer);
        self.start_anew(node);
    }

    /// Gives a member a transaction, as its RPC would: checked, and admitted by its ledger.
    /// None when it is down or refuses.
    pub fn submit(&mut self, to: &Peer, transaction: Transaction) -> Option<TransactionId> {
        let node = self.seats[to];
        let running = self.nodes[node].running.as_ref()?;
        let window = running.member.status().window;
        let ledger = running.executor.as_ref()?.ledger();
        ledger.admits(&transaction, window).ok()?;
        let genesis = self.chain.genesis.hash();
        let transaction = self.verifier.check(transaction, &genesis).ok()?;
        let id = transaction.id(&genesis);
        self.checkers.on_submitted(id);
        self.tell(node, format_args!("takes in {id:?}"));
        self.step(node, Input::Submitted { transaction });
        Some(id)
    }

    /// Sets a member's clock.
    pub fn set_clock(&mut self, peer: &Peer, clock: Clock) {
        let node = self.seats[peer];
        self.nodes[node].clock = clock;
        // Its timers run by its clock; asking once too often does no harm.
        let life = self.nodes[node].life;
        if let Some(running) = &mut self.nodes[node].running {
            running.wake_at = Some(self.now);
            self.agenda.add(self.now, node, Event::Wake { life });
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
        let is_outside = matches!(event, Event::Crash { .. } | Event::Freed);
        if paused_until > self.now && !is_outside {
            return self.nodes[node].wait(event);
        }
        match event {
            Event::Deliver {
                from,
                connection,
                message,
            } => {
                if connection == self.network.connection(&from, &self.nodes[node].peer) {
                    self.deliver(from, node, message);
                }
            }
            Event::Connect { peer } => self.on_connect(node, peer),
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
            Event::Crash { down } => self.crash_node(node, down),
            Event::Restart => self.restart(node),
            Event::Resume => self.resume(node),
            Event::Freed => self.free_disk(node),
            Event::Wake { .. } | Event::Synced { .. } | Event::Executed { .. } => {}
        }
    }

    pub(crate) fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].running.is_some()
    }

    pub(crate) fn running(&mut self, node: usize) -> &mut Running {
        let running = self.nodes[node].running.as_mut();
        running.expect("asked of running nodes only")
    }

    pub(crate) fn step(&mut self, node: usize, input: Input) {
        self.steps += 1;
        let now = self.nodes[node].clock.read(self.now);
        let mut ready = self.running(node).member.step(now, input);
        let peer = self.nodes[node].peer;
        self.checkers.on_step(&peer, now, &ready);
        let running = self.nodes[node].running.as_ref();
        let running = running.expect("it has just taken a step");
        let executor = running.executor.as_ref();
        self.checkers.on_held(&peer, &running.member, executor);
        self.tell_step(node, &ready);
        if let Some(fatal) = ready.stop.take() {
            return self.stop(node, &fatal);
        }
        for stamp in core::mem::take(&mut ready.phases) {
            self.phases.push((peer, stamp));
        }
        let restart = ready.restart;
        let writes = ready.needs_sync();
        let dies = writes && self.dies_here();
        let mut prompt = core::mem::take(&mut ready.prompt);
        if dies {
            prompt.truncate(self.prefix(prompt.len()));
        }
        self.send(node, prompt);
        if self.nodes[node].disk.is_full && (writes || !ready.execute.is_empty()) {
            return self.fail(node, "no space");
        }
        for block in core::mem::take(&mut ready.execute) {
            self.execute(node, block);
        }
        self.serve(node, &mut ready);
        if self.nodes[node].running.is_none() {
            return; // execution or an answer found something that must not be
        }
        self.set_wake(node, ready.wake_at);
        if writes {
            self.start_sync(node, ready);
        }
        if dies {
            self.die(node);
        } else if restart {
            self.begin_again(node);
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

    fn set_wake(&mut self, node: usize, at: Option<Time>) {
        let Some(at) = at else { return };
        let wait = self.nodes[node].clock.wait(self.now, at);
        let at = self.now.after(wait).max(self.now.next());
        let life = self.nodes[node].life;
        if self.running(node).wake_at.is_none_or(|set| at < set) {
            self.running(node).wake_at = Some(at);
            self.agenda.add(at, node, Event::Wake { life });
        }
    }

    /// The record with a number, as some member of the beacon has it.
    pub fn record(&self, number: WindowNumber) -> Option<CertifiedRecord> {
        let beacon = self
            .nodes
            .iter()
            .filter(|n| n.peer.committee == CommitteeId::Beacon);
        let mut found = beacon.filter_map(|node| {
            Archive::new(node.disk.contents())
                .record(number)
                .expect("memory does not fail")
        });
        found.next()
    }
}
