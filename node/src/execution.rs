//! The execution thread of a shard's replica: executes committed blocks in order, writes the state
//! part of the store behind them, and answers questions about the state in between.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use lockstep_client::rpc::{BlockCredit, BlockSummary, BlockTransaction};
use lockstep_ledger::{Durability, ReceiptResult, Store, Subject, TrieDone, TrieJob};
use lockstep_shard::{ExecuteBlock, ExecutedBlock, Executor, Input, Place};
use lockstep_types::{ShardId, WindowNumber};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::exit::{Stop, StopSwitch};
use crate::inbox::{Inbox, Room, Urgency};
use crate::metrics::observe;
use crate::replica::stop_for;
use crate::shared::Shared;

/// Committed blocks that may wait. Consensus lets execution lag by a few blocks; the rest is for
/// catching up. A replica that is further ahead waits.
const MAX_BLOCKS: usize = 64;
/// Questions that may wait. They have places of their own: however many clients ask, consensus waits
/// for blocks only.
const MAX_QUESTIONS: usize = 64;

type Question = Box<dyn FnOnce(&Executor) + Send>;

enum Task {
    Load(Option<Box<Executor>>),
    Execute(Box<ExecuteBlock>),
    Ask(Question, OwnedSemaphorePermit),
    Stop,
}

/// The way to the execution thread.
#[derive(Clone)]
pub(crate) struct Execution {
    tasks: SyncSender<Task>,
    questions: Arc<Semaphore>,
}

/// What the thread works with.
pub(crate) struct Parts {
    /// None while the replica fetches its state.
    pub(crate) executor: Option<Executor>,
    pub(crate) shard: ShardId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<Clock>,
}

impl Execution {
    /// Starts the thread.
    pub(crate) fn start(
        name: &str,
        parts: Parts,
        switch: &StopSwitch,
    ) -> Result<(Self, std::thread::JoinHandle<()>), Stop> {
        let (tasks, waiting) = sync_channel(MAX_BLOCKS + MAX_QUESTIONS);
        let failed = switch.clone();
        let thread = switch.spawn(format!("exec-{name}"), move || {
            if let Err(reason) = run(parts, &waiting) {
                failed.stop(reason);
            }
        })?;
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        Ok((Execution { tasks, questions }, thread))
    }

    /// The replica has another state: blocks of that executor follow. None while it fetches one.
    pub(crate) fn load(&self, executor: Option<Executor>) {
        // The thread ends only after it has thrown the stop switch, or on request.
        let _ = self.tasks.send(Task::Load(executor.map(Box::new)));
    }

    /// Hands a committed block over; waits while execution is too far behind.
    pub(crate) fn execute(&self, block: ExecuteBlock) {
        // The thread ends only after it has thrown the stop switch, or on request.
        let _ = self.tasks.send(Task::Execute(Box::new(block)));
    }

    /// Asks about the state, between two blocks. False when there is no room.
    pub(crate) fn ask(&self, question: impl FnOnce(&Executor) + Send + 'static) -> bool {
        let Ok(place) = Arc::clone(&self.questions).try_acquire_owned() else {
            return false;
        };
        let task = Task::Ask(Box::new(question), place);
        self.tasks.try_send(task).is_ok()
    }

    /// Ends the thread after what waits.
    pub(crate) fn stop(&self) {
        // An error means that it has ended.
        let _ = self.tasks.send(Task::Stop);
    }
}

fn run(mut parts: Parts, waiting: &Receiver<Task>) -> Result<(), Stop> {
    let mut before: Option<Arc<Place>> = None;
    while let Ok(task) = waiting.recv() {
        match task {
            Task::Execute(block) => {
                let place = parts.execute(*block, before.take())?;
                before = Some(place);
            }
            Task::Load(executor) => {
                parts.executor = executor.map(|executor| *executor);
                before = None;
            }
            // Without a state the question is dropped, and who asked hears that we are busy.
            Task::Ask(question, _place) => {
                if let Some(executor) = &parts.executor {
                    question(executor);
                }
            }
            Task::Stop => break,
        }
    }
    Ok(())
}

