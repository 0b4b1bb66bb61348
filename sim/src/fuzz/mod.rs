//! A mutation fuzzer for a stable compiler: bytes that came from valid values are bent and given to
//! everything that reads bytes from outside, and to state machines as scripts. `SIMULATOR.md` says
//! how to run it.
//!
//! A [`Target`] panics when a promise does not hold. A seed and a target give the same inputs on
//! every machine; a failure prints its input, made as small as simple cuts make it, and goes into
//! `corpus.txt`, from which every later run starts.
//!
//! Breaks if: a target keeps something from one input to the next. Then its input no longer shows
//! the failure, and cutting it down leads elsewhere.

mod committee;
mod decoders;
mod forge;
mod forged_state;
mod ledger;
mod mempool;
mod mutate;
mod proofs;
mod recovery;
mod script;
mod text;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lockstep_types::generate::Random;

pub use forge::{Forge, is_vouched_for};
pub use forged_state::ForgedState;

/// Inputs kept that were taken in lately, beside those that a campaign started from.
const MAX_KEPT: usize = 512;

/// Tries to make a failing input smaller.
const MAX_CUTS: usize = 4_000;

/// Inputs that once failed: `target hex`, a line each.
const REGRESSIONS: &str = include_str!("corpus.txt");

/// Something that is given bytes.
pub trait Target: Sync {
    /// Its name on the command line and in `corpus.txt`.
    fn name(&self) -> &'static str;

    /// Valid inputs to start from.
    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>>;

    /// Runs one input from a fresh state. Says whether it was taken in, at least in part.
    ///
    /// # Panics
    /// When a promise does not hold: this is the failure.
    fn run(&self, input: &[u8]) -> bool;
}

/// Every target that needs no socket, file or password.
pub fn targets() -> Vec<Box<dyn Target>> {
    let mut all: Vec<Box<dyn Target>> = Vec::new();
    all.extend(decoders::targets());
    all.extend(proofs::targets());
    all.extend(recovery::targets());
    all.extend(text::targets());
    all.push(Box::new(ledger::LedgerScript));
    all.push(Box::new(mempool::MempoolScript));
    all.extend(committee::targets());
    all
}

/// An input that breaks a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// The seed of the campaign.
    pub seed: u64,
    /// Which execution it was.
    pub iteration: u64,
    /// What the panic said.
    pub reason: String,
    /// The input.
    pub input: Vec<u8>,
    /// The input after cutting.
    pub smallest: Vec<u8>,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Failure {
            target,
            seed,
            iteration,
            ..
        } = self;
        writeln!(
            f,
            "FAILED {target}, seed {seed}, iteration {iteration}: {}",
            self.reason
        )?;
        writeln!(f, "  input: {}", hex(&self.input))?;
        writeln!(f, "  cut down, for corpus.txt:")?;
        write!(f, "{target} {}", hex(&self.smallest))
    }
}

