//! A shard member without its state. It asks its committee for the newest state that a barrier
//! record holds, fetches that in parts from all members at once, and writes each part as it comes,
//! together with what is left to do: a restart goes on where the process ended. It takes no part
//! in consensus meanwhile and says nothing that it could regret.
//!
//! ```text
//! chosen, by a member far behind ───────┐
//!                                       ▼
//! seeking ── f + 1 hold a state ───▶ fetching ── nothing left, all synced ──▶ complete
//!    ▲                                  │
//!    └──── nobody is of any use for it ─┘         then `finish_state_sync` looks at all of it
//! ```
//!
//! A state is chosen by the commit proof of its record. What a peer sends is checked against it
//! before it is written; who is of no use is found out one by one (`state_sync/sources.rs`).
//!
//! Breaks if: something unchecked is written, or the anchor and the ledger's head are written
//! before everything they stand for.

mod sources;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_consensus::Horizon;
use lockstep_genesis::Genesis;
use lockstep_ledger::{Column, Ledger, Store, Write};
use lockstep_types::{
    CommitteeId, Digest, Gauge, Height, LogPosition, MemberIndex, ShardId, Time, Verified, View,
    WindowNumber, codec,
};
use parity_scale_codec::{Decode, DecodeAll, Encode};

use crate::CertifiedRecord;
use crate::executor::ledger_config;
use crate::log::{
    Base, forget_anchor, read_base, write_anchor, write_base, write_block, write_committed,
    write_proof, write_record,
};
use crate::member::Setup;
use crate::message::{Destination, Message, Outbound, Peer, Request};
use crate::ready::{Fatal, Input, Ready, Status};
use crate::seeking::Seeking;
use crate::snapshot::{Manifest, Part, PartBody, PartName};
use sources::Sources;

/// How long to go on asking when f + 1 members have answered and nobody holds a state. After a restart of all it takes a barrier until there is one again; a
/// chain before its first record has none, and is fetched block by block.
const SEEK_PATIENCE: Duration = Duration::from_secs(5);

const TARGET: &[u8] = b"Y";
const TASK: u8 = b'y';

/// Something that is left to fetch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) enum Task {
    /// A record whose certified roots bundles may be proven against.
    #[codec(index = 0)]
    Record(WindowNumber),
    /// A part of the state.
    #[codec(index = 1)]
    Part(PartName),
}

impl Task {
    fn key(&self) -> Vec<u8> {
        [&[TASK][..], &self.encode()].concat()
    }

    /// For the state in this record.
    fn question(&self, record: WindowNumber) -> Request {
        match self {
            Task::Record(number) => Request::Record(*number),
            Task::Part(name) => Request::Part {
                record,
                name: name.clone(),
            },
        }
    }
}

#[derive(Debug)]
struct Fetching {
    target: Arc<Manifest>,
    /// What is left, with the hash of the subtree for accounts.
    left: BTreeMap<Task, Digest>,
}

#[derive(Debug)]
enum Phase {
    Seeking(Seeking),
    /// By a member that was far behind; its old state is not forgotten yet.
    Chosen(Arc<Manifest>),
    Fetching(Fetching),
    /// Nothing is left; the last write ends at the position.
    Complete,
}

/// A shard member that fetches its state.
pub struct StateSync {
    genesis: Arc<Genesis>,
    shard: ShardId,
    me: MemberIndex,
    phase: Phase,
    /// What makes the store forget its old state, until a target is chosen.
    forget: Vec<Write>,
    position: LogPosition,
    synced: LogPosition,
    sources: Sources,
    /// Whom to ask next.
    turn: u64,
}

/// Has a state been begun to be fetched into this store, and not been finished?
///
/// # Errors
/// When the store fails.
pub fn is_syncing(store: &dyn Store) -> Result<bool, Fatal> {
    Ok(store.get(Column::Meta, TARGET)?.is_some())
}

