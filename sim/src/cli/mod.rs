//! The program around the pure library: threads, files and real time are its own.

mod arguments;
mod progress;
mod shrink;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lockstep_sim::{Chains, FaultSet, Outcome, Run, trace};

use arguments::{Arguments, Wish};
use progress::{Done, Progress};

/// What a seed came to; the text of a panic, which is a failure like any other.
type Ran = Result<Outcome, String>;

/// Everything that is done.
struct Sum {
    failures: u64,
    seeds: u64,
    simulated: Duration,
    progress: Option<Progress>,
}

impl Sum {
    fn add(&mut self, done: &Done) {
        self.seeds += 1;
        self.failures += u64::from(done.failure.is_some());
        self.simulated += done.simulated;
    }
}

/// Runs one seed.
fn run(chains: &mut Chains, arguments: &Arguments, seed: u64) -> Ran {
    let run = Run {
        without: arguments.without,
        ..Run::new(seed, Duration::from_secs(arguments.seconds))
    };
    let sink = || -> Option<trace::Sink> {
        let print: trace::Sink = Box::new(|line| println!("{line}"));
        arguments.trace.then_some(print)
    };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let first = run.go(chains, sink());
        if arguments.twice {
            let second = run.go(chains, None);
            assert_eq!(first.digest, second.digest, "two runs of one seed differ");
        }
        first
    }));
    caught.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic".to_owned())
    })
}

/// How many of the fullest things a seed's line names.
const FULLEST_SHOWN: usize = 6;

/// The line of a failure.
fn failure(arguments: &Arguments, seed: u64, ran: &Ran) -> Option<String> {
    let again = arguments.again(seed);
    match ran {
        Err(panic) => Some(format!(
            "seed {seed} FAILED: panic: {panic} | repeat: {again} --trace"
        )),
        Ok(outcome) => {
            let (at, broken) = outcome.failure.as_ref()?;
            Some(format!(
                "seed {seed} FAILED at {at}: {broken} | {} | repeat: {again} --trace",
                outcome.faults
            ))
        }
    }
}

fn print_passed(seed: u64, outcome: &Outcome) {
    println!(
        "seed {seed}: {:.1} s, {} steps, {} executed, {} far behind, events {} | {}",
        outcome.simulated.as_secs_f64(),
        outcome.steps,
        outcome.executed,
        outcome.left_behind,
        outcome.digest,
        outcome.faults
    );
    let fullest = outcome.fullest.iter().take(FULLEST_SHOWN);
    let fullest: Vec<String> = fullest.map(ToString::to_string).collect();
    println!("    fullest: {}", fullest.join(", "));
    for (peer, lies) in &outcome.lies {
        println!("    {} {lies}", trace::Name(peer));
    }
}

/// Runs a seed and says what came of it.
fn run_and_report(chains: &mut Chains, arguments: &Arguments, seed: u64, sum: &Mutex<Sum>) {
    let ran = run(chains, arguments, seed);
    let done = Done {
        simulated: shrink::simulated(&ran),
        failure: failure(arguments, seed, &ran),
    };
    if let Some(line) = &done.failure {
        println!("{line}");
        if arguments.shrink {
            let smaller = shrink::shrink(chains, arguments, seed, &ran);
            println!(
                "seed {seed} fails with less: {} --trace",
                smaller.again(seed)
            );
        }
    } else if let (true, Ok(outcome)) = (arguments.verbose, &ran) {
        print_passed(seed, outcome);
    }
    let mut sum = sum.lock().expect("no holder of this lock panics");
    sum.add(&done);
    if let Some(progress) = &mut sum.progress
        && let Err(error) = progress.done(seed, &done)
    {
        eprintln!("the progress file cannot be written: {error}");
        std::process::exit(2);
    }
}

/// What was done before, out of the range that is asked for.
fn begin(arguments: &Arguments) -> Result<Sum, String> {
    let mut sum = Sum {
        failures: 0,
        seeds: 0,
        simulated: Duration::ZERO,
        progress: None,
    };
    let Some(path) = &arguments.progress else {
        return Ok(sum);
    };
    let without = match arguments.without {
        FaultSet::NONE => "-".to_owned(),
        some => some.to_string(),
    };
    let common = format!("seconds {} without {without}", arguments.seconds);
    let progress = Progress::open(path, &common)?;
    let end = arguments.from.saturating_add(arguments.seeds);
    for done in progress
        .before
        .range(arguments.from..end)
        .map(|(_, done)| done)
    {
        sum.add(done);
        if let Some(line) = &done.failure {
            println!("{line}");
        }
    }
    sum.progress = Some(progress);
    Ok(sum)
}

fn run_all(arguments: &Arguments, sum: &Mutex<Sum>, skip: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                let mut chains = Chains::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    if !skip(seed) {
                        run_and_report(&mut chains, arguments, seed, sum);
                    }
                }
            });
        }
    });
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let begun = Arguments::parse(std::env::args().skip(1)).and_then(|wish| match wish {
        Wish::Run(arguments) => begin(&arguments).map(|sum| Some((arguments, sum))),
        Wish::Print(text) => {
            println!("{text}");
            Ok(None)
        }
    });
    let (arguments, sum) = match begun {
        Ok(Some(begun)) => begun,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let (earlier, seeds_before) = (sum.simulated, sum.seeds);
    let known: std::collections::BTreeSet<u64> = match &sum.progress {
        Some(progress) => progress.before.keys().copied().collect(),
        None => Default::default(),
    };
    let sum = Mutex::new(sum);
    run_all(&arguments, &sum, |seed| known.contains(&seed));
    let sum = sum.into_inner().expect("no holder of this lock panics");
    let now = (sum.simulated - earlier).as_secs_f64();
    let rate = now / started.elapsed().as_secs_f64().max(f64::EPSILON);
    if seeds_before > 0 {
        println!("{seeds_before} of the seeds were done before");
    }
    println!(
        "{} seeds, {} failures, {:.0} simulated s, {rate:.0} x real time",
        sum.seeds,
        sum.failures,
        sum.simulated.as_secs_f64()
    );
    ExitCode::from(u8::from(sum.failures > 0))
}
