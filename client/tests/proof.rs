//! Certified receipts, made by two real ledgers and real signatures, then bent in every way.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use lockstep_client::{
    CertifiedReceipt, FinalReceipt, ProofFault, ReceiptFile, SignedTransaction, Transfer,
};
use lockstep_genesis::{DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_ledger::{
    BlockInput, Bundle, CertifiedOutbox, Durability, History, Ledger, MemoryStore, Receipt,
    ReceiptResult, Seal, Store as _, Transaction, TrieJob,
};
use lockstep_shard::{
    BarrierRecord, CertifiedCheckpoint, CertifiedRecord, Checkpoint, ShardEntry, ledger_config,
};
use lockstep_types::{
    AssetId, Block, BlockId, CommitProof, CommitteeId, Digest, EffectsDigest, Epoch, Executed,
    Header, Height, MemberIndex, QuorumCertificate, ShardId, Signers, Time, View, Vote,
    WindowNumber,
};
use parity_scale_codec::Encode as _;

const QUORUM: [u8; 3] = [0, 1, 3];

struct Chain {
    shard: ShardId,
    ledger: Ledger,
    store: MemoryStore,
}

impl Chain {
    fn new(genesis: &Genesis, shard: u16) -> Self {
        let shard = ShardId::new(shard);
        let config = ledger_config(genesis, shard);
        let ledger = Ledger::genesis(config, &genesis.allocations());
        Chain {
            shard,
            ledger,
            store: MemoryStore::new(),
        }
    }

    /// Executes a block and, when it is a seal, returns what the record will say of this shard.
    fn execute(
        &mut self,
        window: u64,
        record: Option<&[CertifiedOutbox]>,
        bundles: &[&Bundle],
        transactions: &[Transaction],
        seal: bool,
    ) -> (Vec<Receipt>, Option<Seal>) {
        let outcome = self.ledger.execute(BlockInput {
            height: self.ledger.height().next(),
            window: WindowNumber::new(window),
            record,
            bundles,
            transactions: &mut transactions.iter(),
            seal: seal.then_some(WindowNumber::new(window)),
        });
        assert_eq!(outcome.broken, None);
        self.store
            .write(&outcome.writes, Durability::Synced)
            .unwrap();
        let sealed = outcome.seal.map(|pending| {
            let done = pending.jobs.into_iter().map(TrieJob::run).collect();
            let (seal, writes) = self.ledger.finish_seal(done);
            self.store.write(&writes, Durability::Synced).unwrap();
            seal
        });
        (outcome.receipts, sealed)
    }

    /// The receipt at a place, proven from the newest executed block.
    fn prove(
        &self,
        genesis: &Genesis,
        keys: &DevelopmentKeys,
        height: u64,
        transaction: Option<Transaction>,
    ) -> FinalReceipt {
        let history = History::new(&self.store);
        let upto = self.ledger.height();
        let proof = history
            .prove(Height::new(height), 0, upto)
            .unwrap()
            .unwrap();
        let executed = Executed {
            height: upto,
            digest: self.ledger.digest(),
        };
        let commit = commit(genesis, keys, CommitteeId::Shard(self.shard), executed, &[]);
        FinalReceipt {
            shard: self.shard,
            proof,
            commit,
            transaction,
        }
    }
}

/// A block that names `executed`, and the proof that it is final.
fn commit(
    genesis: &Genesis,
    keys: &DevelopmentKeys,
    committee: CommitteeId,
    executed: Executed,
    payload: &[u8],
) -> CommitProof {
    let parent = Header {
        epoch: Epoch::ZERO,
        view: View::new(8),
        height: Height::new(9),
        parent: BlockId::ZERO,
        parent_view: View::new(7),
        time: Time::from_micros(1),
        proposer: MemberIndex::new(0),
        executed,
        payload: Block::payload_digest(payload),
    };
    let child = Header {
        view: View::new(9),
        height: Height::new(10),
        parent: parent.id(),
        parent_view: View::new(8),
        ..parent.clone()
    };
    let qc = |header: &Header| certify(genesis, keys, committee, header, &QUORUM);
    CommitProof {
        qc: qc(&parent),
        child_qc: qc(&child),
        headers: vec![parent].into(),
        child,
    }
}

fn certify(
    genesis: &Genesis,
    keys: &DevelopmentKeys,
    committee: CommitteeId,
    header: &Header,
    members: &[u8],
) -> QuorumCertificate {
    let domain = genesis.domain(committee);
    let sign = |member: &u8| {
        let member = MemberIndex::new(*member);
        let key = &keys.validator(committee, member).unwrap().key;
        Vote::sign(key, &domain, member, Epoch::ZERO, header.view, header.id()).signature
    };
    QuorumCertificate {
        epoch: Epoch::ZERO,
        view: header.view,
        block: header.id(),
        signers: members
            .iter()
            .map(|m| MemberIndex::new(*m))
            .collect::<Signers>(),
        signatures: members.iter().map(sign).collect(),
    }
}

/// Barrier record 1, committed by the beacon.
fn record(genesis: &Genesis, keys: &DevelopmentKeys, seals: [Seal; 2]) -> CertifiedRecord {
    let entry = |(shard, seal): (u16, Seal)| {
        ShardEntry::Certified(Box::new(CertifiedCheckpoint {
            checkpoint: Checkpoint {
                shard: ShardId::new(shard),
                epoch: Epoch::ZERO,
                block: BlockId::ZERO,
                record: WindowNumber::ZERO,
                seal,
                rest: lockstep_types::Digest::ZERO,
            },
            signers: Signers::NONE,
            signatures: Vec::new(),
        }))
    };
    let record = BarrierRecord {
        number: WindowNumber::new(1),
        previous: BarrierRecord::genesis_hash(genesis),
        committees: BarrierRecord::committees_of(genesis),
        base: Time::ZERO,
        shards: [0, 1].into_iter().zip(seals).map(entry).collect(),
    };
    let executed = Executed::default();
    let proof = commit(
        genesis,
        keys,
        CommitteeId::Beacon,
        executed,
        &record.encode(),
    );
    CertifiedRecord { record, proof }
}

struct Paid {
    genesis: Genesis,
    keys: DevelopmentKeys,
    local: CertifiedReceipt,
    cross: CertifiedReceipt,
}

/// Alice pays Carol (both shard 0) and Bob (shard 1).
fn paid() -> Paid {
    let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
    let alice = keys.account("alice").unwrap();
    let pay = |nonce, to: &str| {
        let transfer = Transfer {
            to: keys.account(to).unwrap().account,
            asset: AssetId::NATIVE,
            amount: 5_000_000_000,
        };
        let expiry = WindowNumber::new(9);
        SignedTransaction::transfers(&genesis.hash(), &alice.key, nonce, expiry, &[transfer])
            .transaction
    };
    let (to_carol, to_bob) = (pay(0, "carol"), pay(1, "bob"));
    let [mut source, mut target] = [0, 1].map(|shard| Chain::new(&genesis, shard));
    source.execute(1, None, &[], std::slice::from_ref(&to_carol), false);
    let (receipts, _) = source.execute(1, None, &[], std::slice::from_ref(&to_bob), false);
    assert_eq!(receipts[0].result, ReceiptResult::Applied);
    let (_, sealed) = source.execute(1, None, &[], &[], true);
    let (_, other) = target.execute(1, None, &[], &[], true);
    let barrier = record(&genesis, &keys, [sealed.unwrap(), other.unwrap()]);
    let [for_source, for_target] =
        [0, 1].map(|shard| barrier.record.outboxes_for(ShardId::new(shard)));
    source.execute(2, Some(&for_source), &[], &[], false);
    let bundle = source.ledger.bundle(ShardId::new(1), 0, 10).unwrap();
    let (receipts, _) = target.execute(2, Some(&for_target), &[&bundle], &[], false);
    assert_eq!(receipts.len(), 1);
    target.execute(2, None, &[], &[], false);
    let certified = |receipt, record, credits| CertifiedReceipt {
        genesis: genesis.hash(),
        receipt,
        record,
        credits,
    };
    let local = certified(
        source.prove(&genesis, &keys, 1, Some(to_carol)),
        None,
        vec![],
    );
    let cross = certified(
        source.prove(&genesis, &keys, 2, Some(to_bob)),
        Some(barrier),
        vec![target.prove(&genesis, &keys, 2, None)],
    );
    Paid {
        genesis,
        keys,
        local,
        cross,
    }
}

#[test]
fn a_payment_is_proven_without_any_node() {
    let paid = paid();
    let verified = paid.local.verify(&paid.genesis).unwrap();
    assert!(verified.complete);
    assert_eq!(verified.links.len(), 3);
    let verified = paid.cross.verify(&paid.genesis).unwrap();
    assert!(verified.complete);
    assert_eq!(verified.result, ReceiptResult::Applied);
    let shown: Vec<_> = verified
        .links
        .iter()
        .map(|link| link.what.as_str())
        .collect();
    assert_eq!(
        shown[1..4],
        [
            "executed in shard 0 block 2",
            "barrier record #1",
            "credited in shard 1 block 2"
        ]
    );
    assert!(
        verified.links[1].by.ends_with("3 of 4 signatures"),
        "{:?}",
        verified.links[1]
    );
}

#[test]
fn the_file_reads_back_and_cannot_be_embellished() {
    let paid = paid();
    let file = ReceiptFile::new(&paid.cross, &paid.genesis.chain_name());
    assert_eq!(ReceiptFile::parse(&file.to_json()).unwrap(), paid.cross);
    let edited = file.to_json().replace("\"height\": 2", "\"height\": 3");
    assert!(matches!(
        ReceiptFile::parse(&edited),
        Err(ProofFault::Contradiction(_))
    ));
    let short = ReceiptFile {
        proof: file.proof[2..].to_owned(),
        ..file
    };
    assert!(matches!(
        ReceiptFile::parse(&short.to_json()),
        Err(ProofFault::Malformed(_))
    ));
    assert!(matches!(
        ReceiptFile::parse("{}"),
        Err(ProofFault::Malformed(_))
    ));
}

#[test]
fn every_bent_proof_is_refused_for_its_own_reason() {
    let paid = paid();
    let (genesis, keys) = (&paid.genesis, &paid.keys);
    let fault = |edit: &dyn Fn(&mut CertifiedReceipt)| {
        let mut bent = paid.cross.clone();
        edit(&mut bent);
        bent.verify(genesis).unwrap_err().1
    };
    let not_final = |fault: ProofFault| matches!(fault, ProofFault::NotFinal { .. });
    let not_included = |fault: ProofFault| matches!(fault, ProofFault::NotIncluded { .. });
    let contradiction = |fault: ProofFault| matches!(fault, ProofFault::Contradiction(_));

    let (other, _) = Genesis::development(&DevelopmentSpec {
        seed: 1,
        ..DevelopmentSpec::default()
    })
    .unwrap();
    let (_, chain) = paid.cross.verify(&other).unwrap_err();
    assert!(matches!(chain, ProofFault::OtherChain { .. }));
    // Keys of another chain, although the file claims this one.
    let swapped = CertifiedReceipt {
        genesis: other.hash(),
        ..paid.cross.clone()
    };
    assert!(not_final(swapped.verify(&other).unwrap_err().1));

    assert!(not_included(fault(&|bent| {
        bent.receipt.proof.previous = EffectsDigest::new(Digest::ZERO);
    })));
    assert!(not_included(fault(&|bent| bent.receipt.proof.position = 7)));
    assert!(not_included(fault(&|bent| {
        bent.receipt.proof.steps.pop();
    })));
    assert!(not_included(fault(&|bent| {
        bent.receipt.proof.receipt.result =
            ReceiptResult::Failed(lockstep_ledger::Failure::BelowMinimum);
    })));
    assert!(not_final(fault(&|bent| {
        bent.receipt.commit.headers = Vec::new().into();
    })));
    assert!(not_final(fault(&|bent| {
        let mut header = bent.receipt.commit.committed().clone();
        header.executed.digest = EffectsDigest::new(Digest::ZERO);
        bent.receipt.commit.headers = vec![header].into();
    })));
    assert!(not_final(fault(&|bent| {
        // Two of four are no quorum.
        let header = bent.receipt.commit.child.clone();
        let shard = CommitteeId::Shard(ShardId::new(0));
        bent.receipt.commit.child_qc = certify(genesis, keys, shard, &header, &[0, 1]);
    })));
    assert!(not_final(fault(&|bent| {
        // Signatures of the other shard's members.
        let header = bent.receipt.commit.child.clone();
        let shard = CommitteeId::Shard(ShardId::new(1));
        bent.receipt.commit.child_qc = certify(genesis, keys, shard, &header, &QUORUM);
    })));
    assert!(not_final(fault(
        &|bent| bent.receipt.shard = ShardId::new(1)
    )));
    assert!(matches!(
        fault(&|bent| bent.receipt.shard = ShardId::new(2)),
        ProofFault::NoSuchShard { .. }
    ));
    assert_eq!(
        fault(&|bent| bent.credits.clear()),
        ProofFault::NoCredit {
            action: 0,
            shard: ShardId::new(1)
        }
    );
    let record =
        |edit: &dyn Fn(&mut CertifiedRecord)| fault(&|bent| edit(bent.record.as_mut().unwrap()));
    assert!(not_final(record(
        &|record| record.record.number = WindowNumber::new(2)
    )));
    assert!(not_final(record(&|record| {
        record.proof.headers = Vec::new().into();
    })));
    let recommitted = |edit: &dyn Fn(&mut BarrierRecord)| {
        record(&|record| {
            edit(&mut record.record);
            let payload = record.record.encode();
            record.proof = commit(
                genesis,
                keys,
                CommitteeId::Beacon,
                Executed::default(),
                &payload,
            );
        })
    };
    assert!(contradiction(recommitted(
        &|record| record.shards[0] = ShardEntry::Absent
    )));
    assert!(contradiction(recommitted(&|record| record.shards.clear())));
    assert!(contradiction(recommitted(&|record| {
        let ShardEntry::Certified(certified) = &mut record.shards[0] else {
            panic!()
        };
        certified.checkpoint.seal.height = Height::new(1);
    })));
    assert!(contradiction(fault(&|bent| {
        bent.receipt.transaction = paid.local.receipt.transaction.clone();
    })));
    assert!(contradiction(fault(&|bent| {
        // A credit is no receipt of the transaction.
        bent.receipt = bent.credits[0].clone();
    })));
    assert!(contradiction(fault(
        &|bent| bent.receipt = paid.local.receipt.clone()
    )));
}

#[test]
fn without_the_transaction_the_proof_says_that_it_is_not_complete() {
    let paid = paid();
    let mut partial = paid.cross.clone();
    partial.receipt.transaction = None;
    partial.record = None;
    partial.credits.clear();
    assert!(!partial.verify(&paid.genesis).unwrap().complete);
}
