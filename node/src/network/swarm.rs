//! The network task: dials, accepts, hands streams to their readers and writers, and gossips.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::bytes::Bytes;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::Multiaddr;
use libp2p::futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::frame::{read_loop, write_loop};
use super::gossip::{self, Gossip, GossipReceipt, Verdict};
use super::newcomers::Newcomers;
use super::queue::{OutQueue, QueueLimit};
use super::room::Room;
use super::streams::{Protocols, StreamEvent, Streams};
use super::{Class, EventSink, NetworkConfig, NetworkEvent, PeerAddress, Traffic};

/// Waits between attempts to reach a peer: doubled from the first to the second. Committees are
/// small, so two attempts a second cost nothing, and a quorum that can be reached again is soon.
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const MAX_REDIAL: Duration = Duration::from_millis(500);
/// Streams on a connection: three of ours, three of the peer's, gossip's two, and some that are
/// being negotiated. Each starts with a window of 256 KiB, which grows with what we read from it.
/// The sum of a connection's windows has yamux's own bound of 1 GiB; libp2p lets nobody set it.
const MAX_STREAMS: usize = 64;
/// Connections whose handshake is not finished.
const MAX_PENDING_INCOMING: u32 = 64;
/// A handshake must be done in this time: six round trips around the world. An attempt that began
/// while the network was cut must not hold up the next one after it heals: the system repeats what
/// opens a connection after 1 s, then after 3 s.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long closing may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Gossip and judgements waiting for the network task. More means that the task is starved; what
/// does not fit is dropped and fetched later.
const MAX_COMMANDS: usize = 1_024;

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: connection_limits::Behaviour,
    newcomers: Newcomers,
    allowed: allow_block_list::Behaviour<AllowedPeers>,
    streams: Streams,
    gossip: Gossip,
}

enum Command {
    Publish(String, Bytes),
    Judge(GossipReceipt, Verdict),
    Dial(PeerId, Vec<SocketAddr>),
    Stop(oneshot::Sender<()>),
}

struct Shared {
    queues: BTreeMap<PeerId, [Arc<OutQueue>; 3]>,
    connected: Mutex<BTreeSet<PeerId>>,
    connections: AtomicUsize,
    traffic: Arc<Traffic>,
}

/// The way to send. Cheap to clone.
#[derive(Clone)]
pub struct NetworkHandle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl NetworkHandle {
    /// Queues a message for a peer. Never waits; a message for somebody unknown is dropped.
    pub fn send(&self, to: &PeerId, class: Class, message: Bytes) {
        let index = class.index();
        let dropped = match self.shared.queues.get(to) {
            Some(queues) => queues[index].push(message),
            None => 1,
        };
        if dropped > 0 {
            self.shared.traffic.dropped[index].fetch_add(dropped as u64, Ordering::Relaxed);
        }
    }

    /// Gossips a message on a topic.
    pub fn publish(&self, topic: &str, message: Bytes) {
        let command = Command::Publish(topic.to_owned(), message);
        if self.commands.try_send(command).is_err() {
            self.shared
                .traffic
                .gossip_failed
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says what a gossiped message was worth. Without it the message is not passed on.
    pub fn judge(&self, receipt: GossipReceipt, verdict: Verdict) {
        // A full queue means the message is not passed on by us, which gossip survives.
        let _ = self.commands.try_send(Command::Judge(receipt, verdict));
    }

    /// Who is connected now.
    pub fn connected(&self) -> BTreeSet<PeerId> {
        self.shared
            .connected
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }

    /// How many peers are connected now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Messages waiting to be sent in a class, over all peers.
    pub fn waiting(&self, class: Class) -> usize {
        let queues = self.shared.queues.values();
        queues.map(|queue| queue[class.index()].len()).sum()
    }

    /// Counts since the start.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// As [`NetworkHandle::stop`], from a thread that is not the runtime's.
    pub fn close(&self) {
        let (done, mut stopped) = oneshot::channel();
        let mut command = Command::Stop(done);
        let deadline = std::time::Instant::now() + CLOSE_PATIENCE;
        let wait = || std::thread::sleep(Duration::from_millis(2));
        while let Err(mpsc::error::TrySendError::Full(back)) = self.commands.try_send(command) {
            if std::time::Instant::now() > deadline {
                return;
            }
            command = back;
            wait();
        }
        while std::time::Instant::now() < deadline
            && matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        {
            wait();
        }
    }

    /// Closes all connections and ends the network task.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // An error means that the task has ended, which is what we wait for.
            let _ = stopped.await;
        }
    }
}

