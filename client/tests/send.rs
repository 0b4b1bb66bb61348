//! Sending against a node that answers as it is told: every end a send can have.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonrpsee::server::{RpcModule, Server, ServerHandle};
use jsonrpsee::types::ErrorObjectOwned;
use lockstep_client::rpc::{code, method};
use lockstep_client::{
    CallError, Client, Delivery, Outcome, Progress, SignedTransaction, Transfer, Wait,
};
use lockstep_types::{AccountId, AssetId, GenesisHash, SecretKey, WindowNumber};
use serde_json::{Value, json};

/// What a method answers, in turn: a value or an error code.
type Answers = Vec<Result<Value, i32>>;

/// A node whose answers are listed per method; the last one stays.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<BTreeMap<&'static str, Answers>>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Script {
    fn answer(self, method: &'static str, answers: impl Into<Vec<Value>>) -> Self {
        let answers = answers.into().into_iter().map(Ok).collect();
        self.answers.lock().unwrap().insert(method, answers);
        self
    }

    fn refuse(self, method: &'static str, code: i32) -> Self {
        self.answers.lock().unwrap().insert(method, vec![Err(code)]);
        self
    }

    fn next(&self, method: &'static str) -> Result<Value, ErrorObjectOwned> {
        self.asked.lock().unwrap().push(method);
        let mut answers = self.answers.lock().unwrap();
        let list = answers
            .get_mut(method)
            .unwrap_or_else(|| panic!("{method} was not expected"));
        let answer = if list.len() > 1 {
            list.remove(0)
        } else {
            list[0].clone()
        };
        answer.map_err(|code| ErrorObjectOwned::owned(code, "no", None::<()>))
    }

    fn times(&self, method: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| **asked == method)
            .count()
    }

    async fn serve(&self) -> (String, ServerHandle) {
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let mut module = RpcModule::new(self.clone());
        for name in method::CALLS {
            module
                .register_method(name, move |_, script, _| script.next(name))
                .unwrap();
        }
        (url, server.start(module))
    }
}

fn signed() -> SignedTransaction {
    let key = SecretKey::insecure_from_seed(0, "sender");
    let transfer = Transfer {
        to: AccountId::new([7; 20]),
        asset: AssetId::NATIVE,
        amount: 5,
    };
    let expiry = WindowNumber::new(9);
    SignedTransaction::transfers(&GenesisHash::ZERO, &key, 3, expiry, &[transfer])
}

fn accepted() -> Value {
    json!({ "id": null, "outcome": "accepted" })
}

fn rejected(reason: &str) -> Value {
    json!({ "id": null, "outcome": "rejected", "reason": reason, "message": "m" })
}

fn executed(applied: bool, destinations: &[u16]) -> Value {
    json!({
        "stage": "executed", "height": 5, "time_us": 1, "window": 2, "applied": applied,
        "failure": (!applied).then_some("balance"), "destinations": destinations,
    })
}

fn account(window: u64, nonce: u64) -> Value {
    json!({
        "address": "a", "shard": 0, "height": 1, "window": window, "exists": true,
        "nonce": nonce, "pending_nonce": nonce, "balances": [],
    })
}

fn record(height: Option<u64>) -> Value {
    let zero = "00".repeat(32);
    let shard = match height {
        Some(height) => json!({
            "presence": "present", "window": 2, "height": height, "digest": zero,
            "state_root": zero,
            "supply": [],
        }),
        None => json!({ "presence": "absent" }),
    };
    json!({ "number": 2, "hash": zero, "time_us": 1, "shards": [shard], "bytes": "" })
}

/// Sends and returns how it ended and what happened on the way.
async fn send(
    script: &Script,
    wait: Wait,
    seconds: u64,
) -> (Result<Outcome, CallError>, Vec<Progress>) {
    let (url, _server) = script.serve().await;
    let client = Client::new(&[url], Duration::from_millis(500)).unwrap();
    let delivery = Delivery {
        source: &client,
        shard: 0,
        sender: "a".to_owned(),
        destinations: vec![(1, &client)],
        wait,
        deadline: Duration::from_secs(seconds),
    };
    let mut steps = Vec::new();
    let outcome = delivery.send(&signed(), &mut |step| steps.push(step)).await;
    (outcome, steps)
}

