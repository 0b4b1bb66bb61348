//! When to give up on a view. Views are entered by certificate only, never by the clock; the clock
//! decides when this replica says that it gives up, and when it says things again.
//!
//! The timer runs only while there is work, so an idle network is silent. It grows once per failed
//! view up to a cap and is back at its base with the next quorum certificate. A cap without
//! resending would leave replicas in different views for ever, so both are here. A leader that
//! failed when it was last asked is on trial: unless views are slow, it is given a part of the base.
//! While blocks are certified and none is committed, views are given ever more time, in proportion to
//! how long that has lasted.
//!
//! Breaks if: the timer moves the view, grows more than once for one view, or is short for more
//! members than a committee may lose.

use core::time::Duration;

use lockstep_types::{Hasher, Time, View};

use crate::PATH_DOUBLING;

/// The durations of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerConfig {
    /// Shortest time a view is given.
    pub base: Duration,
    /// Longest time a view is given, however many views have failed.
    pub cap: Duration,
    /// How often a replica with work repeats what it has said in its view.
    pub resend: Duration,
    /// How long a peer may take to answer a request for blocks.
    pub fetch: Duration,
}

impl TimerConfig {
    /// For validators of one region: views take some ten milliseconds there.
    pub const DEFAULT: TimerConfig = TimerConfig {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(4),
        resend: Duration::from_millis(500),
        fetch: Duration::from_millis(250),
    };
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A view is given this many times the latency lately seen, if that is more than the base.
const PATIENCE_FACTOR: u32 = 4;

/// A leader on trial is given the base divided by this, if that is more than the latency asks for.
/// A member that is gone for good is asked once in 4,096 views of four, which takes 12 s where
/// views take 3 ms; waiting the whole base of 500 ms for it then would be one transfer in 24.
const TRIAL_DIVISOR: u32 = 10;

/// Doubling stops here at the latest; the cap is reached long before.
const MAX_DOUBLINGS: u32 = 16;

/// What the clock asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The view has had its time.
    pub(crate) expired: bool,
    /// Say again what was said.
    pub(crate) resend: bool,
}

#[derive(Clone)]
pub(crate) struct Pacemaker {
    config: TimerConfig,
    view: View,
    /// The view's leader failed when it was last asked.
    on_trial: bool,
    /// Views failed since the last quorum certificate.
    failures: u32,
    /// How often the undecided path has grown by [`PATH_DOUBLING`].
    doublings: u32,
    /// How long views take from the start of their timer to their certificate, smoothed.
    latency: Duration,
    started: Option<Time>,
    deadline: Option<Time>,
    expired: bool,
    resend_at: Option<Time>,
}

impl Pacemaker {
    pub(crate) fn new(config: TimerConfig, view: View) -> Self {
        Pacemaker {
            config,
            view,
            on_trial: false,
            failures: 0,
            doublings: 0,
            latency: Duration::ZERO,
            started: None,
            deadline: None,
            expired: false,
            resend_at: None,
        }
    }

    pub(crate) fn config(&self) -> &TimerConfig {
        &self.config
    }

    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// A quorum certificate raised the high QC: the committee makes progress.
    pub(crate) fn on_progress(&mut self, now: Time, certified: View) {
        self.failures = 0;
        if certified == self.view
            && let Some(started) = self.started
        {
            self.latency = (self.latency * 7 + now.since(started)) / 8;
        }
    }

    /// Enters a view. `failed` says that the view before ended in a timeout certificate.
    pub(crate) fn enter(&mut self, view: View, failed: bool) {
        assert!(view > self.view, "views only rise");
        self.view = view;
        self.on_trial = false;
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.started = None;
        self.deadline = None;
        self.expired = false;
        self.resend_at = None;
    }

    /// The current view's leader failed when it was last asked, or not, as far as is known by now.
    pub(crate) fn put_on_trial(&mut self, on_trial: bool) {
        self.on_trial = on_trial;
    }

    /// So many blocks up to the highest certified one are undecided. Each took a failed view beside
    /// its own, so the time given grows as a part, about a hundredth, of the time that took: what is
    /// lost with one more failed view is small beside it, and the path stays short however long it
    /// goes on.
    pub(crate) fn on_path(&mut self, undecided: u64) {
        self.doublings = u32::try_from(undecided / PATH_DOUBLING).unwrap_or(u32::MAX);
    }

    /// The current view is given its whole time once more.
    pub(crate) fn start_over(&mut self) {
        self.started = None;
        self.deadline = None;
        self.expired = false;
    }

