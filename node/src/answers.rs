//! The RPC's answers, from the executed state, the store, and the blackboard of the replica.

mod admission;
mod past;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_client::rpc::{
    Account, Admission, AssetSupply, Balance, BarrierPhases, BlockSummary, Credit, Executed, Info,
    Misdeed, PeerConduct, Proof, Record, RecordedShard, ReplicaStatus, Seat, ShardSupply, Stage,
    Status, Submitted, code,
};
use lockstep_genesis::{Address, Genesis};
use lockstep_ledger::{Action, History, ReceiptResult, Store, Subject, Supply, Transaction};
use lockstep_shard::{Archive, Executor, Input, Peer, ShardEntry};
use lockstep_types::{
    AccountId, CommitteeId, ShardId, TransactionId, Verified, Verifier, WindowNumber,
};
use parity_scale_codec::Encode;
use tokio::sync::{Semaphore, broadcast, oneshot};

use self::admission::{admit, failure_word, verify};
use self::past::{
    block_time, certified, credit_at, known_from_the_start, receipt_at, transaction_in,
    window_from_records,
};
use crate::clock::Clock;
use crate::conduct::Conduct;
use crate::evidence::EvidenceBook;
use crate::execution::Execution;
use crate::exit::{Stop, StopSwitch};
use crate::inbox::{Inbox, Room, Urgency};
use crate::network::{Class, NetworkHandle};
use crate::routes::Seats;
use crate::rpc::{Answer, Backend, Pages, Refused};
use crate::shared::Shared;
use crate::space::Space;
use crate::verify::{Lane, VerifyPool};

/// Transactions of clients between the RPC's door and the replica. More are turned away as busy.
const CLIENT_ROOM: usize = 8_192;
/// A question to the execution thread is answered between two blocks.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads of the store at a time.
const READERS: usize = 2;

/// What the RPC of one validator answers from.
pub(crate) struct Answers {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) seat: Peer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) execution: Option<Execution>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) pool: VerifyPool,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) network: NetworkHandle,
    pub(crate) seats: Arc<Seats>,
    pub(crate) conduct: Arc<Conduct>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) switch: StopSwitch,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) readers: Arc<Semaphore>,
    pub(crate) evidence: Arc<EvidenceBook>,
    pub(crate) space: Arc<Space>,
}

/// Room for clients' transactions.
pub(crate) fn client_room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CLIENT_ROOM))
}

/// Places for those who read the store.
pub(crate) fn readers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(READERS))
}

fn refused(code: i32, message: impl Into<String>) -> Refused {
    Refused {
        code,
        message: message.into(),
    }
}

fn busy() -> Refused {
    refused(
        code::BUSY,
        "the node has as much to do as it takes; try again",
    )
}

fn failed(error: impl ToString) -> Refused {
    refused(code::NOT_READY, error.to_string())
}

impl Answers {
    fn shard(&self) -> Answer<(ShardId, &Execution)> {
        match (self.seat.committee.shard(), &self.execution) {
            (Some(shard), Some(execution)) => Ok((shard, execution)),
            _ => Err(refused(
                code::WRONG_SHARD,
                "this validator is a member of the beacon and holds no accounts",
            )),
        }
    }

    /// Asks the execution thread.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Executor) -> T + Send + 'static,
    ) -> Answer<T> {
        let (_, execution) = self.shard()?;
        let (tell, told) = oneshot::channel();
        let asked = execution.ask(move |executor| {
            // Who was told that there was no answer gets none, and nothing is done for it.
            if !tell.is_closed() {
                let _ = tell.send(question(executor));
            }
        });
        if !asked {
            return Err(busy());
        }
        match tokio::time::timeout(ASK_TIMEOUT, told).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(refused(code::NOT_IN_TIME, "the node was not done in time")),
        }
    }

    /// Reads the store, off the threads that serve clients. Some reads take tens of milliseconds; few
    /// at a time leave the replica its share of the processors.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let store = Arc::clone(&self.store);
        let turn = Arc::clone(&self.readers).acquire_owned();
        let turn = tokio::time::timeout(ASK_TIMEOUT, turn).await;
        let turn = turn.map_err(|_| busy())?.map_err(failed)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(store.as_ref())
        })
        .await
        .map_err(failed)?
    }

    fn connected(&self) -> usize {
        let connected = self.network.connected();
        let colleagues = self.seats.colleagues();
        1 + colleagues.filter(|id| connected.contains(*id)).count()
    }

    fn quorum(&self) -> usize {
        self.genesis.committee(self.seat.committee).quorum()
    }

    /// What keeps the replica from progressing.
    fn blocked(&self, status: &lockstep_shard::Status) -> Option<String> {
        if let Some(problem) = self.space.problem() {
            return Some(problem);
        }
        let connected = self.connected();
        let quorum = self.quorum();
        if connected < quorum {
            return Some(format!(
                "waiting for members: {connected} of the {quorum} needed are connected"
            ));
        }
        if !status.signs {
            return Some(
                "has started and votes for nothing yet: waits for answers of the others, or, after \
                 --recover, for a record above whatever it may have signed"
                    .to_owned(),
            );
        }
        if self.seat.committee.shard().is_some() && status.sealed {
            return Some(format!(
                "window sealed, waiting for record {}",
                status.window.get()
            ));
        }
        None
    }
}

