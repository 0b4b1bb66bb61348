//! A running validator: its threads, its sockets and its disk.
//!
//! ```text
//!  sockets ─▶ verifier pool ─▶ inbox ─▶ replica thread ─▶ storage thread ─▶ sockets
//!                               ▲  ▲          │  ▲            (group commit)
//!                      RPC ─────┘  │          ▼  │
//!                                  └── execution thread ─▶ store (written behind), subscribers
//! ```
//!
//! Everything that fails throws the [`StopSwitch`] with a named reason, and everybody ends.

use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lockstep_consensus::{Arrival, Challenge, TimerConfig};
use lockstep_genesis::Genesis;
use lockstep_ledger::Store;
use lockstep_shard::{
    Input, MAX_MESSAGE_BYTES, Message, Peer, Setup, VerifyContext, has_any_block,
};
use lockstep_types::{Blame, CommitteeId, Rejection, Signer, Verified, Verifier};

use crate::answers::{Answers, client_room, readers};
use crate::clock::Clock;
use crate::conduct::Conduct;
use crate::config::NodeConfig;
use crate::disk::{Disk, Opening, Wrap};
use crate::evidence::Casebook;
use crate::execution::{self, Execution};
use crate::exit::{Stop, StopSwitch};
use crate::held;
use crate::home::{DataLock, Home};
use crate::host::Host;
use crate::identity::Identity;
use crate::inbox::{Inbox, Room, Urgency};
use crate::metrics::Metrics;
use crate::network::{
    Class, EventSink, Network, NetworkConfig, NetworkEvent, NetworkHandle, PeerId, Verdict, keypair,
};
use crate::replica::{Replica, start_member, stop_for};
use crate::routes::{Seats, Sender, class, topic};
use crate::rpc::{self, Server};
use crate::shared::Shared;
use crate::space::Space;
use crate::storage::Storage;
use crate::tap::Tap;
use crate::verify::{Lane, VerifyPool};

/// How long answers in the making may hold the files when a validator stops.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A running validator.
pub struct Validator {
    switch: StopSwitch,
    inbox: Arc<Inbox>,
    execution: Option<Execution>,
    network: NetworkHandle,
    server: Server,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    store: Weak<dyn Store>,
    _lock: DataLock,
}

impl Validator {
    /// Starts the validator of a home. With `recover` also one that has lost its safety record: it
    /// asks the others, and signs when they are past whatever it may have signed.
    ///
    /// # Errors
    /// A home that cannot work, a disk that holds what it should not, ports in use.
    pub fn start(
        home: &Home,
        genesis: &Arc<Genesis>,
        host: &Host,
        recover: bool,
    ) -> Result<Self, Stop> {
        Self::start_on(home, genesis, host, recover, &|store| Arc::new(store))
    }

