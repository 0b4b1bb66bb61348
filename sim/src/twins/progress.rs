//! How far a run of many schedules has come, as one line of text that a later run goes on from.

use core::fmt;
use core::str::FromStr;

/// Totals over all parts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rounds of enumerated schedules; another depth gives numbers another meaning.
    pub rounds: u32,
    /// The next number to run; all below were run.
    pub next: u64,
    /// Schedules run.
    pub schedules: u64,
    /// Schedules in which something did not hold.
    pub violations: u64,
    /// Thread time spent, in milliseconds.
    pub spent_ms: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rounds {} next {} schedules {} violations {} spent-ms {}",
            self.rounds, self.next, self.schedules, self.violations, self.spent_ms
        )
    }
}

/// The text is not a line of [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the progress of a run: expected `rounds R next N schedules S violations V spent-ms T`"
)]
pub struct MalformedProgress;

impl FromStr for Progress {
    type Err = MalformedProgress;

    fn from_str(text: &str) -> Result<Self, MalformedProgress> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let names = ["rounds", "next", "schedules", "violations", "spent-ms"];
        let named = words.chunks(2).map(|pair| pair[0]).eq(names);
        if !named || words.len() != 2 * names.len() {
            return Err(MalformedProgress);
        }
        let number = |place: usize| {
            let parsed: Result<u64, _> = words[2 * place + 1].parse();
            parsed.map_err(|_| MalformedProgress)
        };
        Ok(Progress {
            rounds: u32::try_from(number(0)?).map_err(|_| MalformedProgress)?,
            next: number(1)?,
            schedules: number(2)?,
            violations: number(3)?,
            spent_ms: number(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let progress = Progress {
            rounds: 4,
            next: 100,
            schedules: 90,
            violations: 1,
            spent_ms: 12_345,
        };
        assert_eq!(progress.to_string().parse(), Ok(progress));
        assert_eq!("rounds 4 next".parse::<Progress>(), Err(MalformedProgress));
        assert!("".parse::<Progress>().is_err());
    }
}
