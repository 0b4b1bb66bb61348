//! A run of one seed: a shape and faults are drawn, chaos for a while, then everything heals and the
//! network must get on.
//!
//! After the chaos every correct member must commit ten more heights and one more barrier within
//! twenty seconds; then the clients stop, and within twenty more seconds everything they sent must
//! be executed, and what is on its way between shards must have arrived.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::{MAX_REPLAY, Peer};
use lockstep_types::{CommitteeId, Digest, Height, MemberIndex, Occupancy, ShardId, Time};

use crate::byzantine::Lies;
use crate::checker::ExactlyOnce;
use crate::faults::{CALM, Fault, FaultSet, Faults, SYNC};
use crate::replay::Tape;
use crate::trace;
use crate::world::{Chain, WorldSpec};
use crate::{Broken, Random, Workload, World};

/// How long a healed network may take to get on.
const RECOVERY: Duration = Duration::from_secs(20);

/// How long it may take to finish what was begun.
const SETTLING: Duration = Duration::from_secs(20);

/// Heights every member must commit after healing.
const HEIGHTS: u64 = 10;

/// Mean time between two acts of clients.
const BETWEEN_ACTS: Duration = Duration::from_millis(150);

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// When chains begin. Clocks may be wrong by an hour in both directions.
const BEGINNING: Time = Time::from_millis(10_000_000);

/// How long another chain runs whose messages are said in a run.
const OTHER_CHAIN: Duration = Duration::from_secs(4);

/// The shape of a chain, as far as runs vary it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    shards: u16,
    validators: u8,
    depth: u8,
    interval: Duration,
    patience: Duration,
}

impl Shape {
    /// Mostly two shards and committees of four. A committee of seven costs three times as much and
    /// shows what two faulty members can do together.
    fn draw(random: &mut Random) -> Self {
        let millis = Duration::from_millis;
        Shape {
            shards: [1, 2, 2, 2, 2, 2, 2, 3][index(random.below(8))],
            validators: [4, 4, 4, 4, 4, 4, 4, 7][index(random.below(8))],
            depth: [0, 1, 1, 2][index(random.below(4))],
            interval: millis([400, 1_000, 2_000][index(random.below(3))]),
            patience: millis([1_000, 4_000][index(random.below(2))]),
        }
    }

    fn chain(self, name: &str) -> Chain {
        Chain::new(&DevelopmentSpec {
            name: name.to_owned(),
            shards: self.shards,
            validators: self.validators,
            depth: self.depth,
            interval: self.interval,
            patience: self.patience,
            time: BEGINNING,
            ..DevelopmentSpec::default()
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            shards,
            validators,
            depth,
            interval,
            patience,
        } = self;
        let (interval, patience) = (interval.as_millis(), patience.as_millis());
        write!(
            f,
            "{shards} shards, {validators} members each, depth {depth}, windows of {interval} ms, \
             patience {patience} ms"
        )
    }
}

/// Chains made so far, so that runs share them.
#[derive(Default)]
pub struct Chains {
    chains: BTreeMap<Shape, Chain>,
    tapes: BTreeMap<Shape, Tape>,
}

impl Chains {
    fn get(&mut self, shape: Shape) -> Chain {
        let make = || shape.chain("simulated");
        self.chains.entry(shape).or_insert_with(make).clone()
    }

