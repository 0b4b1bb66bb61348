//! Conservation of value. Per asset, at every block:
//!
//! ```text
//! balances + escrow = genesis share + issued − burned + received − sent
//! ```
//!
//! `balances` follows every write to an account, `sent` and `received` follow the outbox and the
//! inbox; they are kept apart so that the equation can fail. A replica whose equation fails stops.

use lockstep_types::{AssetId, MerkleRoot, ShardId, WindowNumber};
use parity_scale_codec::{Decode, Encode};

/// The terms of the equation for one asset of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Supply {
    /// The asset.
    #[codec(compact)]
    pub asset: AssetId,
    /// What genesis gave to accounts of this shard.
    #[codec(compact)]
    pub genesis: u128,
    /// What its accounts hold now.
    #[codec(compact)]
    pub balances: u128,
    /// What is reserved for atomic transactions.
    #[codec(compact)]
    pub escrow: u128,
    /// What was issued here since genesis.
    #[codec(compact)]
    pub issued: u128,
    /// What was burned here since genesis.
    #[codec(compact)]
    pub burned: u128,
    /// What left for other shards since genesis.
    #[codec(compact)]
    pub sent: u128,
    /// What arrived from other shards since genesis.
    #[codec(compact)]
    pub received: u128,
}

impl Supply {
    /// Does the equation hold?
    ///
    /// # Errors
    /// [`Broken`], with both of its sides.
    pub fn check(&self) -> Result<(), Broken> {
        let out = [self.escrow, self.burned, self.sent];
        let into = [self.issued, self.received];
        let add = |start: u128, terms: &[u128]| {
            terms
                .iter()
                .try_fold(start, |sum, term| sum.checked_add(*term))
        };
        let (have, should) = (add(self.balances, &out), add(self.genesis, &into));
        if have.is_some() && have == should {
            Ok(())
        } else {
            Err(Broken::Conservation {
                asset: self.asset,
                have,
                should,
            })
        }
    }
}

/// Traffic with one other shard in one asset, since genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FlowAmount {
    /// The asset.
    #[codec(compact)]
    pub asset: AssetId,
    /// How much went there.
    #[codec(compact)]
    pub sent: u128,
    /// How much came from there.
    #[codec(compact)]
    pub received: u128,
}

/// Traffic with one other shard, since genesis.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Flow {
    /// The other shard.
    pub peer: ShardId,
    /// Entries sent to it.
    #[codec(compact)]
    pub sent_count: u64,
    /// Entries of its outbox credited here. This acknowledges them.
    #[codec(compact)]
    pub received_count: u64,
    /// The amounts, ascending by asset.
    pub amounts: Vec<FlowAmount>,
}

/// An invariant that does not hold. The replica that sees one stops: it is wrong about the past,
/// or its committee was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Value has appeared or vanished.
    #[error("asset {} is not conserved: {have:?} held, sent or burned, {should:?} given, issued or received", asset.get())]
    Conservation {
        /// Of which asset.
        asset: AssetId,
        /// The left side of the equation, moved terms included; `None` beyond 128 bits.
        have: Option<u128>,
        /// The right side.
        should: Option<u128>,
    },
    /// A credit does not fit. Only value that never existed can cause this.
    #[error("a credit from {source_shard} does not fit into 128 bits")]
    Credit {
        /// Where it came from.
        source_shard: ShardId,
    },
    /// A record holds another outbox root for a seal of ours than we computed.
    #[error("the record of window {window} has our outbox root as {recorded}, computed {computed}")]
    Diverged {
        /// The window.
        window: WindowNumber,
        /// What the record says.
        recorded: MerkleRoot,
        /// What we say.
        computed: MerkleRoot,
    },
    /// A total that is kept along the way differs from a fresh count.
    #[error("{what}: {kept} kept, {counted} counted")]
    Recount {
        /// Which total.
        what: &'static str,
        /// As kept.
        kept: u128,
        /// As counted.
        counted: u128,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_counts() {
        let good = Supply {
            asset: AssetId::NATIVE,
            genesis: 100,
            balances: 60,
            escrow: 10,
            issued: 7,
            burned: 2,
            sent: 40,
            received: 5,
        };
        assert_eq!(good.check(), Ok(()));
        let wrong = [
            Supply {
                genesis: 101,
                ..good
            },
            Supply {
                balances: 61,
                ..good
            },
            Supply { escrow: 11, ..good },
            Supply { issued: 8, ..good },
            Supply { burned: 3, ..good },
            Supply { sent: 41, ..good },
            Supply {
                received: 6,
                ..good
            },
        ];
        for supply in wrong {
            assert!(supply.check().is_err(), "{supply:?}");
        }
    }

    #[test]
    fn sums_beyond_the_range_are_broken_not_wrapped() {
        let both = Supply {
            balances: u128::MAX,
            sent: 1,
            genesis: u128::MAX,
            received: 1,
            ..Supply::default()
        };
        assert!(both.check().is_err());
    }
}
