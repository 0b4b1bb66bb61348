//! What consensus asks of whoever gives its blocks a meaning. The replica owns its application and
//! calls it inside a step; the application does no I/O and reads no clock.

use lockstep_types::{Block, BlockId, Executed, Height, Time, View};

/// What a leader puts into a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The block's time; after its parent's. A voter waits until its clock has reached it.
    pub time: Time,
    /// How far this replica surely has executed, as every voter can check.
    pub executed: Executed,
    /// The payload.
    pub payload: Vec<u8>,
}

/// May this replica vote for a block?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Yes.
    Accept,
    /// Not yet: a part of the payload is missing, or execution has not come that far. Asked again
    /// on every later step of the view.
    Hold,
    /// Never, for this reason.
    Refuse(&'static str),
}

/// A leader's turn to propose.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The view.
    pub view: View,
    /// The block to extend.
    pub parent: &'a Block,
    /// The newest height that the new block's ancestry commits, as far as this replica can tell.
    /// `executed.height` lies between the parent's and this one.
    pub commits: Height,
    /// May the block carry payload? Not where so much is undecided that nothing but a commit helps.
    pub may_fill: bool,
    /// An uncommitted ancestor waits to be committed. Without other work the application then
    /// answers with an empty payload instead of `None`.
    pub commit_needed: bool,
}

/// The part of a replica that knows what payloads mean.
pub trait Application {
    /// `block` joined the tree. Its parent did before, also for synced and recovered blocks. A
    /// block that was forgotten for want of room may come again.
    fn on_block(&mut self, block: &Block);

    /// May this replica vote for `block`? Height, time order, parent and executed height are
    /// checked already.
    fn check(&mut self, now: Time, block: &Block) -> Check;

    /// Content for a block, or `None` when there is nothing to put there.
    fn propose(&mut self, now: Time, turn: &Turn<'_>) -> Option<Content>;

    /// Does anything wait to be put on `parent`? While it does, the view timer runs.
    fn has_work(&self, now: Time, parent: &Block) -> bool;

    /// Does somebody wait for this block's commit? False for empty filler blocks.
    fn needs_commit(&self, block: &Block) -> bool;

    /// Does this block name a barrier record, or carry one? A replica that lost its safety record
    /// signs again once such a block is committed.
    fn names_record(&self, block: &Block) -> bool;

    /// `block` is committed: in order, without gaps, once. Its siblings are gone.
    fn on_commit(&mut self, block: &Block);

    /// Others of the undecided blocks than those that `is_held` names are forgotten: rivals of
    /// committed blocks, and what a full tree has dropped.
    fn retain(&mut self, is_held: &dyn Fn(&BlockId) -> bool);

    /// Is there so much to be done with committed blocks that there is no room for more? Until that
    /// has changed a replica fetches none, and proposals wait.
    fn is_full(&self) -> bool;
}
