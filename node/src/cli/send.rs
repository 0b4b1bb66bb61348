//! `lockstep send`: one payment, followed to finality, within a shard or across.
//!
//! The payment is written to a journal before it leaves. Running the command again after an unknown
//! outcome sends the same transaction again, which pays once.

use std::time::{Duration, Instant};

use lockstep_client::rpc::Account;
use lockstep_client::{
    DEFAULT_LIFETIME, Delivery, Entry, Journal, Keystore, Outcome, Progress, SignedTransaction,
    Transfer, Wait,
};
use lockstep_genesis::{Address, Amount, Network, format_duration};
use lockstep_types::{AccountId, AssetId, TransactionId, WindowNumber};
use serde_json::{Value, json};

use super::accounts::{Names, PasswordOptions};
use super::balance::{ask, native};
use super::connect::{Connected, NetworkOptions};
use super::failure::Failure;
use super::output::{Done, Output};
use crate::exit::ExitCode;

/// Send value and wait until the receiver has it for good
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SendCommand {
    /// Who pays: a name of your keystore or, on a development network, alice to jane
    pub(crate) from: String,
    /// Who receives: an address or a name
    pub(crate) to: String,
    /// How much, with a unit: 5lck, 0.25lck, 500mlck, 7units
    pub(crate) amount: String,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = WaitFor::Finalized)]
    pub(crate) wait: WaitFor,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
    /// Your own name for this payment; the same name never pays twice
    #[arg(long, value_name = "NAME")]
    pub(crate) id: Option<String>,
    /// Pay even though the same payment has been sent and its outcome is not known
    #[arg(long, conflicts_with = "id")]
    pub(crate) new: bool,
    /// Windows the transaction stays valid for [default: about a minute, at least 20]
    #[arg(long, value_name = "WINDOWS")]
    pub(crate) lifetime: Option<u64>,
    /// Only say whether it would be accepted now
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask before sending
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    password: PasswordOptions,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    output: Output,
}

/// What `--wait` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WaitFor {
    /// A validator has taken it
    Accepted,
    /// A committed block of the sender's shard has executed it
    Ordered,
    /// The receiver has it for good
    Finalized,
}

