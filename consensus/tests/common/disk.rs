//! A disk that holds what was synced.

use lockstep_consensus::{Ancestry, Arrival, Recovered, SafetyRecord};
use lockstep_types::{LinkedBlock, LogPosition};

#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) log: Vec<LinkedBlock>,
    pub(crate) record: Option<SafetyRecord>,
    pub(crate) position: LogPosition,
    /// It was wiped, and no record has been written since.
    pub(crate) lost: bool,
}

impl Disk {
    pub(crate) fn recovered(&self, anchor: LinkedBlock, ancestry: Ancestry) -> Recovered {
        let mut blocks = self.log.clone();
        blocks.sort_by_key(|link| link.block.header().height);
        blocks.retain(|link| link.block.header().height > anchor.block.header().height);
        Recovered {
            record: self.record.clone(),
            blocks,
            anchor,
            ancestry,
            arrival: Arrival::Unasked,
            log_end: self.position,
        }
    }
}
