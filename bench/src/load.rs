//! The load: an open loop. Transactions are signed before the run, each has a time at which it
//! should be sent, and latency counts from that time, whether or not the sender kept it.
//!
//! Breaks if: a latency is taken from the time of actual sending.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lockstep_client::rpc::{Admission, MAX_SUBMITTED, Submitted};
use lockstep_client::{Blocks, CallError, Client};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::book::{Book, Outgoing};
use crate::manifest::now_micros;

/// Transactions are planned in steps of this length. Shorter ones would cost more calls than
/// the validators should have to answer besides their work.
pub const TICK: Duration = Duration::from_millis(5);
/// Calls to one validator on the way at a time. A validator that does not answer is passed over and
/// must not hold up the plan; when none has room, transactions stay with their accounts.
const MAX_CALLS: usize = 8;
/// How long a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// What the generator should do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Nothing.
    Rest,
    /// So many transactions per second for each shard.
    PerSecond(f64),
    /// Whatever the accounts can send.
    Flood,
}

/// The book, shared by senders and observers.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Book>>);

impl Shared {
    /// Shares a book.
    pub fn new(book: Book) -> Self {
        Shared(Arc::new(Mutex::new(book)))
    }

    /// Opens it; nobody holds it for long.
    pub fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no holder of the book panics")
    }
}

/// Sends one shard's load until the sender of `pace` is gone. `urls` are the shard's validators,
/// which take turns.
///
/// # Errors
/// When a URL is not one.
pub async fn offer(
    shard: u16,
    urls: Vec<String>,
    book: Shared,
    pace: watch::Receiver<Pace>,
) -> Result<(), CallError> {
    let members: Vec<Arc<Client>> = urls
        .iter()
        .map(|url| Client::new(&[url], CALL_DEADLINE).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let calls: Vec<_> = members
        .iter()
        .map(|_| Arc::new(Semaphore::new(MAX_CALLS)))
        .collect();
    let mut turn = 0;
    let mut due = 0.0;
    let mut tick = Instant::now();
    while pace.has_changed().is_ok() {
        tick += TICK;
        tokio::time::sleep_until(tick).await;
        let late = Instant::now().saturating_duration_since(tick);
        let planned = now_micros() - u64::try_from(late.as_micros()).unwrap_or(0);
        let now = *pace.borrow();
        let outgoing = {
            let mut book = book.open();
            let count = match now {
                Pace::Rest => 0,
                Pace::Flood => book.ready(shard),
                Pace::PerSecond(rate) => {
                    due += rate * TICK.as_secs_f64();
                    let whole = due as usize;
                    due -= whole as f64;
                    whole
                }
            };
            if count == 0 {
                continue;
            }
            book.late(late);
            book.take(shard, count, planned)
        };
        for batch in outgoing.chunks(MAX_SUBMITTED) {
            let room = (0..members.len()).find_map(|step| {
                let at = (turn + step) % members.len();
                let permit = Arc::clone(&calls[at]).try_acquire_owned().ok()?;
                Some((at, permit))
            });
            let Some((at, permit)) = room else {
                book.open().hold_back(batch);
                continue;
            };
            turn = at + 1;
            let (member, batch, book) = (Arc::clone(&members[at]), batch.to_vec(), book.clone());
            tokio::spawn(async move {
                submit(&member, batch, &book).await;
                drop(permit);
            });
        }
    }
    Ok(())
}

async fn submit(member: &Client, batch: Vec<Outgoing>, book: &Shared) {
    let (ids, bytes): (Vec<_>, Vec<_>) = batch.into_iter().map(|o| (o.id, o.bytes)).unzip();
    match member.submit_many(&bytes).await {
        Ok(answers) => {
            let mut book = book.open();
            for (id, Submitted { admission, .. }) in ids.into_iter().zip(answers) {
                book.answered(id, &admission);
            }
        }
        Err(CallError::Refused { code, message })
            if code == lockstep_client::rpc::code::BUSY
                || code == lockstep_client::rpc::code::NOT_READY =>
        {
            let mut book = book.open();
            let busy = Admission::Busy { message };
            ids.into_iter().for_each(|id| book.answered(id, &busy));
        }
        Err(error) => book.open().unanswered(&error),
    }
}

/// Follows one member's blocks until its connection ends.
pub async fn observe(member: u8, mut blocks: Blocks, book: Shared) {
    while let Some(block) = blocks.next().await {
        match block {
            Ok(block) => book.open().on_block(member, &block, now_micros()),
            Err(error) => book.open().unanswered(&error),
        }
    }
}
