//! Proposals that a liar shows in the place of its replica's own. Its votes follow them: a leader
//! that does not vote for its own block gives itself away and needs one more of the others.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::View;

use super::Seat;

/// Views remembered.
const REMEMBERED: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Instead {
    /// By the view; none where the replica's own proposal was shown.
    shown: BTreeMap<View, Option<Proposal>>,
}

impl Instead {
    /// Sends `message`. A proposal of its own becomes what `make` makes of it, the same for every
    /// receiver and every time it is sent.
    pub(super) fn send(
        &mut self,
        seat: &mut Seat<'_>,
        to: Peer,
        message: Message,
        make: impl FnOnce(&mut Seat<'_>, &Proposal) -> Option<Proposal>,
    ) {
        let lie = match &message {
            Message::Consensus(consensus::Message::Proposal(own)) if seat.is_mine(own) => {
                let made = self.shown.entry(own.view());
                let made = made.or_insert_with(|| make(seat, own)).clone();
                made.map(|proposal| consensus::Message::Proposal(Box::new(proposal)))
            }
            Message::Consensus(consensus::Message::Vote(vote)) => self
                .shown
                .get(&vote.view)
                .and_then(Option::as_ref)
                .map(|proposal| seat.vote(vote.view, proposal.block.id())),
            _ => None,
        };
        if self.shown.len() > REMEMBERED {
            self.shown.pop_first();
        }
        match lie {
            Some(lie) => seat.lie_in_consensus(to, lie),
            None => seat.say(to, message),
        }
    }
}
