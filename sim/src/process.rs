//! The life of a process: it starts from what its disk kept, writes and syncs, executes beside
//! consensus, stands still, and dies, also in the middle of a step.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use lockstep_consensus::SafetyRecord;
use lockstep_shard::{
    Archive, ExecuteBlock, ExecutedBlock, Executor, Fatal, Input, Member, Peer, Ready, Setup,
    Shelf, finish_state_sync, run_in_order,
};
use lockstep_types::{CommitteeId, Durable, ShardId};

use crate::World;
use crate::checker::twice;
use crate::disk::Harm;
use crate::event::Event;
use crate::node::{Node, Running};
use crate::world::CrashPoints;

/// When a supervisor starts a process again that ended by itself.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How long the lives of a process last that dies soon after its start.
const EARLY_DEATH: Duration = Duration::from_millis(400);

impl World {
    /// Ends a member's life. It comes back after `down`, from what its disk kept.
    pub fn crash(&mut self, peer: &Peer, down: Duration) {
        self.crash_node(self.seats[peer], down);
    }

    pub(crate) fn crash_node(&mut self, node: usize, down: Duration) {
        let mut random = self.random.fork();
        if self.nodes[node].crash(&mut random) {
            self.tell(node, format_args!("crashes for {} ms", down.as_millis()));
            self.agenda.add(self.now.after(down), node, Event::Restart);
        }
    }

    /// Ends a member's life and begins the next at once: it has become another.
    pub(crate) fn start_anew(&mut self, node: usize) {
        let mut random = self.random.fork();
        if self.nodes[node].crash(&mut random) {
            self.restart(node);
        }
    }

    /// Ends a member's life, and the next few soon after they began.
    pub fn crash_often(&mut self, peer: &Peer, down: Duration, times: u32) {
        self.nodes[self.seats[peer]].early_deaths = times;
        self.crash(peer, down);
    }

    /// Ends a member's life at some later moment.
    pub fn crash_later(&mut self, peer: &Peer, after: Duration, down: Duration) {
        let (at, node) = (self.now.after(after), self.seats[peer]);
        self.agenda.add(at, node, Event::Crash { down });
    }

    /// Stops a member's process for a while. What is sent to it waits, as much as connections
    /// buffer.
    pub fn pause(&mut self, peer: &Peer, pause: Duration) {
        let node = self.seats[peer];
        self.tell(node, format_args!("pauses for {} ms", pause.as_millis()));
        let until = self.now.after(pause);
        self.nodes[node].paused_until = until;
        self.agenda.add(until, node, Event::Resume);
    }

    /// A process that stood still goes on with what has waited for it.
    pub(crate) fn resume(&mut self, node: usize) {
        if self.nodes[node].paused_until > self.now {
            return; // it was stopped again
        }
        for event in core::mem::take(&mut self.nodes[node].waiting) {
            self.agenda.add(self.now, node, event);
        }
    }

    /// Leaves no space on a member's disk for a while. Its process ends when it writes, and its
    /// supervisor starts it again and again.
    pub fn fill_disk(&mut self, peer: &Peer, span: Duration) {
        let node = self.seats[peer];
        self.tell(
            node,
            format_args!("has no space for {} ms", span.as_millis()),
        );
        self.nodes[node].disk.is_full = true;
        self.agenda.add(self.now.after(span), node, Event::Freed);
    }

    pub(crate) fn free_disk(&mut self, node: usize) {
        self.nodes[node].disk.is_full = false;
    }

    /// Lets the next sync of a member's disk fail. Its process ends, and what was not synced is
    /// lost.
    pub fn fail_sync(&mut self, peer: &Peer) {
        self.nodes[self.seats[peer]].disk.fails = true;
    }

    /// Keeps a copy of a member's files for harm that restores them.
    pub fn keep_copy(&mut self, peer: &Peer) {
        self.checkers.on_copy_kept(peer);
        self.nodes[self.seats[peer]].disk.keep_copy();
    }

    /// Kills a member and harms its files; it tries to start again after `down`. From here on it
    /// may refuse to run, and still may not break any other rule.
    pub fn harm(&mut self, peer: &Peer, harm: Harm, down: Duration) {
        let node = self.seats[peer];
        let mut random = self.random.fork();
        self.checkers.let_stop(*peer);
        self.nodes[node].crash(&mut random);
        let done = self.nodes[node].disk.harm(harm, &mut random);
        self.tell(node, format_args!("is harmed: {harm:?}, {done}"));
        if matches!(harm, Harm::Wipe | Harm::LoseRecord) {
            self.nodes[node].recovers = true;
        }
        if harm == Harm::Wipe {
            self.nodes[node].stateless = peer.committee != CommitteeId::Beacon;
        }
        match harm {
            Harm::RestoreCopy => self.checkers.on_copy_restored(peer),
            Harm::FlipOlderSlot | Harm::FlipBothSlots => self.checkers.on_record_flipped(peer),
            Harm::LoseRecord => self.checkers.on_record_lost(peer),
            Harm::FlipValue | Harm::LoseTail | Harm::Wipe => {}
        }
        if matches!(harm, Harm::Wipe | Harm::RestoreCopy) {
            self.checkers.on_amnesia(peer);
        }
        self.agenda.add(self.now.after(down), node, Event::Restart);
    }