    /// How long the current view is given.
    pub(crate) fn patience(&self) -> Duration {
        let base = match self.on_trial {
            true => self.config.base / TRIAL_DIVISOR,
            false => self.config.base,
        };
        let base = base.max(self.latency * PATIENCE_FACTOR);
        let grown = base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS));
        let grown = grown.min(self.config.cap);
        grown.saturating_mul(1 << self.doublings.min(MAX_DOUBLINGS))
    }

    /// Starts the timers while there is work and stops them when there is none.
    pub(crate) fn arm(&mut self, now: Time, work: bool) {
        if !work {
            self.started = None;
            self.deadline = None;
            self.resend_at = None;
            return;
        }
        self.started.get_or_insert(now);
        // Never further away than a full wait from now: a clock set back must not stop the view.
        let latest = now.after(self.patience());
        if !self.expired {
            self.deadline = Some(self.deadline.map_or(latest, |set| set.min(latest)));
        }
        let latest = now.after(self.config.resend);
        self.resend_at = Some(self.resend_at.map_or(latest, |set| set.min(latest)));
    }

    /// What is due at `now`. Each expiry is reported once per view, each resend once per interval.
    pub(crate) fn due(&mut self, now: Time) -> Due {
        let expired = self.deadline.is_some_and(|deadline| now >= deadline);
        if expired {
            self.deadline = None;
            self.expired = true;
        }
        // Giving up is said to everybody anyway, so the next repeat is one interval later.
        let resend = !expired && self.resend_at.is_some_and(|at| now >= at);
        if expired || resend {
            self.resend_at = Some(now.after(self.config.resend));
        }
        Due { expired, resend }
    }

    /// See `fingerprint.rs`.
    pub(crate) fn fingerprint(&self, hasher: Hasher) -> Hasher {
        let Pacemaker {
            config: _,
            view,
            on_trial: _,
            failures: _,
            doublings: _,
            latency: _,
            started: _,
            deadline: _,
            expired,
            resend_at: _,
        } = self;
        hasher.value(&(view, expired))
    }

    /// The next moment at which something is due.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.deadline.into_iter().chain(self.resend_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn pacemaker() -> Pacemaker {
        Pacemaker::new(TimerConfig::DEFAULT, View::new(1))
    }

    #[test]
    fn grows_once_per_failed_view_to_the_cap_and_resets() {
        let mut p = pacemaker();
        let mut given = Vec::new();
        for view in 2..8 {
            p.enter(View::new(view), true);
            given.push(p.patience().as_millis());
        }
        assert_eq!(given, [1000, 2000, 4000, 4000, 4000, 4000]);
        p.on_progress(at(0), View::new(5));
        assert_eq!(p.patience().as_millis(), 500);
        for view in 8..200 {
            p.enter(View::new(view), true);
        }
        assert_eq!(p.patience(), TimerConfig::DEFAULT.cap, "no overflow");
    }

    #[test]
    fn is_silent_without_work_and_counts_from_when_work_came() {
        let mut p = pacemaker();
        p.arm(at(0), false);
        assert_eq!(p.wake_at(), None);
        p.arm(at(10_000), true);
        assert_eq!(p.wake_at(), Some(at(10_500)));
        assert!(!p.due(at(10_499)).expired);
        assert!(p.due(at(10_500)).expired);
        p.arm(at(10_500), true);
        assert!(!p.due(at(20_000)).expired, "once per view");
    }

    #[test]
    fn repeats_every_interval() {
        let mut p = pacemaker();
        p.arm(at(0), true);
        let due: Vec<_> = (0..=20)
            .filter(|tick| p.due(at(tick * 100)).resend)
            .collect();
        assert_eq!(due, [10, 15, 20], "at 500 ms the view expires");
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_view() {
        let mut p = pacemaker();
        p.arm(at(1_000_000), true);
        p.arm(at(1_000), true);
        assert_eq!(p.wake_at(), Some(at(1_500)));
    }

    #[test]
    fn a_leader_on_trial_is_given_a_tenth_unless_views_are_slow() {
        let mut p = pacemaker();
        p.arm(at(0), true);
        p.put_on_trial(true);
        p.arm(at(10), true);
        assert_eq!(
            p.wake_at(),
            Some(at(60)),
            "also when it becomes known later"
        );
        p.enter(View::new(2), false);
        assert_eq!(p.patience(), TimerConfig::DEFAULT.base, "the next leader");
        p.latency = Duration::from_millis(100);
        p.put_on_trial(true);
        assert_eq!(p.patience().as_millis(), 400);
    }

    #[test]
    fn views_take_longer_while_nothing_is_committed_however_soon_a_block_is_certified() {
        let mut p = pacemaker();
        let given = [0, PATH_DOUBLING - 1, PATH_DOUBLING, 3 * PATH_DOUBLING].map(|undecided| {
            p.on_progress(at(0), View::new(1));
            p.on_path(undecided);
            p.patience().as_millis()
        });
        assert_eq!(given, [500, 500, 1_000, 4_000]);
        p.on_path(u64::MAX);
        assert!(p.patience() > Duration::from_secs(8 * 3600), "no overflow");
        p.on_path(1);
        assert_eq!(
            p.patience(),
            TimerConfig::DEFAULT.base,
            "with the next commit"
        );
    }

    #[test]
    fn adapts_to_slow_views() {
        let mut p = pacemaker();
        for view in 1..100 {
            let start = at(view * 10_000);
            p.arm(start, true);
            p.on_progress(start.after(Duration::from_millis(400)), View::new(view));
            p.enter(View::new(view + 1), false);
        }
        let patience = p.patience();
        assert!(patience > Duration::from_millis(1_500) && patience < Duration::from_millis(1_700));
    }
}
