//! Sending: submit a signed transaction and follow it until what the caller waits for, through
//! the sender's shard, the barrier, and the receiver's shard.
//!
//! Every send ends in one of: reached, rejected, or *unknown* with the id to ask again. Submitting
//! the same transaction twice pays once, so an unknown outcome is resolved by sending it again.

use core::time::Duration;
use std::time::Instant;

use lockstep_types::TransactionId;
use serde::{Deserialize, Serialize};

use crate::rpc::{Admission, Credit, Executed, RecordedShard, Stage};
use crate::{CallError, Client, SignedTransaction};

/// How often a node is asked. Short against a block on one machine, long against a call.
const POLL: Duration = Duration::from_millis(25);
/// Refused for lack of room: how long until the next try.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// How often it is checked whether a transaction that does not appear has expired.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);

/// The reason of a refusal that may be about a transaction's own execution.
const NONCE: &str = "nonce";
/// Reasons that hold for ever.
const LASTING: [&str; 6] = [
    NONCE,
    "expired",
    "limit",
    "malformed",
    "signature",
    "wrong_shard",
];
/// How long a node may take from executing a transaction to finding it again.
const NONCE_GRACE: Duration = Duration::from_secs(2);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// A validator has taken it.
    Accepted,
    /// A committed block of the sender's shard has executed it.
    Ordered,
    /// The receiver has it for good.
    Finalized,
}

/// Something that has happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A validator has taken the transaction; `again` when it knew it before.
    Accepted {
        /// It was known.
        again: bool,
    },
    /// A committed block executed it.
    Executed(Executed),
    /// The barrier that certifies it for other shards is decided.
    Recorded {
        /// Its number.
        record: u64,
    },
    /// A committed block of a destination credited it.
    Credited {
        /// The destination.
        shard: u16,
        /// The block's height.
        height: u64,
    },
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// What was waited for has happened.
    Reached {
        /// The execution, when it was waited for.
        executed: Option<Executed>,
        /// Destination and height of each credit, when they were waited for.
        credits: Vec<(u16, u64)>,
    },
    /// It was executed without effect; only its nonce is used up. Final.
    Failed(Executed),
    /// It was not executed, and never will be.
    Rejected {
        /// A stable word.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// The deadline passed. It may still be executed until it expires.
    Unknown {
        /// What was last known.
        why: String,
    },
}

impl Outcome {
    /// Nothing later can change it: the value has arrived, or never will.
    pub fn is_final(&self) -> bool {
        match self {
            Outcome::Reached {
                executed: Some(executed),
                credits,
            } => executed.destinations.len() == credits.len(),
            Outcome::Reached { executed: None, .. } | Outcome::Unknown { .. } => false,
            Outcome::Failed(_) | Outcome::Rejected { .. } => true,
        }
    }
}

/// Where to send and how long to wait.
pub struct Delivery<'a> {
    /// Members of the sender's shard.
    pub source: &'a Client,
    /// The sender's shard.
    pub shard: u16,
    /// The sender's address.
    pub sender: String,
    /// Members of each other shard that receives something.
    pub destinations: Vec<(u16, &'a Client)>,
    /// What to wait for.
    pub wait: Wait,
    /// How long to wait.
    pub deadline: Duration,
}

