//! Certified receipts: proof, checkable with nothing but the genesis, that a transaction was
//! executed, with which result, and that value for other shards has arrived.
//!
//! ```text
//! receipt ─path─▶ receipts root ─chain─▶ effects digest ─▶ header ─▶ two certificates ─▶ keys in genesis
//! ```
//!
//! Breaks if: a link is accepted that was not checked here, from the bytes of this proof. What a
//! node says beside the proof counts for nothing.

use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::{
    Action, ProofError, Receipt, ReceiptProof, ReceiptResult, Subject, Transaction,
};
use lockstep_shard::{CertifiedRecord, ShardEntry, epoch_context};
use lockstep_types::{
    CommitProof, CommitteeId, GenesisHash, Height, K256Engine, Rejection, ShardId, TransactionId,
    Verifier, codec,
};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::rpc::text;

/// Largest certified receipt that is read. Its parts are bounded by their own types; a record of
/// some thousand shards is the largest of them.
pub const MAX_CERTIFIED_RECEIPT_BYTES: usize = 16 * 1024 * 1024;

/// A receipt and the proof that it is final in its shard. What a node answers to
/// `lockstep_receipt` and `lockstep_creditReceipt`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FinalReceipt {
    /// The shard.
    pub shard: ShardId,
    /// From the receipt to the digest that [`FinalReceipt::commit`]'s block names as executed.
    pub proof: ReceiptProof,
    /// That block is final.
    pub commit: CommitProof,
    /// The transaction itself, from its own shard, when the node still has it.
    pub transaction: Option<Transaction>,
}

impl FinalReceipt {
    /// The receipt.
    pub fn receipt(&self) -> &Receipt {
        &self.proof.receipt
    }

    /// The height of the receipt's block, once the proof has been checked: as far below the
    /// executed height as the proof has steps.
    pub fn height(&self) -> Option<Height> {
        let executed = self.commit.headers.first()?.executed.height;
        let steps = self.proof.steps.len() as u64;
        executed.get().checked_sub(steps).map(Height::new)
    }

    fn check(&self, genesis: &Genesis, verifier: &Verifier) -> Result<Height, ProofFault> {
        let committee = CommitteeId::Shard(self.shard);
        if !genesis.has(committee) {
            return Err(ProofFault::NoSuchShard { shard: self.shard });
        }
        let context = epoch_context(genesis, committee);
        verifier
            .check(self.commit.clone(), &context)
            .map_err(|rejection| ProofFault::NotFinal {
                committee,
                rejection,
            })?;
        let executed = self.commit.committed().executed;
        self.proof
            .verify(&executed.digest)
            .map_err(|error| ProofFault::NotIncluded {
                shard: self.shard,
                error,
            })?;
        self.height()
            .ok_or(ProofFault::Contradiction("more steps than blocks"))
    }

    fn signatures(&self, genesis: &Genesis) -> String {
        let committee = genesis.committee(CommitteeId::Shard(self.shard));
        format!(
            "{} of {} signatures",
            self.commit.child_qc.signers.count(),
            committee.size()
        )
    }
}

/// A transaction's receipt with everything that proves it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CertifiedReceipt {
    /// The chain.
    pub genesis: GenesisHash,
    /// In the sender's shard.
    pub receipt: FinalReceipt,
    /// The barrier that made it known to the other shards, when value went there.
    pub record: Option<CertifiedRecord>,
    /// In each shard that received something.
    pub credits: Vec<FinalReceipt>,
}

/// One link of a proof that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What holds.
    pub what: String,
    /// By which evidence.
    pub by: String,
}

/// What a proof shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The transaction's id.
    pub id: TransactionId,
    /// Its result.
    pub result: ReceiptResult,
    /// Each link, in the order it was checked.
    pub links: Vec<Link>,
    /// Everything the transaction was to do has been shown to have happened. False when the
    /// transaction itself is not part of the proof, so that nobody knows what it was to do.
    pub complete: bool,
}

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// The file is not a certified receipt.
    #[error("not a certified receipt: {0}")]
    Malformed(String),
    /// For another chain.
    #[error("it is for the chain {got}, and the genesis is {expected}")]
    OtherChain {
        /// The genesis given.
        expected: GenesisHash,
        /// The chain of the proof.
        got: GenesisHash,
    },
    /// A shard the chain does not have.
    #[error("the chain has no {shard}")]
    NoSuchShard {
        /// The shard.
        shard: ShardId,
    },
    /// The header is not proven final.
    #[error("the header of {committee} is not final: {rejection}")]
    NotFinal {
        /// Whose header.
        committee: CommitteeId,
        /// What does not hold.
        rejection: Rejection,
    },
    /// The receipt is not part of what the header stands for.
    #[error("the receipt is not part of the executed state of {shard}: {error}")]
    NotIncluded {
        /// The shard.
        shard: ShardId,
        /// What does not hold.
        error: ProofError,
    },
    /// A transfer to another shard without proof of its arrival.
    #[error("the arrival of action {action} in {shard} is not shown")]
    NoCredit {
        /// Which action.
        action: u8,
        /// Where it should have arrived.
        shard: ShardId,
    },
    /// Parts that do not belong together.
    #[error("the parts contradict each other: {0}")]
    Contradiction(&'static str),
}

