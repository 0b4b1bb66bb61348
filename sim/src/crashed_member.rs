//! What one validator of four costs the others when it is gone for good: a network over four
//! regions under a steady load, once with everybody and once without the member of one region in
//! any committee. Time is virtual, so the same seed gives the same figures everywhere.
//!
//! Breaks if: the clients of the two runs differ in anything; only the crash may.

use core::time::Duration;

use lockstep_consensus::TimerConfig;
use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::{MAX_REPLAY, Peer};
use lockstep_types::{MemberIndex, Time};

use crate::steady_load::{Final, SteadyLoad};
use crate::wan::Wan;
use crate::{Broken, Chain, Random, World, WorldSpec};

/// Everybody works for so long before the crash.
const BEFORE: Duration = Duration::from_secs(5);
/// The crash may show for so long.
pub const WARM_UP: Duration = Duration::from_secs(10);
/// Then this is counted.
pub const COUNTED: Duration = Duration::from_secs(60);
/// Longer than any run.
const FOR_GOOD: Duration = Duration::from_secs(1_000_000);
/// Accounts of both shards together.
const ACCOUNTS: u32 = 40;
/// Each sends once in this time: 100 transfers per second in all, half of them across shards.
const PERIOD: Duration = Duration::from_millis(400);
/// A synced write.
const SYNC: Duration = Duration::from_millis(2);

/// Share of the throughput without a crash that must be left, in per cent.
pub const LEAST_THROUGHPUT_PERCENT: u64 = 90;
/// The 99th percentile of the latency may be so many times as long.
pub const MOST_P99_FACTOR: u32 = 2;

/// What was counted in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Transfers that became final in [`COUNTED`].
    pub executed: u64,
    /// Median time from the planned sending to the execution at the client's member.
    pub p50: Duration,
    /// 99th percentile. What is not final at the end counts with the time it has waited.
    pub p99: Duration,
    /// The longest.
    pub most: Duration,
}

impl Figures {
    fn of(load: &SteadyLoad, from: Time, now: Time) -> Self {
        let counted = load.finals().iter().filter(|done| done.at >= from);
        let mut latencies: Vec<Duration> = counted.map(|done: &Final| done.latency).collect();
        let executed = latencies.len() as u64;
        latencies.extend(load.waiting(now));
        latencies.sort_unstable();
        let at = |percent: usize| {
            let last = latencies.len().saturating_sub(1);
            latencies.get(last * percent / 100).copied()
        };
        Figures {
            executed,
            p50: at(50).unwrap_or(COUNTED),
            p99: at(99).unwrap_or(COUNTED),
            most: at(100).unwrap_or(COUNTED),
        }
    }

    /// Transfers per second.
    pub fn throughput(&self) -> f64 {
        self.executed as f64 / COUNTED.as_secs_f64()
    }

    /// Are these, of a network with a crashed member, good enough beside those of a whole one?
    pub fn hold_beside(&self, whole: &Figures) -> bool {
        self.executed * 100 >= whole.executed * LEAST_THROUGHPUT_PERCENT
            && self.p99 <= whole.p99 * MOST_P99_FACTOR
    }
}

/// Two runs that differ in one crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashedMember {
    /// Decides everything.
    pub seed: u64,
    /// Who is gone, in each shard and the beacon; no client relies on it in either run.
    pub member: MemberIndex,
}

impl CrashedMember {
    /// The figures of the network as a whole, and without the member.
    ///
    /// # Errors
    /// What does not hold.
    pub fn compare(&self, chain: &Chain) -> Result<(Figures, Figures), Broken> {
        Ok((self.go(chain, false)?, self.go(chain, true)?))
    }

    fn go(&self, chain: &Chain, crashes: bool) -> Result<Figures, Broken> {
        let mut world = World::new(WorldSpec {
            seed: self.seed,
            chain: chain.clone(),
            links: Wan::JITTER,
            sync: SYNC,
            timers: TimerConfig::DEFAULT,
            max_replay: MAX_REPLAY,
        });
        Wan::FOUR_REGIONS.lay(&mut world);
        let random = Random::new(self.seed);
        let mut load = SteadyLoad::new(&world, PERIOD, self.member, random);
        load.run(&mut world, BEFORE)?;
        if crashes {
            let peers: Vec<Peer> = world.peers().collect();
            for peer in peers.iter().filter(|peer| peer.member == self.member) {
                world.crash(peer, FOR_GOOD);
            }
        }
        load.run(&mut world, WARM_UP)?;
        let from = world.now();
        load.run(&mut world, COUNTED)?;
        Ok(Figures::of(&load, from, world.now()))
    }
}

/// The network of the runs: two shards of four and a beacon of four, a barrier every two seconds.
pub fn chain() -> Chain {
    Chain::new(&DevelopmentSpec {
        accounts: ACCOUNTS,
        time: Time::from_millis(1_000),
        ..DevelopmentSpec::default()
    })
}
