//! Made-up values of the ledger's types; see [`lockstep_types::generate`].

use lockstep_types::{Digest, generate};
use parity_scale_codec::{DecodeAll, Encode};

use crate::merkle::{RangeProof, Step, Walk};
use crate::{
    Account, AccountProof, Action, Amounts, BlockReceipts, Bundle, BundleProof, CertifiedOutbox,
    Failure, Flow, FlowAmount, InboxLeaf, OutboxEntry, OutboxLeaf, Receipt, ReceiptProof,
    ReceiptResult, ReceiptStep, Seal, Subject, Supply, Transaction,
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
