//! What clients outside were told, and the judgement whether it still holds: what was
//! acknowledged is there, what was turned away is not, and reads never went back or contradicted
//! each other.
//!
//! Breaks if: a client writes down what it hopes instead of what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use anyhow::ensure;
use lockstep_client::rpc::code::HISTORY_STARTS_LATER;
use lockstep_client::rpc::{Account, Credit, Stage};
use lockstep_client::{CallError, Client};
use lockstep_types::{CommitteeId, ShardId, TransactionId};

use crate::network::{CALL, Network};

/// Answers about accounts that are compared with later ones; older ones are forgotten.
const READS_KEPT: usize = 50_000;
/// Conflicts that are described; more are only counted.
const DESCRIBED: usize = 20;

/// One acknowledged transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) shard: u16,
    pub(crate) destination: u16,
    pub(crate) height: u64,
}

/// What is wrong, and how much of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: usize,
    pub(crate) credited: usize,
    pub(crate) refused: usize,
    pub(crate) reads: u64,
    /// Acknowledged transfers that some validator does not have.
    pub(crate) lost: BTreeSet<TransactionId>,
    /// Acknowledged and found at some validator.
    found: BTreeSet<TransactionId>,
    /// Two things that cannot both be true.
    pub(crate) conflicts: Vec<String>,
}

#[derive(Debug, Default)]
struct Told {
    acknowledged: BTreeMap<TransactionId, Acknowledged>,
    refused: BTreeMap<TransactionId, (u16, String)>,
    /// By address, the newest acknowledged height and nonce.
    newest: BTreeMap<String, (u64, u64)>,
    /// By height and address, nonce and holdings.
    seen: BTreeMap<(u64, String), (u64, Vec<u128>)>,
    reads: u64,
    /// Validators whose files were damaged or lost: their next answer is from where they are.
    damaged: BTreeSet<String>,
    conflicts: Vec<String>,
}

/// Everything clients were told so far.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Told>);

impl History {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// A transfer was said to be executed.
    pub(crate) fn acknowledge(
        &self,
        id: TransactionId,
        (address, nonce): (&str, u64),
        acknowledged: Acknowledged,
    ) {
        let mut told = self.told();
        told.acknowledged.insert(id, acknowledged);
        let newest = (acknowledged.height, nonce);
        told.newest.insert(address.to_owned(), newest);
    }

    /// A transaction, given to one validator once, was said to be impossible.
    pub(crate) fn refuse(&self, id: TransactionId, shard: u16, reason: String) {
        self.told().refused.insert(id, (shard, reason));
    }

    /// Two things that cannot both be true.
    pub(crate) fn conflict(&self, text: String) {
        self.told().conflicts.push(text);
    }

    /// The files of this validator are damaged or gone. Its reads may go back, once.
    pub(crate) fn damaged(&self, session: &str) {
        self.told().damaged.insert(session.to_owned());
    }

    /// Height and nonce of the newest acknowledged transfer of an account.
    pub(crate) fn newest(&self, address: &str) -> Option<(u64, u64)> {
        self.told().newest.get(address).copied()
    }

    /// A session read an account. `before` is what it read last, `newest` what was acknowledged
    /// before it asked.
    pub(crate) fn read(
        &self,
        session: &str,
        before: Option<&Account>,
        newest: Option<(u64, u64)>,
        now: &Account,
    ) {
        let mut told = self.told();
        told.reads += 1;
        if let Some(before) = before
            && (now.height < before.height || now.nonce < before.nonce)
            && !told.damaged.remove(session)
        {
            told.conflicts.push(format!(
                "{session} went back from height {} nonce {} to height {} nonce {}",
                before.height, before.nonce, now.height, now.nonce
            ));
        }
        if let Some((height, nonce)) = newest
            && now.height >= height
            && now.nonce <= nonce
        {
            told.conflicts.push(format!(
                "{session} at height {} shows nonce {}, and {nonce} was executed at {height}",
                now.height, now.nonce
            ));
        }
        let amounts = now.balances.iter().map(|balance| balance.amount);
        let shown = (now.nonce, amounts.collect::<Vec<_>>());
        let key = (now.height, now.address.clone());
        if let Some(other) = told.seen.get(&key)
            && *other != shown
        {
            let text = format!("{} at {}: {other:?} and {shown:?}", now.address, now.height);
            told.conflicts.push(text);
        }
        told.seen.insert(key, shown);
        if told.seen.len() > READS_KEPT {
            told.seen.pop_first();
        }
    }

