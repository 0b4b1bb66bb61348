//! The validator's clock: microseconds since 1970, never going back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_types::Time;

/// Reads the system's clock; a step back is shown as standing still.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    newest: AtomicU64,
}

impl Clock {
    pub(crate) fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
        let newest = self.newest.fetch_max(micros, Ordering::Relaxed).max(micros);
        Time::from_micros(newest)
    }
}
