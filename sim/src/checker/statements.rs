//! What correct members may sign, seen by an observer of every message: one vote, one timeout and
//! one proposal per view (I3), none for an earlier view than the last, no vote in a view once it was
//! given up, no vote for a block that does not extend what its view must extend, no timeout below
//! the lock or without what shows how its view was entered (I4).

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
    /// The last view each member gave up on, and the last it voted in.
    gave_up: BTreeMap<Peer, View>,
    voted: BTreeMap<Peer, View>,
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
        rise(&mut self.voted, from, vote.view, "vote")?;
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
        rise(&mut self.gave_up, from, timeout.view, "timeout")?;
        let voted = self.voted.get(from).copied().unwrap_or_default();
        if timeout.view < voted {
            let detail = format!("{from:?} gave up {} after voting in {voted}", timeout.view);
            return Err(Broken::new("statements are of rising views", detail));
        }
        let entered_by = timeout.entered_by.as_ref();
        let by_tc = entered_by.is_some_and(|tc| timeout.view.follows(tc.view));
        if !timeout.view.follows(timeout.high_qc.view) && !by_tc {
            let detail = format!("{from:?} gave up {} and shows no way in", timeout.view);
            return Err(Broken::new(
                "a timeout shows how its view was entered",
                detail,
            ));
        }
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

/// A new statement is of a later view than all of its kind before.
fn rise(
    last: &mut BTreeMap<Peer, View>,
    from: &Peer,
    view: View,
    what: &str,
) -> Result<(), Broken> {
    let last = last.entry(*from).or_default();
    if view <= *last {
        let detail = format!("{from:?} made a first {what} in {view} after one in {last}");
        return Err(Broken::new("statements are of rising views", detail));
    }
    *last = view;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::MemberIndex;
    use lockstep_types::generate::Random;

    const FROM: Peer = Peer {
        committee: CommitteeId::Beacon,
        member: MemberIndex::new(1),
    };

    fn vote(view: u64) -> consensus::Message {
        consensus::Message::Vote(Vote {
            view: View::new(view),
            author: FROM.member,
            ..Random::new(view).make()
        })
    }

    /// Gives `view` up, entered by the certificate that it names.
    fn timeout(view: u64, named: u64) -> consensus::Message {
        let mut timeout: Timeout = Random::new(view).make();
        timeout.view = View::new(view);
        timeout.author = FROM.member;
        timeout.high_qc.view = View::new(named);
        timeout.entered_by = None;
        consensus::Message::Timeout(Box::new(timeout))
    }

    /// The invariant that the last of these breaks, when all before it keep the rules.
    fn broken(said: &[consensus::Message]) -> Option<&'static str> {
        let mut statements = Statements::default();
        let (last, before) = said.split_last().unwrap();
        for message in before {
            assert_eq!(statements.on_consensus(&FROM, message), Ok(()));
        }
        let result = statements.on_consensus(&FROM, last);
        result.err().map(|broken| broken.invariant)
    }

    #[test]
    fn views_of_statements_rise() {
        let rising = Some("statements are of rising views");
        assert_eq!(broken(&[vote(3), timeout(3, 2), vote(4), vote(4)]), None);
        assert_eq!(broken(&[vote(3), vote(2)]), rising);
        assert_eq!(broken(&[timeout(3, 2), timeout(2, 1)]), rising);
        assert_eq!(broken(&[vote(4), timeout(3, 2)]), rising);
        assert_eq!(
            broken(&[timeout(3, 2), vote(3)]),
            Some("no vote after a timeout")
        );
    }

    #[test]
    fn a_timeout_shows_how_its_view_was_entered() {
        let unshown = Some("a timeout shows how its view was entered");
        assert_eq!(broken(&[timeout(3, 2)]), None);
        assert_eq!(broken(&[timeout(3, 1)]), unshown);
    }
}
