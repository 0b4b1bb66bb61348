//! Makes a failing seed smaller: less time, and as few faults as it still fails with.

use std::time::Duration;

use lockstep_sim::{Chains, Fault, FaultSet};

use super::{Arguments, Ran, run};

/// What a failure is known by: the invariant's name.
fn kind(ran: &Ran) -> Option<&'static str> {
    match ran {
        Ok(outcome) => outcome.failure.as_ref().map(|(_, broken)| broken.invariant),
        Err(_) => Some("panic"),
    }
}

/// The smallest arguments found with which `seed` fails in the same way.
pub(crate) fn shrink(chains: &mut Chains, given: &Arguments, seed: u64, first: &Ran) -> Arguments {
    let wanted = kind(first);
    let mut best = Arguments {
        trace: false,
        twice: false,
        ..given.clone()
    };
    let mut last = first.clone();
    let mut attempt = |best: &mut Arguments, last: &mut Ran, next: Arguments| {
        let ran = run(chains, &next, seed);
        let same = kind(&ran) == wanted;
        if same {
            (*best, *last) = (next, ran);
        }
        same
    };
    loop {
        let before = (best.seconds, best.without);
        // What happens up to a moment does not depend on how long the chaos would have gone on.
        let needed = simulated(&last).as_secs() + 1;
        if needed > 1 && needed < best.seconds {
            let seconds = needed;
            let next = Arguments {
                seconds,
                ..best.clone()
            };
            attempt(&mut best, &mut last, next);
        }
        for fault in remaining(&last, best.without) {
            let without = best.without.with([fault].into_iter().collect());
            let next = Arguments {
                without,
                ..best.clone()
            };
            attempt(&mut best, &mut last, next);
        }
        while best.seconds > 1 {
            let seconds = best.seconds / 2;
            let next = Arguments {
                seconds,
                ..best.clone()
            };
            if !attempt(&mut best, &mut last, next) {
                break;
            }
        }
        if (best.seconds, best.without) == before {
            return best;
        }
    }
}

/// Faults that are still on. After a panic nobody knows.
fn remaining(last: &Ran, without: FaultSet) -> Vec<Fault> {
    let on = match last {
        Ok(outcome) => outcome.faults.on(),
        Err(_) => FaultSet::all().without(without),
    };
    on.iter().collect()
}

/// How long a failing world ran, for the report.
pub(crate) fn simulated(ran: &Ran) -> Duration {
    ran.as_ref()
        .map_or(Duration::ZERO, |outcome| outcome.simulated)
}
