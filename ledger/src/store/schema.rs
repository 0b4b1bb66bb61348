//! The keys and values of the state columns.
//!
//! ```text
//! accounts  account id (20)                      → HoldingRecord
//! meta      'h'                                  → Head: where the state stands
//!           'p' shard (2, BE)                    → PeerRecord: inbox and outbox but for entries
//!           'o' shard (2, BE) sequence (8, BE)   → OutboxEntry not yet acknowledged
//!           's' window (8, BE)                   → outbox leaves of a seal not yet superseded
//!           'k' window (8, BE)                   → Seal, once its state root is known
//! receipts  height (8, BE)                       → BlockReceipts
//! index     transaction id (32)                  → (height, position) of its receipt
//!           transaction id (32) action (1)       → (height, position) of that credit's receipt
//! ```

use std::collections::VecDeque;

use lockstep_types::{
    Digest, EffectsDigest, Height, MerkleRoot, ShardId, TransactionId, WindowNumber,
};
use parity_scale_codec::{Decode, Encode};

use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::{Amounts, Subject, Supply};

/// Version of the state format.
pub(crate) const FORMAT: u8 = 1;

pub(crate) const HEAD: &[u8] = b"h";
pub(crate) const PEER: u8 = b'p';
pub(crate) const ENTRY: u8 = b'o';
pub(crate) const SEALED_OUTBOX: u8 = b's';
pub(crate) const SEAL: u8 = b'k';

/// Where the state stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Head {
    pub(crate) format: u8,
    pub(crate) height: Height,
    pub(crate) digest: EffectsDigest,
    /// The newest seal of ours that a record names.
    pub(crate) recorded: Option<WindowNumber>,
    pub(crate) supply: Vec<Supply>,
}

/// One peer's inbox and outbox, but for the entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PeerRecord {
    pub(crate) sent_count: u64,
    pub(crate) acknowledged: u64,
    /// The peaks of the outbox log at `acknowledged`.
    pub(crate) peaks: Vec<Digest>,
    pub(crate) sent: Amounts,
    pub(crate) consumed: u64,
    pub(crate) received: Amounts,
    pub(crate) certified: Vec<(WindowNumber, MerkleRoot)>,
}

impl PeerRecord {
    pub(crate) fn of(outbox: &Outbox, inbox: &Inbox) -> Self {
        PeerRecord {
            sent_count: outbox.count(),
            acknowledged: outbox.acknowledged(),
            peaks: outbox.log().peaks(outbox.acknowledged()),
            sent: outbox.sent.clone(),
            consumed: inbox.consumed,
            received: inbox.received.clone(),
            certified: inbox.certified.iter().copied().collect(),
        }
    }

    /// The outbox without its entries, and the inbox. `None` when the record contradicts itself.
    pub(crate) fn restore(self) -> Option<(Outbox, Inbox)> {
        if self.peaks.len() != self.acknowledged.count_ones() as usize {
            return None;
        }
        let outbox = Outbox::restore(self.acknowledged, &self.peaks, self.sent);
        let inbox = Inbox {
            consumed: self.consumed,
            received: self.received,
            certified: VecDeque::from(self.certified),
        };
        Some((outbox, inbox))
    }
}

pub(crate) fn peer_key(peer: ShardId) -> Vec<u8> {
    [&[PEER][..], &peer.get().to_be_bytes()].concat()
}

pub(crate) fn entry_key(destination: ShardId, sequence: u64) -> Vec<u8> {
    [
        &[ENTRY][..],
        &destination.get().to_be_bytes(),
        &sequence.to_be_bytes(),
    ]
    .concat()
}

pub(crate) fn window_key(prefix: u8, window: WindowNumber) -> Vec<u8> {
    [&[prefix][..], &window.get().to_be_bytes()].concat()
}

pub(crate) fn receipts_key(height: Height) -> Vec<u8> {
    height.get().to_be_bytes().to_vec()
}

pub(crate) fn transaction_key(id: &TransactionId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

pub(crate) fn credit_key(id: &TransactionId, action: u8) -> Vec<u8> {
    [&id.as_bytes()[..], &[action]].concat()
}

pub(crate) fn subject_key(subject: &Subject) -> Vec<u8> {
    match subject {
        Subject::Transaction(id) => transaction_key(id),
        Subject::Credit {
            transaction,
            action,
            ..
        } => credit_key(transaction, *action),
    }
}

/// A shard number and a window or sequence number back from a key.
pub(crate) fn shard_of(key: &[u8]) -> Option<ShardId> {
    let bytes = key.get(1..3)?.try_into().ok()?;
    Some(ShardId::new(u16::from_be_bytes(bytes)))
}

pub(crate) fn sequence_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(3..)?.try_into().ok()?))
}

pub(crate) fn window_of(key: &[u8]) -> Option<WindowNumber> {
    let bytes = key.get(1..)?.try_into().ok()?;
    Some(WindowNumber::new(u64::from_be_bytes(bytes)))
}
