//! Votes and timeouts on the way to a certificate.
//!
//! The first valid statement of an author in a view counts; a repeat is ignored, and a different
//! one is evidence and replaces nothing. Signers are counted by committee index, never by
//! signature.
//!
//! Breaks if: memory grows with what one author sends, or a later statement withdraws an earlier.

use std::collections::BTreeMap;

use lockstep_types::{
    BlockId, Committee, Gauge, Hasher, MemberIndex, QuorumCertificate, Signers, Timeout,
    TimeoutCertificate, View, Vote,
};

use crate::fingerprint::of_qc;
use crate::{Evidence, Refusal};

/// Votes kept per author: the newest views win. A correct author is at most two views apart from
/// us while votes matter, and whoever names far views only pushes out its own votes.
pub const MAX_VOTES_PER_AUTHOR: usize = 4;

/// Votes for views further ahead than this are not kept; a replica that far behind catches up by
/// certificates.
pub const MAX_VIEWS_AHEAD: u64 = 64;

/// What a statement came to.
#[derive(Debug)]
pub(crate) enum Counted {
    /// It counts.
    New,
    /// It was known.
    Repeat,
    /// It contradicts an earlier one.
    Conflict(Evidence, Refusal),
}

#[derive(Clone, Default)]
pub(crate) struct Tally {
    votes: BTreeMap<MemberIndex, BTreeMap<View, Vote>>,
    timeouts: BTreeMap<MemberIndex, Timeout>,
}

impl Tally {
    /// Counts a vote.
    pub(crate) fn add_vote(&mut self, vote: Vote) -> Counted {
        let kept = self.votes.entry(vote.author).or_default();
        if let Some(earlier) = kept.get(&vote.view) {
            if earlier.block == vote.block {
                return Counted::Repeat;
            }
            let refusal = Refusal::Equivocation {
                author: vote.author,
                view: vote.view,
            };
            let pair = Box::new([earlier.clone(), vote]);
            return Counted::Conflict(Evidence::Votes(pair), refusal);
        }
        kept.insert(vote.view, vote);
        if lockstep_types::planted!(UnboundedVotes) {
            return Counted::New;
        }
        if kept.len() > MAX_VOTES_PER_AUTHOR {
            kept.pop_first();
        }
        assert!(kept.len() <= MAX_VOTES_PER_AUTHOR);
        Counted::New
    }

    /// Counts a timeout. One per author is kept, the newest.
    pub(crate) fn add_timeout(&mut self, timeout: Timeout) -> Counted {
        if let Some(earlier) = self.timeouts.get(&timeout.author) {
            if earlier.view > timeout.view {
                return Counted::Repeat;
            }
            if earlier.view == timeout.view {
                if earlier.high_qc.view == timeout.high_qc.view {
                    return Counted::Repeat;
                }
                let refusal = Refusal::Equivocation {
                    author: timeout.author,
                    view: timeout.view,
                };
                let pair = Box::new([earlier.clone(), timeout]);
                return Counted::Conflict(Evidence::Timeouts(pair), refusal);
            }
        }
        self.timeouts.insert(timeout.author, timeout);
        Counted::New
    }

    /// Was this author's timeout for this view, or a later one, counted already?
    pub(crate) fn has_timeout(&self, timeout: &Timeout) -> bool {
        self.timeouts
            .get(&timeout.author)
            .is_some_and(|earlier| earlier.view >= timeout.view)
    }

    /// The newest statements of a member that are kept.
    pub(crate) fn newest_of(&self, member: MemberIndex) -> (Option<Vote>, Option<Timeout>) {
        let votes = self.votes.get(&member);
        let vote = votes.and_then(|kept| kept.last_key_value());
        let timeout = self.timeouts.get(&member);
        (vote.map(|(_, vote)| vote.clone()), timeout.cloned())
    }

    /// The certificate of the highest view at or above `from` for which a quorum of votes is here.
    pub(crate) fn quorum_certificate(
        &self,
        committee: &Committee,
        from: View,
    ) -> Option<QuorumCertificate> {
        let mut counts: BTreeMap<(View, BlockId), usize> = BTreeMap::new();
        for vote in self.votes.values().flat_map(|kept| kept.range(from..)) {
            *counts.entry((*vote.0, vote.1.block)).or_default() += 1;
        }
        let ((view, block), _) = counts
            .into_iter()
            .rev()
            .find(|(_, count)| *count >= committee.quorum())?;
        let votes: Vec<&Vote> = self
            .votes
            .values()
            .filter_map(|kept| kept.get(&view))
            .filter(|vote| vote.block == block)
            .take(committee.quorum())
            .collect();
        let signers: Signers = votes.iter().map(|vote| vote.author).collect();
        assert_eq!(signers.count(), committee.quorum(), "one bit per author");
        assert_eq!(signers.count(), votes.len());
        Some(QuorumCertificate {
            epoch: votes[0].epoch,
            view,
            block,
            signers,
            signatures: votes.iter().map(|vote| vote.signature).collect(),
        })
    }

