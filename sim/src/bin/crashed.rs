//! `crashed`: what a network over four regions loses when one validator of four is gone for good.
//! `--help` lists the flags. The last line is the verdict.

use std::process::ExitCode;
use std::time::Duration;

use lockstep_sim::crashed_member::{
    CrashedMember, Figures, LEAST_THROUGHPUT_PERCENT, MOST_P99_FACTOR, chain,
};
use lockstep_types::MemberIndex;

const HELP: &str = "\
Two shards of four and a beacon of four over four regions, under a steady load: for each validator
one run with everybody and one in which it crashes for good in every committee. Counted are 60 s of
virtual time, from 10 s after the crash on, of clients that rely on others.

  --seed N   where everything is drawn from (1)
  --help     this text

The exit code is 1 when throughput falls below 90 % or the 99th percentile more than doubles, or a
rule is broken; 2 for a wrong flag.";

/// Members of a committee.
const MEMBERS: u8 = 4;

/// The seed, unless help was asked for.
fn parse() -> Result<Option<u64>, String> {
    let mut seed = 1;
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        match flag.as_str() {
            "--seed" => {
                let value = given.next().ok_or("--seed needs a number")?;
                let parsed = value.parse();
                seed = parsed.map_err(|_| format!("--seed needs a number, got {value}"))?;
            }
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other}; --help lists them")),
        }
    }
    Ok(Some(seed))
}

fn line(what: &str, figures: &Figures) {
    let ms = |latency: Duration| latency.as_millis();
    let (p50, p99, most) = (ms(figures.p50), ms(figures.p99), ms(figures.most));
    let rate = figures.throughput();
    println!("{what:16} {rate:6.1} tx/s   p50 {p50:5} ms   p99 {p99:5} ms   longest {most:5} ms");
}

fn main() -> ExitCode {
    let seed = match parse() {
        Ok(Some(seed)) => seed,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let chain = chain();
    let mut good = 0;
    for member in (0..MEMBERS).map(MemberIndex::new) {
        match (CrashedMember { seed, member }).compare(&chain) {
            Ok((whole, without)) => {
                line("everybody", &whole);
                line(&format!("without {}", member.get()), &without);
                good += u8::from(without.hold_beside(&whole));
            }
            Err(broken) => println!("without {}: FAILED: {broken}", member.get()),
        }
    }
    println!(
        "{good} of {MEMBERS} keep {LEAST_THROUGHPUT_PERCENT} % of throughput and {MOST_P99_FACTOR} \
         times the p99"
    );
    ExitCode::from(u8::from(good < MEMBERS))
}
