//! The long form: most faults there are, in an order that a seed decides, on networks that live for
//! some minutes each.
//!
//! `soak --minutes N` draws faults until the time is over. `soak --kills K --blackouts B
//! --leaders L` does exactly that many of these, with one of each other kind among them. The seed
//! is printed first and `--seed` repeats it; what the machine does in between is its own. The last
//! line is `K kills, A acknowledged, L lost, C conflicts`; the exit code is 1 when something was
//! lost, contradicted, or slower than its bound.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep_sim::Random;
use lockstep_types::CommitteeId;
use tokio::signal::unix::{SignalKind, signal};

use crate::pulse::now_us;
use crate::run::Run;
use crate::tally::Tally;
use crate::wipes::Loss;
use crate::{damage, kills, lines, pauses, wipes};

/// A network lives this long: what is gathered about it is judged at its end, in memory.
const LIFE: Duration = Duration::from_secs(600);
/// What is done when nothing is asked for.
const DEFAULT_MINUTES: u64 = 10;

/// What is done to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    KillOne,
    KillOneOfEach,
    Blackout,
    KillLeader,
    KillBeaconLeader,
    PauseLeader,
    PauseFollower,
    PauseBeaconLeader,
    Split,
    Refuse,
    Halve,
    Mute,
    Deaf,
    Slow,
    Trickle,
    Damage,
    Wipe,
}

impl Step {
    /// Each with how often it is drawn.
    const DRAWN: [(Step, u64); 17] = [
        (Step::KillOne, 40),
        (Step::KillOneOfEach, 10),
        (Step::Blackout, 8),
        (Step::KillLeader, 8),
        (Step::KillBeaconLeader, 8),
        (Step::PauseLeader, 3),
        (Step::PauseFollower, 3),
        (Step::PauseBeaconLeader, 3),
        (Step::Split, 3),
        (Step::Refuse, 3),
        (Step::Halve, 3),
        (Step::Mute, 3),
        (Step::Deaf, 3),
        (Step::Slow, 3),
        (Step::Trickle, 3),
        (Step::Damage, 6),
        (Step::Wipe, 4),
    ];

    /// Those that a counted soak does once each: all that have no flag of their own.
    const ONCE: [Step; 13] = [
        Step::KillOneOfEach,
        Step::PauseLeader,
        Step::PauseFollower,
        Step::PauseBeaconLeader,
        Step::Split,
        Step::Refuse,
        Step::Halve,
        Step::Mute,
        Step::Deaf,
        Step::Slow,
        Step::Trickle,
        Step::Damage,
        Step::Wipe,
    ];

    fn draw(random: &mut Random) -> Step {
        let all = Self::DRAWN.iter().map(|(_, weight)| weight).sum();
        let mut left = random.below(all);
        for (step, weight) in Self::DRAWN {
            if left < weight {
                return step;
            }
            left -= weight;
        }
        unreachable!("drawn below the sum of the weights")
    }

    /// How long it lasts, if it lasts: mostly seconds, sometimes a minute.
    fn time(self, random: &mut Random) -> Duration {
        let most = if random.chance(100) { 60 } else { 8 };
        Duration::from_millis(1_000 + random.below(most * 1_000 - 999))
    }

    fn run(self, run: &mut Run, time: Duration) -> anyhow::Result<()> {
        let shards = run.shards();
        match self {
            Step::KillOne => kills::one(run),
            Step::KillOneOfEach => kills::one_of_each(run),
            Step::Blackout => kills::all(run),
            Step::KillLeader => {
                let shard = *run.random.pick(&shards);
                kills::leader_in_a_barrier(run, shard)
            }
            Step::KillBeaconLeader => kills::leader_in_a_barrier(run, CommitteeId::Beacon),
            Step::PauseLeader => pauses::leader(run, time),
            Step::PauseFollower => pauses::follower(run, time),
            Step::PauseBeaconLeader => pauses::beacon_leader(run, time),
            Step::Split => {
                let committee = run.any_committee();
                lines::split(run, committee, time)
            }
            Step::Refuse => {
                let committee = run.any_committee();
                lines::refused(run, committee, time)
            }
            Step::Halve => lines::halves(run, time),
            Step::Mute => lines::mute(run, time),
            Step::Deaf => lines::deaf(run, time),
            Step::Slow => lines::slow(run, time),
            Step::Trickle => lines::trickle(run, time),
            Step::Damage => damage::any(run),
            Step::Wipe => {
                let committee = run.any_committee();
                let loss = *run.random.pick(&Loss::ALL);
                wipes::one(run, committee, loss)
            }
        }
    }
}

/// What is left to do.
#[derive(Debug)]
enum Left {
    /// Whatever is drawn, until then.
    Until(Instant),
    /// Exactly these, the last one first.
    Steps(Vec<(Step, Duration)>),
}

/// What a soak is told.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    left: Left,
    random: Random,
}

