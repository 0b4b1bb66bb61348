//! What the hostile member hears, and what it makes of that: votes, timeouts, proposals and
//! certificates that a member may sign, lawful or not, and bytes that are a little wrong.

use std::collections::BTreeMap;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::Message;
use lockstep_types::generate::Random;
use lockstep_types::{
    Block, BlockId, Epoch, Header, MemberIndex, QuorumCertificate, Timeout, TimeoutCertificate,
    View, Vote, codec,
};
use parity_scale_codec::Encode;

use super::world::World;
use super::{HOSTILE, member, peer};
use crate::fuzz::script::Script;
/// Things the hostile member remembers, of each kind.
const MAX_HEARD: usize = 64;

/// What the hostile member can build on.
#[derive(Default)]
pub(super) struct Heard {
    messages: Vec<Message>,
    pub(super) blocks: Vec<Block>,
    pub(super) qcs: Vec<QuorumCertificate>,
    tcs: Vec<TimeoutCertificate>,
    votes: BTreeMap<(View, BlockId), BTreeMap<MemberIndex, Vote>>,
    timeouts: BTreeMap<View, BTreeMap<MemberIndex, Timeout>>,
}

fn remember<T>(list: &mut Vec<T>, value: T) {
    if list.len() >= MAX_HEARD {
        list.remove(0);
    }
    list.push(value);
}

