//! Certificates and what follows from them: views are entered, blocks are committed, peers that are
//! behind are helped.

use std::sync::Arc;

use lockstep_types::{
    BlockId, LinkedBlock, MemberIndex, QuorumCertificate, Time, TimeoutCertificate,
};

use crate::block_tree::RETAINED_BLOCKS;
use crate::ready::{Ready, To};
use crate::{Application, Certificates, Fatal, LogEnd, MAX_FILLED_PATH, Message, Refusal, Replica};

impl<A: Application> Replica<A> {
    /// Takes a quorum certificate, from wherever it came.
    pub(crate) fn on_qc(&mut self, now: Time, qc: &QuorumCertificate, out: &mut Ready) {
        self.check_own_name_in_qc(qc, out);
        if self.safety.observe_qc(qc) {
            self.pacemaker.on_progress(now, qc.view);
            self.enter_view();
        }
        if self.tree.certify(qc) {
            self.commit_by(&qc.block, out);
        }
    }

    /// Takes a timeout certificate and the quorum certificate in it.
    pub(crate) fn on_tc(&mut self, now: Time, tc: &TimeoutCertificate, out: &mut Ready) {
        self.check_own_name_in_tc(tc, out);
        self.on_qc(now, &tc.high_qc, out);
        if self.safety.observe_tc(tc) {
            self.enter_view();
        }
    }

    /// Enters the view after the highest certificate. There is no other way into a view.
    fn enter_view(&mut self) {
        let view = self.safety.record().view();
        if view > self.view() {
            let failed = !view.follows(self.high_qc().view);
            self.pacemaker.enter(view, failed);
            self.turned_down.clear();
        }
        assert_eq!(self.view(), self.safety.record().view());
    }

    /// Forms the certificates for which enough statements are here. True if one was formed.
    pub(crate) fn form_certificates(&mut self, now: Time, out: &mut Ready) -> bool {
        let committee = &self.context.committee;
        let above = self.high_qc().view.next();
        if let Some(qc) = self.tally.quorum_certificate(committee, above) {
            self.on_qc(now, &qc, out);
            return true;
        }
        if let Some(tc) = self.tally.timeout_certificate(committee, self.view()) {
            self.on_tc(now, &tc, out);
            return true;
        }
        false
    }

    /// The one way into the tree, for proposals, synced blocks and the log's own. The certificate
    /// beside the block was checked, or written by ourselves.
    pub(crate) fn insert(
        &mut self,
        now: Time,
        link: Arc<LinkedBlock>,
        logged: bool,
        out: &mut Ready,
    ) -> Result<bool, Refusal> {
        let id = link.block.id();
        let high = self.high_qc().block;
        let before = self.tree.len();
        if !self.tree.insert(link.clone(), logged, &high)? {
            return Ok(false);
        }
        if self.tree.len() <= before {
            self.application.retain(&|id| self.tree.contains(id));
        }
        self.application.on_block(&link.block);
        self.on_qc(now, &link.justify, out);
        let high = self.high_qc();
        if high.block == id {
            let high = high.clone();
            self.on_qc(now, &high, out);
        }
        Ok(true)
    }

    /// Commits what the newly certified block `child` commits.
    fn commit_by(&mut self, child: &BlockId, out: &mut Ready) {
        let committed = match self.tree.committed_by(child) {
            Ok(committed) => committed,
            Err(committed) => {
                let height = self.committed().header().height;
                out.stop = Some(Fatal::Fork { height, committed });
                return;
            }
        };
        let Some(last) = committed.last() else {
            return;
        };
        self.write_path(&last.block().id(), out);
        for block in committed {
            assert!(
                block
                    .block()
                    .header()
                    .height
                    .follows(self.tree.committed_height()),
                "without gaps, in order, once"
            );
            assert_eq!(block.block().header().parent, self.committed().id());
            let directly = block.proof.headers.len() == 1;
            self.tree.commit(&block.block().id(), directly);
            self.application.on_commit(block.block());
            self.rejoin_at(block.block());
            self.proofs.push_back(block.proof.clone());
            if self.proofs.len() > RETAINED_BLOCKS {
                self.proofs.pop_front();
            }
            if lockstep_types::planted!(RepeatCommit) {
                out.committed.push(block.clone());
            }
            out.committed.push(block);
        }
        self.tree.prune();
        self.application.retain(&|id| self.tree.contains(id));
        if lockstep_types::planted!(ReverseAncestors) {
            out.committed.reverse();
        }
        let decided = self.committed().header().view;
        self.proposals.retain(|view, _| *view > decided);
    }

