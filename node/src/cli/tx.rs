//! `lockstep tx`: where a transaction is, its receipt with proof, and the check of such a proof
//! without any node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lockstep_client::rpc::{Credit, Executed, Proof, RecordedShard, Stage};
use lockstep_client::{
    CertifiedReceipt, Client, FinalReceipt, Journal, Link, MAX_CERTIFIED_RECEIPT_BYTES, ProofFault,
    ReceiptFile, SignedTransaction, Verified,
};
use lockstep_ledger::ReceiptResult;
use lockstep_shard::CertifiedRecord;
use lockstep_types::{TransactionId, codec};
use serde_json::json;

use super::connect::{Connected, NetworkOptions, read_genesis};
use super::failure::Failure;
use super::output::{Done, Output};
use crate::exit::ExitCode;

/// How often a node is asked for a proof that is not there yet.
const POLL: Duration = Duration::from_millis(100);

/// Transactions: status, receipts, proofs
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TxCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Say how far a transaction has come
    Status(Status),
    /// Write a receipt that proves what became of a transaction
    Receipt(Receipt),
    /// Check a receipt against a genesis, without any node
    Verify(Verify),
}

#[derive(Clone, Debug, clap::Args)]
struct Status {
    /// The transaction
    id: String,
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Clone, Debug, clap::Args)]
struct Receipt {
    /// The transaction
    id: String,
    /// Where to write the receipt [default: the terminal]
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long to wait for the blocks that prove it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_timeout)]
    timeout: Duration,
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Clone, Debug, clap::Args)]
struct Verify {
    /// The receipt, as `lockstep tx receipt` writes it
    receipt: PathBuf,
    /// The genesis of the chain
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_GENESIS")]
    genesis: PathBuf,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    lockstep_genesis::parse_duration(text).map_err(|error| error.to_string())
}

fn parse_id(text: &str) -> Result<TransactionId, Failure> {
    text.parse().map_err(|_| {
        Failure::usage("LS-TX-009", format!("{text:?} is not a transaction id"))
            .help("it has 64 hexadecimal digits, as lockstep send prints it")
    })
}

impl TxCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        let result = match &self.action {
            Action::Status(status) => status.execute().await,
            Action::Receipt(receipt) => receipt.execute(&self.output).await,
            Action::Verify(verify) => verify.execute(),
        };
        self.output.finish(result)
    }
}

/// The shard that has executed a transaction, and what it says.
async fn find(connected: &Connected, id: &TransactionId) -> Result<Option<(u16, Stage)>, Failure> {
    let mut pending = None;
    for (shard, client) in connected.clients() {
        match client.transaction(id).await? {
            Stage::Unknown => {}
            Stage::Pending => pending = Some((shard, Stage::Pending)),
            executed => return Ok(Some((shard, executed))),
        }
    }
    Ok(pending)
}

fn not_found(id: &TransactionId, connected: &Connected) -> Failure {
    let message = format!(
        "no node that can be reached knows {id} on {}",
        connected.chain
    );
    Failure::new(ExitCode::Rejected, "LS-TX-010", message)
        .help("is it a transaction of this chain? its sender's shard must be reachable")
}

impl Status {
    async fn execute(&self) -> Result<Done, Failure> {
        let id = parse_id(&self.id)?;
        let connected = self.network.connect().await?;
        let Some((shard, stage)) = find(&connected, &id).await? else {
            return Err(not_found(&id, &connected));
        };
        let mut text = format!("tx {id}\n");
        let mut credits = Vec::new();
        match &stage {
            Stage::Executed(executed) => {
                let result = match &executed.failure {
                    None => "applied".to_owned(),
                    Some(why) => format!("failed: {why}"),
                };
                let height = executed.height;
                text += &format!("  shard {shard} block {height}    {result}\n");
                for destination in &executed.destinations {
                    let credit = connected.shard(*destination)?.credit(shard, &id).await?;
                    text += &match credit {
                        Credit::Unknown => format!(
                            "  shard {destination}    not credited yet; waits for barrier #{} or later\n",
                            executed.window
                        ),
                        Credit::Credited { height, .. } => {
                            format!("  shard {destination} block {height}    credited\n")
                        }
                    };
                    credits.push(json!({ "shard": destination, "credit": credit }));
                }
            }
            _ => text += &format!("  waits in the pool of shard {shard}\n"),
        }
        let bare = match &stage {
            Stage::Executed(executed) if executed.applied => "applied",
            Stage::Executed(_) => "failed",
            _ => "pending",
        };
        let value = json!({
            "transaction": id.to_string(), "shard": shard, "stage": stage, "credits": credits,
        });
        Ok(Done {
            value,
            text,
            bare: bare.to_owned(),
            exit: None,
        })
    }
}

