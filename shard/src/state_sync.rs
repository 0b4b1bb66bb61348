//! A shard member without its state. It asks its committee for the newest state that a barrier
//! record holds, fetches that in parts from all members at once, and writes each part as it comes,
//! together with what is left to do: a restart goes on where the process ended. It takes no part
//! in consensus meanwhile and says nothing that it could regret.
//!
//! ```text
//! chosen, by a member far behind ───────┐
//!                                       ▼
//! seeking ── f + 1 have answered ──▶ fetching ── nothing left, all synced ──▶ complete
//!    ▲                                  │
//!    └────── nobody holds it any more ──┘         then `finish_state_sync` looks at all of it
//! ```
//!
//! A state is chosen by the commit proof of its record. What a peer sends is checked against it
//! before it is written; who sends what does not fit is not asked again for a while.
//!
//! Breaks if: something unchecked is written, or the anchor and the ledger's head are written
//! before everything they stand for.

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
    write_record,
};
use crate::member::Setup;
use crate::message::{Destination, Message, Outbound, Peer, Request};
use crate::ready::{Fatal, Input, Ready, Status};
use crate::seeking::Seeking;
use crate::snapshot::{Manifest, Part, PartBody, PartName};

/// How long to go on asking when f + 1 members have answered that they hold no state, or nobody has
/// a newer one than they. After a restart of all it takes a barrier until there is one again; a
/// chain before its first record has none, and is fetched block by block.
const SEEK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a member may take for a part before another one is asked; more after each question in a
/// row that brought nothing, since the links may be slow. A late answer is as good as one in time.
const ANSWER_TIME: Duration = Duration::from_millis(400);
const MAX_ANSWER_TIME: Duration = Duration::from_secs(4);

/// How long who sent something false is not asked.
const SET_ASIDE: Duration = Duration::from_secs(30);

/// Questions under way, to one member and in all. A part takes a server some milliseconds.
const MAX_ASKED_OF_ONE: usize = 2;
const MAX_ASKED: usize = 8;

/// Questions in a row that brought nothing, per other member, before another state is sought.
const MAX_FAILURES_EACH: usize = 4;

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
}

#[derive(Debug)]
struct Fetching {
    target: Arc<Manifest>,
    /// What is left, with the hash of the subtree for accounts.
    left: BTreeMap<Task, Digest>,
    asked: BTreeMap<Task, (Peer, Time)>,
    /// Questions in a row that brought nothing.
    failures: usize,
}

