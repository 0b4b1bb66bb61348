//! A member some of whose bytes are wrong: bits flipped, the end missing or one too many, two
//! messages run together, or nothing but noise.

use lockstep_shard::{Message, Peer};
use parity_scale_codec::Encode;

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct Garbage;

fn index(seat: &mut Seat<'_>, length: usize) -> usize {
    usize::try_from(seat.place.random.below(length as u64)).expect("a length")
}

fn spoil(seat: &mut Seat<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    match seat.choose(8) {
        0 => bytes.truncate(index(seat, bytes.len())),
        1 => bytes.push(0),
        2 => {
            let other = seat.memory.messages.front();
            let other = other.map_or_else(Vec::new, |(_, message)| message.encode());
            let at = index(seat, bytes.len());
            bytes.truncate(at);
            bytes.extend(other.into_iter().skip(at));
        }
        3 => {
            let length = index(seat, 200);
            bytes = (0..length)
                .map(|_| seat.place.random.below(256) as u8)
                .collect();
        }
        _ => {
            for _ in 0..1 + seat.place.random.below(4) {
                let at = index(seat, bytes.len());
                bytes[at] ^= 1 << seat.place.random.below(8);
            }
        }
    }
    bytes
}

impl Behaviour for Garbage {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        if seat.place.random.chance(150) {
            let bytes = spoil(seat, message.encode());
            seat.lie_in_bytes(to, bytes);
        }
        seat.say(to, message);
    }
}
