//! `twins --schedules N`: runs schedules of a committee with a twin and counts what does not hold.
//! `--help` lists the flags; `SIMULATOR.md` says what a schedule is. The last line is the sum.

// The program around the pure library: it may run threads and measure real time.
#![allow(clippy::disallowed_types)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lockstep_sim::committee::BareCommittee;
use lockstep_sim::trace::Sink;
use lockstep_sim::twins::{Outcome, Plan, Progress, Schedule, Shape, TwinsWorld};

const HELP: &str = "\
Runs schedules of a committee in which a twin, two replicas of honest code with one key, is Byzantine.

  --schedules N   how many to run (20000)
  --from K        the first number (0)
  --rounds R      rounds of each enumerated schedule (4)
  --threads J     how many run side by side (one per processor)
  --progress F    go on from where file F says that the last run ended, and write the totals there
  --schedule K    run schedule number K alone, or the schedule written as `0:0123|4 3:01|234`
  --trace         print the conversation; use it with --schedule
  --help          this text

A schedule names for each round its leader and who hears whom; seats 0 to 2 are correct, 3 and 4 are
the halves of the twin. The last line is `N schedules, V violations, R /s/core`, R by a second of one
processor's time. The exit code is 1
when something did not hold, 2 for a wrong flag.";

/// Numbers run between two writes of the progress.
const BATCH: u64 = 20_000;

struct Arguments {
    schedules: u64,
    from: u64,
    rounds: u32,
    threads: u64,
    progress: Option<PathBuf>,
    schedule: Option<String>,
    trace: bool,
    help: bool,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let mut parsed = Arguments {
            schedules: 20_000,
            from: 0,
            rounds: 4,
            threads: processors,
            progress: None,
            schedule: None,
            trace: false,
            help: false,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--schedules" => parsed.schedules = number(&flag, &value()?)?,
                "--from" => parsed.from = number(&flag, &value()?)?,
                "--rounds" => parsed.rounds = number(&flag, &value()?)?,
                "--threads" => parsed.threads = number::<u64>(&flag, &value()?)?.max(1),
                "--progress" => parsed.progress = Some(PathBuf::from(value()?)),
                "--schedule" => parsed.schedule = Some(value()?),
                "--trace" => parsed.trace = true,
                "--help" | "-h" => parsed.help = true,
                other => return Err(format!("unknown argument {other}; --help lists them")),
            }
        }
        Ok(parsed)
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("{flag} needs a number, got {text}"))
}

/// One committee of each size, for one thread.
struct Committees {
    four: BareCommittee,
    seven: BareCommittee,
}

impl Committees {
    fn new() -> Self {
        Committees {
            four: BareCommittee::new(Shape::FOUR.members),
            seven: BareCommittee::new(Shape::SEVEN.members),
        }
    }

    /// A panic inside is a violation like any other.
    fn run(&self, schedule: &Schedule, sink: Option<Sink>) -> Result<Outcome, String> {
        let committee = if schedule.shape == Shape::FOUR {
            &self.four
        } else {
            &self.seven
        };
        let run = || TwinsWorld::new(committee, schedule, sink).run();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let outcome = outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            format!("panic: {}", text.unwrap_or_default())
        })?;
        match &outcome.broken {
            Some(broken) => Err(broken.to_string()),
            None => Ok(outcome),
        }
    }
}

/// Processor time of this thread, as the kernel counts it; real time where it does not say.
fn thread_time(started: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = text.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| started.elapsed(), Duration::from_nanos)
}

