//! `lockstep-bench crashed`: arguments in, a line for each run and the verdict out.
//!
//! Breaks if: the last line or the exit code says more than all pairs carry.

use std::process::ExitCode;

use anyhow::Context as _;
use lockstep_bench::crashed::{
    self, Comparison, Figures, LEAST_THROUGHPUT, MOST_P99_FACTOR, Options, Pair,
};
use lockstep_bench::manifest::Manifest;
use lockstep_bench::progress::Meter;
use lockstep_bench::report::figure;
use lockstep_types::MemberIndex;

use crate::{FAILED, USAGE, print, runtime, warn};

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct CrashedArguments {
    /// Whom to do without, from 0 [default: each member in turn]
    #[arg(long, value_name = "K")]
    member: Option<u8>,
    /// Members of each committee, the beacon's included
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=31))]
    validators: u8,
    /// Transactions per second; well below what the host can take
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    rate: u32,
    /// Counted seconds of each run, from ten seconds after the crash on
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Milliseconds between barriers
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    interval_ms: u64,
    /// Where keys and choices come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl CrashedArguments {
    /// What is asked for, or which argument is wrong.
    fn options(&self) -> Result<Options, String> {
        let members = match self.member {
            Some(member) if member < self.validators => member..member + 1,
            Some(member) => {
                let last = self.validators - 1;
                return Err(format!("--member {member}: members are 0 to {last}"));
            }
            None => 0..self.validators,
        };
        Ok(Options {
            validators: self.validators,
            members: members.map(MemberIndex::new).collect(),
            rate: self.rate,
            seconds: self.seconds,
            interval_ms: self.interval_ms,
            seed: self.seed,
        })
    }
}

/// Runs it.
///
/// # Errors
/// Why there are no figures.
pub(crate) fn crashed(arguments: &CrashedArguments) -> anyhow::Result<ExitCode> {
    let options = match arguments.options() {
        Ok(options) => options,
        Err(problem) => {
            warn(&format!("error: {problem}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    let result = runtime()?.block_on(all(&options))?;
    print(&match arguments.json {
        true => serde_json::to_string_pretty(&result)?,
        false => text(&result),
    })?;
    Ok(match result.good == result.pairs.len() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

/// Makes all pairs of runs, one after the other.
async fn all(options: &Options) -> anyhow::Result<Comparison> {
    let planned = options.planned();
    let pairs = u32::try_from(options.members.len()).unwrap_or(u32::MAX);
    let mut meter = Meter::new(planned.saturating_mul(pairs));
    let mut manifest = Manifest::start("");
    let mut pairs = Vec::new();
    for member in &options.members {
        let directory = tempfile::tempdir().context("cannot make a directory for the run")?;
        let title = format!("without {} and with everybody", member.get());
        let mut show = |progress| meter.show(&title, planned / 2, &progress);
        let pair = crashed::compare(options, *member, directory.path(), &mut show).await?;
        meter.finished(planned, &format!("  {}", verdict(&pair, options.rate)));
        pairs.push(pair);
    }
    manifest.end();
    Ok(Comparison::new(options, pairs, manifest))
}

fn text(result: &Comparison) -> String {
    let pairs = result.pairs.iter();
    let lines: String = pairs.map(|pair| of_pair(pair, result.rate)).collect();
    let flagged = result.pairs.iter().filter(|pair| pair.is_flagged()).count();
    let remark = match flagged {
        0 => String::new(),
        _ => format!("; {flagged} of the comparisons are of the host, see the flags"),
    };
    format!(
        "{lines}{} of {} keep {:.0} % of the throughput and {MOST_P99_FACTOR} times the p99{remark}",
        result.good,
        result.pairs.len(),
        100.0 * LEAST_THROUGHPUT,
    )
}

fn of_pair(pair: &Pair, rate: u32) -> String {
    format!(
        "{}{}  {}\n",
        of_run("everybody", &pair.whole),
        of_run(&format!("without {}", pair.member), &pair.without),
        verdict(pair, rate),
    )
}

fn verdict(pair: &Pair, rate: u32) -> String {
    let verdict = match pair.check(rate) {
        Ok(()) => "good".to_owned(),
        Err(shortfall) => format!("FAILED: {shortfall}"),
    };
    format!(
        "without {}: {:.1} % of the throughput, {:.2} times the p99: {verdict}",
        pair.member,
        100.0 * pair.without.committed_tx_per_s / pair.whole.committed_tx_per_s,
        pair.without.latency.p99_ms / pair.whole.latency.p99_ms,
    )
}

fn of_run(what: &str, figures: &Figures) -> String {
    let latency = &figures.latency;
    let flags = figures.flags.iter().map(|flag| format!("; {flag}"));
    format!(
        "  {what:12}{} tx/s, p50 {} ms, p99 {} ms, longest {} ms, {} missing, {} views/s, host \
         {:.0} % busy{}\n",
        figure(figures.committed_tx_per_s),
        figure(latency.p50_ms),
        figure(latency.p99_ms),
        figure(latency.max_ms),
        figures.missing,
        figure(figures.views_per_s),
        100.0 * figures.cpu.host_share,
        flags.collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CrashedArguments,
    }

    fn options(line: &[&str]) -> Result<Vec<usize>, String> {
        let words = ["crashed"].iter().chain(line);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let members = line.arguments.options()?.members;
        Ok(members.into_iter().map(MemberIndex::get).collect())
    }

    #[test]
    fn everybody_is_done_without_in_turn_or_one_who_exists() {
        assert_eq!(options(&[]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(options(&["--member", "2"]), Ok(vec![2]));
        assert_eq!(
            options(&["--member", "4"]),
            Err("--member 4: members are 0 to 3".to_owned())
        );
    }
}