impl From<WaitFor> for Wait {
    fn from(wait: WaitFor) -> Self {
        match wait {
            WaitFor::Accepted => Wait::Accepted,
            WaitFor::Ordered => Wait::Ordered,
            WaitFor::Finalized => Wait::Finalized,
        }
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    lockstep_genesis::parse_duration(text).map_err(|error| error.to_string())
}

/// Who pays whom how much, with everything that was found out about them.
struct Payment {
    from: AccountId,
    to: AccountId,
    amount: Amount,
    source: u16,
    target: u16,
}

impl SendCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        self.output.finish(self.execute().await)
    }

    async fn execute(&self) -> Result<Done, Failure> {
        let amount: Amount = self.amount.parse()?;
        if amount.units() == 0 {
            return Err(Failure::usage(
                "LS-TX-002",
                "there is nothing to send: the amount is 0",
            ));
        }
        let connected = self.network.connect().await?;
        let keystore = Keystore::of_user();
        let names = Names {
            keystore: &keystore,
            network: connected.network,
            seed: connected.seed,
            shards: connected.shards,
        };
        let (from, to) = (names.account(&self.from)?, names.account(&self.to)?);
        let payment = Payment {
            from,
            to,
            amount,
            source: from.shard(connected.shards).get(),
            target: to.shard(connected.shards).get(),
        };
        let journal = Journal::of_user(&connected.hash);
        let (entry, signed) = match self.earlier(&connected, &journal, &payment)? {
            Some(earlier) => {
                let how = match earlier.0.outcome {
                    Some(_) => "was sent earlier; this is how it ended",
                    None => "was sent earlier; this continues it and does not pay again",
                };
                self.output
                    .progress(&format!("  {} {how}", short(&earlier.1.id)));
                earlier
            }
            None if self.dry_run => return self.rehearse(&connected, &payment).await,
            None => self.sign(&connected, &names, &journal, &payment).await?,
        };
        let outcome = match &entry.outcome {
            Some(outcome) => outcome.clone(),
            None => self.deliver(&connected, &payment, &signed).await?,
        };
        // An outcome that may still change stays open, and the same command continues with it.
        if entry.outcome.is_none() && outcome.is_final() {
            let outcome = Some(outcome.clone());
            journal.write(&Entry {
                outcome,
                ..entry.clone()
            })?;
        }
        Ok(self.report(&connected, &payment, &entry, outcome))
    }

    /// An earlier send that this command is about: the one of its `--id`, or an unsettled one of
    /// the same payment.
    fn earlier(
        &self,
        connected: &Connected,
        journal: &Journal,
        payment: &Payment,
    ) -> Result<Option<(Entry, SignedTransaction)>, Failure> {
        let like = entry(
            connected,
            payment,
            String::new(),
            TransactionId::ZERO,
            String::new(),
        );
        let found = match &self.id {
            Some(id) => match journal.find(id)? {
                Some(found) if !found.is_same_payment(&like) => {
                    let message = format!(
                        "{id} was another payment: {} to {}",
                        Amount(found.amount),
                        found.to
                    );
                    return Err(Failure::usage("LS-TX-003", message).help("choose another --id"));
                }
                found => found,
            },
            None if self.new => None,
            None => journal.unsettled(&like)?,
        };
        found
            .map(|entry| {
                let signed = SignedTransaction::from_hex(&entry.bytes, &connected.hash).map_err(
                    |error| Failure::usage("LS-TX-001", format!("the journal is damaged: {error}")),
                )?;
                Ok((entry, signed))
            })
            .transpose()
    }

    async fn sign(
        &self,
        connected: &Connected,
        names: &Names<'_>,
        journal: &Journal,
        payment: &Payment,
    ) -> Result<(Entry, SignedTransaction), Failure> {
        let sender = ask(connected, payment.from).await?;
        self.check_funds(&sender, payment)?;
        self.ask_about(connected, payment).await?;
        let signer = names.signer(&self.from, &self.password)?;
        let transfer = Transfer {
            to: payment.to,
            asset: AssetId::NATIVE,
            amount: payment.amount.units(),
        };
        let expiry = WindowNumber::new(sender.window).plus(self.lifetime(connected));
        let nonce = sender.pending_nonce.max(sender.nonce);
        let signed =
            SignedTransaction::transfers(&connected.hash, &signer, nonce, expiry, &[transfer]);
        let id = match &self.id {
            Some(id) => id.clone(),
            None => signed.id.to_string(),
        };
        let entry = entry(connected, payment, id, signed.id, signed.to_hex());
        journal.write(&entry)?;
        Ok((entry, signed))
    }

    /// Where windows are short, twenty of them are over before a busy shard has had its turn.
    fn lifetime(&self, connected: &Connected) -> u64 {
        const LONG_ENOUGH: Duration = Duration::from_secs(60);
        self.lifetime.unwrap_or_else(|| {
            let interval = connected
                .interval
                .map_or(u128::MAX, |interval| interval.as_micros());
            let windows = LONG_ENOUGH.as_micros() / interval.max(1);
            u64::try_from(windows)
                .unwrap_or(u64::MAX)
                .max(DEFAULT_LIFETIME)
        })
    }

    /// What can be said without sending. It is no promise: others send as well.
    async fn rehearse(&self, connected: &Connected, payment: &Payment) -> Result<Done, Failure> {
        let sender = ask(connected, payment.from).await?;
        self.check_funds(&sender, payment)?;
        if let Some(genesis) = &connected.genesis {
            self.check_minimum(genesis.limits.minimum_balance, &sender, payment)?;
        }
        let text = format!(
            "would be accepted as of window {}; nothing was sent",
            sender.window
        );
        let value = json!({
            "stage": "would_be_accepted", "window": sender.window, "nonce": sender.pending_nonce,
        });
        Ok(Done {
            value,
            text,
            bare: "would be accepted".to_owned(),
            exit: None,
        })
    }

    fn check_minimum(
        &self,
        minimum: u128,
        sender: &Account,
        payment: &Payment,
    ) -> Result<(), Failure> {
        let left = native(sender) - payment.amount.units();
        let arrives = payment.amount.units() >= minimum || payment.source == payment.target;
        if left >= minimum && arrives {
            return Ok(());
        }
        let failure = Failure::new(ExitCode::Rejected, "LS-TX-006", explain("minimum"));
        Err(failure.help(format!(
            "the minimum balance of this chain is {}",
            Amount(minimum)
        )))
    }

    /// The network would refuse it as well, but later and in fewer words.
    fn check_funds(&self, sender: &Account, payment: &Payment) -> Result<(), Failure> {
        let held = native(sender);
        if held >= payment.amount.units() {
            return Ok(());
        }
        let message = if sender.exists {
            format!(
                "{} holds {}, less than {}",
                self.from,
                Amount(held),
                payment.amount
            )
        } else {
            format!("{} does not hold anything on this chain", self.from)
        };
        Err(Failure::new(ExitCode::Rejected, "LS-TX-004", message))
    }

    async fn ask_about(&self, connected: &Connected, payment: &Payment) -> Result<(), Failure> {
        if self.yes || connected.network == Network::Development {
            return Ok(());
        }
        let receiver = ask(connected, payment.to).await?;
        let unknown = if receiver.exists {
            ""
        } else {
            ", who has never received anything"
        };
        let address = Address::new(connected.network, payment.to);
        let question = format!("Send {} to {address}{unknown}?", payment.amount);
        if self.output.confirm(&question) {
            Ok(())
        } else {
            Err(Failure::new(ExitCode::Rejected, "LS-TX-005", "not sent"))
        }
    }

    async fn deliver(
        &self,
        connected: &Connected,
        payment: &Payment,
        signed: &SignedTransaction,
    ) -> Result<Outcome, Failure> {
        self.output.progress(&self.headline(connected, payment));
        let cross = payment.source != payment.target && self.wait == WaitFor::Finalized;
        let destinations = match cross {
            true => vec![(payment.target, connected.shard(payment.target)?)],
            false => Vec::new(),
        };
        let delivery = Delivery {
            source: connected.shard(payment.source)?,
            shard: payment.source,
            sender: Address::new(connected.network, payment.from).to_string(),
            destinations,
            wait: self.wait.into(),
            deadline: self.timeout,
        };
        let started = Instant::now();
        let mut last = started;
        let across = payment.source != payment.target;
        let mut show = |progress: Progress| {
            let now = Instant::now();
            let step = format!("+ {}", milliseconds(now - last));
            last = now;
            let (what, place) = describe(&progress, payment.source, across);
            self.output
                .progress(&format!("  ✓ {what:<11} {place:<32} {step}"));
        };
        Ok(delivery.send(signed, &mut show).await?)
    }

    fn headline(&self, connected: &Connected, payment: &Payment) -> String {
        let (from, to) = (payment.source, payment.target);
        if from == to {
            return format!("  {} → {}    both in shard {from}", self.from, self.to);
        }
        let about = connected
            .interval
            .map(|interval| format!(", one every {}", format_duration(interval)))
            .unwrap_or_default();
        format!(
            "  {} shard {from} → {} shard {to}    cross-shard: settles at the next barrier{about}",
            self.from, self.to
        )
    }

    fn report(
        &self,
        connected: &Connected,
        payment: &Payment,
        entry: &Entry,
        outcome: Outcome,
    ) -> Done {
        let id = entry.transaction;
        let resolve = format!(
            "run the same command again: it continues with this transaction and pays once{}",
            self.id
                .as_ref()
                .map(|id| format!(" (--id {id})"))
                .unwrap_or_default()
        );
        let (stage, details, exit) = match outcome {
            Outcome::Reached { executed, credits } => {
                let stage = match (&executed, credits.is_empty()) {
                    (None, _) => "accepted",
                    (Some(executed), true) if !executed.destinations.is_empty() => "ordered",
                    _ => "finalized",
                };
                (
                    stage,
                    json!({ "executed": executed, "credits": credits }),
                    None,
                )
            }
            Outcome::Failed(executed) => {
                let why = executed
                    .failure
                    .clone()
                    .unwrap_or_else(|| "unknown".to_owned());
                let message = format!("the transaction was executed without effect: {why}");
                let failure = Failure::new(ExitCode::Rejected, "LS-TX-006", message);
                ("failed", json!({ "executed": executed }), Some(failure))
            }
            Outcome::Rejected { reason, message } => {
                let failure = Failure::new(ExitCode::Rejected, "LS-TX-007", message.clone());
                (
                    "rejected",
                    json!({ "reason": reason, "message": message }),
                    Some(failure),
                )
            }
            Outcome::Unknown { why } => {
                let message = format!("the outcome of {id} is not known: {why}");
                let failure = Failure::new(ExitCode::Unknown, "LS-TX-008", message).help(resolve);
                ("unknown", json!({ "why": why }), Some(failure))
            }
        };
        let mut value: Value = details;
        value["transaction"] = json!(id.to_string());
        value["id"] = json!(entry.id);
        value["stage"] = json!(stage);
        value["from"] = json!({ "address": entry.from, "shard": payment.source });
        value["to"] = json!({ "address": entry.to, "shard": payment.target });
        value["units"] = json!(payment.amount.units().to_string());
        value["chain"] = json!(connected.chain);
        let text = match stage {
            "finalized" => format!(
                "{} sent, final\n  tx {id}\n  Keep the proof:  lockstep tx receipt {id} -o receipt.json",
                payment.amount
            ),
            _ => format!("{stage}\n  tx {id}"),
        };
        Done {
            value,
            text,
            bare: id.to_string(),
            exit,
        }
    }
}

