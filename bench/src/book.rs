//! Who waits for what, and what the chains have shown: the pure part of the load.
//!
//! An account has at most one transaction on the way: nonces are sequential, and a second one
//! would depend on the fate of the first. When more is offered than a shard orders, its accounts
//! are all waiting, and what is then due is *held back*: counted, and not sent.
//!
//! Breaks if: an account is given its next transaction before the chain showed the last one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use lockstep_client::CallError;
use lockstep_client::rpc::{Admission, BlockSummary};
use lockstep_types::{Digest, Hasher, TransactionId};

use crate::deck::Deck;
use crate::latency::Latencies;
use crate::run::Generator;
use crate::statistics::quantile;
use crate::timeline::ShardBlock;

/// Reasons of rejections kept.
const MAX_REASONS: usize = 5;

/// A transaction on its way.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    account: usize,
    /// When it should have been sent, microseconds since the epoch.
    planned: u64,
    /// Does its latency count?
    measured: bool,
    /// A validator has taken it.
    accepted: bool,
    /// Its shard has executed it.
    executed: bool,
    destination: u16,
}

/// One transaction to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(crate) id: TransactionId,
    pub(crate) bytes: Vec<u8>,
}

/// What one member of a shard's committee has shown of its chain.
#[derive(Clone, Debug, Default)]
struct View {
    /// Digest of each block's content, by height.
    blocks: BTreeMap<u64, Digest>,
    /// Notifications it left out because we were too slow.
    lagged: u64,
}

/// Who waits for what, and what the chains have shown.
pub struct Book {
    deck: Deck,
    /// For each account, how many of its transactions have executed.
    done: Vec<usize>,
    /// For each shard, the accounts that wait for nothing.
    free: Vec<VecDeque<usize>>,
    waiting: HashMap<TransactionId, Waiting>,
    /// Count latencies of what is planned from now on.
    measuring: bool,
    /// Planned while latencies counted.
    planned_measured: u64,
    local: Latencies,
    cross: Latencies,
    generator: Generator,
    late_ms: Vec<f64>,
    chains: Vec<Vec<ShardBlock>>,
    views: BTreeMap<(u16, u8), View>,
    /// Times each transaction was executed, each cross-shard one credited.
    executed: HashMap<TransactionId, u32>,
    credited: HashMap<TransactionId, u32>,
    failed: u64,
    /// Accounts that have sent all they had.
    exhausted: usize,
}

impl Book {
    /// A book in which nothing has happened.
    pub fn new(deck: Deck, shards: u16) -> Self {
        let mut free = vec![VecDeque::new(); usize::from(shards)];
        for (index, account) in deck.0.iter().enumerate() {
            free[usize::from(account.shard)].push_back(index);
        }
        Book {
            done: vec![0; deck.0.len()],
            deck,
            free,
            waiting: HashMap::new(),
            measuring: false,
            planned_measured: 0,
            local: Latencies::default(),
            cross: Latencies::default(),
            generator: Generator::default(),
            late_ms: Vec::new(),
            chains: vec![Vec::new(); usize::from(shards)],
            views: BTreeMap::new(),
            executed: HashMap::new(),
            credited: HashMap::new(),
            failed: 0,
            exhausted: 0,
        }
    }

    /// From now on latencies count, or no longer.
    pub fn measure_latency(&mut self, on: bool) {
        self.measuring = on;
    }

    /// Takes up to `count` transactions of a shard that were planned for `planned`; what no free
    /// account can send is held back.
    pub(crate) fn take(&mut self, shard: u16, count: usize, planned: u64) -> Vec<Outgoing> {
        let free = &mut self.free[usize::from(shard)];
        let taken = count.min(free.len());
        self.generator.planned += count as u64;
        if self.measuring {
            self.planned_measured += count as u64;
        }
        self.generator.held_back += (count - taken) as u64;
        self.generator.sent += taken as u64;
        let mut outgoing = Vec::with_capacity(taken);
        for account in free.drain(..taken) {
            let signed = &self.deck.0[account].transactions[self.done[account]];
            let waiting = Waiting {
                account,
                planned,
                measured: self.measuring,
                accepted: false,
                executed: false,
                destination: signed.destination,
            };
            // A refused one comes here again; the book keeps its newest planned time.
            self.waiting.insert(signed.id, waiting);
            outgoing.push(Outgoing {
                id: signed.id,
                bytes: signed.bytes.clone(),
            });
        }
        outgoing
    }

