//! `mutants [--mutant NAME] [--list] [--budget SECONDS] [--threads J]`: plants every bug of
//! `lockstep_types::planted`, one after the other, and says who noticed it and after how long. The
//! last line is `caught K of M`; the exit code is 1 when a bug survives, or when something is
//! noticed where nothing was planted.
//!
//! A bug is noticed by what members do, never by a test that knows of it: an invariant of the
//! simulator that does not hold, a production assertion that fails, an answer that was not refused.
//!
//! Breaks if: a detector depends on which bug is planted.

// The program around the pure library: it may run threads and measure real time.
#![allow(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_sim::twins::regressions;
use lockstep_sim::{Chains, CrashPoints, Cut, Harm, Run, World, WorldSpec};
use lockstep_types::planted::{BUGS, Bug, Entry, NOT_YET, plant, reached};
use lockstep_types::{CommitteeId, MemberIndex};

/// Chaos of each simulated network. Most bugs show within seconds of it.
const CHAOS: Duration = Duration::from_secs(20);

/// Worlds in which members die all the time.
const DYING_SEEDS: u64 = 6;

/// Seeds that are run without a bug.
const CONTROL_SEEDS: u64 = 60;

struct Arguments {
    mutant: Option<String>,
    list: bool,
    /// CPU time that a bug may take to be noticed.
    budget: Duration,
    threads: usize,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Arguments {
            mutant: None,
            list: false,
            budget: Duration::from_secs(60),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
            match flag.as_str() {
                "--list" => parsed.list = true,
                "--mutant" => parsed.mutant = Some(value()?),
                "--budget" => parsed.budget = Duration::from_secs(number(value()?)?),
                "--threads" => {
                    let threads = number(value()?)?;
                    parsed.threads = usize::try_from(threads).unwrap_or(1).max(1);
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(parsed)
    }

    fn chosen(&self) -> Result<Vec<&'static Entry>, String> {
        let Some(name) = &self.mutant else {
            return Ok(BUGS.iter().collect());
        };
        let found = BUGS.iter().find(|entry| entry.name == name);
        let found = found.ok_or(format!("no bug {name}; --list names them"))?;
        Ok(vec![found])
    }
}

/// CPU time of this thread, as the kernel counts it; real time where it does not say.
struct Clock {
    started: Instant,
    before: Option<Duration>,
}

impl Clock {
    fn start() -> Self {
        Clock {
            started: Instant::now(),
            before: Self::used(),
        }
    }

    fn used() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    }

    fn elapsed(&self) -> Duration {
        let cpu = Self::used().zip(self.before);
        cpu.map_or_else(
            || self.started.elapsed(),
            |(now, before)| now.saturating_sub(before),
        )
    }
}

/// Runs something that may panic. An assertion that fails has noticed something, too.
fn noticed(run: impl FnOnce() -> Option<String>) -> Option<String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Some(format!("assertion: {}", text.unwrap_or_default()))
    })
}

fn simulate(chains: &mut Chains, seed: u64) -> Option<String> {
    let found = noticed(|| {
        let run = Run::new(seed, CHAOS);
        let (at, broken) = run.go(chains, None).failure?;
        Some(format!("{broken} (at {at})"))
    })?;
    Some(format!("seed {seed}: {found}"))
}

/// Committees of six, cut into halves and put together again. Two members of six may not be missing
/// from a quorum, so neither half may go on.
fn halve() -> Option<String> {
    let found = noticed(|| {
        let committees_of_six = DevelopmentSpec {
            validators: 6,
            ..DevelopmentSpec::default()
        };
        let mut world = World::new(WorldSpec::calm(0, &committees_of_six));
        let half = world.peers().filter(|peer| peer.member.get() < 3).collect();
        for cut in [Cut::Nothing, Cut::Apart(half), Cut::Nothing] {
            world.network_mut().cut(cut);
            let end = world.now().after(Duration::from_secs(5));
            if let Err(broken) = world.run_until(end) {
                return Some(broken.to_string());
            }
        }
        None
    })?;
    Some(format!("halves of six: {found}"))
}

