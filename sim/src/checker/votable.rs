//! What correct members vote for (I4), judged a second time from all proposals there were: a block
//! that fits on its parent (R23), names an executed height that its ancestry allows (R24), comes
//! from who leads its view on that chain (R19), and whose time the voter's clock has reached (R25).

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::{MAX_EXECUTION_LAG, Proposal, SafetyRecord, SkipTable};
use lockstep_genesis::Genesis;
use lockstep_shard::{Peer, root_block};
use lockstep_types::{BlockId, Committee, CommitteeId, Header, Height, Time, View, Vote};

use super::Broken;

/// A block that somebody proposed.
#[derive(Clone, Debug)]
struct Seen {
    header: Header,
    /// The newest height that its ancestry commits; None when that is not known.
    commits: Option<Height>,
    /// Who is passed over on top of it; None when the chain below is not known.
    skips: Option<SkipTable>,
    /// Why nobody may vote for it.
    wrong: Option<String>,
}

/// Judges what is voted for.
#[derive(Clone, Debug, Default)]
pub struct Votable {
    committees: BTreeMap<CommitteeId, Committee>,
    blocks: BTreeMap<(CommitteeId, BlockId), Seen>,
    /// The view each member has voted in last.
    voted: BTreeMap<Peer, View>,
}

impl Votable {
    pub(super) fn new(genesis: &Arc<Genesis>) -> Self {
        let mut votable = Votable::default();
        for id in genesis.committees() {
            let committee = genesis.committee(id).clone();
            votable.begin(id, committee, root_block(genesis, id).header().clone());
        }
        votable
    }

    fn begin(&mut self, id: CommitteeId, committee: Committee, root: Header) {
        self.committees.insert(id, committee);
        let seen = Seen {
            commits: Some(Height::ZERO),
            skips: Some(SkipTable::default()),
            wrong: None,
            header: root,
        };
        self.blocks.insert((id, seen.header.id()), seen);
    }

    /// Somebody, correct or not, proposes.
    pub(super) fn on_proposal(&mut self, committee: CommitteeId, proposal: &Proposal) {
        let key = (committee, proposal.block.id());
        if self.blocks.contains_key(&key) {
            return;
        }
        let header = proposal.block.header().clone();
        let parent = self.blocks.get(&(committee, header.parent));
        let seen = Seen::on(parent, header, &self.committees[&committee]);
        self.blocks.insert(key, seen);
    }

    /// A correct member votes. Of a block that came with no proposal, such as a leader's own whose
    /// process ended, nothing is known.
    pub(super) fn on_vote(&self, from: &Peer, vote: &Vote) -> Result<(), Broken> {
        let seen = self.blocks.get(&(from.committee, vote.block));
        let Some(wrong) = seen.and_then(|seen| seen.wrong.as_ref()) else {
            return Ok(());
        };
        let detail = format!("{from:?} voted in {} for {wrong}", vote.view);
        Err(Broken::new("votes are for what fits", detail))
    }

    /// A correct member, whose clock shows `now`, writes its record.
    pub(super) fn on_record(
        &mut self,
        from: &Peer,
        now: Time,
        record: &SafetyRecord,
    ) -> Result<(), Broken> {
        let Some(vote) = &record.last_voted else {
            return Ok(());
        };
        let voted = self.voted.entry(*from).or_default();
        if vote.view <= *voted {
            return Ok(());
        }
        *voted = vote.view;
        let seen = self.blocks.get(&(from.committee, vote.block));
        match seen.map(|seen| seen.header.time) {
            Some(time) if time > now => {
                let view = vote.view;
                let detail = format!("{from:?} voted in {view} for a block of {time} at {now}");
                Err(Broken::new("votes wait for the block's time", detail))
            }
            _ => Ok(()),
        }
    }
}

