//! One validator as a process: signals in, exit code out.

use std::io::Read;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Stop;
use crate::home::Home;
use crate::host::Host;
use crate::telemetry;
use crate::validator::Validator;

/// Runs the validator of a home until a signal or a failure stops it; with `recover` also one that
/// has lost its safety record.
///
/// # Errors
/// Why it stopped, unless it was asked to.
pub fn run(home: &Home, recover: bool) -> Result<(), Stop> {
    run_until(home, recover, std::future::pending())
}

/// As [`run`], and stops when standard input ends, as it does when the process that started us is
/// gone.
pub(crate) fn run_until_stdin_ends(home: &Home, recover: bool) -> Result<(), Stop> {
    let (gone, parent_gone) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while std::io::stdin()
            .read(&mut ignored)
            .is_ok_and(|read| read > 0)
        {}
        // The validator may have ended first.
        let _ = gone.send(());
    });
    run_until(home, recover, async {
        // An error cannot happen before the thread has sent or ended, and means the same.
        let _ = parent_gone.await;
    })
}

fn run_until(home: &Home, recover: bool, until: impl Future<Output = ()>) -> Result<(), Stop> {
    let config = home
        .config()
        .map_err(|error| Stop::Config(error.to_string()))?;
    telemetry::start(&config.log, None).map_err(Stop::Config)?;
    let host = Host::start(config.threads.verifiers)?;
    let genesis = Arc::new(home.genesis()?);
    let validator = Validator::start(home, &genesis, &host, recover)?;
    let switch = validator.switch().clone();
    let reason = host.network.block_on(async {
        let signals = "the process has no signal handlers of its own";
        let mut interrupt = signal(SignalKind::interrupt()).expect(signals);
        let mut terminate = signal(SignalKind::terminate()).expect(signals);
        tokio::select! {
            reason = switch.stopped() => reason,
            _ = interrupt.recv() => Stop::Requested,
            _ = terminate.recv() => Stop::Requested,
            () = until => Stop::Requested,
        }
    });
    let height = validator.height();
    validator.stop();
    tracing::info!(height, "stopped");
    match reason {
        Stop::Requested => Ok(()),
        reason => Err(reason),
    }
}
