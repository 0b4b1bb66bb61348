//! A shard member that signs checkpoints its shard has not come to: other roots, supply that was
//! never there, entries never sent, another window or block; sometimes beside the true one.

use lockstep_shard::{Checkpoint, CheckpointVote, Message, Peer};
use lockstep_types::{BlockId, EffectsDigest, MerkleRoot, hash};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct FalseCheckpoint;

fn falsified(seat: &mut Seat<'_>, mut checkpoint: Checkpoint) -> Checkpoint {
    let invented = hash("lockstep/invented-state", &checkpoint.seal.height);
    let seal = &mut checkpoint.seal;
    match seat.choose(8) {
        0 => seal.state_root = MerkleRoot::new(invented),
        1 => seal.outbox_root = MerkleRoot::new(invented),
        2 => seal.inbox_root = MerkleRoot::new(invented),
        3 => seal.digest = EffectsDigest::new(invented),
        4 => checkpoint.block = BlockId::new(invented),
        5 => seal.window = seal.window.next(),
        6 => {
            for supply in &mut seal.supply {
                supply.balances = supply.balances.saturating_add(1_000);
                supply.issued = supply.issued.saturating_add(1_000);
            }
        }
        _ => {
            for flow in &mut seal.flows {
                flow.sent_count = flow.sent_count.saturating_add(10);
            }
            checkpoint.record = checkpoint.record.next();
        }
    }
    checkpoint
}

impl Behaviour for FalseCheckpoint {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let Message::Checkpoint(vote) = &message else {
            return seat.say(to, message);
        };
        let falsified = falsified(seat, vote.checkpoint.clone());
        let vote = CheckpointVote::sign(
            seat.place.genesis,
            seat.place.signer,
            seat.place.peer.member,
            falsified,
        );
        seat.lie(to, Message::Checkpoint(Box::new(vote)));
        if seat.place.random.chance(250) {
            seat.say(to, message);
        }
    }
}