impl StateSync {
    /// Goes on with what the store holds of a state, or begins anew. A state that is stored in full
    /// stays until a newer one is chosen.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn start(setup: &Setup, shard: ShardId, store: &dyn Store) -> Result<Self, Fatal> {
        let mut forget = Ledger::forget(store)?;
        forget.extend(forget_anchor());
        let phase = match read_target(store)? {
            Some(target) if !is_begun(&target, store)? => Phase::Chosen(Arc::new(target)),
            Some(target) => {
                let ranges = target.ledger.entries();
                forget.extend(ranges.iter().flat_map(|range| range.forget()));
                Phase::Fetching(Fetching {
                    target: Arc::new(target),
                    left: read_tasks(store)?,
                })
            }
            None => Phase::Seeking(Seeking::default()),
        };
        Ok(StateSync {
            genesis: setup.genesis.clone(),
            shard,
            me: setup.me,
            phase,
            forget,
            position: LogPosition::START,
            synced: LogPosition::START,
            sources: Sources::new(CommitteeId::Shard(shard)),
            turn: 0,
        })
    }

    pub(crate) fn step(&mut self, now: Time, input: Input) -> Ready {
        let mut ready = Ready::default();
        match input {
            Input::Synced(durable) => self.synced = self.synced.max(durable.position()),
            Input::Received { from, message } => self.on_message(now, from, message, &mut ready),
            Input::Connected { .. } => self.seek_now(),
            Input::Tick | Input::Submitted { .. } | Input::Executed(_) => {}
        }
        self.go_on(now, &mut ready);
        if !ready.writes.is_empty() {
            self.position = self.position.next();
            ready.position = self.position;
        }
        ready.restart = matches!(self.phase, Phase::Complete) && self.synced >= self.position;
        ready
    }

    /// How full everything is that grows with what others say.
    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        let members = self
            .genesis
            .committee(CommitteeId::Shard(self.shard))
            .size();
        match &self.phase {
            Phase::Seeking(seeking) => seeking.measure(members, gauge),
            Phase::Fetching(_) | Phase::Chosen(_) | Phase::Complete => {}
        }
        self.sources.measure(members, gauge);
    }

    fn seek_now(&mut self) {
        if let Phase::Seeking(seeking) = &mut self.phase {
            seeking.ask_now();
        }
    }

    fn on_message(&mut self, now: Time, from: Peer, message: Verified<Message>, ready: &mut Ready) {
        let own = from.committee == CommitteeId::Shard(self.shard);
        match message.into_inner() {
            Message::Manifest(manifest) if own => {
                if let Phase::Seeking(seeking) = &mut self.phase {
                    seeking.on_answer(from.member, manifest);
                }
            }
            Message::Part(part) if own => self.on_part(now, from, *part, ready),
            Message::Record(record) => self.on_record(&record, ready),
            // Said again once this member can listen.
            _ => {}
        }
    }

    fn on_record(&mut self, record: &Arc<CertifiedRecord>, ready: &mut Ready) {
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        let task = Task::Record(record.record.number);
        if fetching.left.contains_key(&task) {
            ready.writes.push(write_record(record));
            fetching.done(&task, ready);
            self.sources.on_done(&task);
        }
    }

    fn on_part(&mut self, now: Time, from: Peer, part: Part, ready: &mut Ready) {
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        let task = Task::Part(part.name.clone());
        let wanted = fetching.left.contains_key(&task) && part.record == fetching.target.number();
        if !wanted || self.sources.is_set_aside(&from) {
            return ready.refuse(from, "a part that is not wanted");
        }
        match part
            .body
            .map(|body| fetching.take(&part.name, &body, ready))
        {
            Some(Ok(())) => self.sources.on_given(&from, &task),
            Some(Err(reason)) => {
                self.sources.on_false(now, &from);
                ready.refuse(from, reason);
            }
            None if self.sources.is_asked(&from, &task) => {
                self.sources.on_lack(now, &from, &task);
            }
            None => ready.refuse(from, "no part, and it was not asked for one"),
        }
    }

    fn go_on(&mut self, now: Time, ready: &mut Ready) {
        if let Phase::Seeking(_) = self.phase {
            self.seek(now, ready);
        }
        if let Phase::Chosen(target) = &self.phase {
            self.choose(target.clone(), ready);
        }
        if let Phase::Fetching(_) = self.phase {
            self.fetch(now, ready);
        }
    }

    /// Asks everybody, and chooses the newest state once so many hold one that one of them is
    /// correct. Members that hold none, as after a restart, are not among those while others may answer.
    fn seek(&mut self, now: Time, ready: &mut Ready) {
        let committee = self.genesis.committee(CommitteeId::Shard(self.shard));
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        let is_over = seeking.is_over(now, committee);
        let is_held = seeking.held_by(committee.join_threshold()).is_some();
        if let Some(target) = seeking.newest().filter(|_| is_held || is_over) {
            return self.choose(target, ready);
        }
        if is_over && seeking.has_lasted(now, SEEK_PATIENCE) {
            self.phase = Phase::Complete;
            return;
        }
        ready.wake_at = Some(seeking.ask(now, ready));
    }

    /// Writes down what is to be fetched. From here on the old state is gone.
    fn choose(&mut self, target: Arc<Manifest>, ready: &mut Ready) {
        ready.writes.append(&mut self.forget);
        // What a target that nobody holds any more has left behind, should it come to that.
        let ranges = target.ledger.entries();
        self.forget
            .extend(ranges.iter().flat_map(|range| range.forget()));
        let mut left = BTreeMap::new();
        for number in target.records() {
            left.insert(Task::Record(number), Digest::ZERO);
        }
        for range in ranges {
            left.insert(Task::Part(PartName::Entries(range)), Digest::ZERO);
        }
        if target.ledger.accounts != Digest::ZERO {
            let root = PartName::Accounts(lockstep_ledger::TriePath::ROOT);
            left.insert(Task::Part(root), target.ledger.accounts);
        }
        for (task, hash) in &left {
            let write = Write::put(Column::Meta, task.key(), hash.encode());
            ready.writes.push(write);
        }
        ready.writes.push(write_target(&target));
        // From here on the store says where its history starts.
        ready.writes.push(write_base(&Base::of(&target)));
        ready.writes.push(write_record(&target.record));
        self.sources.begin();
        self.phase = Phase::Fetching(Fetching { target, left });
    }

    fn fetch(&mut self, now: Time, ready: &mut Ready) {
        let Phase::Fetching(fetching) = &self.phase else {
            return;
        };
        if fetching.left.is_empty() {
            self.phase = Phase::Complete;
            return;
        }
        self.sources.pass_over_the_slow(now);
        let own = self.genesis.committee(CommitteeId::Shard(self.shard));
        let others = own.indices().filter(|member| *member != self.me);
        if self.sources.are_of_no_use(others) {
            return self.give_up(now, ready);
        }
        // Parts first: who is asked for one keeps the state, and records are kept anyway.
        let tasks = fetching.left.keys().rev();
        let idle = tasks.filter(|task| self.sources.is_idle(task));
        let idle: Vec<Task> = idle.take(sources::MAX_ASKED).cloned().collect();
        let target = fetching.target.number();
        for task in idle {
            let whom = self.whom(now, &task);
            self.turn = self.turn.wrapping_add(1);
            let Some(peer) = whom.filter(|_| self.sources.is_idle(&task)) else {
                continue;
            };
            ready.prompt.push(Outbound {
                to: Destination::Member(peer),
                message: Message::Request(task.question(target)),
            });
            self.sources.ask(now, peer, task);
        }
        ready.wake_at = self.sources.next_at(now);
    }

    /// Nobody has been of any use for the state: another is sought.
    fn give_up(&mut self, now: Time, ready: &mut Ready) {
        if let Phase::Fetching(fetching) = &self.phase {
            for task in fetching.left.keys() {
                self.forget.push(Write::delete(Column::Meta, task.key()));
            }
        }
        self.phase = Phase::Seeking(Seeking::default());
        self.seek(now, ready);
    }

    /// Whom to ask for something: the next one that may be asked. The beacon has records too.
    fn whom(&self, now: Time, task: &Task) -> Option<Peer> {
        let own = Peer {
            committee: CommitteeId::Shard(self.shard),
            member: self.me,
        };
        let of_beacon = matches!(task, Task::Record(_)) && self.turn.is_multiple_of(2);
        let committee = match of_beacon {
            true => CommitteeId::Beacon,
            false => own.committee,
        };
        let members = self.genesis.committee(committee);
        let turns = (0..members.size() as u64).map(|step| self.turn.wrapping_add(step));
        let mut peers = turns.map(|turn| Peer {
            committee,
            member: members.by_turn(turn),
        });
        peers.find(|peer| *peer != own && self.sources.may_ask(now, peer))
    }

    /// The state that is fetched, once one is chosen.
    pub(crate) fn target(&self) -> Option<&Manifest> {
        match &self.phase {
            Phase::Fetching(fetching) => Some(&fetching.target),
            Phase::Chosen(target) => Some(target),
            Phase::Seeking(_) | Phase::Complete => None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        let target = self.target();
        Status {
            view: View::ZERO,
            leader: self.me,
            signs: false,
            committed: Height::ZERO,
            executed: Height::ZERO,
            window: WindowNumber::ZERO,
            record: target.map_or(WindowNumber::ZERO, |target| target.number()),
            sealed: false,
            pending: 0,
        }
    }

    /// Nothing of consensus is worth checking.
    pub(crate) fn horizon(&self) -> Horizon {
        let never = View::new(u64::MAX);
        Horizon {
            proposals_from: never,
            votes_from: never,
            votes_to: View::ZERO,
        }
    }
}

