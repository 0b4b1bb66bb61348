//! What goes wrong in a run. Each fault is on or off for the whole of it, drawn from the seed: runs
//! with few kinds of faults go deep where runs with all of them never get.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_genesis::Genesis;
use lockstep_shard::Peer;

use crate::byzantine::Kind;
use crate::network::{Cut, Links};
use crate::world::CrashPoints;
use crate::{Random, World};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Links of a quiet network.
pub(crate) const CALM: Links = Links {
    delay_min: ms(19),
    delay_max: ms(21),
    straggler_per_mille: 0,
    loss_per_mille: 0,
    duplicate_per_mille: 0,
};

/// How long a sync takes where no fault slows it.
pub(crate) const SYNC: Duration = ms(1);

/// Mean times between two faults of one kind, where the kind is on.
const BETWEEN: Duration = ms(2_500);

/// The faults of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How links behave.
    pub links: Links,
    /// Links are cut and healed again.
    pub partitions: bool,
    /// Processes are killed, one at a time.
    pub crashes: bool,
    /// Processes die in the middle of steps.
    pub crash_points: Option<CrashPoints>,
    /// All processes are killed at once.
    pub blackouts: bool,
    /// Processes stand still.
    pub pauses: bool,
    /// Longest time of a sync.
    pub slowest_sync: Duration,
    /// Clocks are wrong by at most so much, and jump.
    pub skew: Duration,
    /// Who lies, and how: at most f members of a committee.
    pub liars: BTreeMap<Peer, Kind>,
}

impl Faults {
    /// None at all.
    pub fn none() -> Self {
        Faults {
            links: CALM,
            partitions: false,
            crashes: false,
            crash_points: None,
            blackouts: false,
            pauses: false,
            slowest_sync: SYNC,
            skew: Duration::ZERO,
            liars: BTreeMap::new(),
        }
    }

    /// Draws the faults of a run.
    pub fn draw(random: &mut Random, genesis: &Genesis) -> Self {
        let mut faults = Self::none();
        let links = &mut faults.links;
        if random.chance(500) {
            links.delay_max = random.duration(ms(20), ms(120));
            links.delay_min = random.duration(ms(1), ms(19));
        }
        if random.chance(300) {
            links.straggler_per_mille = 1 + random.below(50);
        }
        if random.chance(400) {
            links.loss_per_mille = 1 + random.below(300);
        }
        if random.chance(300) {
            links.duplicate_per_mille = 1 + random.below(500);
        }
        faults.partitions = random.chance(400);
        faults.crashes = random.chance(400);
        if random.chance(400) {
            faults.crash_points = Some(CrashPoints {
                one_in: 100 + random.below(1_500),
                down: random.duration(ms(100), ms(3_000)),
            });
        }
        faults.blackouts = random.chance(200);
        faults.pauses = random.chance(250);
        if random.chance(300) {
            faults.slowest_sync = random.duration(ms(2), ms(150));
        }
        if random.chance(250) {
            faults.skew = random.duration(ms(1), ms(900));
        }
        faults.liars = Kind::draw(random, genesis);
        faults
    }

    /// Makes a world suffer from them, as far as that is done once.
    pub(crate) fn begin(&self, random: &mut Random, world: &mut World) {
        world.network_mut().set_links(self.links);
        world.set_crash_points(self.crash_points);
        for (peer, kind) in &self.liars {
            world.corrupt(peer, *kind);
        }
        let peers: Vec<Peer> = world.peers().collect();
        for peer in &peers {
            if self.slowest_sync > SYNC {
                let most = random.duration(SYNC, self.slowest_sync);
                world.set_sync(peer, SYNC, most);
            }
            self.skew_one(random, world, peer);
        }
    }

