//! Conservation of value over all shards, told from barrier records alone. A beacon member asks
//! [`conserves`] before it votes for a record; who follows all records also compares what all shards
//! hold, and what is on its way between them, with what genesis gave.
//!
//! Breaks if: records are left out. A shard that is absent from one counts as it stood before.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_genesis::Genesis;
use lockstep_ledger::{Flow, Supply};
use lockstep_types::{AssetId, ShardId, WindowNumber};

use crate::{BarrierRecord, CertifiedCheckpoint, ShardEntry};

/// What the records so far say that all shards hold.
#[derive(Clone, Debug)]
pub struct Conservation {
    shards: usize,
    given: BTreeMap<AssetId, u128>,
    /// Of each shard, by the newest record in which it was present.
    newest: BTreeMap<ShardId, Vec<Supply>>,
}

/// Value has appeared or vanished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbalanced {
    /// Within one record.
    #[error("record {record} {reason}")]
    Record {
        /// Which.
        record: WindowNumber,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Over all shards, by the newest that each of them has certified.
    #[error("record {record}, asset {}: {sums:?}", asset.get())]
    Sums {
        /// The newest record.
        record: WindowNumber,
        /// Of which asset.
        asset: AssetId,
        /// What does not fit.
        sums: Box<Sums>,
    },
}

/// What all shards say of one asset; none where it has more than 128 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// What genesis gave.
    pub given: u128,
    /// What the shards started from.
    pub started: Option<u128>,
    /// What they hold.
    pub held: Option<u128>,
    /// What left them.
    pub sent: Option<u128>,
    /// What arrived.
    pub received: Option<u128>,
}

impl Conservation {
    /// Before the first record.
    pub fn new(genesis: &Genesis) -> Self {
        let mut given = BTreeMap::new();
        for (_, asset, amount) in genesis.allocations() {
            *given.entry(asset).or_insert(0) += amount;
        }
        Conservation {
            shards: usize::from(genesis.shard_count()),
            given,
            newest: BTreeMap::new(),
        }
    }

    /// The next record.
    ///
    /// # Errors
    /// [`Unbalanced`], when what it says cannot be.
    pub fn on_record(&mut self, record: &BarrierRecord) -> Result<(), Unbalanced> {
        let number = record.number;
        conserves(record).map_err(|reason| Unbalanced::Record {
            record: number,
            reason,
        })?;
        for certified in record.shards.iter().filter_map(ShardEntry::checkpoint) {
            let checkpoint = &certified.checkpoint;
            let supply = checkpoint.seal.supply.clone();
            self.newest.insert(checkpoint.shard, supply);
        }
        let known = self.newest.values().flatten().map(|supply| supply.asset);
        let assets: BTreeSet<AssetId> = known.chain(self.given.keys().copied()).collect();
        assets
            .into_iter()
            .try_for_each(|asset| self.check(number, asset))
    }

    /// Each shard's own equation holds, so the sum of them does. What is left: nothing arrived that
    /// did not leave, and all of them together started from what genesis gave.
    fn check(&self, record: WindowNumber, asset: AssetId) -> Result<(), Unbalanced> {
        let supplies = || {
            let all = self.newest.values().flatten();
            all.filter(move |supply| supply.asset == asset)
        };
        let sum = |term: fn(&Supply) -> Option<u128>| {
            supplies().try_fold(0u128, |sum, supply| sum.checked_add(term(supply)?))
        };
        let given = self.given.get(&asset).copied().unwrap_or(0);
        let started = sum(|supply| Some(supply.genesis));
        let (sent, received) = (sum(|s| Some(s.sent)), sum(|s| Some(s.received)));
        let is_all = self.newest.len() == self.shards;
        let starts = started.is_some_and(|sum| sum == given || (sum < given && !is_all));
        let flows = sent.zip(received).is_some_and(|(out, into)| into <= out);
        if starts && flows {
            return Ok(());
        }
        let sums = Sums {
            given,
            started,
            held: sum(|supply| supply.balances.checked_add(supply.escrow)),
            sent,
            received,
        };
        Err(Unbalanced::Sums {
            record,
            asset,
            sums: Box::new(sums),
        })
    }
}

