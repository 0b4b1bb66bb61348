//! The threads that check what comes from outside, shared by all validators of a process.
//!
//! One thread serves only consensus messages, so that a vote never waits behind a batch of five
//! hundred signatures; the others take consensus messages first, then data, then sync.
//!
//! Nothing here bounds the queues: every job from a peer carries the room its sender has
//! ([`crate::network::Slot`]), and every job from a client the room the RPC server gave it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use crate::network::Class;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queues {
    jobs: [VecDeque<Job>; 3],
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
                    let next = queues.jobs[..classes]
                        .iter_mut()
                        .find_map(VecDeque::pop_front);
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
    pub fn submit(&self, class: Class, job: impl FnOnce() + Send + 'static) {
        self.inner.lock().jobs[class.index()].push_back(Box::new(job));
        if class == Class::Consensus {
            self.inner.urgent.notify_one();
        } else {
            self.inner.any.notify_one();
        }
    }

    /// Jobs waiting, by class.
    pub fn waiting(&self) -> [usize; 3] {
        let queues = self.inner.lock();
        [0, 1, 2].map(|class| queues.jobs[class].len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn consensus_does_not_wait_for_data() {
        let pool = VerifyPool::start(1).unwrap();
        let (release, held) = mpsc::channel::<()>();
        pool.submit(Class::Data, move || {
            held.recv_timeout(Duration::from_secs(20)).unwrap();
        });
        let (done, order) = mpsc::channel();
        for class in [Class::Sync, Class::Data, Class::Consensus] {
            let done = done.clone();
            pool.submit(class, move || done.send(class).unwrap());
        }
        let patience = Duration::from_secs(20);
        // The only general worker is held, and the vote is checked nevertheless.
        assert_eq!(order.recv_timeout(patience), Ok(Class::Consensus));
        release.send(()).unwrap();
        assert_eq!(order.recv_timeout(patience), Ok(Class::Data));
        assert_eq!(order.recv_timeout(patience), Ok(Class::Sync));
    }
}
