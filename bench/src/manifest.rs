//! Everything needed to judge a sweep and to repeat it: what ran, on what, when, how it was asked
//! for. Read from the operating system at start and end; what cannot be read says so.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The manifest of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Version of the shape of `run.json`.
    pub schema: u32,
    /// Version of the harness.
    pub version: String,
    /// The commit it was built from, "with local changes" if so.
    pub commit: String,
    /// The compiler.
    pub compiler: String,
    /// SHA-256 of the running executable, as `sha256sum` prints it.
    pub binary: String,
    /// How it was called.
    pub command: String,
    /// SHA-256 of the sweep file.
    pub sweep: String,
    /// The host.
    pub host: Host,
    /// Load average over one minute when the sweep began.
    pub load_before: String,
    /// And when it ended.
    pub load_after: String,
    /// Start, UTC.
    pub started: String,
    /// End, UTC.
    pub ended: String,
    /// What was switched off for the measurement. Nothing ever is; it stands here to be seen.
    pub switched_off: String,
}

/// What the processes ran on.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Processor.
    pub cpu: String,
    /// Processors the operating system shows.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Operating system kernel.
    pub kernel: String,
    /// Frequency governor.
    pub governor: String,
    /// Clock source.
    pub clock: String,
    /// Virtual machine or not, as far as the processor says.
    pub virtual_machine: bool,
}

/// Version of `run.json`.
pub const SCHEMA: u32 = 1;

const NOT_SHOWN: &str = "not shown by the system";

impl Manifest {
    /// Taken when a sweep starts.
    pub fn start(sweep_text: &str) -> Self {
        let now = iso(now_micros());
        Manifest {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: or_unknown(option_env!("LOCKSTEP_COMMIT")),
            compiler: or_unknown(option_env!("LOCKSTEP_COMPILER")),
            binary: binary_hash(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            sweep: hex::encode(Sha256::digest(sweep_text)),
            host: Host::read(),
            load_before: load(),
            load_after: String::new(),
            started: now.clone(),
            ended: now,
            switched_off: "nothing: limits, synced writes and every signature check are on".into(),
        }
    }

    /// Completed when it ends.
    pub fn end(&mut self) {
        self.ended = iso(now_micros());
        self.load_after = load();
    }
}

fn or_unknown(stamp: Option<&str>) -> String {
    stamp
        .filter(|text| !text.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

fn binary_hash() -> String {
    let hash = std::env::current_exe()
        .and_then(fs::read)
        .map(Sha256::digest);
    hash.map_or_else(|_| "unreadable".to_owned(), hex::encode)
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .filter(|t| !t.is_empty())
        .unwrap_or(NOT_SHOWN)
        .to_owned()
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| NOT_SHOWN.to_owned(), |text| text.trim().to_owned())
}

impl Host {
    /// Reads /proc and /sys.
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = memory
            .lines()
            .next()
            .and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        Host {
            cpu: field("model name").unwrap_or_else(|| NOT_SHOWN.to_owned()),
            cores: cores(),
            memory_mib: kib.unwrap_or(0u64) / 1024,
            kernel: line("/proc/sys/kernel/osrelease"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            clock: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            virtual_machine: field("flags").is_some_and(|f| f.contains(" hypervisor ")),
        }
    }
}

/// Processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Microseconds since the Unix epoch.
pub fn now_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A time as `2026-05-04T03:02:01Z`.
pub fn iso(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (year, month, day) = civil(i64::try_from(seconds / 86_400).unwrap_or(0));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970 as a Gregorian date. Years are counted from March, so that a leap day is the
/// last of its year; 400 such years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // from 0000-03-01
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_772_323_199_999_999), "2026-02-28T23:59:59Z");
        assert_eq!(iso(1_772_323_200_000_000), "2026-03-01T00:00:00Z");
    }

    #[test]
    fn a_manifest_names_its_host() {
        let manifest = Manifest::start("name = \"x\"");
        assert!(manifest.host.cores > 0);
        assert_eq!(manifest.binary.len(), 64);
        assert_eq!(manifest.sweep.len(), 64);
    }
}
