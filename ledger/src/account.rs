//! What one account holds: its next nonce and its balances.

use lockstep_types::{AssetId, WindowNumber};
use parity_scale_codec::{Decode, Encode};
use std::sync::Arc;

use crate::Amounts;

/// The part of an account that the state root commits to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// The nonce of its next transaction: how many it has executed.
    #[codec(compact)]
    pub nonce: u64,
    /// What it holds.
    pub balances: Amounts,
}

impl Account {
    /// What it holds of the native asset.
    pub fn native(&self) -> u128 {
        self.balances.get(AssetId::NATIVE)
    }
}

/// An account and what execution remembers about it besides. The account itself is shared with the
/// trie until it is next written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holding {
    pub(crate) account: Arc<Account>,
    /// The window `executed` counts in.
    pub(crate) window: WindowNumber,
    /// Transactions of this account executed in `window`.
    pub(crate) executed: u32,
}

/// A [`Holding`] on disk.
#[derive(Encode, Decode)]
pub(crate) struct HoldingRecord {
    account: Account,
    window: WindowNumber,
    #[codec(compact)]
    executed: u32,
}

impl Holding {
    pub(crate) fn new(account: Account) -> Self {
        Holding {
            account: Arc::new(account),
            ..Holding::default()
        }
    }

    /// How many transactions it has executed in `window`.
    pub(crate) fn executed_in(&self, window: WindowNumber) -> u32 {
        if self.window == window {
            self.executed
        } else {
            0
        }
    }

    /// The bytes on disk, which are also what the effects digest covers, when `window` is open. A
    /// count of an earlier window means nothing any more and is left out, so that a replica that
    /// has its accounts from a snapshot comes to the same bytes.
    pub(crate) fn record(&self, window: WindowNumber) -> Vec<u8> {
        let executed = self.executed_in(window);
        let counted = if executed == 0 {
            WindowNumber::ZERO
        } else {
            window
        };
        (
            &*self.account,
            counted,
            parity_scale_codec::Compact(executed),
        )
            .encode()
    }
}

impl From<HoldingRecord> for Holding {
    fn from(record: HoldingRecord) -> Self {
        Holding {
            account: Arc::new(record.account),
            window: record.window,
            executed: record.executed,
        }
    }
}
