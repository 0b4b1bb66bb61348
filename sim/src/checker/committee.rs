//! What must hold of one bare committee after every step: agreement (I1), commits in order, once
//! and by the commit rule (I5), what may be signed (I3, I4), facts that never go back (I6), quorums
//! behind every certificate (I12), and evidence against nobody correct.
//!
//! Seats of a Byzantine member are seen and never judged by what they sign. A twin's half runs
//! honest code: what it commits must agree too, since it commits by certificates alone.

use std::collections::BTreeMap;

use lockstep_consensus::{CommittedBlock, Message, Proposal, Replica};
use lockstep_shard::Peer;
use lockstep_types::{
    BlockId, EpochContext, Height, QuorumCertificate, Signers, TimeoutCertificate, View,
};

use super::{Broken, CommitRule, Statements};
use crate::committee::{Marks, Said};

/// Judges the seats of one committee.
#[derive(Clone, Debug)]
pub struct CommitteeChecker {
    statements: Statements,
    blocks: BTreeMap<Height, BlockId>,
    seats: Vec<Facts>,
}

/// What never goes back at one seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    height: Height,
    view: View,
    high_qc: View,
    high_tc: View,
    lock: View,
}

impl Facts {
    fn of(replica: &Replica<Marks>) -> Self {
        let record = replica.record();
        Facts {
            height: replica.committed().header().height,
            view: replica.view(),
            high_qc: record.high_qc.view,
            high_tc: record.high_tc_view(),
            lock: record.lock,
        }
    }

    fn reaches(&self, earlier: &Facts) -> bool {
        self.height >= earlier.height
            && self.view >= earlier.view
            && self.high_qc >= earlier.high_qc
            && self.high_tc >= earlier.high_tc
            && self.lock >= earlier.lock
    }
}

impl CommitteeChecker {
    /// A checker for so many seats.
    pub fn new(seats: usize) -> Self {
        CommitteeChecker {
            statements: Statements::default(),
            blocks: BTreeMap::new(),
            seats: vec![Facts::default(); seats],
        }
    }

    /// The highest height anybody has committed.
    pub fn height(&self) -> Height {
        self.blocks.keys().next_back().copied().unwrap_or_default()
    }

    /// A seat of a member has done a step. `judged` tells whether the member is correct.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn on_step(
        &mut self,
        seat: usize,
        judged: bool,
        replica: &Replica<Marks>,
        said: &Said,
    ) -> Result<(), Broken> {
        let context = replica.context();
        let peer = Peer {
            committee: context.domain.committee,
            member: replica.me(),
        };
        for outbound in &said.sent {
            self.on_sent(&peer, judged, &outbound.message, context)?;
        }
        for block in &said.committed {
            self.on_committed(seat, block, context)?;
        }
        let facts = Facts::of(replica);
        let earlier = core::mem::replace(&mut self.seats[seat], facts);
        if !facts.reaches(&earlier) {
            let detail = format!("seat {seat} went from {earlier:?} to {facts:?}");
            return Err(Broken::new("facts never go back", detail));
        }
        match &said.stop {
            Some(fatal) if judged => {
                let detail = format!("seat {seat} stopped: {fatal}");
                Err(Broken::new("correct members do not stop", detail))
            }
            _ => Ok(()),
        }
    }

    /// Somebody, correct or not, says something.
    ///
    /// # Errors
    /// What does not hold.
    pub fn on_sent(
        &mut self,
        peer: &Peer,
        judged: bool,
        message: &Message,
        context: &EpochContext,
    ) -> Result<(), Broken> {
        if let Message::Proposal(proposal) = message {
            self.statements.on_proposal(peer.committee, proposal);
        }
        if !judged {
            return Ok(());
        }
        check_certificates(message, context)?;
        self.statements.on_consensus(peer, message)
    }

    fn on_committed(
        &mut self,
        seat: usize,
        block: &CommittedBlock,
        context: &EpochContext,
    ) -> Result<(), Broken> {
        let header = block.block().header();
        let height = header.height;
        let last = self.seats[seat].height;
        if height != last.next() {
            let detail = format!("seat {seat} went from {last} to {height}");
            return Err(Broken::new("commits in order, without gaps, once", detail));
        }
        self.seats[seat].height = height;
        let id = block.block().id();
        let known = *self.blocks.entry(height).or_insert(id);
        if known != id {
            let detail = format!("seat {seat} committed {id:?} at {height}, another {known:?}");
            return Err(Broken::new("agreement", detail));
        }
        let proof = &block.proof;
        if proof.headers.first() != Some(header) {
            let detail = format!("seat {seat} at {height}");
            return Err(Broken::new("a proof is for its block", detail));
        }
        CommitRule::shape(context.domain.committee, proof)?;
        check_qc(&proof.qc, context)?;
        check_qc(&proof.child_qc, context)
    }
}

fn check_certificates(message: &Message, context: &EpochContext) -> Result<(), Broken> {
    let (qcs, tc): (Vec<&QuorumCertificate>, _) = match message {
        Message::Proposal(proposal) => {
            let Proposal { justify, .. } = &**proposal;
            (vec![justify], proposal.entered_by.as_ref())
        }
        Message::Timeout(timeout) => (vec![&timeout.high_qc], timeout.entered_by.as_ref()),
        Message::Certificates(both) => (vec![&both.high_qc], both.high_tc.as_ref()),
        Message::Blocks(links) => (links.iter().map(|link| &link.justify).collect(), None),
        Message::Testimony(testimony) => {
            let known = &testimony.certificates;
            (vec![&known.high_qc], known.high_tc.as_ref())
        }
        Message::Vote(_) | Message::BlockRequest { .. } | Message::Inquiry(_) => return Ok(()),
    };
    qcs.into_iter().try_for_each(|qc| check_qc(qc, context))?;
    tc.map_or(Ok(()), |tc| check_tc(tc, context))
}

/// I12. The root's certificate needs nobody.
fn check_qc(qc: &QuorumCertificate, context: &EpochContext) -> Result<(), Broken> {
    if qc.view == View::ZERO && qc.block == context.root {
        return Ok(());
    }
    check_signers(qc.view, qc.signers, qc.signatures.len(), context)
}

fn check_tc(tc: &TimeoutCertificate, context: &EpochContext) -> Result<(), Broken> {
    check_signers(tc.view, tc.signers, tc.signatures.len(), context)?;
    if tc.high_qc_views.iter().max() != Some(&tc.high_qc.view) {
        let detail = format!("the one for {} carries {}", tc.view, tc.high_qc.view);
        return Err(Broken::new(
            "a timeout certificate carries its highest",
            detail,
        ));
    }
    check_qc(&tc.high_qc, context)
}

fn check_signers(
    view: View,
    signers: Signers,
    signatures: usize,
    context: &EpochContext,
) -> Result<(), Broken> {
    let members = context.committee.size();
    let needed = members - (members - 1) / 3;
    let distinct = signers
        .iter()
        .filter(|member| member.get() < members)
        .count();
    if distinct >= needed && distinct == signatures && signers.count() == distinct {
        return Ok(());
    }
    let detail = format!("{signers:?} with {signatures} signatures certify {view}");
    Err(Broken::new("a quorum certifies", detail))
}
