//! Steady load: each account sends one transfer after the other, waits until it is told that it is
//! final, and writes that down. A call that fails is repeated with the very same bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockstep_client::rpc::{Admission, Stage};
use lockstep_client::{Client, SignedTransaction, Transfer};
use lockstep_genesis::AccountKey;
use lockstep_types::{AssetId, CommitteeId, GenesisHash, WindowNumber};

use crate::journal::{Acknowledged, Journal};
use crate::network::{CALL, Network};

/// One transfer moves this much: above what an account must hold at least.
const AMOUNT: u128 = 2_000_000;

/// Far enough ahead that nothing expires in a test.
const EXPIRY: u64 = 1_000_000;

/// Senders that run until they are stopped or have sent what they should.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    pub(crate) journal: Arc<Journal>,
}

impl Load {
    /// Every account starts sending to the next one, which is in another shard, and every other
    /// time to the one after, which is in its own. Each sends `each` transfers at most.
    pub(crate) fn start(network: &Network, each: u64) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let journal = Arc::new(Journal::default());
        let accounts = network.cluster.keys().accounts.clone();
        let genesis = network.cluster.genesis().hash();
        let mut senders = Vec::new();
        for (position, account) in accounts.iter().enumerate() {
            let mut urls = network.cluster.urls(CommitteeId::Shard(account.shard));
            let start = position / 2 % urls.len();
            urls.rotate_left(start);
            let sender = Sender {
                client: Client::new(&urls, CALL)?,
                genesis,
                account: account.clone(),
                receivers: [
                    accounts[(position + 1) % accounts.len()].clone(),
                    accounts[(position + 2) % accounts.len()].clone(),
                ],
                stop: stop.clone(),
                journal: journal.clone(),
            };
            senders.push(network.runtime.spawn(sender.run(each)));
        }
        Ok(Load {
            stop,
            senders,
            journal,
        })
    }

    /// Waits until every sender has sent what it should.
    pub(crate) fn finish(&mut self, network: &Network, patience: Duration) -> anyhow::Result<()> {
        for sender in self.senders.drain(..) {
            network
                .runtime
                .block_on(async { tokio::time::timeout(patience, sender).await })??;
        }
        Ok(())
    }

    /// Stops after the transfers under way.
    pub(crate) fn stop(&mut self, network: &Network) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish(network, Duration::from_secs(30))
    }
}

struct Sender {
    client: Client,
    genesis: GenesisHash,
    account: AccountKey,
    receivers: [AccountKey; 2],
    stop: Arc<AtomicBool>,
    journal: Arc<Journal>,
}

impl Sender {
    async fn run(self, each: u64) {
        for nonce in 0..each {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let receiver = &self.receivers[usize::from(nonce % 2 == 1)];
            let transfer = Transfer {
                to: receiver.account,
                asset: AssetId::NATIVE,
                amount: AMOUNT,
            };
            let signed = SignedTransaction::transfers(
                &self.genesis,
                &self.account.key,
                nonce,
                WindowNumber::new(EXPIRY),
                &[transfer],
            );
            let height = self.deliver(&signed).await;
            self.journal.add(
                signed.id,
                Acknowledged {
                    shard: self.account.shard.get(),
                    destination: receiver.shard.get(),
                    height,
                },
            );
        }
    }

    /// Submits until the transaction is executed, at some height. Gives up only with the test.
    async fn deliver(&self, signed: &SignedTransaction) -> u64 {
        loop {
            match self.client.submit(&signed.bytes).await {
                Ok(submitted) => {
                    if let Admission::Rejected { reason, message } = &submitted.admission {
                        assert_eq!(reason, "nonce", "{message}"); // executed meanwhile
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            for _ in 0..100 {
                if let Ok(Stage::Executed(executed)) = self.client.transaction(&signed.id).await {
                    assert!(executed.applied, "{:?}", executed.failure);
                    return executed.height;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
