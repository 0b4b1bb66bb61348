//! At every barrier all shards together hold what genesis gave, but for what is on its way.

use lockstep_genesis::Genesis;
use lockstep_shard::{BarrierRecord, Conservation};
use lockstep_types::WindowNumber;

use super::Broken;

/// Follows the records, whoever has them.
#[derive(Debug)]
pub(super) struct Conserved {
    sums: Conservation,
    last: WindowNumber,
}

impl Conserved {
    pub(super) fn new(genesis: &Genesis) -> Self {
        Conserved {
            sums: Conservation::new(genesis),
            last: WindowNumber::ZERO,
        }
    }

    /// A correct member has this record. Records count once and in order; of each number there is
    /// one, which is judged elsewhere.
    pub(super) fn on_record(&mut self, record: &BarrierRecord) -> Result<(), Broken> {
        if !record.number.follows(self.last) {
            return Ok(());
        }
        self.last = record.number;
        let result = self.sums.on_record(record);
        result.map_err(|unbalanced| Broken::new("global conservation", unbalanced.to_string()))
    }
}
