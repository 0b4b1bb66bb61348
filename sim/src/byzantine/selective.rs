//! A member that speaks to some only: its proposals and votes reach as many as make a quorum with
//! itself, or one fewer, others in every view; what it owes other committees reaches one of them.

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};
use lockstep_types::View;

use super::{Behaviour, Seat};
use crate::Random;

/// See the module.
pub(super) struct Selective {
    /// How many fewer than a quorum hear it, itself included.
    short_by: usize,
}

impl Selective {
    pub(super) fn new(random: &mut Random) -> Self {
        Selective {
            short_by: usize::from(random.chance(500)),
        }
    }

    /// Does it speak to `to` in this turn?
    fn is_chosen(&self, seat: &Seat<'_>, to: Peer, turn: u64) -> bool {
        let others = seat.members(to.committee);
        let many = if to.committee == seat.place.peer.committee {
            let quorum = seat.place.genesis.committee(to.committee).quorum();
            quorum - 1 - self.short_by
        } else {
            1
        };
        let at = others.iter().position(|peer| *peer == to);
        let at = at.expect("nobody speaks to itself") as u64;
        let count = others.len() as u64;
        (at + turn) % count < many as u64
    }
}

fn view_of(message: &Message) -> Option<View> {
    match message {
        Message::Consensus(consensus::Message::Proposal(proposal)) => Some(proposal.view()),
        Message::Consensus(consensus::Message::Vote(vote)) => Some(vote.view),
        Message::Consensus(consensus::Message::Timeout(timeout)) => Some(timeout.view),
        _ => None,
    }
}

impl Behaviour for Selective {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let turn = match view_of(&message) {
            Some(view) => view.get(),
            None => seat.place.now.micros() / 500_000,
        };
        if self.is_chosen(seat, to, turn) {
            seat.say(to, message);
        } else {
            seat.keep_back();
        }
    }
}
