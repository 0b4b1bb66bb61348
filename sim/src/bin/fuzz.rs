//! Gives decoders and state machines bent inputs. `--help` lists the flags; `SIMULATOR.md` says what a
//! target is. The last line is the sum.

// The program around the pure library: it may run threads and measure real time.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lockstep_sim::fuzz::{Campaign, Target, attempt, targets, unhex};

const HELP: &str = "\
Gives decoders and state machines bent inputs.

  --seconds N     how long for each target (1)
  --seed S        what the inputs are drawn from (1)
  --target NAME   this one alone
  --input HEX     this input alone; use it with --target
  --help          this text

One line for each target; a failure prints its input. The last line is the sum. The exit code is 1 when
something failed, 2 for a wrong flag.";

struct Arguments {
    seconds: f64,
    seed: u64,
    target: Option<String>,
    input: Option<Vec<u8>>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Arguments {
            seconds: 1.0,
            seed: 1,
            target: None,
            input: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let value = given.next().ok_or(format!("{flag} needs a value"))?;
            let bad = || format!("{flag} cannot be {value}");
            match flag.as_str() {
                "--seconds" => parsed.seconds = value.parse().map_err(|_| bad())?,
                "--seed" => parsed.seed = value.parse().map_err(|_| bad())?,
                "--input" => parsed.input = Some(unhex(&value).ok_or_else(bad)?),
                "--target" => parsed.target = Some(value),
                _ => return Err(format!("unknown argument {flag}")),
            }
        }
        Ok(parsed)
    }
}

/// What all targets came to.
#[derive(Default)]
struct Sum {
    executions: AtomicU64,
    failures: AtomicU64,
}

/// Runs one target for its time.
fn run(target: &dyn Target, arguments: &Arguments, sum: &Sum) {
    let mut campaign = Campaign::new(target, arguments.seed);
    let start = Instant::now();
    let time = Duration::from_secs_f64(arguments.seconds);
    let start_from = campaign.start();
    let mut failure = None;
    while failure.is_none() && (start.elapsed() < time || campaign.executions < start_from) {
        failure = campaign.step().err();
    }
    let (name, executions) = (target.name(), campaign.executions);
    let rate = executions as f64 / start.elapsed().as_secs_f64();
    println!(
        "{name:<14} {executions:>9} executions, {rate:>8.0}/s, {:>8} taken in",
        campaign.taken
    );
    sum.executions.fetch_add(executions, Ordering::Relaxed);
    if let Some(failure) = failure {
        sum.failures.fetch_add(1, Ordering::Relaxed);
        println!("{failure}");
    }
}

fn run_input(target: &dyn Target, input: &[u8]) -> ExitCode {
    match attempt(target, input) {
        Ok(taken) => {
            println!("{}: holds, taken in: {taken}", target.name());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("{}: {reason}", target.name());
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    if std::env::args()
        .skip(1)
        .any(|flag| flag == "--help" || flag == "-h")
    {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let mut chosen = targets();
    if let Some(name) = &arguments.target {
        chosen.retain(|target| target.name() == name);
        if chosen.is_empty() {
            eprintln!("no target {name}");
            return ExitCode::from(2);
        }
    }
    if let Some(input) = &arguments.input {
        return run_input(chosen[0].as_ref(), input);
    }
    // A panic is a failure with an input; the failure is what is printed.
    std::panic::set_hook(Box::new(|_| {}));
    let (sum, next) = (Sum::default(), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(target) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(target.as_ref(), &arguments, &sum);
                }
            });
        }
    });
    let failures = sum.failures.into_inner();
    println!(
        "{} targets, {} executions, {failures} failures, seed {}",
        chosen.len(),
        sum.executions.into_inner(),
        arguments.seed
    );
    ExitCode::from(u8::from(failures > 0))
}