impl Backend for Answers {
    fn info(&self) -> Info {
        let genesis = &self.genesis;
        let committee = genesis.committee(self.seat.committee);
        let small = |number: usize| u8::try_from(number).expect("at most 64 members");
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: genesis.chain_name(),
            genesis: genesis.hash(),
            network: genesis.network,
            shards: genesis.shard_count(),
            interval_us: u64::try_from(genesis.interval.as_micros()).unwrap_or(u64::MAX),
            depth: genesis.depth,
            validator: genesis.validators(self.seat.committee)[self.seat.member.get()]
                .name
                .clone(),
            seats: vec![Seat {
                committee: self.seat.committee,
                member: small(self.seat.member.get()),
                members: small(committee.size()),
                quorum: small(committee.quorum()),
            }],
        }
    }

    fn status(&self) -> Status {
        let status = self.shared.status();
        let (_, mut time) = self.shared.newest();
        if self.execution.is_none() {
            // The beacon executes nothing; its newest block is in the store.
            let archive = Archive::new(self.store.as_ref());
            if let Ok(Some(link)) = archive.block(status.committed) {
                time = link.block.header().time;
            }
        }
        let small = |number: usize| u8::try_from(number).expect("at most 64 members");
        let sealed = if self.seat.committee.shard().is_some() && status.sealed {
            status.window
        } else {
            status.window.previous().unwrap_or(WindowNumber::ZERO)
        };
        let uptime = self.shared.started.elapsed().as_micros();
        Status {
            time_us: self.clock.now().micros(),
            uptime_us: u64::try_from(uptime).unwrap_or(u64::MAX),
            replicas: vec![ReplicaStatus {
                committee: self.seat.committee,
                height: status.committed.get(),
                block_time_us: time.micros(),
                view: status.view.get(),
                leader: small(status.leader.get()),
                executed: status.executed.get(),
                window: status.window.get(),
                sealed: sealed.get(),
                record: status.record.get(),
                pool: status.pending as u64,
                connected: small(self.connected()),
                blocked: self.blocked(&status),
                evidence: self.evidence.count() as u64,
            }],
        }
    }

    fn parse_address(&self, address: &str) -> Result<AccountId, String> {
        Address::parse_on(address, self.genesis.network).map_err(|error| error.to_string())
    }

    async fn submit(&self, transactions: Vec<Vec<u8>>) -> Answer<Vec<Submitted>> {
        self.shard()?;
        if let Some(problem) = self.space.problem() {
            return Err(refused(code::NOT_READY, problem));
        }
        let count = u32::try_from(transactions.len()).map_err(failed)?;
        let room = Arc::clone(&self.room);
        let permit = room.try_acquire_many_owned(count).map_err(|_| busy())?;
        let permit = Arc::new(permit);
        let (tell, told) = oneshot::channel();
        let verifier = Arc::clone(&self.verifier);
        let genesis = self.genesis.hash();
        self.pool.submit(Class::Data, Lane::Clients, move || {
            // The client may be gone.
            let _ = tell.send(verify(&verifier, &genesis, transactions));
        });
        let checked = told.await.map_err(|_| busy())?;
        let shared = Arc::clone(&self.shared);
        let store = Arc::clone(&self.store);
        let inbox = Arc::clone(&self.inbox);
        self.ask(move |executor| {
            let admit = |transaction: Verified<Transaction>| {
                let (id, admission) =
                    admit(executor, store.as_ref(), &shared, &genesis, &transaction)?;
                if admission == Admission::Accepted {
                    shared.pending.add(id, &transaction);
                    let _permit = Arc::clone(&permit);
                    let room = Room::Client { _permit };
                    inbox.push(Urgency::Client, Input::Submitted { transaction }, room);
                }
                Ok(Submitted {
                    id: Some(id),
                    admission,
                })
            };
            let each = checked.into_iter();
            each.map(|one| one.map_or_else(Ok, admit)).collect()
        })
        .await?
    }

    async fn account(&self, account: AccountId) -> Answer<Account> {
        let (ours, _) = self.shard()?;
        let shard = self.genesis.shard_of(&account);
        if shard != ours {
            let message = format!("the account is in {shard}, this validator serves {ours}");
            return Err(refused(code::WRONG_SHARD, message));
        }
        let address = Address::new(self.genesis.network, account).to_string();
        let shared = Arc::clone(&self.shared);
        self.ask(move |executor| {
            let ledger = executor.ledger();
            let found = ledger.account(&account);
            let nonce = found.map_or(0, |found| found.nonce);
            let balances = found.map(|found| {
                let balances = found.balances.iter();
                let balance = |(asset, amount): (lockstep_types::AssetId, u128)| Balance {
                    asset: asset.get(),
                    amount,
                };
                balances.map(balance).collect()
            });
            Account {
                address,
                shard: shard.get(),
                height: ledger.height().get(),
                window: executor.window().get(),
                exists: found.is_some(),
                nonce,
                pending_nonce: shared.pending.next_nonce(account, nonce),
                balances: balances.unwrap_or_default(),
            }
        })
        .await
    }

    async fn transaction(&self, id: TransactionId) -> Answer<Stage> {
        let (ours, _) = self.shard()?;
        if self.shared.pending.has(&id) {
            return Ok(Stage::Pending);
        }
        let genesis = Arc::clone(&self.genesis);
        let shared = Arc::clone(&self.shared);
        self.read(move |store| {
            let at = History::new(store).find(&id).map_err(failed)?;
            let Some((height, _, receipt)) = receipt_at(store, at)? else {
                return known_from_the_start(store).map(|()| Stage::Unknown);
            };
            let transaction = transaction_in(store, &genesis.hash(), height, &id)?;
            let mut destinations: Vec<u16> = transaction
                .iter()
                .flat_map(|transaction| &transaction.actions)
                .map(|Action::Transfer { to, .. }| genesis.shard_of(to))
                .filter(|to| *to != ours)
                .map(ShardId::get)
                .collect();
            destinations.sort_unstable();
            destinations.dedup();
            let window = match shared.window_of(height) {
                Some(window) => window,
                None => {
                    let newest = shared.status().record;
                    window_from_records(store, ours, newest, height)?
                }
            };
            Ok(Stage::Executed(Executed {
                height: height.get(),
                time_us: block_time(store, height)?,
                window: window.get(),
                applied: receipt.result == ReceiptResult::Applied,
                failure: match receipt.result {
                    ReceiptResult::Applied => None,
                    ReceiptResult::Failed(failure) => Some(failure_word(&failure).to_owned()),
                },
                destinations,
            }))
        })
        .await
    }

    async fn credit(&self, source: ShardId, id: TransactionId) -> Answer<Credit> {
        self.shard()?;
        self.read(move |store| {
            let Some((height, _, receipt)) = credit_at(store, source, &id)? else {
                return known_from_the_start(store).map(|()| Credit::Unknown);
            };
            let Subject::Credit { sequence, .. } = receipt.subject else {
                return Ok(Credit::Unknown);
            };
            Ok(Credit::Credited {
                height: height.get(),
                time_us: block_time(store, height)?,
                sequence,
            })
        })
        .await
    }

    async fn receipt(&self, id: TransactionId) -> Answer<Option<Proof>> {
        let (shard, _) = self.shard()?;
        let genesis = self.genesis.hash();
        self.read(move |store| {
            let at = History::new(store).find(&id).map_err(failed)?;
            let Some((height, position)) = at else {
                return known_from_the_start(store).map(|()| None);
            };
            let transaction = transaction_in(store, &genesis, height, &id)?;
            certified(store, shard, height, position, transaction)
        })
        .await
    }

    async fn credit_receipt(&self, source: ShardId, id: TransactionId) -> Answer<Option<Proof>> {
        let (shard, _) = self.shard()?;
        self.read(move |store| match credit_at(store, source, &id)? {
            Some((height, position, _)) => certified(store, shard, height, position, None),
            None => known_from_the_start(store).map(|()| None),
        })
        .await
    }

    async fn record(&self, number: WindowNumber) -> Answer<Option<Record>> {
        let newest = self.shared.status().record;
        self.read(move |store| {
            let found = Archive::new(store).record(number).map_err(failed)?;
            if found.is_none() && number <= newest {
                known_from_the_start(store)?;
            }
            Ok(found.map(|certified| {
                let record = &certified.record;
                let entry = |entry: &ShardEntry| match entry {
                    ShardEntry::Absent => RecordedShard::Absent,
                    ShardEntry::Certified(found) => {
                        let seal = &found.checkpoint.seal;
                        RecordedShard::Present {
                            window: seal.window.get(),
                            height: seal.height.get(),
                            digest: seal.digest,
                            state_root: seal.state_root,
                            supply: seal.supply.iter().map(asset_supply).collect(),
                        }
                    }
                };
                Record {
                    number: record.number.get(),
                    hash: record.hash(),
                    time_us: certified.header().time.micros(),
                    shards: record.shards.iter().map(entry).collect(),
                    bytes: hex::encode(certified.encode()),
                }
            }))
        })
        .await
    }

    async fn supply(&self) -> Answer<ShardSupply> {
        let (shard, _) = self.shard()?;
        self.ask(move |executor| {
            let ledger = executor.ledger();
            ShardSupply {
                shard: shard.get(),
                height: ledger.height().get(),
                window: executor.window().get(),
                assets: ledger.supply().iter().map(asset_supply).collect(),
            }
        })
        .await
    }

    fn barriers(&self, from: WindowNumber) -> Vec<BarrierPhases> {
        self.shared.barriers.from(from)
    }

    fn peers(&self) -> Vec<PeerConduct> {
        let connected = self.network.connected();
        let now = Instant::now();
        let sheets = self.conduct.sheets().into_iter();
        sheets
            .map(|(peer, sheet)| PeerConduct {
                committee: peer.committee,
                member: u8::try_from(peer.member.get()).expect("at most 64 members"),
                validator: self.genesis.validators(peer.committee)[peer.member.get()]
                    .name
                    .clone(),
                connected: self
                    .seats
                    .id(&peer)
                    .is_some_and(|id| connected.contains(id)),
                score: sheet.score(now),
                rejected: sheet.rejected,
                refused: sheet.refused,
                ahead: sheet.ahead,
                unread: sheet.unread,
            })
            .collect()
    }

    fn evidence(&self) -> Vec<Misdeed> {
        self.evidence.cases()
    }

    fn blocks(&self) -> broadcast::Receiver<Arc<BlockSummary>> {
        self.shared.blocks.subscribe()
    }
}

