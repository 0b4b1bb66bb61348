//! What is signed is signed for one purpose: no two committees, and no two kinds of statement, ever
//! put their names under the same bytes. Otherwise what was said in one place could be shown in
//! another.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_genesis::Genesis;
use lockstep_shard::{Message, Peer};
use lockstep_types::{CommitteeId, Digest, Timeout, Vote};

use super::Broken;

/// A committee, and a word for what its members say.
type Purpose = (CommitteeId, &'static str);

/// All that correct members have signed.
pub struct Domains {
    genesis: Arc<Genesis>,
    seen: BTreeMap<Digest, Purpose>,
}

impl Domains {
    pub(super) fn new(genesis: Arc<Genesis>) -> Self {
        Domains {
            genesis,
            seen: BTreeMap::new(),
        }
    }

    /// What is signed in a message of its own sender.
    fn signed(&self, from: &Peer, message: &Message) -> Option<(Digest, &'static str)> {
        let domain = self.genesis.domain(from.committee);
        Some(match message {
            Message::Consensus(consensus::Message::Vote(vote)) => {
                let Vote {
                    epoch, view, block, ..
                } = vote;
                (Vote::statement(&domain, *epoch, *view, block), "vote")
            }
            Message::Consensus(consensus::Message::Timeout(timeout)) => {
                let (view, named) = (timeout.view, &timeout.high_qc);
                let digest = Timeout::statement(&domain, named.epoch, view, named.view);
                (digest, "timeout")
            }
            Message::Consensus(consensus::Message::Proposal(proposal)) => {
                (Proposal::statement(&domain, &proposal.block), "proposal")
            }
            Message::Consensus(consensus::Message::Testimony(testimony)) => {
                let epoch = testimony.certificates.high_qc.epoch;
                (testimony.statement(&domain, epoch), "testimony")
            }
            Message::Checkpoint(vote) => (vote.checkpoint.statement(&self.genesis), "checkpoint"),
            // Signed by whoever packed it, and sent by others too.
            Message::Batch(_) => return None,
            Message::Consensus(
                consensus::Message::Certificates(_)
                | consensus::Message::BlockRequest { .. }
                | consensus::Message::Blocks(_)
                | consensus::Message::Inquiry(_),
            )
            | Message::Record(_)
            | Message::Bundle(_)
            | Message::Request(_)
            | Message::Manifest(_)
            | Message::Part(_) => return None,
        })
    }

    /// A correct member sends something.
    pub(super) fn on_sent(&mut self, from: &Peer, message: &Message) -> Result<(), Broken> {
        let Some((digest, word)) = self.signed(from, message) else {
            return Ok(());
        };
        let purpose = (from.committee, word);
        let first = *self.seen.entry(digest).or_insert(purpose);
        if first == purpose {
            return Ok(());
        }
        let detail = format!("{purpose:?} and {first:?} sign the same bytes");
        Err(Broken::new("signatures are for one purpose", detail))
    }
}
