//! Steady load: each account sends one transfer after the other, waits until it is told that it is
//! final, and writes that down. A call that fails is repeated with the very same bytes. Now and
//! then an account tries what cannot be, and writes down that it was turned away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockstep_client::rpc::{Admission, Stage};
use lockstep_client::{Client, SignedTransaction, Transfer};
use lockstep_genesis::{AccountKey, Address};
use lockstep_types::{AssetId, CommitteeId, GenesisHash, WindowNumber, hash};
use tokio::task::JoinHandle;

use crate::history::{Acknowledged, History};
use crate::network::{CALL, Network};
use crate::session;

/// One transfer moves this much: above what an account must hold at least.
const AMOUNT: u128 = 2_000_000;

/// Far enough ahead that nothing expires in a test.
const EXPIRY: u64 = 1_000_000;

/// Every so many transfers an account tries what cannot be.
const DOOMED_EVERY: u64 = 8;

/// Senders that run until they are stopped or have sent what they should, and readers beside them.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    pub(crate) history: Arc<History>,
}

impl Load {
    /// Every account starts sending to the next one, which is in another shard, and every other
    /// time to the one after, which is in its own. Each sends `each` transfers at most.
    pub(crate) fn start(network: &Network, each: u64) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let history = Arc::new(History::default());
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
                address: Address::new(network.cluster.genesis().network, account.account)
                    .to_string(),
                account: account.clone(),
                receivers: [
                    accounts[(position + 1) % accounts.len()].clone(),
                    accounts[(position + 2) % accounts.len()].clone(),
                ],
                stop: stop.clone(),
                history: history.clone(),
            };
            senders.push(network.runtime.spawn(sender.run(each)));
        }
        Ok(Load {
            stop,
            senders,
            readers: session::start(network, &history)?,
            history,
        })
    }

    /// Waits until every sender has sent what it should.
    pub(crate) fn finish(&mut self, network: &Network, patience: Duration) -> anyhow::Result<()> {
        for sender in self.senders.drain(..) {
            network
                .runtime
                .block_on(async { tokio::time::timeout(patience, sender).await })??;
        }
        for reader in self.readers.drain(..) {
            reader.abort();
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
    address: String,
    account: AccountKey,
    receivers: [AccountKey; 2],
    stop: Arc<AtomicBool>,
    history: Arc<History>,
}

impl Sender {
    async fn run(self, each: u64) {
        for nonce in 0..each {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let receiver = &self.receivers[usize::from(nonce % 2 == 1)];
            let signed = self.sign(&self.genesis, nonce, receiver, AMOUNT);
            let height = self.deliver(&signed).await;
            let acknowledged = Acknowledged {
                shard: self.account.shard.get(),
                destination: receiver.shard.get(),
                height,
            };
            self.history
                .acknowledge(signed.id, (&self.address, nonce), acknowledged);
            if nonce % DOOMED_EVERY == 0 {
                self.try_what_cannot_be(nonce).await;
            }
        }
    }

    fn sign(
        &self,
        genesis: &GenesisHash,
        nonce: u64,
        receiver: &AccountKey,
        amount: u128,
    ) -> SignedTransaction {
        let transfer = Transfer {
            to: receiver.account,
            asset: AssetId::NATIVE,
            amount,
        };
        let expiry = WindowNumber::new(EXPIRY);
        SignedTransaction::transfers(genesis, &self.account.key, nonce, expiry, &[transfer])
    }

    /// A second transfer with a nonce that is used up, and one that was signed for another chain,
    /// to one validator and only once: what it turns away can never be executed.
    async fn try_what_cannot_be(&self, used: u64) {
        let other = GenesisHash::new(hash("another chain", &used));
        let doomed = [
            self.sign(&self.genesis, used, &self.receivers[0], AMOUNT + 1),
            self.sign(&other, used + 1, &self.receivers[0], AMOUNT),
        ];
        for signed in doomed {
            // Without an answer nothing was promised.
            let Ok(submitted) = self.client.submit(&signed.bytes).await else {
                continue;
            };
            if let (Some(id), Admission::Rejected { reason, .. }) =
                (submitted.id, submitted.admission)
            {
                self.history.refuse(id, self.account.shard.get(), reason);
            }
        }
    }

    /// Submits until the transaction is executed, at some height. Gives up only with the test.
    async fn deliver(&self, signed: &SignedTransaction) -> u64 {
        loop {
            match self.client.submit(&signed.bytes).await {
                Ok(submitted) => {
                    if let Admission::Rejected { reason, message } = submitted.admission
                        && reason != "nonce"
                    {
                        // It can be executed already, and must not be impossible.
                        let text = format!("{} was refused: {message}", signed.id);
                        self.history.conflict(text);
                    }
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            for _ in 0..100 {
                if let Ok(Stage::Executed(executed)) = self.client.transaction(&signed.id).await {
                    if let Some(failure) = executed.failure {
                        self.history
                            .conflict(format!("{} failed: {failure}", signed.id));
                    }
                    return executed.height;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
