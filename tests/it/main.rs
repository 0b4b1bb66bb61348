//! Process tests: whole networks of real validators, with real sockets and real disks, driven and
//! judged from outside.
//!
//! `cargo test -p lockstep-tests --test it -- [NAME ...]` runs those whose name contains one of
//! the words. `... --test it -- soak` mixes all faults for as long as it is told; see [`soak`].

mod history;
mod hostile;
mod load;
mod mesh;
mod network;
mod pulse;
mod run;
mod session;
mod tally;

mod bent;
mod copies;
mod damage;
mod kills;
mod lines;
mod pauses;
mod scenarios;
mod soak;
mod space;
mod transfers;
mod wipes;

use std::process::ExitCode;
use std::time::Instant;

type Test = fn() -> anyhow::Result<()>;

const TESTS: [(&str, Test); 12] = [
    (
        "transfers_end_final_exactly_once",
        transfers::end_final_exactly_once,
    ),
    (
        "killed_validators_come_back",
        scenarios::killed_validators_come_back,
    ),
    (
        "a_killed_network_comes_back",
        scenarios::a_killed_network_comes_back,
    ),
    (
        "leaders_killed_in_a_barrier_are_replaced",
        scenarios::leaders_killed_in_a_barrier_are_replaced,
    ),
    (
        "paused_validators_catch_up",
        scenarios::paused_validators_catch_up,
    ),
    ("broken_lines_heal", scenarios::broken_lines_heal),
    (
        "damaged_files_are_refused_or_healed",
        scenarios::damaged_files_are_refused_or_healed,
    ),
    (
        "a_copied_home_is_noticed",
        scenarios::a_copied_home_is_noticed,
    ),
    (
        "full_disks_are_waited_for",
        scenarios::full_disks_are_waited_for,
    ),
    (
        "wiped_validators_come_back",
        scenarios::wiped_validators_come_back,
    ),
    (
        "rpc_floods_and_garbage_are_survived",
        hostile::rpc_floods_and_garbage_are_survived,
    ),
    (
        "bent_requests_and_files_are_refused",
        bent::bent_requests_and_files_are_refused,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = lockstep_node::cluster::run_if_child() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "soak") {
        return match soak::Plan::parse(&arguments[1..]) {
            Ok(plan) => soak::run(plan),
            Err(problem) => {
                eprintln!("{problem}");
                ExitCode::from(2)
            }
        };
    }
    // Flags are what the test runner passes to every test binary.
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let started = Instant::now();
        let result = test();
        let took = started.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1} s)");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({took:.1} s)\n{error:#}");
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
