//! `lockstep-sim --seeds N [--from K] [--seconds T] [--threads J] [--trace] [--twice]`: runs seeds
//! K to K + N − 1 with T seconds of chaos each. The last line is the sum; a failing seed prints one
//! line with the command that repeats it. `--trace` prints every event, `--twice` runs each seed
//! twice and compares the digests of all events.

// The program around the pure library: it may run threads and measure real time.
#![allow(clippy::disallowed_types)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lockstep_sim::{Chains, Outcome, Run};

#[derive(Clone)]
struct Arguments {
    seeds: u64,
    from: u64,
    seconds: u64,
    threads: usize,
    trace: bool,
    twice: bool,
    verbose: bool,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Arguments {
            seeds: 1,
            from: 0,
            seconds: 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            trace: false,
            twice: false,
            verbose: false,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            match flag.as_str() {
                "--trace" => parsed.trace = true,
                "--twice" => parsed.twice = true,
                "--verbose" => parsed.verbose = true,
                "--seeds" | "--from" | "--seconds" | "--threads" => {
                    let value = given.next().ok_or(format!("{flag} needs a number"))?;
                    let value: u64 = value
                        .parse()
                        .map_err(|_| format!("{flag} needs a number, got {value}"))?;
                    match flag.as_str() {
                        "--seeds" => parsed.seeds = value,
                        "--from" => parsed.from = value,
                        "--seconds" => parsed.seconds = value,
                        _ => parsed.threads = usize::try_from(value).unwrap_or(1).max(1),
                    }
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(parsed)
    }
}

#[derive(Default)]
struct Sum {
    failures: u64,
    simulated: Duration,
}

/// Runs one seed. A panic inside is a failure of the seed like any other.
fn run(chains: &mut Chains, arguments: &Arguments, seed: u64) -> Result<Outcome, String> {
    let run = Run::new(seed, Duration::from_secs(arguments.seconds));
    let sink = || -> Option<lockstep_sim::trace::Sink> {
        arguments
            .trace
            .then(|| -> lockstep_sim::trace::Sink { Box::new(|line| println!("{line}")) })
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

fn report(arguments: &Arguments, seed: u64, result: &Result<Outcome, String>, sum: &Mutex<Sum>) {
    let mut sum = sum.lock().expect("no holder of this lock panics");
    let again = format!(
        "lockstep-sim --seeds 1 --from {seed} --seconds {}",
        arguments.seconds
    );
    match result {
        Err(panic) => {
            sum.failures += 1;
            println!("seed {seed} FAILED: panic: {panic} | repeat: {again} --trace");
        }
        Ok(outcome) => {
            sum.simulated += outcome.simulated;
            if let Some((at, broken)) = &outcome.failure {
                sum.failures += 1;
                println!(
                    "seed {seed} FAILED at {at}: {broken} | {} | repeat: {again} --trace",
                    outcome.faults
                );
            } else if arguments.verbose {
                println!(
                    "seed {seed}: {:.1} s, {} steps, {} executed, events {} | {}",
                    outcome.simulated.as_secs_f64(),
                    outcome.steps,
                    outcome.executed,
                    outcome.digest,
                    outcome.faults
                );
                for (peer, lies) in &outcome.lies {
                    println!("    {} {lies}", lockstep_sim::trace::Name(peer));
                }
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                let mut chains = Chains::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let result = run(&mut chains, &arguments, seed);
                    report(&arguments, seed, &result, &sum);
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no holder of this lock panics");
    let simulated = sum.simulated.as_secs_f64();
    let rate = simulated / started.elapsed().as_secs_f64().max(f64::EPSILON);
    println!(
        "{} seeds, {} failures, {simulated:.0} simulated s, {rate:.0} x real time",
        arguments.seeds, sum.failures
    );
    if sum.failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