    /// What was said on another chain of this very shape, whatever ran before. Its validators have
    /// the keys of this one's.
    fn tape(&mut self, shape: Shape) -> Tape {
        let make = || {
            let mut world = World::new(WorldSpec {
                seed: 0,
                chain: shape.chain("another"),
                links: CALM,
                sync: SYNC,
                timers: TimerConfig::DEFAULT,
                max_replay: MAX_REPLAY,
            });
            world.record_messages();
            let mut random = Random::new(0);
            let mut workload = Workload::new(&mut random, &world);
            let end = world.now().after(OTHER_CHAIN);
            while world.now() < end {
                workload.act(&mut random, &mut world);
                let next = world.now().after(BETWEEN_ACTS);
                world.run_until(next).expect("nothing is wrong there");
            }
            world.into_tape()
        };
        self.tapes.entry(shape).or_insert_with(make).clone()
    }
}

/// One run to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// How long the chaos lasts.
    pub chaos: Duration,
    /// Faults that are switched off after everything is drawn.
    pub without: FaultSet,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What did not hold, and when.
    pub failure: Option<(Time, Broken)>,
    /// The faults there were.
    pub faults: Faults,
    /// How much time passed in the world.
    pub simulated: Duration,
    /// Steps of all members.
    pub steps: u64,
    /// Transactions executed.
    pub executed: usize,
    /// How often a member was so far behind that it fetched a state.
    pub left_behind: u64,
    /// The faulty members, and what became of their lies.
    pub lies: BTreeMap<Peer, Lies>,
    /// How full things were at the most, the fullest first.
    pub fullest: Vec<Occupancy>,
    /// The digest of all events.
    pub digest: Digest,
}

struct Stage {
    world: World,
    workload: Workload,
    /// For faults.
    fate: Random,
    /// For clients.
    clients: Random,
    next_act: Time,
    next_strike: Option<Time>,
    tape: Tape,
}

impl Run {
    /// A run with all faults that are drawn.
    pub fn new(seed: u64, chaos: Duration) -> Self {
        Run {
            seed,
            chaos,
            without: FaultSet::NONE,
        }
    }

    /// Makes the run.
    pub fn go(&self, chains: &mut Chains, sink: Option<trace::Sink>) -> Outcome {
        let mut random = Random::new(self.seed);
        let shape = Shape::draw(&mut random.fork());
        let chain = chains.get(shape);
        let mut fate = random.fork();
        let faults = Faults::draw(&mut fate, &chain.genesis).without(self.without);
        let tape = match faults.on().contains(Fault::OtherChain) {
            true => chains.tape(shape),
            false => Tape::default(),
        };
        let seed = random.fork().below(u64::MAX);
        let mut clients = random.fork();
        let max_replay = max_replay(&mut random);
        let mut world = World::new(WorldSpec {
            seed,
            chain,
            links: CALM,
            sync: SYNC,
            timers: TimerConfig::DEFAULT,
            max_replay,
        });
        if let Some(mut sink) = sink {
            let seed = self.seed;
            sink(&format!(
                "seed {seed}: {shape}; replays {max_replay} blocks; {faults}"
            ));
            world.trace_to(sink);
        }
        let start = world.now();
        faults.begin(&mut fate, &mut world);
        if max_replay < MAX_REPLAY {
            stay_away(&mut random, &mut world);
        }
        let workload = Workload::new(&mut clients, &world);
        let mut stage = Stage {
            next_act: start,
            next_strike: faults.first(start),
            tape,
            world,
            workload,
            fate,
            clients,
        };
        let result = stage.play(&faults, self.chaos);
        let Stage { world, .. } = stage;
        let now = world.now();
        Outcome {
            failure: result.err().map(|broken| (now, broken)),
            faults,
            simulated: now.since(start),
            steps: world.steps(),
            executed: world.checkers.exactly_once.executed(),
            left_behind: world.left_behind(),
            lies: world.checkers.lies().clone(),
            fullest: world.checkers.bounds.fullest(),
            digest: world.event_digest(),
        }
    }
}

/// In every third run members give up replaying after some dozen blocks.
fn max_replay(random: &mut Random) -> u64 {
    let few = 6 + random.below(30);
    if random.chance(333) { few } else { MAX_REPLAY }
}

/// A member of some shard is down for long enough to miss that many.
fn stay_away(random: &mut Random, world: &mut World) {
    let shards = world
        .peers()
        .filter(|peer| peer.committee != CommitteeId::Beacon);
    let peer = *random.pick(&shards.collect::<Vec<_>>());
    let after = random.duration(Duration::from_secs(1), Duration::from_secs(4));
    let down = random.duration(Duration::from_secs(6), Duration::from_secs(15));
    world.crash_later(&peer, after, down);
}