impl Plan {
    /// Reads the flags.
    ///
    /// # Errors
    /// A flag that is none, or without a number.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut seed = now_us();
        let (mut minutes, mut counts) = (None, [0; 3]);
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let number = rest.next().and_then(|number| number.parse::<u64>().ok());
            let number = number.ok_or(format!("{flag} takes a number"))?;
            match flag.as_str() {
                "--minutes" => minutes = Some(number),
                "--kills" => counts[0] = number,
                "--blackouts" => counts[1] = number,
                "--leaders" => counts[2] = number,
                "--seed" => seed = number,
                _ => return Err(format!("soak has no {flag}")),
            }
        }
        let mut random = Random::new(seed);
        let left = match minutes {
            Some(_) if counts != [0; 3] => {
                return Err("give --minutes, or counts, not both".to_owned());
            }
            None if counts != [0; 3] => Left::Steps(deck(&mut random, counts)),
            minutes => {
                let seconds = minutes.unwrap_or(DEFAULT_MINUTES).saturating_mul(60);
                Left::Until(Instant::now() + Duration::from_secs(seconds))
            }
        };
        Ok(Plan { seed, left, random })
    }

    fn next(&mut self) -> Option<(Step, Duration)> {
        match &mut self.left {
            Left::Until(end) if Instant::now() >= *end => None,
            Left::Until(_) => {
                let step = Step::draw(&mut self.random);
                Some((step, step.time(&mut self.random)))
            }
            Left::Steps(steps) => steps.pop(),
        }
    }
}

/// Kills, blackouts and leaders as counted, and one of each other kind, shuffled. A split lasts a
/// minute, the beacon's leader is gone for half of one.
fn deck(random: &mut Random, [kills, blackouts, leaders]: [u64; 3]) -> Vec<(Step, Duration)> {
    let mut deck = Vec::new();
    let zero = Duration::ZERO;
    deck.extend((0..kills).map(|_| (Step::KillOne, zero)));
    deck.extend((0..blackouts).map(|_| (Step::Blackout, zero)));
    let either = [Step::KillBeaconLeader, Step::KillLeader];
    deck.extend((0..leaders).map(|turn| (either[usize::from(turn % 2 == 1)], zero)));
    deck.extend(Step::ONCE.map(|step| match step {
        Step::Split => (step, Duration::from_secs(60)),
        Step::PauseBeaconLeader => (step, Duration::from_secs(30)),
        _ => (step, step.time(random)),
    }));
    for last in (1..deck.len()).rev() {
        let other = usize::try_from(random.below(last as u64 + 1)).expect("an index");
        deck.swap(last, other);
    }
    deck
}

/// What all networks together came to.
#[derive(Default)]
struct Total {
    tally: Tally,
    acknowledged: usize,
    lost: usize,
    conflicts: usize,
    failed: bool,
}

/// Runs it.
pub(crate) fn run(mut plan: Plan) -> ExitCode {
    println!("seed {}", plan.seed);
    let interrupted = watch_signals();
    let mut total = Total::default();
    let mut next = plan.next();
    while next.is_some() && !total.failed && !interrupted.load(Ordering::Relaxed) {
        if let Err(error) = live(&mut plan, &mut next, &mut total, &interrupted) {
            println!("FAILED: {error:#}");
            total.failed = true;
        }
    }
    println!("\n{}", total.tally);
    let broken = total.tally.broken();
    for name in &broken {
        println!("longer than its bound: {name}");
    }
    println!(
        "{} kills, {} acknowledged, {} lost, {} conflicts",
        total.tally.kills, total.acknowledged, total.lost, total.conflicts
    );
    let bad = total.failed || total.lost + total.conflicts > 0 || !broken.is_empty();
    ExitCode::from(u8::from(bad))
}

/// One network, from its start to its judgement.
fn live(
    plan: &mut Plan,
    next: &mut Option<(Step, Duration)>,
    total: &mut Total,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut run = Run::start(plan.random.below(u64::MAX))?;
    while let Some((step, time)) = *next {
        if started.elapsed() > LIFE || interrupted.load(Ordering::Relaxed) {
            break;
        }
        run.sleep(200, 2_000);
        if let Err(error) = step.run(&mut run, time) {
            // What was said is judged all the same.
            println!("FAILED: {step:?}: {error:#}");
            run.network.keep();
            total.failed = true;
            break;
        }
        *next = plan.next();
    }
    total.tally.add(&run.tally);
    let (verdict, _) = run.finish()?;
    total.acknowledged += verdict.acknowledged;
    total.lost += verdict.lost.len();
    total.conflicts += verdict.conflicts.len();
    Ok(())
}

/// The first interrupt ends the soak after the step under way, so that networks and files go; the
/// second ends the process.
fn watch_signals() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("the system has room for a runtime");
        runtime.block_on(async {
            let none = "signals can be watched";
            let mut interrupt = signal(SignalKind::interrupt()).expect(none);
            let mut terminate = signal(SignalKind::terminate()).expect(none);
            for code in [None, Some(130)] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                flag.store(true, Ordering::Relaxed);
                if let Some(code) = code {
                    std::process::exit(code);
                }
            }
        });
    });
    interrupted
}
