//! From seats to peers and back, and messages from members to sockets.
//!
//! A message is encoded once, whatever the number of its receivers.

use std::collections::BTreeMap;

use lockstep_genesis::Genesis;
use lockstep_shard::{Destination, Outbound, Peer};
use lockstep_types::{CommitteeId, MemberIndex};
use parity_scale_codec::Encode;

use crate::home::committee_word;
use crate::network::{Bytes, Class, NetworkHandle, PeerId, peer_id};

/// Who sits where.
pub(crate) struct Seats {
    me: Peer,
    peers: BTreeMap<PeerId, Peer>,
    ids: BTreeMap<Peer, PeerId>,
}

impl Seats {
    /// All seats of the chain. Network keys that are no keys have no seat; the configuration has
    /// refused them before.
    pub(crate) fn of(genesis: &Genesis, me: Peer) -> Self {
        let mut seats = Seats {
            me,
            peers: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        for committee in genesis.committees() {
            for (validator, member) in genesis.validators(committee).iter().zip(0u8..) {
                let seat = Peer {
                    committee,
                    member: MemberIndex::new(member),
                };
                if let Ok(id) = peer_id(&validator.network_key) {
                    seats.peers.insert(id, seat);
                    seats.ids.insert(seat, id);
                }
            }
        }
        seats
    }

    /// The seat a connection proves.
    pub(crate) fn seat(&self, id: &PeerId) -> Option<Peer> {
        self.peers.get(id).copied()
    }

    /// The connection a seat has.
    pub(crate) fn id(&self, seat: &Peer) -> Option<&PeerId> {
        self.ids.get(seat)
    }

    /// Everybody but us.
    pub(crate) fn others(&self) -> impl Iterator<Item = Peer> {
        let me = self.me;
        self.ids.keys().copied().filter(move |seat| *seat != me)
    }

    /// The other members of our committee.
    pub(crate) fn colleagues(&self) -> impl Iterator<Item = &PeerId> {
        let me = self.me;
        let ours = move |(seat, _): &(&Peer, _)| seat.committee == me.committee && **seat != me;
        self.ids.iter().filter(ours).map(|(_, id)| id)
    }
}

/// The gossip topic of a committee's batches.
pub(crate) fn topic(chain: &str, committee: CommitteeId) -> String {
    format!("lockstep/{chain}/{}/batches", committee_word(committee))
}

/// The network's name for a message's class.
pub(crate) fn class(class: lockstep_shard::Class) -> Class {
    match class {
        lockstep_shard::Class::Consensus => Class::Consensus,
        lockstep_shard::Class::Data => Class::Data,
        lockstep_shard::Class::Sync => Class::Sync,
    }
}

/// Sends what members say.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) network: NetworkHandle,
    pub(crate) seats: std::sync::Arc<Seats>,
    pub(crate) topic: String,
}

impl Sender {
    pub(crate) fn send(&self, outbound: Outbound) {
        let class = class(outbound.message.class());
        let bytes = Bytes::from(outbound.message.encode());
        let one = |seat: Peer| {
            if let Some(id) = self.seats.id(&seat) {
                self.network.send(id, class, bytes.clone());
            }
        };
        match outbound.to {
            Destination::Committee => {
                for id in self.seats.colleagues() {
                    self.network.send(id, class, bytes.clone());
                }
            }
            Destination::Seat(member) => one(Peer {
                committee: self.seats.me.committee,
                member,
            }),
            Destination::Member(seat) => one(seat),
            Destination::Gossip => self.network.publish(&self.topic, bytes),
        }
    }

    pub(crate) fn send_all(&self, outbound: Vec<Outbound>) {
        for message in outbound {
            self.send(message);
        }
    }
}
