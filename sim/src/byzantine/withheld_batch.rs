//! A leader that lists a batch of its own which it gives to nobody, or to f + 1 members only. Who
//! lacks it must not vote, and must get it from those who have it once it is certified.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_consensus::Proposal;
use lockstep_shard::{BatchRef, Message, Payload, Peer, Request};
use lockstep_types::BatchDigest;

use super::instead::Instead;
use super::{Behaviour, Seat};
use crate::Random;

/// See the module.
pub(super) struct WithheldBatch {
    instead: Instead,
    /// Does it give them to f + 1?
    gives_to_some: bool,
    withheld: BTreeSet<BatchDigest>,
}

impl WithheldBatch {
    pub(super) fn new(random: &mut Random) -> Self {
        WithheldBatch {
            instead: Instead::default(),
            gives_to_some: random.chance(500),
            withheld: BTreeSet::new(),
        }
    }
}

/// Its own block, with a batch more: transactions that another member's batch held.
fn listing(
    seat: &mut Seat<'_>,
    own: &Proposal,
    gives_to_some: bool,
    withheld: &mut BTreeSet<BatchDigest>,
) -> Option<Proposal> {
    let mut payload = Payload::from_bytes(own.block.payload()).ok()?;
    let of = seat.memory.batches.back()?.clone();
    let batch = Arc::new(seat.batch(
        of.header.window,
        seat.place.now.micros(),
        of.transactions.clone(),
    ));
    withheld.insert(batch.digest());
    payload.batches.push(BatchRef {
        digest: batch.digest(),
        transactions: u32::try_from(batch.transactions.len()).expect("a batch is small"),
    });
    if gives_to_some {
        for to in seat.others().into_iter().take(seat.faulty() + 1) {
            seat.say(to, Message::Batch(batch.clone()));
        }
    }
    let header = own.block.header().clone();
    let (justify, entered_by) = (own.justify.clone(), own.entered_by.clone());
    Some(seat.propose(header, payload.to_bytes(), justify, entered_by))
}

impl Behaviour for WithheldBatch {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let (some, withheld) = (self.gives_to_some, &mut self.withheld);
        self.instead.send(seat, to, message, |seat, own| {
            listing(seat, own, some, withheld)
        });
    }

    fn hear(&mut self, seat: &mut Seat<'_>, _from: Peer, message: &Message) {
        if let Message::Request(Request::Batches(digests)) = message
            && digests.iter().any(|digest| self.withheld.contains(digest))
        {
            seat.saw("asks for a withheld batch");
        }
    }
}
