//! The acknowledgement journal: what a client outside was told is final, and the check that it
//! still is.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{bail, ensure};
use lockstep_client::Client;
use lockstep_client::rpc::{Credit, Stage};
use lockstep_types::{CommitteeId, ShardId, TransactionId};

use crate::network::{CALL, Network};

/// One acknowledged transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) shard: u16,
    pub(crate) destination: u16,
    pub(crate) height: u64,
}

/// Everything acknowledged so far.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<BTreeMap<TransactionId, Acknowledged>>);

impl Journal {
    pub(crate) fn add(&self, id: TransactionId, acknowledged: Acknowledged) {
        self.0
            .lock()
            .expect("no holder of this lock panics")
            .insert(id, acknowledged);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("no holder of this lock panics").len()
    }

    /// Does every validator of its shard have every acknowledged transfer, at the height that was
    /// acknowledged?
    pub(crate) fn check(&self, network: &Network) -> anyhow::Result<()> {
        let entries = self
            .0
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        for index in 0..network.cluster.places().len() {
            let place = &network.cluster.places()[index];
            let Some(shard) = place.committee.shard() else {
                continue;
            };
            let client = Client::new(&[place.url()], CALL)?;
            for (id, acknowledged) in &entries {
                if acknowledged.shard != shard.get() {
                    continue;
                }
                match network.runtime.block_on(client.transaction(id))? {
                    Stage::Executed(executed) => ensure!(
                        executed.height == acknowledged.height && executed.applied,
                        "{id} was acknowledged at {}, {} has it at {}",
                        acknowledged.height,
                        place.name,
                        executed.height
                    ),
                    other => bail!("{} lost {id}: {other:?}", place.name),
                }
            }
        }
        Ok(())
    }

    /// Is every acknowledged transfer to another shard credited there? Asks one validator of each
    /// destination and waits for the barriers it takes.
    pub(crate) fn check_credits(&self, network: &Network) -> anyhow::Result<usize> {
        let entries = self
            .0
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        let mut credited = 0;
        for (id, acknowledged) in &entries {
            if acknowledged.destination == acknowledged.shard {
                continue;
            }
            let committee = CommitteeId::Shard(ShardId::new(acknowledged.destination));
            let index = network.members(committee)[0];
            let client = Client::new(&[network.cluster.places()[index].url()], CALL)?;
            let mut last = None;
            for _ in 0..300 {
                let credit = network
                    .runtime
                    .block_on(client.credit(acknowledged.shard, id))?;
                if matches!(credit, Credit::Credited { .. }) {
                    last = Some(credit);
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            ensure!(
                last.is_some(),
                "{id} is not credited in shard {}",
                acknowledged.destination
            );
            credited += 1;
        }
        Ok(credited)
    }
}
