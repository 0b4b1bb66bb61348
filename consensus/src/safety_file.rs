//! The safety record on disk: two slots of fixed place in one preallocated file, written in turn.
//!
//! A slot is magic, a counter that rises with every write, a length, the encoded record and a
//! checksum over all of it. A write goes to the slot that does not hold the newest record, and only
//! after the previous write *and the log up to where that record vouches for* are synced. So a
//! crash can tear one slot at most, and then the other holds the facts of everything released:
//!
//! ```text
//!   file:   | slot 0, SLOT_BYTES        | slot 1, SLOT_BYTES        |
//!   writes:   1, 3, 5, ...                2, 4, 6, ...
//! ```
//!
//! This is the pure part, shared by node and simulator: bytes in, bytes out. Opening, writing and
//! syncing the file is the host's.
//!
//! Breaks if: the host writes a slot before the previous one and its log end are synced, or goes on
//! after a write or sync that failed.

use lockstep_types::{Digest, Hasher, codec};
use parity_scale_codec::Encode;

use crate::{LogEnd, SafetyRecord};

/// Room for one record. The largest, of a committee of 64 with a timeout that carries three
/// certificates, takes some 27 KiB.
pub const SLOT_BYTES: usize = 32 * 1024;

/// The two slots.
pub const FILE_BYTES: usize = 2 * SLOT_BYTES;

const MAGIC: [u8; 8] = *b"lockrec1";
const HEADER_BYTES: usize = MAGIC.len() + 8 + 4;
const CHECKSUM_BYTES: usize = 32;

/// What one slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It was never written: all zeros.
    Empty,
    /// A whole record.
    Good(Box<Stored>),
    /// Neither: a write was cut off, or the disk lost something.
    Torn,
}

/// A record and its place in the order of writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// 1 for the first write, and one more with each.
    pub counter: u64,
    /// The record.
    pub record: SafetyRecord,
}

impl Stored {
    /// Where in the file the record with this counter goes.
    pub fn offset(counter: u64) -> usize {
        assert!(counter > 0, "counters start at 1");
        if counter % 2 == 1 { 0 } else { SLOT_BYTES }
    }

    /// The bytes to write at [`Stored::offset`]. They are as long as the record needs, not as the
    /// slot is: the length is inside, and what follows is left over from an earlier record.
    pub fn encode(&self) -> Vec<u8> {
        let record = self.record.encode();
        let length = u32::try_from(record.len()).expect("records are some kilobytes");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + record.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.counter.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&record);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        assert!(bytes.len() <= SLOT_BYTES, "a record of 64 members fits");
        bytes
    }
}

fn checksum(bytes: &[u8]) -> Digest {
    Hasher::new("lockstep/safety-slot").bytes(bytes).finish()
}

impl Slot {
    /// Reads a slot.
    pub fn decode(bytes: &[u8]) -> Slot {
        if bytes.iter().all(|byte| *byte == 0) {
            return Slot::Empty;
        }
        decode_stored(bytes).map_or(Slot::Torn, |stored| Slot::Good(Box::new(stored)))
    }

    fn good(self) -> Option<Stored> {
        match self {
            Slot::Good(stored) => Some(*stored),
            Slot::Empty | Slot::Torn => None,
        }
    }
}

fn decode_stored(bytes: &[u8]) -> Option<Stored> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let (magic, numbers) = header.split_at_checked(MAGIC.len())?;
    let (counter, length) = numbers.split_at_checked(8)?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    let sum = rest.get(..CHECKSUM_BYTES)?;
    let whole = bytes.get(..HEADER_BYTES + length)?;
    if magic != MAGIC || checksum(whole).as_bytes() != sum {
        return None;
    }
    Some(Stored {
        counter: u64::from_le_bytes(counter.try_into().ok()?),
        record: codec::decode_own(record).ok()?,
    })
}

/// Why a replica must not start as if nothing had happened: it may have forgotten statements. The
/// only way on is to recover from the other members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wiped {
    /// A crash tears one slot at most.
    #[error("both slots of the safety file are damaged")]
    BothTorn,
    /// Two whole slots are always one write apart.
    #[error(
        "the slots of the safety file are of writes {0} and {1}, which do not follow each other"
    )]
    NotConsecutive(u64, u64),
    /// A record whose statements may have been released vouches for blocks the log lacks.
    #[error("the log ends before height {}, to which the safety record vouches for it", .0.height)]
    LogLost(LogEnd),
}

/// What the safety file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest whole record.
    pub newest: Stored,
    /// The one before it, when its slot is whole.
    pub older: Option<Stored>,
    /// The other slot is torn, so a later write than `newest` had begun.
    pub later_torn: bool,
}

