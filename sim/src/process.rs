//! The life of a process: it starts from what its disk kept, writes and syncs, executes beside
//! consensus, stands still, and dies, also in the middle of a step.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use lockstep_shard::{
    Archive, ExecuteBlock, ExecutedBlock, Executor, Input, Member, Peer, Ready, Setup, run_in_order,
};
use lockstep_types::{CommitteeId, Durable};

use crate::World;
use crate::event::Event;
use crate::node::Running;
use crate::world::CrashPoints;

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

    /// Stops a member's process for a while. It misses nothing and answers nothing.
    pub fn pause(&mut self, peer: &Peer, pause: Duration) {
        let node = self.seats[peer];
        self.tell(node, format_args!("pauses for {} ms", pause.as_millis()));
        self.nodes[node].paused_until = self.now.after(pause);
    }

    /// Sets how long a member's disk takes for a sync.
    pub fn set_sync(&mut self, peer: &Peer, least: Duration, most: Duration) {
        self.nodes[self.seats[peer]].sync = (least, most);
    }

    /// Lets processes die in the middle of steps, or no longer.
    pub fn set_crash_points(&mut self, points: Option<CrashPoints>) {
        self.crash_points = points;
    }

    /// Ends all pauses and starts whatever is down.
    pub fn wake_everybody(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until = self.now;
            if self.nodes[node].running.is_none() {
                self.restart(node);
            }
        }
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].running.is_some() {
            return; // started by hand before its time
        }
        let genesis = self.chain.genesis.clone();
        let this = &mut self.nodes[node];
        let setup = Setup {
            genesis: genesis.clone(),
            committee: this.peer.committee,
            me: this.peer.member,
            signer: Arc::new(this.signer.clone()),
            timers: self.timers,
        };
        let peer = this.peer;
        self.checkers.on_start(&peer, this.disk.store());
        let record = this.disk.record().cloned();
        let member = match Member::recover(setup, this.disk.store(), record) {
            Ok(member) => member,
            Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
        };
        let load = |shard| Executor::load(genesis, shard, this.disk.store());
        let executor = match peer.committee.shard().map(load).transpose() {
            Ok(executor) => executor,
            Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
        };
        this.running = Some(Running {
            member,
            executor,
            syncing: VecDeque::new(),
            synced_at: self.now,
            wake_at: Some(self.now),
        });
        let life = this.life;
        self.tell(node, format_args!("starts"));
        self.agenda.add(self.now, node, Event::Wake { life });
        self.connect(node);
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
        let ready = self.running(node).syncing.pop_front();
        let ready = ready.expect("one sync per event");
        let this = &mut self.nodes[node];
        this.disk.write_synced(ready.writes(), ready.record());
        if this.peer.committee == CommitteeId::Beacon {
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
        let archive = Archive::new(self.nodes[node].disk.store());
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
                Err(fatal) => return self.checkers.on_fatal(&peer, &fatal),
            }
            *judged = height;
        }
    }

    pub(crate) fn execute(&mut self, node: usize, block: ExecuteBlock) {
        let peer = self.nodes[node].peer;
        let executor = self.running(node).executor.as_mut();
        let executor = executor.expect("shards execute");
        match executor.step(block, &mut run_in_order) {
            Ok(execution) => {
                let block = Box::new(execution.executed);
                self.nodes[node].disk.write_behind(&execution.writes);
                let running = self.nodes[node].running.as_ref();
                let executor = running.and_then(|running| running.executor.as_ref());
                let ledger = executor.expect("just used").ledger();
                self.checkers.on_executed(&peer, &block, ledger);
                let life = self.nodes[node].life;
                self.agenda
                    .add(self.now, node, Event::Executed { life, block });
            }
            Err(fatal) => self.checkers.on_fatal(&peer, &fatal),
        }
    }

    pub(crate) fn on_executed(&mut self, node: usize, block: Box<ExecutedBlock>) {
        let digest = self.digest.take().expect("put back below");
        self.digest = Some(digest.value(&(self.now, node as u64)).value(&block.digest));
        self.step(node, Input::Executed(block));
    }
}