fn entry(
    connected: &Connected,
    payment: &Payment,
    id: String,
    transaction: TransactionId,
    bytes: String,
) -> Entry {
    let address = |account| Address::new(connected.network, account).to_string();
    Entry {
        id,
        transaction,
        bytes,
        from: address(payment.from),
        to: address(payment.to),
        asset: AssetId::NATIVE.get(),
        amount: payment.amount.units(),
        outcome: None,
    }
}

/// What a node's word for a failure means.
fn explain(word: &str) -> String {
    let sentence = match word {
        "balance" => "the sender holds less than the amount",
        "minimum" => {
            "it would leave or create an account below the minimum balance; to another shard at \
             least that much must be sent"
        }
        "busy" => "too much is on its way to that shard already; send again later",
        "limit" => "the sender has used up its transactions of this window; send again later",
        "overflow" => "a sum would not fit into 128 bits",
        word => word,
    };
    sentence.to_owned()
}

/// What happened, and where.
fn describe(progress: &Progress, source: u16, across: bool) -> (&'static str, String) {
    match progress {
        Progress::Accepted { again: false } => ("accepted", format!("shard {source} pool")),
        Progress::Accepted { again: true } => ("accepted", "known before".to_owned()),
        Progress::Executed(executed) => {
            let what = match (executed.applied, across) {
                (false, _) => "failed",
                (true, true) => "debited",
                (true, false) => "final",
            };
            (what, format!("shard {source} block {}", executed.height))
        }
        Progress::Recorded { record } => ("committed", format!("barrier #{record}")),
        Progress::Credited { shard, height } => {
            ("credited", format!("shard {shard} block {height}"))
        }
    }
}

fn milliseconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        millis => format!("{}.{:02} s", millis / 1_000, millis % 1_000 / 10),
    }
}

fn short(id: &TransactionId) -> String {
    let text = id.to_string();
    format!("{}…{}", &text[..4], &text[60..])
}
