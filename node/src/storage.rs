//! The storage thread of a replica: group commit.
//!
//! It takes everything that waits, writes all log entries with one synced write and, in parallel,
//! the newest safety record; then it reports the whole group durable. While it syncs, the next
//! group gathers, so the disk is never idle under load and one sync serves many steps.
//!
//! Breaks if: a failed write is tried again (after a failed sync the system has forgotten which
//! pages were dirty), or a group is reported before both parts are synced. Any failure stops the
//! validator.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use lockstep_consensus::SafetyRecord;
use lockstep_ledger::{Durability, Store, Write};
use lockstep_types::{Durable, LogPosition};

use crate::exit::{Stop, StopSwitch};
use crate::metrics::{Metrics, observe};
use crate::safety_file::SafetyFile;

/// Steps that may wait for the disk. A replica that is further ahead waits; the protocol is
/// faster only with a faster disk.
const MAX_WAITING: usize = 1_024;
/// Steps in one group: bounds the memory of one write.
const MAX_GROUP: usize = 256;

/// What one step wants on disk.
pub(crate) struct Job {
    /// Log entries.
    pub(crate) log: Vec<Write>,
    /// The safety record that must be durable with them.
    pub(crate) record: Option<SafetyRecord>,
    /// The position of the last entry.
    pub(crate) position: LogPosition,
    /// Called on the storage thread when all of it is on disk.
    pub(crate) done: Box<dyn FnOnce(Durable) + Send>,
}

/// The way to the storage thread.
#[derive(Clone)]
pub(crate) struct Storage {
    jobs: SyncSender<Job>,
}

impl Storage {
    /// Starts the thread, and a second one for the safety record.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub(crate) fn start(
        name: &str,
        store: Arc<dyn Store>,
        safety: SafetyFile,
        switch: &StopSwitch,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), Stop> {
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        let (records, to_write) = sync_channel::<SafetyRecord>(1);
        let (written, results) = sync_channel(1);
        let mut safety = safety;
        let sync_times = Arc::clone(&metrics);
        switch.spawn(format!("record-{name}"), move || {
            while let Ok(record) = to_write.recv() {
                let start = Instant::now();
                let result = safety.write(record);
                observe(&sync_times.record_sync, start.elapsed());
                if written.send(result).is_err() {
                    return;
                }
            }
        })?;
        let writer = Writer {
            store,
            records,
            results,
            metrics,
        };
        let failed = switch.clone();
        let thread = switch.spawn(format!("store-{name}"), move || {
            if let Err(reason) = writer.run(&waiting) {
                failed.stop(reason);
            }
        })?;
        Ok((Storage { jobs }, thread))
    }

    /// Hands a step over. Waits while the disk is too far behind; after a failure it does nothing,
    /// because the validator is stopping.
    pub(crate) fn submit(&self, job: Job) {
        // The thread ends only after it has thrown the stop switch.
        let _ = self.jobs.send(job);
    }

    /// Waits until everything that was handed over is on disk and reported.
    pub(crate) fn finish(&self) {
        let (done, is_done) = sync_channel::<()>(1);
        self.submit(Job {
            log: Vec::new(),
            record: None,
            position: LogPosition::START,
            done: Box::new(move |_| drop(done)),
        });
        // Always an error: the job is done, or the thread has thrown the stop switch.
        let _ = is_done.recv();
    }
}

struct Writer {
    store: Arc<dyn Store>,
    records: SyncSender<SafetyRecord>,
    results: Receiver<Result<(), Stop>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    fn run(&self, waiting: &Receiver<Job>) -> Result<(), Stop> {
        while let Ok(first) = waiting.recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP {
                match waiting.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
            self.metrics.group.observe(group.len() as f64);
            self.commit(group)?;
        }
        Ok(())
    }

