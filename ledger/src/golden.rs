//! Golden hashes of every type that goes over the wire or to the disk: the hash over the encodings
//! of 1,024 generated values. A change here is a change of format and must be meant.

use lockstep_types::{
    AccountId, AssetId, Digest, EffectsDigest, Hasher, Height, MerkleRoot, PublicKey, ShardId,
    Signature, TransactionId, WindowNumber,
};
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::account::{Holding, HoldingRecord};
use crate::inbox::Inbox;
use crate::merkle::{RangeProof, Step, Walk};
use crate::outbox::Outbox;
use crate::store::schema::{Head, PeerRecord};
use crate::{
    Account, AccountProof, Action, Amounts, BlockReceipts, Bundle, BundleProof, CertifiedOutbox,
    Failure, Flow, FlowAmount, InboxLeaf, OutboxEntry, OutboxLeaf, Receipt, ReceiptProof,
    ReceiptResult, ReceiptStep, Seal, Subject, Supply, Transaction,
};

const VALUES: usize = 1_024;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn make<T: Generate>(&mut self) -> T {
        T::generate(self)
    }

    fn list<T: Generate>(&mut self) -> Vec<T> {
        (0..self.below(4)).map(|_| self.make()).collect()
    }
}

trait Generate {
    fn generate(random: &mut Random) -> Self;
}

macro_rules! generate {
    ($($type:ty: |$random:ident| $value:expr;)*) => {
        $(impl Generate for $type {
            fn generate($random: &mut Random) -> Self {
                $value
            }
        })*
    };
}

impl<const N: usize> Generate for [u8; N] {
    fn generate(random: &mut Random) -> Self {
        core::array::from_fn(|_| random.make())
    }
}

generate! {
    // Numbers of every length, so that compact forms are met.
    u128: |r| { let wide = u128::from(r.next()) << 64 | u128::from(r.next()); wide >> r.below(128) };
    u64: |r| { let wide = r.next(); wide >> r.below(64) };
    u32: |r| { let wide = r.next() as u32; wide >> r.below(32) };
    u16: |r| r.next() as u16;
    u8: |r| r.next() as u8;
    Digest: |r| Digest::new(r.make());
    MerkleRoot: |r| MerkleRoot::new(r.make());
    EffectsDigest: |r| EffectsDigest::new(r.make());
    TransactionId: |r| TransactionId::new(r.make());
    PublicKey: |r| PublicKey::new(r.make());
    Signature: |r| Signature::new(r.make());
    AccountId: |r| AccountId::new(r.make());
    AssetId: |r| AssetId::new(r.make());
    ShardId: |r| ShardId::new(r.make());
    WindowNumber: |r| WindowNumber::new(r.make());
    Height: |r| Height::new(r.make());

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
            amounts.add(r.make(), amount).unwrap();
        }
        amounts
    };
    Account: |r| Account { nonce: r.make(), balances: r.make() };
    Holding: |r| Holding {
        account: Arc::new(r.make()),
        window: r.make(),
        executed: r.make(),
    };
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
        RangeProof::decode_all(&mut &bytes[..]).unwrap()
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
        flow: (r.below(2) > 0).then(|| r.make()),
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
    Head: |r| Head {
        format: r.make(),
        height: r.make(),
        digest: r.make(),
        recorded: (r.below(2) > 0).then(|| r.make()),
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

/// Hash over the encodings of the generated values; each must also decode to what it was.
fn golden<T: Generate + Encode + DecodeAll + PartialEq + core::fmt::Debug>() -> String {
    golden_of(|random| {
        let value: T = random.make();
        let bytes = value.encode();
        assert_eq!(T::decode_all(&mut &bytes[..]), Ok(value));
        bytes
    })
}

fn golden_of(mut encode: impl FnMut(&mut Random) -> Vec<u8>) -> String {
    let mut random = Random(1);
    let hasher = (0..VALUES).fold(Hasher::new("golden"), |hasher, _| {
        hasher.value(&encode(&mut random))
    });
    hasher.finish().to_string()[..16].to_owned()
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
        ("Holding", golden_of(holding)),
    ];
    let expected = include_str!("golden.txt");
    let found: Vec<String> = found.map(|(name, hash)| format!("{name} {hash}")).into();
    assert_eq!(
        found.join("\n"),
        expected.trim_end(),
        "a format has changed"
    );
}

/// Written field by field and read as a record: the two must fit.
fn holding(random: &mut Random) -> Vec<u8> {
    let holding: Holding = random.make();
    let bytes = holding.record();
    let read = HoldingRecord::decode_all(&mut &bytes[..]).map(Holding::from);
    let read = read.unwrap();
    assert_eq!(read.account, holding.account);
    assert_eq!(
        (read.window, read.executed),
        (holding.window, holding.executed)
    );
    bytes
}
