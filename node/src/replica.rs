//! The thread of a replica: takes what waits, steps the member, and passes on what comes out.
//!
//! Breaks if: messages of a step leave before its writes are durable (the type of `Ready` and the
//! storage thread see to it), or this thread waits for anything but the disk and execution.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockstep_consensus::{self as consensus, Arrival};
use lockstep_ledger::{Durability, Store};
use lockstep_shard::{
    Archive, Destination, Executor, Fatal, Input, Member, Message, Outbound, Peer, Ready, Request,
    Setup, finish_state_sync,
};
use lockstep_types::{CommitteeId, Time};

use crate::clock::Clock;
use crate::conduct::Conduct;
use crate::evidence::Casebook;
use crate::execution::Execution;
use crate::exit::{Stop, StopSwitch};
use crate::inbox::{Inbox, Next};
use crate::network::Class;
use crate::routes::Sender;
use crate::shared::Shared;
use crate::space::{LOOK_EVERY, Space};
use crate::storage::{Job, Storage};
use crate::verify::{Lane, VerifyPool};

/// What a failure of the protocol means for the process.
pub(crate) fn stop_for(fatal: Fatal) -> Stop {
    match fatal {
        Fatal::Consensus(consensus::Fatal::SecondCopy { .. }) => {
            Stop::SecondCopy(fatal.to_string())
        }
        Fatal::Consensus(consensus::Fatal::NobodyToAsk) => Stop::Forgotten(fatal.to_string()),
        Fatal::Store(cause) => Stop::storage(cause),
        // The log and the record are read back from disk, where they were whole.
        Fatal::Consensus(
            consensus::Fatal::BrokenLog(_)
            | consensus::Fatal::BrokenRecord(_)
            | consensus::Fatal::WrongEpoch { .. },
        ) => Stop::Storage(fatal.to_string()),
        Fatal::Consensus(_) | Fatal::Diverged { .. } | Fatal::Ledger(_) => {
            Stop::Broken(fatal.to_string())
        }
    }
}

/// A member and, in a shard, its executor, from what the disk holds. A state that was fetched in
/// full becomes the member's own; one that is still `wanted` is fetched, and there is no executor.
pub(crate) fn start_member(
    setup: &Setup,
    store: &dyn Store,
    record: Option<consensus::SafetyRecord>,
    wanted: bool,
) -> Result<(Member, Option<Executor>), Stop> {
    let Some(shard) = setup.committee.shard() else {
        let member = Member::recover(setup.clone(), store, record).map_err(stop_for)?;
        return Ok((member, None));
    };
    let fetched = finish_state_sync(&setup.genesis, shard, store).map_err(stop_for)?;
    if let Some(writes) = &fetched {
        let written = store.write(writes, Durability::Synced);
        written.map_err(Stop::storage)?;
    }
    let member = if wanted && fetched.is_none() {
        Member::sync(setup.clone(), shard, store)
    } else {
        Member::recover(setup.clone(), store, record)
    };
    let member = member.map_err(stop_for)?;
    if member.is_syncing() {
        return Ok((member, None));
    }
    let executor = Executor::load(Arc::clone(&setup.genesis), shard, store).map_err(stop_for)?;
    Ok((member, Some(executor)))
}

/// A member that has written a record has not lost it any more.
fn from_disk(arrival: Arrival) -> Arrival {
    match arrival {
        Arrival::RecordLost(challenge) => Arrival::FromDisk(challenge),
        Arrival::FromDisk(_) | Arrival::Unasked => arrival,
    }
}

/// What the thread works with.
pub(crate) struct Replica {
    pub(crate) setup: Setup,
    /// The newest safety record, written or on its way to disk.
    pub(crate) record: Option<consensus::SafetyRecord>,
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
    pub(crate) evidence: Casebook,
    pub(crate) space: Arc<Space>,
    pub(crate) conduct: Arc<Conduct>,
    pub(crate) switch: StopSwitch,
}