    /// As [`Validator::start`], with something between the validator and its database.
    pub(crate) fn start_on(
        home: &Home,
        genesis: &Arc<Genesis>,
        host: &Host,
        recover: bool,
        wrap: Wrap<'_>,
    ) -> Result<Self, Stop> {
        let config = home
            .config()
            .map_err(|error| Stop::Config(error.to_string()))?;
        let keys = home.keys(genesis)?;
        let (committee, member) = home.seat(genesis, &keys)?;
        let seat = Peer { committee, member };
        let switch = StopSwitch::default();
        let lock = home.lock()?;
        let disk = Disk::open(&Opening {
            home,
            identity: &Identity::new(genesis, committee, member, &keys.key.public_key()),
            committee,
            min_free_mib: config.storage.min_free_mib,
            wrap,
            recover,
            switch: &switch,
        })?;
        hold_on_second_copy(home, &switch);
        let name = genesis.validators(committee)[member.get()].name.clone();
        let space = disk.space;
        space.watch(&name, &switch)?;
        let evidence = Arc::new(disk.evidence);

        let inbox = Arc::new(Inbox::default());
        let clock = Arc::new(Clock::default());
        let seats = Arc::new(Seats::of(genesis, seat));
        let conduct = Arc::new(Conduct::of(seats.others()));
        let verifier = Arc::new(Verifier::new(Arc::clone(&host.engine)));
        let setup = Setup {
            genesis: Arc::clone(genesis),
            committee,
            me: member,
            signer: Arc::new(keys.key.clone()),
            timers: TimerConfig::default(),
            arrival: arrival(disk.lost)?,
            max_replay: config.storage.max_replay(),
        };
        let record = disk.record.clone();
        let store = disk.store.as_ref();
        let wanted = disk.lost && !has_any_block(store).map_err(stop_for)?;
        let (replica, executor) = start_member(&setup, store, record.clone(), wanted)?;
        let horizon = Arc::new(Mutex::new(replica.horizon()));

        let intake = Intake {
            pool: host.pool.clone(),
            verifier: Arc::clone(&verifier),
            context: Arc::new(VerifyContext::new(Arc::clone(genesis), committee)),
            seats: Arc::clone(&seats),
            conduct: Arc::clone(&conduct),
            inbox: Arc::clone(&inbox),
            horizon: Arc::clone(&horizon),
            network: Arc::default(),
            metrics: Arc::default(),
            tap: tap(home, &config)?,
            space: Arc::clone(&space),
            switch: switch.clone(),
        };
        let gate = intake.clone();
        let entered = host.network.enter();
        let sink: EventSink = Arc::new(move |event| gate.on_event(event));
        let file = home.config_file();
        let network = NetworkConfig {
            key: keypair(keys.network_seed),
            listen: config.network.listen,
            peers: config
                .peers(genesis, &name, &file)
                .map_err(|error| Stop::Config(error.to_string()))?,
            chain: genesis.chain_name(),
            topics: topics(genesis, committee),
            foreign_topics: Vec::new(),
            max_message: MAX_MESSAGE_BYTES,
        };
        let network =
            Network::start(network, sink).map_err(|error| Stop::Config(error.to_string()))?;
        let mut started = Started(Some(network.clone()));
        let mut metrics = Metrics::new();
        metrics.watch(network.clone(), host.pool.clone());
        let metrics = Arc::new(metrics);
        intake.open(&network, &metrics);
        let shared = Arc::new(Shared::new(Arc::clone(&metrics), replica.status()));

        let mut threads = Vec::new();
        let (storage, thread) = Storage::start(
            &name,
            Arc::clone(&disk.store),
            disk.safety,
            &switch,
            metrics,
        )?;
        threads.push(thread);
        let execution = match committee {
            CommitteeId::Beacon => None,
            CommitteeId::Shard(shard) => {
                let parts = execution::Parts {
                    executor,
                    shard,
                    store: Arc::clone(&disk.store),
                    inbox: Arc::clone(&inbox),
                    shared: Arc::clone(&shared),
                    clock: Arc::clone(&clock),
                };
                let (execution, thread) = Execution::start(&name, parts, &switch)?;
                threads.push(thread);
                Some(execution)
            }
        };
        let answers = Arc::new(Answers {
            genesis: Arc::clone(genesis),
            seat,
            shared: Arc::clone(&shared),
            store: Arc::clone(&disk.store),
            execution: execution.clone(),
            inbox: Arc::clone(&inbox),
            pool: host.pool.clone(),
            verifier,
            network: network.clone(),
            seats: Arc::clone(&seats),
            conduct: Arc::clone(&conduct),
            clock: Arc::clone(&clock),
            switch: switch.clone(),
            room: client_room(),
            readers: readers(),
            evidence: Arc::clone(&evidence),
            space: Arc::clone(&space),
        });
        drop(entered);
        let entered = host.clients.enter();
        let server = serve(&config, answers)?;
        drop(entered);
        let weak = Arc::downgrade(&disk.store);
        let replica = Replica {
            setup,
            record,
            member: replica,
            committee,
            inbox: Arc::clone(&inbox),
            storage,
            execution: execution.clone(),
            sender: Sender {
                network: network.clone(),
                seats,
                topic: topic(&genesis.chain_name(), committee),
            },
            store: disk.store,
            pool: host.pool.clone(),
            shared: Arc::clone(&shared),
            horizon,
            clock,
            evidence: Casebook {
                genesis: Arc::clone(genesis),
                seat,
                book: evidence,
            },
            space,
            conduct,
            switch: switch.clone(),
        };
        threads.push(switch.spawn(format!("main-{name}"), move || replica.run())?);
        let closing = Arc::clone(&inbox);
        switch.on_stop(move || closing.close());
        started.0 = None;
        tracing::info!(
            validator = name,
            chain = genesis.chain_name(),
            genesis = %genesis.hash(),
            %committee,
            listen = %config.network.listen,
            rpc = %server.address(),
            data = %home.data().display(),
            version = env!("CARGO_PKG_VERSION"),
            "validator started"
        );
        Ok(Validator {
            switch,
            inbox,
            execution,
            network,
            server,
            shared,
            threads,
            store: weak,
            _lock: lock,
        })
    }

