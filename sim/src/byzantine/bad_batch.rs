//! A shard member that packs batches as nobody should: for windows that are over or far ahead, two
//! under one sequence number, without transactions, with too many, with one that nobody signed, with
//! what others have packed before; and more of them than anybody can list.

use core::time::Duration;
use std::sync::Arc;

use lockstep_shard::{Batch, MAX_WAITING_PER_AUTHOR, MAX_WINDOWS_AHEAD, Message};
use lockstep_types::{Signature, Time, WindowNumber};

use super::{Behaviour, Seat};

/// How long it rests between two batches.
const REST: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Default)]
pub(super) struct BadBatch {
    rests_until: Time,
    has_flooded: bool,
}

fn bad(seat: &mut Seat<'_>) -> Option<Batch> {
    let known = seat.memory.batches.back()?;
    let (window, mut transactions) = (known.header.window, known.transactions.clone());
    let sequence = seat.place.now.micros();
    match seat.choose(7) {
        0 => return Some(seat.batch(WindowNumber::ZERO, sequence, transactions)),
        1 => {
            let window = window.plus(MAX_WINDOWS_AHEAD + 10);
            return Some(seat.batch(window, sequence, transactions));
        }
        // Under the same number every time.
        2 => {
            let first = seat.memory.batches.front()?.transactions.clone();
            transactions.extend(first);
            return Some(seat.batch(window, 1, transactions));
        }
        3 => transactions.clear(),
        4 => {
            let one = transactions.first()?.clone();
            let most = seat.place.genesis.limits.batch_transactions as usize;
            transactions = vec![one; most + 1];
        }
        5 => transactions.first_mut()?.signature = Signature::new([9; 64]),
        _ => {}
    }
    Some(seat.batch(window, sequence, transactions))
}

impl Behaviour for BadBatch {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if seat.place.now < self.rests_until {
            return;
        }
        self.rests_until = seat.place.now.after(REST);
        let Some(batch) = bad(seat) else { return };
        let message = Message::Batch(Arc::new(batch));
        for to in seat.others() {
            seat.lie(to, message.clone());
        }
        if !self.has_flooded && seat.place.random.chance(50) {
            self.has_flooded = true;
            self.flood(seat);
        }
    }
}

impl BadBatch {
    /// More than one author may have waiting, to one member.
    fn flood(&self, seat: &mut Seat<'_>) {
        let Some(known) = seat.memory.batches.back() else {
            return;
        };
        let (window, transaction) = (known.header.window, known.transactions[0].clone());
        let to = seat.somebody();
        let more = 2 * MAX_WAITING_PER_AUTHOR as u64;
        for number in 0..more {
            let batch = seat.batch(window, 10 + number, vec![transaction.clone()]);
            seat.lie(to, Message::Batch(Arc::new(batch)));
        }
    }
}
