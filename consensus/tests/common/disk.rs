//! A disk that holds what was synced.

use lockstep_consensus::{Recovered, SafetyRecord, root_link};
use lockstep_types::{Block, LinkedBlock, LogPosition};

#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) log: Vec<LinkedBlock>,
    pub(crate) record: Option<SafetyRecord>,
    pub(crate) position: LogPosition,
}

impl Disk {
    pub(crate) fn recovered(&self, root: &Block) -> Recovered {
        let mut blocks = self.log.clone();
        blocks.sort_by_key(|link| link.block.header().height);
        Recovered {
            record: self.record.clone(),
            blocks,
            anchor: root_link(root.clone()),
            log_end: self.position,
        }
    }
}
