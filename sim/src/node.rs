//! One member of a world: the production replica and executor, its disk, its clock and its process,
//! and what a crash leaves of them.

use core::time::Duration;
use std::collections::VecDeque;

use lockstep_consensus::{Arrival, Challenge};
use lockstep_shard::{Executor, Member, Peer, Ready, Shelf};
use lockstep_types::{KeyedSigner, Time};

use crate::Random;
use crate::byzantine::Liar;
use crate::clock::Clock;
use crate::copies::Copy;
use crate::disk::Disk;
use crate::event::Event;

/// Messages that wait for a process that stands still: what the buffers of its connections take.
/// Later ones are lost.
pub(crate) const MAX_WAITING: usize = 2_048;

/// A seat of the world.
pub(crate) struct Node {
    pub(crate) peer: Peer,
    pub(crate) signer: KeyedSigner,
    pub(crate) disk: Disk,
    pub(crate) running: Option<Running>,
    /// It lost its state: until it has one again it starts by fetching it.
    pub(crate) stateless: bool,
    /// Its safety record is gone, and its operator knows: it starts as with `--recover`.
    pub(crate) recovers: bool,
    /// Counts restarts, so that events of an earlier life are dropped.
    pub(crate) life: u64,
    /// How often it still dies shortly after its start.
    pub(crate) early_deaths: u32,
    pub(crate) clock: Clock,
    /// The process stands still until then; its connections stay up.
    pub(crate) paused_until: Time,
    /// What happened to it meanwhile.
    pub(crate) waiting: Vec<Event>,
    /// What it does with the messages of its replica, when it is Byzantine.
    pub(crate) liar: Option<Box<Liar>>,
    /// Which copy of its member it is, when there are two.
    pub(crate) copy: Option<Copy>,
    /// How long its disk takes for a sync, at least and at most.
    pub(crate) sync: (Duration, Duration),
}

/// A running process.
pub(crate) struct Running {
    pub(crate) member: Member,
    pub(crate) executor: Option<Executor>,
    /// States that it gives to others.
    pub(crate) shelf: Shelf,
    /// Steps whose writes are under way, in order.
    pub(crate) syncing: VecDeque<Ready>,
    /// When the last of them is on disk.
    pub(crate) synced_at: Time,
    pub(crate) wake_at: Option<Time>,
}

impl Node {
    /// A seat whose process has never run.
    pub(crate) fn new(peer: Peer, signer: KeyedSigner, sync: (Duration, Duration)) -> Self {
        Node {
            peer,
            signer,
            disk: Disk::default(),
            running: None,
            stateless: false,
            recovers: false,
            life: 0,
            early_deaths: 0,
            clock: Clock::RIGHT,
            paused_until: Time::ZERO,
            waiting: Vec::new(),
            liar: None,
            copy: None,
            sync,
        }
    }

    /// How its process comes to its next start. The number of the life serves as a challenge.
    pub(crate) fn arrival(&self, without_record: bool) -> Arrival {
        let mut challenge = [0; 32];
        challenge[..8].copy_from_slice(&self.life.to_le_bytes());
        let challenge = Challenge(challenge);
        if self.copy.is_some() || self.liar.is_some() {
            return Arrival::Unasked; // the sight of its own lies would stop it
        }
        if self.recovers && without_record {
            Arrival::RecordLost(challenge)
        } else {
            Arrival::FromDisk(challenge)
        }
    }

    /// Ends its life. False when it was not running.
    ///
    /// Log and safety record are synced in parallel, several steps at a time; the next group starts
    /// when both are on disk. So of a group under way the log writes survive or not, and the last
    /// record in it survives, is torn, or is not there.
    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        let Some(running) = self.running.take() else {
            return false;
        };
        self.life += 1;
        self.paused_until = Time::ZERO;
        self.waiting.clear();
        let steps = running.syncing;
        let group = random.below(steps.len() as u64 + 1);
        let group = usize::try_from(group).expect("an index");
        if group > 0 && random.chance(500) && !self.disk.is_full {
            for ready in steps.iter().take(group) {
                self.disk.write_synced(ready.writes(), None);
            }
        }
        let record = steps.iter().take(group).rev().find_map(Ready::record);
        if let Some(record) = record {
            match random.below(4) {
                0 | 1 => self.disk.write_record(record),
                2 => self.disk.tear_record(record, random),
                _ => {}
            }
        }
        self.disk.crash(random);
        true
    }

    /// Something happens to a process that stands still.
    pub(crate) fn wait(&mut self, event: Event) {
        if !matches!(event, Event::Deliver { .. }) || self.waiting.len() < MAX_WAITING {
            self.waiting.push(event);
        }
    }
}
