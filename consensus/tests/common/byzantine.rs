//! What members do that break the rules: statements made with their keys, outside their replicas.

use lockstep_consensus::{Message, Outbound, Proposal, To};
use lockstep_types::{
    Block, Header, LinkedBlock, QuorumCertificate, Signers, Timeout, TimeoutCertificate, View, Vote,
};
use parity_scale_codec::Encode;

use super::World;
use super::world::member;

impl World {
    /// A block of `view` on `parent` by that view's leader, with these numbers.
    pub(crate) fn forge_block(&self, view: u64, parent: &Block, numbers: &[u32]) -> Block {
        let view = View::new(view);
        let above = parent.header();
        let header = Header {
            epoch: self.context.epoch,
            view,
            height: above.height.next(),
            parent: parent.id(),
            parent_view: above.view,
            time: above.time.next(),
            proposer: self.context.committee.by_turn(view.get()),
            executed: above.executed,
            payload: Default::default(),
        };
        let payload = if numbers.is_empty() {
            Vec::new()
        } else {
            numbers.encode()
        };
        Block::new(header, payload)
    }

    pub(crate) fn forge_proposal(
        &self,
        block: Block,
        justify: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Proposal {
        let signer = &self.signers[block.header().proposer.get()];
        Proposal::sign(signer, &self.context.domain, block, justify, entered_by)
    }

    pub(crate) fn forge_vote(&self, author: usize, block: &Block) -> Vote {
        Vote::sign(
            &self.signers[author],
            &self.context.domain,
            member(author),
            self.context.epoch,
            block.header().view,
            block.id(),
        )
    }

    /// A certificate by the first members, as if a quorum had voted.
    pub(crate) fn forge_qc(&self, block: &Block) -> QuorumCertificate {
        let voters = 0..self.context.committee.quorum();
        let votes: Vec<Vote> = voters
            .map(|author| self.forge_vote(author, block))
            .collect();
        QuorumCertificate {
            epoch: self.context.epoch,
            view: block.header().view,
            block: block.id(),
            signers: votes.iter().map(|vote| vote.author).collect(),
            signatures: votes.iter().map(|vote| vote.signature).collect(),
        }
    }

    pub(crate) fn forge_timeout(
        &self,
        author: usize,
        view: u64,
        high_qc: &QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Timeout {
        Timeout::sign(
            &self.signers[author],
            &self.context.domain,
            member(author),
            View::new(view),
            high_qc.clone(),
            entered_by,
        )
    }

    /// A timeout certificate by the first members, all with `high_qc`.
    pub(crate) fn forge_tc(&self, view: u64, high_qc: &QuorumCertificate) -> TimeoutCertificate {
        let signers = 0..self.context.committee.quorum();
        let timeouts: Vec<Timeout> = signers
            .map(|author| self.forge_timeout(author, view, high_qc, None))
            .collect();
        TimeoutCertificate {
            epoch: self.context.epoch,
            view: View::new(view),
            signers: timeouts
                .iter()
                .map(|timeout| timeout.author)
                .collect::<Signers>(),
            high_qc_views: vec![high_qc.view; timeouts.len()],
            signatures: timeouts.iter().map(|timeout| timeout.signature).collect(),
            high_qc: high_qc.clone(),
        }
    }

    pub(crate) fn root_qc(&self) -> QuorumCertificate {
        QuorumCertificate::root(self.context.epoch, self.root.id())
    }

    /// `block` in the form of the log.
    pub(crate) fn link(&self, block: &Block, justify: &QuorumCertificate) -> LinkedBlock {
        LinkedBlock {
            block: block.clone(),
            justify: justify.clone(),
        }
    }

    /// Sends a message in a member's name, over the wire.
    pub(crate) fn send_as(&mut self, from: usize, to: &[usize], message: Message) {
        for peer in to {
            let to = To::Member(member(*peer));
            let message = message.clone();
            self.transmit(from, vec![Outbound { to, message }]);
        }
    }
}
