//! Receipts: what became of one transaction, or of one credit from another shard. A receipt is
//! final: its block's receipts root is part of the effects digest that later headers carry.

use lockstep_types::{ShardId, TransactionId};
use parity_scale_codec::{Decode, Encode, MaxEncodedLen};

use crate::merkle::RootKind;

/// The kind of list that the receipts root is over.
pub const RECEIPTS: RootKind = RootKind::new("lockstep/receipts", "lockstep/receipt");

/// What a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen)]
pub enum Subject {
    /// A transaction of an account of this shard.
    #[codec(index = 0)]
    Transaction(TransactionId),
    /// The arrival of value from another shard.
    #[codec(index = 1)]
    Credit {
        /// The shard it came from.
        source: ShardId,
        /// Its number in that shard's outbox to this one.
        #[codec(compact)]
        sequence: u64,
        /// The transaction that sent it.
        transaction: TransactionId,
        /// Which of that transaction's actions.
        action: u8,
    },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen)]
pub enum ReceiptResult {
    /// Everything it asked for has happened.
    #[codec(index = 0)]
    Applied,
    /// Nothing has happened, but the nonce is used up.
    #[codec(index = 1)]
    Failed(Failure),
}

/// Why an executed transaction had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen, thiserror::Error)]
pub enum Failure {
    /// The sender holds less than an action gives away.
    #[codec(index = 0)]
    #[error("the balance does not cover action {action}")]
    Insufficient {
        /// Which action.
        action: u8,
    },
    /// It would have left or created an account that holds less than the minimum. Across shards
    /// the amount itself must reach the minimum: the source cannot see the receiver's balance, and
    /// a credit cannot fail.
    #[codec(index = 1)]
    #[error("it would leave or create an account below the minimum balance")]
    BelowMinimum,
    /// Too much is on its way to that shard already.
    #[codec(index = 2)]
    #[error("{destination} is busy: too many transfers to it wait to be credited")]
    Busy {
        /// Where it should have gone.
        destination: ShardId,
    },
    /// A sum would not fit into 128 bits.
    #[codec(index = 3)]
    #[error("a sum would exceed 128 bits")]
    Overflow,
    /// The sender has executed as many transactions in this window as genesis allows.
    #[codec(index = 4)]
    #[error("the sender has used up this window's transactions")]
    WindowLimit,
    /// Execution broke off. The same on every replica, and a defect of this program.
    #[codec(index = 5)]
    #[error("execution broke off")]
    Internal,
}

/// The result of one transaction or credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen)]
pub struct Receipt {
    /// What it is about.
    pub subject: Subject,
    /// How it ended.
    pub result: ReceiptResult,
}

impl Receipt {
    /// The transaction that caused it, here or in another shard.
    pub fn transaction(&self) -> TransactionId {
        match self.subject {
            Subject::Transaction(transaction) | Subject::Credit { transaction, .. } => transaction,
        }
    }
}
