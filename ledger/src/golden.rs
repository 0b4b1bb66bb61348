//! Golden hashes of every type that goes over the wire or to the disk. A change here is a change of
//! format and must be meant.

use lockstep_types::Digest;
use lockstep_types::generate;
use lockstep_types::generate::{Random, check_golden, golden, golden_of};
use parity_scale_codec::DecodeAll;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::{Holding, HoldingRecord};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::store::schema::{Head, PeerRecord};
use crate::{
    Account, AccountProof, BlockReceipts, Bundle, CertifiedOutbox, EntryPart, Flow, InboxLeaf,
    LedgerFrame, OutboxEntry, OutboxLeaf, Receipt, ReceiptProof, Seal, Supply, Transaction,
    TriePart,
};

// What only the disk sees.
generate! {
    Holding: |r| Holding {
        account: Arc::new(r.make()),
        window: r.make(),
        executed: r.make(),
    };
    Head: |r| Head {
        format: r.make(),
        height: r.make(),
        digest: r.make(),
        recorded: r.make(),
        supply: r.list(),
    };
    PeerRecord: |r| {
        let count: u64 = r.make();
        let peaks: Vec<Digest> = (0..count.count_ones()).map(|_| r.make()).collect();
        let outbox = Outbox::restore(count, &peaks, r.make());
        let certified = (0..r.below(4)).map(|_| (r.make(), r.make()));
        let certified: VecDeque<_> = certified.collect();
        let inbox = Inbox { consumed: r.make(), received: r.make(), certified };
        PeerRecord::of(&outbox, &inbox)
    };
}

#[test]
fn encodings_are_what_they_were() {
    let found = [
        ("Transaction", golden::<Transaction>()),
        ("Receipt", golden::<Receipt>()),
        ("Account", golden::<Account>()),
        ("AccountProof", golden::<AccountProof>()),
        ("ReceiptProof", golden::<ReceiptProof>()),
        ("OutboxEntry", golden::<OutboxEntry>()),
        ("OutboxLeaf", golden::<OutboxLeaf>()),
        ("InboxLeaf", golden::<InboxLeaf>()),
        ("Bundle", golden::<Bundle>()),
        ("CertifiedOutbox", golden::<CertifiedOutbox>()),
        ("Supply", golden::<Supply>()),
        ("Flow", golden::<Flow>()),
        ("Seal", golden::<Seal>()),
        ("BlockReceipts", golden::<BlockReceipts>()),
        ("Head", golden::<Head>()),
        ("PeerRecord", golden::<PeerRecord>()),
        ("TriePart", golden::<TriePart>()),
        ("EntryPart", golden::<EntryPart>()),
        ("LedgerFrame", golden::<LedgerFrame>()),
        ("Holding", golden_of(holding)),
    ];
    check_golden(&found, include_str!("golden.txt"));
}

/// Written field by field and read as a record: the two must fit.
fn holding(random: &mut Random) -> Vec<u8> {
    let holding: Holding = random.make();
    let bytes = holding.record(holding.window);
    let read = HoldingRecord::decode_all(&mut &bytes[..]).map(Holding::from);
    let read = read.unwrap();
    assert_eq!(read.account, holding.account);
    assert_eq!(
        read.executed_in(holding.window),
        holding.executed_in(holding.window)
    );
    bytes
}