impl CertifiedReceipt {
    /// The transaction's id.
    pub fn id(&self) -> TransactionId {
        self.receipt.receipt().transaction()
    }

    /// Checks every link against the genesis. No network, no trust in whoever gave the proof.
    ///
    /// # Errors
    /// The first link that does not hold, with those before it.
    pub fn verify(&self, genesis: &Genesis) -> Result<Verified, (Vec<Link>, ProofFault)> {
        let mut links = Vec::new();
        match self.walk(genesis, &mut links) {
            Ok(complete) => Ok(Verified {
                id: self.id(),
                result: self.receipt.receipt().result,
                links,
                complete,
            }),
            Err(fault) => Err((links, fault)),
        }
    }

    fn walk(&self, genesis: &Genesis, links: &mut Vec<Link>) -> Result<bool, ProofFault> {
        let verifier = Verifier::new(Arc::new(K256Engine::new()));
        let mut link = |what: String, by: String| links.push(Link { what, by });
        if self.genesis != genesis.hash() {
            return Err(ProofFault::OtherChain {
                expected: genesis.hash(),
                got: self.genesis,
            });
        }
        link(
            format!("chain {}", genesis.chain_name()),
            format!("genesis {}", genesis.hash()),
        );

        let height = self.receipt.check(genesis, &verifier)?;
        let Subject::Transaction(id) = self.receipt.receipt().subject else {
            return Err(ProofFault::Contradiction(
                "the first receipt is not a transaction's",
            ));
        };
        link(
            format!("executed in {} block {}", self.receipt.shard, height.get()),
            evidence(&self.receipt, genesis),
        );
        let applied = self.receipt.receipt().result == ReceiptResult::Applied;
        if !applied && !self.credits.is_empty() {
            return Err(ProofFault::Contradiction(
                "credits of a transaction without effect",
            ));
        }
        if let Some(record) = &self.record {
            link(self.check_record(record, height, genesis, &verifier)?, {
                let beacon = genesis.committee(CommitteeId::Beacon);
                let signed = record.proof.child_qc.signers.count();
                format!("beacon, {signed} of {} signatures", beacon.size())
            });
        }
        for credit in &self.credits {
            let height = credit.check(genesis, &verifier)?;
            let from = self.receipt.shard;
            if !matches!(credit.receipt().subject,
                Subject::Credit { source, transaction, .. } if source == from && transaction == id)
            {
                return Err(ProofFault::Contradiction("a credit of another transaction"));
            }
            link(
                format!("credited in {} block {}", credit.shard, height.get()),
                evidence(credit, genesis),
            );
        }
        let Some(transaction) = &self.receipt.transaction else {
            return Ok(false);
        };
        if transaction.id(&self.genesis) != id {
            return Err(ProofFault::Contradiction("the transaction has another id"));
        }
        if genesis.shard_of(&transaction.sender()) != self.receipt.shard {
            return Err(ProofFault::Contradiction(
                "the sender lives in another shard",
            ));
        }
        link(
            "content of the transaction".to_owned(),
            format!("hash {id}"),
        );
        if applied {
            self.check_arrivals(transaction, genesis)?;
        }
        Ok(true)
    }

