//! A member that takes back what it said: after each vote one for another block, after each timeout
//! one that names another certificate. Whoever lets the later replace the earlier can be made to
//! lose a quorum that was there.

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct VoteReplacer;

impl Behaviour for VoteReplacer {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let other = match &message {
            Message::Consensus(consensus::Message::Vote(vote)) => {
                Some(seat.vote(vote.view, seat.invented(vote.view)))
            }
            Message::Consensus(consensus::Message::Timeout(timeout)) => seat
                .older_timeout(timeout)
                .map(|older| consensus::Message::Timeout(Box::new(older))),
            _ => None,
        };
        seat.say(to, message);
        if let Some(other) = other {
            seat.lie_in_consensus(to, other);
        }
    }
}
