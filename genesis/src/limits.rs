//! The limits every validator applies. They are part of genesis because a block that exceeds one
//! is invalid: two validators with different limits would not agree.

use crate::Fault;

/// Bounds on blocks, accounts and back-pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions in one batch.
    pub batch_transactions: u32,
    /// Bytes of one batch.
    pub batch_bytes: u32,
    /// Batches one block lists.
    pub block_batches: u32,
    /// Transactions in all batches of one block.
    pub block_transactions: u32,
    /// Bundles of credits one block lists.
    pub block_bundles: u32,
    /// Credits in one bundle.
    pub bundle_entries: u32,
    /// Units of the native asset an account must hold at least.
    pub minimum_balance: u128,
    /// Transactions of one account that are executed in one window.
    pub account_window_limit: u32,
    /// Entries from one shard to another that may be unacknowledged; beyond, transfers fail.
    pub pair_cap: u64,
    /// Transactions per second one shard orders, for measurements of the barrier's cost below
    /// capacity. None: as many as it can.
    pub pace: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            batch_transactions: 512,
            batch_bytes: 128 * 1024,
            block_batches: 32,
            block_transactions: 8_192,
            block_bundles: 64,
            bundle_entries: 512,
            minimum_balance: 1_000_000,
            account_window_limit: 1_024,
            pair_cap: 65_536,
            pace: None,
        }
    }
}

impl Limits {
    /// The names in files, in their order there, with the range each may have. The upper ends keep
    /// a batch within one network message and a block's payload within one proposal.
    pub(crate) const RANGES: [(&'static str, u128, u128); 9] = [
        ("batch_transactions", 1, 8_192),
        ("batch_bytes", 4_096, 1_048_576),
        ("block_batches", 1, 1_024),
        ("block_transactions", 1, 65_536),
        ("block_bundles", 1, 1_024),
        ("bundle_entries", 1, 4_096),
        ("minimum_balance", 1, 1_000_000_000_000_000_000),
        ("account_window_limit", 1, 1_000_000_000),
        ("pair_cap", 1, 1_000_000_000),
    ];
    /// The range of `pace`.
    pub(crate) const PACE_RANGE: (u128, u128) = (1, 10_000_000);

    fn values(&self) -> [u128; 9] {
        [
            self.batch_transactions.into(),
            self.batch_bytes.into(),
            self.block_batches.into(),
            self.block_transactions.into(),
            self.block_bundles.into(),
            self.bundle_entries.into(),
            self.minimum_balance,
            self.account_window_limit.into(),
            self.pair_cap.into(),
        ]
    }

    /// Name and value of each limit, in the order of the files.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u128)> {
        Self::RANGES
            .into_iter()
            .map(|(name, ..)| name)
            .zip(self.values())
    }

    /// What is out of range, by name.
    pub(crate) fn problems(&self) -> Vec<(&'static str, Fault)> {
        let mut problems: Vec<_> = Self::RANGES
            .into_iter()
            .zip(self.values())
            .filter_map(|((name, low, high), value)| {
                range_fault(value, low, high).map(|fault| (name, fault))
            })
            .collect();
        if let Some(pace) = self.pace {
            let (low, high) = Self::PACE_RANGE;
            problems.extend(range_fault(pace.into(), low, high).map(|fault| ("pace", fault)));
        }
        if self.batch_transactions > self.block_transactions {
            let fault = Fault::Exceeds {
                value: self.batch_transactions.to_string(),
                other: "limits.block_transactions",
                other_value: self.block_transactions.to_string(),
            };
            problems.push(("batch_transactions", fault));
        }
        problems
    }
}

pub(crate) fn range_fault(value: u128, low: u128, high: u128) -> Option<Fault> {
    (value < low || value > high).then(|| Fault::OutOfRange {
        value: value.to_string(),
        low: low.to_string(),
        high: high.to_string(),
    })
}
