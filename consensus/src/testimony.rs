//! What a member that has just started asks the others, and what they answer: where the committee
//! stands, and the newest statements of the asker that they have seen. An answer is for one
//! challenge of one start, so that an old one cannot be shown again.
//!
//! Breaks if: an answer is counted that was not made for this start, or names a view without the
//! certificate for it.

use lockstep_types::{
    Claims, Digest, Domain, Epoch, EpochContext, Kind, MemberIndex, Rejection, Signature, Signer,
    Timeout, Verifiable, View, Vote,
};
use parity_scale_codec::{Decode, Encode};

use crate::Certificates;

/// Bytes that no earlier start of this member has used; drawn at random by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Challenge(pub [u8; 32]);

/// An answer to a start's question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Testimony {
    /// Who answers.
    pub author: MemberIndex,
    /// Who asked.
    pub asker: MemberIndex,
    /// The challenge of the question.
    pub challenge: Challenge,
    /// The author's highest certificates.
    pub certificates: Certificates,
    /// The asker's newest vote that the author has seen since its own start.
    pub vote: Option<Vote>,
    /// The same of its timeouts.
    pub timeout: Option<Timeout>,
    /// The author's signature over [`Testimony::statement`].
    pub signature: Signature,
}

impl Testimony {
    /// What the author signs: all of it, in its committee's epoch.
    pub fn statement(&self, domain: &Domain, epoch: Epoch) -> Digest {
        let Testimony {
            author: _,
            asker,
            challenge,
            certificates,
            vote,
            timeout,
            signature: _,
        } = self;
        let content = (asker, challenge, certificates, vote, timeout);
        domain.statement(Kind::Testimony, epoch, View::ZERO, &content)
    }

    /// The same answer under a signature. A replica does this only through its safety rules.
    pub fn signed(mut self, signer: &dyn Signer, domain: &Domain, epoch: Epoch) -> Self {
        self.signature = signer.sign(&self.statement(domain, epoch));
        self
    }
}

impl Verifiable for Testimony {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        let key = *context
            .committee
            .key(self.author)
            .ok_or(Rejection::NotAMember)?;
        let authors = [
            self.vote.as_ref().map(|vote| vote.author),
            self.timeout.as_ref().map(|timeout| timeout.author),
        ];
        if authors.into_iter().flatten().any(|of| of != self.asker) {
            return Err(Rejection::Inconsistent(
                "an answer with statements of another member than the asker",
            ));
        }
        self.certificates.claims(context, claims)?;
        if let Some(vote) = &self.vote {
            vote.claims(context, claims)?;
        }
        if let Some(timeout) = &self.timeout {
            timeout.claims(context, claims)?;
        }
        let statement = self.statement(&context.domain, context.epoch);
        claims.add_once(key, statement, self.signature);
        Ok(())
    }
}