#[tokio::test]
async fn a_transfer_across_shards_is_followed_to_its_credit() {
    let script = Script::default()
        .answer(method::SUBMIT, [accepted()])
        .answer(
            method::TRANSACTION,
            [json!({"stage": "pending"}), executed(true, &[1])],
        )
        // The first record was made without the shard.
        .answer(
            method::RECORD,
            [Value::Null, record(None), record(Some(4)), record(Some(6))],
        )
        .answer(
            method::CREDIT,
            vec![
                json!({"stage": "unknown"}),
                json!({"stage": "unknown"}),
                json!({"stage": "unknown"}),
                json!({"stage": "unknown"}),
                json!({"stage": "credited", "height": 8, "time_us": 1, "sequence": 0}),
            ],
        );
    let (outcome, steps) = send(&script, Wait::Finalized, 10).await;
    let outcome = outcome.unwrap();
    assert!(matches!(&outcome, Outcome::Reached { credits, .. } if *credits == [(1, 8)]));
    assert!(outcome.is_final());
    assert_eq!(steps[0], Progress::Accepted { again: false });
    assert!(matches!(steps[1], Progress::Executed(_)));
    assert_eq!(
        steps[2..],
        [
            Progress::Recorded { record: 4 },
            Progress::Credited {
                shard: 1,
                height: 8
            }
        ]
    );
}

#[tokio::test]
async fn waiting_ends_where_it_was_asked_to() {
    let script = Script::default()
        .answer(method::SUBMIT, [accepted()])
        .answer(method::TRANSACTION, [executed(true, &[1])]);
    let (outcome, _) = send(&script, Wait::Accepted, 5).await;
    assert!(!outcome.unwrap().is_final());
    assert_eq!(script.times(method::TRANSACTION), 0);
    let (outcome, steps) = send(&script, Wait::Ordered, 5).await;
    assert!(
        !outcome.unwrap().is_final(),
        "the value has not arrived yet"
    );
    assert_eq!(steps.len(), 2);
}

#[tokio::test]
async fn an_execution_without_effect_is_a_failure_and_final() {
    let script = Script::default()
        .answer(method::SUBMIT, [accepted()])
        .answer(method::TRANSACTION, [executed(false, &[])]);
    let (outcome, _) = send(&script, Wait::Finalized, 5).await;
    let outcome = outcome.unwrap();
    assert!(matches!(&outcome, Outcome::Failed(e) if e.failure.as_deref() == Some("balance")));
    assert!(outcome.is_final());
}

#[tokio::test]
async fn a_refused_transaction_is_rejected_with_the_reason() {
    let script = Script::default()
        .answer(method::SUBMIT, [rejected("expired")])
        .answer(method::TRANSACTION, [json!({"stage": "unknown"})]);
    let (outcome, steps) = send(&script, Wait::Finalized, 5).await;
    assert!(matches!(outcome.unwrap(), Outcome::Rejected { reason, .. } if reason == "expired"));
    assert!(steps.is_empty());
}

