//! The network of one validator: libp2p over TCP, noise and yamux, to a fixed list of peers.
//!
//! Peers are named by the genesis file; whoever is not on the list is refused once the handshake
//! has shown who it is. Between two peers there is one connection, dialled by the one with the
//! smaller peer id, with one long-lived stream per [`Class`] and direction. Messages of a class
//! arrive in order; a queue that is full drops its oldest message and never blocks the caller,
//! because everything sent here is repeated or fetched until it has an effect. Batches and records
//! travel by gossip.
//!
//! The network moves bytes. What they mean, and whether they are signed, is settled by the
//! verifier.
//!
//! Breaks if: two peers both dial (two connections would replace each other for ever), or a
//! reader stops reading one class because another is busy.

mod frame;
mod gossip;
mod newcomers;
mod queue;
mod room;
mod streams;
mod swarm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use libp2p::PeerId;
pub use libp2p::bytes::Bytes;
pub use libp2p::identity::Keypair;

pub use gossip::{GossipReceipt, Verdict};
pub use room::Slot;
pub use swarm::{Network, NetworkError, NetworkHandle};

/// How urgent a message is. Each class has its own stream and its own queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Proposals, votes, timeouts: small, and everybody waits for them.
    Consensus,
    /// Batches, bundles, records, and requests for them.
    Data,
    /// Ranges of blocks for a replica that fell behind.
    Sync,
}

impl Class {
    /// All classes, most urgent first.
    pub const ALL: [Class; 3] = [Class::Consensus, Class::Data, Class::Sync];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The word used in protocol names, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Consensus => "consensus",
            Class::Data => "data",
            Class::Sync => "sync",
        }
    }
}

/// A peer of the fixed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Who must answer there.
    pub id: PeerId,
    /// `host:port`; a name is resolved at every attempt.
    pub address: String,
}

/// What the network needs to start.
#[derive(Clone)]
pub struct NetworkConfig {
    /// The network identity; not the key that signs votes.
    pub key: Keypair,
    /// `ip:port` to listen on.
    pub listen: std::net::SocketAddr,
    /// Everybody this validator talks to. Its own id is ignored.
    pub peers: Vec<PeerAddress>,
    /// Name of the chain: part of every protocol name, so that nodes of different chains never
    /// exchange a message.
    pub chain: String,
    /// Gossip topics to listen to. A topic that is not among them is not forwarded either.
    pub topics: Vec<String>,
    /// Further topics this validator publishes to or may see others subscribe to.
    pub foreign_topics: Vec<String>,
    /// Longest message, in bytes, of any class.
    pub max_message: usize,
}

/// What the network tells its owner.
#[derive(Debug)]
pub enum NetworkEvent {
    /// All streams to this peer are open.
    PeerConnected(PeerId),
    /// The connection is gone; the network tries again by itself.
    PeerDisconnected(PeerId),
    /// A direct message.
    Message {
        /// Who sent it; proven by the handshake.
        from: PeerId,
        /// The stream it came by.
        class: Class,
        /// The message.
        bytes: Bytes,
        /// The sender's room in our queues.
        slot: Slot,
    },
    /// A gossiped message. It is not passed on before [`NetworkHandle::judge`] says so.
    Gossip {
        /// Who passed it to us, not who wrote it.
        from: PeerId,
        /// Its topic.
        topic: String,
        /// The message.
        bytes: Bytes,
        /// What the judgement is about.
        receipt: GossipReceipt,
        /// As above.
        slot: Slot,
    },
    /// A bug, and its text: the network is dead, and nothing else will come.
    Broken(String),
}

/// Receives events, on network threads. It must not block.
pub type EventSink = Arc<dyn Fn(NetworkEvent) + Send + Sync>;

/// Counts since the start, for metrics.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(crate) sent: [AtomicU64; 3],
    pub(crate) sent_bytes: [AtomicU64; 3],
    pub(crate) received: [AtomicU64; 3],
    pub(crate) received_bytes: [AtomicU64; 3],
    pub(crate) dropped: [AtomicU64; 3],
    pub(crate) gossip_published: AtomicU64,
    pub(crate) gossip_failed: AtomicU64,
    pub(crate) gossip_received: AtomicU64,
    pub(crate) gossip_dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// One reading of [`Traffic`] for a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTraffic {
    /// Messages written to a stream.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Messages read from a stream.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages dropped because a queue was full or the peer away for long.
    pub dropped: u64,
}

impl Traffic {
    /// The counts of one class.
    pub fn class(&self, class: Class) -> ClassTraffic {
        let at = |counts: &[AtomicU64; 3]| counts[class.index()].load(Ordering::Relaxed);
        ClassTraffic {
            sent: at(&self.sent),
            sent_bytes: at(&self.sent_bytes),
            received: at(&self.received),
            received_bytes: at(&self.received_bytes),
            dropped: at(&self.dropped),
        }
    }

    /// Gossiped messages: published, not published for want of a listening peer or of room,
    /// received, dropped on arrival because their sender had too many waiting.
    pub fn gossip(&self) -> [u64; 4] {
        [
            &self.gossip_published,
            &self.gossip_failed,
            &self.gossip_received,
            &self.gossip_dropped,
        ]
        .map(|count| count.load(Ordering::Relaxed))
    }

    /// Connections refused because their peer is not on the list.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The peer id that belongs to a raw ed25519 public key, as the genesis file lists it.
///
/// # Errors
/// When the bytes are no such key.
pub fn peer_id(network_key: &[u8; 32]) -> Result<PeerId, libp2p::identity::DecodingError> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(network_key)?;
    Ok(PeerId::from_public_key(&key.into()))
}

/// The identity made from 32 secret bytes.
pub fn keypair(mut secret: [u8; 32]) -> Keypair {
    Keypair::ed25519_from_bytes(&mut secret).expect("any 32 bytes are an ed25519 seed")
}
