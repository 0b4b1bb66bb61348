//! What goes wrong in a run. Each fault is on or off for the whole of it, drawn from the seed: runs
//! with few kinds of faults go deep where runs with all of them never get. Everything is drawn
//! whether it is on or not, so that a fault can be switched off and the rest stays as it is.

mod fault;
mod strike;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_genesis::Genesis;
use lockstep_shard::Peer;
use lockstep_types::{CommitteeId, Time};

use crate::byzantine::Kind;
use crate::clock::Clock;
use crate::network::{Cut, Links};
use crate::world::CrashPoints;
use crate::{Random, World};

pub use fault::{Fault, FaultSet};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Links of a quiet network.
pub(crate) const CALM: Links = Links {
    delay_min: ms(19),
    delay_max: ms(21),
    straggler_per_mille: 0,
    tail_per_mille: 0,
    loss_per_mille: 0,
    duplicate_per_mille: 0,
};

/// How long a sync takes where no fault slows it.
pub(crate) const SYNC: Duration = ms(1);

/// Clocks of members that count as correct are never further off. A validator drops what is a second
/// ahead of its clock.
const MOST_SKEW: Duration = ms(900);

/// Microseconds in a second by which a clock drifts at most.
const MOST_DRIFT: i64 = 100_000;

/// How far off a bad clock is at most.
const BAD_SKEW: Duration = Duration::from_secs(3_600);

/// The faults of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Which kinds there are.
    on: FaultSet,
    /// How links behave.
    links: Links,
    /// How many links of a thousand are slow, and by how much at most.
    slow_links: (u64, Duration),
    crash_points: CrashPoints,
    /// Longest time of a sync.
    slowest_sync: Duration,
    /// Clocks are wrong by at most so much, and jump.
    skew: Duration,
    /// Who lies, and how. With the frail, at most f members of a committee.
    liars: BTreeMap<Peer, Kind>,
    /// Whose disk or clock cannot be relied on, and in which way.
    frail: BTreeMap<Peer, Fault>,
}

impl Faults {
    /// Draws the faults of a run.
    pub fn draw(random: &mut Random, genesis: &Genesis) -> Self {
        let all = FaultSet::all().iter();
        let on = all
            .filter(|fault| random.chance(fault.per_mille()))
            .collect();
        let mut faults = Faults {
            on,
            links: Links {
                delay_max: random.duration(ms(20), ms(120)),
                delay_min: random.duration(ms(1), ms(19)),
                straggler_per_mille: 1 + random.below(50),
                tail_per_mille: 1 + random.below(20),
                loss_per_mille: 1 + random.below(300),
                duplicate_per_mille: 1 + random.below(500),
            },
            slow_links: (50 + random.below(300), random.duration(ms(100), ms(1_500))),
            crash_points: CrashPoints {
                one_in: 100 + random.below(1_500),
                down: random.duration(ms(100), ms(3_000)),
            },
            slowest_sync: match random.chance(150) {
                true => random.duration(ms(500), ms(3_000)),
                false => random.duration(ms(2), ms(150)),
            },
            skew: random.duration(ms(1), MOST_SKEW),
            liars: BTreeMap::new(),
            frail: BTreeMap::new(),
        };
        let liars = Kind::draw(random, genesis);
        if faults.has(Fault::Liars) {
            faults.liars = liars;
        }
        for committee in genesis.committees() {
            faults.draw_frail(random, genesis, committee);
        }
        faults
    }

    /// Draws who is frail: with the liars at most f of a committee.
    fn draw_frail(&mut self, random: &mut Random, genesis: &Genesis, committee: CommitteeId) {
        let members = genesis.committee(committee);
        let peers = members.indices().map(|member| Peer { committee, member });
        let (liars, mut others): (Vec<Peer>, Vec<Peer>) =
            peers.partition(|peer| self.liars.contains_key(peer));
        for _ in liars.len()..members.max_faulty() {
            let place = random.below(others.len() as u64);
            let peer = others.swap_remove(usize::try_from(place).expect("an index"));
            let frailty = *random.pick(&Fault::MEMBERS);
            if self.has(frailty) {
                self.frail.insert(peer, frailty);
            }
        }
    }

    /// Which kinds there are.
    pub fn on(&self) -> FaultSet {
        self.on
    }

    /// Who lies, and how.
    pub fn liars(&self) -> &BTreeMap<Peer, Kind> {
        &self.liars
    }

    /// Without these kinds, everything else as it was drawn.
    #[must_use]
    pub fn without(mut self, off: FaultSet) -> Self {
        self.on = self.on.without(off);
        self.frail.retain(|_, frailty| !off.contains(*frailty));
        if off.contains(Fault::Liars) {
            self.liars.clear();
        }
        self
    }

    fn has(&self, fault: Fault) -> bool {
        self.on.contains(fault)
    }

    /// How links behave.
    fn links(&self) -> Links {
        let all = self.links;
        let per_mille = |fault, per_mille| if self.has(fault) { per_mille } else { 0 };
        let (delay_min, delay_max) = match self.has(Fault::Delay) {
            true => (all.delay_min, all.delay_max),
            false => (CALM.delay_min, CALM.delay_max),
        };
        Links {
            delay_min,
            delay_max,
            straggler_per_mille: per_mille(Fault::Stragglers, all.straggler_per_mille),
            tail_per_mille: per_mille(Fault::Tail, all.tail_per_mille),
            loss_per_mille: per_mille(Fault::Loss, all.loss_per_mille),
            duplicate_per_mille: per_mille(Fault::Duplicates, all.duplicate_per_mille),
        }
    }