impl Delivery<'_> {
    /// Sends and follows, telling `progress` what happens when it happens.
    ///
    /// # Errors
    /// Only when nothing can have been delivered: no node was reached, or the node refused the
    /// call itself. After the first delivery there is always an [`Outcome`].
    pub async fn send(
        &self,
        signed: &SignedTransaction,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome, CallError> {
        let until = Instant::now() + self.deadline;
        if let Some(outcome) = self.submit(signed, until, progress).await? {
            return Ok(outcome);
        }
        if self.wait == Wait::Accepted {
            return Ok(Outcome::Reached {
                executed: None,
                credits: Vec::new(),
            });
        }
        let executed = match self.execution(signed, until).await {
            Ok(executed) => executed,
            Err(outcome) => return Ok(outcome),
        };
        progress(Progress::Executed(executed.clone()));
        if !executed.applied {
            return Ok(Outcome::Failed(executed));
        }
        if self.wait == Wait::Ordered || executed.destinations.is_empty() {
            return Ok(Outcome::Reached {
                executed: Some(executed),
                credits: Vec::new(),
            });
        }
        Ok(self.settlement(&signed.id, executed, until, progress).await)
    }

    /// Delivers the transaction. Some outcome ends the send; none: it is in a pool or beyond.
    async fn submit(
        &self,
        signed: &SignedTransaction,
        until: Instant,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Outcome>, CallError> {
        let mut unanswered = false;
        loop {
            let submitted = self.source.submit_noting(&signed.bytes, &mut unanswered);
            let why = match submitted.await {
                Ok(submitted) => match submitted.admission {
                    Admission::Accepted => {
                        progress(Progress::Accepted { again: unanswered });
                        return Ok(None);
                    }
                    Admission::Pending | Admission::Executed => {
                        progress(Progress::Accepted { again: true });
                        return Ok(None);
                    }
                    Admission::Rejected { reason, message } => {
                        return match self.rejected(signed, reason, message, unanswered).await {
                            Outcome::Reached { .. } => {
                                progress(Progress::Accepted { again: true });
                                Ok(None)
                            }
                            outcome => Ok(Some(outcome)),
                        };
                    }
                    Admission::Busy { message } => message,
                },
                Err(error) if unanswered => error.to_string(),
                Err(error) => return Err(error),
            };
            if Instant::now() + BUSY_PAUSE >= until {
                return Ok(Some(Outcome::Unknown { why }));
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    /// A rejection is final only if the transaction has not been executed before: a node refuses
    /// the nonce of an executed transaction as well, and may learn a moment later that it was
    /// this very one. Nor is one that could be otherwise at another moment, when a node may have taken
    /// the transaction without saying so.
    async fn rejected(
        &self,
        signed: &SignedTransaction,
        reason: String,
        message: String,
        unanswered: bool,
    ) -> Outcome {
        let lasts = LASTING.contains(&reason.as_str());
        let grace = if reason == NONCE {
            NONCE_GRACE
        } else {
            Duration::ZERO
        };
        let until = Instant::now() + grace;
        loop {
            match self.source.transaction(&signed.id).await {
                Ok(Stage::Executed(executed)) if !executed.applied => {
                    return Outcome::Failed(executed);
                }
                Ok(Stage::Executed(executed)) => {
                    let credits = Vec::new();
                    return Outcome::Reached {
                        executed: Some(executed),
                        credits,
                    };
                }
                Ok(Stage::Pending) => return Outcome::Unknown { why: message },
                Ok(Stage::Unknown) if Instant::now() < until => tokio::time::sleep(POLL).await,
                Ok(Stage::Unknown) if unanswered && !lasts => {
                    return Outcome::Unknown { why: message };
                }
                Ok(Stage::Unknown) => return Outcome::Rejected { reason, message },
                Err(error) => {
                    return Outcome::Unknown {
                        why: error.to_string(),
                    };
                }
            }
        }
    }

    async fn execution(
        &self,
        signed: &SignedTransaction,
        until: Instant,
    ) -> Result<Executed, Outcome> {
        let mut why = "it waits in the pool".to_owned();
        let mut next_check = Instant::now() + EXPIRY_CHECK;
        loop {
            match self.source.transaction(&signed.id).await {
                Ok(Stage::Executed(executed)) => return Ok(executed),
                Ok(_) => {}
                Err(error) => why = error.to_string(),
            }
            if Instant::now() >= next_check {
                self.check_expiry(signed).await?;
                next_check = Instant::now() + EXPIRY_CHECK;
            }
            pause(until, &why).await?;
        }
    }

    /// Past its last window a transaction that was not executed never will be.
    async fn check_expiry(&self, signed: &SignedTransaction) -> Result<(), Outcome> {
        let Ok(account) = self.source.account(&self.sender).await else {
            return Ok(());
        };
        let transaction = &signed.transaction;
        if account.window <= transaction.expiry.get() || account.nonce > transaction.nonce {
            return Ok(());
        }
        Err(Outcome::Rejected {
            reason: "expired".to_owned(),
            message: format!(
                "window {} has begun and the transaction was valid until window {}",
                account.window,
                transaction.expiry.get()
            ),
        })
    }

    async fn settlement(
        &self,
        id: &TransactionId,
        executed: Executed,
        until: Instant,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        let mut next_record = Some(executed.window);
        let mut credits = Vec::new();
        for destination in &executed.destinations {
            let client = self
                .destinations
                .iter()
                .find(|(shard, _)| shard == destination);
            let Some((shard, client)) = client else {
                return Outcome::Unknown {
                    why: format!("no node of shard {destination} is known"),
                };
            };
            loop {
                let mut why = "it waits for the barrier".to_owned();
                if let Some(number) = next_record {
                    next_record = self.look_for_record(number, &executed, progress).await;
                } else {
                    why = format!("the barrier is decided; shard {shard} has not credited it yet");
                }
                match client.credit(self.shard, id).await {
                    Ok(Credit::Credited { height, .. }) => {
                        progress(Progress::Credited {
                            shard: *shard,
                            height,
                        });
                        credits.push((*shard, height));
                        break;
                    }
                    Ok(Credit::Unknown) => {}
                    Err(error) => why = error.to_string(),
                }
                if let Err(outcome) = pause(until, &why).await {
                    return outcome;
                }
            }
        }
        Outcome::Reached {
            executed: Some(executed),
            credits,
        }
    }

    /// Asks for record `number`. Returns the next one to ask for, none once the record that
    /// certifies the transaction has been seen.
    async fn look_for_record(
        &self,
        number: u64,
        executed: &Executed,
        progress: &mut dyn FnMut(Progress),
    ) -> Option<u64> {
        let Ok(Some(record)) = self.source.record(number).await else {
            return Some(number);
        };
        match record.shards.get(usize::from(self.shard)) {
            Some(RecordedShard::Present { height, .. }) if *height >= executed.height => {
                progress(Progress::Recorded { record: number });
                None
            }
            _ => Some(number + 1),
        }
    }
}

async fn pause(until: Instant, why: &str) -> Result<(), Outcome> {
    if Instant::now() >= until {
        return Err(Outcome::Unknown {
            why: why.to_owned(),
        });
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}
