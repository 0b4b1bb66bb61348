//! How the network lives, as an outsider sees it who asks every validator all the time: who leads,
//! how high each committee is, and the longest time in which it committed nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_client::Client;
use lockstep_client::rpc::ReplicaStatus;
use lockstep_types::CommitteeId;
use tokio::task::JoinHandle;

use crate::network::Network;

/// Between two questions to one validator: well below the time of a view change.
const EVERY: Duration = Duration::from_millis(40);
/// A validator that is stopped or gone is asked again after this.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(5);

/// Now, on the clock that validators stamp blocks with.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.expect("the clock is past 1970");
    u64::try_from(since.as_micros()).expect("some centuries are left")
}

/// What is known of one committee.
#[derive(Clone, Copy, Debug)]
struct Beat {
    height: u64,
    /// When its newest block was proposed.
    block_time_us: u64,
    /// Newest record applied; at the beacon, committed.
    record: u64,
    view: u64,
    leader: u8,
    risen: Instant,
    longest: Duration,
}

impl Beat {
    fn new() -> Self {
        Beat {
            height: 0,
            block_time_us: 0,
            record: 0,
            view: 0,
            leader: 0,
            risen: Instant::now(),
            longest: Duration::ZERO,
        }
    }

    fn on_status(&mut self, status: &ReplicaStatus) {
        if status.height > self.height {
            self.height = status.height;
            self.longest = self.longest.max(self.risen.elapsed());
            self.risen = Instant::now();
        }
        self.block_time_us = self.block_time_us.max(status.block_time_us);
        self.record = self.record.max(status.record);
        if status.view >= self.view {
            self.view = status.view;
            self.leader = status.leader;
        }
    }
}

/// Asks until it is dropped.
pub(crate) struct Pulse {
    beats: Arc<Mutex<BTreeMap<CommitteeId, Beat>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Pulse {
    pub(crate) fn start(network: &Network) -> anyhow::Result<Self> {
        let committees = network.cluster.genesis().committees();
        let beats: BTreeMap<_, _> = committees.map(|c| (c, Beat::new())).collect();
        let beats = Arc::new(Mutex::new(beats));
        let mut tasks = Vec::new();
        for place in network.cluster.places() {
            let client = Client::new(&[place.url()], PATIENCE)?;
            tasks.push(
                network
                    .runtime
                    .spawn(ask(client, place.committee, Arc::clone(&beats))),
            );
        }
        Ok(Pulse { beats, tasks })
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<CommitteeId, Beat>> {
        self.beats.lock().expect("no holder of this lock panics")
    }

    fn beat(&self, committee: CommitteeId) -> Beat {
        self.beats()[&committee]
    }

    /// The leader of the newest view anybody was in.
    pub(crate) fn leader(&self, committee: CommitteeId) -> u8 {
        self.beat(committee).leader
    }

    /// The newest record a member of it knew.
    pub(crate) fn record(&self, committee: CommitteeId) -> u64 {
        self.beat(committee).record
    }

    /// Gaps count from now on.
    pub(crate) fn mark(&self) {
        for beat in self.beats().values_mut() {
            beat.longest = Duration::ZERO;
            beat.risen = Instant::now();
        }
    }

    /// The longest time since the mark in which a committee committed nothing.
    pub(crate) fn longest_gap(&self, committee: CommitteeId) -> Duration {
        let beat = self.beat(committee);
        beat.longest.max(beat.risen.elapsed())
    }

    /// Waits until a committee has committed a block that was proposed after `since_us`; says how
    /// long that took from the call.
    pub(crate) fn wait_for_block(
        &self,
        committee: CommitteeId,
        since_us: u64,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        self.wait(patience, || self.beat(committee).block_time_us > since_us)
            .ok_or_else(|| {
                let beat = self.beat(committee);
                anyhow::anyhow!("{committee} committed nothing in {patience:?}: {beat:?}")
            })
    }

    /// As [`Pulse::wait_for_block`], until it has applied `record`.
    pub(crate) fn wait_for_record(
        &self,
        committee: CommitteeId,
        record: u64,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        self.wait(patience, || self.beat(committee).record >= record)
            .ok_or_else(|| {
                let beat = self.beat(committee);
                anyhow::anyhow!("{committee} has no record {record} in {patience:?}: {beat:?}")
            })
    }

    fn wait(&self, patience: Duration, done: impl Fn() -> bool) -> Option<Duration> {
        let started = Instant::now();
        while !done() {
            if started.elapsed() > patience {
                return None;
            }
            std::thread::sleep(LOOK);
        }
        Some(started.elapsed())
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn ask(
    client: Client,
    committee: CommitteeId,
    beats: Arc<Mutex<BTreeMap<CommitteeId, Beat>>>,
) {
    loop {
        if let Ok(status) = client.status().await
            && let Some(replica) = status.replicas.first()
        {
            let mut beats = beats.lock().expect("no holder of this lock panics");
            if let Some(beat) = beats.get_mut(&committee) {
                beat.on_status(replica);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
