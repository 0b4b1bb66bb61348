//! An outsider that remembers what members have signed, and finds two statements of one member of
//! which a correct member signs at most one.
//!
//! It may be told things in any order and as often as anybody likes, by whoever received them: so
//! the messages of many receivers, gathered from their files, can be judged as one. Everything it
//! is told must have been checked before; it looks at no signature itself.
//!
//! Breaks if: it holds a statement against a member that a correct member may make. Statements
//! that are compared are those whose order does not matter.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use lockstep_consensus as consensus;
use lockstep_types::{
    BlockId, CommitteeId, Digest, Epoch, MemberIndex, QuorumCertificate, Timeout,
    TimeoutCertificate, View, Vote, WindowNumber, hash,
};

use crate::{CertifiedCheckpoint, CertifiedRecord, CheckpointVote, Message, Peer, ShardEntry};

/// What a statement is about; a correct member makes one about each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The block it proposes in a view.
    Proposal(Epoch, View),
    /// The block it votes for in a view.
    Vote(Epoch, View),
    /// The highest certified view it knew when it gave up a view.
    Timeout(Epoch, View),
    /// The checkpoint of a window.
    Checkpoint(Epoch, WindowNumber),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Proposal(epoch, view) => write!(f, "proposals, epoch {epoch} view {view}"),
            Subject::Vote(epoch, view) => write!(f, "votes, epoch {epoch} view {view}"),
            Subject::Timeout(epoch, view) => write!(f, "timeouts, epoch {epoch} view {view}"),
            Subject::Checkpoint(epoch, window) => {
                write!(f, "checkpoints, epoch {epoch} window {window}")
            }
        }
    }
}

/// Two statements that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of {} signed two {subject}: {first} and {second}", by.member, by.committee)]
pub struct Contradiction {
    /// Who made both.
    pub by: Peer,
    /// What they are about.
    pub subject: Subject,
    /// What the one says, hashed.
    pub first: Digest,
    /// What the other says.
    pub second: Digest,
}

/// What was seen so far. It grows with every statement; a run is what it is made for.
#[derive(Debug, Default)]
pub struct Observer {
    said: BTreeMap<(Peer, Subject), BTreeSet<Digest>>,
    found: Vec<Contradiction>,
}

impl Observer {
    /// Takes a message that a member of `committee` had from a peer.
    pub fn on_message(&mut self, committee: CommitteeId, message: &Message) {
        match message {
            Message::Consensus(message) => self.on_consensus(committee, message),
            Message::Checkpoint(vote) => self.on_checkpoint(vote),
            Message::Record(record) => self.on_record(record),
            Message::Manifest(Some(manifest)) => self.on_record(&manifest.record),
            Message::Batch(_) | Message::Bundle(_) | Message::Request(_) => {}
            Message::Manifest(None) | Message::Part(_) => {}
        }
    }

    /// How many statements it was told, a member's several about one subject counted as one.
    pub fn statements(&self) -> usize {
        self.said.len()
    }