/// A beacon that stands still in one view, because half of it is cut off, and a member of it that
/// comes back without what it said in that view: with an older copy of its files, or with none.
fn forget() -> Option<String> {
    let harms = [Harm::Wipe, Harm::RestoreCopy];
    let members = (0..4).map(MemberIndex::new);
    let cases = members.flat_map(|member| harms.map(|harm| (member, harm)));
    cases.into_iter().find_map(|(member, harm)| {
        let found = noticed(|| stand_still(member, harm).err())?;
        Some(format!("{harm:?} in a view that stands still: {found}"))
    })
}

fn stand_still(member: MemberIndex, harm: Harm) -> Result<(), String> {
    let short_windows = DevelopmentSpec {
        interval: Duration::from_millis(500),
        ..DevelopmentSpec::default()
    };
    let mut world = World::new(WorldSpec::calm(0, &short_windows));
    let peer = Peer {
        committee: CommitteeId::Beacon,
        member,
    };
    let partner = MemberIndex::new((member.get() as u8 + 1) % 4);
    let beacon = || {
        world
            .peers()
            .filter(|peer| peer.committee == CommitteeId::Beacon)
    };
    let is_here = |peer: &Peer| [member, partner].contains(&peer.member);
    let links = beacon().flat_map(|from| beacon().map(move |to| (from, to)));
    let between = links.filter(|(from, to)| is_here(from) != is_here(to));
    let halves = Cut::Links(between.collect());
    let run = |world: &mut World, millis| {
        let end = world.now().after(Duration::from_millis(millis));
        world.run_until(end).map_err(|broken| broken.to_string())
    };
    run(&mut world, 2_000)?;
    world.keep_copy(&peer);
    run(&mut world, 1_000)?;
    world.network_mut().cut(halves);
    run(&mut world, 3_000)?;
    world.harm(&peer, harm, Duration::from_millis(50));
    run(&mut world, 3_000)?;
    world.network_mut().cut(Cut::Nothing);
    run(&mut world, 5_000)
}

/// Members that die all the time in the middle of their writes, so that one of two files that a step
/// writes is often behind the other.
fn die_while_writing() -> Option<String> {
    (0..DYING_SEEDS).find_map(|seed| {
        let found = noticed(|| {
            let mut world = World::new(WorldSpec {
                sync: Duration::from_millis(20),
                ..WorldSpec::calm(seed, &DevelopmentSpec::default())
            });
            world.set_crash_points(Some(CrashPoints {
                one_in: 8,
                down: Duration::from_secs(1),
            }));
            let end = world.now().after(Duration::from_secs(30));
            world.run_until(end).err().map(|broken| broken.to_string())
        })?;
        Some(format!("death in writing, seed {seed}: {found}"))
    })
}

/// Schedules that once broke a protocol of this family.
fn replay_regressions() -> Option<String> {
    regressions().iter().find_map(|regression| {
        let found = noticed(|| (regression.run)().map(|broken| broken.to_string()))?;
        Some(format!("twins, {}: {found}", regression.name))
    })
}

/// The detectors that are not seeds; they cost little.
fn first_detectors() -> Option<String> {
    halve()
        .or_else(forget)
        .or_else(replay_regressions)
        .or_else(die_while_writing)
}

/// What came of one bug.
struct Verdict {
    caught: Option<String>,
    cpu: Duration,
    /// How often a place was passed where the bug makes a difference.
    reached: u64,
}

