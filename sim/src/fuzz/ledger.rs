//! Two ledgers that pay each other under a script: blocks with good and bad transactions, seals,
//! records that come late or not at all, bundles that come twice or bent. After every block value
//! is conserved over both, a nonce has risen by one per receipt, every credit has its debit and
//! happens once, and a ledger loaded from its store is the same.

use std::collections::BTreeSet;

use lockstep_ledger::{
    Action, BlockInput, Bundle, CertifiedOutbox, Durability, Ledger, LedgerConfig, MemoryStore,
    Receipt, Seal, Store, Subject, Transaction, TrieJob, Write,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    AccountId, AssetId, GenesisHash, PublicKey, ShardId, Signature, TransactionId, WindowNumber,
};
use parity_scale_codec::{Decode, Encode};

use super::Target;
use super::script::Script;

const MAX_BLOCKS: usize = 200;
const HOLDERS: u8 = 12;
const SHARDS: u16 = 2;
const ENDOWMENT: u128 = 1_000;

/// `ledger`: a script.
pub(super) struct LedgerScript;

impl Target for LedgerScript {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let script = |random: &mut Random| (0..900).map(|_| random.make()).collect();
        (0..8).map(|_| script(random)).collect()
    }

    /// Taken in: value has crossed.
    fn run(&self, input: &[u8]) -> bool {
        let mut pair = Pair::new();
        let mut script = Script::new(input);
        for _ in 0..MAX_BLOCKS {
            if script.is_done() {
                break;
            }
            pair.block(&mut script);
            pair.check();
        }
        !pair.credited.is_empty()
    }
}

fn key(number: u8) -> PublicKey {
    PublicKey::new([number; 33])
}

/// One shard.
pub(super) struct Side {
    pub(super) config: LedgerConfig,
    pub(super) ledger: Ledger,
    pub(super) store: MemoryStore,
    /// What each block wrote.
    pub(super) history: Vec<Vec<Write>>,
    window: WindowNumber,
    seal: Option<Seal>,
    /// The other side's seals that are recorded and not yet applied here.
    records: Vec<Option<Seal>>,
}

