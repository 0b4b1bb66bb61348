//! What a liar has seen, to make lies of: the newest of everything, its own replica's included.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_ledger::Bundle;
use lockstep_shard::{Batch, CertifiedRecord, CheckpointVote, Message};
use lockstep_types::{
    BlockId, CommitteeId, Header, MemberIndex, QuorumCertificate, Timeout, TimeoutCertificate, View,
};

/// Of each kind so many are remembered.
const REMEMBERED: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    /// Certificates of its committee.
    pub certificates: BTreeMap<View, QuorumCertificate>,
    /// Timeout certificates of its committee.
    pub gave_up: BTreeMap<View, TimeoutCertificate>,
    /// Timeouts of its committee.
    pub timeouts: BTreeMap<(View, MemberIndex), Timeout>,
    /// The first proposal of each view.
    pub proposals: BTreeMap<View, Proposal>,
    /// Batches of its shard.
    pub batches: VecDeque<Arc<Batch>>,
    /// Bundles it was sent, and those its replica sends.
    pub bundles: VecDeque<Arc<Bundle>>,
    /// Records.
    pub records: VecDeque<Arc<CertifiedRecord>>,
    /// Checkpoint signatures: a beacon member's of everybody, else its own.
    pub checkpoints: VecDeque<CheckpointVote>,
    /// Whole messages and the committee they were for.
    pub messages: VecDeque<(CommitteeId, Message)>,
}

fn keep<T>(list: &mut VecDeque<T>, value: T) {
    list.push_back(value);
    if list.len() > REMEMBERED {
        list.pop_front();
    }
}

fn keep_newest<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: impl FnOnce() -> V) {
    map.entry(key).or_insert_with(value);
    if map.len() > REMEMBERED {
        map.pop_first();
    }
}

impl Memory {
    /// The header of a block that was proposed lately.
    pub fn header(&self, id: &BlockId) -> Option<&Header> {
        let mut blocks = self.proposals.values().map(|proposal| &proposal.block);
        blocks.find(|block| block.id() == *id).map(|b| b.header())
    }

    /// Certificates of views below `view` whose blocks are remembered, the newest first.
    pub fn extendable(&self, view: View) -> impl Iterator<Item = (&QuorumCertificate, &Header)> {
        let known = self.certificates.range(..view).rev();
        known.filter_map(|(_, qc)| Some((qc, self.header(&qc.block)?)))
    }

    pub(super) fn remember(&mut self, committee: CommitteeId, message: &Message) {
        keep(&mut self.messages, (committee, message.clone()));
        match message {
            Message::Consensus(message) => self.remember_consensus(message),
            Message::Batch(batch) => keep(&mut self.batches, batch.clone()),
            Message::Bundle(bundle) => keep(&mut self.bundles, bundle.clone()),
            Message::Record(record) => keep(&mut self.records, record.clone()),
            Message::Checkpoint(vote) => keep(&mut self.checkpoints, (**vote).clone()),
            Message::Request(_) | Message::Manifest(_) | Message::Part(_) => {}
        }
    }

    fn remember_consensus(&mut self, message: &consensus::Message) {
        match message {
            consensus::Message::Proposal(proposal) => {
                self.certificate(&proposal.justify);
                self.timeout_certificate(proposal.entered_by.as_ref());
                let view = proposal.view();
                keep_newest(&mut self.proposals, view, || (**proposal).clone());
            }
            consensus::Message::Timeout(timeout) => {
                self.certificate(&timeout.high_qc);
                self.timeout_certificate(timeout.entered_by.as_ref());
                let key = (timeout.view, timeout.author);
                keep_newest(&mut self.timeouts, key, || (**timeout).clone());
            }
            consensus::Message::Certificates(certificates) => {
                self.certificate(&certificates.high_qc);
                self.timeout_certificate(certificates.high_tc.as_ref());
            }
            _ => {}
        }
    }

    fn certificate(&mut self, qc: &QuorumCertificate) {
        keep_newest(&mut self.certificates, qc.view, || qc.clone());
    }

    fn timeout_certificate(&mut self, tc: Option<&TimeoutCertificate>) {
        if let Some(tc) = tc {
            keep_newest(&mut self.gave_up, tc.view, || tc.clone());
            self.certificate(&tc.high_qc);
        }
    }
}
