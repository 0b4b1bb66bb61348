//! Votes and timeouts: the two statements a replica makes about a view.

use parity_scale_codec::{Decode, Encode};

use crate::certificate::EpochContext;
use crate::{
    BlockId, Claims, Digest, Domain, Epoch, Kind, MemberIndex, QuorumCertificate, Rejection,
    Signature, Signer, TimeoutCertificate, Verifiable, View,
};

/// "I vote for this block in its view."
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Vote {
    /// The epoch.
    pub epoch: Epoch,
    /// The block's view.
    pub view: View,
    /// The block.
    pub block: BlockId,
    /// Who votes.
    pub author: MemberIndex,
    /// The author's signature over [`Vote::statement`].
    pub signature: Signature,
}

impl Vote {
    /// What a vote signs.
    pub fn statement(domain: &Domain, epoch: Epoch, view: View, block: &BlockId) -> Digest {
        domain.statement(Kind::Vote, epoch, view, block)
    }

    /// Signs a vote. The caller must have recorded it first: see the safety rules.
    pub fn sign(
        signer: &dyn Signer,
        domain: &Domain,
        author: MemberIndex,
        epoch: Epoch,
        view: View,
        block: BlockId,
    ) -> Self {
        let signature = signer.sign(&Self::statement(domain, epoch, view, &block));
        Vote {
            epoch,
            view,
            block,
            author,
            signature,
        }
    }
}

impl Verifiable for Vote {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        context.check_epoch(self.epoch)?;
        let key = *context
            .committee
            .key(self.author)
            .ok_or(Rejection::NotAMember)?;
        let statement = Self::statement(&context.domain, self.epoch, self.view, &self.block);
        claims.add_once(key, statement, self.signature);
        Ok(())
    }
}

/// "I gave up on this view; this is the highest certificate I know."
///
/// The claimed certificate travels with the claim. Without it one liar who names a certificate that
/// does not exist would halt the committee.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Timeout {
    /// The epoch.
    pub epoch: Epoch,
    /// The view given up.
    pub view: View,
    /// Who gives up.
    pub author: MemberIndex,
    /// The author's signature over [`Timeout::statement`].
    pub signature: Signature,
    /// The author's highest certificate; its view is part of the signed statement.
    pub high_qc: QuorumCertificate,
    /// The certificate for `view − 1`, when `high_qc` is older than that: how the author came here.
    pub entered_by: Option<TimeoutCertificate>,
}

impl Timeout {
    /// What a timeout signs.
    pub fn statement(domain: &Domain, epoch: Epoch, view: View, high_qc_view: View) -> Digest {
        domain.statement(Kind::Timeout, epoch, view, &high_qc_view)
    }

    /// Signs a timeout. The caller must have recorded it first: see the safety rules.
    pub fn sign(
        signer: &dyn Signer,
        domain: &Domain,
        author: MemberIndex,
        view: View,
        high_qc: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Self {
        let epoch = high_qc.epoch;
        let signature = signer.sign(&Self::statement(domain, epoch, view, high_qc.view));
        Timeout {
            epoch,
            view,
            author,
            signature,
            high_qc,
            entered_by,
        }
    }
}

impl Verifiable for Timeout {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        context.check_epoch(self.epoch)?;
        let key = *context
            .committee
            .key(self.author)
            .ok_or(Rejection::NotAMember)?;
        if self.high_qc.view >= self.view {
            return Err(Rejection::WrongView {
                got: self.high_qc.view,
                problem: "is certified, but the timeout is for",
                other: self.view,
            });
        }
        match &self.entered_by {
            None if self.view.follows(self.high_qc.view) => {}
            Some(tc) if self.view.follows(tc.view) => tc.claims(context, claims)?,
            _ => {
                return Err(Rejection::Inconsistent(
                    "a timeout that does not show how its view was entered",
                ));
            }
        }
        if !crate::planted!(TimeoutNamesAnyCertificate) {
            self.high_qc.claims(context, claims)?;
        }
        let statement = Self::statement(&context.domain, self.epoch, self.view, self.high_qc.view);
        claims.add_once(key, statement, self.signature);
        Ok(())
    }
}
