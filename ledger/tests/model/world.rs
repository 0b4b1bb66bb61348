//! Several ledgers that exchange bundles under records, each beside a twin that is loaded from its
//! store again after every block, and the naive model beside them all.

use std::collections::BTreeMap;

use lockstep_ledger::{
    Action, BlockInput, Bundle, CertifiedOutbox, Durability, Ledger, LedgerConfig, MemoryStore,
    Outcome, Receipt, ReceiptResult, Seal, SealChoice, Store, Subject, Transaction, TrieJob,
};
use lockstep_types::{
    AccountId, AssetId, GenesisHash, PublicKey, ShardId, Signature, WindowNumber, hash,
};

use crate::naive::Naive;
use crate::random::Random;

const ASSETS: [AssetId; 2] = [AssetId::NATIVE, AssetId::new(5)];
const MINIMUM: u128 = 10;
const HOLDERS: u64 = 24;
const STRANGERS: u64 = 8;

fn key(number: u64) -> PublicKey {
    let mut bytes = [2; 33];
    bytes[1..9].copy_from_slice(&number.to_be_bytes());
    PublicKey::new(bytes)
}

/// One shard: a ledger that never stops and one that restarts after every block.
struct Shard {
    steady: Ledger,
    restarted: Ledger,
    store: MemoryStore,
    window: WindowNumber,
    /// Records applied so far.
    applied: usize,
    newest_seal: Option<Seal>,
}

pub(crate) struct World {
    random: Random,
    config: LedgerConfig,
    allocations: Vec<(AccountId, AssetId, u128)>,
    shards: Vec<Shard>,
    /// Per record, the seals it names.
    records: Vec<Vec<Option<Seal>>>,
    /// Every bundle ever credited, for replaying.
    old_bundles: Vec<Bundle>,
    naive: Naive,
    totals: BTreeMap<AssetId, u128>,
    pub(crate) counts: Counts,
}

