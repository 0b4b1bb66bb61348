//! [`Client`]: calls with a deadline. Every call ends in an answer or in a [`CallError`] that says
//! whether the network may have acted on it.

use core::time::Duration;

use jsonrpsee_core::client::{ClientT, Error as RpcError, Subscription, SubscriptionClientT};
use jsonrpsee_core::params::ArrayParams;
use jsonrpsee_http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};
use lockstep_types::TransactionId;
use serde::de::DeserializeOwned;

use crate::rpc::{
    Account, BarrierPhases, BlockSummary, Credit, Info, MAX_ANSWER_BYTES, Misdeed, PeerConduct,
    Proof, Record, ShardSupply, Stage, Status, Submitted, method,
};

/// How long a call may take when nothing else is asked for.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The address is not one.
    #[error("{url:?} is not an RPC address: {message}")]
    BadUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// No node could be reached; nothing was delivered.
    #[error("cannot reach {url}: {message}")]
    Unreachable {
        /// The address tried last.
        url: String,
        /// What the system says.
        message: String,
    },
    /// The deadline passed. A submitted transaction may or may not have been taken.
    #[error("no answer from {url} within {seconds} s", seconds = deadline.as_secs_f64())]
    TimedOut {
        /// The address tried last.
        url: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The node refused the call.
    #[error("{message} (code {code})")]
    Refused {
        /// One of [`crate::rpc::code`], or a standard JSON-RPC code.
        code: i32,
        /// A sentence for people.
        message: String,
    },
    /// The answer is not one of this version's.
    #[error("{url} gave an answer that cannot be read: {message}")]
    Malformed {
        /// Who answered.
        url: String,
        /// What is wrong with it.
        message: String,
    },
}

impl CallError {
    /// Would another node of the same committee perhaps answer?
    fn is_local(&self) -> bool {
        match self {
            CallError::Unreachable { .. }
            | CallError::TimedOut { .. }
            | CallError::Malformed { .. } => true,
            CallError::Refused { code, .. } => [
                crate::rpc::code::NOT_READY,
                crate::rpc::code::BUSY,
                crate::rpc::code::HISTORY_STARTS_LATER,
            ]
            .contains(code),
            CallError::BadUrl { .. } => false,
        }
    }
}

/// Calls the members of one committee: the first that answers is enough, and stays the one that
/// is asked until it fails. Submitting to a second one after a failure is harmless, because the
/// same transaction executes at most once.
pub struct Client {
    nodes: Vec<(String, HttpClient)>,
    deadline: Duration,
    current: core::sync::atomic::AtomicUsize,
}