/// Looks for a bug until something notices it or the time is over.
fn hunt(entry: &Entry, budget: Duration) -> Verdict {
    let clock = Clock::start();
    plant(Some(entry.bug));
    let mut chains = Chains::default();
    let mut caught = first_detectors();
    for seed in 0.. {
        if caught.is_some() || clock.elapsed() >= budget {
            break;
        }
        caught = simulate(&mut chains, seed);
    }
    let reached = reached();
    plant(None);
    let cpu = clock.elapsed();
    Verdict {
        caught: caught.filter(|_| cpu <= budget),
        cpu,
        reached,
    }
}

/// The same detectors where nothing is planted.
fn control() -> Result<(), String> {
    let mut chains = Chains::default();
    let seeds = || (0..CONTROL_SEEDS).find_map(|seed| simulate(&mut chains, seed));
    let found = first_detectors().or_else(seeds);
    found.map_or(Ok(()), Err)
}

/// The beginning of a message: details of blocks and keys help nobody in a table.
fn short(text: &str) -> String {
    const MOST: usize = 110;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= MOST {
        return line.to_owned();
    }
    line.chars().take(MOST).chain("...".chars()).collect()
}

fn print_verdict(entry: &Entry, verdict: &Verdict) {
    let found = match &verdict.caught {
        Some(found) => short(found),
        None if verdict.reached == 0 => "SURVIVED: never reached".to_owned(),
        None => format!("SURVIVED: reached {} times", verdict.reached),
    };
    let seconds = verdict.cpu.as_secs_f64();
    println!(
        "{:<30} {:<10} {seconds:>5.1} s  {found}",
        entry.name, entry.rule
    );
}

/// Hunts for all of them, and prints the verdicts in the order of the list. Returns how many were
/// caught.
fn hunt_all(bugs: &[&'static Entry], arguments: &Arguments) -> usize {
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some(entry) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = hunt(entry, arguments.budget);
                    if send.send((entry.bug, verdict)).is_err() {
                        return;
                    }
                }
            });
        }
        collect(bugs, &receive, arguments.budget)
    })
}

fn collect(
    bugs: &[&'static Entry],
    receive: &mpsc::Receiver<(Bug, Verdict)>,
    budget: Duration,
) -> usize {
    // The machine may have other work; whoever takes this long is in a loop without an end.
    let patience = budget * 20;
    let mut verdicts = BTreeMap::new();
    let mut caught = 0;
    for entry in bugs {
        while !verdicts.contains_key(&entry.bug) {
            let Ok((bug, verdict)) = receive.recv_timeout(patience) else {
                println!("{:<30} has no end", entry.name);
                std::process::exit(1);
            };
            verdicts.insert(bug, verdict);
        }
        let verdict = &verdicts[&entry.bug];
        print_verdict(entry, verdict);
        caught += usize::from(verdict.caught.is_some());
    }
    caught
}

fn print_list() {
    for entry in BUGS {
        println!(
            "{:<30} {:<10} {}",
            entry.name,
            entry.rule,
            entry.what.trim()
        );
        println!("{:<41} in {}", "", entry.place);
    }
    print_not_yet();
}

fn print_not_yet() {
    for bug in NOT_YET {
        println!(
            "{:<30} {:<10} does not apply: {}",
            bug.name, "-", bug.reason
        );
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = arguments.and_then(|arguments| Ok((arguments.chosen()?, arguments)));
    let (bugs, arguments) = match chosen {
        Ok(chosen) => chosen,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        print_list();
        return ExitCode::SUCCESS;
    }
    // Assertions that fail are what is looked for; the verdict says which.
    std::panic::set_hook(Box::new(|_| ()));
    let caught = hunt_all(&bugs, &arguments);
    let control = match arguments.mutant {
        Some(_) => Ok(()),
        None => {
            print_not_yet();
            control()
        }
    };
    match &control {
        Err(found) => println!("without a bug, yet noticed: {found}"),
        Ok(()) if arguments.mutant.is_none() => {
            println!("without a bug: nothing in {CONTROL_SEEDS} seeds");
        }
        Ok(()) => {}
    }
    println!("caught {caught} of {}", bugs.len());
    if caught == bugs.len() && control.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