impl Fetching {
    fn done(&mut self, task: &Task, ready: &mut Ready) {
        self.left.remove(task);
        ready.writes.push(Write::delete(Column::Meta, task.key()));
    }

    /// Checks a part and writes it, with the tasks that follow from it.
    fn take(
        &mut self,
        name: &PartName,
        body: &PartBody,
        ready: &mut Ready,
    ) -> Result<(), lockstep_ledger::ProofError> {
        let task = Task::Part(name.clone());
        match (name, body) {
            (PartName::Accounts(path), PartBody::Accounts(part)) => {
                let expected = self.left.get(&task).copied().unwrap_or_default();
                for (way, hash) in part.verify(&expected)? {
                    let below = Task::Part(PartName::Accounts(path.then(&way)));
                    let write = Write::put(Column::Meta, below.key(), hash.encode());
                    ready.writes.push(write);
                    self.left.insert(below, hash);
                }
                ready.writes.extend(part.writes());
            }
            (PartName::Entries(range), PartBody::Entries(part)) => {
                self.target.ledger.verify_entries(range, part)?;
                ready.writes.extend(part.writes(range));
            }
            _ => {
                return Err(lockstep_ledger::ProofError::Malformed(
                    "another kind of part",
                ));
            }
        }
        self.done(&task, ready);
        Ok(())
    }
}

