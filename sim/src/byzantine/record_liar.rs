//! A beacon leader whose records are not what the shards have signed: a shard that came in time is
//! marked absent, an old checkpoint stands for a new one, numbers, base or committees are others, a
//! checkpoint says something else than its signers signed.

use lockstep_consensus::Proposal;
use lockstep_shard::{BarrierRecord, BeaconChain, Message, Peer, ShardEntry};
use lockstep_types::{Digest, MerkleRoot, Signers, hash};
use parity_scale_codec::Encode;

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct RecordLiar {
    instead: Instead,
    /// The first record it has made.
    old: Option<BarrierRecord>,
}

impl RecordLiar {
    fn falsified(&self, seat: &mut Seat<'_>, mut record: BarrierRecord) -> Option<BarrierRecord> {
        let shard = seat.choose(record.shards.len() as u64);
        let invented: Digest = hash("lockstep/invented-record", &record.number);
        match seat.choose(10) {
            0 | 1 => record.shards[shard] = ShardEntry::Absent,
            2 => record.shards[shard] = self.old.as_ref()?.shards[shard].clone(),
            3 => record.number = record.number.next(),
            4 => record.base = record.base.next(),
            5 => record.committees = invented,
            6 => record.shards.fill(ShardEntry::Absent),
            7 => drop(record.shards.pop()),
            choice => {
                let ShardEntry::Certified(certified) = &mut record.shards[shard] else {
                    return None;
                };
                if choice == 8 {
                    certified.checkpoint.seal.outbox_root = MerkleRoot::new(invented);
                } else {
                    certified.signers = certified.signers.iter().take(1).collect::<Signers>();
                    certified.signatures.truncate(1);
                }
            }
        }
        Some(record)
    }

    fn proposal(&mut self, seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
        let record = BeaconChain::record_in(&own.block)?;
        let lie = self.falsified(seat, record.clone());
        self.old.get_or_insert(record);
        let header = own.block.header().clone();
        let (justify, entered_by) = (own.justify.clone(), own.entered_by.clone());
        Some(seat.propose(header, lie?.encode(), justify, entered_by))
    }
}

impl Behaviour for RecordLiar {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let mut instead = core::mem::take(&mut self.instead);
        instead.send(seat, to, message, |seat, own| self.proposal(seat, own));
        self.instead = instead;
    }
}
