//! A shard member whose bundles are not what the shard has sent: with a larger amount, an entry
//! twice or missing, other sequence numbers, another window, a spoilt proof; and true ones that
//! begin elsewhere than anybody needs.

use std::sync::Arc;

use lockstep_ledger::Bundle;
use lockstep_shard::{Message, Peer};
use parity_scale_codec::{DecodeAll, Encode};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct OutboxForger;

fn forged(seat: &mut Seat<'_>, bundle: &Bundle) -> Option<Bundle> {
    let mut forged = bundle.clone();
    match seat.choose(9) {
        0 => {
            let entry = forged.entries.first_mut()?;
            entry.amount = entry.amount.saturating_mul(1_000);
        }
        1 => {
            let entry = *forged.entries.first()?;
            forged.entries.push(entry);
        }
        2 => drop(forged.entries.pop()?),
        3 => forged.from += 1,
        4 => forged.window = forged.window.next(),
        5 => forged.proof.count += 1,
        6 => forged.entries = vec![*forged.entries.first()?; 5_000],
        7 => {
            let mut bytes = bundle.proof.encode();
            let at = seat.choose(bytes.len() as u64);
            bytes[at] ^= 1;
            forged.proof = DecodeAll::decode_all(&mut &bytes[..]).ok()?;
        }
        _ => {
            let from = bundle.from + seat.place.random.below(bundle.entries.len() as u64 + 1);
            forged = seat.place.executor?.entries(bundle.destination, from)?;
        }
    }
    Some(forged)
}

impl Behaviour for OutboxForger {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        if let Message::Bundle(bundle) = &message
            && seat.place.random.chance(700)
            && let Some(forged) = forged(seat, bundle)
        {
            return seat.lie(to, Message::Bundle(Arc::new(forged)));
        }
        seat.say(to, message);
    }
}