    fn skew_one(&self, random: &mut Random, world: &mut World, peer: &Peer) {
        if self.skew > Duration::ZERO {
            let span = i64::try_from(self.skew.as_micros()).expect("skews are small");
            let off = random.duration(Duration::ZERO, 2 * self.skew).as_micros();
            let off = i64::try_from(off).expect("skews are small");
            world.set_skew(peer, off - span);
        }
    }

    /// Ends all of them but the liars.
    pub(crate) fn end(&self, world: &mut World) {
        world.network_mut().set_links(CALM);
        world.network_mut().cut(Cut::Nothing);
        world.set_crash_points(None);
        let peers: Vec<Peer> = world.peers().collect();
        for peer in &peers {
            world.set_skew(peer, 0);
            world.set_sync(peer, SYNC, SYNC);
        }
        world.wake_everybody();
    }

    /// Lets the next fault of a kind happen, drawn among those that are on. Returns how long it is
    /// until the one after that; none when nothing is on that happens now and then.
    pub(crate) fn strike(&self, random: &mut Random, world: &mut World) -> Option<Duration> {
        let kinds = [
            self.partitions,
            self.crashes,
            self.blackouts,
            self.pauses,
            self.skew > Duration::ZERO,
        ];
        let on: Vec<usize> = (0..kinds.len()).filter(|kind| kinds[*kind]).collect();
        if on.is_empty() {
            return None;
        }
        let peers: Vec<Peer> = world.peers().collect();
        let peer = *random.pick(&peers);
        match *random.pick(&on) {
            0 => {
                let cut = draw_cut(random, &peers);
                world.network_mut().cut(cut);
            }
            1 => world.crash(&peer, random.duration(ms(10), ms(3_000))),
            2 if random.chance(300) => {
                for peer in &peers {
                    let down = random.duration(ms(10), ms(1_000));
                    world.crash(peer, down);
                }
            }
            2 => {}
            3 => world.pause(&peer, random.duration(ms(10), ms(4_000))),
            _ => self.skew_one(random, world, &peer),
        }
        let mean = BETWEEN / u32::try_from(on.len()).expect("a few");
        Some(random.around(mean))
    }
}

/// Half of the time nothing is cut, so that something happens between the cuts.
fn draw_cut(random: &mut Random, peers: &[Peer]) -> Cut {
    let one = *random.pick(peers);
    match random.below(8) {
        0 => Cut::Apart([one].into()),
        1 => Cut::Apart(
            peers
                .iter()
                .filter(|_| random.chance(500))
                .copied()
                .collect(),
        ),
        2 => {
            let same = |peer: &&Peer| peer.committee == one.committee;
            Cut::Apart(peers.iter().filter(same).copied().collect())
        }
        3 => Cut::Mute([one].into()),
        4 => Cut::Deaf([one].into()),
        _ => Cut::Nothing,
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = &self.links;
        write!(
            f,
            "delay {}-{} ms",
            links.delay_min.as_millis(),
            links.delay_max.as_millis()
        )?;
        for (name, per_mille) in [
            ("stragglers", links.straggler_per_mille),
            ("loss", links.loss_per_mille),
            ("duplicates", links.duplicate_per_mille),
        ] {
            if per_mille > 0 {
                write!(f, ", {name} {per_mille}/1000")?;
            }
        }
        for (name, on) in [
            ("partitions", self.partitions),
            ("crashes", self.crashes),
            ("blackouts", self.blackouts),
            ("pauses", self.pauses),
        ] {
            if on {
                write!(f, ", {name}")?;
            }
        }
        if let Some(points) = &self.crash_points {
            write!(f, ", crash points 1/{}", points.one_in)?;
        }
        if self.slowest_sync > SYNC {
            write!(f, ", sync up to {} ms", self.slowest_sync.as_millis())?;
        }
        if self.skew > Duration::ZERO {
            write!(f, ", clocks off by {} ms", self.skew.as_millis())?;
        }
        for (peer, kind) in &self.liars {
            write!(f, ", {} {}", kind.name(), crate::trace::Name(peer))?;
        }
        Ok(())
    }
}
