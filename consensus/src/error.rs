//! Why a replica did not do something. A [`Refusal`] concerns one message or block and says who is
//! to blame; a [`Fatal`] concerns the replica itself and stops it.

use lockstep_types::{Blame, BlockId, Epoch, Height, MemberIndex, View};

use crate::Message;

/// Why a checked message, or a block in it, was not acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The vote rule: one block per view.
    #[error("already voted in view {last_voted}, block is of view {block}")]
    AlreadyVoted {
        /// The block's view.
        block: View,
        /// The view of the last vote.
        last_voted: View,
    },
    /// The vote rule: no vote in a view once it was given up.
    #[error("gave up on view {last_timed_out}, block is of view {block}")]
    TimedOut {
        /// The block's view.
        block: View,
        /// The view of the last timeout.
        last_timed_out: View,
    },
    /// The vote rule: the block does not extend what its view must extend.
    #[error("block of view {block} extends view {parent} without a certificate that allows it")]
    ParentNotJustified {
        /// The block's view.
        block: View,
        /// The view of the certificate it extends.
        parent: View,
    },
    /// Statements are made in the current view only.
    #[error("view {got} is not the current view {current}")]
    NotCurrent {
        /// The view asked for.
        got: View,
        /// The current view.
        current: View,
    },
    /// A timeout below the last vote.
    #[error("voted in view {last_voted}, which is after {view}")]
    VotedLater {
        /// The view to give up.
        view: View,
        /// The view of the last vote.
        last_voted: View,
    },
    /// A timeout whose highest certificate is below the lock.
    #[error("highest certificate {high_qc} is below the lock {lock}")]
    BelowLock {
        /// View of the highest certificate.
        high_qc: View,
        /// The lock.
        lock: View,
    },
    /// A replica does not propose where it may have proposed before it was restarted.
    #[error("may have proposed in view {view} before the restart; proposes after {limit} again")]
    MayHaveProposed {
        /// The view.
        view: View,
        /// The last view of which that is true.
        limit: View,
    },
    /// The proposer is not the leader of its view.
    #[error("{got} proposed in view {view}, whose leader is {expected}")]
    NotLeader {
        /// The view.
        view: View,
        /// Who proposed.
        got: MemberIndex,
        /// Who leads.
        expected: MemberIndex,
    },
    /// The height is not the parent's plus one.
    #[error("height {got} on a parent of height {parent}")]
    WrongHeight {
        /// The block's height.
        got: Height,
        /// The parent's.
        parent: Height,
    },
    /// The certificate names another view than the parent's.
    #[error("parent is named with view {got} and has view {parent}")]
    WrongParentView {
        /// The view named.
        got: View,
        /// The parent's.
        parent: View,
    },
    /// The time is not after the parent's.
    #[error("time is not after the parent's")]
    TimeNotAfterParent,
    /// The time is further ahead of our clock than clocks may differ.
    #[error("time is too far ahead of our clock")]
    TimeTooFarAhead,
    /// The executed height goes back, runs ahead of what is committed, or lags too far behind.
    #[error("executed height {got} is not from {least} to {most}")]
    ExecutedOutOfRange {
        /// The height named.
        got: Height,
        /// The least it may be.
        least: Height,
        /// The most it may be.
        most: Height,
    },
    /// The application refuses the block.
    #[error("{0}")]
    Application(&'static str),
    /// Another block of this leader for this view came first.
    #[error("a second proposal for view {view}")]
    SecondProposal {
        /// The view.
        view: View,
    },
    /// A second, different statement of the same author for the same view.
    #[error("a second statement of {author} for view {view}")]
    Equivocation {
        /// Who made both.
        author: MemberIndex,
        /// The view.
        view: View,
    },
    /// Too far ahead to be kept.
    #[error("view {got} is more than the allowed distance ahead of {current}")]
    TooFarAhead {
        /// The view named.
        got: View,
        /// The current view.
        current: View,
    },
    /// Decided already, or of a view that is over.
    #[error("view {got} is over")]
    Old {
        /// The view named.
        got: View,
    },
    /// The block's height is committed already.
    #[error("height {got} is at or below the committed height {committed}")]
    BelowCommitted {
        /// The block's height.
        got: Height,
        /// The committed height.
        committed: Height,
    },
    /// A block with payload so far above what its chain commits that it must be empty.
    #[error("payload more than {0} blocks above what the chain commits")]
    PayloadOnLongPath(u64),
    /// No room for more undecided blocks.
    #[error("{0} undecided blocks are held already")]
    TreeFull(usize),
    /// An answer that was not asked for, or comes from somebody who was not asked.
    #[error("blocks that were not asked for")]
    NotAsked,
    /// An answer that does not connect to a known block.
    #[error("blocks that do not connect to block {parent:?}")]
    NotConnected {
        /// The parent of the first block.
        parent: BlockId,
    },
    /// A request for blocks that are not known here.
    #[error("asked for an unknown block {tip:?}")]
    UnknownTip {
        /// The block.
        tip: BlockId,
    },
    /// Nothing is signed yet: the record was lost, and the committee has not shown to be past it.
    #[error(
        "the safety record was lost: nothing is signed up to view {floor} and before a record is named above it"
    )]
    Silent {
        /// The view.
        floor: View,
    },
    /// Who has lost its own record cannot say where the committee stands.
    #[error("has lost its own safety record and cannot answer")]
    Recovering,
    /// More requests than one peer is served in one interval.
    #[error("served {0} requests in this interval already")]
    TooManyRequests(u32),
    /// The sender is no member of the committee, or is this replica.
    #[error("{0} is not another member of the committee")]
    NotAPeer(MemberIndex),
    /// What this replica's own application offered does not pass its own check.
    #[error("own proposal does not pass: {0}")]
    OwnProposal(Box<Refusal>),
}

