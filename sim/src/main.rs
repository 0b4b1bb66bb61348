//! `lockstep-sim`: runs seeds; `--help` lists the flags, `SIMULATOR.md` tells how to use them. The
//! last line is the sum; a seed that fails prints one line with the command that repeats it.

// The program around the pure library: it may run threads, write files and measure real time.
#![allow(clippy::disallowed_types)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