impl Parts {
    fn execute(
        &mut self,
        block: ExecuteBlock,
        before: Option<Arc<Place>>,
    ) -> Result<Arc<Place>, Stop> {
        let start = Instant::now();
        let executor = self.executor.as_mut();
        let executor = executor.expect("a replica without its state commits nothing");
        let done = executor
            .step(block, &mut run_in_parallel)
            .map_err(stop_for)?;
        let written = self.store.write(&done.writes, Durability::Buffered);
        written.map_err(Stop::storage)?;
        observe(&self.shared.metrics.execution, start.elapsed());
        if let Some(snapshot) = done.snapshot {
            self.shared.put_snapshot(self.clock.now(), snapshot);
        }
        let executed = done.executed;
        let place = Arc::clone(&executed.place);
        self.tell(&executed, before.as_deref());
        let input = Input::Executed(Box::new(executed));
        self.inbox.push(Urgency::Urgent, input, Room::Own);
        Ok(place)
    }

    /// Tells everybody who watches.
    fn tell(&self, executed: &ExecutedBlock, before: Option<&Place>) {
        let place = &executed.place;
        let window = place.seal.unwrap_or(place.window.number);
        let shared = &self.shared;
        shared.set_newest(executed.height, place.time, window);
        let now = self.clock.now();
        observe(&shared.metrics.finality, now.since(place.time));
        if let (Some(sealed), Some(before)) = (place.seal, before) {
            shared.barriers.due(sealed, before.window.end);
        }
        if let Some(before) = before
            && executed.record.is_none()
            && place.seal.is_none()
            && before.window.record > WindowNumber::ZERO
        {
            // The first block after the one that applied the newest record.
            shared.barriers.resumed(before.window.record, now);
        }
        if let Some(record) = &executed.record {
            shared.barriers.recorded(&record.record);
            shared.pending.expire(place.window.number);
        }
        let summary = self.summary(executed, window.get());
        let applied = summary.transactions.iter().filter(|t| t.applied).count();
        let failed = summary.transactions.len() - applied;
        shared.metrics.transactions.inc_by(applied as u64);
        shared.metrics.failed_transactions.inc_by(failed as u64);
        shared.metrics.credits.inc_by(summary.credits.len() as u64);
        let ids = summary.transactions.iter().map(|t| &t.id);
        let skipped = executed.skipped.iter().map(|(id, _)| id);
        shared.pending.remove(ids.chain(skipped));
        // An error means that nobody listens.
        let _ = shared.blocks.send(Arc::new(summary));
    }

    fn summary(&self, executed: &ExecutedBlock, window: u64) -> BlockSummary {
        let mut transactions = Vec::new();
        let mut credits = Vec::new();
        for receipt in executed.receipts.iter() {
            match receipt.subject {
                Subject::Transaction(id) => transactions.push(BlockTransaction {
                    id,
                    applied: receipt.result == ReceiptResult::Applied,
                }),
                Subject::Credit {
                    source,
                    transaction,
                    ..
                } => credits.push(BlockCredit {
                    source: source.get(),
                    transaction,
                }),
            }
        }
        BlockSummary {
            shard: self.shard.get(),
            height: executed.height.get(),
            time_us: executed.place.time.micros(),
            window,
            seal: executed.place.seal.is_some(),
            record: executed.record.as_ref().map(|r| r.record.number.get()),
            transactions,
            credits,
            lagged: 0,
        }
    }
}

/// Runs the jobs of a state root on as many threads as there are cores.
fn run_in_parallel(jobs: Vec<TrieJob>) -> Vec<TrieDone> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(jobs.len());
    if threads <= 1 {
        return jobs.into_iter().map(TrieJob::run).collect();
    }
    let queue = std::sync::Mutex::new(jobs);
    let next = || queue.lock().expect("no holder of this lock panics").pop();
    let work = || {
        std::iter::from_fn(next)
            .map(TrieJob::run)
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_room_however_many_ask() {
        let (tasks, _waiting) = sync_channel(MAX_BLOCKS + MAX_QUESTIONS);
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let execution = Execution { tasks, questions };
        let asked = (0..1_000).filter(|_| execution.ask(|_| {})).count();
        assert_eq!(asked, MAX_QUESTIONS);
        assert!((0..MAX_BLOCKS).all(|_| execution.tasks.try_send(Task::Load(None)).is_ok()));
    }
}