/// Reads both slots. `None`: nothing was ever released.
///
/// # Errors
/// When the slots are not what crashes alone can leave behind.
pub fn choose(first: &[u8], second: &[u8]) -> Result<Option<Found>, Wiped> {
    match (Slot::decode(first), Slot::decode(second)) {
        // A torn slot beside an empty one is the very first write, whose statements never left.
        (Slot::Empty, Slot::Empty | Slot::Torn) | (Slot::Torn, Slot::Empty) => Ok(None),
        (Slot::Torn, Slot::Torn) => Err(Wiped::BothTorn),
        (Slot::Good(a), Slot::Good(b)) => {
            let (a, b) = (*a, *b);
            let (older, newest) = if a.counter < b.counter {
                (a, b)
            } else {
                (b, a)
            };
            if older.counter.checked_add(1) != Some(newest.counter) {
                return Err(Wiped::NotConsecutive(older.counter, newest.counter));
            }
            let newest = if lockstep_types::planted!(OlderSlot) {
                older.clone()
            } else {
                newest
            };
            Ok(Some(Found {
                newest,
                older: Some(older),
                later_torn: false,
            }))
        }
        (a, b) => {
            let later_torn = a == Slot::Torn || b == Slot::Torn;
            let newest = a.good().or(b.good()).expect("one of them is whole");
            Ok(Some(Found {
                newest,
                older: None,
                later_torn,
            }))
        }
    }
}

/// How to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The facts to go on with; `None` for a replica that never released anything.
    pub record: Option<SafetyRecord>,
    /// The counter of the next write.
    pub next_counter: u64,
    /// The log ends before the record's log end. Nothing was released under that record, so its
    /// facts are kept and the blocks will be fetched. The next record must vouch for no more than
    /// the log has.
    pub log_behind: bool,
}