impl Receipt {
    async fn execute(&self, output: &Output) -> Result<Done, Failure> {
        let id = parse_id(&self.id)?;
        let connected = self.network.connect().await?;
        let until = Instant::now() + self.timeout;
        let (shard, executed) = match find(&connected, &id).await? {
            Some((shard, Stage::Executed(executed))) => (shard, executed),
            Some(_) => {
                let message = format!("{id} has not been executed yet");
                return Err(Failure::new(ExitCode::Unknown, "LS-TX-011", message)
                    .help(format!("lockstep tx status {id}")));
            }
            None => return Err(not_found(&id, &connected)),
        };
        let source = connected.shard(shard)?;
        let proof = wait_for(until, async || source.receipt(&id).await).await?;
        let mut receipt = decode(&proof)?;
        if receipt.transaction.is_none() {
            receipt.transaction = from_journal(&connected, &id)?;
        }
        let mut record = None;
        if !executed.destinations.is_empty() {
            output.progress("  waiting for the barrier");
            record = Some(barrier(until, source, shard, &executed).await?);
        }
        let mut credits = Vec::new();
        for destination in &executed.destinations {
            let client = connected.shard(*destination)?;
            output.progress(&format!(
                "  shard {destination}: waiting for the credit to be final"
            ));
            let proof = wait_for(until, async || client.credit_receipt(shard, &id).await).await?;
            credits.push(decode(&proof)?);
        }
        let certified = CertifiedReceipt {
            genesis: connected.hash,
            receipt,
            record,
            credits,
        };
        // A node may be wrong; what is handed on must not be.
        let verified = certified
            .verify(connected.genesis()?)
            .map_err(|(_, fault)| Failure::from(fault))?;
        let file = ReceiptFile::new(&certified, &connected.chain).to_json();
        let mut done = report(&verified);
        match &self.out {
            Some(path) => {
                std::fs::write(path, &file).map_err(|error| Failure::file(path, &error))?;
                done.text += &format!(
                    "  written to {}\n  Check it anywhere:  lockstep tx verify {} --genesis GENESIS\n",
                    path.display(),
                    path.display()
                );
                done.value["file"] = json!(path);
                done.bare = path.display().to_string();
            }
            None => {
                done.text = file.clone();
                done.bare = file.clone();
                done.value =
                    serde_json::from_str(&file).expect("it was written as JSON just before");
            }
        }
        Ok(done)
    }
}

/// A proof needs a block after the one it is about, which may not be there yet.
async fn wait_for(
    until: Instant,
    ask: impl AsyncFn() -> Result<Option<Proof>, lockstep_client::CallError>,
) -> Result<Proof, Failure> {
    loop {
        if let Some(proof) = ask().await? {
            return Ok(proof);
        }
        if Instant::now() >= until {
            let message = "the block that proves it is not there yet";
            return Err(Failure::new(ExitCode::Unknown, "LS-TX-012", message)
                .help("try again, or wait longer with --timeout"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The first record whose checkpoint of the sender's shard covers the debit.
async fn barrier(
    until: Instant,
    source: &Client,
    shard: u16,
    executed: &Executed,
) -> Result<CertifiedRecord, Failure> {
    let mut number = executed.window;
    loop {
        let asked = async || {
            let record = source.record(number).await?;
            Ok(record.map(|record| Proof {
                height: match record.shards.get(usize::from(shard)) {
                    Some(RecordedShard::Present { height, .. }) => *height,
                    _ => 0,
                },
                bytes: record.bytes,
            }))
        };
        let record = wait_for(until, asked).await?;
        if record.height >= executed.height {
            return decode_as(&record);
        }
        number += 1;
    }
}

fn decode(proof: &Proof) -> Result<FinalReceipt, Failure> {
    decode_as(proof)
}

fn decode_as<T: parity_scale_codec::DecodeLimit>(proof: &Proof) -> Result<T, Failure> {
    let malformed = |error: String| Failure::from(ProofFault::Malformed(error));
    let bytes = hex::decode(&proof.bytes).map_err(|error| malformed(error.to_string()))?;
    codec::decode(&bytes, MAX_CERTIFIED_RECEIPT_BYTES).map_err(|error| malformed(error.to_string()))
}

/// Whoever has sent it still has its content.
fn from_journal(
    connected: &Connected,
    id: &TransactionId,
) -> Result<Option<lockstep_ledger::Transaction>, Failure> {
    let entry = Journal::of_user(&connected.hash).of_transaction(id)?;
    Ok(entry
        .and_then(|entry| SignedTransaction::from_hex(&entry.bytes, &connected.hash).ok())
        .map(|signed| signed.transaction))
}

impl Verify {
    fn execute(&self) -> Result<Done, Failure> {
        let genesis = read_genesis(&self.genesis)?;
        let text = std::fs::read_to_string(&self.receipt)
            .map_err(|error| Failure::file(&self.receipt, &error))?;
        let receipt = ReceiptFile::parse(&text)?;
        match receipt.verify(&genesis) {
            Ok(verified) => {
                let mut done = report(&verified);
                done.text += "Verified without contacting any node.\n";
                Ok(done)
            }
            Err((links, fault)) => Ok(Done {
                value: json!({ "verified": false, "links": links }),
                text: lines(&links),
                bare: String::new(),
                exit: Some(fault.into()),
            }),
        }
    }
}

fn report(verified: &Verified) -> Done {
    let result = match verified.result {
        ReceiptResult::Applied => "applied".to_owned(),
        ReceiptResult::Failed(failure) => format!("failed: {failure}"),
    };
    let mut text = lines(&verified.links);
    text += &format!("  tx {}: {result}\n", verified.id);
    if !verified.complete {
        text += "  The transaction itself is not part of this receipt: what it was to do, and \
                 whether all of it has arrived, is not shown.\n";
    }
    Done {
        value: json!({
            "verified": true,
            "transaction": verified.id.to_string(),
            "result": result,
            "complete": verified.complete,
            "links": verified.links,
        }),
        text,
        bare: result,
        exit: None,
    }
}

fn lines(links: &[Link]) -> String {
    links
        .iter()
        .map(|link| format!("  ✓ {:<34} {}\n", link.what, link.by))
        .collect()
}
