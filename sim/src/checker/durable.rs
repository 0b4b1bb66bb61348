//! Durability (I11): what a client was told is final is found at the same height, with the same
//! digest, at every member, whatever crashed in between.

use std::collections::BTreeMap;

use lockstep_ledger::{History, Store, Subject};
use lockstep_shard::{Archive, ExecutedBlock, Peer};
use lockstep_types::{EffectsDigest, Height, ShardId, TransactionId};

use super::Broken;

/// What clients were told.
#[derive(Debug, Default)]
pub struct Durability {
    told: BTreeMap<(ShardId, TransactionId), (Height, EffectsDigest)>,
}

impl Durability {
    /// Transactions that some client was told are final.
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// A correct member has executed a block, and answers those who wait for it.
    /// The highest height of which a client of a member's shard was told.
    pub fn height(&self, peer: &Peer) -> Height {
        let shard = peer.committee.shard();
        let of = self.told.iter().filter(|((of, _), _)| Some(*of) == shard);
        let heights = of.map(|(_, (height, _))| *height);
        heights.max().unwrap_or_default()
    }

    pub(super) fn on_told(&mut self, peer: &Peer, block: &ExecutedBlock) -> Result<(), Broken> {
        let shard = peer.committee.shard().expect("shards execute");
        let told = (block.height, block.digest);
        for receipt in block.receipts.iter() {
            let Subject::Transaction(id) = receipt.subject else {
                continue;
            };
            let before = *self.told.entry((shard, id)).or_insert(told);
            if before != told {
                let detail = format!("{id:?} of {shard} is final at {before:?} and at {told:?}");
                return Err(lost(detail));
            }
        }
        Ok(())
    }

    /// Looks for all of it in the store of a member that has executed everything.
    ///
    /// # Errors
    /// What is not there.
    pub fn check(&self, peer: &Peer, store: &dyn Store) -> Result<(), Broken> {
        let shard = peer.committee.shard().expect("shards execute");
        let history = History::new(store);
        let after = Archive::new(store).history_after();
        let after = after.map_err(|fatal| lost(fatal.to_string()))?;
        // Nobody asks a member for what was executed before the state that it fetched.
        let here = |told: &Height| *told > after;
        let of_shard = self.told.iter().filter(|((of, _), _)| *of == shard);
        for ((_, id), (height, digest)) in of_shard.filter(|(_, (height, _))| here(height)) {
            let found = history.find(id).ok().flatten().map(|(height, _)| height);
            let block = history.block(*height).ok().flatten();
            let stored = block.map(|block| block.digest());
            if found != Some(*height) || stored != Some(*digest) {
                let detail = format!("{id:?} was final at {height}; {peer:?} has it at {found:?}");
                return Err(lost(detail));
            }
        }
        Ok(())
    }
}

fn lost(detail: String) -> Broken {
    Broken::new("what was final is there", detail)
}
