//! What comes out of a step: what to write, what to send, what was decided.
//!
//! A step's votes and timeouts rest on its writes. They sit in [`Held`], whose only way out takes
//! the token that storage returns after a sync. What rests on no write of ours (proposals under a
//! reserved view, certificates, requests, answers) is in `prompt` and may go at once.
//!
//! Breaks if: a vote or a timeout gets into `prompt` before the sync that covers it.

use std::sync::Arc;

use lockstep_types::{
    Block, BlockId, CommitProof, Durable, Height, LinkedBlock, LogPosition, MemberIndex, Time,
};

use crate::{Ancestry, Evidence, Fatal, Message, Refusal, SafetyRecord};

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To every other member.
    All,
    /// To one member.
    Member(MemberIndex),
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// To whom.
    pub to: To,
    /// What.
    pub message: Message,
}

/// Messages that must not leave before the writes they rest on are on disk.
#[derive(Clone, Debug, Default)]
#[must_use = "dropped messages are votes and timeouts that nobody hears"]
pub struct Held {
    position: LogPosition,
    messages: Vec<Outbound>,
}

impl Held {
    pub(crate) fn new(position: LogPosition, messages: Vec<Outbound>) -> Self {
        Held { position, messages }
    }

    /// What must be synced first: the last write of the step.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Gives the messages out.
    ///
    /// # Panics
    /// When `synced` does not cover [`Held::position`]: the caller would send what a crash
    /// forgets.
    pub fn release(self, synced: &Durable) -> Vec<Outbound> {
        assert!(
            synced.covers(self.position),
            "messages resting on {:?} released at {:?}",
            self.position,
            synced.position()
        );
        self.messages
    }
}

/// A block that is final, and what convinces an outsider of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBlock {
    /// The block.
    pub link: Arc<LinkedBlock>,
    /// Its proof.
    pub proof: CommitProof,
    /// What decides about its children: what a restart from this block must be given.
    pub ancestry: Ancestry,
}

impl CommittedBlock {
    /// The block itself.
    pub fn block(&self) -> &Block {
        &self.link.block
    }
}

/// A request for blocks so old that only the host's log has them. The host answers `peer` with
/// [`Message::answer`] over its committed blocks from height `from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Who asks.
    pub peer: MemberIndex,
    /// The first height wanted.
    pub from: Height,
    /// The last block wanted; it is known to be on the committed chain or to extend it.
    pub tip: BlockId,
}

/// The result of one step.
#[derive(Clone, Debug, Default)]
#[must_use = "a dropped step loses votes, blocks and timers"]
pub struct Ready {
    pub(crate) log: Vec<Arc<LinkedBlock>>,
    pub(crate) record: Option<SafetyRecord>,
    pub(crate) held: Held,
    /// Messages that rest on no write of this step: send them at once.
    pub prompt: Vec<Outbound>,
    /// Blocks that became final, in order.
    pub committed: Vec<CommittedBlock>,
    /// Members that contradicted themselves.
    pub evidence: Vec<Evidence>,
    /// What was not acted on, from whom, and why.
    pub refused: Vec<(MemberIndex, Refusal)>,
    /// Requests for the host to answer from its log.
    pub serve: Vec<LogRequest>,
    /// When to step again if nothing happens before. `None`: nothing is waited for.
    pub wake_at: Option<Time>,
    /// The replica must not be stepped again.
    pub stop: Option<Fatal>,
}

/// The parts of a [`Ready`], for a host that nests it in its own.
#[derive(Debug)]
pub struct Parts {
    /// Blocks to append to the log, parents first.
    pub log: Vec<Arc<LinkedBlock>>,
    /// The safety record to write, if a statement was signed.
    pub record: Option<SafetyRecord>,
    /// Messages that wait for both.
    pub held: Held,
    /// Messages that do not.
    pub prompt: Vec<Outbound>,
    /// Blocks that became final, in order.
    pub committed: Vec<CommittedBlock>,
    /// Members that contradicted themselves.
    pub evidence: Vec<Evidence>,
    /// What was not acted on.
    pub refused: Vec<(MemberIndex, Refusal)>,
    /// Requests for the host to answer from its log.
    pub serve: Vec<LogRequest>,
    /// When to step again.
    pub wake_at: Option<Time>,
    /// Stop.
    pub stop: Option<Fatal>,
}

impl Ready {
    /// Blocks to append to the log, parents first.
    pub fn log(&self) -> &[Arc<LinkedBlock>] {
        &self.log
    }

    /// The safety record to write. It may be written in parallel with the log.
    pub fn record(&self) -> Option<&SafetyRecord> {
        self.record.as_ref()
    }

    /// The position of this step's last write, or [`LogPosition::START`] when it wrote nothing.
    pub fn position(&self) -> LogPosition {
        self.held.position
    }

    /// Gives out the messages that waited for this step's writes. Take `prompt` before.
    ///
    /// # Panics
    /// When `synced` does not cover this step's writes.
    pub fn release(self, synced: &Durable) -> Vec<Outbound> {
        self.held.release(synced)
    }

    /// Takes the step apart. What waits stays locked up in [`Held`].
    pub fn into_parts(self) -> Parts {
        Parts {
            log: self.log,
            record: self.record,
            held: self.held,
            prompt: self.prompt,
            committed: self.committed,
            evidence: self.evidence,
            refused: self.refused,
            serve: self.serve,
            wake_at: self.wake_at,
            stop: self.stop,
        }
    }

    pub(crate) fn send(&mut self, to: To, message: Message) {
        self.prompt.push(Outbound { to, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "released at")]
    fn nothing_leaves_before_its_write_is_synced() {
        let first = LogPosition::START.next();
        let held = Held::new(first.next(), Vec::new());
        let _ = held.release(&Durable::synced(first));
    }
}