/// Runs one input. A panic is the failure.
///
/// # Errors
/// What the panic said.
pub fn attempt(target: &dyn Target, input: &[u8]) -> Result<bool, String> {
    catch_unwind(AssertUnwindSafe(|| target.run(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}

/// The inputs of `corpus.txt` for a target.
///
/// # Panics
/// When the file is not what its head says.
pub fn regressions(target: &str) -> Vec<Vec<u8>> {
    let lines = REGRESSIONS.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| *name == target)
        .map(|(_, text)| unhex(text.trim()).expect("hexadecimal digits after the name"))
        .collect()
}

/// One target under one seed.
pub struct Campaign<'a> {
    target: &'a dyn Target,
    seed: u64,
    random: Random,
    corpus: Vec<Vec<u8>>,
    /// How many of them it started from; they stay.
    base: usize,
    /// Inputs of the corpus that are still to be run as they are.
    fresh: usize,
    /// Inputs run.
    pub executions: u64,
    /// Inputs that were taken in.
    pub taken: u64,
}

impl<'a> Campaign<'a> {
    /// Starts from the target's corpus and the inputs that once failed.
    pub fn new(target: &'a dyn Target, seed: u64) -> Self {
        let name = lockstep_types::hash("fuzz", &(target.name(), seed));
        let start = name.as_bytes()[..8].try_into().expect("8 of 32 bytes");
        let mut random = Random::new(u64::from_le_bytes(start));
        let mut corpus = regressions(target.name());
        corpus.extend(target.corpus(&mut random));
        assert!(!corpus.is_empty(), "{} starts from nothing", target.name());
        Campaign {
            target,
            seed,
            random,
            base: corpus.len(),
            fresh: corpus.len(),
            corpus,
            executions: 0,
            taken: 0,
        }
    }

    /// How many inputs it starts from.
    pub fn start(&self) -> u64 {
        self.base as u64
    }

    /// Runs one more input.
    ///
    /// # Errors
    /// When it breaks a promise.
    pub fn step(&mut self) -> Result<(), Box<Failure>> {
        let input = if self.fresh > 0 {
            self.fresh -= 1;
            self.corpus[self.fresh].clone()
        } else {
            // Half of the time from what is whole, else from what was bent before.
            let some = if self.random.one_in(2) {
                &self.corpus[..self.base]
            } else {
                &self.corpus[..]
            };
            mutate::mutated(&mut self.random, some)
        };
        self.executions += 1;
        match attempt(self.target, &input) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.taken += 1;
                self.keep(input);
                Ok(())
            }
            Err(reason) => Err(Box::new(Failure {
                target: self.target.name(),
                seed: self.seed,
                iteration: self.executions,
                reason,
                smallest: cut_down(self.target, &input),
                input,
            })),
        }
    }

    /// What was taken in leads further in when it is bent again.
    fn keep(&mut self, input: Vec<u8>) {
        if self.corpus.len() < self.base + MAX_KEPT {
            self.corpus.push(input);
        } else if self.random.one_in(8) {
            let at = self.base + self.random.index(MAX_KEPT);
            self.corpus[at] = input;
        }
    }
}

/// Removes and clears stretches of a failing input as long as it still fails.
fn cut_down(target: &dyn Target, input: &[u8]) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let mut tries = 0;
    let mut length = smallest.len().div_ceil(2);
    while length > 0 && tries < MAX_CUTS {
        let mut at = 0;
        while at < smallest.len() && tries < MAX_CUTS {
            let end = (at + length).min(smallest.len());
            let without = [&smallest[..at], &smallest[end..]].concat();
            let mut cleared = smallest.clone();
            cleared[at..end].fill(0);
            tries += 2;
            if attempt(target, &without).is_err() {
                smallest = without;
            } else if cleared != smallest && attempt(target, &cleared).is_err() {
                smallest = cleared;
                at = end;
            } else {
                at = end;
            }
        }
        length = if length == 1 { 0 } else { length.div_ceil(2) };
    }
    smallest
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails on every input that holds two marks.
    struct TwoMarks;

    impl Target for TwoMarks {
        fn name(&self) -> &'static str {
            "two-marks"
        }

        fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
            (0..4).map(|_| random.make::<[u8; 32]>().to_vec()).collect()
        }

        fn run(&self, input: &[u8]) -> bool {
            let marks = input.iter().filter(|byte| **byte == 0x80).count();
            assert!(marks < 2, "two marks");
            marks == 1
        }
    }

    #[test]
    fn a_planted_failure_is_found_reproduced_and_cut_down() {
        let find = || {
            let mut campaign = Campaign::new(&TwoMarks, 7);
            (0..100_000).find_map(|_| campaign.step().err()).unwrap()
        };
        let (once, again) = (find(), find());
        assert_eq!(
            (once.iteration, &once.input),
            (again.iteration, &again.input)
        );
        assert_eq!(once.smallest, [0x80, 0x80]);
        assert!(once.to_string().ends_with("two-marks 8080"));
    }

    #[test]
    fn every_name_in_the_list_of_failures_is_a_target() {
        let lines = REGRESSIONS.lines().filter(|line| !line.starts_with('#'));
        for line in lines.filter(|line| !line.is_empty()) {
            let name = line.split(' ').next().unwrap();
            let known = targets().iter().any(|target| target.name() == name);
            assert!(known, "{name}");
            assert!(!regressions(name).is_empty());
        }
    }
}
