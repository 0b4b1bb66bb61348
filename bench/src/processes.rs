//! Processor time, as the operating system accounts for it.

use std::fs;

/// Clock ticks of /proc per second. Linux shows 100 to user space on every common platform.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system seconds a process has used, all its threads together; `None` when it is gone.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// Seconds used by the threads of a process whose names start with `prefix`; `None` when it is gone.
pub fn thread_seconds(pid: u32, prefix: &str) -> Option<f64> {
    let mut total = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between two looks.
        let Ok(task) = task.map(|task| task.path()) else {
            continue;
        };
        let Ok(name) = fs::read_to_string(task.join("comm")) else {
            continue;
        };
        if name.starts_with(prefix) {
            let stat = fs::read_to_string(task.join("stat"));
            total += stat.ok().and_then(|stat| parse_stat(&stat)).unwrap_or(0.0);
        }
    }
    Some(total)
}

/// The process name, field 2, may contain anything but ends with the last parenthesis. User and
/// system time are fields 14 and 15.
fn parse_stat(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// What the processors of the host have done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostTime {
    busy: f64,
    total: f64,
}

impl HostTime {
    /// Reads /proc/stat; zeros when there is none.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self::parse(stat.lines().next().unwrap_or_default())
    }

    /// `cpu user nice system idle iowait irq softirq steal ...`; time stolen by the hypervisor
    /// counts as busy, since it was not to be had.
    fn parse(line: &str) -> Self {
        let fields: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|f| f.parse().ok())
            .collect();
        let total: f64 = fields.iter().sum();
        let idle: f64 = fields.iter().skip(3).take(2).sum();
        HostTime {
            busy: total - idle,
            total,
        }
    }

    /// Busy share of all processors since `earlier`.
    pub fn share_since(&self, earlier: &HostTime) -> f64 {
        let total = self.total - earlier.total;
        if total > 0.0 {
            (self.busy - earlier.busy) / total
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 1 1 1";
        assert_eq!(parse_stat(stat), Some(2.0));
        assert!(cpu_seconds(std::process::id()).is_some());
        assert_eq!(cpu_seconds(u32::MAX), None);
    }

    #[test]
    fn threads_are_told_apart_by_name() {
        let this = std::process::id();
        let busy = std::thread::Builder::new().name("busy-1".to_owned());
        // It works until its work is seen, which takes a tick or two.
        let seen = busy
            .spawn(move || (0..1_000_000).any(|_| thread_seconds(this, "busy-") > Some(0.0)))
            .unwrap();
        assert!(seen.join().unwrap());
        assert_eq!(thread_seconds(this, "no thread has this name"), Some(0.0));
        assert_eq!(thread_seconds(u32::MAX, ""), None);
    }

    #[test]
    fn waiting_is_not_work_and_stolen_time_is() {
        let before = HostTime::parse("cpu  100 0 100 700 100 0 0 0 0 0");
        let after = HostTime::parse("cpu  150 0 110 740 100 0 0 0 50 0");
        assert!((after.share_since(&before) - 60.0 / 100.0).abs() < 1e-9);
        let stolen = HostTime::parse("cpu  100 0 100 750 100 0 0 50 0 0");
        assert!((stolen.share_since(&before) - 0.5).abs() < 1e-9);
        assert_eq!(before.share_since(&before), 0.0);
    }
}
