//! A whole network in virtual time: every member of every committee is the production code, driven
//! by a heap of timed events. Nothing happens between events, so a thousand simulated seconds cost
//! what their events cost.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::{DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_shard::{
    Archive, CertifiedRecord, Destination, ExecuteBlock, ExecutedBlock, Executor, Input, Member,
    Message, Outbound, Peer, PhaseStamp, Ready, Request, Setup, VerifyContext, run_in_order,
};
use lockstep_types::{CommitteeId, Durable, Hasher, KeyedHashEngine, KeyedSigner, Time, Verifier};

use crate::checker::Checkers;
use crate::disk::Disk;
use crate::network::{Links, Network};
use crate::{Broken, Random};

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldSpec {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// The chain.
    pub chain: DevelopmentSpec,
    /// The links at the start.
    pub links: Links,
    /// How long a sync takes.
    pub sync: Duration,
    /// Durations of consensus.
    pub timers: TimerConfig,
}

/// One member with its disk.
struct Node {
    peer: Peer,
    signer: KeyedSigner,
    context: VerifyContext,
    disk: Disk,
    running: Option<Running>,
    /// Counts restarts, so that events of an earlier life are dropped.
    life: u64,
}

struct Running {
    member: Member,
    executor: Option<Executor>,
    /// Steps whose writes are under way, in order.
    syncing: VecDeque<Ready>,
    wake_at: Option<Time>,
}

#[derive(Debug)]
enum Event {
    Deliver {
        from: Peer,
        to: usize,
        message: Arc<Message>,
    },
    Wake {
        node: usize,
        life: u64,
    },
    Synced {
        node: usize,
        life: u64,
    },
    Executed {
        node: usize,
        life: u64,
        block: Box<ExecutedBlock>,
    },
    Restart {
        node: usize,
    },
}