fn index(drawn: u64) -> usize {
    usize::try_from(drawn).expect("small")
}

impl Stage {
    fn play(&mut self, faults: &Faults, chaos: Duration) -> Result<(), Broken> {
        let healed = self.world.now().after(chaos);
        self.run(Some(faults), healed)?;
        faults.end(&mut self.world);
        self.recover()?;
        self.settle()
    }

    /// Runs with clients, and with faults while there are any.
    fn run(&mut self, faults: Option<&Faults>, end: Time) -> Result<(), Broken> {
        while self.world.now() < end {
            let strike = self.next_strike.filter(|_| faults.is_some());
            let next = self.next_act.min(strike.unwrap_or(end)).min(end);
            self.world.run_until(next)?;
            if next == self.next_act {
                self.workload.act(&mut self.clients, &mut self.world);
                self.next_act = next.after(self.clients.around(BETWEEN_ACTS)).next();
            }
            if let Some(faults) = faults
                && strike == Some(next)
            {
                let pause = faults.strike(&mut self.fate, &mut self.world, &self.tape);
                self.next_strike = Some(next.after(pause).next());
            }
        }
        Ok(())
    }

    /// I16: the healed network gets on.
    fn recover(&mut self) -> Result<(), Broken> {
        let agreement = &self.world.checkers.agreement;
        let barrier = agreement.record().next();
        let goals: Vec<(Peer, Height)> = self
            .world
            .correct()
            .map(|peer| (peer, agreement.height(peer.committee).plus(HEIGHTS)))
            .collect();
        let end = self.world.now().after(RECOVERY);
        loop {
            let late = goals.iter().find_map(|(peer, goal)| {
                let Some(member) = self.world.member(peer) else {
                    return Some(format!("{peer:?} is down"));
                };
                let status = member.status();
                let behind = status.committed < *goal || status.record < barrier;
                behind.then(|| format!("{peer:?} wants {goal} and barrier {barrier}: {status:?}"))
            });
            let Some(late) = late else { return Ok(()) };
            if self.world.now() >= end {
                return Err(Broken::new("a healed network gets on", late));
            }
            let next = self.world.now().after(LOOK);
            self.run(None, next)?;
        }
    }

    /// What was sent is executed, and nothing is on its way any more.
    fn settle(&mut self) -> Result<(), Broken> {
        let end = self.world.now().after(SETTLING);
        loop {
            let pending = self.workload.chase(&mut self.world);
            let settled = ExactlyOnce::is_settled(self.ledgers());
            if pending == 0 && settled {
                break;
            }
            if self.world.now() >= end {
                let detail = format!(
                    "settled: {settled}; not executed: {:?}",
                    self.workload.pending()
                );
                return Err(Broken::new("what was sent is executed", detail));
            }
            let next = self.world.now().after(LOOK);
            self.world.run_until(next)?;
        }
        let checkers = &self.world.checkers;
        checkers.exactly_once.check_total(self.ledgers())?;
        self.check_durable()
    }

    /// I11: everything that was final is in the stores of those who have executed everything.
    fn check_durable(&self) -> Result<(), Broken> {
        let told = &self.world.checkers.durability;
        for peer in self.world.correct() {
            let Some(executor) = self.world.executor(&peer) else {
                continue;
            };
            if executor.ledger().height() >= told.height(&peer) {
                told.check(&peer, self.world.store(&peer))?;
            }
        }
        Ok(())
    }

    /// One correct member's ledger of each shard.
    fn ledgers(&self) -> impl Iterator<Item = &lockstep_ledger::Ledger> {
        let shards = self.world.genesis().shard_count();
        (0..shards).filter_map(|shard| {
            let committee = CommitteeId::Shard(ShardId::new(shard));
            let size = self.world.genesis().committee(committee).size();
            let mut members = (0..size).map(|member| Peer {
                committee,
                member: MemberIndex::new(u8::try_from(member).expect("small")),
            });
            let correct = members.find(|peer| self.world.checkers.is_sound(peer))?;
            Some(self.world.executor(&correct)?.ledger())
        })
    }
}
