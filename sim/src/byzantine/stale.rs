//! A member that pretends to know less than it does: as a leader it proposes on an old certificate,
//! and its timeouts name an old one.

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::Header;

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct Stale {
    instead: Instead,
}

/// In the place of its own proposal: an empty block on a certificate one to four views older.
fn stale_proposal(seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
    let steps = seat.choose(4);
    let memory = seat.memory;
    let (justify, parent) = memory.extendable(own.justify.view).nth(steps)?;
    let header = Header {
        height: parent.height.next(),
        parent: justify.block,
        parent_view: justify.view,
        executed: parent.executed,
        ..own.block.header().clone()
    };
    Some(seat.propose(header, Vec::new(), justify.clone(), own.entered_by.clone()))
}

impl Behaviour for Stale {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        if let Message::Consensus(consensus::Message::Timeout(timeout)) = &message
            && let Some(older) = seat.older_timeout(timeout)
        {
            return seat.lie_in_consensus(to, consensus::Message::Timeout(Box::new(older)));
        }
        self.instead.send(seat, to, message, stale_proposal);
    }
}
