//! Made-up values of consensus' types; see [`lockstep_types::generate`].

use lockstep_types::generate;

use crate::Ancestry;
use crate::safety_file::Stored;
use crate::skip_table::{Failure, SkipTable};
use crate::{
    Certificates, Challenge, Evidence, LogEnd, Message, Proposal, SafetyRecord, Testimony,
};

generate! {
    Proposal: |r| Proposal {
        block: r.make(),
        justify: r.make(),
        entered_by: r.make(),
        signature: r.make(),
    };
    Certificates: |r| Certificates { high_qc: r.make(), high_tc: r.make() };
    Challenge: |r| Challenge(r.make());
    Testimony: |r| Testimony {
        author: r.make(),
        asker: r.make(),
        challenge: r.make(),
        certificates: r.make(),
        vote: r.make(),
        timeout: r.make(),
        signature: r.make(),
    };
    Message: |r| match r.below(8) {
        0 => Message::Proposal(r.make()),
        1 => Message::Vote(r.make()),
        2 => Message::Timeout(r.make()),
        3 => Message::Certificates(r.make()),
        4 => Message::BlockRequest { from: r.make(), tip: r.make() },
        5 => Message::Blocks(r.list()),
        6 => Message::Inquiry(r.make()),
        _ => Message::Testimony(r.make()),
    };
    Evidence: |r| match r.below(3) {
        0 => Evidence::Proposals(r.make()),
        1 => Evidence::Votes(r.make()),
        _ => Evidence::Timeouts(r.make()),
    };
    LogEnd: |r| LogEnd { position: r.make(), height: r.make(), block: r.make() };
    SafetyRecord: |r| SafetyRecord {
        epoch: r.make(),
        last_voted: r.make(),
        last_timed_out: r.make(),
        lock: r.make(),
        high_qc: r.make(),
        high_tc: r.make(),
        floor: r.make(),
        is_silent: r.make(),
        log_end: r.make(),
    };
    Failure: |r| Failure { member: r.make(), failed: r.make(), turns: r.make() };
    SkipTable: |r| SkipTable { failures: r.list() };
    Ancestry: |r| Ancestry { skips: r.make(), commits: r.make() };
    Stored: |r| Stored { counter: r.make(), record: r.make() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safety_file::{SLOT_BYTES, Slot};
    use lockstep_types::generate::{check_golden, golden, golden_of};

    #[test]
    fn encodings_are_what_they_were() {
        let slot = golden_of(|random| {
            let stored: Stored = random.make();
            let mut bytes = stored.encode();
            bytes.resize(SLOT_BYTES, 0);
            assert_eq!(Slot::decode(&bytes), Slot::Good(Box::new(stored)));
            bytes
        });
        let found = [
            ("Message", golden::<Message>()),
            ("Proposal", golden::<Proposal>()),
            ("Certificates", golden::<Certificates>()),
            ("Evidence", golden::<Evidence>()),
            ("SafetyRecord", golden::<SafetyRecord>()),
            ("Ancestry", golden::<Ancestry>()),
            ("safety slot", slot),
        ];
        check_golden(&found, include_str!("golden.txt"));
    }
}
