//! What others show that carries our own signature (R30). Only this replica has its key, so a
//! statement it has no record of means a second copy of it, or an old disk.
//!
//! Statements before the last one are not remembered and cannot be judged, nor those up to the floor
//! of a replica whose record was lost.
//!
//! Breaks if: something is signed that is not in the record of the same step.

use lockstep_types::{BlockId, QuorumCertificate, Timeout, TimeoutCertificate, View, Vote};

use crate::ready::Ready;
use crate::{Application, Certificates, Fatal, Message, Replica};

impl<A: Application> Replica<A> {
    pub(crate) fn check_own_vote(&mut self, vote: &Vote, out: &mut Ready) {
        if self.learns_of(vote.view) {
            return;
        }
        if !self.may_have_voted(vote.view, vote.block) {
            stop(vote.view, Message::Vote(vote.clone()), out);
        }
    }

    pub(crate) fn check_own_timeout(&mut self, timeout: &Timeout, out: &mut Ready) {
        if self.learns_of(timeout.view) {
            return;
        }
        let record = self.safety.record();
        let ours = match &record.last_timed_out {
            Some(last) if last.view == timeout.view => last.high_qc.view == timeout.high_qc.view,
            _ => timeout.view < record.last_timed_out_view() || timeout.view <= record.floor,
        };
        if !ours {
            stop(timeout.view, Message::Timeout(timeout.clone().into()), out);
        }
    }

    /// Members that have started since remember no single statement, but all keep certificates.
    pub(crate) fn check_own_name_in_qc(&self, qc: &QuorumCertificate, out: &mut Ready) {
        if !self.knows_its_past() || !qc.signers.contains(self.me()) {
            return;
        }
        if !self.may_have_voted(qc.view, qc.block) {
            let shown = Certificates {
                high_qc: qc.clone(),
                high_tc: None,
            };
            stop(qc.view, Message::Certificates(shown.into()), out);
        }
    }

    pub(crate) fn check_own_name_in_tc(&self, tc: &TimeoutCertificate, out: &mut Ready) {
        if !self.knows_its_past() || !tc.signers.contains(self.me()) {
            return;
        }
        let record = self.safety.record();
        let ours = tc.view <= record.last_timed_out_view() || tc.view <= record.floor;
        if !ours {
            let shown = Certificates {
                high_qc: tc.high_qc.clone(),
                high_tc: Some(tc.clone()),
            };
            stop(tc.view, Message::Certificates(shown.into()), out);
        }
    }

    fn may_have_voted(&self, view: View, block: BlockId) -> bool {
        let record = self.safety.record();
        match &record.last_voted {
            Some(last) if last.view == view => last.block == block,
            _ => view < record.last_voted_view() || view <= record.floor,
        }
    }

    /// A replica whose record is lost and that is still asking takes what it is shown for its past:
    /// its floor will be no lower.
    fn learns_of(&mut self, view: View) -> bool {
        let Some(asking) = self.asking.as_mut().filter(|asking| asking.lost) else {
            return false;
        };
        asking.signed = asking.signed.max(view);
        true
    }

    /// Is everything that was ever signed with our key in the record, or below its floor?
    fn knows_its_past(&self) -> bool {
        let lost = self.asking.as_ref().is_some_and(|asking| asking.lost);
        // Both are about starts that know nothing of what others know; this would be a second net.
        let unwarned = lockstep_types::planted!(StartWithoutAsking)
            || lockstep_types::planted!(WipedNodeVotesAtOnce);
        self.only_copy && !lost && !unwarned
    }
}

fn stop(view: View, shown: Message, out: &mut Ready) {
    let shown = Box::new(shown);
    out.stop = Some(Fatal::SecondCopy { view, shown });
}