impl Refusal {
    /// Who is to blame.
    pub fn blame(&self) -> Blame {
        match self {
            Refusal::NotLeader { .. }
            | Refusal::WrongHeight { .. }
            | Refusal::WrongParentView { .. }
            | Refusal::TimeNotAfterParent
            | Refusal::ExecutedOutOfRange { .. }
            | Refusal::Application(_)
            | Refusal::SecondProposal { .. }
            | Refusal::Equivocation { .. }
            | Refusal::TooManyRequests(_)
            | Refusal::NotAPeer(_) => Blame::Sender,
            _ => Blame::Nobody,
        }
    }
}

/// Why a replica must stop. It keeps its files as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A certified pair commits a block that does not extend what is committed: more than f
    /// members are faulty.
    #[error(
        "block {committed:?} is committed at height {height}, and so would be a rival: more than f members are faulty"
    )]
    Fork {
        /// The height of the block committed last.
        height: Height,
        /// The block committed last.
        committed: BlockId,
    },
    /// A statement with our signature that we have no record of.
    #[error(
        "a statement for view {view} carries our signature and is not ours: a second copy of this validator runs, or this disk is an old copy"
    )]
    SecondCopy {
        /// The view of the statement.
        view: View,
        /// The statement, as a message that holds it.
        shown: Box<Message>,
    },
    /// The safety record is of another epoch.
    #[error("safety record is of epoch {got}, epoch {expected} runs")]
    WrongEpoch {
        /// The record's epoch.
        got: Epoch,
        /// The running one.
        expected: Epoch,
    },
    /// The configured position in the committee holds another key than the signer's.
    #[error("the signer's key is not the key of member {0}")]
    NotOurKey(MemberIndex),
    /// The record is lost, and too few others exist to make up for it.
    #[error(
        "the safety record is lost, and this committee is too small to restore it: it needs a quorum of other members"
    )]
    NobodyToAsk,
    /// The blocks read back from the log do not form a chain.
    #[error("block {0:?} from the log does not connect to the blocks before it")]
    BrokenLog(BlockId),
    /// The safety record names certificates below what it vouches for.
    #[error("safety record contradicts itself: {0}")]
    BrokenRecord(&'static str),
}