impl Client {
    /// A client for nodes at `urls` (`http://host:port`), each call within `deadline`.
    ///
    /// # Errors
    /// When a URL is not one, or there is none.
    pub fn new<U: AsRef<str>>(urls: &[U], deadline: Duration) -> Result<Self, CallError> {
        if urls.is_empty() {
            let message = "no address was given".to_owned();
            return Err(CallError::BadUrl {
                url: String::new(),
                message,
            });
        }
        let nodes = urls
            .iter()
            .map(|url| {
                let url = url.as_ref();
                HttpClientBuilder::default()
                    .request_timeout(deadline)
                    .max_response_size(MAX_ANSWER_BYTES)
                    .build(url)
                    .map(|client| (url.to_owned(), client))
                    .map_err(|error| CallError::BadUrl {
                        url: url.to_owned(),
                        message: error.to_string(),
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Client {
            nodes,
            deadline,
            current: 0.into(),
        })
    }

    /// The address that answers at the moment.
    pub fn url(&self) -> &str {
        let current = self.current.load(core::sync::atomic::Ordering::Relaxed);
        &self.nodes[current % self.nodes.len()].0
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: ArrayParams,
    ) -> Result<T, CallError> {
        self.call_noting(method, params, &mut false).await
    }

    /// As [`Client::call`]; notes whether a node has left it open what it did, though another one has
    /// answered then.
    async fn call_noting<T: DeserializeOwned>(
        &self,
        method: &str,
        params: ArrayParams,
        left_open: &mut bool,
    ) -> Result<T, CallError> {
        use core::sync::atomic::Ordering::Relaxed;
        let first = self.current.load(Relaxed);
        let mut last = None;
        for turn in 0..self.nodes.len() {
            let index = first.wrapping_add(turn) % self.nodes.len();
            let (url, node) = &self.nodes[index];
            let answer = tokio::time::timeout(self.deadline, node.request(method, params.clone()));
            let error = match answer.await {
                Ok(Ok(value)) => {
                    self.current.store(index, Relaxed);
                    return Ok(value);
                }
                Ok(Err(error)) => call_error(url, self.deadline, error),
                Err(_) => CallError::TimedOut {
                    url: url.clone(),
                    deadline: self.deadline,
                },
            };
            if !error.is_local() {
                return Err(error);
            }
            *left_open |= matches!(error, CallError::TimedOut { .. });
            // A timeout leaves more open than an unreachable node: it is what the caller must know.
            if !matches!(last, Some(CallError::TimedOut { .. })) {
                last = Some(error);
            }
        }
        Err(last.expect("there is at least one node"))
    }

    /// [`method::INFO`].
    ///
    /// # Errors
    /// See [`CallError`], here and below.
    pub async fn info(&self) -> Result<Info, CallError> {
        self.call(method::INFO, ArrayParams::new()).await
    }

    /// [`method::STATUS`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn status(&self) -> Result<Status, CallError> {
        self.call(method::STATUS, ArrayParams::new()).await
    }

    /// [`method::SUBMIT`].
    ///
    /// # Errors
    /// See [`CallError`]. After [`CallError::TimedOut`] the outcome is unknown.
    pub async fn submit(&self, transaction: &[u8]) -> Result<Submitted, CallError> {
        self.call(method::SUBMIT, one(&hex::encode(transaction)))
            .await
    }

    /// As [`Client::submit`]; notes whether a node may have taken the transaction without saying so.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub(crate) async fn submit_noting(
        &self,
        transaction: &[u8],
        left_open: &mut bool,
    ) -> Result<Submitted, CallError> {
        let params = one(&hex::encode(transaction));
        self.call_noting(method::SUBMIT, params, left_open).await
    }

    /// [`method::SUBMIT_MANY`].
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn submit_many(&self, transactions: &[Vec<u8>]) -> Result<Vec<Submitted>, CallError> {
        let list: Vec<String> = transactions.iter().map(hex::encode).collect();
        self.call(method::SUBMIT_MANY, one(&list)).await
    }

    /// [`method::ACCOUNT`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn account(&self, address: &str) -> Result<Account, CallError> {
        self.call(method::ACCOUNT, one(&address)).await
    }

