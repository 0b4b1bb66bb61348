//! Certificates: what a quorum has signed. A [`QuorumCertificate`] and a [`CommitProof`] do not
//! convert into each other: the first says "certified", only the second says "final".

use parity_scale_codec::{Decode, Encode};

use crate::{
    BlockId, Claims, Committee, Digest, Domain, Epoch, Header, Headers, Rejection, Signature,
    Signers, Timeout, Verifiable, View, Vote, hash,
};

/// What consensus statements of one epoch are checked against.
#[derive(Clone, Debug)]
pub struct EpochContext {
    /// The chain and committee.
    pub domain: Domain,
    /// The running epoch.
    pub epoch: Epoch,
    /// The members of that epoch.
    pub committee: Committee,
    /// The block the epoch starts from. It is certified by definition, in view 0.
    pub root: BlockId,
}

impl EpochContext {
    /// # Errors
    /// When `epoch` is not the running one.
    pub fn check_epoch(&self, epoch: Epoch) -> Result<(), Rejection> {
        if epoch == self.epoch {
            Ok(())
        } else {
            Err(Rejection::WrongEpoch {
                got: epoch,
                expected: self.epoch,
            })
        }
    }

    /// Checks who signed, before any signature is looked at.
    ///
    /// # Errors
    /// When a signer is no member, they are fewer than a quorum, or the lists differ in length.
    pub fn check_signers(&self, signers: Signers, signatures: usize) -> Result<(), Rejection> {
        check_signers(&self.committee, signers, signatures)
    }
}

/// Checks who signed, before any signature is looked at: members only, a quorum of them, one
/// signature each.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_signers(
    committee: &Committee,
    signers: Signers,
    signatures: usize,
) -> Result<(), Rejection> {
    if !signers.is_within(committee) {
        return Err(Rejection::NotAMember);
    }
    if crate::planted!(CountSignatures) && signatures >= committee.quorum() {
        return Ok(());
    }
    if signers.count() < committee.quorum() {
        return Err(Rejection::NoQuorum {
            got: signers.count(),
            needed: committee.quorum(),
        });
    }
    if signatures != signers.count() {
        return Err(Rejection::Inconsistent("as many signatures as signers"));
    }
    Ok(())
}

/// A quorum voted for one block in one view (HotStuff; Jolteon §3).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct QuorumCertificate {
    /// The epoch.
    pub epoch: Epoch,
    /// The block's view.
    pub view: View,
    /// The block.
    pub block: BlockId,
    /// Who voted.
    pub signers: Signers,
    /// Their signatures, in index order.
    pub signatures: Vec<Signature>,
}

impl QuorumCertificate {
    /// The certificate an epoch starts from: view 0, no signatures, the epoch's root.
    pub fn root(epoch: Epoch, block: BlockId) -> Self {
        QuorumCertificate {
            epoch,
            view: View::ZERO,
            block,
            signers: Signers::NONE,
            signatures: Vec::new(),
        }
    }
}

impl Verifiable for QuorumCertificate {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        context.check_epoch(self.epoch)?;
        if self.view == View::ZERO {
            return if *self == Self::root(context.epoch, context.root) {
                Ok(())
            } else {
                Err(Rejection::Inconsistent(
                    "a certificate for view 0 that is not the root's",
                ))
            };
        }
        context.check_signers(self.signers, self.signatures.len())?;
        let digest = hash("lockstep/qc", &(context.domain.committee, self));
        claims.certificate(digest, |claims| {
            let statement = Vote::statement(&context.domain, self.epoch, self.view, &self.block);
            add_quorum(
                context,
                self.signers,
                &self.signatures,
                |_| statement,
                claims,
            )
        })
    }
}

fn add_quorum(
    context: &EpochContext,
    signers: Signers,
    signatures: &[Signature],
    statement: impl Fn(usize) -> Digest,
    claims: &mut Claims<'_>,
) -> Result<(), Rejection> {
    for (position, (member, signature)) in signers.iter().zip(signatures).enumerate() {
        let key = *context.committee.key(member).ok_or(Rejection::NotAMember)?;
        claims.add_once(key, statement(position), *signature);
    }
    Ok(())
}

/// A quorum gave up on one view (DiemBFT v4). It binds each signer's highest certificate, so a
/// leader cannot hide one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TimeoutCertificate {
    /// The epoch.
    pub epoch: Epoch,
    /// The view given up.
    pub view: View,
    /// Who gave up.
    pub signers: Signers,
    /// The view of each signer's highest certificate, in index order.
    pub high_qc_views: Vec<View>,
    /// Their signatures, in index order.
    pub signatures: Vec<Signature>,
    /// A certificate of the highest of those views.
    pub high_qc: QuorumCertificate,
}

