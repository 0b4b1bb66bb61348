//! A leader whose blocks are well formed and wrong: height, time, parent's view, proposer, what they
//! carry. It votes for them.

use lockstep_consensus::Proposal;
use lockstep_shard::{BatchRef, BundleRef, Message, Payload, Peer, RecordRef};
use lockstep_types::{
    BatchDigest, Header, MemberIndex, RecordHash, ShardId, Time, WindowNumber, hash,
};

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct WrongBlock(Instead);

fn wrong(seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
    let mut header = own.block.header().clone();
    let mut payload = own.block.payload().to_vec();
    match seat.choose(9) {
        0 => header.height = header.height.next(),
        1 => header.time = parent_time(seat, &header)?,
        2 => header.time = header.time.after(core::time::Duration::from_secs(3_600)),
        3 => header.parent_view = header.parent_view.next(),
        4 => header.proposer = MemberIndex::new(u8::MAX),
        5 => payload = vec![7; 100],
        // As far ahead as it may be: voters wait for it.
        6 => header.time = seat.place.now.after(core::time::Duration::from_millis(950)),
        _ => payload = wrong_payload(seat, &payload)?.to_bytes(),
    }
    let (justify, entered_by) = (own.justify.clone(), own.entered_by.clone());
    Some(seat.propose(header, payload, justify, entered_by))
}

fn parent_time(seat: &Seat<'_>, header: &Header) -> Option<Time> {
    Some(seat.memory.header(&header.parent)?.time)
}

fn wrong_payload(seat: &mut Seat<'_>, own: &[u8]) -> Option<Payload> {
    seat.place.peer.committee.shard()?;
    let mut payload = Payload::from_bytes(own).ok()?;
    let digest = hash("lockstep/invented-part", &seat.place.now);
    match seat.choose(5) {
        0 => {
            let number = WindowNumber::new(1_000);
            let hash = RecordHash::new(digest);
            payload.record = Some(RecordRef { number, hash });
        }
        1 => {
            // The right number under another hash.
            let newest = seat.memory.records.back()?.record.number;
            let hash = RecordHash::new(digest);
            payload.record = Some(RecordRef {
                number: newest,
                hash,
            });
        }
        2 => payload.bundles.push(BundleRef {
            source: ShardId::new(u16::MAX),
            from: 0,
            to: u64::MAX,
            digest,
        }),
        3 => {
            let batch = payload.batches.first().copied().unwrap_or(BatchRef {
                digest: BatchDigest::new(digest),
                transactions: u32::MAX,
            });
            payload.batches.extend([batch, batch]);
        }
        _ => {
            let batch = payload.batches.first_mut()?;
            batch.transactions = batch.transactions.wrapping_add(1);
        }
    }
    Some(payload)
}

impl Behaviour for WrongBlock {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        self.0.send(seat, to, message, wrong);
    }
}
