//! Transactions at the RPC's door: checked, and admitted or turned away with a stable word.

use lockstep_client::rpc::{Admission, Submitted};
use lockstep_ledger::{Failure, History, MAX_TRANSACTION_BYTES, Refusal, Store, Transaction};
use lockstep_shard::Executor;
use lockstep_types::{GenesisHash, Rejection, TransactionId, Verified, Verifier, codec};

use super::failed;
use super::past::known_from_the_start;
use crate::rpc::Answer;
use crate::shared::Shared;

/// Checks and admits decoded transactions; runs on a verifier thread and then on the
/// execution thread.
pub(super) fn verify(
    verifier: &Verifier,
    genesis: &GenesisHash,
    all: Vec<Vec<u8>>,
) -> Vec<Result<Verified<Transaction>, Submitted>> {
    let decoded: Vec<Result<Transaction, Submitted>> = all
        .iter()
        .map(|bytes| {
            codec::decode_canonical(bytes, MAX_TRANSACTION_BYTES)
                .map_err(|error| rejected(None, "malformed", error))
        })
        .collect();
    let whole = decoded.iter().filter_map(|one| one.as_ref().ok());
    let whole: Vec<Transaction> = whole.cloned().collect();
    let ids: Vec<TransactionId> = whole.iter().map(|one| one.id(genesis)).collect();
    let mut checked = verifier.check_each(whole, genesis).into_iter().zip(ids);
    decoded
        .into_iter()
        .map(|one| {
            one?;
            let (checked, id) = checked.next().expect("one per decoded transaction");
            checked.map_err(|rejection| {
                let word = match rejection {
                    Rejection::BadSignature { .. } => "signature",
                    Rejection::Codec(_) => "malformed",
                    _ => "limit",
                };
                rejected(Some(id), word, rejection)
            })
        })
        .collect()
}

pub(super) fn rejected(
    id: Option<TransactionId>,
    reason: &str,
    message: impl ToString,
) -> Submitted {
    Submitted {
        id,
        admission: Admission::Rejected {
            reason: reason.to_owned(),
            message: message.to_string(),
        },
    }
}

/// The stable word for a refusal.
pub(super) fn refusal_word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongShard { .. } => "wrong_shard",
        Refusal::UnknownSender => "no_account",
        Refusal::StaleNonce { .. } | Refusal::NonceAhead { .. } => "nonce",
        Refusal::Expired { .. } => "expired",
        Refusal::BelowMinimum { .. } | Refusal::Insufficient { .. } => "balance",
    }
}

/// The stable word for a failure.
pub(super) fn failure_word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Insufficient { .. } => "balance",
        Failure::BelowMinimum => "minimum",
        Failure::Busy { .. } => "busy",
        Failure::Overflow => "overflow",
        Failure::WindowLimit => "limit",
        Failure::Internal => "internal",
    }
}

/// Admits one transaction on the execution thread. Its window is that of the executed state: later
/// blocks may be committed here whose transactions are still to come.
pub(super) fn admit(
    executor: &Executor,
    store: &dyn Store,
    shared: &Shared,
    genesis: &GenesisHash,
    transaction: &Transaction,
) -> Answer<(TransactionId, Admission)> {
    let id = transaction.id(genesis);
    if shared.pending.has(&id) {
        return Ok((id, Admission::Pending));
    }
    let reject = |reason: &str, message: String| Admission::Rejected {
        reason: reason.to_owned(),
        message,
    };
    let admission = match executor.ledger().admits(transaction, executor.window()) {
        Ok(()) if shared.pool_is_full() => Admission::Busy {
            message: "the pool is full; try again".to_owned(),
        },
        Ok(()) => Admission::Accepted,
        Err(refusal @ Refusal::StaleNonce { .. }) => match History::new(store).find(&id) {
            Ok(Some(_)) => Admission::Executed,
            Ok(None) => {
                known_from_the_start(store)?;
                reject(refusal_word(&refusal), refusal.to_string())
            }
            Err(error) => return Err(failed(error)),
        },
        Err(refusal) => reject(refusal_word(&refusal), refusal.to_string()),
    };
    Ok((id, admission))
}