    /// Stops it from anywhere, and says when and why it has.
    pub fn switch(&self) -> &StopSwitch {
        &self.switch
    }

    /// Newest committed height.
    pub fn height(&self) -> u64 {
        self.shared.status().committed.get()
    }

    /// Stops it, and returns when its files are closed.
    pub fn stop(self) {
        self.switch.stop(Stop::Requested);
        self.inbox.close();
        self.server.stop();
        self.network.close();
        if let Some(execution) = &self.execution {
            execution.stop();
        }
        for thread in self.threads {
            // A panic has been reported through the switch.
            let _ = thread.join();
        }
        // Answers in the making hold the store a moment longer.
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while self.store.strong_count() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Leaves the reason for the next start, which is then refused.
fn hold_on_second_copy(home: &Home, switch: &StopSwitch) {
    let (home, thrown) = (home.clone(), switch.clone());
    switch.on_stop(move || {
        let reason = thrown.reason().expect("hooks run when it is thrown");
        if let Err(error) = held::hold(&home, &reason) {
            tracing::error!(%error, "the reason could not be written down");
        }
    });
}

/// Closes the network of a validator that could not be started after all, so that its ports are
/// free and its peers see it gone.
struct Started(Option<NetworkHandle>);

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(network) = &self.0 {
            network.close();
        }
    }
}

fn tap(home: &Home, config: &NodeConfig) -> Result<Option<Arc<Tap>>, Stop> {
    let Some(messages) = &config.log.messages else {
        return Ok(None);
    };
    let directory = home.root().join(messages);
    match Tap::open(&directory) {
        Ok(tap) => Ok(Some(Arc::new(tap))),
        Err(error) => Err(Stop::Config(format!(
            "log.messages {}: {error}",
            directory.display()
        ))),
    }
}

fn topics(genesis: &Genesis, committee: CommitteeId) -> Vec<String> {
    vec![topic(&genesis.chain_name(), committee)]
}

fn serve(config: &NodeConfig, answers: Arc<Answers>) -> Result<Server, Stop> {
    let methods = rpc::methods(Arc::clone(&answers))
        .map_err(|error| Stop::Bug(format!("RPC methods: {error}")))?;
    let listen = config.rpc.listen;
    Server::start(listen, methods.into(), answers)
        .map_err(|error| Stop::Config(format!("cannot serve RPC on {listen}: {error}")))
}

/// The way from a socket to the replica: decode, check, hand over.
#[derive(Clone)]
struct Intake {
    pool: VerifyPool,
    verifier: Arc<Verifier>,
    context: Arc<VerifyContext>,
    seats: Arc<Seats>,
    conduct: Arc<Conduct>,
    inbox: Arc<Inbox>,
    horizon: Arc<Mutex<lockstep_consensus::Horizon>>,
    /// Set once the network has started; what comes before is dropped and repeated by its sender.
    network: Arc<std::sync::OnceLock<NetworkHandle>>,
    metrics: Arc<std::sync::OnceLock<Arc<Metrics>>>,
    tap: Option<Arc<Tap>>,
    space: Arc<Space>,
    switch: StopSwitch,
}