    /// [`method::TRANSACTION`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn transaction(&self, id: &TransactionId) -> Result<Stage, CallError> {
        self.call(method::TRANSACTION, one(&id.to_string())).await
    }

    /// [`method::CREDIT`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn credit(&self, source: u16, id: &TransactionId) -> Result<Credit, CallError> {
        self.call(method::CREDIT, two(&source, &id.to_string()))
            .await
    }

    /// [`method::RECEIPT`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn receipt(&self, id: &TransactionId) -> Result<Option<Proof>, CallError> {
        self.call(method::RECEIPT, one(&id.to_string())).await
    }

    /// [`method::CREDIT_RECEIPT`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn credit_receipt(
        &self,
        source: u16,
        id: &TransactionId,
    ) -> Result<Option<Proof>, CallError> {
        self.call(method::CREDIT_RECEIPT, two(&source, &id.to_string()))
            .await
    }

    /// [`method::RECORD`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn record(&self, number: u64) -> Result<Option<Record>, CallError> {
        self.call(method::RECORD, one(&number)).await
    }

    /// [`method::SUPPLY`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn supply(&self) -> Result<ShardSupply, CallError> {
        self.call(method::SUPPLY, ArrayParams::new()).await
    }

    /// [`method::BARRIERS`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn barriers(&self, from: u64) -> Result<Vec<BarrierPhases>, CallError> {
        self.call(method::BARRIERS, one(&from)).await
    }

    /// How the other validators behave towards the node.
    ///
    /// # Errors
    /// No answer in time, or a refusal.
    pub async fn peers(&self) -> Result<Vec<PeerConduct>, CallError> {
        self.call(method::PEERS, ArrayParams::new()).await
    }

    /// Members that were seen to contradict themselves.
    ///
    /// # Errors
    /// No answer.
    pub async fn evidence(&self) -> Result<Vec<Misdeed>, CallError> {
        self.call(method::EVIDENCE, ArrayParams::new()).await
    }
}

fn one(value: &impl serde::Serialize) -> ArrayParams {
    let mut params = ArrayParams::new();
    params
        .insert(value)
        .expect("strings and numbers always encode");
    params
}

fn two(first: &impl serde::Serialize, second: &impl serde::Serialize) -> ArrayParams {
    let mut params = one(first);
    params
        .insert(second)
        .expect("strings and numbers always encode");
    params
}

fn call_error(url: &str, deadline: Duration, error: RpcError) -> CallError {
    let url = url.to_owned();
    match error {
        RpcError::Call(object) if object.code() == crate::rpc::code::NOT_IN_TIME => {
            CallError::TimedOut { url, deadline }
        }
        RpcError::Call(object) => CallError::Refused {
            code: object.code(),
            message: object.message().to_owned(),
        },
        RpcError::RequestTimeout => CallError::TimedOut { url, deadline },
        RpcError::ParseError(error) => CallError::Malformed {
            url,
            message: error.to_string(),
        },
        error @ RpcError::InvalidRequestId(_) => CallError::Malformed {
            url,
            message: error.to_string(),
        },
        error => CallError::Unreachable {
            url,
            message: error.to_string(),
        },
    }
}

/// A stream of executed blocks over WebSocket. It ends when the connection does; what was missed
/// then has to be asked for.
pub struct Blocks {
    // The subscription lives as long as its connection.
    _connection: WsClient,
    subscription: Subscription<BlockSummary>,
    url: String,
}

impl Blocks {
    /// Subscribes at one node; `http://` and `ws://` addresses both work.
    ///
    /// # Errors
    /// When the node cannot be reached or refuses.
    pub async fn subscribe(url: &str, deadline: Duration) -> Result<Self, CallError> {
        let ws = match url.strip_prefix("http://") {
            Some(rest) => format!("ws://{rest}"),
            None => url.to_owned(),
        };
        let connection = WsClientBuilder::default()
            .request_timeout(deadline)
            .connection_timeout(deadline)
            .max_response_size(MAX_ANSWER_BYTES)
            .build(&ws)
            .await
            .map_err(|error| call_error(url, deadline, error))?;
        let subscription = connection
            .subscribe(
                method::SUBSCRIBE_BLOCKS,
                ArrayParams::new(),
                method::UNSUBSCRIBE_BLOCKS,
            )
            .await
            .map_err(|error| call_error(url, deadline, error))?;
        Ok(Blocks {
            _connection: connection,
            subscription,
            url: url.to_owned(),
        })
    }

    /// The next block; none when the connection has ended.
    ///
    /// # Errors
    /// When a notification cannot be read.
    pub async fn next(&mut self) -> Option<Result<BlockSummary, CallError>> {
        let next = self.subscription.next().await?;
        Some(next.map_err(|error| CallError::Malformed {
            url: self.url.clone(),
            message: error.to_string(),
        }))
    }
}
