//! Process tests: whole networks of real validators, with real sockets and real disks, driven and
//! judged from outside.
//!
//! `cargo test -p lockstep-tests --test it -- [NAME ...] [--kills N]` runs those whose name
//! contains one of the words; `--kills` sets how often the kill loops kill.

mod journal;
mod load;
mod network;

mod kills;
mod transfers;

use std::process::ExitCode;
use std::time::Instant;

/// Kills of one validator and of all in an ordinary run; a soak asks for more.
const KILLS: u32 = 5;

/// What a test is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) kills: u32,
}

type Test = fn(Options) -> anyhow::Result<()>;

const TESTS: [(&str, Test); 3] = [
    (
        "transfers_end_final_exactly_once",
        transfers::end_final_exactly_once,
    ),
    ("killed_validators_come_back", kills::of_one),
    ("a_killed_network_comes_back", kills::of_all),
];

fn main() -> ExitCode {
    if let Some(code) = lockstep_node::cluster::run_if_child() {
        return code;
    }
    let mut options = Options { kills: KILLS };
    let mut words = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--kills" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(kills) => options.kills = kills,
                None => {
                    eprintln!("--kills takes a number");
                    return ExitCode::from(2);
                }
            },
            // What the test runner passes to every test binary.
            flag if flag.starts_with('-') => {}
            word => words.push(word.to_owned()),
        }
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let started = Instant::now();
        let result = test(options);
        let took = started.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1} s)");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({took:.1} s)\n{error:?}");
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