    /// Takes back what no validator had room for.
    pub(crate) fn hold_back(&mut self, batch: &[Outgoing]) {
        self.generator.sent -= batch.len() as u64;
        self.generator.held_back += batch.len() as u64;
        for outgoing in batch {
            if let Some(waiting) = self.waiting.remove(&outgoing.id) {
                let shard = self.deck.0[waiting.account].shard;
                self.free[usize::from(shard)].push_back(waiting.account);
            }
        }
    }

    /// How many accounts of a shard could send at once.
    pub(crate) fn ready(&self, shard: u16) -> usize {
        self.free[usize::from(shard)].len()
    }

    pub(crate) fn answered(&mut self, id: TransactionId, admission: &Admission) {
        let Some(waiting) = self.waiting.get_mut(&id) else {
            // Executed and credited before the answer came.
            self.generator.accepted += 1;
            return;
        };
        match admission {
            Admission::Accepted | Admission::Pending | Admission::Executed => {
                waiting.accepted = true;
                self.generator.accepted += 1;
            }
            _ if waiting.executed => self.generator.accepted += 1,
            Admission::Busy { .. } => {
                self.generator.refused += 1;
                let account = waiting.account;
                self.waiting.remove(&id);
                self.free[usize::from(self.deck.0[account].shard)].push_back(account);
            }
            Admission::Rejected { reason, message } => {
                // The account stays out: all it could send depends on this one.
                self.waiting.remove(&id);
                self.generator.rejected += 1;
                self.reason(format!("{reason}: {message}"));
            }
        }
    }

    fn reason(&mut self, reason: String) {
        if self.generator.reasons.len() < MAX_REASONS && !self.generator.reasons.contains(&reason) {
            self.generator.reasons.push(reason);
        }
    }

    /// No answer came. The transactions may have been taken or not; the chain will show.
    pub(crate) fn unanswered(&mut self, error: &CallError) {
        self.reason(error.to_string());
    }

    pub(crate) fn late(&mut self, late: Duration) {
        self.late_ms.push(late.as_secs_f64() * 1e3);
    }

    /// A member showed a block at `now`. The member 0 of each shard is the one whose blocks count;
    /// the others are only compared with it.
    pub(crate) fn on_block(&mut self, member: u8, block: &BlockSummary, now: u64) {
        let view = self.views.entry((block.shard, member)).or_default();
        view.lagged += block.lagged;
        view.blocks.insert(block.height, content(block));
        if member != 0 {
            return;
        }
        let applied = block.transactions.iter().filter(|t| t.applied).count();
        let failed = block.transactions.len() - applied;
        self.failed += failed as u64;
        self.chains[usize::from(block.shard)].push(ShardBlock {
            height: block.height,
            time: block.time_us,
            applied: u32::try_from(applied).unwrap_or(u32::MAX),
            failed: u32::try_from(failed).unwrap_or(u32::MAX),
            credits: u32::try_from(block.credits.len()).unwrap_or(u32::MAX),
            seal: block.seal.then_some(block.window),
            record: block.record,
        });
        for transaction in &block.transactions {
            self.on_executed(transaction.id, transaction.applied, now);
        }
        for credit in &block.credits {
            self.on_credited(credit.transaction, now);
        }
    }

    fn on_executed(&mut self, id: TransactionId, applied: bool, now: u64) {
        *self.executed.entry(id).or_default() += 1;
        let Some(waiting) = self.waiting.get_mut(&id) else {
            return;
        };
        if waiting.executed {
            return;
        }
        waiting.executed = true;
        let waiting = *waiting;
        let account = &self.deck.0[waiting.account];
        self.done[waiting.account] += 1;
        if self.done[waiting.account] < account.transactions.len() {
            self.free[usize::from(account.shard)].push_back(waiting.account);
        } else {
            self.exhausted += 1;
        }
        let is_local = waiting.destination == account.shard;
        if is_local || !applied {
            self.waiting.remove(&id);
        }
        if is_local && applied && waiting.measured {
            self.local.record(now.saturating_sub(waiting.planned));
        }
    }