/// The global equation: over all shards nothing was received that was not sent. Per pair the
/// source's recorded totals bound what the destination may have received.
pub(crate) fn conserves(record: &BarrierRecord) -> Result<(), &'static str> {
    let present: BTreeMap<ShardId, &CertifiedCheckpoint> = record
        .shards
        .iter()
        .filter_map(ShardEntry::checkpoint)
        .map(|certified| (certified.checkpoint.shard, certified))
        .collect();
    for supply in present.values().flat_map(|c| &c.checkpoint.seal.supply) {
        supply
            .check()
            .map_err(|_| "carries a checkpoint that does not conserve value")?;
    }
    for (shard, certified) in &present {
        for flow in &certified.checkpoint.seal.flows {
            let Some(peer) = present.get(&flow.peer) else {
                continue;
            };
            let back = peer.checkpoint.seal.flows.iter().find(|f| f.peer == *shard);
            if !is_covered(flow, back) {
                return Err("carries a checkpoint that received more than was sent");
            }
        }
    }
    Ok(())
}

/// Has the other side, as its own flow says, sent what was received by this one: as many entries,
/// and as much of each asset?
fn is_covered(received: &Flow, sent: Option<&Flow>) -> bool {
    let count = sent.map_or(0, |flow| flow.sent_count);
    let of = |asset| {
        let amounts = sent.map_or(&[][..], |flow| &flow.amounts);
        let amount = amounts.iter().find(|amount| amount.asset == asset);
        amount.map_or(0, |amount| amount.sent)
    };
    let mut amounts = received.amounts.iter();
    received.received_count <= count && amounts.all(|a| a.received <= of(a.asset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_genesis::DevelopmentSpec;
    use lockstep_types::generate::Random;

    /// A record by which each shard holds what is given here, and what it sent and received.
    fn record(shards: &[Option<Supply>]) -> BarrierRecord {
        let entry = |(shard, supply): (usize, &Option<Supply>)| {
            let Some(supply) = supply else {
                return ShardEntry::Absent;
            };
            let mut certified: CertifiedCheckpoint = Random::new(1).make();
            certified.checkpoint.shard = ShardId::new(u16::try_from(shard).unwrap());
            certified.checkpoint.seal.supply = vec![*supply];
            certified.checkpoint.seal.flows = Vec::new();
            ShardEntry::Certified(Box::new(certified))
        };
        let mut record: BarrierRecord = Random::new(2).make();
        record.shards = shards.iter().enumerate().map(entry).collect();
        record
    }

    fn supply(genesis: u128, sent: u128, received: u128) -> Supply {
        Supply {
            asset: AssetId::NATIVE,
            genesis,
            balances: genesis + received - sent,
            sent,
            received,
            ..Supply::default()
        }
    }

    #[test]
    fn what_all_shards_hold_is_what_genesis_gave() {
        let (genesis, _) = Genesis::development(&DevelopmentSpec::default()).unwrap();
        let given: u128 = genesis
            .allocations()
            .iter()
            .map(|(_, _, amount)| amount)
            .sum();
        let (here, there) = (given / 3, given - given / 3);
        let start = Conservation::new(&genesis);
        let follow = |records: &[[Option<Supply>; 2]]| {
            let mut all = start.clone();
            records
                .iter()
                .try_for_each(|shards| all.on_record(&record(shards)))
        };
        let first = [Some(supply(here, 5, 0)), None];
        assert_eq!(follow(&[first]), Ok(()), "the other has not reported");
        assert_eq!(follow(&[first, [None, Some(supply(there, 0, 5))]]), Ok(()));
        let more_received = [None, Some(supply(there, 0, 6))];
        assert!(follow(&[first, more_received]).is_err());
        for other in [there + 1, there - 1] {
            assert!(follow(&[[Some(supply(here, 0, 0)), Some(supply(other, 0, 0))]]).is_err());
        }
        let mut minted = supply(here, 0, 0);
        minted.balances += 1;
        assert!(follow(&[[Some(minted), None]]).is_err());
        let endless = Supply {
            sent: u128::MAX,
            genesis: u128::MAX,
            ..Supply::default()
        };
        assert!(follow(&[[Some(endless), Some(endless)]]).is_err());
    }
}
