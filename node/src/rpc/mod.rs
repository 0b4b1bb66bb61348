//! What clients ask of a node, over JSON-RPC. Types and method names are those of
//! [`lockstep_client::rpc`]; the answers come from a [`Backend`].
//!
//! The RPC holds no keys and never blocks the replica: reads go to the executed state, submissions
//! to the pool's own queue.

mod calls;
mod frames;
mod guests;
mod line;
mod names;
mod room;
mod server;

use std::future::Future;
use std::sync::Arc;

use jsonrpsee::core::RpcResult;
use jsonrpsee::core::{
    RegisterMethodError,
    server::{RpcModule, SubscriptionMessage},
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use lockstep_client::rpc::{
    Account, BarrierPhases, BlockSummary, Credit, Info, MAX_SUBMITTED, Misdeed, PeerConduct, Proof,
    Record, ShardSupply, Stage, Status, Submitted, method,
};
use lockstep_types::{AccountId, ShardId, TransactionId, WindowNumber};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

pub use guests::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, MAX_LOCAL_CONNECTIONS};
pub use server::{Pages, Server};

/// Code of an answer to parameters that make no sense.
const INVALID_PARAMS: i32 = jsonrpsee::types::error::INVALID_PARAMS_CODE;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One of [`lockstep_client::rpc::code`].
    pub code: i32,
    /// A sentence.
    pub message: String,
}

impl From<Refused> for ErrorObjectOwned {
    fn from(refused: Refused) -> Self {
        ErrorObjectOwned::owned(refused.code, refused.message, None::<()>)
    }
}

/// An answer or a refusal.
pub type Answer<T> = Result<T, Refused>;

/// What a node can be asked.
pub trait Backend: Send + Sync + 'static {
    /// What never changes.
    fn info(&self) -> Info;
    /// How it is doing.
    fn status(&self) -> Status;
    /// The account an address names on this network.
    ///
    /// # Errors
    /// What is wrong with the address.
    fn parse_address(&self, address: &str) -> Result<AccountId, String>;
    /// Takes encoded transactions; one result each, in order.
    fn submit(
        &self,
        transactions: Vec<Vec<u8>>,
    ) -> impl Future<Output = Answer<Vec<Submitted>>> + Send;
    /// An account, as executed.
    fn account(&self, account: AccountId) -> impl Future<Output = Answer<Account>> + Send;
    /// How far a transaction is.
    fn transaction(&self, id: TransactionId) -> impl Future<Output = Answer<Stage>> + Send;
    /// How far its credit is here.
    fn credit(
        &self,
        source: ShardId,
        id: TransactionId,
    ) -> impl Future<Output = Answer<Credit>> + Send;
    /// The receipt of a transaction with its proof.
    fn receipt(&self, id: TransactionId) -> impl Future<Output = Answer<Option<Proof>>> + Send;
    /// The receipt of a credit with its proof.
    fn credit_receipt(
        &self,
        source: ShardId,
        id: TransactionId,
    ) -> impl Future<Output = Answer<Option<Proof>>> + Send;
    /// A barrier record.
    fn record(&self, number: WindowNumber) -> impl Future<Output = Answer<Option<Record>>> + Send;
    /// The conservation equation.
    fn supply(&self) -> impl Future<Output = Answer<ShardSupply>> + Send;
    /// Phases of barriers from a number on.
    fn barriers(&self, from: WindowNumber) -> Vec<BarrierPhases>;
    /// Members seen to contradict themselves.
    fn evidence(&self) -> Vec<Misdeed>;
    /// How the other validators behave.
    fn peers(&self) -> Vec<PeerConduct>;
    /// Executed blocks, as they come.
    fn blocks(&self) -> broadcast::Receiver<Arc<BlockSummary>>;
}

fn bad_params(problem: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS, problem, None::<()>)
}

/// Reads parameters. What came is not repeated to whoever sent it: an answer is ours, word by word.
fn parse<T: DeserializeOwned>(params: &Params<'_>) -> RpcResult<T> {
    params
        .parse()
        .map_err(|_| bad_params("this method takes other parameters, in number or kind"))
}

fn one<T: DeserializeOwned>(params: &Params<'_>) -> RpcResult<T> {
    parse::<(T,)>(params).map(|(one,)| one)
}

fn transaction_id(text: &str) -> RpcResult<TransactionId> {
    text.parse().map_err(|_| {
        bad_params(format!(
            "{} characters are not a transaction id: 64 hexadecimal digits",
            text.chars().count()
        ))
    })
}

fn bytes(text: &str) -> RpcResult<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|_| bad_params("a transaction is given as hexadecimal digits"))
}