    fn commit(&self, mut group: Vec<Job>) -> Result<(), Stop> {
        let lost = || Stop::Bug("the safety record's thread is gone".to_owned());
        // A later record holds everything an earlier one does.
        let record = group.iter_mut().rev().find_map(|job| job.record.take());
        let writes: Vec<Write> = group.iter_mut().flat_map(|job| job.log.drain(..)).collect();
        let position = group.iter().map(|job| job.position).max();
        let recorded = record.is_some();
        if let Some(record) = record {
            self.records.send(record).map_err(|_| lost())?;
        }
        let start = Instant::now();
        if !writes.is_empty() {
            let written = self.store.write(&writes, Durability::Synced);
            written.map_err(Stop::storage)?;
            observe(&self.metrics.log_sync, start.elapsed());
        }
        if recorded {
            self.results.recv().map_err(|_| lost())??;
        }
        let durable = Durable::synced(position.expect("a group has a first job"));
        for job in group {
            (job.done)(durable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use lockstep_ledger::{Column, Fault, FaultyStore, MemoryStore};
    use lockstep_types::{BlockId, Epoch, Height, QuorumCertificate};

    use super::*;
    use crate::exit::ExitCode;

    fn start(store: Arc<dyn Store>, safety: SafetyFile) -> (Storage, StopSwitch) {
        let switch = StopSwitch::default();
        let metrics = Arc::new(Metrics::new());
        let (storage, _) = Storage::start("test", store, safety, &switch, metrics).unwrap();
        (storage, switch)
    }

    fn safety(directory: &std::path::Path) -> SafetyFile {
        SafetyFile::open(&directory.join("safety"), |_| true)
            .unwrap()
            .0
    }

    fn job(number: u64, done: impl FnOnce(Durable) + Send + 'static) -> Job {
        let position = (0..number).fold(LogPosition::START, |position, _| position.next());
        Job {
            log: vec![Write::put(Column::Blocks, number.to_be_bytes(), vec![1])],
            record: None,
            position,
            done: Box::new(done),
        }
    }

    #[test]
    fn every_step_is_reported_after_its_write() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let (storage, switch) = start(
            Arc::clone(&store) as Arc<dyn Store>,
            safety(directory.path()),
        );
        let (sender, receiver) = channel();
        for number in 1..=2_000u64 {
            let sender = sender.clone();
            let store = Arc::clone(&store);
            storage.submit(job(number, move |durable| {
                let there = store.get(Column::Blocks, &number.to_be_bytes()).unwrap();
                sender.send((number, there.is_some(), durable)).unwrap();
            }));
        }
        for number in 1..=2_000 {
            let (got, there, durable) = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(got, number);
            assert!(there);
            assert!(durable.position().get() >= number);
        }
        assert!(!switch.is_stopped());
    }

    /// Submits a step; the code the validator stops with, and whether the step was reported.
    fn stops(store: Arc<dyn Store>, safety: SafetyFile, mut job: Job) -> (ExitCode, bool) {
        let (storage, switch) = start(store, safety);
        let (thrown, reason) = channel();
        switch.on_stop(move || thrown.send(()).unwrap());
        let (sender, receiver) = channel();
        job.done = Box::new(move |durable| sender.send(durable).unwrap());
        storage.submit(job);
        reason.recv_timeout(Duration::from_secs(20)).unwrap();
        let reported = receiver.recv_timeout(Duration::from_secs(20)).is_ok();
        (switch.reason().unwrap().code(), reported)
    }

    #[test]
    fn a_failed_write_or_sync_stops_the_validator_and_releases_nothing() {
        let failures = [
            (Fault::Write, ExitCode::Storage),
            (Fault::Sync, ExitCode::Storage),
            (Fault::Full, ExitCode::Full),
        ];
        for (fault, code) in failures {
            let directory = tempfile::tempdir().unwrap();
            let store = FaultyStore::new(MemoryStore::default());
            store.break_by(fault);
            let stopped = stops(Arc::new(store), safety(directory.path()), job(1, |_| ()));
            assert_eq!(stopped, (code, false), "{fault:?}");
        }
    }

    #[test]
    fn a_safety_record_that_cannot_be_written_does_too() {
        let root = QuorumCertificate::root(Epoch::ZERO, BlockId::ZERO);
        let end = lockstep_consensus::LogEnd {
            position: LogPosition::START,
            height: Height::ZERO,
            block: BlockId::ZERO,
        };
        let mut job = job(1, |_| ());
        job.record = Some(SafetyRecord::fresh(Epoch::ZERO, root, end));
        let stopped = stops(Arc::new(MemoryStore::default()), SafetyFile::full(), job);
        assert_eq!(stopped, (ExitCode::Full, false));
    }
}