/// What has happened: a run that exercised nothing shows nothing.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) applied: u64,
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) skipped: u64,
    pub(crate) credits: u64,
    pub(crate) refused_bundles: u64,
    pub(crate) seals: u64,
    pub(crate) records: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = u16::try_from(1 + random.below(4)).unwrap();
        let config = LedgerConfig {
            genesis: GenesisHash::new(hash("test/genesis", &seed)),
            shard: ShardId::new(0),
            shards,
            minimum_balance: MINIMUM,
            account_window_limit: 4,
            pair_cap: 1 + random.below(40),
        };
        let mut allocations = Vec::new();
        for number in 0..HOLDERS {
            let id = AccountId::of(&key(number));
            allocations.push((id, AssetId::NATIVE, 1_000));
            if number % 2 == 0 {
                allocations.push((id, ASSETS[1], 500));
            }
        }
        let naive = Naive::new(config, &allocations);
        let totals = ASSETS.map(|asset| (asset, naive.total(asset))).into();
        let shards = (0..shards)
            .map(|shard| {
                let config = LedgerConfig {
                    shard: ShardId::new(shard),
                    ..config
                };
                Shard {
                    steady: Ledger::genesis(config, &allocations),
                    restarted: Ledger::genesis(config, &allocations),
                    store: MemoryStore::new(),
                    window: WindowNumber::new(1),
                    applied: 0,
                    newest_seal: None,
                }
            })
            .collect();
        World {
            random,
            config,
            allocations,
            shards,
            records: Vec::new(),
            old_bundles: Vec::new(),
            naive,
            totals,
            counts: Counts::default(),
        }
    }

    /// One block of one shard, or one record of the beacon.
    pub(crate) fn step(&mut self) {
        if self.random.one_in(6) {
            self.make_record();
        }
        let shard = self.random.below(self.shards.len() as u64) as usize;
        self.block(shard);
        self.compare();
    }

    fn make_record(&mut self) {
        let random = &mut self.random;
        let newest = self.shards.iter().map(|shard| shard.newest_seal.clone());
        let record = newest
            .map(|seal| seal.filter(|_| !random.one_in(5)))
            .collect();
        self.records.push(record);
        self.counts.records += 1;
    }

    fn block(&mut self, at: usize) {
        let record = self.next_record(at);
        if let Some(record) = &record {
            self.acknowledge(at, record);
        }
        let (bundles, expected_credits) = self.bundles(at, record.as_deref());
        let transactions: Vec<_> = (0..self.random.below(8))
            .map(|_| self.transaction(at))
            .collect();
        let seal = record.is_none() && self.random.one_in(4);
        let shard = &mut self.shards[at];
        let id = shard.steady.config().shard;
        let window = shard.window;
        let mut expected: Vec<Receipt> = expected_credits;
        for transaction in &transactions {
            let subject = Subject::Transaction(transaction.id(&self.config.genesis));
            match self.naive.execute(id, transaction, window) {
                Some(result) => expected.push(Receipt { subject, result }),
                None => self.counts.skipped += 1,
            }
        }
        let references: Vec<&Bundle> = bundles.iter().collect();
        let run = |ledger: &mut Ledger| {
            ledger.execute(BlockInput {
                height: ledger.height().next(),
                window,
                record: record.as_deref(),
                bundles: &references,
                transactions: &mut transactions.iter(),
                seal: seal.then_some(window),
            })
        };
        let outcome = run(&mut shard.steady);
        let twin = run(&mut shard.restarted);
        assert_eq!(outcome.broken, None);
        assert_eq!(outcome.receipts, expected, "the naive model agrees");
        assert_eq!(outcome.digest, twin.digest, "restarts leave no trace");
        assert_eq!(outcome.writes, twin.writes);
        for receipt in &outcome.receipts {
            match (&receipt.subject, &receipt.result) {
                (Subject::Credit { .. }, _) => self.counts.credits += 1,
                (_, ReceiptResult::Applied) => self.counts.applied += 1,
                (_, ReceiptResult::Failed(failure)) => {
                    let name = format!("{failure:?}");
                    let name = name.split(' ').next().unwrap().to_owned();
                    *self.counts.failed.entry(name).or_default() += 1;
                }
            }
        }
        self.counts.refused_bundles += outcome.refused.len() as u64;
        self.finish(at, outcome, twin);
    }

    fn finish(&mut self, at: usize, outcome: Outcome, twin: Outcome) {
        let shard = &mut self.shards[at];
        let mut writes = outcome.writes;
        if let Some(pending) = outcome.seal {
            let done = pending.jobs.into_iter().map(TrieJob::run).collect();
            let (seal, seal_writes) = shard.steady.finish_seal(done);
            // The twin's jobs run in the other order.
            let jobs = twin.seal.unwrap().jobs;
            let done = jobs.into_iter().rev().map(TrieJob::run).collect();
            assert_eq!(
                shard.restarted.finish_seal(done),
                (seal.clone(), seal_writes.clone())
            );
            writes.extend(seal_writes);
            shard.window = shard.window.next();
            self.counts.seals += 1;
            check_proofs(&shard.steady, &seal);
            shard.newest_seal = Some(seal);
        }
        shard.store.write(&writes, Durability::Buffered).unwrap();
        let config = *shard.steady.config();
        shard.restarted = Ledger::load(config, &self.allocations, &shard.store).unwrap();
        assert_eq!(shard.restarted.digest(), shard.steady.digest());
        assert_eq!(shard.restarted.supply(), shard.steady.supply());
        assert_eq!(shard.steady.recount(), Ok(()));
    }

    /// The next record for this shard, as its ledger sees it.
    fn next_record(&mut self, at: usize) -> Option<Vec<CertifiedOutbox>> {
        let applied = self.shards[at].applied;
        if applied == self.records.len() || self.random.one_in(2) {
            return None;
        }
        self.shards[at].applied += 1;
        let me = self.shards[at].steady.config().shard;
        let certified = (0u16..)
            .zip(&self.records[applied])
            .filter_map(|(source, seal)| {
                let seal = seal.as_ref()?;
                Some(CertifiedOutbox {
                    source: ShardId::new(source),
                    window: seal.window,
                    outbox_root: seal.outbox_root,
                    flow: seal.flows.iter().find(|flow| flow.peer == me).cloned(),
                })
            });
        Some(certified.collect())
    }

    fn acknowledge(&mut self, at: usize, record: &[CertifiedOutbox]) {
        let me = self.shards[at].steady.config().shard;
        for certified in record {
            let Some(flow) = &certified.flow else {
                continue;
            };
            let queue = self.naive.queues.entry((me, certified.source)).or_default();
            queue.acknowledged = queue.acknowledged.max(flow.received_count);
        }
    }

    /// Good bundles, and bad ones that must have no effect; with the receipts of the good ones.
    fn bundles(
        &mut self,
        at: usize,
        record: Option<&[CertifiedOutbox]>,
    ) -> (Vec<Bundle>, Vec<Receipt>) {
        let (mut bundles, mut receipts) = (Vec::new(), Vec::new());
        let me = self.shards[at].steady.config().shard;
        for source in 0..self.shards.len() {
            if source == at || self.random.one_in(3) {
                continue;
            }
            let from = self.shards[at].steady.consumed(ShardId::new(source as u16));
            let most = 1 + self.random.below(9) as usize;
            let Some(bundle) = self.shards[source].steady.bundle(me, from, most) else {
                continue;
            };
            if self.random.one_in(4) {
                bundles.push(self.forge(&bundle));
            }
            if self.is_certified(at, &bundle, record) {
                let credits = self.naive.credit(bundle.source, me, bundle.entries.len());
                for ((sequence, entry), shown) in credits.into_iter().zip(&bundle.entries) {
                    assert_eq!(entry, *shown, "exactly what was sent, in order");
                    receipts.push(Receipt {
                        subject: Subject::Credit {
                            source: bundle.source,
                            sequence,
                            transaction: entry.transaction,
                            action: entry.action,
                        },
                        result: ReceiptResult::Applied,
                    });
                }
                self.old_bundles.push(bundle.clone());
            }
            bundles.push(bundle.clone());
            if self.random.one_in(3) {
                bundles.push(bundle); // the same one twice in a block
            }
        }
        if !self.old_bundles.is_empty() && self.random.one_in(3) {
            let old = self.random.pick(&self.old_bundles).clone();
            if old.from < self.shards[at].steady.consumed(old.source) || old.destination != me {
                bundles.push(old);
            }
        }
        (bundles, receipts)
    }

    fn is_certified(&self, at: usize, bundle: &Bundle, record: Option<&[CertifiedOutbox]>) -> bool {
        let ledger = &self.shards[at].steady;
        let in_record = record.unwrap_or_default().iter().any(|certified| {
            certified.source == bundle.source && certified.window == bundle.window
        });
        in_record
            || ledger
                .certified_root(bundle.source, bundle.window)
                .is_some()
    }

    /// A bundle that is wrong in one place.
    fn forge(&mut self, good: &Bundle) -> Bundle {
        let mut bad = good.clone();
        let at = self.random.below(bad.entries.len() as u64) as usize;
        match self.random.below(8) {
            0 => bad.entries[at].amount += 1,
            1 => bad.entries[at].to = AccountId::of(&key(self.random.next())),
            2 => bad.entries[at].asset = AssetId::new(77),
            3 => bad.from += 1,
            4 => bad.window = bad.window.plus(1_000),
            5 => bad.proof.count += 1,
            6 => bad.proof.position ^= 1,
            _ => bad.entries.push(bad.entries[at]),
        }
        assert_ne!(bad, *good);
        bad
    }

    fn transaction(&mut self, at: usize) -> Transaction {
        let me = self.shards[at].steady.config().shard;
        let mut number = self.random.below(HOLDERS + STRANGERS);
        // Mostly senders of this shard.
        for _ in 0..8 {
            if AccountId::of(&key(number)).shard(self.config.shards) != me {
                number = self.random.below(HOLDERS + STRANGERS);
            }
        }
        let sender = AccountId::of(&key(number));
        let known = self.naive.accounts.get(&sender);
        let nonce = known.map_or(0, |account| account.nonce);
        let nonce = match self.random.below(10) {
            0 => nonce + 1,
            1 => nonce.saturating_sub(1),
            _ => nonce,
        };
        let open = self.shards[at].window;
        let expiry = match self.random.below(12) {
            0 => open.previous().unwrap_or(open),
            1 => open,
            _ => open.plus(10),
        };
        let actions = (0..1 + self.random.below(3))
            .map(|_| self.action(number))
            .collect();
        Transaction {
            key: key(number),
            nonce,
            expiry,
            actions,
            signature: Signature::new([0; 64]),
        }
    }

    fn action(&mut self, sender: u64) -> Action {
        let to = match self.random.below(8) {
            0 => sender,                       // to oneself
            1 => self.random.next() | 1 << 40, // to nobody yet
            _ => self.random.below(HOLDERS + STRANGERS),
        };
        let asset = if self.random.one_in(3) {
            ASSETS[1]
        } else {
            ASSETS[0]
        };
        let amount = match self.random.below(12) {
            0 => u128::from(self.random.below(MINIMUM as u64 + 2)),
            1 => 1_000,
            2 => u128::MAX,
            _ => u128::from(10 + self.random.below(40)),
        };
        Action::Transfer {
            to: AccountId::of(&key(to)),
            asset,
            amount: amount.max(1),
        }
    }

    /// The ledgers hold what the model holds, and nothing has appeared or vanished.
    fn compare(&self) {
        for (id, account) in &self.naive.accounts {
            let shard = usize::from(id.shard(self.config.shards).get());
            let Some(found) = self.shards[shard].steady.account(id) else {
                panic!("account {id:?} is missing");
            };
            assert_eq!(found.nonce, account.nonce);
            for asset in ASSETS {
                assert_eq!(found.balances.get(asset), account.balance(asset));
            }
        }
        let count: usize = self
            .shards
            .iter()
            .fold(0, |n, s| n + s.steady.account_count());
        assert_eq!(count, self.naive.accounts.len());
        for asset in ASSETS {
            assert_eq!(self.naive.total(asset), self.totals[&asset], "conserved");
        }
    }
}

/// Every account of the ledger is provable under the seal, and so is an absent one.
fn check_proofs(ledger: &Ledger, seal: &Seal) {
    for number in 0..HOLDERS + STRANGERS + 4 {
        let id = AccountId::of(&key(number));
        let proof = ledger.prove(&id, SealChoice::Window(seal.window)).unwrap();
        let shown = proof.verify(&id, &seal.state_root).unwrap();
        assert_eq!(shown, ledger.account(&id));
    }
}