/// The first node leaves open whether it has taken the transaction, the second refuses it. The
/// refusal is the end only when no later moment can change it.
#[tokio::test]
async fn a_refusal_by_another_node_is_not_the_end_of_what_one_may_have_taken() {
    for (reason, is_end) in [("balance", false), ("no_account", false), ("expired", true)] {
        let slow = Script::default()
            .refuse(method::SUBMIT, code::NOT_IN_TIME)
            .refuse(method::TRANSACTION, code::NOT_READY);
        let other = Script::default()
            .answer(method::SUBMIT, [rejected(reason)])
            .answer(method::TRANSACTION, [json!({"stage": "unknown"})]);
        let ((first, _a), (second, _b)) = (slow.serve().await, other.serve().await);
        for (nodes, is_end) in [(vec![first, second.clone()], is_end), (vec![second], true)] {
            let client = Client::new(&nodes, Duration::from_secs(2)).unwrap();
            let delivery = Delivery {
                source: &client,
                shard: 0,
                sender: "a".to_owned(),
                destinations: Vec::new(),
                wait: Wait::Ordered,
                deadline: Duration::from_secs(5),
            };
            let outcome = delivery.send(&signed(), &mut |_| ()).await.unwrap();
            assert_eq!(outcome.is_final(), is_end, "{reason}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_node_that_was_not_done_in_time_leaves_it_open() {
    let script = Script::default().refuse(method::SUBMIT, code::NOT_IN_TIME);
    let (outcome, _) = send(&script, Wait::Accepted, 1).await;
    assert!(matches!(outcome.unwrap(), Outcome::Unknown { .. }));
}

/// The node refuses the nonce because it has executed this very transaction, and finds it again
/// only a moment later.
#[tokio::test]
async fn an_executed_transaction_is_not_called_rejected_when_it_is_sent_again() {
    let unknown = json!({"stage": "unknown"});
    let script = Script::default()
        .answer(method::SUBMIT, [rejected("nonce")])
        .answer(
            method::TRANSACTION,
            [unknown.clone(), unknown, executed(true, &[])],
        );
    let (outcome, steps) = send(&script, Wait::Finalized, 5).await;
    assert!(outcome.unwrap().is_final());
    assert_eq!(steps[0], Progress::Accepted { again: true });
}

#[tokio::test]
async fn a_transaction_that_expired_unexecuted_is_rejected() {
    let script = Script::default()
        .answer(method::SUBMIT, [accepted()])
        .answer(method::TRANSACTION, [json!({"stage": "pending"})])
        .answer(method::ACCOUNT, [account(9, 3), account(10, 3)]);
    let (outcome, _) = send(&script, Wait::Finalized, 10).await;
    assert!(matches!(outcome.unwrap(), Outcome::Rejected { reason, .. } if reason == "expired"));
    assert_eq!(
        script.times(method::ACCOUNT),
        2,
        "in its last window it may still execute"
    );
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_not_a_failure() {
    let script = Script::default()
        .answer(method::SUBMIT, [accepted()])
        .answer(method::TRANSACTION, [json!({"stage": "pending"})]);
    let (outcome, _) = send(&script, Wait::Finalized, 0).await;
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, Outcome::Unknown { .. }));
    assert!(!outcome.is_final());
}

#[tokio::test]
async fn a_busy_node_is_asked_again() {
    let busy = json!({ "id": null, "outcome": "busy", "message": "m" });
    let script = Script::default()
        .answer(method::SUBMIT, [busy, accepted()])
        .answer(method::TRANSACTION, [executed(true, &[])]);
    let (outcome, _) = send(&script, Wait::Finalized, 5).await;
    assert!(outcome.unwrap().is_final());
    assert_eq!(script.times(method::SUBMIT), 2);
}

#[tokio::test]
async fn a_node_that_cannot_answer_is_passed_over() {
    let down = Script::default().refuse(method::TRANSACTION, code::NOT_READY);
    let up = Script::default().answer(method::TRANSACTION, [json!({"stage": "pending"})]);
    let ((first, _a), (second, _b)) = (down.serve().await, up.serve().await);
    // Nobody listens on the discard port.
    let urls = ["http://127.0.0.1:9".to_owned(), first, second];
    let client = Client::new(&urls, Duration::from_secs(2)).unwrap();
    client.transaction(&signed().id).await.unwrap();
    client.transaction(&signed().id).await.unwrap();
    assert_eq!(client.url(), urls[2]);
    assert_eq!(
        (
            down.times(method::TRANSACTION),
            up.times(method::TRANSACTION)
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn an_unreachable_network_is_not_an_unknown_outcome() {
    let client = Client::new(&["http://127.0.0.1:9"], Duration::from_secs(1)).unwrap();
    let delivery = Delivery {
        source: &client,
        shard: 0,
        sender: "a".to_owned(),
        destinations: Vec::new(),
        wait: Wait::Accepted,
        deadline: Duration::from_secs(1),
    };
    let error = delivery.send(&signed(), &mut |_| ()).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(matches!(
        Client::new(&["nonsense"], Duration::from_secs(1)),
        Err(CallError::BadUrl { .. })
    ));
    assert!(Client::new::<&str>(&[], Duration::from_secs(1)).is_err());
}
