//! Agreement (I1), the commit stream (I5) and determinism of execution (I10): one block, one effects
//! digest and one checkpoint per committee and height; one record per number.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_shard::{CertifiedRecord, ExecutedBlock, Peer};
use lockstep_types::{
    Block, BlockId, CommitteeId, EffectsDigest, Height, RecordHash, WindowNumber,
};

use super::Broken;

/// What all members together have decided.
#[derive(Debug, Default)]
pub struct Agreement {
    blocks: BTreeMap<(CommitteeId, Height), BlockId>,
    effects: BTreeMap<(CommitteeId, Height), EffectsDigest>,
    records: BTreeMap<WindowNumber, RecordHash>,
    /// The last height each member has given to execution.
    last: BTreeMap<Peer, Height>,
    /// The last record each member has applied.
    applied: BTreeMap<Peer, WindowNumber>,
    /// Those that have started again and committed nothing since, or applied nothing: they may go
    /// back to their anchor.
    started: BTreeSet<Peer>,
    started_records: BTreeSet<Peer>,
    /// Those that lost their state: the next block and the next record of each may be any.
    without_block: BTreeSet<Peer>,
    without_record: BTreeSet<Peer>,
}

impl Agreement {
    /// The highest height any member of a committee has committed.
    pub fn height(&self, committee: CommitteeId) -> Height {
        let below = (committee, Height::new(u64::MAX));
        let mut newest = self.blocks.range((committee, Height::ZERO)..=below);
        newest
            .next_back()
            .map_or(Height::ZERO, |((_, height), _)| *height)
    }

    /// The highest record.
    pub fn record(&self) -> WindowNumber {
        self.records
            .keys()
            .next_back()
            .copied()
            .unwrap_or(WindowNumber::ZERO)
    }

    pub(super) fn on_committed(&mut self, peer: &Peer, block: &Block) -> Result<(), Broken> {
        let height = block.header().height;
        let known = *self
            .blocks
            .entry((peer.committee, height))
            .or_insert(block.id());
        if known != block.id() {
            let detail = format!(
                "{peer:?} committed {:?} at {height}, somebody else {known:?}",
                block.id()
            );
            return Err(Broken::new("agreement", detail));
        }
        let started = self.started.remove(peer);
        let last = self.last.insert(*peer, height);
        if self.without_block.remove(peer) {
            return Ok(());
        }
        match last {
            Some(last) if height > last.next() || (!started && height != last.next()) => {
                let detail = format!("{peer:?} went from {last} to {height}");
                Err(Broken::new("commits without gaps", detail))
            }
            _ => Ok(()),
        }
    }

    /// A member starts again.
    pub(super) fn on_start(&mut self, peer: &Peer) {
        self.started.insert(*peer);
        self.started_records.insert(*peer);
    }

    /// A member has lost its state, and gets another's.
    pub(super) fn on_amnesia(&mut self, peer: &Peer) {
        self.without_block.insert(*peer);
        self.without_record.insert(*peer);
    }

    /// A member applies a record (I9), the same as everybody.
    pub(super) fn on_applied(
        &mut self,
        peer: &Peer,
        record: &CertifiedRecord,
    ) -> Result<(), Broken> {
        self.on_record(record)?;
        self.applies(peer, record.record.number)
    }

    /// The record after the last; the first one after a start may be an earlier one.
    fn applies(&mut self, peer: &Peer, number: WindowNumber) -> Result<(), Broken> {
        let last = self.applied.insert(*peer, number).unwrap_or_default();
        let started = self.started_records.remove(peer);
        let again = started && number <= last;
        if self.without_record.remove(peer) || again || number == last.next() {
            return Ok(());
        }
        let detail = format!("{peer:?} applied {number} after {last}");
        Err(Broken::new("records are applied in order", detail))
    }

    pub(super) fn on_executed(&mut self, peer: &Peer, block: &ExecutedBlock) -> Result<(), Broken> {
        let key = (peer.committee, block.height);
        let known = *self.effects.entry(key).or_insert(block.digest);
        if known == block.digest {
            return Ok(());
        }
        let detail = format!(
            "{peer:?} came to {:?} at {}, somebody else to {known:?}",
            block.digest, block.height
        );
        Err(Broken::new("equal execution", detail))
    }

    /// Somebody shows a record.
    ///
    /// # Errors
    /// When another one has its number.
    pub fn on_record(&mut self, record: &CertifiedRecord) -> Result<(), Broken> {
        let (number, hash) = (record.record.number, record.record.hash());
        let known = *self.records.entry(number).or_insert(hash);
        if known == hash {
            return Ok(());
        }
        let detail = format!("record {number} is {hash:?} and {known:?}");
        Err(Broken::new("one record per number", detail))
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{MemberIndex, ShardId};

    use super::*;

    #[test]
    fn records_are_applied_one_after_the_other_in_a_life() {
        let peer = Peer {
            committee: CommitteeId::Shard(ShardId::new(0)),
            member: MemberIndex::new(0),
        };
        let mut agreement = Agreement::default();
        let applies = |agreement: &mut Agreement, number| {
            agreement.applies(&peer, WindowNumber::new(number)).is_ok()
        };
        assert!((1..=4).all(|number| applies(&mut agreement, number)));
        assert!(!applies(&mut agreement, 3), "an earlier one");
        assert!(!applies(&mut agreement, 5), "one is left out");

        agreement.on_start(&peer);
        assert!(applies(&mut agreement, 3), "from its anchor");
        assert!(!applies(&mut agreement, 3), "twice in a life");
        agreement.on_start(&peer);
        assert!(!applies(&mut agreement, 5), "not even after a start");
        agreement.on_amnesia(&peer);
        assert!(applies(&mut agreement, 9), "from another's state");
        assert!(applies(&mut agreement, 10));
    }
}
