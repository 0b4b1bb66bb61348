//! A file in which a long run writes down what is done, a line for each seed, so that it can be
//! killed at any moment and goes on where it stopped.
//!
//! ```text
//! lockstep-sim seconds 600 without -
//! ok 17 641250
//! failed 18 12020 seed 18 FAILED at ...
//! ```
//!
//! The number after the seed is how much time passed in its world, in milliseconds.
//!
//! Breaks if: a line is written in more than one piece. A line without its end is one that a kill
//! cut off, and does not count.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

/// One seed that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) simulated: Duration,
    /// The line that reported its failure.
    pub(crate) failure: Option<String>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Progress {
    file: File,
    /// What was done before this start.
    pub(crate) before: BTreeMap<u64, Done>,
}

impl Progress {
    /// Opens the file, or makes it. `run` says what the seeds in it have in common.
    ///
    /// # Errors
    /// When the file cannot be used, or is of another run.
    pub(crate) fn open(path: &Path, run: &str) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(path).map_err(fail)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        let header = format!("lockstep-sim {run}");
        let before = match text.split_once('\n') {
            None => BTreeMap::new(),
            Some((first, rest)) if first == header => parse(rest),
            Some((first, _)) => {
                let path = path.display();
                return Err(format!(
                    "{path} is of \"{first}\", this run is \"{header}\""
                ));
            }
        };
        let mut progress = Progress { file, before };
        if !text.contains('\n') {
            progress.file.set_len(0).map_err(fail)?;
            progress.write(&header).map_err(fail)?;
        } else if !text.ends_with('\n') {
            progress.write("").map_err(fail)?;
        }
        Ok(progress)
    }

    /// Writes down that a seed is done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn done(&mut self, seed: u64, done: &Done) -> std::io::Result<()> {
        let millis = done.simulated.as_millis();
        match &done.failure {
            None => self.write(&format!("ok {seed} {millis}")),
            Some(line) => {
                let line = line.replace('\n', " ");
                self.write(&format!("failed {seed} {millis} {line}"))
            }
        }
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

/// Whole lines only; what is not one of ours was cut off.
fn parse(text: &str) -> BTreeMap<u64, Done> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(u64, Done)> {
    let mut words = line.splitn(4, ' ');
    let (kind, seed, millis) = (words.next()?, words.next()?, words.next()?);
    let simulated = Duration::from_millis(millis.parse().ok()?);
    let failure = match kind {
        "ok" => None,
        "failed" => Some(words.next()?.to_owned()),
        _ => return None,
    };
    Some((seed.parse().ok()?, Done { simulated, failure }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(failure: Option<&str>) -> Done {
        Done {
            simulated: Duration::from_millis(1_500),
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn a_killed_run_goes_on_where_it_stopped() {
        let name = format!("lockstep-sim-progress-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _gone = std::fs::remove_file(&path);
        let mut progress = Progress::open(&path, "seconds 600").unwrap();
        assert!(progress.before.is_empty());
        progress.done(3, &done(None)).unwrap();
        progress.done(4, &done(Some("two\nlines"))).unwrap();
        progress.file.write_all(b"ok 5 12").unwrap(); // killed in the middle of 1234
        let mut progress = Progress::open(&path, "seconds 600").unwrap();
        let expected = BTreeMap::from([(3, done(None)), (4, done(Some("two lines")))]);
        assert_eq!(progress.before, expected);
        progress.done(6, &done(None)).unwrap();
        let progress = Progress::open(&path, "seconds 600").unwrap();
        assert!(progress.before.contains_key(&6));
        assert!(Progress::open(&path, "seconds 20").is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