fn own<T: DecodeAll>(bytes: &[u8], what: &str) -> Result<T, Fatal> {
    codec::decode_own(bytes).map_err(|_| Fatal::Store(format!("{what} in the store is damaged")))
}

/// Makes the next start one that fetches this state. Until that start has written down what is left
/// to fetch, the store's own state stays as it is.
pub(crate) fn write_target(target: &Manifest) -> Write {
    Write::put(Column::Meta, TARGET, target.encode())
}

fn read_target(store: &dyn Store) -> Result<Option<Manifest>, Fatal> {
    let bytes = store.get(Column::Meta, TARGET)?;
    let target = bytes.map(|bytes| own(&bytes, "the state being fetched"));
    target.transpose()
}

/// Is what is left of this state written down, and the store's own state forgotten?
fn is_begun(target: &Manifest, store: &dyn Store) -> Result<bool, Fatal> {
    let base = read_base(store)?;
    Ok(base.is_some_and(|base| base.height == target.link.block.header().height))
}

fn read_tasks(store: &dyn Store) -> Result<BTreeMap<Task, Digest>, Fatal> {
    let mut tasks = BTreeMap::new();
    let mut damaged = None;
    store.scan(Column::Meta, &[TASK], &mut |key, value| {
        let Some((&TASK, name)) = key.split_first() else {
            return false;
        };
        match (own(name, "a task"), own(value, "a task")) {
            (Ok(task), Ok(hash)) => drop(tasks.insert(task, hash)),
            (Err(fatal), _) | (_, Err(fatal)) => damaged = Some(fatal),
        }
        damaged.is_none()
    })?;
    damaged.map_or(Ok(tasks), Err)
}

/// What makes a fetched state the member's own, if one was fetched in full: all of it is read back,
/// counted and hashed once more. The host writes it synced, in one atomic write, before it recovers
/// the member.
///
/// # Errors
/// When the store fails, or does not hold what was fetched.
pub fn finish_state_sync(
    genesis: &Genesis,
    shard: ShardId,
    store: &dyn Store,
) -> Result<Option<Vec<Write>>, Fatal> {
    let Some(target) = read_target(store)? else {
        return Ok(None);
    };
    if !is_begun(&target, store)? || !read_tasks(store)?.is_empty() {
        return Ok(None);
    }
    let checkpoint = target.checkpoint(shard);
    let checkpoint = checkpoint.ok_or(Fatal::Store("a state of another shard".to_owned()))?;
    let config = ledger_config(genesis, shard);
    let mut writes = Ledger::install(config, &checkpoint.seal, &target.ledger, store)?;
    writes.push(write_block(&target.link));
    writes.extend(write_committed(&target.link, &target.proof));
    writes.push(write_proof(&target.proof));
    writes.push(write_anchor(&target.link, &target.ancestry, &target.place));
    writes.push(Write::delete(Column::Meta, TARGET));
    Ok(Some(writes))
}
