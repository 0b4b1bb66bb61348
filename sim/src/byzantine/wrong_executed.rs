//! A leader whose blocks say that execution came to something else, and which votes for them: a
//! digest nobody came to, or a height that is not the digest's, not reached yet or long gone.

use lockstep_consensus::Proposal;
use lockstep_shard::{Message, Peer};
use lockstep_types::{EffectsDigest, Executed, Height, hash};

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct WrongExecuted(Instead);

fn wrong(seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
    let mut header = own.block.header().clone();
    let Executed { height, digest } = header.executed;
    let invented = EffectsDigest::new(hash("lockstep/invented-effects", &header.view));
    header.executed = match seat.choose(5) {
        0 => Executed {
            height: height.next(),
            digest,
        },
        1 => Executed {
            height: height.plus(1_000),
            digest,
        },
        2 => Executed {
            height: Height::ZERO,
            digest: EffectsDigest::ZERO,
        },
        _ => Executed {
            height,
            digest: invented,
        },
    };
    let payload = own.block.payload().to_vec();
    let (justify, entered_by) = (own.justify.clone(), own.entered_by.clone());
    Some(seat.propose(header, payload, justify, entered_by))
}

impl Behaviour for WrongExecuted {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        self.0.send(seat, to, message, wrong);
    }
}
