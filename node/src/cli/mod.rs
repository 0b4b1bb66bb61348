//! The command line. stdout is the result of a command; everything else goes to stderr.

mod accounts;
mod balance;
mod completions;
mod connect;
mod failure;
mod genesis;
mod key;
mod node;
mod output;
mod send;
mod status;
mod supply;
mod tx;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit;

/// A sharded, permissioned blockchain.
#[derive(Parser)]
#[command(name = "lockstep", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a whole development network on this machine.
    Up(up::Args),
    /// Runs or checks one validator.
    Node(node::Args),
    /// Makes, checks, shows and exports genesis files.
    Genesis(genesis::GenesisCommand),
    /// Makes, lists and imports the keys of accounts.
    Key(key::KeyCommand),
    /// Sends value and waits until the receiver has it for good.
    Send(Box<send::SendCommand>),
    /// Shows what accounts hold.
    Balance(balance::BalanceCommand),
    /// Transactions: status, receipts, proofs.
    Tx(tx::TxCommand),
    /// Shows how every validator is doing, and what keeps it from progressing.
    Status(status::StatusCommand),
    /// Shows the conservation equation of every shard, and what is on its way.
    Supply(supply::SupplyCommand),
    /// Prints a completion script for a shell.
    Completions(completions::CompletionsCommand),
}

/// A command that failed: what to say and how to leave.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: exit::ExitCode,
}

impl Failure {
    pub(crate) fn usage(message: impl ToString) -> Self {
        Failure {
            message: message.to_string(),
            code: exit::ExitCode::Usage,
        }
    }
}

impl From<exit::Stop> for Failure {
    fn from(stop: exit::Stop) -> Self {
        Failure {
            message: stop.to_string(),
            code: stop.code(),
        }
    }
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Genesis(command) => return wallet(command.run()),
        Command::Key(command) => return wallet(command.run()),
        Command::Send(command) => return wallet(command.run()),
        Command::Balance(command) => return wallet(command.run()),
        Command::Tx(command) => return wallet(command.run()),
        Command::Status(command) => return wallet(command.run()),
        Command::Supply(command) => return wallet(command.run()),
        Command::Completions(command) => return command.run(Cli::command()).into(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            failure.code.into()
        }
    }
}

/// Runs a command that prints its own end. It waits for answers and computes little: one thread.
fn wallet(command: impl Future<Output = exit::ExitCode>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(command).into(),
        Err(error) => {
            report(&Failure::usage(format!("cannot start: {error}")));
            exit::ExitCode::Bug.into()
        }
    }
}

fn report(failure: &Failure) {
    use std::io::Write;
    let message = &failure.message;
    // What is wrong with a genesis says so itself, with a code.
    let word = match message.starts_with("error[") {
        true => "",
        false => "error: ",
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{word}{message}");
}

/// Writes a line of the result.
pub(crate) fn out(line: &str) -> Result<(), Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure {
        message: format!("standard output: {error}"),
        code: exit::ExitCode::Rejected,
    })
}