    /// Asks all validators of all shards, which must have caught up, and waits for the barriers
    /// that credits take.
    ///
    /// # Errors
    /// When a validator does not answer: then nothing is known.
    pub(crate) fn judge(&self, network: &Network) -> anyhow::Result<Verdict> {
        let told = std::mem::take(&mut *self.told());
        let mut verdict = Verdict {
            acknowledged: told.acknowledged.len(),
            refused: told.refused.len(),
            reads: told.reads,
            conflicts: told.conflicts.clone(),
            ..Verdict::default()
        };
        for shard in 0..network.cluster.genesis().shard_count() {
            for index in network.members(CommitteeId::Shard(ShardId::new(shard))) {
                network
                    .runtime
                    .block_on(told.ask(network, index, &mut verdict))?;
            }
        }
        let everywhere = told.acknowledged.keys();
        let nowhere = everywhere.filter(|id| !verdict.found.contains(id));
        let nowhere: Vec<TransactionId> = nowhere.copied().collect();
        verdict.lost.extend(nowhere);
        verdict.credited = network
            .runtime
            .block_on(told.credits(network, &mut verdict))?;
        verdict.conflicts.extend(network.check_barriers()?);
        for conflict in verdict.conflicts.iter().take(DESCRIBED) {
            println!("  conflict: {conflict}");
        }
        for id in verdict.lost.iter().take(DESCRIBED) {
            println!("  lost: {id}, {:?}", told.acknowledged.get(id));
        }
        Ok(verdict)
    }
}

impl Told {
    /// Does this validator have what was acknowledged, where it was, and nothing that was refused?
    async fn ask(
        &self,
        network: &Network,
        index: usize,
        verdict: &mut Verdict,
    ) -> anyhow::Result<()> {
        let place = &network.cluster.places()[index];
        let shard = place.committee.shard().map(ShardId::get);
        let client = Client::new(&[place.url()], CALL)?;
        for (id, acknowledged) in &self.acknowledged {
            if Some(acknowledged.shard) != shard {
                continue;
            }
            match stage(&client, id).await? {
                None => {} // from before it fetched its state
                Some(Stage::Executed(executed))
                    if executed.height == acknowledged.height && executed.applied =>
                {
                    verdict.found.insert(*id);
                }
                Some(Stage::Executed(executed)) => verdict.conflicts.push(format!(
                    "{id} was acknowledged at {}, {} has it at {}, applied: {}",
                    acknowledged.height, place.name, executed.height, executed.applied
                )),
                Some(Stage::Unknown | Stage::Pending) => {
                    verdict.lost.insert(*id);
                }
            }
        }
        for (id, (refused_by, reason)) in &self.refused {
            if Some(*refused_by) == shard
                && let Some(Stage::Executed(executed)) = stage(&client, id).await?
            {
                verdict.conflicts.push(format!(
                    "{id} was refused ({reason}), {} executed it at {}",
                    place.name, executed.height
                ));
            }
        }
        Ok(())
    }

    /// Every acknowledged transfer to another shard is credited there; returns how many.
    async fn credits(&self, network: &Network, verdict: &mut Verdict) -> anyhow::Result<usize> {
        let mut clients = Vec::new();
        for shard in 0..network.cluster.genesis().shard_count() {
            let urls = network
                .cluster
                .urls(CommitteeId::Shard(ShardId::new(shard)));
            // Who fetched its state does not know; then the client asks another.
            clients.push(Client::new(&urls, CALL)?);
        }
        let mut credited = 0;
        for (id, acknowledged) in &self.acknowledged {
            let destination = acknowledged.destination;
            if destination == acknowledged.shard {
                continue;
            }
            let client = &clients[usize::from(destination)];
            if credit(client, acknowledged.shard, id).await? {
                credited += 1;
            } else {
                verdict.lost.insert(*id);
            }
        }
        Ok(credited)
    }
}

/// How far it has come at one validator. None when the validator cannot know.
async fn stage(client: &Client, id: &TransactionId) -> anyhow::Result<Option<Stage>> {
    match client.transaction(id).await {
        Ok(stage) => Ok(Some(stage)),
        Err(CallError::Refused { code, .. }) if code == HISTORY_STARTS_LATER => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Is it credited, or will it be within the barriers of the next seconds?
async fn credit(client: &Client, source: u16, id: &TransactionId) -> anyhow::Result<bool> {
    for _ in 0..500 {
        if matches!(client.credit(source, id).await?, Credit::Credited { .. }) {
            return Ok(true);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(false)
}

impl Verdict {
    /// Nothing is lost and nothing contradicts anything.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.lost.is_empty(),
            "{} acknowledged are lost",
            self.lost.len()
        );
        let conflicts = self.conflicts.len();
        ensure!(conflicts == 0, "{conflicts} conflicts");
        Ok(())
    }
}
