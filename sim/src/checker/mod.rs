//! What must hold after every step of a world. Each checker is a file; together they see every
//! step, every message and every executed block.

mod agreement;
mod double_vote;
mod exactly_once;

use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::Ledger;
use lockstep_shard::{ExecutedBlock, Fatal, Message, Peer, Ready};
use lockstep_types::{Rejection, TransactionId};

pub use agreement::Agreement;
pub use double_vote::DoubleVote;
pub use exactly_once::ExactlyOnce;

/// Something that must hold does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

/// All checkers of a world.
pub struct Checkers {
    /// One block per committee and height; commits in order, without gaps.
    pub agreement: Agreement,
    /// One statement per member, view and kind.
    pub double_vote: DoubleVote,
    /// Every transaction and credit executes at most once; value is conserved.
    pub exactly_once: ExactlyOnce,
    broken: Option<Broken>,
}

impl Checkers {
    /// Checkers for one chain.
    pub fn new(genesis: Arc<Genesis>) -> Self {
        Checkers {
            agreement: Agreement::default(),
            double_vote: DoubleVote::default(),
            exactly_once: ExactlyOnce::new(genesis),
            broken: None,
        }
    }

    /// The first thing that does not hold.
    pub fn broken(&self) -> Option<Broken> {
        self.broken.clone()
    }

    fn note(&mut self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken.get_or_insert(broken);
        }
    }

    pub(crate) fn on_submitted(&mut self, id: TransactionId) {
        self.exactly_once.on_submitted(id);
    }

    pub(crate) fn on_step(&mut self, peer: &Peer, ready: &Ready) {
        if let Some(fatal) = &ready.stop {
            self.on_fatal(peer, fatal);
        }
        for block in &ready.execute {
            let result = self.agreement.on_committed(peer, &block.link.block);
            self.note(result);
        }
    }

    pub(crate) fn on_sent(&mut self, peer: &Peer, message: &Message) {
        let result = self.double_vote.on_sent(peer, message);
        self.note(result);
        if let Message::Record(record) = message {
            let result = self.agreement.on_record(record);
            self.note(result);
        }
    }

    pub(crate) fn on_executed(&mut self, peer: &Peer, block: &ExecutedBlock) {
        let result = self.agreement.on_executed(peer, block);
        self.note(result);
        let result = self.exactly_once.on_executed(peer, block);
        self.note(result);
    }

    pub(crate) fn on_ledger(&mut self, peer: &Peer, ledger: &Ledger) {
        let result = self.exactly_once.on_ledger(peer, ledger);
        self.note(result);
    }

    pub(crate) fn on_rejected(&mut self, from: &Peer, rejection: &Rejection) {
        if rejection.blame() == lockstep_types::Blame::Sender {
            let detail = format!("what correct {from:?} sent was refused: {rejection}");
            self.note(Err(Broken {
                invariant: "honest messages are accepted",
                detail,
            }));
        }
    }

    pub(crate) fn on_fatal(&mut self, peer: &Peer, fatal: &Fatal) {
        let detail = format!("{peer:?} stopped: {fatal}");
        self.note(Err(Broken {
            invariant: "correct members do not stop",
            detail,
        }));
    }
}
