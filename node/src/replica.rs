//! The thread of a replica: takes what waits, steps the member, and passes on what comes out.
//!
//! Breaks if: messages of a step leave before its writes are durable (the type of `Ready` and the
//! storage thread see to it), or this thread waits for anything but the disk and execution.

use std::sync::Arc;
use std::time::Duration;

use lockstep_consensus as consensus;
use lockstep_ledger::Store;
use lockstep_shard::{
    Archive, Destination, Fatal, Input, Member, Message, Outbound, Peer, Ready, Request,
};
use lockstep_types::{CommitteeId, Time};

use crate::clock::Clock;
use crate::execution::Execution;
use crate::exit::{Stop, StopSwitch};
use crate::inbox::{Inbox, Next};
use crate::network::Class;
use crate::routes::Sender;
use crate::shared::Shared;
use crate::storage::{Job, Storage};
use crate::verify::VerifyPool;

/// What a failure of the protocol means for the process.
pub(crate) fn stop_for(fatal: Fatal) -> Stop {
    match fatal {
        Fatal::Consensus(consensus::Fatal::SecondCopy { .. }) => {
            Stop::SecondCopy(fatal.to_string())
        }
        Fatal::Store(_) => Stop::Storage(fatal.to_string()),
        Fatal::Consensus(_) | Fatal::Diverged { .. } | Fatal::Ledger(_) => {
            Stop::Broken(fatal.to_string())
        }
    }
}

/// What the thread works with.
pub(crate) struct Replica {
    pub(crate) member: Member,
    pub(crate) committee: CommitteeId,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) storage: Storage,
    pub(crate) execution: Option<Execution>,
    pub(crate) sender: Sender,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) pool: VerifyPool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) horizon: Arc<std::sync::Mutex<consensus::Horizon>>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) switch: StopSwitch,
}

impl Replica {
    /// Runs until the inbox is closed or the member stops.
    pub(crate) fn run(mut self) {
        // What recovery found to do comes out of the first step.
        let mut wake_at = self.step(Input::Tick);
        loop {
            let patience = wake_at.map(|at: Time| at.since(self.clock.now()));
            let (input, room) = match self.inbox.next(patience) {
                Next::Input(input, room) => (input, Some(room)),
                Next::Nothing => (Input::Tick, None),
                Next::Closed => return,
            };
            wake_at = self.step(input);
            drop(room);
            if self.switch.is_stopped() {
                return;
            }
        }
    }

    fn step(&mut self, input: Input) -> Option<Time> {
        let now = self.clock.now();
        let mut ready = self.member.step(now, input);
        self.shared.metrics.steps.inc();
        if let Some(fatal) = ready.stop.take() {
            self.switch.stop(stop_for(fatal));
            return None;
        }
        self.sender.send_all(std::mem::take(&mut ready.prompt));
        for block in ready.execute.drain(..) {
            match &self.execution {
                Some(execution) => execution.execute(block),
                None => unreachable!("the beacon executes nothing"),
            }
        }
        for stamp in ready.phases.drain(..) {
            tracing::debug!(
                committee = %self.committee,
                barrier = %stamp.barrier,
                phase = stamp.phase.name(),
                "barrier"
            );
            self.shared.barriers.stamp(stamp);
        }
        for (peer, request) in std::mem::take(&mut ready.serve) {
            self.serve(peer, request);
        }
        for request in std::mem::take(&mut ready.serve_blocks) {
            self.serve_blocks(request);
        }
        for evidence in ready.evidence.drain(..) {
            self.shared.metrics.evidence.inc();
            tracing::warn!(committee = %self.committee, ?evidence, "a member contradicted itself");
        }
        for (from, reason) in ready.refused.drain(..) {
            self.shared.metrics.refused.inc();
            tracing::debug!(member = %from.member, committee = %from.committee, reason, "refused");
        }
        let wake_at = ready.wake_at;
        self.note();
        if ready.needs_sync() {
            self.store(ready);
        }
        // A wake-up that is due at once is one step later, not a busy loop in the same instant.
        wake_at.map(|at| at.max(now.after(Duration::from_micros(50))))
    }

    fn note(&self) {
        self.shared.set_status(self.member.status());
        let mut horizon = self.horizon.lock().expect("no holder of this lock panics");
        *horizon = self.member.horizon();
    }

    fn store(&self, ready: Ready) {
        let sender = self.sender.clone();
        let inbox = Arc::clone(&self.inbox);
        self.storage.submit(Job {
            log: ready.writes().to_vec(),
            record: ready.record().cloned(),
            position: ready.position(),
            done: Box::new(move |durable| {
                sender.send_all(ready.release(&durable));
                inbox.synced(durable);
            }),
        });
    }

    /// Answers a question of a peer beside the replica.
    fn serve(&self, peer: Peer, request: Request) {
        let Some(place) = self.shared.serve(peer) else {
            return;
        };
        let sender = self.sender.clone();
        if let Request::Entries { destination, from } = request {
            let Some(execution) = &self.execution else {
                return;
            };
            // Without room the peer asks again.
            let _asked = execution.ask(move |executor| {
                if let Some(bundle) = executor.entries(destination, from) {
                    let message = Message::Bundle(Arc::new(bundle));
                    let to = Destination::Member(peer);
                    sender.send(Outbound { to, message });
                }
                drop(place);
            });
            return;
        }
        let store = Arc::clone(&self.store);
        let switch = self.switch.clone();
        self.pool.submit(Class::Data, move || {
            match Archive::new(store.as_ref()).answer(&request) {
                Ok(messages) => {
                    for message in messages {
                        let to = Destination::Member(peer);
                        sender.send(Outbound { to, message });
                    }
                }
                Err(fatal) => switch.stop(stop_for(fatal)),
            }
            drop(place);
        });
    }

    fn serve_blocks(&self, request: consensus::LogRequest) {
        let peer = Peer {
            committee: self.committee,
            member: request.peer,
        };
        let Some(place) = self.shared.serve(peer) else {
            return;
        };
        let sender = self.sender.clone();
        let store = Arc::clone(&self.store);
        let switch = self.switch.clone();
        self.pool.submit(Class::Sync, move || {
            match Archive::new(store.as_ref()).answer_blocks(&request) {
                Ok(Some(message)) => sender.send(Outbound {
                    to: Destination::Seat(request.peer),
                    message,
                }),
                Ok(None) => {}
                Err(fatal) => switch.stop(stop_for(fatal)),
            }
            drop(place);
        });
    }
}