/// Runs numbers `from` to `to` − 1. Returns how many did not hold, and the time of all threads.
fn run_batch(plan: &Plan, from: u64, to: u64, threads: u64) -> (u64, Duration) {
    let next = AtomicU64::new(from);
    let sum = Mutex::new((0u64, Duration::ZERO));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let started = Instant::now();
                let committees = Committees::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        break;
                    }
                    let schedule = plan.schedule(number);
                    if let Err(problem) = committees.run(&schedule, None) {
                        sum.lock().expect("no holder panics").0 += 1;
                        println!(
                            "schedule {number} FAILED: {problem} | {schedule} | repeat: twins \
                             --rounds {} --schedule {number} --trace",
                            plan.rounds()
                        );
                    }
                }
                sum.lock().expect("no holder panics").1 += thread_time(started);
            });
        }
    });
    sum.into_inner().expect("no holder panics")
}

fn run_many(plan: &Plan, arguments: &Arguments) -> Result<Progress, String> {
    let mut total = read_progress(arguments)?;
    let end = total.next.saturating_add(arguments.schedules);
    while total.next < end {
        let to = end.min(total.next.saturating_add(BATCH));
        let (violations, spent) = run_batch(plan, total.next, to, arguments.threads);
        total.violations += violations;
        total.spent_ms += u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        total.schedules += to - total.next;
        total.next = to;
        write_progress(arguments, &total)?;
    }
    Ok(total)
}

fn read_progress(arguments: &Arguments) -> Result<Progress, String> {
    let fresh = Progress {
        rounds: arguments.rounds,
        next: arguments.from,
        ..Progress::default()
    };
    let Some(path) = &arguments.progress else {
        return Ok(fresh);
    };
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(fresh),
        other => other.map_err(|error| format!("--progress {name}: {error}"))?,
    };
    let read: Progress = text
        .parse()
        .map_err(|e| format!("--progress {name}: {e}"))?;
    if read.rounds == arguments.rounds {
        return Ok(read);
    }
    Err(format!(
        "--progress {name} is of --rounds {}, not {}",
        read.rounds, arguments.rounds
    ))
}

/// Written beside and moved into place, so that a kill leaves the old or the new totals.
fn write_progress(arguments: &Arguments, total: &Progress) -> Result<(), String> {
    let Some(path) = &arguments.progress else {
        return Ok(());
    };
    let beside = path.with_extension("new");
    let written =
        std::fs::write(&beside, format!("{total}\n")).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| format!("--progress {}: {error}", path.display()))
}

/// Runs one schedule, by number or as written.
fn run_one(plan: &Plan, text: &str, trace: bool) -> Result<ExitCode, String> {
    let schedule = match text.parse::<u64>() {
        Ok(number) => plan.schedule(number),
        Err(_) => Schedule::parse(Shape::FOUR, text).map_err(|error| error.to_string())?,
    };
    println!("{schedule}");
    let sink = trace.then(|| -> Sink { Box::new(|line| println!("{line}")) });
    Ok(match Committees::new().run(&schedule, sink) {
        Ok(outcome) => {
            let (steps, rounds) = (outcome.steps, outcome.healing_rounds);
            println!("holds: {steps} steps, committed {rounds} rounds after it was healed");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("FAILED: {problem}");
            ExitCode::FAILURE
        }
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let plan = Plan::new(arguments.rounds)
        .ok_or_else(|| format!("--rounds {}: too many to number", arguments.rounds))?;
    if let Some(text) = &arguments.schedule {
        return run_one(&plan, text, arguments.trace);
    }
    let total = run_many(&plan, arguments)?;
    println!(
        "{} schedules of {} rounds are enumerated; {} of them lie below number {}, the next one",
        plan.total(),
        plan.rounds(),
        plan.enumerated_below(total.next),
        total.next
    );
    let rate = total.schedules * 1_000 / total.spent_ms.max(1);
    println!(
        "{} schedules, {} violations, {rate} /s/core",
        total.schedules, total.violations
    );
    Ok(ExitCode::from(u8::from(total.violations > 0)))
}

fn main() -> ExitCode {
    let outcome = Arguments::parse().and_then(|arguments| {
        if arguments.help {
            println!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        run(&arguments)
    });
    outcome.unwrap_or_else(|problem| {
        eprintln!("{problem}");
        ExitCode::from(2)
    })
}
