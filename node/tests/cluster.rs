//! Whole networks with real sockets and real databases: value arrives, and survives kills.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_client::rpc::code::HISTORY_STARTS_LATER;
use lockstep_client::rpc::{Admission, Stage};
use lockstep_client::{CallError, Client};
use lockstep_genesis::{Address, DevelopmentSpec};
use lockstep_ledger::{Action, Transaction};
use lockstep_node::cluster::{Cluster, ClusterSpec};
use lockstep_types::{AssetId, CommitteeId, ShardId, TransactionId, WindowNumber};
use parity_scale_codec::Encode;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);
const SHARDS: u16 = 2;
/// Blocks with transactions in them. 40 empty ones were at times replayed before enough members had
/// said which state they hold; 80 of these never were.
const FAR: u64 = 300;

fn spec(dir: &Path, base_port: u16, processes: bool) -> ClusterSpec {
    let network = DevelopmentSpec {
        shards: SHARDS,
        interval: Duration::from_millis(500),
        depth: 0,
        ..DevelopmentSpec::default()
    };
    let mut spec = ClusterSpec::new(network, dir);
    spec.base_port = base_port;
    spec.processes = processes;
    spec.program = Some(env!("CARGO_BIN_EXE_lockstep").into());
    spec
}

/// The network as a client sees it.
struct Wallet<'a> {
    cluster: &'a Cluster,
    runtime: Runtime,
}

