//! Durable before sent (R9, R10, B7): a member's vote or timeout is on its disk before anybody sees
//! it, alone, inside a certificate, or shown by another member to one that starts; and a checkpoint
//! never leaves in the step that signs it. A testimony itself promises nothing and waits for no disk.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Certificates, SafetyRecord, Testimony};
use lockstep_shard::{Message, Peer};
use lockstep_types::{
    MemberIndex, QuorumCertificate, Signers, Timeout, TimeoutCertificate, View, Vote,
};

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

    fn on_vote(&self, author: &Peer, vote: &Vote) -> Result<(), Broken> {
        self.check(author, vote.view, self.disk(author).voted, "vote")
    }

    fn on_timeout(&self, author: &Peer, timeout: &Timeout) -> Result<(), Broken> {
        let on_disk = self.disk(author).timed_out;
        self.check(author, timeout.view, on_disk, "timeout")
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
        let shown = Shown {
            disks: self,
            from,
            is_correct,
        };
        match message {
            consensus::Message::Vote(vote) => self.on_vote(from, vote),
            consensus::Message::Timeout(timeout) => {
                self.on_timeout(from, timeout)?;
                shown.in_timeout(timeout)
            }
            consensus::Message::Proposal(proposal) => {
                shown.in_certificate(&proposal.justify)?;
                shown.in_timeouts(proposal.entered_by.as_ref())
            }
            consensus::Message::Certificates(known) => shown.in_known(known),
            consensus::Message::Blocks(links) => {
                let mut links = links.iter();
                links.try_for_each(|link| shown.in_certificate(&link.justify))
            }
            consensus::Message::Testimony(testimony) => {
                shown.of_asker(testimony)?;
                shown.in_known(&testimony.certificates)
            }
            consensus::Message::BlockRequest { .. } | consensus::Message::Inquiry(_) => Ok(()),
        }
    }
}

/// What a member shows of others: the correct among them have it on disk.
struct Shown<'a> {
    disks: &'a DurableFirst,
    from: &'a Peer,
    is_correct: &'a dyn Fn(&Peer) -> bool,
}

impl Shown<'_> {
    fn seat(&self, member: MemberIndex) -> Peer {
        Peer {
            member,
            ..*self.from
        }
    }

    fn correct(&self, signers: Signers) -> Vec<Peer> {
        let seats = signers.iter().map(|member| self.seat(member));
        seats.filter(|peer| (self.is_correct)(peer)).collect()
    }

    fn in_certificate(&self, qc: &QuorumCertificate) -> Result<(), Broken> {
        self.correct(qc.signers).iter().try_for_each(|voter| {
            let on_disk = self.disks.disk(voter).voted;
            let what = "vote in a certificate";
            self.disks.check(voter, qc.view, on_disk, what)
        })
    }

    fn in_timeouts(&self, tc: Option<&TimeoutCertificate>) -> Result<(), Broken> {
        let Some(tc) = tc else { return Ok(()) };
        self.correct(tc.signers).iter().try_for_each(|author| {
            let on_disk = self.disks.disk(author).timed_out;
            let what = "timeout in a certificate";
            self.disks.check(author, tc.view, on_disk, what)
        })?;
        self.in_certificate(&tc.high_qc)
    }

    fn in_timeout(&self, timeout: &Timeout) -> Result<(), Broken> {
        self.in_certificate(&timeout.high_qc)?;
        self.in_timeouts(timeout.entered_by.as_ref())
    }

    fn of_asker(&self, testimony: &Testimony) -> Result<(), Broken> {
        let asker = &self.seat(testimony.asker);
        let judged = (self.is_correct)(asker);
        if let Some(vote) = testimony.vote.as_ref().filter(|_| judged) {
            self.disks.on_vote(asker, vote)?;
        }
        let Some(timeout) = &testimony.timeout else {
            return Ok(());
        };
        if judged {
            self.disks.on_timeout(asker, timeout)?;
        }
        self.in_timeout(timeout)
    }

    fn in_known(&self, known: &Certificates) -> Result<(), Broken> {
        self.in_certificate(&known.high_qc)?;
        self.in_timeouts(known.high_tc.as_ref())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Forge;
    use lockstep_types::CommitteeId;
    use lockstep_types::generate::Random;

    /// What is said of a testimony when the disks of all members hold so much.
    fn broken(view_voted: u64, view_timed_out: u64) -> Option<String> {
        let (forge, mut random) = (Forge::new(), Random::new(2));
        let chain = forge.chain(CommitteeId::Beacon, &mut random, &[vec![1], vec![2]]);
        let testimony = forge.testimony(CommitteeId::Beacon, &mut random, &chain[1]);
        let view = chain[1].view().get();
        let from = Peer {
            committee: CommitteeId::Beacon,
            member: testimony.author,
        };
        let on_disk = OnDisk {
            voted: View::new(view - 1 + view_voted),
            timed_out: View::new(view - 1 + view_timed_out),
        };
        let seat = |member| Peer { member, ..from };
        let all = forge.context(CommitteeId::Beacon).committee;
        let disks = all.indices().map(|member| (seat(member), on_disk));
        let disks = DurableFirst(disks.collect());
        let message = Message::Consensus(consensus::Message::Testimony(Box::new(testimony)));
        let result = disks.on_sent(&from, &message, &|_| true);
        result.err().map(|broken| broken.detail)
    }

    #[test]
    fn what_a_testimony_shows_of_others_is_on_their_disks() {
        assert_eq!(broken(1, 1), None);
        assert!(broken(0, 1).unwrap().starts_with("a vote of"));
        assert!(broken(1, 0).unwrap().starts_with("a timeout of"));
    }
}
