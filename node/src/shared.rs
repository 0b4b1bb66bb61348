//! What a replica's threads leave for those who ask: the newest status, recent barriers, executed
//! blocks as they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lockstep_client::rpc::BlockSummary;
use lockstep_shard::Status;
use lockstep_types::{Height, Time, WindowNumber};
use tokio::sync::broadcast;

use crate::barriers::Barriers;
use crate::metrics::Metrics;
use crate::pending::Pending;

/// Blocks that wait for a slow subscriber; then it is told how many it missed.
const BLOCKS_WAITING: usize = 256;
/// Windows whose first height is remembered. Older ones are found through their records.
const MAX_WINDOWS: usize = 4_096;

/// The blackboard of one replica.
pub(crate) struct Shared {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) barriers: Barriers,
    pub(crate) pending: Pending,
    pub(crate) blocks: broadcast::Sender<Arc<BlockSummary>>,
    pub(crate) started: Instant,
    status: Mutex<Status>,
    newest: Mutex<(Height, Time)>,
    windows: Mutex<BTreeMap<Height, WindowNumber>>,
    serving: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, status: Status) -> Self {
        Shared {
            metrics,
            barriers: Barriers::default(),
            pending: Pending::default(),
            blocks: broadcast::Sender::new(BLOCKS_WAITING),
            started: Instant::now(),
            status: Mutex::new(status),
            newest: Mutex::default(),
            windows: Mutex::default(),
            serving: AtomicUsize::new(0),
        }
    }

    pub(crate) fn status(&self) -> Status {
        let status = self.status.lock().expect("no holder of this lock panics");
        status.clone()
    }

    pub(crate) fn set_status(&self, status: Status) {
        let level = |height: u64| i64::try_from(height).unwrap_or(i64::MAX);
        self.metrics.height.set(level(status.committed.get()));
        self.metrics.executed.set(level(status.executed.get()));
        self.metrics.view.set(level(status.view.get()));
        self.metrics.record.set(level(status.record.get()));
        self.metrics.pool.set(level(status.pending as u64));
        *self.status.lock().expect("no holder of this lock panics") = status;
    }

    /// Time of the newest executed block.
    pub(crate) fn newest(&self) -> (Height, Time) {
        *self.newest.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn set_newest(&self, height: Height, time: Time, window: WindowNumber) {
        *self.newest.lock().expect("no holder of this lock panics") = (height, time);
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        if windows.last_key_value().map(|(_, newest)| *newest) != Some(window) {
            windows.insert(height, window);
            while windows.len() > MAX_WINDOWS {
                windows.pop_first();
            }
        }
    }

    /// The window a height fell into, if it was executed since the start.
    pub(crate) fn window_of(&self, height: Height) -> Option<WindowNumber> {
        let windows = self.windows.lock().expect("no holder of this lock panics");
        let found = windows.range(..=height).next_back();
        found.map(|(_, window)| *window)
    }

    /// Takes a place among the answers being made for peers, unless `limit` are.
    pub(crate) fn serve(self: &Arc<Self>, limit: usize) -> Option<Serving> {
        if self.serving.fetch_add(1, Ordering::Relaxed) >= limit {
            self.serving.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Serving(Arc::clone(self)))
    }
}

/// A place among the answers being made.
pub(crate) struct Serving(Arc<Shared>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}