impl Intake {
    fn open(&self, network: &NetworkHandle, metrics: &Arc<Metrics>) {
        // Called once; a second call would change nothing.
        let _ = self.metrics.set(Arc::clone(metrics));
        let _ = self.network.set(network.clone());
    }

    fn on_event(&self, event: NetworkEvent) {
        match event {
            NetworkEvent::PeerConnected(id) => {
                if let Some(peer) = self.seats.seat(&id) {
                    tracing::debug!(committee = %peer.committee, member = %peer.member, "connected");
                    let input = Input::Connected { peer };
                    self.inbox.push(Urgency::Urgent, input, Room::Own);
                }
            }
            NetworkEvent::Broken(bug) => {
                self.switch.stop(Stop::Bug(format!("the network: {bug}")));
            }
            NetworkEvent::PeerDisconnected(id) => {
                if let Some(peer) = self.seats.seat(&id) {
                    tracing::debug!(committee = %peer.committee, member = %peer.member, "disconnected");
                }
            }
            NetworkEvent::Message {
                from,
                class,
                bytes,
                slot,
            } => {
                let Some(from) = self.speaker(&from, class) else {
                    return;
                };
                let intake = self.clone();
                self.pool.submit(class, Lane::Peer(from), move || {
                    if let Ok(message) = intake.check(from, &bytes, Some(class)) {
                        let input = Input::Received { from, message };
                        let room = Room::Peer { _slot: slot };
                        intake.inbox.push(urgency(class), input, room);
                    }
                });
            }
            NetworkEvent::Gossip {
                from,
                bytes,
                receipt,
                slot,
                ..
            } => {
                let Some(from) = self.speaker(&from, Class::Data) else {
                    if let Some(network) = self.network.get() {
                        network.judge(receipt, Verdict::Ignore);
                    }
                    return;
                };
                let intake = self.clone();
                self.pool.submit(Class::Data, Lane::Peer(from), move || {
                    let checked = intake.check(from, &bytes, None);
                    let verdict = match &checked {
                        Ok(_) => Verdict::Accept,
                        Err(Blame::Sender) => Verdict::Reject,
                        Err(Blame::Nobody) => Verdict::Ignore,
                    };
                    if let Some(network) = intake.network.get() {
                        network.judge(receipt, verdict);
                    }
                    if let Ok(message) = checked {
                        let input = Input::Received { from, message };
                        let room = Room::Peer { _slot: slot };
                        intake.inbox.push(Urgency::Data, input, room);
                    }
                });
            }
        }
    }

    /// Who sent a message, if it is listened to.
    fn speaker(&self, id: &PeerId, class: Class) -> Option<Peer> {
        let from = self.seats.seat(id)?;
        self.conduct
            .may_speak(&from, class, Instant::now())
            .then_some(from)
    }

    /// Reads and checks a message. `stream` is the class of the stream it came by; gossip carries
    /// batches only.
    fn check(
        &self,
        from: Peer,
        bytes: &[u8],
        stream: Option<Class>,
    ) -> Result<Verified<Message>, Blame> {
        // The replica stands still until there is room on disk; peers repeat what matters.
        if self.space.is_low() {
            return Err(Blame::Nobody);
        }
        let message = Message::from_bytes(bytes).and_then(|message| {
            let expected = match (&message, stream) {
                (Message::Batch(_), None) => true,
                (_, None) => false,
                (message, Some(stream)) => class(message.class()) == stream,
            };
            if expected {
                Ok(message)
            } else {
                Err(Rejection::Inconsistent("a message on the wrong stream"))
            }
        });
        let stale = match &message {
            Ok(Message::Consensus(consensus)) => {
                let horizon = *self.horizon.lock().expect("no holder of this lock panics");
                if consensus.is_ahead(&horizon) {
                    self.conduct.ahead(&from);
                }
                consensus.is_stale(&horizon)
            }
            _ => false,
        };
        // Who keeps messages wants to know also of those that come too late.
        if stale && self.tap.is_none() {
            return Err(Blame::Nobody);
        }
        let message = message
            .and_then(|message| self.verifier.check(message, &self.context))
            .map_err(|rejection| self.rejected(from, stream.unwrap_or(Class::Data), &rejection))?;
        if let Some(tap) = &self.tap
            && let Err(error) = tap.keep(&message)
        {
            self.switch
                .stop(Stop::storage(format!("log.messages: {error}")));
            return Err(Blame::Nobody);
        }
        if stale {
            return Err(Blame::Nobody);
        }
        Ok(message)
    }

