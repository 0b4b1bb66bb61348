//! The command line.

use std::path::PathBuf;

use lockstep_sim::{Fault, FaultSet};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
lockstep-sim: whole networks in virtual time, with faults drawn from seeds

  --seeds N        how many (1)
  --from K         the first (0)
  --seconds T      how long the chaos of each lasts (20)
  --threads J      how many run side by side (one per processor)
  --only A,B       of the faults that a seed draws, none but these
  --without A,B    of the faults that a seed draws, not these
  --progress FILE  writes down what is done, and goes on from there the next time
  --shrink         makes what fails smaller: fewer faults, less time
  --twice          each seed twice; both must be the same event for event
  --trace          every event as a line; use it with one seed
  --verbose        a line for each seed that passes
  --faults         the names of all faults

The last line is the sum. Exit code 1: a seed failed. 2: a wrong flag or a file of another run.";

/// What to do.
#[derive(Clone)]
pub(crate) struct Arguments {
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    pub(crate) seconds: u64,
    pub(crate) threads: usize,
    pub(crate) without: FaultSet,
    pub(crate) progress: Option<PathBuf>,
    pub(crate) trace: bool,
    pub(crate) twice: bool,
    pub(crate) verbose: bool,
    pub(crate) shrink: bool,
}

/// What the command line asks for.
pub(crate) enum Wish {
    /// Seeds.
    Run(Box<Arguments>),
    /// A text.
    Print(String),
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    /// The flag, and what it needs.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Wish, String> {
        let mut parsed = Arguments {
            seeds: 1,
            from: 0,
            seconds: 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            without: FaultSet::NONE,
            progress: None,
            trace: false,
            twice: false,
            verbose: false,
            shrink: false,
        };
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" => return Ok(Wish::Print(HELP.to_owned())),
                "--faults" => {
                    let names = Fault::ALL.iter().map(|fault| fault.name());
                    return Ok(Wish::Print(names.collect::<Vec<_>>().join("\n")));
                }
                "--trace" => parsed.trace = true,
                "--twice" => parsed.twice = true,
                "--verbose" => parsed.verbose = true,
                "--shrink" => parsed.shrink = true,
                "--seeds" => parsed.seeds = number(&flag, &value()?)?,
                "--from" => parsed.from = number(&flag, &value()?)?,
                "--seconds" => parsed.seconds = number(&flag, &value()?)?,
                "--threads" => {
                    let threads = number(&flag, &value()?)?;
                    parsed.threads = usize::try_from(threads).unwrap_or(1).max(1);
                }
                "--only" => {
                    let others = FaultSet::all().without(faults(&flag, &value()?)?);
                    parsed.without = parsed.without.with(others);
                }
                "--without" => {
                    parsed.without = parsed.without.with(faults(&flag, &value()?)?);
                }
                "--progress" => parsed.progress = Some(value()?.into()),
                other => return Err(format!("unknown argument {other}; --help lists them")),
            }
        }
        Ok(Wish::Run(Box::new(parsed)))
    }

    /// The command that repeats one seed.
    pub(crate) fn again(&self, seed: u64) -> String {
        let mut command = format!("lockstep-sim --from {seed} --seconds {}", self.seconds);
        if self.without != FaultSet::NONE {
            command += &format!(" --without {}", self.without);
        }
        command
    }
}

fn number(flag: &str, value: &str) -> Result<u64, String> {
    let number = value.parse();
    number.map_err(|_| format!("{flag} needs a number, got {value}"))
}

fn faults(flag: &str, value: &str) -> Result<FaultSet, String> {
    let names = value.split(',').filter(|name| !name.is_empty());
    names
        .map(|name| {
            let fault = Fault::named(name);
            fault.ok_or(format!("{flag}: no fault {name}; --faults lists them"))
        })
        .collect()
}
