//! A leader that proposes two blocks in one view, shows each to a part of the committee and later
//! to all, and votes for both.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::View;

use super::{Behaviour, Seat};

/// Twins of proposals remembered, to vote for.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct Equivocator {
    /// By the view: the second block that was proposed there.
    twins: BTreeMap<View, Proposal>,
}

impl Equivocator {
    /// The same place and payload with a later time: as valid as the first.
    fn twin(seat: &Seat<'_>, proposal: &Proposal) -> Proposal {
        let mut header = proposal.block.header().clone();
        header.time = header.time.next();
        let payload = proposal.block.payload().to_vec();
        let (justify, entered_by) = (proposal.justify.clone(), proposal.entered_by.clone());
        seat.propose(header, payload, justify, entered_by)
    }

    fn both(&mut self, seat: &mut Seat<'_>, to: Peer, proposal: &Proposal) {
        let twin = self.twins.entry(proposal.view());
        let twin = twin.or_insert_with(|| Self::twin(seat, proposal)).clone();
        if self.twins.len() > REMEMBERED {
            self.twins.pop_first();
        }
        let message = |proposal| consensus::Message::Proposal(Box::new(proposal));
        let (own, twin) = (message(proposal.clone()), message(twin));
        let both = seat.place.random.chance(500);
        if seat.place.random.chance(500) {
            seat.say(to, Message::Consensus(own));
            if both {
                seat.lie_in_consensus(to, twin);
            }
        } else {
            seat.lie_in_consensus(to, twin);
            if both {
                seat.say(to, Message::Consensus(own));
            }
        }
    }
}

impl Behaviour for Equivocator {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        match &message {
            Message::Consensus(consensus::Message::Proposal(own)) if seat.is_mine(own) => {
                return self.both(seat, to, own);
            }
            Message::Consensus(consensus::Message::Vote(vote)) => {
                if let Some(twin) = self.twins.get(&vote.view) {
                    seat.lie_in_consensus(to, seat.vote(vote.view, twin.block.id()));
                }
            }
            _ => {}
        }
        seat.say(to, message);
    }
}