/// Both shards.
pub(super) struct Pair {
    pub(super) allocations: Vec<(AccountId, AssetId, u128)>,
    pub(super) sides: Vec<Side>,
    executed: BTreeSet<TransactionId>,
    /// (source, sequence) of every credit.
    credited: BTreeSet<(ShardId, u64)>,
    bundles: Vec<Bundle>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let genesis: GenesisHash = Random::new(3).make();
        let accounts = (0..HOLDERS).map(|number| AccountId::of(&key(number)));
        let allocations: Vec<_> = accounts
            .map(|id| (id, AssetId::NATIVE, ENDOWMENT))
            .collect();
        let side = |shard| {
            let config = LedgerConfig {
                genesis,
                shard: ShardId::new(shard),
                shards: SHARDS,
                minimum_balance: 10,
                account_window_limit: 3,
                pair_cap: 12,
            };
            Side {
                config,
                ledger: Ledger::genesis(config, &allocations),
                store: MemoryStore::new(),
                history: Vec::new(),
                window: WindowNumber::new(1),
                seal: None,
                records: Vec::new(),
            }
        };
        Pair {
            sides: (0..SHARDS).map(side).collect(),
            allocations,
            executed: BTreeSet::new(),
            credited: BTreeSet::new(),
            bundles: Vec::new(),
        }
    }

    fn transaction(&self, script: &mut Script<'_>) -> Transaction {
        let sender = script.below(usize::from(HOLDERS) + 2) as u8;
        let id = AccountId::of(&key(sender));
        let home = &self.sides[usize::from(id.shard(SHARDS).get())];
        let nonce = home.ledger.account(&id).map_or(0, |account| account.nonce);
        let bend = script.byte();
        let action = |script: &mut Script<'_>| Action::Transfer {
            to: AccountId::of(&key(script.below(usize::from(HOLDERS) + 6) as u8)),
            asset: AssetId::new(u32::from(script.byte() / 240)),
            amount: match script.byte() {
                255 => u128::MAX,
                amount => 1 + u128::from(amount),
            },
        };
        Transaction {
            key: key(sender),
            nonce: nonce
                .wrapping_add(u64::from(bend / 80))
                .wrapping_sub(u64::from(bend / 230) * 3),
            expiry: home.window.plus(1).previous().unwrap_or(home.window),
            actions: (0..=bend % 3).map(|_| action(script)).collect(),
            signature: Signature::new([0; 64]),
        }
    }

    /// The record to apply, as the ledger of `at` sees it.
    fn record(&mut self, at: usize) -> Option<Vec<CertifiedOutbox>> {
        let side = &mut self.sides[at];
        if side.records.is_empty() {
            return None;
        }
        let me = side.config.shard;
        let seals = [side.records.remove(0)];
        let certified = seals.iter().flatten().map(|seal| CertifiedOutbox {
            source: ShardId::new(1 - me.get()),
            window: seal.window,
            outbox_root: seal.outbox_root,
            flow: seal.flows.iter().find(|flow| flow.peer == me).cloned(),
        });
        let mut certified: Vec<_> = certified.collect();
        // A record also names our own newest seal.
        certified.extend(side.seal.iter().map(|seal| CertifiedOutbox {
            source: me,
            window: seal.window,
            outbox_root: seal.outbox_root,
            flow: None,
        }));
        certified.sort_by_key(|outbox| outbox.source);
        Some(certified)
    }

    fn bundles(&mut self, at: usize, script: &mut Script<'_>) -> Vec<Bundle> {
        let me = self.sides[at].config.shard;
        let source = &self.sides[1 - at].ledger;
        let from = self.sides[at].ledger.consumed(ShardId::new(1 - me.get()));
        let mut bundles = Vec::new();
        if let Some(bundle) = source.bundle(me, from, 1 + script.below(6)) {
            if script.byte().is_multiple_of(4) {
                bundles.extend(bent(&bundle, script));
            }
            self.bundles.push(bundle.clone());
            bundles.push(bundle);
        }
        if !self.bundles.is_empty() && script.byte().is_multiple_of(3) {
            bundles.push(self.bundles[script.index(self.bundles.len())].clone());
        }
        // What a block lists has passed its voters: it is for this shard.
        bundles.retain(|bundle| bundle.destination == me && bundle.source != me);
        bundles
    }

    pub(super) fn block(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let at = usize::from(choice % 2);
        if choice % 16 == 15 {
            let seals: Vec<_> = self.sides.iter().map(|side| side.seal.clone()).collect();
            let absent = script.byte().is_multiple_of(4);
            for (here, seal) in seals.into_iter().rev().enumerate() {
                self.sides[here].records.push(seal.filter(|_| !absent));
            }
        }
        let record = if choice & 0x20 > 0 {
            self.record(at)
        } else {
            None
        };
        let bundles = self.bundles(at, script);
        let count = script.below(6);
        let transactions: Vec<_> = (0..count).map(|_| self.transaction(script)).collect();
        let side = &mut self.sides[at];
        let seals = record.is_none() && choice & 0xc0 == 0;
        let references: Vec<&Bundle> = bundles.iter().collect();
        let before: Vec<u64> = transactions
            .iter()
            .map(|t| nonce(&side.ledger, t))
            .collect();
        let outcome = side.ledger.execute(BlockInput {
            height: side.ledger.height().next(),
            window: side.window,
            record: record.as_deref(),
            bundles: &references,
            transactions: &mut transactions.iter(),
            seal: seals.then_some(side.window),
        });
        assert_eq!(outcome.broken, None);
        let mut writes = outcome.writes;
        if let Some(pending) = outcome.seal {
            let done = pending.jobs.into_iter().map(TrieJob::run).collect();
            let (seal, more) = side.ledger.finish_seal(done);
            writes.extend(more);
            side.seal = Some(seal);
            side.window = side.window.next();
        }
        side.store
            .write(&writes, Durability::Buffered)
            .expect("memory does not fail");
        side.history.push(writes);
        for (transaction, before) in transactions.iter().zip(before) {
            let after = nonce(&self.sides[at].ledger, transaction);
            let own = |t: &&Transaction| t.key == transaction.key;
            assert!(
                after >= before && after - before <= transactions.iter().filter(own).count() as u64
            );
        }
        self.account(at, &outcome.receipts);
    }

    /// Every receipt is the only one of its kind, and every credit has a debit before it.
    fn account(&mut self, at: usize, receipts: &[Receipt]) {
        for receipt in receipts {
            match receipt.subject {
                Subject::Transaction(id) => {
                    assert!(self.executed.insert(id), "executed twice");
                }
                Subject::Credit {
                    source,
                    sequence,
                    transaction,
                    ..
                } => {
                    assert_ne!(source, self.sides[at].config.shard);
                    assert!(self.credited.insert((source, sequence)), "credited twice");
                    assert!(
                        sequence == 0 || self.credited.contains(&(source, sequence - 1)),
                        "a gap in the credits"
                    );
                    assert!(
                        self.executed.contains(&transaction),
                        "a credit without its debit"
                    );
                }
            }
        }
    }

    fn check(&self) {
        let (mut held, mut sent, mut received) = (0, 0, 0);
        for side in &self.sides {
            for supply in side
                .ledger
                .supply()
                .iter()
                .filter(|s| s.asset == AssetId::NATIVE)
            {
                held += supply.balances + supply.escrow;
                sent += supply.sent;
                received += supply.received;
            }
            assert_eq!(side.ledger.recount(), Ok(()));
            let again = Ledger::load(side.config, &self.allocations, &side.store);
            let again = again.expect("our own writing loads");
            assert_eq!(again.digest(), side.ledger.digest());
            assert_eq!(again.supply(), side.ledger.supply());
        }
        let total = ENDOWMENT * u128::from(HOLDERS);
        assert!(sent >= received, "more has arrived than was sent");
        assert_eq!(held + (sent - received), total, "value came or went");
    }
}

fn nonce(ledger: &Ledger, transaction: &Transaction) -> u64 {
    ledger
        .account(&transaction.sender())
        .map_or(0, |account| account.nonce)
}

/// A bundle with one byte changed, if it still is one.
fn bent(bundle: &Bundle, script: &mut Script<'_>) -> Option<Bundle> {
    let mut bytes = bundle.encode();
    let (at, change) = (usize::from(script.pair()), script.byte());
    let length = bytes.len();
    bytes[at % length] ^= change;
    Bundle::decode(&mut &bytes[..]).ok()
}
