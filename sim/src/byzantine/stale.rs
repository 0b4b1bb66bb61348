//! A member that keeps what it knows to itself: as a leader it proposes on an old certificate, its
//! timeouts name the oldest one they may, its votes reach one member only, and now and then it shows
//! somebody a certificate that it has hidden.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::{Block, BlockId, Header, QuorumCertificate, Timeout, View};

use super::{Behaviour, Seat};

/// Certificates and headers remembered.
const REMEMBERED: usize = 32;

/// See the module.
#[derive(Default)]
pub struct Stale {
    certificates: BTreeMap<View, QuorumCertificate>,
    headers: BTreeMap<BlockId, Header>,
}

impl Stale {
    fn remember(&mut self, message: &Message) {
        let Message::Consensus(message) = message else {
            return;
        };
        let qc = match message {
            consensus::Message::Proposal(proposal) => {
                let header = proposal.block.header();
                self.headers.insert(proposal.block.id(), header.clone());
                while self.headers.len() > REMEMBERED {
                    let oldest = self.headers.iter().min_by_key(|(_, header)| header.view);
                    let oldest = *oldest.expect("not empty").0;
                    self.headers.remove(&oldest);
                }
                &proposal.justify
            }
            consensus::Message::Timeout(timeout) => &timeout.high_qc,
            consensus::Message::Certificates(certificates) => &certificates.high_qc,
            _ => return,
        };
        self.certificates.insert(qc.view, qc.clone());
        if self.certificates.len() > REMEMBERED {
            self.certificates.pop_first();
        }
    }

    /// A certificate below `view` whose block is remembered, one to four steps back.
    fn old(&self, seat: &mut Seat<'_>, view: View) -> Option<(QuorumCertificate, Header)> {
        let steps = usize::try_from(seat.random.below(4)).expect("small");
        let known = self.certificates.range(..view).rev();
        known
            .filter_map(|(_, qc)| Some((qc.clone(), self.headers.get(&qc.block)?.clone())))
            .nth(steps)
    }

    /// In the place of its own proposal: an empty block on an old certificate.
    fn stale_proposal(&self, seat: &mut Seat<'_>, proposal: &Proposal) -> Option<Proposal> {
        let (justify, parent) = self.old(seat, proposal.justify.view)?;
        let header = Header {
            height: parent.height.next(),
            parent: justify.block,
            parent_view: justify.view,
            executed: parent.executed,
            ..proposal.block.header().clone()
        };
        let block = Block::new(header, Vec::new());
        let entered_by = proposal.entered_by.clone();
        let domain = seat.domain();
        Some(Proposal::sign(
            seat.signer,
            &domain,
            block,
            justify,
            entered_by,
        ))
    }

    /// In the place of its own timeout: one that names an older certificate. It must show how its
    /// view was entered, so only where a timeout certificate did that.
    fn stale_timeout(&self, seat: &mut Seat<'_>, timeout: &Timeout) -> Option<Timeout> {
        let entered_by = timeout.entered_by.clone()?;
        let (_, old) = self
            .certificates
            .range(..timeout.high_qc.view)
            .next_back()?;
        let (author, domain) = (seat.peer.member, seat.domain());
        let view = timeout.view;
        Some(Timeout::sign(
            seat.signer,
            &domain,
            author,
            view,
            old.clone(),
            Some(entered_by),
        ))
    }

    fn reveal(&self, seat: &mut Seat<'_>) -> Option<(Peer, Message)> {
        let (_, qc) = self.certificates.last_key_value()?;
        let certificates = consensus::Certificates {
            high_qc: qc.clone(),
            high_tc: None,
        };
        let to = *seat.random.pick(&seat.others());
        let message = consensus::Message::Certificates(Box::new(certificates));
        Some((to, Message::Consensus(message)))
    }
}

impl Behaviour for Stale {
    fn name(&self) -> &'static str {
        "stale"
    }

    fn hear(&mut self, message: &Message) {
        self.remember(message);
    }

    fn send(
        &mut self,
        seat: &mut Seat<'_>,
        messages: Vec<(Peer, Message)>,
    ) -> Vec<(Peer, Message)> {
        let confidant = seat.others()[0];
        let mut sent = Vec::new();
        for (to, message) in messages {
            self.remember(&message);
            let Message::Consensus(inner) = &message else {
                sent.push((to, message));
                continue;
            };
            let instead = match inner {
                consensus::Message::Proposal(proposal)
                    if proposal.proposer() == seat.peer.member =>
                {
                    let stale = self.stale_proposal(seat, proposal);
                    stale.map(|p| consensus::Message::Proposal(Box::new(p)))
                }
                consensus::Message::Timeout(timeout) => {
                    let stale = self.stale_timeout(seat, timeout);
                    stale.map(|t| consensus::Message::Timeout(Box::new(t)))
                }
                consensus::Message::Vote(_) if to != confidant => continue,
                consensus::Message::Certificates(_) => continue,
                _ => None,
            };
            match instead {
                Some(instead) => sent.push((to, Message::Consensus(instead))),
                None => sent.push((to, message)),
            }
        }
        if seat.random.chance(20) {
            sent.extend(self.reveal(seat));
        }
        sent
    }
}
