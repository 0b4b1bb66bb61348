//! The token that says "it is on disk".

use parity_scale_codec::{Decode, Encode};

/// How far a replica's log reaches: the number of writes it has asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct LogPosition(u64);

impl LogPosition {
    /// Before the first write.
    pub const START: LogPosition = LogPosition(0);

    /// Wraps a plain number.
    pub(crate) const fn new(number: u64) -> Self {
        LogPosition(number)
    }

    /// The position after one more write.
    pub fn next(self) -> Self {
        LogPosition(self.0 + 1)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Everything a replica asked to be written up to `position` has been synced to disk.
///
/// Storage returns it after the sync; nothing else makes one. `Ready::release` takes it in
/// exchange for the messages that depend on those writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable {
    position: LogPosition,
}

impl Durable {
    /// Called by storage, after a successful sync of everything up to `position`.
    pub fn synced(position: LogPosition) -> Self {
        Durable { position }
    }

    /// Does the token cover a write at `position`?
    pub fn covers(self, position: LogPosition) -> bool {
        position <= self.position
    }

    /// How far the disk reaches.
    pub fn position(self) -> LogPosition {
        self.position
    }
}
