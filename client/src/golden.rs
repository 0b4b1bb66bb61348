//! Golden hashes of the proofs that clients keep in files. A change here is a change of format and
//! must be meant.

use lockstep_types::generate;
use lockstep_types::generate::{check_golden, golden};

use crate::{CertifiedReceipt, FinalReceipt};

generate! {
    FinalReceipt: |r| FinalReceipt {
        shard: r.make(),
        proof: r.make(),
        commit: r.make(),
        transaction: r.make(),
    };
    CertifiedReceipt: |r| CertifiedReceipt {
        genesis: r.make(),
        receipt: r.make(),
        record: r.make(),
        credits: r.list(),
    };
}

#[test]
fn encodings_are_what_they_were() {
    let found = [
        ("FinalReceipt", golden::<FinalReceipt>()),
        ("CertifiedReceipt", golden::<CertifiedReceipt>()),
    ];
    check_golden(&found, include_str!("golden.txt"));
}
