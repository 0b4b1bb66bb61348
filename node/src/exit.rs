//! Why a validator stops, and the exit code that tells a supervisor.
//!
//! A stop is never an accident of one thread: whoever finds the reason reports it to the
//! [`StopSwitch`], everybody else sees it and ends, and the process leaves with the code.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lockstep_types::SelfTestFailure;
use tokio::sync::watch;

/// Exit codes of the `lockstep` binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or stopped on request.
    Done = 0,
    /// The network said no.
    Rejected = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// No node could be reached.
    NoNode = 3,
    /// Wrong password, or a file that others can read.
    Denied = 4,
    /// The deadline passed; the outcome is not known.
    Unknown = 5,
    /// A proof does not hold.
    Unverified = 6,
    /// The disk failed, or holds what we did not write.
    Storage = 20,
    /// A protocol or accounting invariant does not hold here.
    Broken = 21,
    /// Our key signs somewhere else, or the safety record is older than our statements or lost.
    SecondCopy = 22,
    /// Hashes or signatures come out wrong on this machine.
    Machine = 23,
    /// The disk has no room left.
    Full = 24,
    /// A bug: some thread panicked.
    Bug = 70,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

/// Why a validator stopped or cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Somebody asked for it.
    #[error("stopped on request")]
    Requested,
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// Another process holds the data directory.
    #[error("{path} is in use by process {holder}; stop it first, or give this one another --home")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// A read, write or sync failed. Nothing is retried: after a failed sync nobody knows what is
    /// on disk.
    #[error("storage failed: {0}")]
    Storage(String),
    /// There is no room on the disk. As with every failed write, nothing is retried.
    #[error(
        "the disk is full: {0}\n  help: make room on it and start again; nothing that was \
         acknowledged is lost"
    )]
    Full(String),
    /// An invariant does not hold.
    #[error("broken invariant: {0}")]
    Broken(String),
    /// Signs of a second copy of this validator or of a restored backup.
    #[error("this validator's key has signed more than its safety record knows: {0}")]
    SecondCopy(String),
    /// The processor, the memory or the build does not compute what is published.
    #[error("{0}; do not run a validator here")]
    Machine(#[from] SelfTestFailure),
    /// The safety record is lost or damaged.
    #[error(
        "nobody knows what this validator's key has signed: {0}\n  help: if this is \
         its only copy, start it with --recover: it then signs nothing before the others are \
         past whatever it may have signed"
    )]
    Forgotten(String),
    /// An earlier run stopped for [`Stop::SecondCopy`], and nobody has said since that all is well.
    #[error(
        "an earlier run stopped: {why}\n  help: find the second copy of this home, or the older \
         backup it was restored from, and make sure that one process signs with this key; then \
         delete {file} and start again"
    )]
    Held {
        /// Where the earlier run left its reason.
        file: PathBuf,
        /// The reason.
        why: String,
    },
    /// A thread ended that should not.
    #[error("bug: {0}")]
    Bug(String),
}

/// How the system names a full disk, also inside what the database says.
const NO_SPACE: &str = "No space left on device";

impl Stop {
    /// A read, write or sync failed: because the disk is full, or otherwise.
    pub fn storage(cause: impl ToString) -> Self {
        let cause = cause.to_string();
        if cause.contains(NO_SPACE) {
            Stop::Full(cause)
        } else {
            Stop::Storage(cause)
        }
    }

    /// The code to leave with.
    pub fn code(&self) -> ExitCode {
        match self {
            Stop::Requested => ExitCode::Done,
            Stop::Config(_) | Stop::Locked { .. } => ExitCode::Usage,
            Stop::Storage(_) => ExitCode::Storage,
            Stop::Broken(_) => ExitCode::Broken,
            Stop::Machine(_) => ExitCode::Machine,
            Stop::SecondCopy(_) | Stop::Forgotten(_) | Stop::Held { .. } => ExitCode::SecondCopy,
            Stop::Full(_) => ExitCode::Full,
            Stop::Bug(_) => ExitCode::Bug,
        }
    }
}

/// One switch per validator. The first reason counts.
#[derive(Clone, Debug)]
pub struct StopSwitch {
    state: Arc<watch::Sender<Option<Stop>>>,
    /// Called once, with the first reason: wakes threads that wait on something else.
    hooks: Arc<Mutex<Vec<Hook>>>,
}

struct Hook(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Default for StopSwitch {
    fn default() -> Self {
        StopSwitch {
            state: Arc::new(watch::Sender::new(None)),
            hooks: Arc::default(),
        }
    }
}

impl StopSwitch {
    /// Stops the validator, unless it is stopping already.
    pub fn stop(&self, reason: Stop) {
        let first = self.state.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(reason.clone());
            }
            first
        });
        if first {
            if reason != Stop::Requested {
                tracing::error!(%reason, "stopping");
            }
            let hooks = std::mem::take(&mut *self.hooks());
            for hook in hooks {
                (hook.0)();
            }
        }
    }

    /// Runs `hook` when the switch is thrown; at once if it has been.
    pub fn on_stop(&self, hook: impl FnOnce() + Send + 'static) {
        let mut hooks = self.hooks();
        if self.is_stopped() {
            drop(hooks);
            hook();
        } else {
            hooks.push(Hook(Box::new(hook)));
        }
    }

    fn hooks(&self) -> std::sync::MutexGuard<'_, Vec<Hook>> {
        self.hooks.lock().expect("no holder of this lock panics")
    }

    /// Has it been thrown?
    pub fn is_stopped(&self) -> bool {
        self.state.borrow().is_some()
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<Stop> {
        self.state.borrow().clone()
    }

    /// Waits for the reason.
    pub async fn stopped(&self) -> Stop {
        let mut receiver = self.state.subscribe();
        let reason = receiver
            .wait_for(Option::is_some)
            .await
            .expect("we hold the sender");
        reason.clone().expect("waited for it")
    }

    /// Starts a named thread that throws the switch when it panics.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub fn spawn(
        &self,
        name: String,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<std::thread::JoinHandle<()>, Stop> {
        let switch = self.clone();
        let thread = name.clone();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                if let Err(panic) = result {
                    let text = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                        .unwrap_or_default();
                    switch.stop(Stop::Bug(format!("thread {thread} panicked: {text}")));
                }
            })
            .map_err(|error| Stop::Bug(format!("cannot start a thread: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_a_code_of_its_own() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Stop::storage(full).code(), ExitCode::Full);
        let broken = std::io::Error::from_raw_os_error(5);
        assert_eq!(Stop::storage(broken).code(), ExitCode::Storage);
    }

    #[test]
    fn the_first_reason_counts_and_a_panic_is_one() {
        let switch = StopSwitch::default();
        let (sender, receiver) = std::sync::mpsc::channel();
        switch.on_stop(move || sender.send(()).unwrap());
        let thread = switch
            .spawn("test".to_owned(), || panic!("on purpose"))
            .unwrap();
        thread.join().unwrap();
        switch.stop(Stop::Requested);
        receiver.recv().unwrap();
        let reason = switch.reason().unwrap();
        assert_eq!(reason.code(), ExitCode::Bug);
        assert!(reason.to_string().contains("on purpose"));
    }
}