    /// It found something that must not be, and ends for good.
    pub(crate) fn stop(&mut self, node: usize, fatal: &Fatal) {
        let peer = self.nodes[node].peer;
        self.checkers.on_stop(&peer, fatal);
        let mut random = self.random.fork();
        self.nodes[node].crash(&mut random);
    }

    /// Its disk cannot go on: the process ends, and is started again.
    pub(crate) fn fail(&mut self, node: usize, what: &str) {
        self.tell(node, format_args!("stops: {what}"));
        self.crash_node(node, RESTART_AFTER);
    }

    /// Sets how long a member's disk takes for a sync.
    pub fn set_sync(&mut self, peer: &Peer, least: Duration, most: Duration) {
        self.nodes[self.seats[peer]].sync = (least, most);
    }

    /// Lets processes die in the middle of steps, or no longer.
    pub fn set_crash_points(&mut self, points: Option<CrashPoints>) {
        self.crash_points = points;
    }

    /// Ends all pauses, makes space on all disks and starts whatever is down.
    pub fn wake_everybody(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = self.now;
            self.nodes[node].early_deaths = 0;
            self.nodes[node].disk.fails = false;
            self.free_disk(node);
            self.resume(node);
            if self.nodes[node].running.is_none() {
                self.restart(node);
            }
        }
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].running.is_some() {
            return; // started by hand before its time
        }
        let disk = self.nodes[node].disk.contents();
        self.checkers.on_start(&self.nodes[node].peer, disk);
        let (member, executor) = match self.recover(node) {
            Ok(parts) => parts,
            Err(reason) => {
                let peer = self.nodes[node].peer;
                self.tell(node, format_args!("does not start: {reason}"));
                return self.checkers.on_stop(&peer, &reason);
            }
        };
        let this = &mut self.nodes[node];
        this.running = Some(Running {
            member,
            executor,
            shelf: Shelf::default(),
            syncing: VecDeque::new(),
            synced_at: self.now,
            wake_at: Some(self.now),
        });
        let life = this.life;
        self.tell(node, format_args!("starts"));
        self.agenda.add(self.now, node, Event::Wake { life });
        if self.nodes[node].early_deaths > 0 {
            self.nodes[node].early_deaths -= 1;
            let after = self.random.duration(Duration::ZERO, EARLY_DEATH);
            let down = self
                .random
                .duration(Duration::from_millis(10), RESTART_AFTER);
            self.agenda
                .add(self.now.after(after), node, Event::Crash { down });
        }
        self.connect(node);
    }

    /// What the disk makes of a member. A shard's member that has no state has no executor either.
    fn recover(&mut self, node: usize) -> Result<(Member, Option<Executor>), String> {
        let genesis = self.chain.genesis.clone();
        let this = &mut self.nodes[node];
        let committee = this.peer.committee;
        let start = this.disk.open().map_err(|wiped| wiped.to_string())?;
        let (record, log_behind) = (start.record, start.log_behind);
        let setup = Setup {
            genesis: genesis.clone(),
            committee,
            me: this.peer.member,
            signer: Arc::new(this.signer.clone()),
            timers: self.timers,
            arrival: this.arrival(record.is_none()),
            max_replay: self.max_replay,
        };
        self.checkers
            .on_recovered(&this.peer, record.as_ref(), log_behind);
        let member = match committee.shard() {
            Some(shard) => this.recover_in(shard, setup, record),
            None => Member::recover(setup, this.disk.store(), record),
        };
        let member = member.map_err(|fatal| fatal.to_string())?;
        if member.is_syncing() {
            self.checkers.on_fetching(&this.peer);
            return Ok((member, None));
        }
        let load = |shard| Executor::load(genesis, shard, this.disk.store());
        let executor = committee.shard().map(load).transpose();
        Ok((member, executor.map_err(|fatal| fatal.to_string())?))
    }

    /// A member has fetched its state and goes on from it, or has found that it is far behind and
    /// begins to fetch one.
    pub(crate) fn begin_again(&mut self, node: usize) {
        let running = self.nodes[node]
            .running
            .take()
            .expect("it has just stepped");
        assert!(
            running.syncing.is_empty(),
            "a member leaves nothing under way"
        );
        self.nodes[node].life += 1;
        self.nodes[node].stateless = false;
        let left = !running.member.is_syncing();
        self.left_behind += u64::from(left);
        let what = if left {
            "is far behind"
        } else {
            "has its state"
        };
        self.tell(node, format_args!("{what}"));
        self.restart(node);
    }

    pub(crate) fn dies_here(&mut self) -> bool {
        let points = self.crash_points;
        points.is_some_and(|points| self.random.below(points.one_in) == 0)
    }

    pub(crate) fn prefix(&mut self, length: usize) -> usize {
        let some = self.random.below(length as u64 + 1);
        usize::try_from(some).expect("at most a length")
    }

    pub(crate) fn die(&mut self, node: usize) {
        let most = self
            .crash_points
            .map_or(Duration::ZERO, |points| points.down);
        let down = self.random.duration(Duration::from_millis(50), most);
        self.crash_node(node, down);
    }

    pub(crate) fn start_sync(&mut self, node: usize, ready: Ready) {
        let (least, most) = self.nodes[node].sync;
        let takes = if least == most {
            least
        } else {
            self.random.duration(least, most)
        };
        let now = self.now;
        let life = self.nodes[node].life;
        let running = self.running(node);
        running.syncing.push_back(ready);
        running.synced_at = running.synced_at.max(now.after(takes));
        let done = running.synced_at;
        self.agenda.add(done, node, Event::Synced { life });
    }

    /// The disk has finished the oldest step's writes.
    pub(crate) fn on_synced(&mut self, node: usize) {
        if core::mem::take(&mut self.nodes[node].disk.fails) {
            return self.fail(node, "a sync failed");
        }
        let ready = self.running(node).syncing.pop_front();
        let ready = ready.expect("one sync per event");
        let this = &mut self.nodes[node];
        this.disk.write_synced(ready.writes(), ready.record());
        if let Some(record) = ready.record() {
            self.checkers.on_record_synced(&this.peer, record);
        }
        if self.nodes[node].peer.committee == CommitteeId::Beacon {
            self.judge_beacon(node);
        }
        let durable = Durable::synced(ready.position());
        let mut messages = ready.release(&durable);
        if self.dies_here() {
            messages.truncate(self.prefix(messages.len()));
            self.send(node, messages);
            return self.die(node);
        }
        self.send(node, messages);
        self.step(node, Input::Synced(durable));
    }

    /// A beacon's commits show in its store.
    pub(crate) fn judge_beacon(&mut self, node: usize) {
        let peer = self.nodes[node].peer;
        let archive = Archive::new(self.nodes[node].disk.contents());
        let judged = self.judged.entry(peer).or_default();
        loop {
            let height = judged.next();
            let found = archive.block(height).and_then(|block| {
                let proof = archive.proof(height)?;
                Ok(block.zip(proof))
            });
            match found {
                Ok(Some((link, proof))) => self.checkers.on_committed(&peer, &link, &proof),
                Ok(None) => return,
                Err(fatal) => return self.checkers.on_stop(&peer, &fatal),
            }
            *judged = height;
        }
    }

    pub(crate) fn execute(&mut self, node: usize, block: ExecuteBlock) {
        let peer = self.nodes[node].peer;
        let again = self.rehearse(node, &block);
        let executor = self.running(node).executor.as_mut();
        let executor = executor.expect("shards execute");
        match executor.step(block, &mut run_in_order) {
            Ok(execution) => {
                if let Some(again) = again {
                    let executed = &execution.executed;
                    self.checkers.on_executed_again(&peer, &again, executed);
                }
                if let Some(snapshot) = execution.snapshot {
                    let now = self.now;
                    self.running(node).shelf.put(now, snapshot);
                }
                let block = Box::new(execution.executed);
                let writes = &execution.writes;
                let half = if lockstep_types::planted!(StateInTwoWrites) {
                    writes.len() / 2
                } else {
                    0
                };
                if half > 0 {
                    self.nodes[node].disk.write_behind(&writes[..half]);
                }
                self.nodes[node].disk.write_behind(&writes[half..]);
                let running = self.nodes[node].running.as_ref();
                let executor = running.and_then(|running| running.executor.as_ref());
                let ledger = executor.expect("just used").ledger();
                self.checkers.on_executed(&peer, &block, ledger);
                let life = self.nodes[node].life;
                self.agenda
                    .add(self.now, node, Event::Executed { life, block });
            }
            Err(fatal) => self.stop(node, &fatal),
        }
    }

    /// What a member with a good disk would come to if it started again before this block.
    fn rehearse(&self, node: usize, block: &ExecuteBlock) -> Option<Result<ExecutedBlock, Fatal>> {
        let Node { peer, disk, .. } = &self.nodes[node];
        if !self.checkers.is_sound(peer) {
            return None;
        }
        twice::rehearse(&self.chain.genesis, peer, disk.contents(), block)
    }

    pub(crate) fn on_executed(&mut self, node: usize, block: Box<ExecutedBlock>) {
        let digest = self.digest.take().expect("put back below");
        self.digest = Some(digest.value(&(self.now, node as u64)).value(&block.digest));
        self.checkers.on_told(&self.nodes[node].peer, &block);
        self.step(node, Input::Executed(block));
    }
}

impl Node {
    /// A shard's member from its disk. A state that was fetched in full becomes its own.
    fn recover_in(
        &mut self,
        shard: ShardId,
        setup: Setup,
        record: Option<SafetyRecord>,
    ) -> Result<Member, Fatal> {
        if let Some(writes) = finish_state_sync(&setup.genesis, shard, self.disk.store())? {
            self.disk.write_synced(&writes, None);
            self.stateless = false;
        }
        if self.stateless {
            Member::sync(setup, shard, self.disk.store())
        } else {
            Member::recover(setup, self.disk.store(), record)
        }
    }
}