    /// Logs what of the path to `tip` is not logged yet, parents first.
    pub(crate) fn write_path(&mut self, tip: &BlockId, out: &mut Ready) {
        for link in self.tree.take_unlogged(tip) {
            self.position = self.position.next();
            self.safety.logged(LogEnd {
                position: self.position,
                height: link.block.header().height,
                block: link.block.id(),
            });
            out.log.push(link);
        }
    }

    /// Does a block up to the highest certified one wait for its commit? Where so many are undecided
    /// that nothing else may be done, one does without being looked for. So does one that is committed
    /// here, by a certificate that the chain has gone on beside: others may never have seen it.
    pub(crate) fn commit_needed(&self) -> bool {
        let high = &self.high_qc().block;
        let shown = self.tree.ancestry(high).map(|ancestry| ancestry.commits);
        if shown.is_some_and(|shown| shown < self.tree.committed_height())
            || self.tree.path_length(high) > MAX_FILLED_PATH
        {
            return true;
        }
        let path = self.tree.path(high);
        let mut blocks = path.iter().map(|link| &link.block);
        blocks.any(|block| self.application.needs_commit(block))
    }

    /// Is there anything to do in this view? Without, no timer runs and nothing is said.
    pub(crate) fn has_work(&self, now: Time) -> bool {
        match self.tree.get(&self.high_qc().block) {
            None => true, // a block is missing
            Some(parent) => self.commit_needed() || self.application.has_work(now, &parent.block),
        }
    }

    /// The certificates a peer needs to stand where we stand.
    pub(crate) fn certificates(&self) -> Certificates {
        let high_qc = self.high_qc().clone();
        let newer = self.high_tc().filter(|tc| tc.view > high_qc.view);
        Certificates {
            high_tc: newer.cloned(),
            high_qc,
        }
    }

    /// Certificates came.
    pub(crate) fn on_certificates(
        &mut self,
        now: Time,
        from: MemberIndex,
        certificates: &Certificates,
        out: &mut Ready,
    ) {
        if certificates.high_qc.view > self.high_qc().view
            && !self.tree.contains(&certificates.high_qc.block)
        {
            self.fetch.hint(from);
        }
        self.on_qc(now, &certificates.high_qc, out);
        if let Some(tc) = &certificates.high_tc {
            self.on_tc(now, tc, out);
        }
        if certificates.view() < self.view() || certificates.high_qc.view < self.high_qc().view {
            self.help(now, from, out);
        }
    }

    /// Sends our certificates to a peer that has shown to be behind, once per resend interval.
    pub(crate) fn help(&mut self, now: Time, peer: MemberIndex, out: &mut Ready) {
        let interval = self.pacemaker.config().resend;
        let lately = self
            .helped
            .get(&peer)
            .is_some_and(|at| now >= *at && now.since(*at) < interval);
        if !lately {
            self.helped.insert(peer, now);
            let message = Message::Certificates(Box::new(self.certificates()));
            out.send(To::Member(peer), message);
        }
    }

    /// Says again what was said in this view: to everybody every resend interval, to a peer when a
    /// connection to it is made.
    pub(crate) fn repeat(&self, to: To, out: &mut Ready) {
        out.send(to, Message::Certificates(Box::new(self.certificates())));
        if !self.statements_are_durable() {
            return; // they leave with the step that signed them
        }
        let view = self.view();
        let record = self.safety.record();
        let voted = record.last_voted.as_ref();
        let voted = voted.filter(|vote| vote.view == view && self.muted != Some(view));
        if let Some(vote) = voted {
            if let Some(proposal) = self.proposal_of(view, self.me()) {
                out.send(to, Message::Proposal(Box::new((**proposal).clone())));
            }
            out.send(to, Message::Vote(vote.clone()));
        }
        let timed_out = record.last_timed_out.as_ref();
        if let Some(timeout) = timed_out.filter(|timeout| timeout.view == view) {
            out.send(to, Message::Timeout(Box::new(timeout.clone())));
        }
    }
}