/// Why the network could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The port is in use, or the address is not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A part of libp2p refused its configuration.
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

/// Starts networks.
pub struct Network;

impl Network {
    /// Starts listening and dialling, on the current tokio runtime.
    ///
    /// # Errors
    /// When the listening address cannot be bound.
    pub fn start(config: NetworkConfig, sink: EventSink) -> Result<NetworkHandle, NetworkError> {
        // libp2p shares a port that is already listened on; two validators on one port would each
        // get half of the connections. The standard library refuses.
        drop(
            std::net::TcpListener::bind(config.listen).map_err(|source| NetworkError::Listen {
                address: config.listen,
                source,
            })?,
        );
        let me = config.key.public().to_peer_id();
        let peers: Vec<_> = config
            .peers
            .iter()
            .filter(|peer| peer.id != me)
            .cloned()
            .collect();
        let mut swarm = swarm(&config, &peers)?;
        swarm
            .listen_on(multiaddr(config.listen))
            .map_err(|error| NetworkError::Setup(error.to_string()))?;
        let shared = Arc::new(Shared {
            queues: peers
                .iter()
                .map(|peer| {
                    let queues =
                        Class::ALL.map(|class| Arc::new(OutQueue::new(QueueLimit::of(class))));
                    (peer.id, queues)
                })
                .collect(),
            connected: Mutex::default(),
            connections: AtomicUsize::new(0),
            traffic: Arc::default(),
        });
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let handle = NetworkHandle {
            shared: Arc::clone(&shared),
            commands: commands.clone(),
        };
        let rooms = peers
            .iter()
            .map(|peer| (peer.id, Room::of_gossip()))
            .collect();
        let now = Instant::now();
        let dials = peers
            .into_iter()
            // One side dials, so that a pair has one connection.
            .filter(|peer| me < peer.id)
            .map(|peer| {
                let dial = Redial {
                    address: peer.address,
                    wait: FIRST_REDIAL,
                    next: Some(now),
                };
                (peer.id, dial)
            })
            .collect();
        let task = Task {
            swarm,
            sink,
            shared,
            commands,
            dials,
            current: BTreeMap::new(),
            loops: JoinSet::new(),
            gossip_rooms: rooms,
            max_message: config.max_message,
        };
        let told = Arc::clone(&task.sink);
        let running = tokio::spawn(task.run(receiver));
        tokio::spawn(async move {
            if let Err(error) = running.await
                && error.is_panic()
            {
                told(NetworkEvent::Broken(error.to_string()));
            }
        });
        Ok(handle)
    }
}

fn swarm(config: &NetworkConfig, peers: &[PeerAddress]) -> Result<Swarm<Behaviour>, NetworkError> {
    let mut allowed = allow_block_list::Behaviour::<AllowedPeers>::default();
    for peer in peers {
        allowed.allow_peer(peer.id);
    }
    let members = u32::try_from(peers.len()).unwrap_or(u32::MAX);
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
        .with_max_pending_outgoing(Some(members.saturating_add(1)))
        // Room for a second connection per peer: a peer that lost its end comes back before we
        // notice that ours is dead.
        .with_max_established_per_peer(Some(2))
        .with_max_established(Some(members.saturating_mul(2).saturating_add(1)));
    let streams = Streams::new(Protocols::of(&config.chain));
    let gossip = gossip::behaviour(&config.topics, &config.foreign_topics, config.max_message)
        .map_err(NetworkError::Setup)?;
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        newcomers: Newcomers::default(),
        allowed,
        streams,
        gossip,
    };
    let setup = |error: &dyn std::fmt::Display| NetworkError::Setup(error.to_string());
    Ok(SwarmBuilder::with_existing_identity(config.key.clone())
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(MAX_STREAMS);
            config
        })
        .map_err(|error| setup(&error))?
        .with_behaviour(|_| behaviour)
        .map_err(|error| setup(&error))?
        .with_swarm_config(|config| config.with_max_negotiating_inbound_streams(MAX_STREAMS))
        .with_connection_timeout(HANDSHAKE_TIMEOUT)
        .build())
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty()
        .with(match address.ip() {
            std::net::IpAddr::V4(ip) => Protocol::Ip4(ip),
            std::net::IpAddr::V6(ip) => Protocol::Ip6(ip),
        })
        .with(Protocol::Tcp(address.port()))
}