#[derive(Debug)]
enum Phase {
    /// With the time of the first step.
    Seeking(Seeking, Option<Time>),
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
    /// Who sent something false, and until when it is not asked.
    set_aside: BTreeMap<MemberIndex, Time>,
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
                    asked: BTreeMap::new(),
                    failures: 0,
                })
            }
            None => Phase::Seeking(Seeking::default(), None),
        };
        Ok(StateSync {
            genesis: setup.genesis.clone(),
            shard,
            me: setup.me,
            phase,
            forget,
            position: LogPosition::START,
            synced: LogPosition::START,
            set_aside: BTreeMap::new(),
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
            Phase::Seeking(seeking, _) => seeking.measure(members, gauge),
            Phase::Fetching(fetching) => gauge.note("questions", fetching.asked.len(), MAX_ASKED),
            Phase::Chosen(_) | Phase::Complete => {}
        }
        gauge.note("peers set aside", self.set_aside.len(), members);
    }

    fn seek_now(&mut self) {
        if let Phase::Seeking(seeking, _) = &mut self.phase {
            seeking.ask_now();
        }
    }

    fn on_message(&mut self, now: Time, from: Peer, message: Verified<Message>, ready: &mut Ready) {
        let own = from.committee == CommitteeId::Shard(self.shard);
        match message.into_inner() {
            Message::Manifest(manifest) if own => {
                if let Phase::Seeking(seeking, _) = &mut self.phase {
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
        }
    }

    fn on_part(&mut self, now: Time, from: Peer, part: Part, ready: &mut Ready) {
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        let task = Task::Part(part.name.clone());
        let wanted = fetching.left.contains_key(&task) && part.record == fetching.target.number();
        if !wanted || self.set_aside.contains_key(&from.member) {
            return ready.refuse(from, "a part that is not wanted");
        }
        let Some(body) = part.body else {
            return fetching.failed(&task);
        };
        if let Err(reason) = fetching.take(&part.name, &body, ready) {
            fetching.failed(&task);
            self.set_aside.insert(from.member, now.after(SET_ASIDE));
            ready.refuse(from, reason);
        }
    }

    fn go_on(&mut self, now: Time, ready: &mut Ready) {
        if let Phase::Seeking(..) = self.phase {
            self.seek(now, ready);
        }
        if let Phase::Chosen(target) = &self.phase {
            self.choose(target.clone(), ready);
        }
        if let Phase::Fetching(_) = self.phase {
            self.fetch(now, ready);
        }
    }

    /// Asks everybody, and chooses the newest state once enough have answered.
    fn seek(&mut self, now: Time, ready: &mut Ready) {
        let committee = self.genesis.committee(CommitteeId::Shard(self.shard));
        let Phase::Seeking(seeking, since) = &mut self.phase else {
            return;
        };
        let since = *since.get_or_insert(now);
        let heard = seeking.is_answered(committee);
        if let Some(target) = seeking.newest().filter(|_| heard) {
            return self.choose(target, ready);
        }
        if heard && now.since(since) >= SEEK_PATIENCE {
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
        self.phase = Phase::Fetching(Fetching {
            target,
            left,
            asked: BTreeMap::new(),
            failures: 0,
        });
    }

    fn fetch(&mut self, now: Time, ready: &mut Ready) {
        let committee = self.genesis.committee(CommitteeId::Shard(self.shard));
        let others = committee.size().saturating_sub(1);
        self.set_aside.retain(|_, until| now < *until);
        let Phase::Fetching(fetching) = &mut self.phase else {
            return;
        };
        if fetching.left.is_empty() {
            self.phase = Phase::Complete;
            return;
        }
        fetching.pass_over_the_slow(now);
        if fetching.failures > MAX_FAILURES_EACH * others {
            for task in fetching.left.keys() {
                self.forget.push(Write::delete(Column::Meta, task.key()));
            }
            self.phase = Phase::Seeking(Seeking::default(), None);
            return self.seek(now, ready);
        }
        let own = CommitteeId::Shard(self.shard);
        let idle: Vec<Task> = fetching.idle().cloned().collect();
        for task in idle {
            if fetching.asked.len() >= MAX_ASKED {
                break;
            }
            let beacon = matches!(task, Task::Record(_)) && self.turn.is_multiple_of(2);
            let of = if beacon { CommitteeId::Beacon } else { own };
            let members = self.genesis.committee(of);
            let whom = (0..members.size() as u64)
                .map(|step| members.by_turn(self.turn.wrapping_add(step)))
                .find(|member| {
                    let peer = Peer {
                        committee: of,
                        member: *member,
                    };
                    let myself = of == own && *member == self.me;
                    let aside = of == own && self.set_aside.contains_key(member);
                    !myself && !aside && fetching.asked_of(&peer) < MAX_ASKED_OF_ONE
                });
            self.turn = self.turn.wrapping_add(1);
            let Some(member) = whom else { continue };
            let peer = Peer {
                committee: of,
                member,
            };
            let request = fetching.question(&task);
            fetching
                .asked
                .insert(task, (peer, now.after(fetching.answer_time())));
            ready.prompt.push(Outbound {
                to: Destination::Member(peer),
                message: Message::Request(request),
            });
        }
        let answers = fetching.asked.values().map(|(_, deadline)| *deadline);
        let asides = self.set_aside.values().copied();
        ready.wake_at = answers.chain(asides).min();
    }

    /// The state that is fetched, once one is chosen.
    pub(crate) fn target(&self) -> Option<&Manifest> {
        match &self.phase {
            Phase::Fetching(fetching) => Some(&fetching.target),
            Phase::Chosen(target) => Some(target),
            Phase::Seeking(..) | Phase::Complete => None,
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
    fn question(&self, task: &Task) -> Request {
        match task {
            Task::Record(number) => Request::Record(*number),
            Task::Part(name) => Request::Part {
                record: self.target.number(),
                name: name.clone(),
            },
        }
    }

    fn answer_time(&self) -> Duration {
        let failures = u32::try_from(self.failures).unwrap_or(u32::MAX);
        let time = ANSWER_TIME.saturating_mul(failures.saturating_add(1));
        time.min(MAX_ANSWER_TIME)
    }

    fn idle(&self) -> impl Iterator<Item = &Task> {
        let idle = self
            .left
            .keys()
            .filter(|task| !self.asked.contains_key(*task));
        idle.take(MAX_ASKED)
    }

    fn asked_of(&self, peer: &Peer) -> usize {
        self.asked
            .values()
            .filter(|(asked, _)| asked == peer)
            .count()
    }

    fn failed(&mut self, task: &Task) {
        self.asked.remove(task);
        self.failures += 1;
    }

    fn pass_over_the_slow(&mut self, now: Time) {
        let before = self.asked.len();
        // A clock that was set back must not stretch the wait.
        let latest = now.after(MAX_ANSWER_TIME);
        let asked = &mut self.asked;
        asked.retain(|_, (_, deadline)| now < *deadline && *deadline <= latest);
        self.failures += before - self.asked.len();
    }

    fn done(&mut self, task: &Task, ready: &mut Ready) {
        self.left.remove(task);
        self.asked.remove(task);
        self.failures = 0;
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
    writes.push(write_anchor(&target.link, &target.ancestry, &target.place));
    writes.push(Write::delete(Column::Meta, TARGET));
    Ok(Some(writes))
}