impl Seen {
    fn on(parent: Option<&Seen>, header: Header, committee: &Committee) -> Seen {
        let Some(parent) = parent else {
            return Seen {
                header,
                commits: None,
                skips: None,
                wrong: None,
            };
        };
        let above = &parent.header;
        let commits = match above.view.follows(above.parent_view) {
            true => above.height.previous(),
            false => parent.commits,
        };
        let skips = parent.skips.as_ref();
        let leader = match header.view.follows(header.parent_view) {
            true => skips.map(|table| table.leader(committee, header.view)),
            false => Some(committee.by_turn(header.view.get())),
        };
        let wrong = if !header.height.follows(above.height) {
            Some(format!("height {} on {}", header.height, above.height))
        } else if header.parent_view != above.view {
            Some(format!(
                "a parent of {} as {}",
                above.view, header.parent_view
            ))
        } else if header.time <= above.time {
            Some(format!("time {} on {}", header.time, above.time))
        } else if leader.is_some_and(|leader| leader != header.proposer) {
            Some(format!(
                "a block of {:?}, {leader:?} leads",
                header.proposer
            ))
        } else {
            let executed = header.executed.height;
            let least = commits.map(|most| most.get().saturating_sub(MAX_EXECUTION_LAG));
            let fits = executed >= above.executed.height
                && commits.is_none_or(|most| executed <= most)
                && least.is_none_or(|least| executed.get() >= least);
            let before = above.executed.height;
            (!fits).then(|| format!("{executed} executed, after {before}, of {commits:?}"))
        };
        Seen {
            skips: skips.map(|table| table.after(committee, &header)),
            header,
            commits,
            wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::generate::Random;
    use lockstep_types::{Executed, MemberIndex, PublicKey};

    fn committee() -> Committee {
        Committee::new((0..4).map(|i| PublicKey::new([i; 33])).collect()).unwrap()
    }

    fn root() -> Seen {
        let header = Header {
            view: View::ZERO,
            parent_view: View::ZERO,
            height: Height::ZERO,
            time: Time::from_millis(1),
            executed: Executed::default(),
            ..Random::new(1).make()
        };
        let mut votable = Votable::default();
        votable.begin(CommitteeId::Beacon, committee(), header.clone());
        votable.blocks[&(CommitteeId::Beacon, header.id())].clone()
    }

    fn child(parent: &Seen) -> Header {
        let view = parent.header.view.next();
        Header {
            parent: parent.header.id(),
            parent_view: parent.header.view,
            height: parent.header.height.next(),
            time: parent.header.time.next(),
            proposer: committee().by_turn(view.get()),
            view,
            ..parent.header.clone()
        }
    }

    #[test]
    fn one_header_fits_and_each_change_of_it_does_not() {
        let root = root();
        let good = child(&root);
        let judge = |change: fn(&mut Header)| {
            let mut header = good.clone();
            change(&mut header);
            Seen::on(Some(&root), header, &committee()).wrong
        };
        assert_eq!(judge(|_| {}), None);
        assert!(judge(|header| header.height = header.height.next()).is_some());
        assert!(judge(|header| header.parent_view = header.view).is_some());
        assert!(judge(|header| header.time = Time::ZERO).is_some());
        assert!(judge(|header| header.proposer = MemberIndex::new(3)).is_some());
        assert!(judge(|header| header.executed.height = header.height).is_some());
    }

    #[test]
    fn a_vote_for_what_does_not_fit_is_named() {
        let root = root();
        let mut header = child(&root);
        header.height = header.height.next();
        let seen = Seen::on(Some(&root), header, &committee());
        let from = Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(1),
        };
        let vote: Vote = Random::new(2).make();
        let mut votable = Votable::default();
        assert_eq!(
            votable.on_vote(&from, &vote),
            Ok(()),
            "nothing is known of it"
        );
        votable.blocks.insert((from.committee, vote.block), seen);
        assert!(votable.on_vote(&from, &vote).is_err());
    }
}
