//! How far a sweep is. On a terminal one line that is drawn anew, on a pipe one line for each run;
//! always on stderr, since stdout is for the result.

use std::io::{IsTerminal, Write as _, stderr};
use std::time::{Duration, Instant};

use crate::experiment::Progress;

/// Cells of the bar.
const WIDTH: usize = 28;
/// The line is drawn at most this often.
const EVERY: Duration = Duration::from_millis(200);

/// Draws progress.
pub struct Meter {
    terminal: bool,
    total: Duration,
    done: Duration,
    started: Instant,
    drawn: Option<Instant>,
}

impl Meter {
    /// For work that is planned to take `total`.
    pub fn new(total: Duration) -> Self {
        let terminal = stderr().is_terminal();
        Meter {
            terminal,
            total,
            done: Duration::ZERO,
            started: Instant::now(),
            drawn: None,
        }
    }

    /// Shows what the current run does. `planned` is its planned length.
    pub fn show(&mut self, title: &str, planned: Duration, progress: &Progress) {
        let soon = self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY);
        if !self.terminal || soon {
            return;
        }
        self.drawn = Some(Instant::now());
        let (windows, needed) = progress.windows;
        let part = (windows as f64 / needed.max(1) as f64).min(1.0);
        let share = self.share(planned.mul_f64(part));
        let eta = clock(self.remaining(share));
        let doing = progress.doing;
        let committed = progress.committed;
        let bar = bar(share);
        let line = format!("  {bar} {title}, {doing}, {committed} committed   ETA {eta}");
        let _ = write!(stderr(), "\r\x1b[2K{line}");
        let _ = stderr().flush();
    }

    /// A run has ended; `line` says how.
    pub fn finished(&mut self, planned: Duration, line: &str) {
        self.done += planned;
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        let _ = writeln!(stderr(), "{clear}{line}");
    }

    fn share(&self, of_current: Duration) -> f64 {
        let total = self.total.as_secs_f64().max(1e-9);
        ((self.done + of_current).as_secs_f64() / total).min(1.0)
    }

    /// By the plan at first, by what it took so far as soon as that says more.
    fn remaining(&self, share: f64) -> Duration {
        let planned = self.total.mul_f64(1.0 - share);
        if share < 0.1 {
            return planned;
        }
        self.started.elapsed().mul_f64((1.0 - share) / share)
    }
}

fn bar(share: f64) -> String {
    let full = (share * WIDTH as f64).round() as usize;
    format!("▕{}{}▏", "█".repeat(full), "░".repeat(WIDTH - full))
}

/// Minutes and seconds.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A length of time in words.
pub fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, s) if m < 60 => format!("{m} min {s} s"),
        (m, _) => format!("{} h {} min", m / 60, m % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_never_overflows() {
        for share in [0.0, 0.5, 1.0] {
            assert_eq!(bar(share).chars().count(), WIDTH + 2);
        }
        let mut meter = Meter::new(Duration::from_secs(10));
        meter.done = Duration::from_secs(40);
        assert_eq!(meter.share(Duration::from_secs(5)), 1.0);
    }

    #[test]
    fn times_read_well() {
        assert_eq!(clock(Duration::from_secs(51)), "00:51");
        assert_eq!(clock(Duration::from_secs(3_725)), "1:02:05");
        assert_eq!(words(Duration::from_secs(160)), "2 min 40 s");
        assert_eq!(words(Duration::from_secs(9)), "9 s");
        assert_eq!(words(Duration::from_secs(7_300)), "2 h 1 min");
    }
}
