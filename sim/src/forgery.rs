//! Statements made with a member's key outside its replica, and certificates put together from what
//! was heard. For members that keep no rule; what they make is lawful in form, and checked like
//! everything else.

use lockstep_consensus::Proposal;
use lockstep_types::{
    Block, Header, MemberIndex, QuorumCertificate, Timeout, TimeoutCertificate, View, Vote,
};

use crate::committee::BareCommittee;

impl BareCommittee {
    /// A block of `view` by `proposer` on `parent`, with one mark.
    pub fn forge_block(
        &self,
        proposer: MemberIndex,
        view: View,
        parent: &Block,
        mark: u8,
    ) -> Block {
        let above = parent.header();
        let header = Header {
            epoch: self.context().epoch,
            view,
            height: above.height.next(),
            parent: parent.id(),
            parent_view: above.view,
            time: above.time.next(),
            proposer,
            executed: above.executed,
            payload: Default::default(), // filled in from the payload
        };
        Block::new(header, vec![mark])
    }

    /// The proposal of a block by its proposer.
    pub fn forge_proposal(
        &self,
        block: Block,
        justify: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Proposal {
        let signer = self.signer(block.header().proposer);
        Proposal::sign(signer, &self.context().domain, block, justify, entered_by)
    }

    /// A vote.
    pub fn forge_vote(&self, author: MemberIndex, block: &Block) -> Vote {
        let (view, id) = (block.header().view, block.id());
        let domain = &self.context().domain;
        let epoch = self.context().epoch;
        Vote::sign(self.signer(author), domain, author, epoch, view, id)
    }

    /// A timeout.
    pub fn forge_timeout(
        &self,
        author: MemberIndex,
        view: View,
        high_qc: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Timeout {
        let domain = &self.context().domain;
        Timeout::sign(
            self.signer(author),
            domain,
            author,
            view,
            high_qc,
            entered_by,
        )
    }

    /// The certificate that these votes make, by a quorum for one block.
    pub fn certify(&self, mut votes: Vec<Vote>) -> QuorumCertificate {
        votes.sort_by_key(|vote| vote.author);
        QuorumCertificate {
            epoch: self.context().epoch,
            view: votes[0].view,
            block: votes[0].block,
            signers: votes.iter().map(|vote| vote.author).collect(),
            signatures: votes.iter().map(|vote| vote.signature).collect(),
        }
    }

    /// The certificate that these timeouts make, by a quorum for one view.
    pub fn certify_timeouts(&self, mut timeouts: Vec<Timeout>) -> TimeoutCertificate {
        timeouts.sort_by_key(|timeout| timeout.author);
        let highest = timeouts.iter().max_by_key(|timeout| timeout.high_qc.view);
        TimeoutCertificate {
            epoch: self.context().epoch,
            view: timeouts[0].view,
            high_qc: highest.expect("a quorum is not empty").high_qc.clone(),
            signers: timeouts.iter().map(|timeout| timeout.author).collect(),
            high_qc_views: timeouts
                .iter()
                .map(|timeout| timeout.high_qc.view)
                .collect(),
            signatures: timeouts.iter().map(|timeout| timeout.signature).collect(),
        }
    }
}