    fn rejected(&self, from: Peer, class: Class, rejection: &Rejection) -> Blame {
        let blame = rejection.blame();
        let Peer { committee, member } = from;
        if blame == Blame::Nobody {
            tracing::debug!(%committee, %member, %rejection, "message of no use");
        } else {
            if let Some(metrics) = self.metrics.get() {
                metrics.rejected.inc();
            }
            self.conduct.rejected(&from, class, Instant::now());
            tracing::warn!(%committee, %member, %rejection, "message rejected");
        }
        blame
    }
}

/// How the replica comes to its start, with a challenge that no start has used before.
fn arrival(lost: bool) -> Result<Arrival, Stop> {
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge)
        .map_err(|error| Stop::Broken(format!("the system has no randomness: {error}")))?;
    let challenge = Challenge(challenge);
    Ok(if lost {
        Arrival::RecordLost(challenge)
    } else {
        Arrival::FromDisk(challenge)
    })
}

fn urgency(class: Class) -> Urgency {
    match class {
        Class::Consensus => Urgency::Urgent,
        Class::Data | Class::Sync => Urgency::Data,
    }
}

#[cfg(test)]
mod tests {
    use lockstep_client::Client;
    use lockstep_client::rpc::EvidenceKind;
    use lockstep_consensus as consensus;
    use lockstep_genesis::DevelopmentSpec;
    use lockstep_ledger::{Column, Fault, FaultyStore, RocksStore};
    use lockstep_types::{BlockId, Epoch, MemberIndex, Signature, View, Vote};

    use super::*;
    use crate::cluster::{Cluster, ClusterSpec};
    use crate::exit::ExitCode;

    const PATIENCE: Duration = Duration::from_secs(30);
    /// A validator of the shard; before it come those of the beacon.
    const VICTIM: usize = 5;

    fn wait(what: &str, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < PATIENCE, "no {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn prepare(directory: &std::path::Path, base_port: u16) -> Cluster {
        let network = DevelopmentSpec {
            shards: 1,
            interval: Duration::from_millis(200),
            ..DevelopmentSpec::default()
        };
        let mut spec = ClusterSpec::new(network, directory.join("network"));
        spec.base_port = base_port;
        spec.storage.min_free_mib = 0;
        Cluster::prepare(spec).unwrap()
    }

