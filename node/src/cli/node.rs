//! `lockstep node`: one validator.

use std::path::PathBuf;

use clap::Subcommand;

use super::Failure;
use crate::home::Home;
use crate::process;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a validator until it is told to stop.
    Run {
        /// The validator's directory: config/, keys/, data/.
        #[arg(long, env = "LOCKSTEP_NODE_HOME")]
        home: PathBuf,
        /// The validator has lost its data or its safety record, and this is its only copy: it asks
        /// the others where they stand, catches up, and votes again when they are past whatever it
        /// may have signed.
        #[arg(long)]
        recover: bool,
        /// Also stops when standard input ends: when whoever started it is gone.
        #[arg(long, hide = true)]
        until_stdin_ends: bool,
    },
    /// Checks a validator's directory without starting it.
    Check {
        /// The validator's directory.
        #[arg(long, env = "LOCKSTEP_NODE_HOME")]
        home: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Run {
            home,
            recover,
            until_stdin_ends,
        } => {
            let home = Home::at(home);
            Ok(match until_stdin_ends {
                false => process::run(&home, *recover),
                true => process::run_until_stdin_ends(&home, *recover),
            }?)
        }
        Command::Check { home } => {
            let home = Home::at(home);
            let config = home.config().map_err(Failure::usage)?;
            let genesis = home.genesis()?;
            let keys = home.keys(&genesis)?;
            let (committee, member) = home.seat(&genesis, &keys)?;
            let name = &genesis.validators(committee)[member.get()].name;
            config
                .peers(&genesis, name, &home.config_file())
                .map_err(Failure::usage)?;
            super::out(&format!(
                "{name}: {committee} of {}, ready to run",
                genesis.chain_name()
            ))
        }
    }
}
