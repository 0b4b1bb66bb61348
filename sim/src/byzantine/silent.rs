//! A member that says nothing: never, for some seconds now and then, or only when it leads.

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};

use super::{Behaviour, Seat};
use crate::Random;

#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    /// For the first half of every stretch of so many microseconds.
    Spells(u64),
    Leading,
}

/// See the module.
pub(super) struct Silent(When);

impl Silent {
    pub(super) fn new(random: &mut Random) -> Self {
        Silent(match random.below(3) {
            0 => When::Always,
            1 => When::Spells(1_000_000 + random.below(8_000_000)),
            _ => When::Leading,
        })
    }
}

impl Behaviour for Silent {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let silent = match self.0 {
            When::Always => true,
            When::Spells(stretch) => seat.place.now.micros() % stretch < stretch / 2,
            When::Leading => matches!(
                &message,
                Message::Consensus(consensus::Message::Proposal(own)) if seat.is_mine(own)
            ),
        };
        if silent {
            seat.keep_back();
        } else {
            seat.say(to, message);
        }
    }
}
