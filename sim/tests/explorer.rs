//! Every state of a small committee with a liar, a few steps deep, and the bugs that this must
//! notice.

use lockstep_sim::explorer::{Limits, Report, explore};

/// What a few seconds allow.
fn quick(statements: bool) -> Report {
    explore(Limits {
        views: 3,
        rivals: 2,
        statements,
        states: 10_000,
    })
}

#[test]
fn nothing_is_violated() {
    for statements in [true, false] {
        let report = quick(statements);
        assert!(report.states >= 10_000, "{report:?}");
        assert!(report.first.is_none(), "{:?}", report.first);
    }
}

/// One view is small enough to be visited to its end: everybody votes for one of two blocks or for
/// none, gives up or does not, and learns of a certificate or not.
#[test]
fn one_view_is_visited_to_its_end() {
    let report = explore(Limits {
        views: 1,
        rivals: 2,
        statements: false,
        states: 1_000_000,
    });
    assert!(report.complete && report.violations == 0);
    assert!(report.states > 100, "{report:?}");
}

#[cfg(feature = "mutants")]
#[test]
fn planted_bugs_are_noticed() {
    use lockstep_types::planted::{Bug, plant};
    for (bug, views, states) in [
        (Bug::VoteAfterTimeout, 1, 1_000),
        (Bug::CommitWithoutConsecutiveViews, 3, 100_000),
        (Bug::ExtendBelowTimeoutCertificate, 4, 1_000_000),
    ] {
        plant(Some(bug));
        let report = explore(Limits {
            views,
            rivals: 1,
            statements: false,
            states,
        });
        plant(None);
        let (states, depth) = (report.states, report.depth);
        assert!(
            report.first.is_some(),
            "{bug:?} survives {states} states, {depth} deep"
        );
        println!(
            "{bug:?} after {states} states, {depth} deep: {:?}",
            report.first
        );
    }
}
