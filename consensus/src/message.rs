//! What replicas of one committee say to each other, and what must hold for it before a replica
//! sees it. Everything here is judged without state: shape, bounds, then signatures.
//!
//! Breaks if: a check that needs no state moves into the replica, where it would run after the
//! signatures, or if a list here has no bound.

use std::sync::Arc;

use lockstep_types::{
    Block, BlockId, Claims, Digest, Domain, EpochContext, Height, Kind, LinkedBlock, MemberIndex,
    QuorumCertificate, Rejection, Signature, Signer, Timeout, TimeoutCertificate, Verifiable, View,
    Vote,
};
use parity_scale_codec::{Decode, Encode};

use crate::{Challenge, Testimony};

/// Largest payload of a block. A shard lists digests and needs little; a beacon record over a
/// thousand shards is what fills it.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Most blocks in one answer. With a certificate each, 64 keep a verifier busy for some
/// milliseconds, which is short enough beside votes and long enough to hide the round trip.
pub const MAX_BLOCKS_PER_ANSWER: usize = 64;

/// Most payload bytes in one answer, the last block excepted.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Largest encoded message: a full answer and one more block, with room for certificates.
pub const MAX_MESSAGE_BYTES: usize = MAX_ANSWER_BYTES + MAX_PAYLOAD_BYTES + (1 << 20);

/// Does an answer with these blocks hold no more?
pub(crate) fn is_full(blocks: &[LinkedBlock]) -> bool {
    let payloads = blocks.iter().map(|link| link.block.payload().len());
    blocks.len() >= MAX_BLOCKS_PER_ANSWER || payloads.sum::<usize>() > MAX_ANSWER_BYTES
}

/// A block sent by the leader of its view, with what justifies it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// The block.
    pub block: Block,
    /// The certificate for its parent.
    pub justify: QuorumCertificate,
    /// The certificate for the view before, when that view ended without a certified block.
    pub entered_by: Option<TimeoutCertificate>,
    /// The proposer's signature over [`Proposal::statement`].
    pub signature: Signature,
}

impl Proposal {
    /// What a proposer signs.
    pub fn statement(domain: &Domain, block: &Block) -> Digest {
        let header = block.header();
        domain.statement(Kind::Proposal, header.epoch, header.view, &block.id())
    }

    /// Signs a proposal. A replica does this only through its safety rules.
    pub fn sign(
        signer: &dyn Signer,
        domain: &Domain,
        block: Block,
        justify: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Self {
        let signature = signer.sign(&Self::statement(domain, &block));
        Proposal {
            block,
            justify,
            entered_by,
            signature,
        }
    }

    /// The view it is for.
    pub fn view(&self) -> View {
        self.block.header().view
    }

    /// Who proposed it.
    pub fn proposer(&self) -> MemberIndex {
        self.block.header().proposer
    }

    /// The block in the form in which it is stored.
    pub fn linked(&self) -> LinkedBlock {
        LinkedBlock {
            block: self.block.clone(),
            justify: self.justify.clone(),
        }
    }

    /// How its view was entered: by the parent's certificate, or by a timeout certificate whose
    /// highest signed view the parent's certificate reaches.
    fn check_entry(&self) -> Result<(), Rejection> {
        let view = self.view();
        match &self.entered_by {
            None if view.follows(self.justify.view) => Ok(()),
            Some(_) if view.follows(self.justify.view) => Err(Rejection::Inconsistent(
                "a timeout certificate where the parent's certificate suffices",
            )),
            Some(tc) if view.follows(tc.view) => {
                if self.justify.view >= tc.high_qc_view()
                    || lockstep_types::planted!(ExtendBelowTimeoutCertificate)
                {
                    Ok(())
                } else {
                    Err(Rejection::WrongView {
                        got: self.justify.view,
                        problem: "is extended, although a quorum knew of",
                        other: tc.high_qc_view(),
                    })
                }
            }
            _ => Err(Rejection::Inconsistent(
                "a proposal that does not show how its view was entered",
            )),
        }
    }
}

impl Verifiable for Proposal {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        check_link(context, &self.block, &self.justify)?;
        let key = *context
            .committee
            .key(self.proposer())
            .ok_or(Rejection::NotAMember)?;
        self.check_entry()?;
        self.justify.claims(context, claims)?;
        if let Some(tc) = &self.entered_by {
            tc.claims(context, claims)?;
        }
        claims.add(
            key,
            Self::statement(&context.domain, &self.block),
            self.signature,
        );
        Ok(())
    }
}

/// Does the block hold together, and is `justify` the certificate its header names?
fn check_link(
    context: &EpochContext,
    block: &Block,
    justify: &QuorumCertificate,
) -> Result<(), Rejection> {
    let header = block.header();
    if block.payload().len() > MAX_PAYLOAD_BYTES {
        return Err(Rejection::TooMany {
            what: "payload bytes",
            got: block.payload().len(),
            limit: MAX_PAYLOAD_BYTES,
        });
    }
    context.check_epoch(header.epoch)?;
    if justify.block != header.parent || justify.view != header.parent_view {
        return Err(Rejection::Inconsistent(
            "a certificate for another block than the parent",
        ));
    }
    if justify.view >= header.view {
        return Err(Rejection::WrongView {
            got: header.view,
            problem: "is not after the parent's view",
            other: justify.view,
        });
    }
    if header.height == Height::ZERO {
        return Err(Rejection::Inconsistent("a second block at height 0"));
    }
    if !block.is_whole() {
        return Err(Rejection::Inconsistent(
            "a payload the header does not name",
        ));
    }
    Ok(())
}

