//! A run of one seed: a shape and faults are drawn, chaos for a while, then everything heals and the
//! network must get on.
//!
//! After the chaos every correct member must commit ten more heights and one more barrier within
//! twenty seconds; then the clients stop, and within twenty more seconds everything they sent must
//! be executed, and what is on its way between shards must have arrived.

use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_types::{CommitteeId, Digest, Height, MemberIndex, ShardId, Time};

use crate::byzantine::Lies;
use crate::checker::ExactlyOnce;
use crate::faults::{CALM, Faults, SYNC};
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

/// The shape of a chain, as far as runs vary it.
type Shape = (u8, Duration, Duration);

/// Chains made so far, so that runs share them.
#[derive(Default)]
pub struct Chains(BTreeMap<Shape, Chain>);

impl Chains {
    fn get(&mut self, shape: Shape) -> Chain {
        let make = || {
            let (depth, interval, patience) = shape;
            Chain::new(&DevelopmentSpec {
                shards: 2,
                validators: 4,
                depth,
                interval,
                patience,
                time: Time::from_millis(1_000),
                ..DevelopmentSpec::default()
            })
        };
        self.0.entry(shape).or_insert_with(make).clone()
    }
}

/// One run to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// How long the chaos lasts.
    pub chaos: Duration,
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
    /// The faulty members, and what became of their lies.
    pub lies: BTreeMap<Peer, Lies>,
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
}

impl Run {
    /// Makes the run.
    pub fn go(&self, chains: &mut Chains, sink: Option<trace::Sink>) -> Outcome {
        let mut random = Random::new(self.seed);
        let mut shape = random.fork();
        let depth = [0, 1, 1, 2][index(shape.below(4))];
        let interval = [400, 1_000, 2_000][index(shape.below(3))];
        let patience = [1_000, 4_000][index(shape.below(2))];
        let millis = Duration::from_millis;
        let chain = chains.get((depth, millis(interval), millis(patience)));
        let mut fate = random.fork();
        let faults = Faults::draw(&mut fate, &chain.genesis);
        let mut world = World::new(WorldSpec {
            seed: random.fork().below(u64::MAX),
            chain,
            links: CALM,
            sync: SYNC,
            timers: TimerConfig::DEFAULT,
        });
        if let Some(mut sink) = sink {
            sink(&format!(
                "seed {}: depth {depth}, windows of {interval} ms, patience {patience} ms; {faults}",
                self.seed
            ));
            world.trace_to(sink);
        }
        let start = world.now();
        faults.begin(&mut fate, &mut world);
        let mut clients = random.fork();
        let workload = Workload::new(&mut clients, &world);
        let mut stage = Stage {
            next_act: start,
            next_strike: Some(start.after(millis(300))),
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
            lies: world.checkers.lies().clone(),
            digest: world.event_digest(),
        }
    }
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
                let pause = faults.strike(&mut self.fate, &mut self.world);
                self.next_strike = pause.map(|pause| next.after(pause).next());
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
        checkers.exactly_once.check_total(self.ledgers())
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
            let correct = members.find(|peer| self.world.checkers.is_correct(peer))?;
            Some(self.world.executor(&correct)?.ledger())
        })
    }
}