impl TimeoutCertificate {
    /// The highest certified view any signer knew.
    pub fn high_qc_view(&self) -> View {
        self.high_qc.view
    }
}

impl Verifiable for TimeoutCertificate {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        context.check_epoch(self.epoch)?;
        context.check_signers(self.signers, self.signatures.len())?;
        if self.high_qc_views.len() != self.signatures.len() {
            return Err(Rejection::Inconsistent("as many highest views as signers"));
        }
        let highest = self
            .high_qc_views
            .iter()
            .max()
            .expect("a quorum is not empty");
        let hidden = crate::planted!(TimeoutCertificateHidesHighest);
        if self.high_qc.view != *highest && !hidden {
            return Err(Rejection::WrongView {
                got: self.high_qc.view,
                problem: "is not the highest certified view signed, which is",
                other: *highest,
            });
        }
        if *highest >= self.view {
            return Err(Rejection::WrongView {
                got: *highest,
                problem: "is certified, but the timeouts are for",
                other: self.view,
            });
        }
        self.high_qc.claims(context, claims)?;
        let digest = hash("lockstep/tc", &(context.domain.committee, self));
        claims.certificate(digest, |claims| {
            let statement = |position: usize| {
                Timeout::statement(
                    &context.domain,
                    self.epoch,
                    self.view,
                    self.high_qc_views[position],
                )
            };
            add_quorum(context, self.signers, &self.signatures, statement, claims)
        })
    }
}

/// Longest stretch of headers in a proof, from a block to the descendant that is committed directly.
/// As many as a replica lets grow undecided, so that no committed block is without a valid proof.
/// With 153 bytes each, two such proofs and a full record fit into one message.
pub const MAX_PROOF_HEADERS: usize = 2_048;

/// What convinces an outsider that a block is final (two-chain commit rule): the headers from the
/// block to a certified descendant D, and a certified child of D from the very next view.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CommitProof {
    /// From the committed block to D, each the parent of the next. Usually one header.
    pub headers: Headers,
    /// The certificate for D.
    pub qc: QuorumCertificate,
    /// D's child, proposed in the view after D's.
    pub child: Header,
    /// The certificate for the child.
    pub child_qc: QuorumCertificate,
}

impl CommitProof {
    /// The block that is proven final.
    pub fn committed(&self) -> &Header {
        self.headers.first().expect("checked not to be empty")
    }
}

impl Verifiable for CommitProof {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        if self.headers.is_empty() {
            return Err(Rejection::Inconsistent(
                "a proof without the block it proves",
            ));
        }
        if self.headers.len() > MAX_PROOF_HEADERS {
            return Err(Rejection::TooMany {
                what: "headers",
                got: self.headers.len(),
                limit: MAX_PROOF_HEADERS,
            });
        }
        let links = self.headers.iter().chain([&self.child]);
        for (parent, child) in self.headers.iter().zip(links.skip(1)) {
            context.check_epoch(parent.epoch)?;
            if child.parent != parent.id()
                || child.parent_view != parent.view
                || !child.height.follows(parent.height)
            {
                return Err(Rejection::Inconsistent(
                    "headers that do not follow each other",
                ));
            }
        }
        context.check_epoch(self.child.epoch)?;
        let direct = self.headers.last().expect("not empty");
        if !self.child.view.follows(direct.view) {
            return Err(Rejection::WrongView {
                got: self.child.view,
                problem: "is not the view after",
                other: direct.view,
            });
        }
        for (header, qc) in [(direct, &self.qc), (&self.child, &self.child_qc)] {
            if qc.block != header.id() || qc.view != header.view {
                return Err(Rejection::Inconsistent("a certificate for another block"));
            }
            if crate::planted!(LoneCertificateAsCommitProof) && *header == self.child {
                continue;
            }
            qc.claims(context, claims)?;
        }
        Ok(())
    }
}

/// The digest of a statement kind that certificates of other crates sign with a quorum.
///
/// # Errors
/// When the signers are not a quorum of `committee`.
pub fn quorum_claims(
    committee: &Committee,
    statement: Digest,
    signers: Signers,
    signatures: &[Signature],
    claims: &mut Claims<'_>,
) -> Result<(), Rejection> {
    check_signers(committee, signers, signatures.len())?;
    let digest = hash("lockstep/quorum", &(statement, signers, signatures));
    claims.certificate(digest, |claims| {
        for (member, signature) in signers.iter().zip(signatures) {
            let key = *committee.key(member).ok_or(Rejection::NotAMember)?;
            claims.add_once(key, statement, *signature);
        }
        Ok(())
    })
}
