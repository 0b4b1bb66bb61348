//! Two statements of one member that exclude each other. Whoever holds both signatures can show
//! them to anybody; a correct member never makes such a pair, across restarts too.

use lockstep_types::Claims;
use lockstep_types::{EpochContext, MemberIndex, Rejection, Timeout, Verifiable, View, Vote};
use parity_scale_codec::{Decode, Encode};

use crate::Proposal;

/// Proof that a member contradicted itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Evidence {
    /// Two blocks proposed in one view.
    #[codec(index = 0)]
    Proposals(Box<[Proposal; 2]>),
    /// Votes for two blocks in one view.
    #[codec(index = 1)]
    Votes(Box<[Vote; 2]>),
    /// Two timeouts for one view with different highest certificates.
    #[codec(index = 2)]
    Timeouts(Box<[Timeout; 2]>),
}

impl Evidence {
    /// Who contradicted itself.
    pub fn author(&self) -> MemberIndex {
        match self {
            Evidence::Proposals(pair) => pair[0].proposer(),
            Evidence::Votes(pair) => pair[0].author,
            Evidence::Timeouts(pair) => pair[0].author,
        }
    }

    /// In which view.
    pub fn view(&self) -> View {
        match self {
            Evidence::Proposals(pair) => pair[0].view(),
            Evidence::Votes(pair) => pair[0].view,
            Evidence::Timeouts(pair) => pair[0].view,
        }
    }

    /// Do the two statements exclude each other?
    fn is_conflict(&self) -> bool {
        match self {
            Evidence::Proposals(pair) => {
                let [a, b] = &**pair;
                a.proposer() == b.proposer() && a.view() == b.view() && a.block.id() != b.block.id()
            }
            Evidence::Votes(pair) => {
                let [a, b] = &**pair;
                a.author == b.author && a.view == b.view && a.block != b.block
            }
            Evidence::Timeouts(pair) => {
                let [a, b] = &**pair;
                a.author == b.author && a.view == b.view && a.high_qc.view != b.high_qc.view
            }
        }
    }
}

impl Verifiable for Evidence {
    type Context = EpochContext;

    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        if !self.is_conflict() {
            return Err(Rejection::Inconsistent(
                "two statements that do not exclude each other",
            ));
        }
        match self {
            Evidence::Proposals(pair) => pair.iter().try_for_each(|p| p.claims(context, claims)),
            Evidence::Votes(pair) => pair.iter().try_for_each(|v| v.claims(context, claims)),
            Evidence::Timeouts(pair) => pair.iter().try_for_each(|t| t.claims(context, claims)),
        }
    }
}
