//! Readers: each stays with one validator, asks it for one account over and over, and hands what
//! it reads to the history. A validator that was away must not show the past when it is back.

use std::sync::Arc;
use std::time::Duration;

use lockstep_client::Client;
use lockstep_client::rpc::Account;
use lockstep_genesis::Address;
use tokio::task::JoinHandle;

use crate::history::History;
use crate::network::{CALL, Network};

/// Between two reads of one session.
const EVERY: Duration = Duration::from_millis(100);

/// Starts one reader for each validator of each shard. They end when they are aborted.
pub(crate) fn start(
    network: &Network,
    history: &Arc<History>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let genesis = network.cluster.genesis();
    let accounts = &network.cluster.keys().accounts;
    let mut readers = Vec::new();
    for (position, place) in network.cluster.places().iter().enumerate() {
        let Some(shard) = place.committee.shard() else {
            continue;
        };
        let here: Vec<_> = accounts.iter().filter(|a| a.shard == shard).collect();
        let account = here[position % here.len()];
        let session = Session {
            name: place.name.clone(),
            client: Client::new(&[place.url()], CALL)?,
            address: Address::new(genesis.network, account.account).to_string(),
            history: Arc::clone(history),
        };
        readers.push(network.runtime.spawn(session.run()));
    }
    Ok(readers)
}

struct Session {
    name: String,
    client: Client,
    address: String,
    history: Arc<History>,
}

impl Session {
    async fn run(self) {
        let mut before: Option<Account> = None;
        loop {
            let newest = self.history.newest(&self.address);
            if let Ok(now) = self.client.account(&self.address).await {
                self.history.read(&self.name, before.as_ref(), newest, &now);
                before = Some(now);
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
