//! What must hold after every step of a world. Each checker is a file; together they see every
//! step, every message and every executed block. Byzantine members are seen and never judged.

mod agreement;
mod before_sent;
mod bodies;
mod bounds;
pub mod certificates;
mod commit;
mod committee;
mod conserved;
mod domains;
mod durable;
mod exactly_once;
mod monotone;
mod old_copies;
mod statements;
pub(crate) mod twice;
mod votable;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_consensus as consensus;
use lockstep_consensus::SafetyRecord;
use lockstep_genesis::Genesis;
use lockstep_ledger::{Ledger, Store};
use lockstep_shard::{
    BarrierRecord, ExecutedBlock, Executor, Fatal, Member, Message, Observer, Peer, Ready,
};
use lockstep_types::{
    Blame, CommitProof, CommitteeId, KeyedHashEngine, LinkedBlock, Rejection, Time, TransactionId,
};

use crate::byzantine::{Lies, Post};

pub use agreement::Agreement;
pub use before_sent::DurableFirst;
pub use bounds::Bounds;
pub use commit::CommitRule;
pub use committee::CommitteeChecker;
use conserved::Conserved;
pub use domains::Domains;
pub use durable::Durability;
pub use exactly_once::ExactlyOnce;
pub use monotone::Monotone;
use old_copies::OldCopies;
pub use statements::Statements;
pub use votable::Votable;

/// Something that must hold does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Broken {
    /// Names the invariant and what was seen.
    pub fn new(invariant: &'static str, detail: String) -> Self {
        Broken { invariant, detail }
    }
}

/// All checkers of a world.
pub struct Checkers {
    /// One block per committee and height; commits in order, without gaps.
    pub agreement: Agreement,
    /// What may be signed, and in which order.
    pub statements: Statements,
    /// What is voted for.
    pub votable: Votable,
    /// Who signed two statements that exclude each other.
    observer: Observer,
    /// Contradictions of it that were judged.
    judged: usize,
    /// Who may have forgotten what it said.
    old_copies: OldCopies,
    /// What only rises.
    pub monotone: Monotone,
    /// What was final stays.
    pub durability: Durability,
    /// What signatures are for.
    pub domains: Domains,
    /// What is on disk before it is sent.
    pub before_sent: DurableFirst,
    /// How full things are.
    pub bounds: Bounds,
    /// What makes a block final.
    pub commit: CommitRule,
    /// Every transaction and credit executes at most once.
    pub exactly_once: ExactlyOnce,
    /// Value is conserved at every record, where shards' checkpoints are their own.
    conserved: Option<Conserved>,
    /// Faulty members, and what became of their lies.
    byzantine: BTreeMap<Peer, Lies>,
    /// May stop, and does nothing else that a correct member does not.
    frail: BTreeSet<Peer>,
    /// Keep every rule, and forget what they took in earlier than they should.
    hasty: BTreeSet<Peer>,
    genesis: Arc<Genesis>,
    broken: Option<Broken>,
}

impl Checkers {
    /// Checkers for one chain.
    pub fn new(genesis: Arc<Genesis>, engine: KeyedHashEngine) -> Self {
        Checkers {
            agreement: Agreement::default(),
            statements: Statements::default(),
            votable: Votable::new(&genesis),
            conserved: Some(Conserved::new(&genesis)),
            observer: Observer::default(),
            judged: 0,
            old_copies: OldCopies::default(),
            monotone: Monotone::default(),
            durability: Durability::default(),
            domains: Domains::new(genesis.clone()),
            before_sent: DurableFirst::default(),
            bounds: Bounds::default(),
            commit: CommitRule::new(genesis.clone(), engine),
            exactly_once: ExactlyOnce::new(genesis.clone()),
            genesis,
            byzantine: BTreeMap::new(),
            frail: BTreeSet::new(),
            hasty: BTreeSet::new(),
            broken: None,
        }
    }

