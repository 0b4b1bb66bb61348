//! Ledgers to try rules on: accounts by number, blocks in one line.

use lockstep_ledger::{
    Action, BlockInput, Bundle, CertifiedOutbox, Ledger, LedgerConfig, Outcome, ReceiptResult,
    Seal, Transaction, TrieJob,
};
use lockstep_types::{
    AccountId, AssetId, GenesisHash, PublicKey, ShardId, Signature, WindowNumber, hash,
};

pub(crate) const MINIMUM: u128 = 10;
pub(crate) const GOLD: AssetId = AssetId::new(5);

pub(crate) fn config(shard: u16, shards: u16) -> LedgerConfig {
    LedgerConfig {
        genesis: GenesisHash::new(hash("test/genesis", &1u8)),
        shard: ShardId::new(shard),
        shards,
        minimum_balance: MINIMUM,
        account_window_limit: 5,
        pair_cap: 4,
    }
}

fn key(number: u64) -> PublicKey {
    let mut bytes = [3; 33];
    bytes[1..9].copy_from_slice(&number.to_be_bytes());
    PublicKey::new(bytes)
}

/// A key holder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Holder {
    key: PublicKey,
    pub(crate) id: AccountId,
}

/// The `nth` holder, of all possible ones, whose account `wanted` accepts.
pub(crate) fn holder_where(nth: usize, wanted: impl Fn(&AccountId) -> bool) -> Holder {
    (0..)
        .map(|number| Holder {
            key: key(number),
            id: AccountId::of(&key(number)),
        })
        .filter(|holder| wanted(&holder.id))
        .nth(nth)
        .unwrap()
}

/// The `nth` holder in a shard of two.
pub(crate) fn holder(shard: u16, nth: usize) -> Holder {
    holder_where(nth, |id| id.shard(2).get() == shard)
}

/// Everybody below three in both shards has 1,000 native and 100 gold.
pub(crate) fn allocations() -> Vec<(AccountId, AssetId, u128)> {
    let shards = [0, 1].into_iter();
    let holders = shards.flat_map(|shard| (0..3).map(move |nth| holder(shard, nth)));
    holders
        .flat_map(|holder| [(holder.id, AssetId::NATIVE, 1_000), (holder.id, GOLD, 100)])
        .collect()
}

pub(crate) fn ledger(shard: u16) -> Ledger {
    Ledger::genesis(config(shard, 2), &allocations())
}

pub(crate) fn pay(to: Holder, asset: AssetId, amount: u128) -> Action {
    Action::Transfer {
        to: to.id,
        asset,
        amount,
    }
}

pub(crate) fn native(to: Holder, amount: u128) -> Action {
    pay(to, AssetId::NATIVE, amount)
}

pub(crate) fn transaction(from: Holder, nonce: u64, actions: Vec<Action>) -> Transaction {
    Transaction {
        key: from.key,
        nonce,
        expiry: WindowNumber::new(1_000),
        actions,
        signature: Signature::new([0; 64]),
    }
}

/// What a block holds besides its height.
#[derive(Clone, Default)]
pub(crate) struct Block<'a> {
    pub(crate) window: u64,
    pub(crate) record: Option<&'a [CertifiedOutbox]>,
    pub(crate) bundles: Vec<&'a Bundle>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) seal: Option<u64>,
}

pub(crate) fn execute(ledger: &mut Ledger, block: Block<'_>) -> Outcome {
    ledger.execute(BlockInput {
        height: ledger.height().next(),
        window: WindowNumber::new(block.window),
        record: block.record,
        bundles: &block.bundles,
        transactions: &mut block.transactions.iter(),
        seal: block.seal.map(WindowNumber::new),
    })
}

/// A block of transactions in window 1.
pub(crate) fn run(ledger: &mut Ledger, transactions: Vec<Transaction>) -> Outcome {
    let block = Block {
        window: 1,
        transactions,
        ..Block::default()
    };
    let outcome = execute(ledger, block);
    assert_eq!(outcome.broken, None);
    assert_eq!(ledger.recount(), Ok(()));
    outcome
}

/// A block of one transaction; its result, if it has one.
pub(crate) fn result(ledger: &mut Ledger, transaction: Transaction) -> Option<ReceiptResult> {
    let outcome = run(ledger, vec![transaction]);
    outcome.receipts.first().map(|receipt| receipt.result)
}

/// Seals a window and finishes the seal.
pub(crate) fn seal(ledger: &mut Ledger, window: u64) -> Seal {
    let block = Block {
        window,
        seal: Some(window),
        ..Block::default()
    };
    let pending = execute(ledger, block).seal.unwrap();
    let done = pending.jobs.into_iter().map(TrieJob::run).collect();
    ledger.finish_seal(done).0
}

/// A seal as a record names it to one shard.
pub(crate) fn certified(source: u16, seal: &Seal, to: u16) -> CertifiedOutbox {
    let flow = seal.flows.iter().find(|flow| flow.peer.get() == to);
    CertifiedOutbox {
        source: ShardId::new(source),
        window: seal.window,
        outbox_root: seal.outbox_root,
        flow: flow.cloned(),
    }
}

/// A block that names a record.
pub(crate) fn record(ledger: &mut Ledger, window: u64, record: &[CertifiedOutbox]) -> Outcome {
    let block = Block {
        window,
        record: Some(record),
        ..Block::default()
    };
    execute(ledger, block)
}

/// A block that lists bundles.
pub(crate) fn bundles(ledger: &mut Ledger, window: u64, bundles: &[&Bundle]) -> Outcome {
    let block = Block {
        window,
        bundles: bundles.to_vec(),
        ..Block::default()
    };
    let outcome = execute(ledger, block);
    assert_eq!(ledger.recount(), Ok(()));
    outcome
}