struct Redial {
    address: String,
    wait: Duration,
    /// `None` while an attempt or a connection stands.
    next: Option<Instant>,
}

/// The connection to a peer that counts: the newest one.
struct Current {
    connection: ConnectionId,
    loops: Vec<AbortHandle>,
    writers: usize,
}

struct Task {
    swarm: Swarm<Behaviour>,
    sink: EventSink,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    dials: BTreeMap<PeerId, Redial>,
    current: BTreeMap<PeerId, Current>,
    /// Readers and writers; each ends with the connection it served and why.
    loops: JoinSet<(PeerId, ConnectionId, std::io::Error)>,
    gossip_rooms: BTreeMap<PeerId, Room>,
    max_message: usize,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let far = Duration::from_secs(3_600);
        loop {
            let next_dial = self.dials.values().filter_map(|dial| dial.next).min();
            let next_dial = next_dial.unwrap_or_else(|| Instant::now() + far);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                Some(command) = commands.recv() => match command {
                    Command::Stop(done) => {
                        self.loops.shutdown().await;
                        drop(self.swarm);
                        // The caller may have given up waiting.
                        let _ = done.send(());
                        return;
                    }
                    command => self.on_command(command),
                },
                Some(ended) = self.loops.join_next() => match ended {
                    Ok((peer, connection, error)) => {
                        tracing::debug!(%peer, %error, "stream ended");
                        self.swarm.close_connection(connection);
                    }
                    Err(bug) if bug.is_panic() => std::panic::resume_unwind(bug.into_panic()),
                    Err(_aborted_with_its_connection) => {}
                },
                () = tokio::time::sleep_until(next_dial) => self.dial_due(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish(topic, message) => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                let count = match gossip.publish(IdentTopic::new(topic.as_str()), message) {
                    Ok(_) => &self.shared.traffic.gossip_published,
                    Err(error) => {
                        tracing::debug!(topic, %error, "not published");
                        &self.shared.traffic.gossip_failed
                    }
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Command::Judge(receipt, verdict) => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                let _known = gossip.report_message_validation_result(
                    &receipt.message,
                    &receipt.from,
                    verdict.into(),
                );
            }
            Command::Dial(peer, addresses) => self.dial(peer, addresses),
            Command::Stop(_) => unreachable!("handled by the loop"),
        }
    }

