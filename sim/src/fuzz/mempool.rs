//! The mempool beside a naive one: nothing taken in is forgotten, nothing leaves twice in a batch,
//! and limits hold.

use core::time::Duration;
use std::collections::BTreeSet;

use lockstep_ledger::{Refusal, Transaction};
use lockstep_shard::Mempool;
use lockstep_types::generate::Random;
use lockstep_types::{GenesisHash, Occupancy, Time, TransactionId, Verified, WindowNumber};
use parity_scale_codec::Encode;

use super::Target;
use super::script::Script;

const MAX_CHOICES: usize = 2_000;

/// Transactions that scripts use.
const KNOWN: u8 = 64;

/// `mempool`: a script.
pub(super) struct MempoolScript;

impl Target for MempoolScript {
    fn name(&self) -> &'static str {
        "mempool"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let script = |random: &mut Random| (0..400).map(|_| random.make()).collect();
        (0..8).map(|_| script(random)).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let mut world = World::new();
        let mut script = Script::new(input);
        for _ in 0..MAX_CHOICES {
            if script.is_done() {
                break;
            }
            world.choose(&mut script);
            assert_eq!(
                world.pool.pending(),
                world.held.len(),
                "taken in and not executed"
            );
            world.check_sizes();
        }
        world.drain();
        world.packed
    }
}

struct World {
    pool: Mempool,
    now: Time,
    known: Vec<(TransactionId, Transaction)>,
    /// What the pool must still hold.
    held: BTreeSet<TransactionId>,
    /// What is in a batch that has neither been executed nor missed its windows.
    flying: Vec<TransactionId>,
    packed: bool,
}

impl World {
    fn new() -> Self {
        let genesis: GenesisHash = Random::new(0).make();
        let mut random = Random::new(1);
        let known = (0..u64::from(KNOWN)).map(|number| {
            let transaction = Transaction {
                nonce: number % 8,
                expiry: WindowNumber::new(number % 16),
                ..random.make()
            };
            (transaction.id(&genesis), transaction)
        });
        World {
            pool: Mempool::new(genesis),
            now: Time::from_millis(1_000),
            known: known.collect(),
            held: BTreeSet::new(),
            flying: Vec::new(),
            packed: false,
        }
    }

    fn choose(&mut self, script: &mut Script<'_>) {
        match script.below(10) {
            0..=3 => {
                let (id, transaction) = &self.known[script.below(self.known.len())];
                let checked = Verified::vouch(transaction.clone());
                assert_eq!(self.pool.submit(self.now, checked), Ok(*id));
                self.held.insert(*id);
            }
            4..=5 => self.pack(1 + script.below(8), 64 + usize::from(script.byte()) * 8),
            6 => {
                self.now = self.now.after(Duration::from_millis(script.byte().into()));
            }
            7 => {
                let ids = self.some_flying(script);
                self.pool.on_executed(ids.iter().copied());
                self.held.retain(|id| !ids.contains(id));
            }
            8 => {
                let ids = self.some_flying(script);
                if script.byte().is_multiple_of(2) {
                    self.pool.pack_again(self.now, ids);
                } else {
                    self.skip(script, &ids);
                }
            }
            _ => {
                let open = WindowNumber::new(u64::from(script.byte() / 32));
                self.pool.expire(open);
                let known = &self.known;
                let expiry =
                    |id: &TransactionId| known.iter().find(|(k, _)| k == id).map(|(_, t)| t.expiry);
                self.held.retain(|id| expiry(id) >= Some(open));
                self.flying.retain(|id| self.held.contains(id));
            }
        }
    }

    fn some_flying(&mut self, script: &mut Script<'_>) -> Vec<TransactionId> {
        let count = script.below(5).min(self.flying.len());
        self.flying.drain(..count).collect()
    }

    fn skip(&mut self, script: &mut Script<'_>, ids: &[TransactionId]) {
        let early = script.byte().is_multiple_of(2);
        let refusal = if early {
            let (expected, got) = (0, 1);
            Refusal::NonceAhead { expected, got }
        } else {
            let (expected, got) = (1, 0);
            Refusal::StaleNonce { expected, got }
        };
        let skipped: Vec<_> = ids.iter().map(|id| (*id, refusal)).collect();
        // Anybody may list it, in as many batches as it likes.
        for _ in 0..=script.below(3) {
            self.pool.on_skipped(self.now, &skipped);
        }
        if !early {
            self.held.retain(|id| !ids.contains(id));
        } else if self.pool.pending() < self.held.len() {
            // Kept only for as long as a gap may last.
            assert!(self.now >= Time::from_millis(61_000), "given up too early");
            self.held.retain(|id| !ids.contains(id));
        }
    }

    /// What waits for its predecessor has one place, however often it was passed over.
    fn check_sizes(&self) {
        let mut sizes: Vec<Occupancy> = Vec::new();
        self.pool.measure(&mut sizes);
        assert!(sizes.iter().all(Occupancy::is_within), "{sizes:?}");
        let later = sizes
            .iter()
            .find(|size| size.of == "transactions for later");
        assert!(later.is_some_and(|later| later.held <= self.held.len()));
    }

    fn pack(&mut self, most: usize, most_bytes: usize) {
        let Some(batch) = self.pool.pack(self.now, most, most_bytes) else {
            return;
        };
        self.packed = true;
        let bytes = batch.iter().fold(0, |sum, t| sum + t.encoded_size());
        assert!((1..=most).contains(&batch.len()));
        assert!(
            bytes <= most_bytes || batch.len() == 1,
            "{bytes} of {most_bytes}"
        );
        assert!(batch.is_sorted_by_key(|t| (t.key, t.nonce)));
        let id_of = |t: &Transaction| {
            let found = self.known.iter().find(|(_, known)| known == t);
            found.expect("only what was submitted").0
        };
        let ids: Vec<_> = batch.iter().map(|t| id_of(t)).collect();
        let distinct: BTreeSet<_> = ids.iter().collect();
        assert_eq!(
            distinct.len(),
            ids.len(),
            "one transaction twice in a batch"
        );
        assert!(ids.iter().all(|id| self.held.contains(id)));
        for id in ids {
            if !self.flying.contains(&id) {
                self.flying.push(id);
            }
        }
    }

    /// Whatever is not in a batch gets into one.
    fn drain(&mut self) {
        for _ in 0..4 * usize::from(KNOWN) {
            self.now = self.now.after(Duration::from_secs(2));
            self.pack(8, 1 << 16);
        }
        let flying: BTreeSet<_> = self.flying.iter().copied().collect();
        assert!(self.held.is_subset(&flying), "forgotten");
        assert_eq!(self.pool.waiting(), 0);
    }
}
