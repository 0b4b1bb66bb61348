//! A member that says again what it has heard or said some time ago, to anybody for whom it could be
//! meant: old votes, proposals, batches, bundles, checkpoints, records, questions.

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct Replayer;

impl Behaviour for Replayer {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(150) || seat.memory.messages.is_empty() {
            return;
        }
        let at = seat.choose(seat.memory.messages.len() as u64);
        let (committee, message) = seat.memory.messages[at].clone();
        if let Some(to) = seat.somebody_in(|id| id == committee) {
            seat.lie(to, message);
        }
    }
}
