//! No double vote (I3) and no vote after a timeout in the same view (I4): an observer of every
//! message keeps the first statement of each member, view and kind.

use std::collections::BTreeMap;

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};
use lockstep_types::{BlockId, Signature, View};

use super::Broken;

/// Every consensus statement ever sent.
#[derive(Debug, Default)]
pub struct DoubleVote {
    votes: BTreeMap<(Peer, View), BlockId>,
    timeouts: BTreeMap<(Peer, View), Signature>,
    proposals: BTreeMap<(Peer, View), BlockId>,
    /// The last view each member gave up on.
    gave_up: BTreeMap<Peer, View>,
}

impl DoubleVote {
    pub(super) fn on_sent(&mut self, from: &Peer, message: &Message) -> Result<(), Broken> {
        match message {
            Message::Consensus(consensus::Message::Vote(vote)) => {
                if vote.author == from.member
                    && !self.votes.contains_key(&(*from, vote.view))
                    && self
                        .gave_up
                        .get(from)
                        .is_some_and(|view| *view >= vote.view)
                {
                    let detail = format!("{from:?} voted in {} after giving it up", vote.view);
                    return Err(Broken {
                        invariant: "no vote after a timeout",
                        detail,
                    });
                }
                same(&mut self.votes, (*from, vote.view), vote.block, "vote")
            }
            Message::Consensus(consensus::Message::Timeout(timeout)) => {
                let view = self.gave_up.entry(*from).or_insert(timeout.view);
                *view = (*view).max(timeout.view);
                let key = (*from, timeout.view);
                same(&mut self.timeouts, key, timeout.signature, "timeout")
            }
            Message::Consensus(consensus::Message::Proposal(proposal))
                if proposal.proposer() == from.member =>
            {
                let key = (*from, proposal.view());
                same(&mut self.proposals, key, proposal.block.id(), "proposal")
            }
            _ => Ok(()),
        }
    }
}

fn same<T: PartialEq + Copy + core::fmt::Debug>(
    seen: &mut BTreeMap<(Peer, View), T>,
    key: (Peer, View),
    value: T,
    what: &str,
) -> Result<(), Broken> {
    let first = *seen.entry(key).or_insert(value);
    if first == value {
        return Ok(());
    }
    let detail = format!(
        "{:?} made two {what}s in {}: {first:?}, {value:?}",
        key.0, key.1
    );
    Err(Broken {
        invariant: "no double vote",
        detail,
    })
}
