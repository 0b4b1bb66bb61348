//! What goes into and comes out of a member's step. Outgoing messages that rest on writes stay
//! locked up until storage returns the token for them; see [`Ready::release`].

use std::sync::Arc;

use lockstep_consensus::{self as consensus, Ancestry, Evidence, Held, SafetyRecord};
use lockstep_ledger::{Bundle, Receipt, Refusal as Skip, Transaction, Write};
use lockstep_types::{
    CommitProof, Durable, EffectsDigest, Height, LinkedBlock, LogPosition, MemberIndex, Time,
    TransactionId, Verified, WindowNumber,
};

use crate::message::{Message, Outbound, Peer, Phase, PhaseStamp, Request};
use crate::{Batch, CertifiedRecord, Checkpoint, Place};

/// One thing that happened to a member.
#[derive(Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A message from another replica, already checked.
    Received {
        /// The seat of the sender, as its connection proves it.
        from: Peer,
        /// The message.
        message: Verified<Message>,
    },
    /// A connection to another replica was made.
    Connected {
        /// Its seat.
        peer: Peer,
    },
    /// A client's transaction, already checked and admitted by the ledger.
    Submitted {
        /// The transaction.
        transaction: Verified<Transaction>,
    },
    /// The executor has executed a block.
    Executed(Box<ExecutedBlock>),
    /// Everything up to this point is on disk.
    Synced(Durable),
}

/// A committed block with everything that execution needs.
#[derive(Clone, Debug)]
pub struct ExecuteBlock {
    /// The block.
    pub link: Arc<LinkedBlock>,
    /// Why it is final.
    pub proof: CommitProof,
    /// What consensus must know of its ancestry to go on from it.
    pub ancestry: Ancestry,
    /// The chain state after it.
    pub place: Arc<Place>,
    /// The record it names.
    pub record: Option<Arc<CertifiedRecord>>,
    /// The bundles it lists.
    pub bundles: Vec<Arc<Bundle>>,
    /// The batches it lists.
    pub batches: Vec<Arc<Batch>>,
}

/// What executing a block came to.
#[derive(Clone, Debug)]
pub struct ExecutedBlock {
    /// The block.
    pub link: Arc<LinkedBlock>,
    /// The chain state after it.
    pub place: Arc<Place>,
    /// Its height.
    pub height: Height,
    /// The chained digest there.
    pub digest: EffectsDigest,
    /// Receipts of its credits and transactions, in order.
    pub receipts: Arc<Vec<Receipt>>,
    /// Transactions it passed over.
    pub skipped: Vec<(TransactionId, Skip)>,
    /// Why the block is final.
    pub proof: CommitProof,
    /// What there is to sign, when the block is a seal.
    pub checkpoint: Option<Checkpoint>,
    /// Entries that a record has just certified, for other shards.
    pub bundles: Vec<Arc<Bundle>>,
    /// The record it applied.
    pub record: Option<Arc<CertifiedRecord>>,
}

/// Why a member must stop. It keeps its files as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Consensus stopped.
    #[error(transparent)]
    Consensus(#[from] consensus::Fatal),
    /// A certified block names another effects digest than execution came to here.
    #[error("executed height {height} to {ours}, a quorum has {theirs}: this replica diverged")]
    Diverged {
        /// The height.
        height: Height,
        /// Our digest.
        ours: EffectsDigest,
        /// The certified one.
        theirs: EffectsDigest,
    },
    /// The ledger's invariants are broken.
    #[error("{0}")]
    Ledger(String),
    /// The store failed or is damaged.
    #[error("{0}")]
    Store(String),
}

/// The result of one step.
#[derive(Debug, Default)]
#[must_use = "a dropped step loses writes, votes and timers"]
pub struct Ready {
    pub(crate) writes: Vec<Write>,
    pub(crate) record: Option<SafetyRecord>,
    pub(crate) position: LogPosition,
    pub(crate) held: Held,
    pub(crate) held_own: Vec<Outbound>,
    /// Messages that rest on no write: send them at once.
    pub prompt: Vec<Outbound>,
    /// Committed blocks for the executor, in order.
    pub execute: Vec<ExecuteBlock>,
    /// Questions to answer from the store, beside consensus.
    pub serve: Vec<(Peer, Request)>,
    /// Requests for old blocks, to answer from the store.
    pub serve_blocks: Vec<consensus::LogRequest>,
    /// Members that contradicted themselves.
    pub evidence: Vec<Evidence>,
    /// What was refused, from whom, and why.
    pub refused: Vec<(Peer, String)>,
    /// Submitted transactions for which there was no room.
    pub turned_away: Vec<TransactionId>,
    /// Steps of the barrier.
    pub phases: Vec<PhaseStamp>,
    /// When to step again if nothing happens before.
    pub wake_at: Option<Time>,
    /// The member must be recovered anew, from what the disk holds and with its newest safety record,
    /// and not be stepped again. It has fetched its state (see
    /// [`finish_state_sync`](crate::finish_state_sync)), or it is so far behind that it will fetch
    /// one. Either way nothing of it is under way: all its writes are synced, and all blocks that it
    /// gave out are executed.
    pub restart: bool,
    /// The member must not be stepped again.
    pub stop: Option<Fatal>,
}

impl Ready {
    /// What to write to the log, in one atomic synced write.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The safety record to write to its own file. It may be written in parallel with the log.
    pub fn record(&self) -> Option<&SafetyRecord> {
        self.record.as_ref()
    }

    /// What [`Ready::release`] asks to be synced.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// Is there anything to write, or anything waiting for a write?
    pub fn needs_sync(&self) -> bool {
        !self.writes.is_empty()
            || self.record.is_some()
            || !self.held.is_empty()
            || !self.held_own.is_empty()
    }

    pub(crate) fn phase(&mut self, at: Time, barrier: WindowNumber, phase: Phase) {
        self.phases.push(PhaseStamp { barrier, phase, at });
    }

    pub(crate) fn refuse(&mut self, from: Peer, reason: impl ToString) {
        self.refused.push((from, reason.to_string()));
    }

    /// Gives out the messages that waited for this step's writes. Take the public parts before.
    ///
    /// # Panics
    /// When `synced` does not cover this step's writes.
    pub fn release(self, synced: &Durable) -> Vec<Outbound> {
        assert!(
            synced.covers(self.position),
            "messages resting on {:?} released at {:?}",
            self.position,
            synced.position()
        );
        let consensus = self.held.release(synced).into_iter().map(outbound);
        consensus.chain(self.held_own).collect()
    }
}

/// A consensus message in the wire's form.
pub(crate) fn outbound(message: consensus::Outbound) -> Outbound {
    use crate::message::Destination;
    let to = match message.to {
        consensus::To::All => Destination::Committee,
        consensus::To::Member(member) => Destination::Seat(member),
    };
    Outbound {
        to,
        message: Message::Consensus(message.message),
    }
}

/// How a validator stands, for people and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The current view.
    pub view: lockstep_types::View,
    /// Its leader.
    pub leader: MemberIndex,
    /// Proposals, votes and timeouts are signed. Not before others have answered after a start,
    /// nor, without the safety record, before the committee is past it.
    pub signs: bool,
    /// The newest committed height.
    pub committed: Height,
    /// The newest executed height.
    pub executed: Height,
    /// The open window; at the beacon, the number of the next record.
    pub window: WindowNumber,
    /// The newest record applied; at the beacon, committed.
    pub record: WindowNumber,
    /// The window is sealed and waits for its record.
    pub sealed: bool,
    /// Transactions taken in here and not executed.
    pub pending: usize,
}
