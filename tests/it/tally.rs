//! What a run did to the network and how fast it came back: one line per kind of fault, with the
//! bound that the kind has.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A kind of fault, and how long its effect may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) bound: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    count: u32,
    slowest: Duration,
}

/// Counts and slowest returns, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    lines: BTreeMap<Kind, Line>,
    /// Processes killed.
    pub(crate) kills: u64,
}

impl Tally {
    /// One more of a kind, whose effect lasted `took`.
    pub(crate) fn note(&mut self, kind: Kind, took: Duration) {
        let line = self.lines.entry(kind).or_default();
        line.count += 1;
        line.slowest = line.slowest.max(took);
        if took > kind.bound {
            println!("  {}: {took:.1?}, bound {:.1?}", kind.name, kind.bound);
        }
    }

    /// Adds what another run did.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.kills += other.kills;
        for (kind, theirs) in &other.lines {
            let ours = self.lines.entry(*kind).or_default();
            ours.count += theirs.count;
            ours.slowest = ours.slowest.max(theirs.slowest);
        }
    }

    /// The kinds whose bound was not kept.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let broken = self.lines.iter().filter(|(k, l)| l.slowest > k.bound);
        broken.map(|(kind, _)| kind.name).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<44} {:>6} {:>9} {:>7}",
            "fault", "count", "slowest", "bound"
        )?;
        for (kind, line) in &self.lines {
            let (slowest, bound) = (line.slowest.as_secs_f32(), kind.bound.as_secs_f32());
            writeln!(
                f,
                "{:<44} {:>6} {slowest:>7.1} s {bound:>5.1} s",
                kind.name, line.count
            )?;
        }
        Ok(())
    }
}