    fn on_credited(&mut self, id: TransactionId, now: u64) {
        *self.credited.entry(id).or_default() += 1;
        // The destination may show the credit before the source's observer shows the debit.
        if let Some(waiting) = self.waiting.get(&id).copied() {
            if !waiting.executed {
                return;
            }
            self.waiting.remove(&id);
            if waiting.measured {
                self.cross.record(now.saturating_sub(waiting.planned));
            }
        }
    }

    /// Removes what was credited before its debit was seen. Called when the load has ended.
    fn settle(&mut self) {
        let credited = &self.credited;
        self.waiting
            .retain(|id, waiting| !(waiting.executed && credited.contains_key(id)));
    }

    /// Transactions that a validator has taken and that are not executed, or executed and not yet
    /// credited where they belong.
    pub fn unfinished(&mut self) -> usize {
        self.settle();
        self.waiting
            .values()
            .filter(|waiting| waiting.accepted || waiting.executed)
            .count()
    }

    /// Sent and never answered nor executed.
    pub fn unknown(&self) -> usize {
        self.waiting
            .values()
            .filter(|waiting| !waiting.accepted && !waiting.executed)
            .count()
    }

    /// Transactions executed or credited more than once.
    pub fn repeated(&self) -> usize {
        let counts = self.executed.values().chain(self.credited.values());
        counts.filter(|count| **count > 1).count()
    }

    /// Executed transactions, and credits.
    pub fn totals(&self) -> (u64, u64) {
        (self.executed.len() as u64, self.credited.len() as u64)
    }

    /// Executed transactions that failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Accounts without a further transaction: the load was planned too small.
    pub fn exhausted(&self) -> usize {
        self.exhausted
    }

    /// Seals the slowest shard has shown.
    pub fn seals(&self) -> usize {
        let of = |chain: &Vec<ShardBlock>| chain.iter().filter(|b| b.seal.is_some()).count();
        self.chains.iter().map(of).min().unwrap_or(0)
    }

    /// The blocks of each shard so far.
    pub fn chains(&self) -> &[Vec<ShardBlock>] {
        &self.chains
    }

    /// Latencies within a shard and across shards.
    pub fn latencies(&self) -> (&Latencies, &Latencies) {
        (&self.local, &self.cross)
    }

    /// Latencies of every transfer of a single shard that was planned while they counted. One that
    /// was not sent, was refused, or has not been executed counts as the longest there is: a load
    /// that waits for a slow network must not make it look fast.
    pub fn latencies_of_planned(&self) -> Latencies {
        let mut all = self.local.clone();
        let shown = all.count();
        all.record_endless(self.planned_measured.saturating_sub(shown));
        all
    }

    /// What the generator did so far.
    pub fn generator(&self) -> Generator {
        let late_p99_ms = quantile(&self.late_ms, 0.99).unwrap_or(0.0);
        Generator {
            late_p99_ms,
            ..self.generator.clone()
        }
    }

    /// Forgets lateness so far: the start of the load belongs to the warm-up.
    pub fn forget_lateness(&mut self) {
        self.late_ms.clear();
    }

    /// Compares what the members have shown: the number of blocks that two or more of them
    /// agree on, and every height on which two differ, a member skipped, or we were too slow.
    pub fn compare(&self) -> (usize, Vec<String>) {
        let mut agreed = 0;
        let mut problems = Vec::new();
        for shard in 0..self.chains.len() as u16 {
            let views = self.views.range((shard, 0)..=(shard, u8::MAX));
            let mut known: BTreeMap<u64, (u8, Digest)> = BTreeMap::new();
            for ((_, member), view) in views {
                if view.lagged > 0 {
                    problems.push(format!(
                        "shard {shard} member {member}: {} notifications missed, so not all \
                         blocks could be compared",
                        view.lagged
                    ));
                }
                for (height, digest) in &view.blocks {
                    match known.get(height) {
                        None => drop(known.insert(*height, (*member, *digest))),
                        Some((_, first)) if first == digest => agreed += 1,
                        Some((first, _)) => problems.push(format!(
                            "shard {shard} height {height}: members {first} and {member} executed \
                             different blocks"
                        )),
                    }
                }
            }
            let chain = &self.chains[usize::from(shard)];
            for pair in chain.windows(2) {
                if pair[1].height != pair[0].height + 1 {
                    problems.push(format!(
                        "shard {shard}: after height {} came {}",
                        pair[0].height, pair[1].height
                    ));
                }
            }
        }
        (agreed, problems)
    }
}