    /// See `fingerprint.rs`.
    pub(crate) fn fingerprint(&self, mut hasher: Hasher) -> Hasher {
        let Tally { votes, timeouts } = self;
        for vote in votes.values().flat_map(BTreeMap::values) {
            hasher = hasher.value(&(vote.author, vote.view, vote.block));
        }
        for timeout in timeouts.values() {
            let high_qc = of_qc(&timeout.high_qc);
            hasher = hasher.value(&(timeout.author, timeout.view, high_qc));
        }
        let votes: usize = votes.values().map(BTreeMap::len).sum();
        hasher.value(&(votes as u64, timeouts.len() as u64))
    }

    /// How full it is.
    pub(crate) fn measure(&self, members: usize, gauge: &mut dyn Gauge) {
        let votes = self.votes.values().map(BTreeMap::len).sum();
        gauge.note("votes", votes, members * MAX_VOTES_PER_AUTHOR);
        gauge.note("timeouts", self.timeouts.len(), members);
    }

    /// How many members have given up on `view`.
    pub(crate) fn timeouts_for(&self, view: View) -> usize {
        self.timeouts.values().filter(|t| t.view == view).count()
    }

    /// The certificate for giving up on `view`, if a quorum has.
    pub(crate) fn timeout_certificate(
        &self,
        committee: &Committee,
        view: View,
    ) -> Option<TimeoutCertificate> {
        let timeouts: Vec<&Timeout> = self
            .timeouts
            .values()
            .filter(|timeout| timeout.view == view)
            .take(committee.quorum())
            .collect();
        if timeouts.len() < committee.quorum() {
            return None;
        }
        let highest = timeouts
            .iter()
            .max_by_key(|timeout| timeout.high_qc.view)
            .expect("a quorum is not empty");
        let tc = TimeoutCertificate {
            epoch: highest.epoch,
            view,
            signers: timeouts.iter().map(|timeout| timeout.author).collect(),
            high_qc_views: timeouts.iter().map(|t| t.high_qc.view).collect(),
            signatures: timeouts.iter().map(|timeout| timeout.signature).collect(),
            high_qc: highest.high_qc.clone(),
        };
        assert_eq!(tc.signers.count(), committee.quorum(), "one bit per author");
        assert!(tc.high_qc.view < tc.view);
        Some(tc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{Digest, Epoch, PublicKey, Signature};

    fn committee(size: u8) -> Committee {
        Committee::new((0..size).map(|i| PublicKey::new([i; 33])).collect()).unwrap()
    }

    fn vote(author: u8, view: u64, block: u8) -> Vote {
        Vote {
            epoch: Epoch::ZERO,
            view: View::new(view),
            block: BlockId::new(Digest::new([block; 32])),
            author: MemberIndex::new(author),
            signature: Signature::new([author; 64]),
        }
    }

    #[test]
    fn a_quorum_is_n_minus_f_signers_for_every_size() {
        for size in 4..=10 {
            let committee = committee(size);
            let mut tally = Tally::default();
            let quorum = committee.quorum() as u8;
            for author in 0..quorum {
                assert_eq!(
                    tally.quorum_certificate(&committee, View::ZERO),
                    None,
                    "n = {size}"
                );
                assert!(matches!(tally.add_vote(vote(author, 5, 1)), Counted::New));
                assert!(matches!(
                    tally.add_vote(vote(author, 5, 1)),
                    Counted::Repeat
                ));
            }
            let qc = tally.quorum_certificate(&committee, View::ZERO).unwrap();
            assert_eq!(qc.signers.count(), qc.signatures.len());
            assert_eq!(tally.quorum_certificate(&committee, View::new(6)), None);
        }
    }

    #[test]
    fn a_second_vote_is_evidence_and_withdraws_nothing() {
        let committee = committee(4);
        let mut tally = Tally::default();
        for author in 0..2 {
            let _ = tally.add_vote(vote(author, 5, 1));
        }
        assert!(matches!(
            tally.add_vote(vote(0, 5, 2)),
            Counted::Conflict(..)
        ));
        let _ = tally.add_vote(vote(2, 5, 1));
        assert!(tally.quorum_certificate(&committee, View::ZERO).is_some());
    }

    #[test]
    fn votes_per_author_are_bounded() {
        let mut tally = Tally::default();
        for view in 0..100 {
            let _ = tally.add_vote(vote(0, view, 1));
        }
        assert_eq!(
            tally.votes[&MemberIndex::new(0)].len(),
            MAX_VOTES_PER_AUTHOR
        );
    }
}
