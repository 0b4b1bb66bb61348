//! Durable before sent (R9, R10, B7): a member's vote or timeout is on its disk before anybody sees
//! it, alone or inside a certificate, and a checkpoint never leaves in the step that signs it.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, SafetyRecord};
use lockstep_shard::{Message, Peer};
use lockstep_types::{QuorumCertificate, View};

use super::Broken;

/// The views of the newest vote and of the newest timeout on one member's disk.
#[derive(Clone, Copy, Debug, Default)]
struct OnDisk {
    voted: View,
    timed_out: View,
}

/// What is on the disks.
#[derive(Debug, Default)]
pub struct DurableFirst(BTreeMap<Peer, OnDisk>);

impl DurableFirst {
    /// A member's record has reached its disk, or was found there.
    pub(super) fn on_durable(&mut self, peer: &Peer, record: &SafetyRecord) {
        let disk = self.0.entry(*peer).or_default();
        disk.voted = disk.voted.max(record.last_voted_view());
        disk.timed_out = disk.timed_out.max(record.last_timed_out_view());
    }

    fn disk(&self, peer: &Peer) -> OnDisk {
        self.0.get(peer).copied().unwrap_or_default()
    }

    fn check(&self, peer: &Peer, view: View, on_disk: View, what: &str) -> Result<(), Broken> {
        if view <= on_disk {
            return Ok(());
        }
        let detail = format!("a {what} of {peer:?} in {view}, its disk has {on_disk}");
        Err(Broken::new("durable before sent", detail))
    }

    /// Everybody correct that voted for a certificate has its vote on disk.
    fn on_certificate(
        &self,
        from: &Peer,
        qc: &QuorumCertificate,
        is_correct: &dyn Fn(&Peer) -> bool,
    ) -> Result<(), Broken> {
        let voters = qc.signers.iter().map(|member| Peer { member, ..*from });
        for voter in voters.filter(is_correct) {
            let on_disk = self.disk(&voter).voted;
            self.check(&voter, qc.view, on_disk, "vote in a certificate")?;
        }
        Ok(())
    }

    /// A correct member sends something.
    pub(super) fn on_sent(
        &self,
        from: &Peer,
        message: &Message,
        is_correct: &dyn Fn(&Peer) -> bool,
    ) -> Result<(), Broken> {
        let Message::Consensus(message) = message else {
            return Ok(());
        };
        let disk = self.disk(from);
        match message {
            consensus::Message::Vote(vote) => self.check(from, vote.view, disk.voted, "vote"),
            consensus::Message::Timeout(timeout) => {
                self.check(from, timeout.view, disk.timed_out, "timeout")?;
                self.on_certificate(from, &timeout.high_qc, is_correct)
            }
            consensus::Message::Proposal(proposal) => {
                self.on_certificate(from, &proposal.justify, is_correct)
            }
            consensus::Message::Certificates(certificates) => {
                self.on_certificate(from, &certificates.high_qc, is_correct)
            }
            _ => Ok(()),
        }
    }
}

/// A checkpoint waits for the disk, in the step that signs it and whenever it is said again.
pub(super) fn checkpoints_wait(
    from: &Peer,
    prompt: &[lockstep_shard::Outbound],
) -> Result<(), Broken> {
    let early = prompt.iter().find_map(|outbound| match &outbound.message {
        Message::Checkpoint(vote) => Some(vote.checkpoint.window()),
        _ => None,
    });
    early.map_or(Ok(()), |window| {
        let detail = format!("{from:?} says its checkpoint {window} at once");
        Err(Broken::new("durable before sent", detail))
    })
}
