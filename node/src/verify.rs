//! The threads that check what comes from outside, shared by all validators of a process.
//!
//! One thread serves only consensus messages, so that a vote never waits behind a batch of five
//! hundred signatures; the others take consensus messages first, then data, then sync. Within a class
//! those who want something take turns: who floods us, with whatever is well signed, waits for
//! itself, and everybody else for one of its jobs.
//!
//! Nothing here bounds the queues: every job from a peer carries the room its sender has
//! ([`crate::network::Slot`]), and every job from a client the room the RPC server gave it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use lockstep_shard::Peer;

use crate::network::Class;

type Job = Box<dyn FnOnce() + Send>;

/// For whom a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A peer.
    Peer(Peer),
    /// All clients together.
    Clients,
}

/// The jobs of one class: in order for each, in turns for all.
#[derive(Default)]
struct Turns {
    /// No lane is empty.
    lanes: BTreeMap<Lane, VecDeque<Job>>,
    /// Every lane once.
    turns: VecDeque<Lane>,
}

impl Turns {
    fn push(&mut self, lane: Lane, job: Job) {
        let jobs = self.lanes.entry(lane).or_default();
        if jobs.is_empty() {
            self.turns.push_back(lane);
        }
        jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let lane = self.turns.pop_front()?;
        let jobs = self.lanes.get_mut(&lane)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane);
        }
        job
    }

    fn len(&self) -> usize {
        self.lanes.values().map(VecDeque::len).sum()
    }
}

#[derive(Default)]
struct Queues {
    classes: [Turns; 3],
    closed: bool,
}

#[derive(Default)]
struct Inner {
    queues: Mutex<Queues>,
    /// Wakes the thread that serves consensus only.
    urgent: Condvar,
    /// Wakes the others.
    any: Condvar,
}

/// The pool. Threads end when the last handle is gone.
#[derive(Clone)]
pub struct VerifyPool {
    inner: Arc<Inner>,
    _closer: Arc<Closer>,
}

struct Closer(Arc<Inner>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.urgent.notify_all();
        self.0.any.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queues> {
        self.queues.lock().expect("no holder of this lock panics")
    }

    fn serve(&self, classes: usize, wake: &Condvar) {
        loop {
            let job = {
                let mut queues = self.lock();
                loop {
                    let next = queues.classes[..classes].iter_mut().find_map(Turns::pop);
                    if let Some(job) = next {
                        break job;
                    }
                    if queues.closed {
                        return;
                    }
                    queues = wake.wait(queues).expect("no holder of this lock panics");
                }
            };
            // A job that panics is a bug; its message is lost like any other, the thread is not.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a check panicked; its message is dropped");
            }
        }
    }
}

impl VerifyPool {
    /// Starts `workers` threads for everything and one for consensus.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub fn start(workers: usize) -> std::io::Result<Self> {
        let inner = Arc::new(Inner::default());
        for number in 0..=workers.max(1) {
            let inner = Arc::clone(&inner);
            let name = format!("verify-{number}");
            std::thread::Builder::new()
                .name(name)
                .spawn(move || match number {
                    0 => inner.serve(1, &inner.urgent),
                    _ => inner.serve(3, &inner.any),
                })?;
        }
        let closer = Arc::new(Closer(Arc::clone(&inner)));
        Ok(VerifyPool {
            inner,
            _closer: closer,
        })
    }

    /// Hands a job to the pool.
    pub fn submit(&self, class: Class, lane: Lane, job: impl FnOnce() + Send + 'static) {
        self.inner.lock().classes[class.index()].push(lane, Box::new(job));
        if class == Class::Consensus {
            self.inner.urgent.notify_one();
        } else {
            self.inner.any.notify_one();
        }
    }

    /// Jobs waiting, by class.
    pub fn waiting(&self) -> [usize; 3] {
        let queues = self.inner.lock();
        [0, 1, 2].map(|class| queues.classes[class].len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use lockstep_types::{CommitteeId, MemberIndex};

    use super::*;

    #[test]
    fn consensus_does_not_wait_for_data() {
        let pool = VerifyPool::start(1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        pool.submit(Class::Data, Lane::Clients, move || {
            held.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        let (done, order) = mpsc::channel();
        for class in [Class::Sync, Class::Data, Class::Consensus] {
            let done = done.clone();
            pool.submit(class, Lane::Clients, move || done.send(class).unwrap());
        }
        let patience = Duration::from_secs(20);
        // The only general worker is held, and the vote is checked nevertheless.
        assert_eq!(order.recv_timeout(patience), Ok(Class::Consensus));
        release.send(()).unwrap();
        assert_eq!(order.recv_timeout(patience), Ok(Class::Data));
        assert_eq!(order.recv_timeout(patience), Ok(Class::Sync));
    }

    #[test]
    fn who_floods_waits_for_itself() {
        let peer = |member| {
            Lane::Peer(Peer {
                committee: CommitteeId::Beacon,
                member: MemberIndex::new(member),
            })
        };
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut turns = Turns::default();
        let push = |turns: &mut Turns, lane| {
            let order = Arc::clone(&order);
            turns.push(lane, Box::new(move || order.lock().unwrap().push(lane)));
        };
        (0..100).for_each(|_| push(&mut turns, peer(0)));
        (0..2).for_each(|_| push(&mut turns, peer(1)));
        push(&mut turns, Lane::Clients);
        assert_eq!(turns.len(), 103);
        while let Some(job) = turns.pop() {
            job();
        }
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 103);
        let place = |lane| order.iter().rposition(|done| *done == lane).unwrap();
        assert_eq!((place(Lane::Clients), place(peer(1))), (2, 4));
        assert!(turns.lanes.is_empty() && turns.turns.is_empty());
    }
}
