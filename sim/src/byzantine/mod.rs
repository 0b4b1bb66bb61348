//! Members that lie. Each misbehaviour is a file and a value that a world is given; production code
//! knows nothing of them.
//!
//! A Byzantine member runs the production replica as a puppet, so that it keeps up with its
//! committee and says plausible things, and a [`Behaviour`] decides what of it is really sent. It
//! signs for its own identity and for no other.

mod equivocator;
mod forger;
mod stale;

use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_shard::{Message, Peer};
use lockstep_types::{Domain, KeyedSigner};

pub use equivocator::Equivocator;
pub use forger::Forger;
pub use stale::Stale;

use crate::Random;

/// Where a liar sits and what it may use.
pub struct Seat<'a> {
    /// The chain.
    pub genesis: &'a Arc<Genesis>,
    /// Its seat.
    pub peer: Peer,
    /// Signs for this seat and for no other.
    pub signer: &'a KeyedSigner,
    /// For its free choices.
    pub random: &'a mut Random,
}

impl Seat<'_> {
    /// The chain and committee its statements are for.
    pub fn domain(&self) -> Domain {
        self.genesis.domain(self.peer.committee)
    }

    /// The other members of its committee.
    pub fn others(&self) -> Vec<Peer> {
        let committee = self.peer.committee;
        let members = self.genesis.committee(committee).indices();
        members
            .map(|member| Peer { committee, member })
            .filter(|peer| *peer != self.peer)
            .collect()
    }
}

/// A way of being Byzantine.
pub trait Behaviour {
    /// A word for traces.
    fn name(&self) -> &'static str;

    /// A message came to this member.
    fn hear(&mut self, message: &Message);

    /// The puppet would send `messages`; what is sent in their place?
    fn send(&mut self, seat: &mut Seat<'_>, messages: Vec<(Peer, Message)>)
    -> Vec<(Peer, Message)>;
}

/// The ways there are, to choose from by a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// See [`Equivocator`].
    Equivocator,
    /// See [`Stale`].
    Stale,
    /// See [`Forger`].
    Forger,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Equivocator, Kind::Stale, Kind::Forger];

    /// A member that behaves so.
    pub fn behaviour(self) -> Box<dyn Behaviour> {
        match self {
            Kind::Equivocator => Box::<Equivocator>::default(),
            Kind::Stale => Box::<Stale>::default(),
            Kind::Forger => Box::<Forger>::default(),
        }
    }

    /// A word for traces.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Equivocator => "equivocator",
            Kind::Stale => "stale",
            Kind::Forger => "forger",
        }
    }
}
