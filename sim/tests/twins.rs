//! Schedules of committees with twins, as `make twins` runs them, and the bugs they must notice.

#![allow(clippy::unwrap_used)]

use lockstep_sim::committee::BareCommittee;
use lockstep_sim::twins::{Outcome, Plan, Schedule, Shape, TwinsWorld};

fn run(schedule: &Schedule) -> Outcome {
    let committee = BareCommittee::new(schedule.shape.members);
    TwinsWorld::new(&committee, schedule, None).run()
}

#[test]
fn the_first_schedules_hold() {
    let plan = Plan::new(4).unwrap();
    for number in 0..500 {
        let schedule = plan.schedule(number);
        assert_eq!(run(&schedule).broken, None, "{number}: {schedule}");
    }
}

#[test]
fn a_schedule_is_run_alike_twice() {
    let plan = Plan::new(4).unwrap();
    let schedule = plan.schedule(9);
    assert_eq!(run(&schedule), run(&schedule));
}

/// A twin that leads with both halves in one cell shows everybody two blocks, and the committee
/// gets over it.
#[test]
fn a_twin_that_leads_for_long_stops_nobody() {
    let text = "3:01234 3:01234 3:01234 3:01234 3:01234 3:01234";
    let schedule = Schedule::parse(Shape::FOUR, text).unwrap();
    assert_eq!(run(&schedule).broken, None);
}

/// Bugs that honest code of twins runs into.
#[cfg(feature = "mutants")]
#[test]
fn planted_bugs_are_noticed() {
    use lockstep_types::planted::{Bug, plant};
    let plan = Plan::new(4).unwrap();
    for bug in [Bug::VoteAfterTimeout, Bug::CommitWithoutConsecutiveViews] {
        plant(Some(bug));
        let found = (0..100).find_map(|number| run(&plan.schedule(number)).broken);
        plant(None);
        assert!(found.is_some(), "{bug:?} survives 100 schedules");
    }
}
