//! A member that votes for both of two rivals, and for a block that nobody has made where there is
//! one only; and votes again in a view after it has given up on it.

use std::collections::BTreeMap;

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};
use lockstep_types::{BlockId, View};

use super::{Behaviour, Seat};

/// Views remembered.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct DoubleVoter {
    /// The last block heard of in each view.
    proposed: BTreeMap<View, BlockId>,
}

impl DoubleVoter {
    fn rival(&self, seat: &Seat<'_>, view: View, of: Option<BlockId>) -> consensus::Message {
        let known = self.proposed.get(&view).copied();
        let known = known.filter(|block| Some(*block) != of);
        seat.vote(view, known.unwrap_or_else(|| seat.invented(view)))
    }
}

impl Behaviour for DoubleVoter {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let Message::Consensus(inner) = &message else {
            return seat.say(to, message);
        };
        let (rival, first) = match inner {
            consensus::Message::Vote(vote) => {
                let rival = self.rival(seat, vote.view, Some(vote.block));
                (rival, seat.place.random.chance(500))
            }
            consensus::Message::Timeout(timeout) => (self.rival(seat, timeout.view, None), false),
            _ => return seat.say(to, message),
        };
        if first {
            seat.lie_in_consensus(to, rival);
            seat.say(to, message);
        } else {
            seat.say(to, message);
            seat.lie_in_consensus(to, rival);
        }
    }

    fn hear(&mut self, seat: &mut Seat<'_>, _from: Peer, message: &Message) {
        let Message::Consensus(consensus::Message::Proposal(proposal)) = message else {
            return;
        };
        let (view, block) = (proposal.view(), proposal.block.id());
        let known = self.proposed.insert(view, block);
        if self.proposed.len() > REMEMBERED {
            self.proposed.pop_first();
        }
        if known.is_some_and(|known| known != block) {
            for to in seat.others() {
                seat.lie_in_consensus(to, seat.vote(view, block));
            }
        }
    }
}
