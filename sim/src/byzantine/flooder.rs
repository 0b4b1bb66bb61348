//! A member that asks without end: for blocks from the beginning, for the same batch sixty-four
//! times, for records, bundles and entries that it has; and once in a while for too much at a time.

use core::time::Duration;

use lockstep_consensus::{self as consensus, MAX_SERVED_PER_INTERVAL};
use lockstep_shard::{MAX_BATCHES_REQUESTED, Message, Request};
use lockstep_types::{BatchDigest, Height, ShardId, Time, WindowNumber, hash};

use super::{Behaviour, Seat};

/// How long it rests between two floods.
const REST: Duration = Duration::from_millis(700);

/// See the module.
#[derive(Default)]
pub(super) struct Flooder {
    rests_until: Time,
}

fn question(seat: &mut Seat<'_>) -> Request {
    let known = seat.memory.batches.front();
    let known = known.map_or(BatchDigest::new(hash("lockstep/none", &0u8)), |b| {
        b.digest()
    });
    match seat.choose(5) {
        0 => Request::Batches(vec![known; MAX_BATCHES_REQUESTED]),
        1 => Request::Batches(vec![known; MAX_BATCHES_REQUESTED + 1]),
        2 => Request::Record(WindowNumber::new(1)),
        3 => Request::Bundle(hash("lockstep/none", &1u8)),
        _ => Request::Entries {
            destination: ShardId::new(u16::try_from(seat.place.random.below(3)).expect("small")),
            from: 0,
        },
    }
}

impl Behaviour for Flooder {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if seat.place.now < self.rests_until {
            return;
        }
        self.rests_until = seat.place.now.after(REST);
        let (to, known) = (seat.somebody(), seat.memory.certificates.last_key_value());
        let Some((_, qc)) = known else { return };
        let from = Height::ZERO;
        let tip = qc.block;
        for _ in 0..MAX_SERVED_PER_INTERVAL + 8 {
            seat.lie_in_consensus(to, consensus::Message::BlockRequest { from, tip });
        }
        for _ in 0..8 {
            let question = Message::Request(question(seat));
            if let Some(to) = seat.somebody_in(|_| true) {
                seat.lie(to, question);
            }
        }
    }
}
