//! Room on the disk. Below a watermark the validator neither votes nor takes transactions, long
//! before a write could fail; once there is room again it goes on by itself.
//!
//! Breaks if: more is written between two looks than the watermark leaves (other programs can do
//! that; then a write fails, and the validator stops with an exit code of its own).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::exit::{Stop, StopSwitch};

/// Between two looks at the disk. What this node can write meanwhile is a fraction of the default
/// watermark.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

const MIB: u64 = 1 << 20;

/// What is known about the room.
#[derive(Debug)]
pub(crate) struct Space {
    path: PathBuf,
    /// Bytes below which nothing is begun. 0: never looked at.
    watermark: u64,
    free: AtomicU64,
    low: AtomicBool,
}

impl Space {
    /// Looks at the file system of `path` for the first time.
    ///
    /// # Errors
    /// When there is less room than `min_free_mib`: even opening a database writes.
    pub(crate) fn open(path: &Path, min_free_mib: u64) -> Result<Arc<Self>, Stop> {
        let space = Space {
            path: path.to_owned(),
            watermark: min_free_mib.saturating_mul(MIB),
            free: AtomicU64::new(u64::MAX),
            low: AtomicBool::new(false),
        };
        let free = space.measure()?;
        if free < space.watermark {
            return Err(Stop::Full(format!(
                "{} has {} MiB free where storage.min_free_mib asks for {min_free_mib}",
                path.display(),
                free / MIB
            )));
        }
        Ok(Arc::new(space))
    }

    fn measure(&self) -> Result<u64, Stop> {
        let found = free_bytes(&self.path);
        let free =
            found.map_err(|error| Stop::storage(format!("{}: {error}", self.path.display())))?;
        self.free.store(free, Ordering::Relaxed);
        Ok(free)
    }

    /// Is there too little to go on?
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Bytes free at the last look.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// What to tell who asks why nothing moves.
    pub(crate) fn problem(&self) -> Option<String> {
        self.is_low().then(|| {
            format!(
                "disk full: {} MiB free, {} wanted; neither votes nor takes transactions",
                self.free() / MIB,
                self.enough().div_ceil(MIB)
            )
        })
    }

    /// With so much it goes on: an eighth more than what stopped it, lest it stop and go.
    fn enough(&self) -> u64 {
        self.watermark.saturating_add(self.watermark / 8)
    }

    fn note(&self, free: u64) {
        let low = self.is_low();
        if !low && free < self.watermark {
            self.low.store(true, Ordering::Relaxed);
            tracing::error!(
                path = %self.path.display(),
                free_mib = free / MIB,
                watermark_mib = self.watermark / MIB,
                "the disk is nearly full: neither votes nor takes transactions until there is room"
            );
        } else if low && free >= self.enough() {
            self.low.store(false, Ordering::Relaxed);
            tracing::info!(path = %self.path.display(), free_mib = free / MIB, "there is room again");
        }
    }

    /// Starts to look, until the switch is thrown.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub(crate) fn watch(self: &Arc<Self>, name: &str, switch: &StopSwitch) -> Result<(), Stop> {
        if self.watermark == 0 {
            return Ok(());
        }
        let (space, stopped) = (Arc::clone(self), switch.clone());
        switch.spawn(format!("space-{name}"), move || {
            while !stopped.is_stopped() {
                match space.measure() {
                    Ok(free) => space.note(free),
                    Err(reason) => stopped.stop(reason),
                }
                std::thread::sleep(LOOK_EVERY);
            }
        })?;
        Ok(())
    }
}

/// Bytes that an ordinary process may still write to the file system of `path`.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn it_stops_below_the_watermark_and_goes_on_a_little_above() {
        let space = Space {
            path: PathBuf::from("/"),
            watermark: 800,
            free: AtomicU64::new(0),
            low: AtomicBool::new(false),
        };
        let low = |free| {
            space.note(free);
            space.is_low()
        };
        assert_eq!(
            [900, 800, 799, 800, 899].map(low),
            [false, false, true, true, true]
        );
        assert!(space.problem().unwrap().contains("disk full"));
        assert!(!low(900));
        assert_eq!(space.problem(), None);
    }

    #[test]
    fn a_full_disk_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Space::open(directory.path(), 0).unwrap().free() > 0);
        let stop = Space::open(directory.path(), u64::MAX).unwrap_err();
        assert_eq!(stop.code(), ExitCode::Full);
        assert!(stop.to_string().contains("min_free_mib"), "{stop}");
    }
}