/// A simulated network.
pub struct World {
    genesis: Arc<Genesis>,
    keys: DevelopmentKeys,
    engine: KeyedHashEngine,
    verifier: Verifier,
    spec: WorldSpec,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    nodes: Vec<Node>,
    seats: BTreeMap<Peer, usize>,
    network: Network,
    random: Random,
    digest: Hasher,
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
        let (genesis, keys) =
            Genesis::development(&spec.chain).expect("the simulated chain is well-formed");
        let genesis = Arc::new(genesis);
        let engine = KeyedHashEngine::new([7; 32]);
        let mut world = World {
            verifier: Verifier::new(Arc::new(engine.clone())),
            checkers: Checkers::new(genesis.clone()),
            network: Network::new(spec.links, random.fork()),
            now: genesis.time,
            events: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            seats: BTreeMap::new(),
            digest: Hasher::new("lockstep/simulated-events"),
            phases: Vec::new(),
            steps: 0,
            random,
            spec,
            engine,
            keys,
            genesis,
        };
        world.seat_everybody();
        world
    }

    fn seat_everybody(&mut self) {
        let genesis = self.genesis.clone();
        for committee in genesis.committees() {
            let context = VerifyContext::new(genesis.clone(), committee);
            for member in genesis.committee(committee).indices() {
                let key = *genesis
                    .committee(committee)
                    .key(member)
                    .expect("an index of it");
                let peer = Peer { committee, member };
                self.seats.insert(peer, self.nodes.len());
                self.nodes.push(Node {
                    peer,
                    signer: self.engine.signer_for(key),
                    context: context.clone(),
                    disk: Disk::default(),
                    running: None,
                    life: 0,
                });
            }
        }
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
    }

    /// The chain.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// The keys of its accounts.
    pub fn keys(&self) -> &DevelopmentKeys {
        &self.keys
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

    /// A running member.
    pub fn member(&self, peer: &Peer) -> Option<&Member> {
        self.nodes[self.seats[peer]]
            .running
            .as_ref()
            .map(|running| &running.member)
    }

    /// A running shard member's execution.
    pub fn executor(&self, peer: &Peer) -> Option<&Executor> {
        self.nodes[self.seats[peer]]
            .running
            .as_ref()?
            .executor
            .as_ref()
    }

    /// A digest of every event so far: two runs of one seed give the same.
    pub fn event_digest(self) -> lockstep_types::Digest {
        self.digest.finish()
    }

    /// Gives a member a transaction, as its RPC would: checked, and admitted by its ledger.
    /// False when it is down or refuses.
    pub fn submit(&mut self, to: &Peer, transaction: lockstep_ledger::Transaction) -> bool {
        let node = self.seats[to];
        let Some(running) = &self.nodes[node].running else {
            return false;
        };
        let window = running.member.status().window;
        let executor = running
            .executor
            .as_ref()
            .expect("transactions go to shards");
        if executor.ledger().admits(&transaction, window).is_err() {
            return false;
        }
        let Ok(transaction) = self.verifier.check(transaction, &self.genesis.hash()) else {
            return false;
        };
        self.checkers
            .on_submitted(transaction.id(&self.genesis.hash()));
        self.step(node, Input::Submitted { transaction });
        true
    }

    /// Ends a member's life. It comes back after `down`, from what its disk kept.
    pub fn crash(&mut self, peer: &Peer, down: Duration) {
        let node = self.seats[peer];
        if self.nodes[node].running.take().is_none() {
            return;
        }
        self.nodes[node].life += 1;
        let mut random = self.random.fork();
        self.nodes[node].disk.crash(&mut random);
        self.schedule(self.now.after(down), Event::Restart { node });
    }

    fn restart(&mut self, node: usize) {
        let now = self.now;
        let (genesis, timers) = (self.genesis.clone(), self.spec.timers);
        let this = &mut self.nodes[node];
        let setup = Setup {
            genesis: genesis.clone(),
            committee: this.peer.committee,
            me: this.peer.member,
            signer: Arc::new(this.signer.clone()),
            timers,
        };
        let record = this.disk.record().cloned();
        let member = Member::recover(setup, this.disk.store(), record)
            .expect("a correct member comes back from its own disk");
        let executor = this.peer.committee.shard().map(|shard| {
            Executor::load(genesis, shard, this.disk.store())
                .expect("a correct member's state can be loaded")
        });
        this.running = Some(Running {
            member,
            executor,
            syncing: VecDeque::new(),
            wake_at: None,
        });
        self.schedule(
            now,
            Event::Wake {
                node,
                life: self.nodes[node].life,
            },
        );
        let peer = self.nodes[node].peer;
        for other in 0..self.nodes.len() {
            let peer_of_other = self.nodes[other].peer;
            if other == node || self.nodes[other].running.is_none() {
                continue;
            }
            if peer_of_other.committee == peer.committee {
                self.step(other, Input::Connected { peer });
                self.step(
                    node,
                    Input::Connected {
                        peer: peer_of_other,
                    },
                );
            }
        }
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.events.insert((at.max(self.now), self.sequence), event);
    }

    /// Runs until `end`, or until a checker objects.
    ///
    /// # Errors
    /// What does not hold, and when.
    pub fn run_until(&mut self, end: Time) -> Result<(), Broken> {
        while let Some(((at, _), _)) = self.events.first_key_value() {
            if *at > end {
                break;
            }
            let ((at, _), event) = self.events.pop_first().expect("just seen");
            self.now = at;
            self.handle(event);
            if let Some(broken) = self.checkers.broken() {
                return Err(broken);
            }
        }
        self.now = end;
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, &message),
            Event::Wake { node, life } if self.is_alive(node, life) => {
                let due = self.running(node).wake_at.is_some_and(|at| at <= self.now);
                if due || self.running(node).wake_at.is_none() {
                    self.running(node).wake_at = None;
                    self.step(node, Input::Tick);
                }
            }
            Event::Synced { node, life } if self.is_alive(node, life) => self.on_synced(node),
            Event::Executed { node, life, block } if self.is_alive(node, life) => {
                let peer = self.nodes[node].peer;
                self.checkers.on_executed(&peer, &block);
                let executor = self.running(node).executor.take();
                if let Some(executor) = &executor {
                    self.checkers.on_ledger(&peer, executor.ledger());
                }
                self.running(node).executor = executor;
                self.step(node, Input::Executed(block));
            }
            Event::Restart { node } => self.restart(node),
            Event::Wake { .. } | Event::Synced { .. } | Event::Executed { .. } => {}
        }
    }

    fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].running.is_some()
    }

    fn running(&mut self, node: usize) -> &mut Running {
        self.nodes[node]
            .running
            .as_mut()
            .expect("asked of running nodes only")
    }

    fn deliver(&mut self, from: Peer, to: usize, message: &Message) {
        if self.nodes[to].running.is_none() {
            return;
        }
        let at = self.now;
        let mut digest = core::mem::replace(&mut self.digest, Hasher::new("lockstep/none"));
        digest = digest
            .value(&at)
            .value(&from)
            .value(&(to as u64))
            .value(&message.kind());
        self.digest = digest;
        match self
            .verifier
            .check(message.clone(), &self.nodes[to].context)
        {
            Ok(message) => self.step(to, Input::Received { from, message }),
            Err(rejection) => self.checkers.on_rejected(&from, &rejection),
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        self.steps += 1;
        let now = self.now;
        let mut ready = self.running(node).member.step(now, input);
        let peer = self.nodes[node].peer;
        self.checkers.on_step(&peer, &ready);
        if ready.stop.is_some() {
            self.nodes[node].running = None;
            self.nodes[node].life += 1;
            return;
        }
        for stamp in core::mem::take(&mut ready.phases) {
            self.phases.push((peer, stamp));
        }
        self.send(node, core::mem::take(&mut ready.prompt));
        for block in core::mem::take(&mut ready.execute) {
            self.execute(node, block);
        }
        self.serve(node, &mut ready);
        self.set_wake(node, ready.wake_at);
        if ready.needs_sync() {
            let life = self.nodes[node].life;
            self.running(node).syncing.push_back(ready);
            let done = now.after(self.spec.sync);
            self.schedule(done, Event::Synced { node, life });
        }
    }

    fn set_wake(&mut self, node: usize, at: Option<Time>) {
        let Some(at) = at else { return };
        let at = at.max(self.now.next());
        let life = self.nodes[node].life;
        if self.running(node).wake_at.is_none_or(|set| at < set) {
            self.running(node).wake_at = Some(at);
            self.schedule(at, Event::Wake { node, life });
        }
    }

    /// The disk has finished the oldest step's writes.
    fn on_synced(&mut self, node: usize) {
        let ready = self
            .running(node)
            .syncing
            .pop_front()
            .expect("one sync per event");
        let this = &mut self.nodes[node];
        this.disk.write_synced(ready.writes(), ready.record());
        let durable = Durable::synced(ready.position());
        self.send(node, ready.release(&durable));
        self.step(node, Input::Synced(durable));
    }

    fn execute(&mut self, node: usize, block: ExecuteBlock) {
        let peer = self.nodes[node].peer;
        let executor = self
            .running(node)
            .executor
            .as_mut()
            .expect("shards execute");
        match executor.step(block, &mut run_in_order) {
            Ok(execution) => {
                self.nodes[node].disk.write_behind(execution.writes);
                let life = self.nodes[node].life;
                let block = Box::new(execution.executed);
                self.schedule(self.now, Event::Executed { node, life, block });
            }
            Err(fatal) => self.checkers.on_fatal(&peer, &fatal),
        }
    }

    fn serve(&mut self, node: usize, ready: &mut Ready) {
        let mut answers = Vec::new();
        for (peer, request) in core::mem::take(&mut ready.serve) {
            let found = match &request {
                Request::Entries { destination, from } => {
                    let executor = self.running(node).executor.as_ref();
                    let bundle = executor.and_then(|e| e.entries(*destination, *from));
                    bundle
                        .map(|b| Message::Bundle(Arc::new(b)))
                        .into_iter()
                        .collect()
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

    fn send(&mut self, node: usize, messages: Vec<Outbound>) {
        let from = self.nodes[node].peer;
        for Outbound { to, message } in messages {
            self.checkers.on_sent(&from, &message);
            let message = Arc::new(message);
            let receivers: Vec<Peer> = match to {
                Destination::Seat(member) => vec![Peer {
                    committee: from.committee,
                    member,
                }],
                Destination::Member(peer) => vec![peer],
                Destination::Committee | Destination::Gossip => self
                    .genesis
                    .committee(from.committee)
                    .indices()
                    .map(|member| Peer {
                        committee: from.committee,
                        member,
                    })
                    .filter(|peer| *peer != from)
                    .collect(),
            };
            for receiver in receivers {
                for at in self.network.arrivals(self.now, &from, &receiver) {
                    let to = self.seats[&receiver];
                    self.schedule(
                        at,
                        Event::Deliver {
                            from,
                            to,
                            message: message.clone(),
                        },
                    );
                }
            }
        }
    }

    /// The record with a number, as some running member of the beacon has it.
    pub fn record(&self, number: lockstep_types::WindowNumber) -> Option<CertifiedRecord> {
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
