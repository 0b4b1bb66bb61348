//! An application that orders numbers.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_consensus::{Application, Check, Content, Turn};
use lockstep_types::{Block, BlockId, Executed, Height, Time, codec};
use parity_scale_codec::Encode;

/// Voters hold a block with this number until they are told that they have it.
pub(crate) const WITHHELD: u32 = 1_000_000;

/// Nobody votes for a block with this number.
pub(crate) const POISON: u32 = 2_000_000;

#[derive(Clone, Default)]
pub(crate) struct Numbers {
    /// Numbers handed in and not committed yet.
    pub(crate) pending: BTreeSet<u32>,
    /// The undecided blocks: parent and numbers.
    blocks: BTreeMap<BlockId, (BlockId, Vec<u32>)>,
    /// Everything committed, in order.
    pub(crate) committed: Vec<u32>,
    pub(crate) heights: Vec<Height>,
    /// Has the withheld part arrived?
    pub(crate) complete: bool,
    /// Too much waits to be executed.
    pub(crate) full: bool,
    /// Overrides the executed height offered in proposals.
    pub(crate) executed: Option<u64>,
}

fn numbers(block: &Block) -> Vec<u32> {
    codec::decode(block.payload(), 1 << 20).unwrap_or_default()
}

impl Numbers {
    pub(crate) fn blocks_held(&self) -> usize {
        self.blocks.len()
    }

    /// Pending numbers that are not on the chain that ends with `parent`.
    fn missing_on(&self, parent: &Block) -> Vec<u32> {
        let mut on_chain: BTreeSet<u32> = self.committed.iter().copied().collect();
        let mut id = parent.id();
        while let Some((above, numbers)) = self.blocks.get(&id) {
            on_chain.extend(numbers);
            id = *above;
        }
        self.pending.difference(&on_chain).copied().collect()
    }
}

impl Application for Numbers {
    fn on_block(&mut self, block: &Block) {
        let entry = (block.header().parent, numbers(block));
        self.blocks.insert(block.id(), entry);
    }

    fn check(&mut self, _now: Time, block: &Block) -> Check {
        let numbers = numbers(block);
        if numbers.contains(&POISON) {
            Check::Refuse("poison")
        } else if numbers.contains(&WITHHELD) && !self.complete {
            Check::Hold
        } else {
            Check::Accept
        }
    }

    fn propose(&mut self, now: Time, turn: &Turn<'_>) -> Option<Content> {
        let mut missing = self.missing_on(turn.parent);
        if !turn.may_fill {
            missing.clear();
        }
        if missing.is_empty() && !turn.commit_needed {
            return None;
        }
        let payload = if missing.is_empty() {
            Vec::new()
        } else {
            missing.encode()
        };
        Some(Content {
            time: now.max(turn.parent.header().time.next()),
            executed: Executed {
                height: self.executed.map_or(turn.commits, Height::new),
                digest: Default::default(),
            },
            payload,
        })
    }

    fn has_work(&self, _now: Time, parent: &Block) -> bool {
        !self.missing_on(parent).is_empty()
    }

    fn needs_commit(&self, block: &Block) -> bool {
        !block.payload().is_empty()
    }

    /// Every block with numbers stands for one that names a record.
    fn names_record(&self, block: &Block) -> bool {
        !block.payload().is_empty()
    }

    fn on_commit(&mut self, block: &Block) {
        let numbers = numbers(block);
        self.pending.retain(|number| !numbers.contains(number));
        self.committed.extend(numbers);
        self.heights.push(block.header().height);
        self.blocks.remove(&block.id());
    }

    fn retain(&mut self, is_held: &dyn Fn(&BlockId) -> bool) {
        self.blocks.retain(|id, _| is_held(id));
    }

    fn is_full(&self) -> bool {
        self.full
    }
}
