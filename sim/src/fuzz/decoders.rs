//! Bytes from the wire and from the disk: what decodes has one encoding, and what is found good is
//! found good again. Also transactions, batches, blocks, certificates and records one by one.

use lockstep_consensus::{self as consensus, Horizon};
use lockstep_ledger::{MAX_TRANSACTION_BYTES, Transaction};
use lockstep_shard::{
    BarrierRecord, Batch, BatchContext, CertifiedCheckpoint, CertifiedRecord, CheckpointVote,
    Message, Payload, Request, VerifyContext,
};
use lockstep_types::generate::{Generate, Random};
use lockstep_types::{
    Block, CommitProof, CommitteeId, LinkedBlock, MemberIndex, QuorumCertificate, ShardId, Timeout,
    TimeoutCertificate, Verifiable, View, Vote, codec,
};
use parity_scale_codec::{Decode, Encode};

use super::forge::SHARD;
use super::{Forge, Target, is_vouched_for};

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(Codec),
        Box::new(Messages(Forge::new())),
        Box::new(Transactions(Forge::new())),
    ]
}

/// Reads and writes one type.
struct Wire {
    make: fn(&mut Random) -> Vec<u8>,
    read: fn(&[u8]) -> bool,
}

const fn wire<T: Generate + Encode + Decode>() -> Wire {
    Wire {
        make: |random| random.make::<T>().encode(),
        read: |bytes| {
            let Ok(value) = codec::decode::<T>(bytes, lockstep_shard::MAX_MESSAGE_BYTES) else {
                return false;
            };
            let again = value.encode();
            assert_eq!(again.len(), value.encoded_size(), "a length of its own");
            assert!(again == bytes, "two encodings of one value");
            true
        },
    }
}

/// Every type that travels or is named by the hash of its bytes.
const WIRE: [Wire; 26] = [
    wire::<Message>(),
    wire::<consensus::Message>(),
    wire::<consensus::Proposal>(),
    wire::<consensus::Certificates>(),
    wire::<consensus::Evidence>(),
    wire::<consensus::SafetyRecord>(),
    wire::<Block>(),
    wire::<LinkedBlock>(),
    wire::<Vote>(),
    wire::<Timeout>(),
    wire::<QuorumCertificate>(),
    wire::<TimeoutCertificate>(),
    wire::<CommitProof>(),
    wire::<Transaction>(),
    wire::<Batch>(),
    wire::<CheckpointVote>(),
    wire::<CertifiedCheckpoint>(),
    wire::<BarrierRecord>(),
    wire::<CertifiedRecord>(),
    wire::<Payload>(),
    wire::<Request>(),
    wire::<lockstep_ledger::Bundle>(),
    wire::<lockstep_ledger::ReceiptProof>(),
    wire::<lockstep_ledger::AccountProof>(),
    wire::<lockstep_ledger::Seal>(),
    wire::<lockstep_ledger::BlockReceipts>(),
];

/// `codec`: one byte chooses the type, the rest is its encoding.
struct Codec;

impl Target for Codec {
    fn name(&self) -> &'static str {
        "codec"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let kinds = (0u8..).zip(&WIRE);
        let some = |(kind, wire): (u8, &Wire)| {
            (0..4)
                .map(|_| [&[kind][..], &(wire.make)(random)].concat())
                .collect::<Vec<_>>()
        };
        kinds.flat_map(some).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Some((kind, bytes)) = input.split_first() else {
            return false;
        };
        (WIRE[usize::from(*kind) % WIRE.len()].read)(bytes)
    }
}

const COMMITTEES: [CommitteeId; 3] = [
    SHARD,
    CommitteeId::Shard(ShardId::new(1)),
    CommitteeId::Beacon,
];

/// Checks a value twice with one verifier, which remembers certificates. Was it good?
fn check<T: Verifiable + Clone>(forge: &Forge, value: &T, context: &T::Context) -> bool {
    let verifier = forge.verifier();
    let first = verifier.check(value.clone(), context).is_ok();
    let second = verifier.check(value.clone(), context).is_ok();
    assert_eq!(first, second, "found good once and bad once");
    let each = verifier.check_each(vec![value.clone(), value.clone()], context);
    assert!(each.iter().all(|answer| answer.is_ok() == first));
    first
}

/// `message`: one byte chooses the receiving committee, the rest is a message as it comes from the
/// network.
struct Messages(Forge);

impl Target for Messages {
    fn name(&self) -> &'static str {
        "message"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut corpus = Vec::new();
        for (kind, committee) in (0u8..).zip(COMMITTEES) {
            let messages = self.0.messages(committee, random);
            corpus.extend(
                messages
                    .iter()
                    .map(|message| [vec![kind], message.encode()].concat()),
            );
        }
        corpus
    }

    fn run(&self, input: &[u8]) -> bool {
        let Some((kind, bytes)) = input.split_first() else {
            return false;
        };
        let Ok(message) = Message::from_bytes(bytes) else {
            return false;
        };
        let committee = COMMITTEES[usize::from(*kind) % COMMITTEES.len()];
        let context = VerifyContext::new(self.0.genesis.clone(), committee);
        let (_, _) = (message.class(), message.kind());
        if let Message::Consensus(message) = &message {
            let horizon = Horizon {
                proposals_from: View::new(1),
                votes_from: View::new(1),
                votes_to: View::new(9),
            };
            message.is_stale(&horizon);
        }
        // What nobody vouches for says nothing by being good.
        check(&self.0, &message, &context) && is_vouched_for(&message)
    }
}

/// `transaction`: as a client submits it, alone or (odd first byte) within a batch.
struct Transactions(Forge);

impl Target for Transactions {
    fn name(&self) -> &'static str {
        "transaction"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let shard = ShardId::new(0);
        let mut corpus = Vec::new();
        for number in 0..8u8 {
            let (nonce, expiry) = (random.make(), random.make());
            let payment = self.0.payment(random, shard, nonce, expiry);
            corpus.push([vec![0], payment.encode()].concat());
            let batch = self.0.batch(random, shard, MemberIndex::new(number % 4));
            corpus.push([vec![1], batch.encode()].concat());
        }
        corpus
    }

    fn run(&self, input: &[u8]) -> bool {
        let Some((kind, bytes)) = input.split_first() else {
            return false;
        };
        let genesis = &self.0.genesis;
        if kind % 2 == 1 {
            let Ok(batch) = codec::decode::<Batch>(bytes, consensus::MAX_MESSAGE_BYTES) else {
                return false;
            };
            let context = BatchContext::new(genesis, ShardId::new(0));
            let good = check(&self.0, &batch, &context);
            let limits = &genesis.limits;
            assert!(!good || batch.transactions.len() <= limits.batch_transactions as usize);
            assert!(!good || bytes.len() <= limits.batch_bytes as usize);
            return good;
        }
        let Ok(transaction) = codec::decode_canonical::<Transaction>(bytes, MAX_TRANSACTION_BYTES)
        else {
            return false;
        };
        let good = check(&self.0, &transaction, &genesis.hash());
        assert!(!good || !transaction.actions.is_empty());
        good
    }
}
