//! A digest of what decides how a replica goes on, for explorers that must know whether they have
//! been in a state before. Two replicas of one member with equal fingerprints answer equal inputs
//! alike and stay equal, but for what is left out:
//!
//! - the clock: timers, latencies and deadlines; whoever compares fingerprints lets timers fire
//!   whenever they may;
//! - who signed a certificate: it decides whom a missing block is asked from, and nothing else;
//! - positions in the log, which only rise, and proofs of what was committed.
//!
//! Every part is taken apart by name, so a new field does not compile until it is placed here.
//!
//! Breaks if: something that is left out starts to decide what is signed or committed.

use std::collections::BTreeMap;

use lockstep_types::{BlockId, Digest, Hasher, QuorumCertificate, TimeoutCertificate, View};
use parity_scale_codec::Encode;

use crate::replica::Own;
use crate::{Proposal, Replica};

/// What counts of a quorum certificate.
pub(crate) fn of_qc(qc: &QuorumCertificate) -> (View, BlockId) {
    (qc.view, qc.block)
}

/// What counts of a timeout certificate.
pub(crate) fn of_tc(tc: &TimeoutCertificate) -> (View, View, BlockId) {
    (tc.view, tc.high_qc.view, tc.high_qc.block)
}

fn of_proposal(proposal: &Proposal) -> impl Encode {
    let entered_by = proposal.entered_by.as_ref().map(of_tc);
    (proposal.block.id(), of_qc(&proposal.justify), entered_by)
}

impl<A> Replica<A> {
    /// The digest of everything that decides how this replica goes on, except what the head of
    /// this file lists, and except its application, which the caller adds if it has a memory.
    pub fn fingerprint(&self) -> Digest {
        let Replica {
            context: _,
            me,
            leaders: _,
            application: _,
            safety,
            pacemaker,
            tree,
            tally,
            fetch,
            proposals,
            misfits,
            turned_down,
            proofs: _,
            helped: _,
            only_copy: _,
            asking,
            testified: _,
            position: _,
            held,
            signed,
            unsynced,
            muted,
            wake: _,
            early,
            stopped,
        } = self;
        assert!(held.is_empty() && signed.is_empty(), "between two steps");
        let mut hasher = Hasher::new("lockstep/replica").value(me);
        hasher = pacemaker.fingerprint(tree.fingerprint(safety.fingerprint(hasher)));
        hasher = fetch.fingerprint(tally.fingerprint(hasher));
        let proposals = proposals.values().flat_map(BTreeMap::values);
        for proposal in proposals.clone() {
            hasher = hasher.value(&of_proposal(proposal));
        }
        let counts = (proposals.count(), misfits.len(), turned_down.len());
        hasher = hasher.value(&(counts.0 as u64, counts.1 as u64, counts.2 as u64));
        for id in misfits.iter().chain(turned_down) {
            hasher = hasher.value(id);
        }
        for (_, own) in unsynced {
            hasher = match own {
                Own::Vote(vote) => hasher.value(&(0u8, vote.view, vote.block)),
                Own::Timeout(timeout) => hasher.value(&(1u8, timeout.view)),
            };
        }
        if let Some(asking) = asking {
            let answered: Vec<_> = asking.answered.iter().collect();
            hasher = hasher.value(&(asking.challenge, asking.lost, answered, asking.signed));
        }
        let early = early.committed.len() + early.prompt.len() + early.evidence.len();
        hasher
            .value(&(unsynced.len() as u64, early as u64, muted))
            .value(&stopped.is_some())
            .finish()
    }
}