    /// The record is final, and the checkpoint in it covers the debit.
    fn check_record(
        &self,
        record: &CertifiedRecord,
        debit: Height,
        genesis: &Genesis,
        verifier: &Verifier,
    ) -> Result<String, ProofFault> {
        let committee = CommitteeId::Beacon;
        // The header is looked into only after the proof has been found whole.
        verifier
            .check(record.clone(), &epoch_context(genesis, committee))
            .map_err(|rejection| ProofFault::NotFinal {
                committee,
                rejection,
            })?;
        let entry = record.record.entry(self.receipt.shard);
        let checkpoint =
            entry
                .and_then(ShardEntry::checkpoint)
                .ok_or(ProofFault::Contradiction(
                    "the record holds no checkpoint of the shard",
                ))?;
        if checkpoint.checkpoint.seal.height < debit {
            return Err(ProofFault::Contradiction(
                "the recorded checkpoint is older than the debit",
            ));
        }
        Ok(format!("barrier record #{}", record.record.number.get()))
    }

    /// Every action that gives to another shard has its credit there.
    fn check_arrivals(
        &self,
        transaction: &Transaction,
        genesis: &Genesis,
    ) -> Result<(), ProofFault> {
        for (index, action) in transaction.actions.iter().enumerate() {
            let Action::Transfer { to, .. } = action;
            let shard = genesis.shard_of(to);
            if shard == self.receipt.shard {
                continue;
            }
            let arrived = self.credits.iter().any(|credit| {
                credit.shard == shard
                    && matches!(credit.receipt().subject,
                        Subject::Credit { action, .. } if usize::from(action) == index)
            });
            if !arrived {
                let action = u8::try_from(index).expect("far fewer than 256 actions");
                return Err(ProofFault::NoCredit { action, shard });
            }
        }
        Ok(())
    }
}

fn evidence(receipt: &FinalReceipt, genesis: &Genesis) -> String {
    let steps = receipt.proof.path.len();
    let chain = receipt.proof.steps.len();
    format!(
        "Merkle path {steps} {}, chain of {chain} {}, {}",
        if steps == 1 { "step" } else { "steps" },
        if chain == 1 { "block" } else { "blocks" },
        receipt.signatures(genesis)
    )
}

/// The file form: JSON whose readable fields repeat what the proof says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFile {
    /// 1.
    pub schema: u32,
    /// Name of the chain.
    pub chain: String,
    /// The chain.
    #[serde(with = "text")]
    pub genesis: GenesisHash,
    /// The transaction.
    #[serde(with = "text")]
    pub transaction: TransactionId,
    /// `applied`, or why it failed.
    pub result: String,
    /// The sender's shard.
    pub shard: u16,
    /// The block there.
    pub height: u64,
    /// The barrier that made it known to other shards.
    pub barrier: Option<u64>,
    /// Shard and block of each credit.
    pub credits: Vec<(u16, u64)>,
    /// The proof: SCALE bytes in hexadecimal. It alone is what is checked.
    pub proof: String,
}

impl ReceiptFile {
    /// The file of a certified receipt.
    pub fn new(receipt: &CertifiedReceipt, chain: &str) -> Self {
        let height = |part: &FinalReceipt| part.height().map_or(0, Height::get);
        ReceiptFile {
            schema: 1,
            chain: chain.to_owned(),
            genesis: receipt.genesis,
            transaction: receipt.id(),
            result: match receipt.receipt.receipt().result {
                ReceiptResult::Applied => "applied".to_owned(),
                ReceiptResult::Failed(failure) => failure.to_string(),
            },
            shard: receipt.receipt.shard.get(),
            height: height(&receipt.receipt),
            barrier: receipt
                .record
                .as_ref()
                .map(|record| record.record.number.get()),
            credits: receipt
                .credits
                .iter()
                .map(|c| (c.shard.get(), height(c)))
                .collect(),
            proof: hex::encode(receipt.encode()),
        }
    }

    /// Reads a file. Its readable fields must say what its proof says.
    ///
    /// # Errors
    /// When it is not such a file, or says two things.
    pub fn parse(text: &str) -> Result<CertifiedReceipt, ProofFault> {
        let file: ReceiptFile =
            serde_json::from_str(text).map_err(|error| ProofFault::Malformed(error.to_string()))?;
        let bytes =
            hex::decode(&file.proof).map_err(|error| ProofFault::Malformed(error.to_string()))?;
        let receipt: CertifiedReceipt = codec::decode(&bytes, MAX_CERTIFIED_RECEIPT_BYTES)
            .map_err(|error| ProofFault::Malformed(error.to_string()))?;
        if file == Self::new(&receipt, &file.chain) {
            Ok(receipt)
        } else {
            Err(ProofFault::Contradiction(
                "the readable fields say something else than the proof",
            ))
        }
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data always encodes");
        text.push('\n');
        text
    }
}