impl Replica {
    /// Runs until the inbox is closed or the member stops.
    pub(crate) fn run(mut self) {
        // What recovery found to do comes out of the first step.
        let mut wake_at = self.step(Input::Tick);
        loop {
            if self.space.is_low() {
                match self.wait_for_space() {
                    Some(kept) => {
                        for input in kept {
                            wake_at = self.step(input);
                        }
                    }
                    None => return,
                }
            }
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

    /// Steps nothing, so that nothing is signed and written, until there is room on disk again.
    /// Returns what must not be lost meanwhile: news of our own threads, and one connection per
    /// peer. What peers say they repeat. `None` when the inbox is closed.
    fn wait_for_space(&self) -> Option<Vec<Input>> {
        let mut kept = Vec::new();
        let mut connected = BTreeSet::new();
        while self.space.is_low() {
            match self.inbox.next(Some(LOOK_EVERY)) {
                Next::Input(input @ (Input::Synced(_) | Input::Executed(_)), _) => kept.push(input),
                Next::Input(Input::Connected { peer }, _) => {
                    connected.insert(peer);
                }
                Next::Input(Input::Submitted { transaction }, _) => {
                    let id = transaction.id(&self.setup.genesis.hash());
                    self.shared.pending.remove([id].iter());
                }
                Next::Input(..) | Next::Nothing => {}
                Next::Closed => return None,
            }
        }
        kept.extend(connected.into_iter().map(|peer| Input::Connected { peer }));
        kept.push(Input::Tick);
        Some(kept)
    }

    fn step(&mut self, input: Input) -> Option<Time> {
        let now = self.clock.now();
        let mut ready = self.member.step(now, input);
        self.shared.metrics.steps.inc();
        if let Err(reason) = self.note_evidence(now, &ready) {
            self.switch.stop(reason);
            return None;
        }
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
        self.shared.pending.remove(ready.turned_away.iter());
        for (from, reason) in ready.refused.drain(..) {
            self.shared.metrics.refused.inc();
            self.conduct.refused(&from);
            tracing::debug!(member = %from.member, committee = %from.committee, reason, "refused");
        }
        let wake_at = ready.wake_at;
        if ready.restart {
            return self.begin_again();
        }
        self.note();
        if ready.needs_sync() {
            self.store(ready);
        }
        // A wake-up that is due at once is one step later, not a busy loop in the same instant.
        wake_at.map(|at| at.max(now.after(Duration::from_micros(50))))
    }

    /// The member has fetched its state, or is far behind and will fetch one: it starts anew from
    /// what is on disk now. Nothing of it is under way, and no report of the disk to it either.
    fn begin_again(&mut self) -> Option<Time> {
        self.storage.finish();
        self.inbox.forget_synced();
        if self.record.is_some() {
            self.setup.arrival = from_disk(self.setup.arrival);
        }
        let record = self.record.clone();
        match start_member(&self.setup, self.store.as_ref(), record, false) {
            Ok((member, executor)) => {
                let (committee, from) = (self.committee, self.member.status().executed);
                match member.fetches() {
                    Some(to) => tracing::info!(
                        %committee, %from, %to,
                        "too far behind to execute every block: a certified state is fetched"
                    ),
                    None => tracing::info!(%committee, "the state is complete"),
                }
                self.member = member;
                self.shared.pending.clear();
                if let Some(execution) = &self.execution {
                    execution.load(executor);
                }
                self.note();
                Some(self.clock.now())
            }
            Err(reason) => {
                self.switch.stop(reason);
                None
            }
        }
    }

    /// What convicts a member is on disk before anything else happens, also when it is ourselves.
    fn note_evidence(&self, now: Time, ready: &Ready) -> Result<(), Stop> {
        for evidence in &ready.evidence {
            self.shared.metrics.evidence.inc();
            self.evidence.note(now, evidence)?;
        }
        match &ready.stop {
            Some(Fatal::Consensus(consensus::Fatal::SecondCopy { view, shown })) => {
                self.evidence.note_second_copy(now, *view, shown)
            }
            _ => Ok(()),
        }
    }

    fn note(&self) {
        self.shared.set_status(self.member.status());
        let mut horizon = self.horizon.lock().expect("no holder of this lock panics");
        *horizon = self.member.horizon();
    }

    fn store(&mut self, ready: Ready) {
        if let Some(record) = ready.record() {
            self.record = Some(record.clone());
        }
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
        if matches!(request, Request::Manifest | Request::Part { .. }) {
            let (shared, now) = (Arc::clone(&self.shared), self.clock.now());
            self.pool.submit(Class::Sync, Lane::Peer(peer), move || {
                if let Some(message) = shared.answer_for_state(now, &request) {
                    let to = Destination::Member(peer);
                    sender.send(Outbound { to, message });
                }
                drop(place);
            });
            return;
        }
        let store = Arc::clone(&self.store);
        let switch = self.switch.clone();
        self.pool.submit(Class::Data, Lane::Peer(peer), move || {
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
        self.pool.submit(Class::Sync, Lane::Peer(peer), move || {
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
