//! Made-up values of the shard's and the beacon's types; see [`lockstep_types::generate`].

use std::sync::Arc;

use lockstep_consensus::Ancestry;
use lockstep_types::generate::Random;
use lockstep_types::{Height, MemberIndex, View, generate};
use parity_scale_codec::{DecodeAll, Encode};

use crate::{
    BarrierRecord, Batch, BatchHeader, BatchRef, BeaconPlace, BundleRef, CertifiedCheckpoint,
    CertifiedRecord, Checkpoint, CheckpointVote, Manifest, Message, Part, PartBody, PartName,
    Payload, Peer, Place, RecordRef, Request, ShardEntry, Window,
};

generate! {
    Peer: |r| Peer { committee: r.make(), member: r.make() };
    BatchHeader: |r| BatchHeader {
        epoch: r.make(),
        author: r.make(),
        window: r.make(),
        sequence: r.make(),
        body: r.make(),
    };
    Batch: |r| batch(r);
    Checkpoint: |r| Checkpoint {
        shard: r.make(),
        epoch: r.make(),
        block: r.make(),
        record: r.make(),
        seal: r.make(),
        rest: r.make(),
    };
    CheckpointVote: |r| CheckpointVote {
        checkpoint: r.make(),
        member: r.make(),
        signature: r.make(),
    };
    CertifiedCheckpoint: |r| CertifiedCheckpoint {
        checkpoint: r.make(),
        signers: r.make(),
        signatures: r.list(),
    };
    ShardEntry: |r| match r.below(3) {
        0 => ShardEntry::Absent,
        _ => ShardEntry::Certified(r.make()),
    };
    BarrierRecord: |r| BarrierRecord {
        number: r.make(),
        previous: r.make(),
        committees: r.make(),
        base: r.make(),
        shards: r.list(),
    };
    CertifiedRecord: |r| CertifiedRecord { record: r.make(), proof: r.make() };
    BundleRef: |r| BundleRef {
        source: r.make(),
        from: r.make(),
        to: r.make(),
        digest: r.make(),
    };
    BatchRef: |r| BatchRef { digest: r.make(), transactions: r.make() };
    RecordRef: |r| RecordRef { number: r.make(), hash: r.make() };
    Payload: |r| Payload { record: r.make(), bundles: r.list(), batches: r.list() };
    Window: |r| Window {
        number: r.make(),
        sealed: r.make(),
        opened: r.make(),
        previous_opened: r.make(),
        end: r.make(),
        record: r.make(),
        record_hash: r.make(),
        base: r.make(),
    };
    Place: |r| Place {
        height: r.make(),
        time: r.make(),
        window: r.make(),
        seal: r.make(),
        consumed: Arc::new(r.make()),
        pace_credit: r.make(),
    };
    BeaconPlace: |r| BeaconPlace {
        height: r.make(),
        number: r.make(),
        hash: r.make(),
        base: r.make(),
        time: r.make(),
        shards: Arc::new(r.list()),
    };
    PartName: |r| match r.below(2) {
        0 => PartName::Accounts(r.make()),
        _ => PartName::Entries(r.make()),
    };
    PartBody: |r| match r.below(2) {
        0 => PartBody::Accounts(r.make()),
        _ => PartBody::Entries(r.make()),
    };
    Part: |r| Part { record: r.make(), name: r.make(), body: r.make() };
    Manifest: |r| Manifest {
        record: r.make(),
        link: r.make(),
        proof: r.make(),
        place: r.make(),
        ancestry: ancestry(r),
        listed: r.list(),
        before: r.make(),
        steps: r.list(),
        ledger: r.make(),
    };
    Request: |r| match r.below(6) {
        0 => Request::Batches(r.list()),
        1 => Request::Record(r.make()),
        2 => Request::Bundle(r.make()),
        3 => Request::Manifest,
        4 => Request::Part { record: r.make(), name: r.make() },
        _ => Request::Entries { destination: r.make(), from: r.make() },
    };
    Message: |r| match r.below(8) {
        0 => Message::Consensus(r.make()),
        1 => Message::Batch(r.make()),
        2 => Message::Checkpoint(r.make()),
        3 => Message::Record(r.make()),
        4 => Message::Bundle(r.make()),
        5 => Message::Manifest(r.make()),
        6 => Message::Part(r.make()),
        _ => Message::Request(r.make()),
    };
}

/// Members that failed, the view in which each did, and for how many turns it is passed over; and
/// what is committed.
fn ancestry(random: &mut Random) -> Ancestry {
    let failures = (0..random.below(3)).map(|_| {
        let (member, view): (MemberIndex, View) = (random.make(), random.make());
        (member, view, random.make::<u16>())
    });
    let failures: Vec<_> = failures.collect();
    let bytes = (failures, random.make::<Height>()).encode();
    Ancestry::decode_all(&mut &bytes[..]).expect("a list of failures, and a height")
}

/// A batch knows its digest, so it is made as one that comes from outside.
fn batch(random: &mut Random) -> Batch {
    let header: BatchHeader = random.make();
    let signature: lockstep_types::Signature = random.make();
    let transactions: Vec<lockstep_ledger::Transaction> = random.list();
    let bytes = (header, signature, transactions).encode();
    Batch::decode_all(&mut &bytes[..]).expect("the parts of a batch, in order")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Base;
    use crate::state_sync::Task;
    use lockstep_types::generate::{check_golden, golden};
    use lockstep_types::{Digest, LinkedBlock};

    // What only the disk sees.
    generate! {
        Base: |r| Base { height: r.make(), listed: r.list(), digests: r.list() };
        Task: |r| match r.below(2) {
            0 => Task::Record(r.make()),
            _ => Task::Part(r.make()),
        };
    }

    #[test]
    fn encodings_are_what_they_were() {
        let found = [
            ("Message", golden::<Message>()),
            ("Peer", golden::<Peer>()),
            ("Request", golden::<Request>()),
            ("Batch", golden::<Batch>()),
            ("Checkpoint", golden::<Checkpoint>()),
            ("CheckpointVote", golden::<CheckpointVote>()),
            ("CertifiedCheckpoint", golden::<CertifiedCheckpoint>()),
            ("BarrierRecord", golden::<BarrierRecord>()),
            ("CertifiedRecord", golden::<CertifiedRecord>()),
            ("Manifest", golden::<Manifest>()),
            ("Part", golden::<Part>()),
            ("Payload", golden::<Payload>()),
            ("shard anchor", golden::<((LinkedBlock, Ancestry), Place)>()),
            (
                "beacon anchor",
                golden::<((LinkedBlock, Ancestry), BeaconPlace)>(),
            ),
            ("Base", golden::<Base>()),
            ("Task", golden::<(Task, Digest)>()),
        ];
        check_golden(&found, include_str!("golden.txt"));
    }
}