    /// Starts the attempts that are due.
    fn dial_due(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (peer, dial) in &mut self.dials {
            if dial.next.is_some_and(|next| next <= now) {
                dial.next = None;
                due.push((*peer, dial.address.clone()));
            }
        }
        for (peer, address) in due {
            if let Ok(address) = address.parse() {
                self.dial(peer, vec![address]);
                continue;
            }
            let commands = self.commands.clone();
            tokio::spawn(async move {
                let found = tokio::net::lookup_host(&address).await;
                let addresses = found.map(Iterator::collect).unwrap_or_default();
                // The task may have ended meanwhile.
                let _ = commands.send(Command::Dial(peer, addresses)).await;
            });
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses.into_iter().map(multiaddr).collect())
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "cannot dial");
            self.redial(peer);
        }
    }

    /// Schedules the next attempt, if dialling is our part.
    fn redial(&mut self, peer: PeerId) {
        if let Some(dial) = self.dials.get_mut(&peer) {
            dial.next = Some(Instant::now() + dial.wait);
            dial.wait = (dial.wait * 2).min(MAX_REDIAL);
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(event)) => self.on_stream(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            } => self.on_connected(peer_id, connection_id),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                tracing::debug!(%peer, %error, "no connection");
                self.redial(peer);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.shared.traffic.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "connection refused");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(?reason, "the listener closed");
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(dial) = self.dials.get_mut(&peer) {
            dial.next = None;
        }
        if let Some(older) = self.current.remove(&peer) {
            self.retire(peer, &older);
            self.swarm.close_connection(older.connection);
        }
        let current = Current {
            connection,
            loops: Vec::new(),
            writers: 0,
        };
        self.current.insert(peer, current);
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        // An older connection that was replaced says nothing about the peer.
        if self.current.get(&peer).map(|current| current.connection) == Some(connection) {
            let current = self.current.remove(&peer).expect("found above");
            self.retire(peer, &current);
            self.redial(peer);
        }
    }

    /// Ends what served a connection.
    fn retire(&mut self, peer: PeerId, current: &Current) {
        for serving in &current.loops {
            serving.abort();
        }
        if self.connected().remove(&peer) {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            (self.sink)(NetworkEvent::PeerDisconnected(peer));
        }
    }

    fn connected(&self) -> std::sync::MutexGuard<'_, BTreeSet<PeerId>> {
        self.shared
            .connected
            .lock()
            .expect("no holder of this lock panics")
    }

    fn on_stream(&mut self, event: StreamEvent) {
        let (peer, connection) = match &event {
            StreamEvent::Opened(peer, connection, ..)
            | StreamEvent::Accepted(peer, connection, ..)
            | StreamEvent::Refused(peer, connection, _) => (*peer, *connection),
        };
        let Some(current) = self.current.get_mut(&peer) else {
            return;
        };
        if current.connection != connection {
            return;
        }
        match event {
            StreamEvent::Opened(_, _, class, stream) => {
                let queue = Arc::clone(&self.shared.queues[&peer][class.index()]);
                let traffic = Arc::clone(&self.shared.traffic);
                current.loops.push(self.loops.spawn(async move {
                    let error = write_loop(stream, class, queue, traffic).await;
                    (peer, connection, error)
                }));
                current.writers += 1;
                if current.writers == Class::ALL.len() {
                    if let Some(dial) = self.dials.get_mut(&peer) {
                        dial.wait = FIRST_REDIAL;
                    }
                    self.connected().insert(peer);
                    self.shared.connections.fetch_add(1, Ordering::Relaxed);
                    (self.sink)(NetworkEvent::PeerConnected(peer));
                }
            }
            StreamEvent::Accepted(_, _, class, stream) => {
                let sink = Arc::clone(&self.sink);
                let traffic = Arc::clone(&self.shared.traffic);
                let max_message = self.max_message;
                current.loops.push(self.loops.spawn(async move {
                    let error = read_loop(stream, peer, class, max_message, sink, traffic).await;
                    (peer, connection, error)
                }));
            }
            StreamEvent::Refused(_, _, class) => {
                tracing::warn!(%peer, class = class.name(), "the peer does not speak our chain's protocol; same genesis?");
                self.swarm.close_connection(connection);
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message {
            propagation_source: from,
            message_id,
            message,
        } = event
        else {
            return;
        };
        let receipt = GossipReceipt {
            message: message_id,
            from,
        };
        let room = self.gossip_rooms.get(&from);
        let Some(slot) = room.and_then(|room| room.try_take(message.data.len())) else {
            // The verifier is behind; whoever needs the message fetches it.
            let traffic = &self.shared.traffic;
            traffic.gossip_dropped.fetch_add(1, Ordering::Relaxed);
            self.on_command(Command::Judge(receipt, Verdict::Ignore));
            return;
        };
        let traffic = &self.shared.traffic;
        traffic.gossip_received.fetch_add(1, Ordering::Relaxed);
        (self.sink)(NetworkEvent::Gossip {
            from,
            topic: message.topic.into_string(),
            bytes: Bytes::from(message.data),
            receipt,
            slot,
        });
    }
}