impl World<'_> {
    pub(super) fn hear(&mut self, message: Message) {
        let heard = &mut self.heard;
        if let Message::Consensus(message) = &message {
            match message {
                consensus::Message::Proposal(proposal) => {
                    remember(&mut heard.blocks, proposal.block.clone());
                    remember(&mut heard.qcs, proposal.justify.clone());
                }
                consensus::Message::Vote(vote) => {
                    let votes = heard.votes.entry((vote.view, vote.block)).or_default();
                    votes.insert(vote.author, vote.clone());
                }
                consensus::Message::Timeout(timeout) => {
                    remember(&mut heard.qcs, timeout.high_qc.clone());
                    let timeouts = heard.timeouts.entry(timeout.view).or_default();
                    timeouts.insert(timeout.author, (**timeout).clone());
                }
                consensus::Message::Certificates(certificates) => {
                    remember(&mut heard.qcs, certificates.high_qc.clone());
                    if let Some(tc) = &certificates.high_tc {
                        remember(&mut heard.tcs, tc.clone());
                    }
                }
                _ => {}
            }
        }
        while heard.votes.len() > MAX_HEARD {
            heard.votes.pop_first();
        }
        while heard.timeouts.len() > MAX_HEARD {
            heard.timeouts.pop_first();
        }
        remember(&mut heard.messages, message);
    }

    /// Says something to one member, or to all.
    fn say(&mut self, script: &mut Script<'_>, message: consensus::Message) {
        let message = Message::Consensus(message);
        if let Message::Consensus(consensus::Message::Proposal(proposal)) = &message {
            remember(&mut self.heard.blocks, proposal.block.clone());
        }
        let from = peer(self.committee, HOSTILE);
        self.checkers.on_sent(&from, &message);
        let one = script.below(2 * HOSTILE);
        for to in (0..HOSTILE).filter(|to| one >= HOSTILE || one == *to) {
            self.post(from, to, message.clone());
        }
    }

    fn vote_for(&self, view: View, block: BlockId) -> Vote {
        let me = member(HOSTILE);
        let signer = self.forge.signer(self.committee, me);
        Vote::sign(
            &signer,
            &self.context.domain,
            me,
            self.context.epoch,
            view,
            block,
        )
    }

    pub(super) fn lie_vote(&mut self, script: &mut Script<'_>) {
        let block = &self.heard.blocks[script.index(self.heard.blocks.len())];
        let view = block.header().view.plus(u64::from(script.byte() / 200));
        let vote = self.vote_for(view, block.id());
        self.say(script, consensus::Message::Vote(vote));
    }

    fn timeout_in(&self, script: &mut Script<'_>) -> Timeout {
        let heard = &self.heard;
        let qc = heard.qcs[script.index(heard.qcs.len())].clone();
        let choice = script.index(heard.tcs.len() + 1);
        let tc = heard
            .tcs
            .get(choice)
            .filter(|tc| tc.view > qc.view)
            .cloned();
        let entered = tc.as_ref().map_or(qc.view, |tc| tc.view);
        let me = member(HOSTILE);
        let signer = self.forge.signer(self.committee, me);
        Timeout::sign(&signer, &self.context.domain, me, entered.next(), qc, tc)
    }

    pub(super) fn lie_timeout(&mut self, script: &mut Script<'_>) {
        let timeout = self.timeout_in(script);
        self.say(script, consensus::Message::Timeout(Box::new(timeout)));
    }

    /// A block on any certificate known, in the view after it or after a timeout certificate.
    pub(super) fn lie_proposal(&mut self, script: &mut Script<'_>) {
        let heard = &self.heard;
        let justify = heard.qcs[script.index(heard.qcs.len())].clone();
        let parent = heard
            .blocks
            .iter()
            .find(|block| block.id() == justify.block);
        let Some(parent) = parent.cloned() else {
            return;
        };
        let choice = script.index(heard.tcs.len() + 1);
        let tc = heard
            .tcs
            .get(choice)
            .filter(|tc| tc.view > justify.view)
            .cloned();
        let entered = tc.as_ref().map_or(justify.view, |tc| tc.view);
        let payload = match script.below(4) {
            0 | 1 => Vec::new(),
            2 => heard.blocks[script.index(heard.blocks.len())]
                .payload()
                .to_vec(),
            _ => Random::new(u64::from(script.byte()))
                .make::<lockstep_shard::Payload>()
                .to_bytes(),
        };
        let header = Header {
            view: entered.next(),
            height: parent.header().height.next(),
            parent: parent.id(),
            parent_view: parent.header().view,
            time: parent.header().time.next().max(self.now),
            proposer: member(HOSTILE),
            ..parent.header().clone()
        };
        let block = Block::new(header, payload);
        let signer = self.forge.signer(self.committee, member(HOSTILE));
        let proposal = Proposal::sign(&signer, &self.context.domain, block, justify, tc);
        self.say(script, consensus::Message::Proposal(Box::new(proposal)));
    }

    /// Makes a certificate of what was heard and an own statement, and shows it now or later.
    pub(super) fn gather(&mut self, script: &mut Script<'_>) {
        let mut newest = None;
        let quorum = self.context.committee.quorum();
        let own = |vote: &Vote| self.vote_for(vote.view, vote.block);
        for votes in self.heard.votes.values().rev() {
            let mut votes = votes.clone();
            let Some(first) = votes.values().next() else {
                continue;
            };
            votes.insert(member(HOSTILE), own(first));
            if votes.len() >= quorum {
                let first = votes[&member(HOSTILE)].clone();
                newest = Some(QuorumCertificate {
                    epoch: Epoch::ZERO,
                    view: first.view,
                    block: first.block,
                    signers: votes.keys().copied().collect(),
                    signatures: votes.values().map(|vote| vote.signature).collect(),
                });
                break;
            }
        }
        if let Some(qc) = newest {
            remember(&mut self.heard.qcs, qc);
        }
        for (view, timeouts) in self.heard.timeouts.iter().rev() {
            let highest = timeouts
                .values()
                .map(|t| &t.high_qc)
                .max_by_key(|qc| qc.view);
            if timeouts.len() < quorum {
                continue;
            }
            let tc = TimeoutCertificate {
                epoch: Epoch::ZERO,
                view: *view,
                signers: timeouts.keys().copied().collect(),
                high_qc_views: timeouts.values().map(|t| t.high_qc.view).collect(),
                signatures: timeouts.values().map(|t| t.signature).collect(),
                high_qc: highest.expect("a quorum is not empty").clone(),
            };
            remember(&mut self.heard.tcs, tc);
            break;
        }
        if script.byte().is_multiple_of(2) {
            return;
        }
        let high_qc = self.heard.qcs[script.index(self.heard.qcs.len())].clone();
        let choice = script.index(self.heard.tcs.len() + 1);
        let certificates = consensus::Certificates {
            high_qc,
            high_tc: self.heard.tcs.get(choice).cloned(),
        };
        self.say(
            script,
            consensus::Message::Certificates(Box::new(certificates)),
        );
    }

    /// Something heard before, as it was or with a byte changed.
    pub(super) fn bend(&mut self, script: &mut Script<'_>) {
        if self.heard.messages.is_empty() {
            return;
        }
        let message = &self.heard.messages[script.index(self.heard.messages.len())];
        let mut bytes = message.encode();
        let (at, change) = (usize::from(script.pair()), script.byte());
        let length = bytes.len();
        bytes[at % length] ^= change;
        let to = script.below(HOSTILE);
        if let Ok(bent) = codec::decode::<Message>(&bytes, lockstep_shard::MAX_MESSAGE_BYTES) {
            self.post(peer(self.committee, HOSTILE), to, bent);
        }
    }
}
