//! The commit rule (I5), written a second time: a block is final by a certificate for it, or for a
//! descendant, and one for a child proposed in the very next view. Asked of every commit, and of
//! every record that a correct shard member accepts.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_types::{
    BlockId, Claim, CommitProof, CommitteeId, Engine, Epoch, Height, KeyedHashEngine,
    QuorumCertificate, View, Vote,
};

use super::Broken;

/// Judges commit proofs.
pub struct CommitRule {
    genesis: Arc<Genesis>,
    engine: KeyedHashEngine,
    /// Blocks for which a proof's signatures were checked.
    checked: BTreeSet<(CommitteeId, Height, BlockId)>,
}

impl CommitRule {
    pub(super) fn new(genesis: Arc<Genesis>, engine: KeyedHashEngine) -> Self {
        CommitRule {
            genesis,
            engine,
            checked: BTreeSet::new(),
        }
    }

    /// Does `proof` show that its first block is final? Signatures are checked once per block, or
    /// always for what comes from outside.
    pub(super) fn check(
        &mut self,
        committee: CommitteeId,
        proof: &CommitProof,
        outside: bool,
    ) -> Result<(), Broken> {
        Self::shape(committee, proof)?;
        let first = proof.committed();
        let known = (committee, first.height, first.id());
        if outside || !self.checked.contains(&known) {
            for qc in [&proof.qc, &proof.child_qc] {
                if !self.is_certified(committee, qc) {
                    let view = qc.view;
                    return fail(format!("{committee:?}: no quorum for view {view}"));
                }
            }
        }
        self.checked.insert(known);
        Ok(())
    }

    /// The rule, but for the signatures.
    pub(crate) fn shape(committee: CommitteeId, proof: &CommitProof) -> Result<(), Broken> {
        let (Some(first), Some(last)) = (proof.headers.first(), proof.headers.last()) else {
            return fail("a proof without a block".into());
        };
        for pair in proof.headers.windows(2) {
            if pair[1].parent != pair[0].id() {
                let height = first.height;
                return fail(format!("{committee:?}: a gap above height {height}"));
            }
        }
        let (child, height) = (&proof.child, first.height);
        if child.parent != last.id() || child.view != last.view.next() {
            let views = (last.view, child.view);
            return fail(format!(
                "{committee:?}: {height} is final by views {views:?}"
            ));
        }
        for (id, view, qc) in [
            (last.id(), last.view, &proof.qc),
            (child.id(), child.view, &proof.child_qc),
        ] {
            if qc.block != id || qc.view != view {
                let other = qc.view;
                return fail(format!(
                    "{committee:?}: {height} is final by a certificate of view {other} for {view}"
                ));
            }
        }
        Ok(())
    }

    fn is_certified(&self, committee: CommitteeId, qc: &QuorumCertificate) -> bool {
        if qc.view == View::ZERO {
            return true; // the root needs no votes
        }
        let domain = self.genesis.domain(committee);
        let members = self.genesis.committee(committee);
        let digest = Vote::statement(&domain, Epoch::ZERO, qc.view, &qc.block);
        let claims: Vec<Claim> = qc
            .signers
            .iter()
            .zip(&qc.signatures)
            .filter_map(|(member, signature)| {
                Some(Claim {
                    key: *members.key(member)?,
                    digest,
                    signature: *signature,
                })
            })
            .collect();
        claims.len() >= members.quorum() && self.engine.check(&claims).iter().all(|good| *good)
    }
}

fn fail(detail: String) -> Result<(), Broken> {
    Err(Broken::new("two certified blocks in a row", detail))
}