/// The start rule (R9): may this replica go on with what its safety file and log hold?
///
/// `in_log` says whether the block a record vouches for is in the log.
///
/// # Errors
/// When statements may have been forgotten: the replica counts as wiped.
pub fn start(
    first: &[u8],
    second: &[u8],
    in_log: impl Fn(&LogEnd) -> bool,
) -> Result<Start, Wiped> {
    let Some(found) = choose(first, second)? else {
        return Ok(Start {
            record: None,
            next_counter: 1,
            log_behind: false,
        });
    };
    let end = found.newest.record.log_end;
    let log_behind = !in_log(&end);
    // A later write had begun, so this one and its log end were synced before.
    if log_behind && found.later_torn {
        return Err(Wiped::LogLost(end));
    }
    if let Some(older) = &found.older
        && !in_log(&older.record.log_end)
    {
        return Err(Wiped::LogLost(older.record.log_end));
    }
    // The next write goes to the other slot, over the torn one if there is one. But a record whose
    // log end was lost must not stay behind as the older one, or the next start would miss that end
    // again: nothing was released under it, so it is written over.
    Ok(Start {
        next_counter: found.newest.counter + u64::from(!log_behind),
        record: Some(found.newest.record),
        log_behind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{
        BlockId, Epoch, Height, LogPosition, MemberIndex, QuorumCertificate, Signature, Signers,
        Timeout, TimeoutCertificate, View, Vote,
    };

    fn stored(counter: u64, height: u64) -> Stored {
        let root = QuorumCertificate::root(Epoch::ZERO, BlockId::ZERO);
        let log_end = LogEnd {
            position: LogPosition::START,
            height: Height::new(height),
            block: BlockId::ZERO,
        };
        Stored {
            counter,
            record: SafetyRecord::fresh(Epoch::ZERO, root, log_end),
        }
    }

    fn slot(stored: &Stored) -> Vec<u8> {
        let mut bytes = stored.encode();
        bytes.resize(SLOT_BYTES, 0xaa); // left over from a longer record
        bytes
    }

    fn empty() -> Vec<u8> {
        vec![0; SLOT_BYTES]
    }

    fn torn(stored: &Stored) -> Vec<u8> {
        let mut bytes = slot(stored);
        bytes[HEADER_BYTES + 3] ^= 1;
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let one = stored(1, 7);
        assert_eq!(Slot::decode(&slot(&one)), Slot::Good(Box::new(one.clone())));
        assert_eq!(Slot::decode(&empty()), Slot::Empty);
        assert_eq!(Slot::decode(&[]), Slot::Empty);
        let whole = one.encode();
        for length in 1..whole.len() {
            assert_eq!(
                Slot::decode(&whole[..length]),
                Slot::Torn,
                "cut at {length}"
            );
        }
        for position in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x10;
            assert_eq!(Slot::decode(&bytes), Slot::Torn, "flipped at {position}");
        }
    }

    #[test]
    fn the_largest_record_fits() {
        let signers: Signers = (0..64).map(MemberIndex::new).collect();
        let signatures = vec![Signature::new([1; 64]); 64];
        let qc = QuorumCertificate {
            epoch: Epoch::ZERO,
            view: View::new(5),
            block: BlockId::ZERO,
            signers,
            signatures: signatures.clone(),
        };
        let tc = TimeoutCertificate {
            epoch: Epoch::ZERO,
            view: View::new(6),
            signers,
            high_qc_views: vec![View::new(5); 64],
            signatures,
            high_qc: qc.clone(),
        };
        let mut largest = stored(u64::MAX - 1, u64::MAX);
        largest.record.last_voted = Some(Vote {
            epoch: Epoch::ZERO,
            view: View::new(5),
            block: BlockId::ZERO,
            author: MemberIndex::new(0),
            signature: Signature::new([1; 64]),
        });
        largest.record.last_timed_out = Some(Timeout {
            epoch: Epoch::ZERO,
            view: View::new(7),
            author: MemberIndex::new(0),
            signature: Signature::new([1; 64]),
            high_qc: qc.clone(),
            entered_by: Some(tc.clone()),
        });
        largest.record.high_qc = qc;
        largest.record.high_tc = Some(tc);
        let bytes = largest.encode();
        assert!(bytes.len() > SLOT_BYTES / 2 && bytes.len() <= SLOT_BYTES);
        assert_eq!(Slot::decode(&bytes), Slot::Good(Box::new(largest)));
    }

    #[test]
    fn the_newest_whole_record_is_chosen() {
        let (one, two, three, five) = (stored(1, 1), stored(2, 2), stored(3, 3), stored(5, 5));
        assert_eq!(choose(&empty(), &empty()), Ok(None));
        assert_eq!(choose(&torn(&one), &empty()), Ok(None));
        assert_eq!(choose(&torn(&one), &torn(&two)), Err(Wiped::BothTorn));
        assert_eq!(
            choose(&slot(&five), &slot(&two)),
            Err(Wiped::NotConsecutive(2, 5))
        );
        let found = choose(&slot(&three), &slot(&two)).unwrap().unwrap();
        assert_eq!((found.newest.counter, found.older), (3, Some(two.clone())));
        let found = choose(&torn(&three), &slot(&two)).unwrap().unwrap();
        assert_eq!((found.newest, found.later_torn), (two, true));
        let found = choose(&slot(&one), &empty()).unwrap().unwrap();
        assert_eq!((found.newest, found.later_torn), (one, false));
    }

    #[test]
    fn a_log_that_misses_only_the_newest_end_keeps_the_facts() {
        let (two, three) = (stored(2, 20), stored(3, 30));
        let log_to = |height: u64| move |end: &LogEnd| end.height <= Height::new(height);
        let whole = start(&slot(&three), &slot(&two), log_to(30)).unwrap();
        assert_eq!((whole.next_counter, whole.log_behind), (4, false));
        let behind = start(&slot(&three), &slot(&two), log_to(20)).unwrap();
        assert!(behind.log_behind);
        assert_eq!(
            behind.next_counter, 3,
            "in the place of the one whose end is lost"
        );
        assert_eq!(behind.record, Some(three.record.clone()));
        assert_eq!(
            start(&slot(&three), &slot(&two), log_to(19)),
            Err(Wiped::LogLost(two.record.log_end))
        );
    }

    #[test]
    fn a_lost_end_is_lost_once_and_not_at_every_start() {
        let (two, three) = (stored(2, 20), stored(3, 30));
        let log_to_20 = |end: &LogEnd| end.height <= Height::new(20);
        let behind = start(&slot(&three), &slot(&two), log_to_20).unwrap();
        // What is written next vouches for what the log has.
        let again = stored(behind.next_counter, 20);
        let started = start(&slot(&again), &slot(&two), log_to_20).unwrap();
        assert_eq!((started.next_counter, started.log_behind), (4, false));
        // A crash in the middle of that write leaves the record under which something was said.
        let started = start(&torn(&again), &slot(&two), log_to_20).unwrap();
        assert_eq!(started.record, Some(two.record));
    }

    #[test]
    fn a_torn_write_shows_that_the_one_before_was_released() {
        let (two, three) = (stored(2, 20), stored(3, 30));
        let log_to = |height: u64| move |end: &LogEnd| end.height <= Height::new(height);
        let start_20 = start(&torn(&three), &slot(&two), log_to(20)).unwrap();
        assert_eq!(start_20.next_counter, 3, "the torn slot is written again");
        assert_eq!(Stored::offset(3), 0);
        assert_eq!(
            start(&torn(&three), &slot(&two), log_to(19)),
            Err(Wiped::LogLost(two.record.log_end))
        );
    }

    #[test]
    fn writes_take_turns() {
        assert_eq!(Stored::offset(1), 0);
        assert_eq!(Stored::offset(2), SLOT_BYTES);
        assert_eq!(Stored::offset(3), 0);
    }
}