    /// The first thing that does not hold.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Notes something that a caller has found not to hold.
    pub fn note(&mut self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken.get_or_insert(broken);
        }
    }

    /// This member is not judged.
    pub fn excuse(&mut self, peer: Peer) {
        self.byzantine.entry(peer).or_default();
    }

    /// Is this member expected to keep the rules?
    pub fn is_correct(&self, peer: &Peer) -> bool {
        !self.byzantine.contains_key(peer)
    }

    /// The faulty members, and what became of their lies.
    pub fn lies(&self) -> &BTreeMap<Peer, Lies> {
        &self.byzantine
    }

    /// A liar sends, or does not send, something.
    pub(crate) fn on_lied(&mut self, peer: &Peer, post: &Post) {
        let Some(lies) = self.byzantine.get_mut(peer) else {
            return;
        };
        let told = post.parcels.iter().filter(|(.., lie)| *lie).count();
        lies.told += told as u64;
        lies.kept_back += post.kept_back;
        for effect in &post.effects {
            lies.on_answer(effect);
        }
    }

    /// Something of `from` was dropped before it was looked at.
    pub(crate) fn on_stale(&mut self, from: &Peer) {
        if let Some(lies) = self.byzantine.get_mut(from) {
            lies.on_answer("not worth checking");
        }
    }

    /// This member's disk fails: it may stop at any time, and keeps every other rule.
    pub fn let_stop(&mut self, peer: Peer) {
        self.frail.insert(peer);
    }

    /// This member's safety record is an old one, or none. What it said before still counts.
    pub(crate) fn on_amnesia(&mut self, peer: &Peer) {
        self.monotone.forget(peer);
        self.agreement.on_amnesia(peer);
    }

    /// Checkpoints are made up here: what they say that shards hold need not add up.
    pub(crate) fn expect_no_sums(&mut self) {
        self.conserved = None;
    }

    fn count(&mut self, record: &BarrierRecord) {
        if let Some(conserved) = &mut self.conserved {
            let result = conserved.on_record(record);
            self.note(result);
        }
    }

    /// This member has no safety record any more, and all else. What it said before still counts.
    pub(crate) fn on_record_lost(&mut self, peer: &Peer) {
        self.monotone.forget(peer);
    }

    /// This member fetches a state: what it commits next may be any block above.
    pub(crate) fn on_fetching(&mut self, peer: &Peer) {
        self.agreement.on_amnesia(peer);
    }

    /// A copy of this member's disk is kept.
    pub(crate) fn on_copy_kept(&mut self, peer: &Peer) {
        self.old_copies.on_kept(peer);
    }

    /// Bits flip in this member's safety file. A newest record that cannot be read is like one
    /// whose write was torn: the start goes on with the one before it, unless others know better.
    pub(crate) fn on_record_flipped(&mut self, peer: &Peer) {
        self.monotone.forget(peer);
        self.old_copies.on_flipped(peer);
    }

    /// And put back.
    pub(crate) fn on_copy_restored(&mut self, peer: &Peer) {
        self.old_copies.on_restored(peer);
    }

    /// This member's clock is wrong: what waits at it may be given up at any time.
    pub fn let_forget(&mut self, peer: Peer) {
        self.hasty.insert(peer);
    }

    /// Is this member expected to bring through what it has taken in?
    pub fn is_dependable(&self, peer: &Peer) -> bool {
        self.is_sound(peer) && !self.hasty.contains(peer)
    }

    /// Is this member expected to keep the rules and to keep running?
    pub fn is_sound(&self, peer: &Peer) -> bool {
        self.is_correct(peer) && !self.frail.contains(peer)
    }

    pub(crate) fn on_submitted(&mut self, id: TransactionId) {
        self.exactly_once.on_submitted(id);
    }

    pub(crate) fn on_step(&mut self, peer: &Peer, now: Time, ready: &Ready) {
        if !self.is_correct(peer) {
            return;
        }
        for (from, reason) in &ready.refused {
            if let Some(lies) = self.byzantine.get_mut(from) {
                lies.on_answer(reason);
            }
        }
        if let Some(record) = ready.record() {
            self.statements.on_record(peer, record);
            let result = self.monotone.on_record(peer, record);
            self.note(result);
            let result = self.votable.on_record(peer, now, record);
            self.note(result);
        }
        for evidence in &ready.evidence {
            let author = Peer {
                committee: peer.committee,
                member: evidence.author(),
            };
            if let Some(lies) = self.byzantine.get_mut(&author) {
                lies.evidence += 1;
            } else {
                let detail = format!("{peer:?} has evidence against {author:?}: {evidence:?}");
                self.note(Err(Broken::new("no evidence against the correct", detail)));
            }
        }
        let result = before_sent::checkpoints_wait(peer, &ready.prompt);
        self.note(result);
        for block in &ready.execute {
            self.on_committed(peer, &block.link, &block.proof);
        }
    }

    /// A member, and what executes for it, have done a step.
    pub(crate) fn on_held(&mut self, peer: &Peer, member: &Member, executor: Option<&Executor>) {
        if self.is_correct(peer) {
            let result = self.bounds.check(peer, member, executor);
            self.note(result);
        }
    }

    pub(crate) fn on_committed(&mut self, peer: &Peer, link: &LinkedBlock, proof: &CommitProof) {
        if !self.is_correct(peer) {
            return;
        }
        let result = self.agreement.on_committed(peer, &link.block);
        self.note(result);
        if proof.headers.first() != Some(link.block.header()) {
            let detail = format!("{peer:?} at {}", link.block.header().height);
            self.note(Err(Broken::new("a proof is for its block", detail)));
        }
        let result = self.commit.check(peer.committee, proof, false);
        self.note(result);
    }

    pub(crate) fn on_sent(&mut self, peer: &Peer, message: &Message) {
        if !self.is_correct(peer) {
            return;
        }
        self.on_proposed(peer, message);
        let result = self.statements.on_sent(peer, message);
        if result.is_err() && self.old_copies.may_sign_twice(peer) {
            return self.excuse(*peer);
        }
        self.note(result);
        if let Message::Consensus(consensus::Message::Vote(vote)) = message {
            let result = self.votable.on_vote(peer, vote);
            self.note(result);
        }
        let result = certificates::check(&self.genesis, peer.committee, message);
        self.note(result);
        let result = self.domains.on_sent(peer, message);
        self.note(result);
        let is_correct = |peer: &Peer| self.is_correct(peer);
        let result = self.before_sent.on_sent(peer, message, &is_correct);
        self.note(result);
        if let Message::Record(record) = message {
            let result = self.agreement.on_record(record);
            self.note(result);
            self.count(&record.record);
        }
    }

    /// A message passed every check, whoever sent it. What a liar proposes counts from here on:
    /// before, anything may stand beside its block.
    pub(crate) fn on_checked(&mut self, from: &Peer, message: &Message) {
        if !self.is_correct(from) {
            self.on_proposed(from, message);
        }
        self.observer.on_message(from.committee, message);
        let found = self.observer.contradictions();
        let by_correct = |by: &Peer| !self.byzantine.contains_key(by);
        let new = found[self.judged..].iter().find(|new| by_correct(&new.by));
        let result = new.map_or(Ok(()), |new| {
            Err(Broken::new("no double vote", new.to_string()))
        });
        self.judged = found.len();
        self.note(result);
    }

    /// A correct member's record is on disk.
    pub(crate) fn on_record_synced(&mut self, peer: &Peer, record: &SafetyRecord) {
        self.before_sent.on_durable(peer, record);
        if self.is_correct(peer) {
            let result = self.monotone.on_synced(peer, record);
            self.note(result);
        }
    }

    /// A member starts with what its safety file holds. When the log ends before what the record
    /// vouches for, nothing was released under that record; the next one takes its place, so that
    /// it does not count as one on disk.
    pub(crate) fn on_recovered(
        &mut self,
        peer: &Peer,
        record: Option<&SafetyRecord>,
        log_behind: bool,
    ) {
        self.old_copies.on_start(peer);
        self.agreement.on_start(peer);
        if let Some(record) = record
            && !log_behind
        {
            self.before_sent.on_durable(peer, record);
        }
        if self.is_correct(peer) {
            let result = self.monotone.on_start(peer, record, log_behind);
            self.note(result);
        }
    }

    /// A member tells its clients what it has executed.
    pub(crate) fn on_told(&mut self, peer: &Peer, block: &ExecutedBlock) {
        if self.is_correct(peer) {
            let result = self.durability.on_told(peer, block);
            self.note(result);
        }
    }

    fn on_proposed(&mut self, peer: &Peer, message: &Message) {
        if let Message::Consensus(consensus::Message::Proposal(proposal)) = message {
            self.statements.on_proposal(peer.committee, proposal);
            self.votable.on_proposal(peer.committee, proposal);
        }
    }

    /// A correct member found nothing wrong with a message and takes it in.
    pub(crate) fn on_accepted(&mut self, peer: &Peer, message: &Message) {
        if let Message::Record(record) = message
            && self.is_correct(peer)
        {
            let result = self.commit.check(CommitteeId::Beacon, &record.proof, true);
            self.note(result);
        }
    }

    pub(crate) fn on_executed(&mut self, peer: &Peer, block: &ExecutedBlock, ledger: &Ledger) {
        if !self.is_correct(peer) {
            return;
        }
        let result = self.agreement.on_executed(peer, block);
        self.note(result);
        if let Some(record) = &block.record {
            let result = self.agreement.on_applied(peer, record);
            self.note(result);
            self.count(&record.record);
            let result = self.commit.check(CommitteeId::Beacon, &record.proof, false);
            self.note(result);
        }
        let result = self.exactly_once.on_executed(peer, block);
        self.note(result);
        let result = self.exactly_once.on_ledger(peer, ledger);
        self.note(result);
    }

    /// A block that was executed, and what executing it on the disk's state has come to.
    pub(crate) fn on_executed_again(
        &mut self,
        peer: &Peer,
        again: &Result<ExecutedBlock, Fatal>,
        block: &ExecutedBlock,
    ) {
        let result = twice::compare(peer, again, block);
        self.note(result);
    }

    /// A member is about to start from this disk.
    pub(crate) fn on_start(&mut self, peer: &Peer, store: &dyn Store) {
        if self.is_sound(peer) && peer.committee.shard().is_some() {
            let result = bodies::check(peer, store);
            self.note(result);
        }
    }

    pub(crate) fn on_rejected(&mut self, from: &Peer, rejection: &Rejection) {
        if let Some(lies) = self.byzantine.get_mut(from) {
            lies.on_answer(&rejection.to_string());
        } else if rejection.blame() == Blame::Sender {
            let detail = format!("what correct {from:?} sent was refused: {rejection}");
            self.note(Err(Broken::new("honest messages are accepted", detail)));
        }
    }

    /// A member ended by itself, or did not start.
    pub(crate) fn on_stop(&mut self, peer: &Peer, reason: &dyn core::fmt::Display) {
        if let Some(lies) = self.byzantine.get_mut(peer) {
            lies.on_answer(&format!("stops: {reason}"));
        } else if self.is_sound(peer) {
            let detail = format!("{peer:?} stopped: {reason}");
            self.note(Err(Broken::new("correct members do not stop", detail)));
        }
    }
}