/// All that a block summary says, as one digest.
fn content(block: &BlockSummary) -> Digest {
    let mut hasher = Hasher::new("lockstep/bench-block").value(&(
        block.height,
        block.time_us,
        block.window,
        block.seal,
        block.record,
    ));
    for transaction in &block.transactions {
        hasher = hasher.value(&(transaction.id, transaction.applied));
    }
    for credit in &block.credits {
        hasher = hasher.value(&(credit.source, credit.transaction));
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deck::{Account, Signed};
    use lockstep_client::rpc::{BlockCredit, BlockTransaction};
    use lockstep_genesis::{DevelopmentSpec, Genesis};

    fn book(shards: u16, accounts: u32, each: usize, cross: f64) -> Book {
        let spec = DevelopmentSpec {
            shards,
            accounts,
            ..DevelopmentSpec::default()
        };
        let (genesis, keys) = Genesis::development(&spec).unwrap();
        let deck = Deck::sign(&genesis.hash(), &keys.accounts, shards, cross, each, 1);
        Book::new(deck, shards)
    }

    fn block(shard: u16, height: u64, ids: &[(TransactionId, bool)]) -> BlockSummary {
        let one = |(id, applied): &(TransactionId, bool)| BlockTransaction {
            id: *id,
            applied: *applied,
        };
        BlockSummary {
            shard,
            height,
            time_us: height * 1000,
            window: 1,
            seal: false,
            record: None,
            transactions: ids.iter().map(one).collect(),
            credits: Vec::new(),
            lagged: 0,
        }
    }

    fn busy() -> Admission {
        Admission::Busy {
            message: String::new(),
        }
    }

    #[test]
    fn an_account_sends_its_next_transaction_only_after_the_last_one_executed() {
        let mut book = book(1, 2, 2, 0.0);
        let first = book.take(0, 5, 0);
        assert_eq!(first.len(), 2);
        assert_eq!(book.generator().held_back, 3);
        first
            .iter()
            .for_each(|o| book.answered(o.id, &Admission::Accepted));
        assert!(book.take(0, 1, 0).is_empty());
        book.on_block(0, &block(0, 1, &[(first[0].id, true)]), 10);
        let second = book.take(0, 5, 0);
        assert_eq!(second.len(), 1);
        assert_ne!(second[0].id, first[0].id);
        assert_eq!(book.unfinished(), 1);
        book.on_block(
            0,
            &block(0, 2, &[(first[1].id, true), (second[0].id, true)]),
            10,
        );
        assert_eq!(book.exhausted(), 1);
        assert_eq!(book.totals(), (3, 0));
        assert_eq!(book.repeated(), 0);
    }

    #[test]
    fn a_refused_transaction_is_offered_again_and_a_rejected_one_is_not() {
        let mut book = book(1, 1, 2, 0.0);
        let first = book.take(0, 1, 0);
        book.answered(first[0].id, &busy());
        let again = book.take(0, 1, 0);
        assert_eq!(again[0].id, first[0].id);
        let rejected = Admission::Rejected {
            reason: "nonce".into(),
            message: "m".into(),
        };
        book.answered(again[0].id, &rejected);
        assert!(book.take(0, 1, 0).is_empty());
        let generator = book.generator();
        assert_eq!((generator.refused, generator.rejected), (1, 1));
        assert_eq!(generator.reasons, ["nonce: m"]);
    }

    #[test]
    fn what_no_validator_has_room_for_stays_with_its_account() {
        let mut book = book(1, 1, 2, 0.0);
        let first = book.take(0, 1, 0);
        book.hold_back(&first);
        let generator = book.generator();
        assert_eq!((generator.sent, generator.held_back), (0, 1));
        assert_eq!(book.unknown(), 0);
        assert_eq!(book.take(0, 1, 0)[0].id, first[0].id);
    }

    #[test]
    fn latency_counts_from_the_planned_time_and_only_while_measuring() {
        let mut book = book(1, 2, 3, 0.0);
        let before = book.take(0, 1, 1_000);
        book.measure_latency(true);
        let measured = book.take(0, 1, 2_000);
        book.on_block(
            0,
            &block(0, 1, &[(before[0].id, true), (measured[0].id, true)]),
            9_000,
        );
        let local = book.latencies().0.summary().unwrap();
        assert_eq!((local.count, local.max_ms.round()), (1, 7.0));
    }

    #[test]
    fn what_was_planned_and_never_executed_is_the_longest_latency() {
        let mut book = book(1, 2, 3, 0.0);
        book.take(0, 1, 1_000);
        book.measure_latency(true);
        // Two are due, and one account is free.
        let sent = book.take(0, 2, 2_000);
        book.answered(sent[0].id, &busy());
        let again = book.take(0, 1, 3_000);
        book.on_block(0, &block(0, 1, &[(again[0].id, true)]), 9_000);
        book.measure_latency(false);
        let shown = book.latencies().0.summary().unwrap();
        assert_eq!((shown.count, shown.max_ms.round()), (1, 6.0));
        let all = book.latencies_of_planned().summary().unwrap();
        assert_eq!(all.count, 3, "one executed, one refused, one held back");
        assert!(all.p50_ms > 500_000.0, "{}", all.p50_ms);
    }

    #[test]
    fn when_all_that_was_planned_was_executed_nothing_is_added() {
        let mut book = book(1, 1, 1, 0.0);
        book.measure_latency(true);
        let sent = book.take(0, 1, 2_000);
        book.on_block(0, &block(0, 1, &[(sent[0].id, true)]), 9_000);
        let all = book.latencies_of_planned().summary();
        assert_eq!(all, book.latencies().0.summary());
    }

    #[test]
    fn a_cross_shard_transfer_is_finished_when_it_is_credited() {
        let mut book = book(2, 2, 1, 1.0);
        book.measure_latency(true);
        let sent = book.take(0, 1, 1_000);
        book.answered(sent[0].id, &Admission::Accepted);
        book.on_block(0, &block(0, 1, &[(sent[0].id, true)]), 5_000);
        assert_eq!(book.unfinished(), 1);
        assert!(book.latencies().0.summary().is_none());
        let mut there = block(1, 1, &[]);
        there.credits.push(BlockCredit {
            source: 0,
            transaction: sent[0].id,
        });
        book.on_block(0, &there, 31_000);
        assert_eq!(book.unfinished(), 0);
        assert_eq!(book.latencies().1.summary().unwrap().max_ms.round(), 30.0);
        there.height = 2;
        book.on_block(0, &there, 32_000);
        assert_eq!(book.repeated(), 1, "credited twice");
    }

    #[test]
    fn a_credit_seen_before_its_debit_still_settles() {
        let mut book = book(2, 2, 1, 1.0);
        let sent = book.take(0, 1, 1_000);
        let mut there = block(1, 1, &[]);
        there.credits.push(BlockCredit {
            source: 0,
            transaction: sent[0].id,
        });
        book.on_block(0, &there, 4_000);
        book.on_block(0, &block(0, 1, &[(sent[0].id, true)]), 5_000);
        assert_eq!(book.unfinished(), 0);
    }

    #[test]
    fn members_that_differ_are_found() {
        let mut book = book(1, 1, 1, 0.0);
        let id = book.take(0, 1, 0)[0].id;
        for member in 0..4 {
            book.on_block(member, &block(0, 7, &[(id, true)]), 0);
        }
        assert_eq!(book.compare(), (3, vec![]));
        book.on_block(0, &block(0, 8, &[]), 0);
        book.on_block(2, &block(0, 8, &[(id, true)]), 0);
        let (_, problems) = book.compare();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("members 0 and 2"), "{problems:?}");
        book.on_block(0, &block(0, 10, &[]), 0);
        assert!(book.compare().1[1].contains("after height 8 came 10"));
    }

    #[test]
    fn the_share_of_cross_shard_transfers_is_as_asked() {
        let book = book(4, 40, 50, 0.25);
        let of = |f: &dyn Fn(&Account, &Signed) -> bool| {
            let all = book.deck.0.iter();
            all.map(|a| a.transactions.iter().filter(|t| f(a, t)).count())
                .sum::<usize>()
        };
        let crossing = of(&|account, transaction| transaction.destination != account.shard);
        assert!((400..600).contains(&crossing), "{crossing} of 2000");
    }
}