fn source_and_id(params: &Params<'_>) -> RpcResult<(ShardId, TransactionId)> {
    let (source, id): (u16, String) = parse(params)?;
    Ok((ShardId::new(source), transaction_id(&id)?))
}

/// All methods, answered by a backend.
///
/// # Errors
/// When two methods have one name.
pub fn methods<B: Backend>(backend: Arc<B>) -> Result<RpcModule<B>, RegisterMethodError> {
    let mut module = RpcModule::from_arc(backend);
    module.register_method(method::INFO, |_, backend, _| RpcResult::Ok(backend.info()))?;
    module.register_method(method::STATUS, |_, backend, _| {
        RpcResult::Ok(backend.status())
    })?;
    module.register_async_method(method::SUBMIT, |params, backend, _| async move {
        let text: String = one(&params)?;
        let mut answers = backend.submit(vec![bytes(&text)?]).await?;
        let answer = answers.pop().expect("one answer for one transaction");
        RpcResult::Ok(answer)
    })?;
    module.register_async_method(method::SUBMIT_MANY, |params, backend, _| async move {
        let texts: Vec<String> = one(&params)?;
        if texts.len() > MAX_SUBMITTED {
            let problem = format!("{} transactions where {MAX_SUBMITTED} fit", texts.len());
            return Err(bad_params(problem));
        }
        let all = texts.iter().map(|text| bytes(text));
        let all = all.collect::<RpcResult<Vec<_>>>()?;
        RpcResult::Ok(backend.submit(all).await?)
    })?;
    module.register_async_method(method::ACCOUNT, |params, backend, _| async move {
        let address: String = one(&params)?;
        let account = backend.parse_address(&address).map_err(bad_params)?;
        RpcResult::Ok(backend.account(account).await?)
    })?;
    module.register_async_method(method::TRANSACTION, |params, backend, _| async move {
        let id: String = one(&params)?;
        RpcResult::Ok(backend.transaction(transaction_id(&id)?).await?)
    })?;
    module.register_async_method(method::CREDIT, |params, backend, _| async move {
        let (source, id) = source_and_id(&params)?;
        RpcResult::Ok(backend.credit(source, id).await?)
    })?;
    module.register_async_method(method::RECEIPT, |params, backend, _| async move {
        let id: String = one(&params)?;
        RpcResult::Ok(backend.receipt(transaction_id(&id)?).await?)
    })?;
    module.register_async_method(method::CREDIT_RECEIPT, |params, backend, _| async move {
        let (source, id) = source_and_id(&params)?;
        RpcResult::Ok(backend.credit_receipt(source, id).await?)
    })?;
    module.register_async_method(method::RECORD, |params, backend, _| async move {
        let number: u64 = one(&params)?;
        RpcResult::Ok(backend.record(WindowNumber::new(number)).await?)
    })?;
    module.register_async_method(method::SUPPLY, |_, backend, _| async move {
        RpcResult::Ok(backend.supply().await?)
    })?;
    // What may be megabytes is put together beside the threads that serve clients.
    module.register_blocking_method(method::BARRIERS, |params, backend, _| {
        let from: u64 = one(&params)?;
        RpcResult::Ok(backend.barriers(WindowNumber::new(from)))
    })?;
    module.register_blocking_method(method::EVIDENCE, |_, backend, _| {
        RpcResult::Ok(backend.evidence())
    })?;
    module.register_method(method::PEERS, |_, backend, _| {
        RpcResult::Ok(backend.peers())
    })?;
    module.register_subscription(
        method::SUBSCRIBE_BLOCKS,
        method::BLOCKS,
        method::UNSUBSCRIBE_BLOCKS,
        |_, pending, backend, _| async move {
            let mut blocks = backend.blocks();
            let Ok(sink) = pending.accept().await else {
                return; // The client is gone.
            };
            let mut lagged = 0;
            loop {
                let next = tokio::select! {
                    next = blocks.recv() => next,
                    () = sink.closed() => return,
                };
                let block = match next {
                    Ok(block) => block,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        lagged += missed;
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                let summary = match lagged {
                    0 => serde_json::value::to_raw_value(block.as_ref()),
                    lagged => {
                        let block = BlockSummary {
                            lagged,
                            ..block.as_ref().clone()
                        };
                        serde_json::value::to_raw_value(&block)
                    }
                };
                lagged = 0;
                let summary = summary.expect("plain data always encodes");
                if sink.send(SubscriptionMessage::from(summary)).await.is_err() {
                    return;
                }
            }
        },
    )?;
    Ok(module)
}
