//! One Byzantine member: its way of lying, and what it has seen.

use lockstep_shard::{Message, Peer};

use super::seat::{Place, Post, Seat};
use super::{Behaviour, Kind, Memory};
use crate::Random;

/// See the module.
pub struct Liar {
    kind: Kind,
    behaviour: Box<dyn Behaviour>,
    memory: Memory,
}

impl Liar {
    /// A liar of this kind.
    pub fn new(kind: Kind, random: &mut Random) -> Self {
        Liar {
            kind,
            behaviour: kind.behaviour(random),
            memory: Memory::default(),
        }
    }

    /// How it lies.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What `from` says comes to this member.
    pub fn hear(&mut self, place: Place<'_>, from: Peer, message: &Message) -> Post {
        self.memory.remember(place.peer.committee, message);
        let mut seat = Seat::new(place, &self.memory);
        self.behaviour.hear(&mut seat, from, message);
        seat.post
    }

    /// Its replica would send these messages.
    pub fn send(&mut self, place: Place<'_>, messages: Vec<(Peer, Message)>) -> Post {
        for (to, message) in &messages {
            self.memory.remember(to.committee, message);
        }
        let mut seat = Seat::new(place, &self.memory);
        for (to, message) in messages {
            self.behaviour.send(&mut seat, to, message);
        }
        self.behaviour.act(&mut seat);
        seat.post
    }
}
