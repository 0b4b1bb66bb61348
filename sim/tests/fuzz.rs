//! Every fuzz target for a moment: the inputs that once failed, the valid ones, and some bent ones.
//! `make fuzz SECONDS=N` goes on for longer.

#![allow(clippy::unwrap_used)]

use lockstep_sim::fuzz::{Campaign, targets};

/// Bent inputs per target, beside those it starts from.
const BENT: u64 = 300;

#[test]
fn no_input_breaks_a_promise() {
    for target in targets() {
        let mut campaign = Campaign::new(target.as_ref(), 1);
        let start = campaign.start();
        while campaign.executions < start + BENT {
            if let Err(failure) = campaign.step() {
                panic!("{failure}");
            }
            // A target that refuses its own corpus tests its front door only.
            let taken = campaign.taken;
            assert!(
                campaign.executions < start || taken > 0,
                "{} takes nothing",
                target.name()
            );
        }
    }
}
