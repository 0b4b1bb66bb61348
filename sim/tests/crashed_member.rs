//! One validator of four is gone for good, and the others hardly notice: wherever it was, over
//! distances as between continents.

#![allow(clippy::unwrap_used)]

use lockstep_sim::crashed_member::{CrashedMember, chain};
use lockstep_types::MemberIndex;

#[test]
fn a_crashed_member_of_four_costs_little() {
    let chain = chain();
    for member in (0..4).map(MemberIndex::new) {
        let runs = CrashedMember { seed: 1, member };
        let (whole, without) = runs.compare(&chain).unwrap();
        assert!(whole.throughput() > 99.0, "the load is steady: {whole:?}");
        assert!(
            without.hold_beside(&whole),
            "{member:?}: {without:?}, and with everybody {whole:?}"
        );
    }
}