    /// The contradictions, in the order in which they were found.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.found
    }

    fn on_vote(&mut self, committee: CommitteeId, vote: &Vote) {
        let by = seat(committee, vote.author);
        let subject = Subject::Vote(vote.epoch, vote.view);
        self.said(by, subject, block_digest(&vote.block));
    }

    fn on_timeout(&mut self, committee: CommitteeId, timeout: &Timeout) {
        let by = seat(committee, timeout.author);
        let subject = Subject::Timeout(timeout.epoch, timeout.view);
        self.said(by, subject, view_digest(timeout.high_qc.view));
        self.on_certificate(committee, &timeout.high_qc);
        if let Some(certificate) = &timeout.entered_by {
            self.on_timeouts(committee, certificate);
        }
    }

    fn on_known(&mut self, committee: CommitteeId, known: &consensus::Certificates) {
        self.on_certificate(committee, &known.high_qc);
        if let Some(certificate) = &known.high_tc {
            self.on_timeouts(committee, certificate);
        }
    }

    fn on_consensus(&mut self, committee: CommitteeId, message: &consensus::Message) {
        match message {
            consensus::Message::Proposal(proposal) => {
                let header = proposal.block.header();
                let by = seat(committee, proposal.proposer());
                let subject = Subject::Proposal(header.epoch, header.view);
                self.said(by, subject, block_digest(&proposal.block.id()));
                self.on_certificate(committee, &proposal.justify);
                if let Some(certificate) = &proposal.entered_by {
                    self.on_timeouts(committee, certificate);
                }
            }
            consensus::Message::Vote(vote) => self.on_vote(committee, vote),
            consensus::Message::Timeout(timeout) => self.on_timeout(committee, timeout),
            consensus::Message::Certificates(known) => self.on_known(committee, known),
            consensus::Message::Inquiry(_) => {}
            consensus::Message::Testimony(testimony) => {
                self.on_known(committee, &testimony.certificates);
                if let Some(vote) = &testimony.vote {
                    self.on_vote(committee, vote);
                }
                if let Some(timeout) = &testimony.timeout {
                    self.on_timeout(committee, timeout);
                }
            }
            // Nobody signs that it has a block; the certificates in between are statements.
            consensus::Message::Blocks(blocks) => {
                for link in blocks {
                    self.on_certificate(committee, &link.justify);
                }
            }
            consensus::Message::BlockRequest { .. } => {}
        }
    }

    fn on_certificate(&mut self, committee: CommitteeId, certificate: &QuorumCertificate) {
        for member in certificate.signers.iter() {
            let subject = Subject::Vote(certificate.epoch, certificate.view);
            self.said(
                seat(committee, member),
                subject,
                block_digest(&certificate.block),
            );
        }
    }

    fn on_timeouts(&mut self, committee: CommitteeId, certificate: &TimeoutCertificate) {
        let named = certificate.signers.iter().zip(&certificate.high_qc_views);
        for (member, view) in named {
            let subject = Subject::Timeout(certificate.epoch, certificate.view);
            self.said(seat(committee, member), subject, view_digest(*view));
        }
        self.on_certificate(committee, &certificate.high_qc);
    }

    fn on_checkpoint(&mut self, vote: &CheckpointVote) {
        let checkpoint = &vote.checkpoint;
        let by = seat(CommitteeId::Shard(checkpoint.shard), vote.member);
        let subject = Subject::Checkpoint(checkpoint.epoch, checkpoint.window());
        self.said(
            by,
            subject,
            hash("lockstep/observed-checkpoint", checkpoint),
        );
    }

    fn on_certified(&mut self, certified: &CertifiedCheckpoint) {
        let checkpoint = &certified.checkpoint;
        let digest = hash("lockstep/observed-checkpoint", checkpoint);
        for member in certified.signers.iter() {
            let by = seat(CommitteeId::Shard(checkpoint.shard), member);
            let subject = Subject::Checkpoint(checkpoint.epoch, checkpoint.window());
            self.said(by, subject, digest);
        }
    }

    fn on_record(&mut self, certified: &CertifiedRecord) {
        self.on_certificate(CommitteeId::Beacon, &certified.proof.qc);
        self.on_certificate(CommitteeId::Beacon, &certified.proof.child_qc);
        let present = certified.record.shards.iter();
        for checkpoint in present.filter_map(ShardEntry::checkpoint) {
            self.on_certified(checkpoint);
        }
    }

    fn said(&mut self, by: Peer, subject: Subject, second: Digest) {
        let said = self.said.entry((by, subject)).or_default();
        let first = said.first().copied();
        if said.insert(second)
            && let Some(first) = first
        {
            self.found.push(Contradiction {
                by,
                subject,
                first,
                second,
            });
        }
    }
}

fn seat(committee: CommitteeId, member: MemberIndex) -> Peer {
    Peer { committee, member }
}

fn block_digest(block: &BlockId) -> Digest {
    *block.digest()
}

fn view_digest(view: View) -> Digest {
    hash("lockstep/observed-view", &view)
}