/// The highest certificates a replica knows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Certificates {
    /// The highest quorum certificate.
    pub high_qc: QuorumCertificate,
    /// The highest timeout certificate, when its view is above that of `high_qc`.
    pub high_tc: Option<TimeoutCertificate>,
}

impl Certificates {
    /// The view that whoever holds these has entered.
    pub fn view(&self) -> View {
        let timed_out = self.high_tc.as_ref().map_or(View::ZERO, |tc| tc.view);
        self.high_qc.view.max(timed_out).next()
    }
}

impl Verifiable for Certificates {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        self.high_qc.claims(context, claims)?;
        match &self.high_tc {
            Some(tc) => tc.claims(context, claims),
            None => Ok(()),
        }
    }
}

/// One message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// A leader's block.
    #[codec(index = 0)]
    Proposal(Box<Proposal>),
    /// A vote.
    #[codec(index = 1)]
    Vote(Vote),
    /// A timeout.
    #[codec(index = 2)]
    Timeout(Box<Timeout>),
    /// Where the sender stands.
    #[codec(index = 3)]
    Certificates(Box<Certificates>),
    /// "Send me the ancestors of `tip` from height `from` on, and `tip`."
    #[codec(index = 4)]
    BlockRequest {
        /// The first height wanted.
        from: Height,
        /// The last block wanted.
        tip: BlockId,
    },
    /// A chain of blocks, parents first.
    #[codec(index = 5)]
    Blocks(Vec<LinkedBlock>),
    /// "I have just started: where do you stand, and what have you seen of me?"
    #[codec(index = 6)]
    Inquiry(Challenge),
    /// The answer to an inquiry.
    #[codec(index = 7)]
    Testimony(Box<Testimony>),
}

impl Message {
    /// As many of `blocks`, which ascend from the first height asked for, as one answer takes.
    /// None when there is none.
    pub fn answer(blocks: impl IntoIterator<Item = Arc<LinkedBlock>>) -> Option<Message> {
        let mut taken = Vec::new();
        for link in blocks {
            if is_full(&taken) {
                break;
            }
            taken.push((*link).clone());
        }
        (!taken.is_empty()).then_some(Message::Blocks(taken))
    }

    /// A short name, for traces and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Proposal(_) => "proposal",
            Message::Vote(_) => "vote",
            Message::Timeout(_) => "timeout",
            Message::Certificates(_) => "certificates",
            Message::BlockRequest { .. } => "block-request",
            Message::Blocks(_) => "blocks",
            Message::Inquiry(_) => "inquiry",
            Message::Testimony(_) => "testimony",
        }
    }

    /// Is this certainly of no use to a replica that stands at `horizon`? Asked before signatures
    /// are checked, so that stale bytes cost next to nothing.
    pub fn is_stale(&self, horizon: &Horizon) -> bool {
        match self {
            Message::Proposal(proposal) => proposal.view() < horizon.proposals_from,
            Message::Vote(vote) => vote.view < horizon.votes_from || vote.view > horizon.votes_to,
            // Old ones still show that their author is behind and needs our certificates.
            Message::Timeout(_) | Message::Certificates(_) => false,
            Message::BlockRequest { .. } | Message::Blocks(_) => false,
            Message::Inquiry(_) | Message::Testimony(_) => false,
        }
    }

    /// Is this a vote for a view so far ahead that nobody at `horizon` keeps it?
    pub fn is_ahead(&self, horizon: &Horizon) -> bool {
        matches!(self, Message::Vote(vote) if vote.view > horizon.votes_to)
    }
}

/// Which messages are worth checking; published by the replica, read by the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Proposals of earlier views are decided.
    pub proposals_from: View,
    /// Votes of earlier views are counted already.
    pub votes_from: View,
    /// Votes of later views are not kept.
    pub votes_to: View,
}

impl Verifiable for Message {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        match self {
            Message::Proposal(proposal) => proposal.claims(context, claims),
            Message::Vote(vote) => vote.claims(context, claims),
            Message::Timeout(timeout) => timeout.claims(context, claims),
            Message::Certificates(certificates) => certificates.claims(context, claims),
            Message::BlockRequest { .. } => Ok(()),
            Message::Blocks(blocks) => check_chain(context, blocks, claims),
            Message::Inquiry(_) => Ok(()),
            Message::Testimony(testimony) => testimony.claims(context, claims),
        }
    }
}

/// A chain of blocks: each the parent of the next, each parent certified.
fn check_chain(
    context: &EpochContext,
    blocks: &[LinkedBlock],
    claims: &mut Claims<'_>,
) -> Result<(), Rejection> {
    if blocks.is_empty() {
        return Err(Rejection::Inconsistent("an answer without blocks"));
    }
    if blocks.len() > MAX_BLOCKS_PER_ANSWER {
        return Err(Rejection::TooMany {
            what: "blocks",
            got: blocks.len(),
            limit: MAX_BLOCKS_PER_ANSWER,
        });
    }
    for link in blocks {
        check_link(context, &link.block, &link.justify)?;
    }
    for pair in blocks.windows(2) {
        let (parent, child) = (pair[0].block.header(), pair[1].block.header());
        if child.parent != pair[0].block.id()
            || child.parent_view != parent.view
            || !child.height.follows(parent.height)
        {
            return Err(Rejection::Inconsistent(
                "blocks that do not follow each other",
            ));
        }
    }
    for link in blocks {
        if lockstep_types::planted!(SyncWithoutCertificates) {
            break;
        }
        link.justify.claims(context, claims)?;
    }
    Ok(())
}