    /// All of a committee's files are gone, and the rest of the home says that it has run.
    #[test]
    fn a_validator_whose_files_are_gone_does_not_start_as_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = prepare(directory.path(), 27_700);
        let place = &cluster.places()[VICTIM];
        let host = Host::start(1).unwrap();
        let start = |recover| Validator::start(&place.home, cluster.genesis(), &host, recover);
        start(false).unwrap().stop();
        start(false).unwrap().stop();
        std::fs::remove_dir_all(place.home.committee_data(place.committee)).unwrap();
        for _ in 0..2 {
            let refusal = start(false).err().unwrap();
            assert_eq!(refusal.code(), ExitCode::SecondCopy);
            assert!(refusal.to_string().contains("--recover"), "{refusal}");
        }
        start(true).unwrap().stop();
        start(false).unwrap().stop(); // it is remembered that the record is lost
    }

    /// A vote with our name that we did not give: the validator stops, keeps what it saw, and does
    /// not start again before somebody has looked.
    #[test]
    fn a_second_copy_stops_a_validator_until_its_operator_has_looked() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = prepare(directory.path(), 27_500);
        let place = &cluster.places()[VICTIM];
        let host = Host::start(1).unwrap();
        let start = || Validator::start(&place.home, cluster.genesis(), &host, false);
        let validator = start().unwrap();
        // As a colleague passes it on.
        let from = Peer {
            committee: place.committee,
            member: MemberIndex::new(0),
        };
        assert_ne!(from.member, place.member);
        let vote = Message::Consensus(consensus::Message::Vote(Vote {
            epoch: Epoch::ZERO,
            view: View::new(9),
            block: BlockId::ZERO,
            author: place.member,
            signature: Signature::new([1; 64]),
        }));
        let message = Verified::vouch(vote);
        let input = Input::Received { from, message };
        validator.inbox.push(Urgency::Urgent, input, Room::Own);
        wait("stop", || validator.switch().is_stopped());
        let reason = validator.switch().reason().unwrap();
        assert_eq!(reason.code(), ExitCode::SecondCopy, "{reason}");
        validator.stop();

        let refusal = start().err().unwrap();
        assert_eq!(refusal.code(), ExitCode::SecondCopy);
        assert!(refusal.to_string().contains("held.json"), "{refusal}");

        std::fs::remove_file(place.home.held_file()).unwrap();
        let validator = start().unwrap();
        let client = Client::new(&[place.url()], PATIENCE).unwrap();
        let cases = host.clients.block_on(client.evidence()).unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].kind, EvidenceKind::SecondCopy);
        assert_eq!(
            (cases[0].validator.as_str(), cases[0].view),
            (place.name.as_str(), 9)
        );
        let status = host.clients.block_on(client.status()).unwrap();
        assert_eq!(status.replicas[0].evidence, 1);
        validator.stop();
    }

    /// A disk fails under a running validator in every way there is: it stops by the right name,
    /// the others go on, and with a sound disk it comes back from the files it left.
    #[test]
    fn a_failing_disk_stops_a_validator_and_its_files_are_good() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = prepare(directory.path(), 27_400);
        let genesis = cluster.genesis();
        let host = Host::start(1).unwrap();
        let start = |index: usize| {
            let broken: Arc<Mutex<Option<Arc<FaultyStore<RocksStore>>>>> = Arc::default();
            let keep = Arc::clone(&broken);
            let home = &cluster.places()[index].home;
            let validator = Validator::start_on(home, genesis, &host, false, &|store| {
                let store = Arc::new(FaultyStore::new(store));
                *keep.lock().unwrap() = Some(Arc::clone(&store));
                store
            });
            let store = broken.lock().unwrap().take().unwrap();
            (validator.unwrap(), store)
        };
        let mut others: Vec<_> = (0..cluster.places().len()).map(start).collect();
        let (mut victim, mut store) = others.remove(VICTIM);
        for fault in Fault::ALL {
            let others = || others[VICTIM].0.height();
            wait("common height", || victim.height() >= others().max(3));
            store.break_by(fault);
            if fault == Fault::Checksum {
                // A colleague's question, or a client's.
                let archive = victim.store.upgrade().unwrap();
                assert!(archive.get(Column::Meta, b"A").is_err());
                drop(archive);
            }
            wait("stop", || victim.switch().is_stopped());
            let reason = victim.switch().reason().unwrap();
            let code = match fault {
                Fault::Full => ExitCode::Full,
                _ => ExitCode::Storage,
            };
            assert_eq!(reason.code(), code, "{fault:?}: {reason}");
            victim.stop();
            drop(store);
            let before = others();
            wait("progress of the others", || others() > before);
            (victim, store) = start(VICTIM);
        }
        wait("return", || victim.height() >= others[VICTIM].0.height());
        victim.stop();
        for (validator, _) in others {
            validator.stop();
        }
    }
}
