//! Made-up values of the ledger's types; see [`lockstep_types::generate`].

use lockstep_types::generate::Random;
use lockstep_types::{Digest, MerkleRoot, ShardId, WindowNumber, generate};
use parity_scale_codec::{DecodeAll, Encode};

use crate::merkle::{Piece, RangeProof, Step, TriePart, TriePath, Walk};
use crate::{
    Account, AccountProof, Action, Amounts, BlockReceipts, Bundle, BundleProof, CertifiedOutbox,
    EntryPart, EntryRange, Failure, Flow, FlowAmount, InboxLeaf, LedgerFrame, OutboxEntry,
    OutboxLeaf, Receipt, ReceiptProof, ReceiptResult, ReceiptStep, Seal, Subject, Supply,
    Transaction,
};

generate! {
    Action: |r| Action::Transfer { to: r.make(), asset: r.make(), amount: r.make() };
    Transaction: |r| Transaction {
        key: r.make(),
        nonce: r.make(),
        expiry: r.make(),
        actions: r.list(),
        signature: r.make(),
    };
    Amounts: |r| {
        let mut amounts = Amounts::default();
        for _ in 0..r.below(4) {
            let amount = r.make::<u128>() >> 2;
            amounts.add(r.make(), amount).expect("four quarters do not overflow");
        }
        amounts
    };
    Account: |r| Account { nonce: r.make(), balances: r.make() };
    Subject: |r| match r.below(2) {
        0 => Subject::Transaction(r.make()),
        _ => Subject::Credit {
            source: r.make(),
            sequence: r.make(),
            transaction: r.make(),
            action: r.make(),
        },
    };
    Failure: |r| match r.below(6) {
        0 => Failure::Insufficient { action: r.make() },
        1 => Failure::BelowMinimum,
        2 => Failure::Busy { destination: r.make() },
        3 => Failure::Overflow,
        4 => Failure::WindowLimit,
        _ => Failure::Internal,
    };
    Receipt: |r| Receipt {
        subject: r.make(),
        result: match r.below(3) {
            0 => ReceiptResult::Applied,
            _ => ReceiptResult::Failed(r.make()),
        },
    };
    BlockReceipts: |r| BlockReceipts {
        previous: r.make(),
        effects: r.make(),
        receipts: r.list(),
    };
    RangeProof: |r| {
        let bytes = r.list::<Digest>().encode();
        RangeProof::decode_all(&mut &bytes[..]).expect("a range proof is a list of digests")
    };
    ReceiptStep: |r| ReceiptStep { receipts_root: r.make(), effects: r.make() };
    ReceiptProof: |r| ReceiptProof {
        receipt: r.make(),
        position: r.make(),
        count: r.make(),
        path: r.make(),
        previous: r.make(),
        effects: r.make(),
        steps: r.list(),
    };
    Step: |r| Step { depth: r.make(), sibling: r.make() };
    AccountProof: |r| AccountProof {
        window: r.make(),
        walk: Walk {
            leaf: (r.below(4) > 0).then(|| (r.make(), r.make())),
            steps: r.list(),
        },
        supply: r.make(),
        meta: r.make(),
    };
    TriePath: |r| {
        let bytes = r.list::<bool>().encode();
        TriePath::decode_all(&mut &bytes[..]).expect("a path is a list of sides")
    };
    Piece: |r| match r.below(2) {
        0 => Piece::Branch(r.make()),
        _ => Piece::Below(r.make()),
    };
    TriePart: |r| match r.below(2) {
        0 => TriePart::Accounts(r.list()),
        _ => TriePart::Branches(r.list()),
    };
    EntryRange: |r| EntryRange { destination: r.make(), from: r.make(), to: r.make() };
    EntryPart: |r| EntryPart { entries: r.list(), proof: r.make() };
    LedgerFrame: |r| frame(r);
    OutboxEntry: |r| OutboxEntry {
        transaction: r.make(),
        action: r.make(),
        to: r.make(),
        asset: r.make(),
        amount: r.make(),
    };
    OutboxLeaf: |r| OutboxLeaf { destination: r.make(), count: r.make(), top: r.make() };
    InboxLeaf: |r| InboxLeaf { source: r.make(), consumed: r.make() };
    Bundle: |r| Bundle {
        source: r.make(),
        destination: r.make(),
        window: r.make(),
        from: r.make(),
        entries: r.list(),
        proof: BundleProof {
            count: r.make(),
            entries: r.make(),
            position: r.make(),
            destinations: r.make(),
            leaf: r.make(),
        },
    };
    Supply: |r| Supply {
        asset: r.make(),
        genesis: r.make(),
        balances: r.make(),
        escrow: r.make(),
        issued: r.make(),
        burned: r.make(),
        sent: r.make(),
        received: r.make(),
    };
    FlowAmount: |r| FlowAmount { asset: r.make(), sent: r.make(), received: r.make() };
    Flow: |r| Flow {
        peer: r.make(),
        sent_count: r.make(),
        received_count: r.make(),
        amounts: r.list(),
    };
    CertifiedOutbox: |r| CertifiedOutbox {
        source: r.make(),
        window: r.make(),
        outbox_root: r.make(),
        flow: r.make(),
    };
    Seal: |r| Seal {
        window: r.make(),
        height: r.make(),
        digest: r.make(),
        state_root: r.make(),
        outbox_root: r.make(),
        inbox_root: r.make(),
        supply: r.list(),
        flows: r.list(),
    };
}

/// A frame's inside is nobody's business, so it is made as one that comes from outside.
fn frame(random: &mut Random) -> LedgerFrame {
    let (accounts, recorded): (Digest, Option<WindowNumber>) = (random.make(), random.make());
    let mut bytes = (accounts, recorded).encode();
    let peers: Vec<ShardId> = random.list();
    parity_scale_codec::Compact(peers.len() as u64).encode_to(&mut bytes);
    for peer in peers {
        let counts: (u64, u64) = (random.make(), random.make());
        (peer, counts, random.list::<Digest>()).encode_to(&mut bytes);
        let (sent, consumed): (Amounts, u64) = (random.make(), random.make());
        (sent, consumed, random.make::<Amounts>()).encode_to(&mut bytes);
        let certified: Vec<(WindowNumber, MerkleRoot)> = random.list();
        certified.encode_to(&mut bytes);
    }
    random.list::<OutboxLeaf>().encode_to(&mut bytes);
    LedgerFrame::decode_all(&mut &bytes[..]).expect("the parts of a frame, in order")
}