fn asset_supply(supply: &Supply) -> AssetSupply {
    AssetSupply {
        asset: supply.asset.get(),
        balances: supply.balances,
        escrow: supply.escrow,
        genesis: supply.genesis,
        issued: supply.issued,
        burned: supply.burned,
        sent: supply.sent,
        received: supply.received,
    }
}

impl Pages for Answers {
    fn metrics(&self) -> String {
        self.shared.metrics.text()
    }

    fn health(&self) -> (bool, String) {
        match self.switch.reason() {
            None => (true, "{\"alive\":true}\n".to_owned()),
            Some(reason) => {
                let text = serde_json::json!({"alive": false, "reason": reason.to_string()});
                (false, format!("{text}\n"))
            }
        }
    }

    fn broken(&self, bug: String) {
        self.switch
            .stop(Stop::Bug(format!("the RPC server: {bug}")));
    }

    fn readiness(&self) -> (bool, String) {
        let status = self.shared.status();
        let waiting = match self.seat.committee {
            _ if self.switch.is_stopped() => Some("stopping".to_owned()),
            _ if self.space.is_low() || self.connected() < self.quorum() => self.blocked(&status),
            CommitteeId::Shard(_) if status.executed.plus(64) < status.committed => {
                Some("catching up with execution".to_owned())
            }
            _ => None,
        };
        let text = serde_json::json!({
            "ready": waiting.is_none(),
            "reason": waiting,
            "committed": status.committed.get(),
            "executed": status.executed.get(),
            "record": status.record.get(),
        });
        (waiting.is_none(), format!("{text}\n"))
    }
}
