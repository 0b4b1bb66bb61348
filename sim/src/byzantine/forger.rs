//! A beacon member that hands shards records which are certified and not committed: in the place of
//! a commit proof it gives one certificate twice, with a child that nobody has voted for.

use std::sync::Arc;

use lockstep_consensus::{self as consensus};
use lockstep_shard::{BeaconChain, CertifiedRecord, Message, Peer};
use lockstep_types::{Block, CommitProof, CommitteeId, Header, QuorumCertificate};

use super::{Behaviour, Seat};

/// Blocks remembered.
const REMEMBERED: usize = 8;

/// See the module.
#[derive(Default)]
pub struct Forger {
    blocks: Vec<Block>,
    certified: Option<(Block, QuorumCertificate)>,
}

impl Forger {
    fn forge(&self, seat: &mut Seat<'_>) -> Option<(Peer, Message)> {
        let (block, qc) = self.certified.as_ref()?;
        let record = BeaconChain::record_in(block)?;
        let header = block.header().clone();
        let child = Header {
            view: header.view.next(),
            height: header.height.next(),
            parent: block.id(),
            parent_view: header.view,
            time: header.time.next(),
            ..header.clone()
        };
        let mut child_qc = qc.clone();
        if seat.random.chance(500) {
            child_qc.block = child.id();
            child_qc.view = child.view;
        }
        let proof = CommitProof {
            headers: vec![header],
            qc: qc.clone(),
            child,
            child_qc,
        };
        let shards: Vec<CommitteeId> = seat
            .genesis
            .committees()
            .filter(|id| id.shard().is_some())
            .collect();
        let committee = *seat.random.pick(&shards);
        let members: Vec<_> = seat.genesis.committee(committee).indices().collect();
        let member = *seat.random.pick(&members);
        let record = Arc::new(CertifiedRecord { record, proof });
        Some((Peer { committee, member }, Message::Record(record)))
    }

    fn remember(&mut self, message: &Message) {
        let Message::Consensus(message) = message else {
            return;
        };
        let qc = match message {
            consensus::Message::Proposal(proposal) => {
                self.blocks.push(proposal.block.clone());
                if self.blocks.len() > REMEMBERED {
                    self.blocks.remove(0);
                }
                &proposal.justify
            }
            consensus::Message::Certificates(certificates) => &certificates.high_qc,
            consensus::Message::Timeout(timeout) => &timeout.high_qc,
            _ => return,
        };
        if let Some(block) = self.blocks.iter().find(|block| block.id() == qc.block) {
            self.certified = Some((block.clone(), qc.clone()));
        }
    }
}

impl Behaviour for Forger {
    fn name(&self) -> &'static str {
        "forger"
    }

    fn hear(&mut self, message: &Message) {
        self.remember(message);
    }

    fn send(
        &mut self,
        seat: &mut Seat<'_>,
        messages: Vec<(Peer, Message)>,
    ) -> Vec<(Peer, Message)> {
        let mut sent = messages;
        for (_, message) in &sent {
            self.remember(message);
        }
        if seat.peer.committee == CommitteeId::Beacon && seat.random.chance(300) {
            sent.extend(self.forge(seat));
        }
        sent
    }
}
