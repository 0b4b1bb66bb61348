//! What correct members may sign, seen by an observer of every message: one vote, one timeout and
//! one proposal per view (I3), no vote in a view once it was given up, no vote for a block that does
//! not extend what its view must extend, no timeout below the lock (I4).

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal, SafetyRecord};
use lockstep_shard::{Message, Peer};
use lockstep_types::{BlockId, CommitteeId, Signature, Timeout, View, Vote};

use super::Broken;

/// Every consensus statement ever sent.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    votes: BTreeMap<(Peer, View), BlockId>,
    timeouts: BTreeMap<(Peer, View), Signature>,
    proposals: BTreeMap<(Peer, View), BlockId>,
    /// The last view each member gave up on.
    gave_up: BTreeMap<Peer, View>,
    /// The last vote that each member signed before it gave up its view. It may be sent later, and
    /// then for the first time, when the process died in between.
    signed: BTreeMap<Peer, View>,
    /// The highest certified view under a block each member voted for.
    locks: BTreeMap<Peer, View>,
    /// Blocks proposed by anybody: the view of the parent's certificate, and whether some proposal
    /// showed that the view may extend it.
    blocks: BTreeMap<(CommitteeId, BlockId), (View, bool)>,
}

impl Statements {
    /// Somebody, correct or not, sends a proposal.
    pub(crate) fn on_proposal(&mut self, committee: CommitteeId, proposal: &Proposal) {
        let parent = proposal.justify.view;
        let view = proposal.view();
        let shown = match &proposal.entered_by {
            _ if parent.next() == view => true,
            Some(tc) => tc.view.next() == view && tc.high_qc_views.iter().all(|hq| *hq <= parent),
            None => false,
        };
        let key = (committee, proposal.block.id());
        let known = self.blocks.entry(key).or_insert((parent, false));
        known.1 |= shown;
    }

    /// A correct member sends something.
    pub(super) fn on_sent(&mut self, from: &Peer, message: &Message) -> Result<(), Broken> {
        match message {
            Message::Consensus(message) => self.on_consensus(from, message),
            _ => Ok(()),
        }
    }

    /// The same, of a committee that has no shard around it.
    pub(crate) fn on_consensus(
        &mut self,
        from: &Peer,
        message: &consensus::Message,
    ) -> Result<(), Broken> {
        match message {
            consensus::Message::Vote(vote) if vote.author == from.member => {
                self.on_vote(from, vote)
            }
            consensus::Message::Timeout(timeout) if timeout.author == from.member => {
                self.on_timeout(from, timeout)
            }
            consensus::Message::Proposal(proposal) if proposal.proposer() == from.member => {
                let key = (*from, proposal.view());
                same(&mut self.proposals, key, proposal.block.id(), "proposal").map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// A correct member writes its record.
    pub(super) fn on_record(&mut self, from: &Peer, record: &SafetyRecord) {
        let voted = record.last_voted_view();
        if voted > record.last_timed_out_view() {
            self.signed.insert(*from, voted);
        }
    }

    fn on_vote(&mut self, from: &Peer, vote: &Vote) -> Result<(), Broken> {
        if !same(&mut self.votes, (*from, vote.view), vote.block, "vote")? {
            return Ok(()); // a repeat
        }
        let gave_up = self.gave_up.get(from).copied().unwrap_or_default();
        if gave_up >= vote.view && self.signed.get(from) != Some(&vote.view) {
            let detail = format!("{from:?} voted in {} after giving up {gave_up}", vote.view);
            return Err(Broken::new("no vote after a timeout", detail));
        }
        let Some((parent, shown)) = self.blocks.get(&(from.committee, vote.block)) else {
            return Ok(()); // a leader's own, whose proposal was lost with the process that made it
        };
        if !shown {
            let detail = format!(
                "{from:?} voted in {} for a block on view {parent}, which a quorum had passed",
                vote.view
            );
            return Err(Broken::new("votes extend the highest certificate", detail));
        }
        let lock = self.locks.entry(*from).or_default();
        *lock = (*lock).max(*parent);
        Ok(())
    }

    fn on_timeout(&mut self, from: &Peer, timeout: &Timeout) -> Result<(), Broken> {
        let key = (*from, timeout.view);
        if !same(&mut self.timeouts, key, timeout.signature, "timeout")? {
            return Ok(());
        }
        let view = self.gave_up.entry(*from).or_default();
        *view = (*view).max(timeout.view);
        let lock = self.locks.get(from).copied().unwrap_or_default();
        if timeout.high_qc.view < lock {
            let named = timeout.high_qc.view;
            let detail = format!(
                "{from:?} gave up {} naming {named}, and is locked on {lock}",
                timeout.view
            );
            return Err(Broken::new("no timeout below the lock", detail));
        }
        Ok(())
    }
}

/// Is this the first statement of its kind there? A second one must be the same.
fn same<T: PartialEq + Copy + core::fmt::Debug>(
    seen: &mut BTreeMap<(Peer, View), T>,
    key: (Peer, View),
    value: T,
    what: &str,
) -> Result<bool, Broken> {
    let Some(first) = seen.get(&key) else {
        seen.insert(key, value);
        return Ok(true);
    };
    if *first == value {
        return Ok(false);
    }
    let detail = format!(
        "{:?} made two {what}s in {}: {first:?}, {value:?}",
        key.0, key.1
    );
    Err(Broken::new("no double vote", detail))
}
