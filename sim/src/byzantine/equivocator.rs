//! A leader that proposes two blocks in one view, shows each to a part of the committee and later
//! to all, and votes for both.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::{Block, BlockId, View, Vote};

use super::{Behaviour, Seat};

/// Twins of proposals remembered, to vote for.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Default)]
pub struct Equivocator {
    /// By the view: the second block that was proposed there.
    twins: BTreeMap<View, Proposal>,
}

impl Equivocator {
    /// The same place and payload with a later time: as valid as the first.
    fn twin(seat: &Seat<'_>, proposal: &Proposal) -> Proposal {
        let mut header = proposal.block.header().clone();
        header.time = header.time.next();
        let block = Block::new(header, proposal.block.payload().to_vec());
        Proposal::sign(
            seat.signer,
            &seat.domain(),
            block,
            proposal.justify.clone(),
            proposal.entered_by.clone(),
        )
    }

    fn vote(seat: &Seat<'_>, view: View, block: BlockId) -> Message {
        let author = seat.peer.member;
        let epoch = lockstep_types::Epoch::ZERO;
        let vote = Vote::sign(seat.signer, &seat.domain(), author, epoch, view, block);
        Message::Consensus(consensus::Message::Vote(vote))
    }

    fn both(&mut self, seat: &mut Seat<'_>, to: Peer, proposal: &Proposal) -> Vec<(Peer, Message)> {
        let view = proposal.view();
        let twin = self
            .twins
            .entry(view)
            .or_insert_with(|| Self::twin(seat, proposal))
            .clone();
        if self.twins.len() > REMEMBERED {
            self.twins.pop_first();
        }
        let first = seat.random.chance(500);
        let [shown, other] = if first {
            [proposal.clone(), twin]
        } else {
            [twin, proposal.clone()]
        };
        let mut sent = vec![(
            to,
            Message::Consensus(consensus::Message::Proposal(Box::new(shown))),
        )];
        if seat.random.chance(500) {
            let other = consensus::Message::Proposal(Box::new(other));
            sent.push((to, Message::Consensus(other)));
        }
        sent
    }
}

impl Behaviour for Equivocator {
    fn name(&self) -> &'static str {
        "equivocator"
    }

    fn hear(&mut self, _: &Message) {}

    fn send(
        &mut self,
        seat: &mut Seat<'_>,
        messages: Vec<(Peer, Message)>,
    ) -> Vec<(Peer, Message)> {
        let mut sent = Vec::new();
        for (to, message) in messages {
            match &message {
                Message::Consensus(consensus::Message::Proposal(proposal))
                    if proposal.proposer() == seat.peer.member =>
                {
                    sent.extend(self.both(seat, to, proposal));
                }
                Message::Consensus(consensus::Message::Vote(vote)) => {
                    if let Some(twin) = self.twins.get(&vote.view) {
                        sent.push((to, Self::vote(seat, vote.view, twin.block.id())));
                    }
                    sent.push((to, message));
                }
                _ => sent.push((to, message)),
            }
        }
        sent
    }
}
