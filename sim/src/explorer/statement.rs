//! What was said: blocks, each with a number, and votes and timeouts of correct members.

use std::collections::BTreeMap;

use lockstep_types::{Block, BlockId, View};

use crate::Broken;

/// The number of a block; the root is 0.
pub(super) type BlockNumber = u16;

/// A timeout certificate: what it ends, and the block of the highest certificate in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ended {
    pub(super) view: View,
    pub(super) high: BlockNumber,
}

/// What a correct member may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Statement {
    /// It votes for a block.
    Vote { view: View, block: BlockNumber },
    /// It gives up on a view, and the highest certificate it knows is for that block.
    Timeout {
        view: View,
        high: BlockNumber,
        entered_by: Option<Ended>,
    },
}

impl Statement {
    /// May a member say this after all of that?
    pub(super) fn check(self, earlier: &[Statement]) -> Result<(), Broken> {
        for known in earlier.iter().filter(|known| **known != self) {
            let broken = match (*known, self) {
                (Statement::Vote { view: before, .. }, Statement::Vote { view, .. })
                | (Statement::Timeout { view: before, .. }, Statement::Timeout { view, .. }) => {
                    (view == before).then_some("no double vote")
                }
                (Statement::Timeout { view: before, .. }, Statement::Vote { view, .. }) => {
                    (view <= before).then_some("no vote after a timeout")
                }
                (Statement::Vote { .. }, Statement::Timeout { .. }) => None,
            };
            if let Some(invariant) = broken {
                return Err(Broken::new(invariant, format!("{known:?}, then {self:?}")));
            }
        }
        Ok(())
    }
}

/// A block that was proposed somewhere.
#[derive(Debug)]
pub(super) struct KnownBlock {
    pub(super) block: Block,
    pub(super) parent: BlockNumber,
}

/// The blocks of all states.
#[derive(Default)]
pub(super) struct Blocks {
    blocks: Vec<KnownBlock>,
    numbers: BTreeMap<BlockId, BlockNumber>,
}

impl Blocks {
    pub(super) fn add(&mut self, block: Block, parent: BlockNumber) -> BlockNumber {
        let id = block.id();
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let number = BlockNumber::try_from(self.blocks.len()).expect("few blocks have few views");
        self.numbers.insert(id, number);
        self.blocks.push(KnownBlock { block, parent });
        number
    }

    pub(super) fn number_of(&self, id: &BlockId) -> BlockNumber {
        *self.numbers.get(id).expect("all blocks are the liar's")
    }

    pub(super) fn get(&self, number: BlockNumber) -> &KnownBlock {
        &self.blocks[usize::from(number)]
    }

    pub(super) fn view(&self, number: BlockNumber) -> View {
        self.get(number).block.header().view
    }
}
