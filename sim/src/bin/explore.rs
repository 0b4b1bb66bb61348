//! `explore`: visits every state of a committee of four with one liar, as far as its limits go.
//! `--help` lists the flags; `SIMULATOR.md` says what a state is. The last line is the sum.

// The program around the pure library: it may measure real time.
#![allow(clippy::disallowed_types)]

use std::process::ExitCode;
use std::time::Instant;

use lockstep_sim::explorer::{Limits, Report, explore};

const HELP: &str = "\
Visits every state that three correct members and one liar can be in, each once, up to a depth: so
many things arrived at somebody, or timers fired. Without flags there are three searches: with votes
and timeouts arriving one by one, in 2 views; with the certificates that they make, in 3 views; and the
same in 4 views, without rival blocks on one parent. A flag that says what to search asks for one.

  --statements    votes and timeouts arrive one by one, too
  --views V       views that are led (3)
  --rivals R      rival blocks on one parent in one view (2)
  --states N      begin no further depth after so many states of a search (1000000)
  --help          this text

A violation prints the steps that lead to it. The last line is `N states, depth D, V violations`:
states of all searches, the depth of the deepest. The exit code is 1 when something did not hold, 2
for a wrong flag.";

/// Distinct states of one search, if nothing else is said; they take about 400 MiB.
const STATES: usize = 1_000_000;

/// What to search.
enum Asked {
    Help,
    Searches(Vec<Limits>),
}

fn parse() -> Result<Asked, String> {
    let (mut statements, mut views, mut rivals, mut states) = (false, None, None, STATES);
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or(format!("{flag} needs a number"));
        match flag.as_str() {
            "--statements" => statements = true,
            "--views" => views = Some(number(&flag, &value()?)?),
            "--rivals" => rivals = Some(number(&flag, &value()?)?),
            "--states" => states = number(&flag, &value()?)?,
            "--help" | "-h" => return Ok(Asked::Help),
            other => return Err(format!("unknown argument {other}; --help lists them")),
        }
    }
    let search = |(statements, views, rivals)| Limits {
        views,
        rivals,
        statements,
        states,
    };
    let asked = if statements || views.is_some() || rivals.is_some() {
        vec![(statements, views.unwrap_or(3), rivals.unwrap_or(2))]
    } else {
        vec![(true, 2, 2), (false, 3, 2), (false, 4, 1)]
    };
    Ok(Asked::Searches(asked.into_iter().map(search).collect()))
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("{flag} needs a number, got {text}"))
}

fn print(limits: &Limits, report: &Report, started: Instant) {
    let what = if limits.statements {
        "statements one by one"
    } else {
        "certificates"
    };
    let end = if report.complete {
        ", and nothing beyond"
    } else {
        ""
    };
    println!(
        "{what}, {} views, {} rivals: {} states to depth {}{end}; {} steps, {} states of single \
         members, {:.0} s",
        limits.views,
        limits.rivals,
        report.states,
        report.depth,
        report.steps,
        report.member_states,
        started.elapsed().as_secs_f64()
    );
    if let Some(found) = &report.first {
        println!("VIOLATION {}", found.broken);
        found.path.iter().for_each(|step| println!("  {step}"));
    }
}

fn main() -> ExitCode {
    let searches = match parse() {
        Ok(Asked::Searches(searches)) => searches,
        Ok(Asked::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let (mut states, mut depth, mut violations) = (0, 0, 0);
    for limits in searches {
        let started = Instant::now();
        let report = explore(limits);
        print(&limits, &report, started);
        states += report.states;
        depth = depth.max(report.depth);
        violations += report.violations;
    }
    println!("{states} states, depth {depth}, {violations} violations");
    ExitCode::from(u8::from(violations > 0))
}