    /// Makes a world suffer from them, as far as that is done once.
    pub(crate) fn begin(&self, random: &mut Random, world: &mut World) {
        world.network_mut().set_links(self.links());
        let dies = self.has(Fault::CrashPoints).then_some(self.crash_points);
        world.set_crash_points(dies);
        if self.has(Fault::Replay) {
            world.record_messages();
        }
        for (peer, kind) in &self.liars {
            world.corrupt(peer, *kind);
        }
        for (peer, frailty) in &self.frail {
            match frailty {
                Fault::BadClocks => world.checkers.let_forget(*peer),
                _ => world.checkers.let_stop(*peer),
            }
        }
        let peers: Vec<Peer> = world.peers().collect();
        for peer in &peers {
            if self.has(Fault::SlowSync) {
                let most = random.duration(SYNC, self.slowest_sync);
                world.set_sync(peer, SYNC, most);
            }
            self.set_clock(random, world, peer);
        }
        if self.has(Fault::SlowLinks) {
            self.slow_down(random, world, &peers);
        }
    }

    fn slow_down(&self, random: &mut Random, world: &mut World, peers: &[Peer]) {
        let (per_mille, most) = self.slow_links;
        for from in peers {
            for to in peers {
                if random.chance(per_mille) {
                    let by = random.duration(ms(1), most);
                    world.network_mut().slow_down(*from, *to, by);
                }
            }
        }
    }

    /// Sets a clock as wrong as the run's faults have it.
    fn set_clock(&self, random: &mut Random, world: &mut World, peer: &Peer) {
        let now = world.now();
        let within = |random: &mut Random, most: i64| {
            let span = u64::try_from(2 * most + 1).expect("positive");
            i64::try_from(random.below(span)).expect("small") - most
        };
        let micros = |span: Duration| i64::try_from(span.as_micros()).expect("hours");
        if self.frail.get(peer) == Some(&Fault::BadClocks) {
            let off = within(random, micros(BAD_SKEW));
            let gain = within(random, MOST_DRIFT);
            let clock = match random.below(3) {
                0 => Clock::frozen(now),
                1 => Clock::wrong(now, off, 0),
                _ => Clock::wrong(now, off, gain),
            };
            return world.set_clock(peer, clock);
        }
        if !self.has(Fault::Skew) && !self.has(Fault::Drift) {
            return;
        }
        let (skew, drift) = (micros(self.skew), within(random, MOST_DRIFT));
        let off = within(random, skew);
        let off = if self.has(Fault::Skew) { off } else { 0 };
        let drift = if self.has(Fault::Drift) { drift } else { 0 };
        let clock = Clock::wrong(now, off, drift).steered(MOST_SKEW);
        world.set_clock(peer, clock);
    }

    /// Ends all of them but the liars, and what disks have lost.
    pub(crate) fn end(&self, world: &mut World) {
        let network = world.network_mut();
        network.set_links(CALM);
        network.cut(Cut::Nothing);
        network.speed_up();
        world.set_crash_points(None);
        let peers: Vec<Peer> = world.peers().collect();
        for peer in &peers {
            world.set_clock(peer, Clock::RIGHT);
            world.set_sync(peer, SYNC, SYNC);
        }
        world.wake_everybody();
    }

    /// When the first of those happens that happen now and then.
    pub(crate) fn first(&self, now: Time) -> Option<Time> {
        let any = self.on.iter().any(Fault::strikes);
        any.then(|| now.after(ms(300)))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = self.links();
        let (low, high) = (links.delay_min.as_millis(), links.delay_max.as_millis());
        write!(f, "links {low}-{high} ms")?;
        for fault in self.on.iter() {
            match fault {
                Fault::Delay | Fault::Liars => continue,
                _ if fault.takes_a_member() => continue,
                Fault::Stragglers => write!(f, ", {fault} {}/1000", links.straggler_per_mille),
                Fault::Tail => write!(f, ", {fault} {}/1000", links.tail_per_mille),
                Fault::Loss => write!(f, ", {fault} {}/1000", links.loss_per_mille),
                Fault::Duplicates => write!(f, ", {fault} {}/1000", links.duplicate_per_mille),
                Fault::SlowLinks => {
                    let (per_mille, most) = self.slow_links;
                    write!(f, ", {fault} {per_mille}/1000 by {} ms", most.as_millis())
                }
                Fault::CrashPoints => write!(f, ", {fault} 1/{}", self.crash_points.one_in),
                Fault::SlowSync => write!(f, ", {fault} {} ms", self.slowest_sync.as_millis()),
                Fault::Skew => write!(f, ", {fault} {} ms", self.skew.as_millis()),
                _ => write!(f, ", {fault}"),
            }?;
        }
        for (peer, kind) in &self.liars {
            write!(f, ", {} {}", kind.name(), crate::trace::Name(peer))?;
        }
        for (peer, frailty) in &self.frail {
            write!(f, ", {frailty} {}", crate::trace::Name(peer))?;
        }
        Ok(())
    }
}