impl<'a> Wallet<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Wallet { cluster, runtime }
    }

    fn client(&self, shard: u16) -> Client {
        let urls = self.cluster.urls(CommitteeId::Shard(ShardId::new(shard)));
        Client::new(&urls, Duration::from_secs(5)).unwrap()
    }

    /// Tries until it works.
    fn until<T>(&self, what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        self.runtime.block_on(async {
            loop {
                if let Some(found) = attempt().await {
                    return found;
                }
                assert!(Instant::now() < deadline, "no {what} in time");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }

    fn balance(&self, name: &str) -> u128 {
        let account = self.cluster.keys().account(name).unwrap();
        let network = self.cluster.genesis().network;
        let address = Address::new(network, account.account).to_string();
        let client = self.client(account.shard.get());
        self.until("balance", async || {
            let account = client.account(&address).await.ok()?;
            Some(account.balances.first()?.amount)
        })
    }

    fn send(&self, from: &str, to: &str, nonce: u64, amount: u128) -> TransactionId {
        let keys = self.cluster.keys();
        let sender = keys.account(from).unwrap();
        let action = Action::Transfer {
            to: keys.account(to).unwrap().account,
            asset: AssetId::NATIVE,
            amount,
        };
        let genesis = self.cluster.genesis().hash();
        let expiry = WindowNumber::new(100_000);
        let transaction = Transaction::sign(&genesis, &sender.key, nonce, expiry, vec![action]);
        let bytes = transaction.encode();
        let client = self.client(sender.shard.get());
        self.until("admission", async || {
            let answer = client.submit(&bytes).await.ok()?;
            match answer.admission {
                Admission::Accepted | Admission::Pending | Admission::Executed => answer.id,
                Admission::Busy { .. } => None,
                Admission::Rejected { message, .. } => panic!("rejected: {message}"),
            }
        })
    }

    fn executed(&self, shard: u16, id: &TransactionId) -> u64 {
        let client = self.client(shard);
        self.until("execution", async || {
            match client.transaction(id).await.ok()? {
                Stage::Executed(executed) => {
                    assert!(executed.applied);
                    Some(executed.height)
                }
                Stage::Pending | Stage::Unknown => None,
            }
        })
    }

    fn arrives(&self, name: &str, expected: u128) {
        let deadline = Instant::now() + PATIENCE;
        while self.balance(name) != expected {
            assert!(Instant::now() < deadline, "{name} does not get it");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every replica answers and has applied at least this record.
    fn all_reach(&self, record: u64) {
        for place in self.cluster.places() {
            let client = Client::new(&[place.url()], Duration::from_secs(5)).unwrap();
            self.until("record", async || {
                let status = client.status().await.ok()?;
                (status.replicas[0].record >= record).then_some(())
            });
        }
    }

    fn record(&self) -> u64 {
        let client = self.client(0);
        self.until("status", async || {
            Some(client.status().await.ok()?.replicas[0].record)
        })
    }
}

#[test]
fn value_crosses_shards_and_a_member_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(spec(dir.path(), 24_000, false)).unwrap();
    let wallet = Wallet::new(&cluster);
    let before = wallet.balance("bob");
    let id = wallet.send("alice", "bob", 0, 5_000_000_000);
    wallet.executed(0, &id);
    wallet.arrives("bob", before + 5_000_000_000);

    // One member of shard 0 (the beacon's four come first) and one of the beacon are down: f each.
    cluster.kill(4);
    cluster.kill(0);
    let wallet = Wallet::new(&cluster);
    let id = wallet.send("alice", "bob", 1, 1_000_000_000);
    wallet.executed(0, &id);
    wallet.arrives("bob", before + 6_000_000_000);

    cluster.restart(4).unwrap();
    cluster.restart(0).unwrap();
    let wallet = Wallet::new(&cluster);
    let record = wallet.record();
    wallet.all_reach(record + 2);
    assert_eq!(cluster.failed(), None);
}

#[test]
fn nothing_final_is_lost_when_every_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(spec(dir.path(), 24_500, true)).unwrap();
    let wallet = Wallet::new(&cluster);
    wallet.all_reach(1);
    let alice = wallet.balance("alice");
    let mut sent = Vec::new();
    for nonce in 0..10 {
        let id = wallet.send("alice", "bob", nonce, 1_000_000_000);
        sent.push((id, wallet.executed(0, &id)));
    }
    let record = wallet.record();

    for index in 0..cluster.places().len() {
        cluster.kill(index);
    }
    let killed = Instant::now();
    for index in 0..cluster.places().len() {
        cluster.restart(index).unwrap();
    }
    let wallet = Wallet::new(&cluster);
    for (id, height) in &sent {
        assert_eq!(wallet.executed(0, id), *height, "moved or lost");
    }
    assert_eq!(wallet.balance("alice"), alice - 10_000_000_000);
    wallet.all_reach(record + 1);
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(30), "took {took:?}");
    let id = wallet.send("alice", "bob", 10, 1_000_000_000);
    wallet.executed(0, &id);
    wallet.arrives("bob", alice + 11_000_000_000);
    assert_eq!(cluster.failed(), None);
}

#[test]
fn a_validator_far_behind_fetches_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(dir.path(), 25_000, false);
    spec.storage.max_replay_blocks = 20;
    let mut cluster = Cluster::start(spec).unwrap();
    let victim = cluster.places()[4].url(); // the beacon's four come first
    let wallet = Wallet::new(&cluster);
    let early = wallet.send("alice", "bob", 0, 1_000_000_000);
    wallet.executed(0, &early);
    wallet.all_reach(2); // the victim has executed it too
    cluster.kill(4);

    let wallet = Wallet::new(&cluster);
    let missed = wallet.send("alice", "bob", 1, 1_000_000_000);
    let height = wallet.executed(0, &missed);
    let others = wallet.client(0);
    let mut nonce = 2;
    let mut reached = height;
    while reached < height + FAR {
        let id = wallet.send("alice", "bob", nonce, 1_000_000_000);
        reached = wallet.executed(0, &id);
        nonce += 1;
    }
    let record = wallet.record() + 2; // it shows a state as far
    wallet.until("record", async || {
        (others.status().await.ok()?.replicas[0].record >= record).then_some(())
    });

    cluster.restart(4).unwrap();
    let wallet = Wallet::new(&cluster);
    wallet.all_reach(wallet.record() + 2);
    let client = Client::new(&[victim], Duration::from_secs(5)).unwrap();
    let stage = wallet.runtime.block_on(client.transaction(&early)).unwrap();
    assert!(
        matches!(stage, Stage::Executed(_)),
        "from before it fell behind"
    );
    wallet.until("state", async || match client.transaction(&missed).await {
        Ok(Stage::Executed(_)) => panic!("it has executed every block"),
        Err(CallError::Refused { code, .. }) => (code == HISTORY_STARTS_LATER).then_some(()),
        Ok(Stage::Pending | Stage::Unknown) | Err(_) => None, // on its way
    });
    // It votes again with the record it had: with another one gone it is needed.
    cluster.kill(5);
    let wallet = Wallet::new(&cluster);
    let late = wallet.send("alice", "bob", nonce, 1_000_000_000);
    wallet.executed(0, &late);
    assert_eq!(cluster.failed(), None);
}
