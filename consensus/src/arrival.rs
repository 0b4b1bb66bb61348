//! How a replica comes back, and what it may not do until it has: it signs nothing before enough
//! others have said where the committee stands and what they have seen of its own statements.
//!
//! With its record it waits for q − 1 answers: one that shows a statement beyond the record means
//! an old copy of the disk, or a second copy of the validator. Without a record it waits for q
//! answers and sets a floor. Of the q members that signed the highest certificate it may ever have
//! held, n - 2f answer, at least one of them correct, and that one has entered a view at most one
//! below; so it cannot have signed anything above the floor. It signs again after the committee,
//! without it, has named a record in a committed block above the floor: then nothing it may have
//! promised can matter.
//!
//! Breaks if: something is signed while [`Replica::may_sign`] is false, or a replica without its
//! record is started as one that has never run.

use std::collections::BTreeSet;

use lockstep_types::{Block, MemberIndex, Signature, Time, View};

use crate::ready::{Ready, To};
use crate::{Application, Challenge, Fatal, Message, Refusal, Replica, Testimony};

/// How a replica comes to its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nobody needs to be asked: for worlds in which nothing is ever lost, and for adversaries that
    /// share a key with another replica and should not stop at the first sight of it.
    Unasked,
    /// From what is on its disk, or for the very first time.
    FromDisk(Challenge),
    /// Its safety record is lost. It counts as faulty until it has rejoined.
    RecordLost(Challenge),
}

/// A start that waits for answers.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) challenge: Challenge,
    /// The record is lost.
    pub(crate) lost: bool,
    pub(crate) answered: BTreeSet<MemberIndex>,
    /// The highest view for which somebody has shown a statement of ours.
    pub(crate) signed: View,
    ask_at: Option<Time>,
}

impl Asking {
    pub(crate) fn new(arrival: Arrival) -> Option<Asking> {
        let (challenge, lost) = match arrival {
            Arrival::Unasked => return None,
            Arrival::RecordLost(_) if lockstep_types::planted!(WipedNodeVotesAtOnce) => {
                return None;
            }
            Arrival::FromDisk(_) if lockstep_types::planted!(StartWithoutAsking) => return None,
            Arrival::FromDisk(challenge) => (challenge, false),
            Arrival::RecordLost(challenge) => (challenge, true),
        };
        Some(Asking {
            challenge,
            lost,
            answered: BTreeSet::new(),
            signed: View::ZERO,
            ask_at: None,
        })
    }
}

impl<A: Application> Replica<A> {
    /// May this replica sign proposals, votes and timeouts?
    pub fn may_sign(&self) -> bool {
        self.asking.is_none() && !self.safety.record().is_silent
    }

    /// Answers needed before it may.
    fn answers_needed(&self, lost: bool) -> usize {
        let quorum = self.context().committee.quorum();
        if lost { quorum } else { quorum - 1 }
    }

    /// A committee that tolerates no fault cannot restore a member that lost its record.
    pub(crate) fn check_arrival(&self) -> Result<(), Fatal> {
        let others = self.context().committee.size() - 1;
        match &self.asking {
            Some(asking) if self.answers_needed(asking.lost) > others => Err(Fatal::NobodyToAsk),
            _ => Ok(()),
        }
    }

    /// Asks whoever has not answered, every resend interval, and goes on when enough have.
    pub(crate) fn ask(&mut self, now: Time, out: &mut Ready) {
        let interval = self.pacemaker.config().resend;
        let Some(asking) = &self.asking else {
            return;
        };
        if asking.answered.len() >= self.answers_needed(asking.lost) {
            return self.end_asking();
        }
        // A clock that was set back must not stretch the wait.
        let waits = |at: Time| now < at && at <= now.after(interval);
        let next = match asking.ask_at {
            Some(at) if waits(at) => at,
            _ => {
                for peer in self.context().committee.indices() {
                    if peer != self.me() && !asking.answered.contains(&peer) {
                        out.send(To::Member(peer), Message::Inquiry(asking.challenge));
                    }
                }
                now.after(interval)
            }
        };
        self.asking.as_mut().expect("just seen").ask_at = Some(next);
        self.wake(next);
    }

    /// A connection was made: the peer may not have heard the question.
    pub(crate) fn ask_again(&self, peer: MemberIndex, out: &mut Ready) {
        if let Some(asking) = &self.asking
            && !asking.answered.contains(&peer)
        {
            out.send(To::Member(peer), Message::Inquiry(asking.challenge));
        }
    }

    fn end_asking(&mut self) {
        let asking = self.asking.take().expect("called while asking");
        if asking.lost {
            let floor = self.safety.record().view().next().max(asking.signed);
            self.safety.start_above(floor);
        }
        // The view may have had its time while nothing could be signed.
        self.pacemaker.start_over();
    }

    /// Somebody has started and asks.
    pub(crate) fn on_inquiry(
        &mut self,
        now: Time,
        from: MemberIndex,
        challenge: Challenge,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        let lost = self.asking.as_ref().is_some_and(|asking| asking.lost);
        if lost || self.safety.record().is_silent {
            return Err(Refusal::Recovering);
        }
        // Somewhat more often than a correct member asks.
        let interval = self.pacemaker.config().resend / 2;
        let lately = |at: &Time| now >= *at && now.since(*at) < interval;
        if self.testified.get(&from).is_some_and(lately) {
            return Err(Refusal::TooManyRequests(1));
        }
        self.testified.insert(from, now);
        let (vote, timeout) = self.tally.newest_of(from);
        let testimony = Testimony {
            author: self.me(),
            asker: from,
            challenge,
            certificates: self.certificates(),
            vote,
            timeout,
            signature: Signature::new([0; 64]),
        };
        let testimony = self.safety.sign_testimony(testimony, &self.context);
        out.send(To::Member(from), Message::Testimony(Box::new(testimony)));
        Ok(())
    }

    /// An answer came. Its certificates count like any; its author counts once.
    pub(crate) fn on_testimony(
        &mut self,
        now: Time,
        from: MemberIndex,
        testimony: Testimony,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        self.on_certificates(now, from, &testimony.certificates, out);
        let me = self.me();
        let Some(asking) = &mut self.asking else {
            return Ok(()); // enough have answered before
        };
        let is_ours = testimony.asker == me && testimony.challenge == asking.challenge;
        if testimony.author != from || !is_ours {
            return Err(Refusal::NotAsked);
        }
        asking.answered.insert(from);
        if let Some(vote) = &testimony.vote {
            self.check_own_vote(vote, out);
        }
        if let Some(timeout) = &testimony.timeout {
            self.check_own_timeout(timeout, out);
        }
        Ok(())
    }

    /// A committed block above the floor that names a record ends the silence.
    pub(crate) fn rejoin_at(&mut self, committed: &Block) {
        let record = self.safety.record();
        if record.is_silent
            && committed.header().view > record.floor
            && self.application.names_record(committed)
        {
            self.safety.lift_floor();
            self.pacemaker.start_over();
        }
    }
}
