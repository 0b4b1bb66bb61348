//! Missing blocks. A replica asks for a whole range, from just above what it has committed to a
//! block it knows to be certified, one request at a time. Each goes to the next member that signed
//! the certificate, and who did not answer in time, or gave less than an answer holds, is passed over
//! until all others were. So who has the blocks is found once and stays with us, and who has them and
//! gives a few at a time does not. An answer is as good when it comes late: over slow links all do.
//!
//! An answer needs no trust: its blocks hang on a block we have, each names its parent by hash, and
//! each parent's certificate was checked. So an answer that stops short of the block asked for is
//! as good as a full one, and a replica that is far behind goes on from where the last one ended.
//!
//! Breaks if: a block is taken that no certificate vouches for, or a peer's claim about its height
//! decides what is asked for.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use lockstep_types::{
    BlockId, Gauge, Hasher, Height, LinkedBlock, MemberIndex, QuorumCertificate, Time,
};

use crate::block_tree::Served;
use crate::message::is_full;
use crate::ready::{LogRequest, Ready, To};
use crate::{Application, Fatal, Message, Refusal, Replica};

/// Requests of one peer answered per resend interval. With 64 blocks each this is faster than any
/// peer can verify, and bounds what a peer that asks without end can cost.
pub const MAX_SERVED_PER_INTERVAL: u32 = 32;

/// A certified block whose proposal has not come gets this part of the answer time before it is
/// asked for: the proposal is mostly just behind the votes.
const GRACE_DIVISOR: u32 = 8;

/// Waiting for an answer doubles with every round of questions to all members, so many times.
const MAX_DOUBLINGS: u32 = 4;

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    peer: MemberIndex,
    deadline: Time,
}

/// The state of fetching.
#[derive(Clone, Default)]
pub(crate) struct Fetch {
    outstanding: Option<Outstanding>,
    /// Who was asked for which range and has not answered yet, in time or not.
    asked: BTreeMap<MemberIndex, (Height, BlockId)>,
    /// Questions in a row that brought nothing in time.
    failures: u32,
    /// Where the last answer ended.
    next: Option<Height>,
    /// Who was asked last: the next question goes to another one.
    last: Option<MemberIndex>,
    /// Whose last answer was less than it could be, or did not come.
    passed: BTreeSet<MemberIndex>,
    /// Who showed us that we miss something; asked first, but nothing else: a liar shows it always.
    hint: Option<MemberIndex>,
    /// Since when the block is missed.
    missed_since: Option<(BlockId, Time)>,
    served: BTreeMap<MemberIndex, (Time, u32)>,
    wake_at: Option<Time>,
}

impl Fetch {
    pub(crate) fn hint(&mut self, peer: MemberIndex) {
        self.hint = Some(peer);
    }

    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.wake_at
    }

    /// See `fingerprint.rs`.
    pub(crate) fn fingerprint(&self, hasher: Hasher) -> Hasher {
        let Fetch {
            outstanding,
            asked,
            failures,
            next,
            last,
            passed,
            hint,
            missed_since,
            served: _,
            wake_at: _,
        } = self;
        let outstanding = outstanding.map(|asked| asked.peer);
        let missed = missed_since.map(|(tip, _)| tip);
        let whom = (last, passed, hint);
        hasher.value(&(outstanding, asked, failures, next, whom, missed))
    }

    /// How full it is.
    pub(crate) fn measure(&self, members: usize, gauge: &mut dyn Gauge) {
        gauge.note("peers served", self.served.len(), members);
        gauge.note("answers expected", self.asked.len(), members);
        gauge.note("members passed over", self.passed.len(), members);
    }

    fn idle(&mut self) {
        self.outstanding = None;
        self.asked.clear();
        self.passed.clear();
        self.failures = 0;
        self.next = None;
        self.hint = None;
        self.missed_since = None;
        self.wake_at = None;
    }

    /// The last answer, or its absence, did not help: start over with another peer.
    fn pass_over(&mut self, peer: MemberIndex) {
        self.passed.insert(peer);
        self.outstanding = None;
        self.next = None;
        self.hint = None;
        self.failures = self.failures.saturating_add(1);
    }

    /// The first of these after the member asked last that is not passed over.
    fn next_of(&self, members: &[MemberIndex]) -> Option<MemberIndex> {
        let mut fresh = members.iter().filter(|m| !self.passed.contains(m));
        let first = fresh.clone().next();
        fresh.find(|m| Some(**m) > self.last).or(first).copied()
    }

    /// How long the next answer may take: members that are gone cost little, slow links get more.
    fn answer_time(&self, least: Duration, members: usize) -> Duration {
        let members = u32::try_from(members).unwrap_or(u32::MAX).max(1);
        least.saturating_mul(1 << (self.failures / members).min(MAX_DOUBLINGS))
    }

    fn may_serve(&mut self, now: Time, peer: MemberIndex, interval: Duration) -> bool {
        let (since, count) = self.served.entry(peer).or_insert((now, 0));
        if now.since(*since) >= interval || now < *since {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_SERVED_PER_INTERVAL
    }
}

impl<A: Application> Replica<A> {
    /// The certificate of the block to ask for, if a certified block that matters is not here.
    fn missing(&self) -> Option<QuorumCertificate> {
        let high = self.high_qc();
        if !self.tree.contains(&high.block) {
            return Some(high.clone());
        }
        let decided = self.committed().header().view;
        self.proposals_of(self.view())
            .map(|proposal| &proposal.justify)
            .find(|parent| parent.view > decided && !self.tree.contains(&parent.block))
            .cloned()
    }

    /// Asks for what is missing, unless an answer is still awaited.
    pub(crate) fn fetch_missing(&mut self, now: Time, out: &mut Ready) {
        if self.application.is_full() {
            self.fetch.wake_at = None; // room comes with a step
            return;
        }
        let Some(wanted) = self.missing() else {
            self.fetch.idle();
            return;
        };
        let timers = *self.pacemaker.config();
        let others = self.context().committee.size() - 1;
        if let Some(outstanding) = self.fetch.outstanding {
            // A clock that was set back must not stretch the wait.
            let latest = now.after(self.fetch.answer_time(timers.fetch, others));
            if now < outstanding.deadline && outstanding.deadline <= latest {
                self.fetch.wake_at = Some(outstanding.deadline);
                return;
            }
            self.fetch.pass_over(outstanding.peer);
        }
        let since = match self.fetch.missed_since {
            Some((tip, since)) if tip == wanted.block => since,
            _ => now,
        };
        self.fetch.missed_since = Some((wanted.block, since));
        let grace_ends = since.after(timers.fetch / GRACE_DIVISOR);
        let urgent = self.fetch.hint.is_some() || self.fetch.next.is_some() || self.leads_now();
        if !urgent && now < grace_ends {
            self.fetch.wake_at = Some(grace_ends);
            return;
        }
        let Some(peer) = self.whom_to_ask(&wanted) else {
            self.fetch.wake_at = None; // a committee of one has nobody to ask
            return;
        };
        let above = self.committed().header().height.next();
        let from = self.fetch.next.map_or(above, |next| next.max(above));
        let deadline = now.after(self.fetch.answer_time(timers.fetch, others));
        self.fetch.outstanding = Some(Outstanding { peer, deadline });
        self.fetch.wake_at = Some(deadline);
        let tip = wanted.block;
        self.fetch.last = Some(peer);
        self.fetch.asked.insert(peer, (from, tip));
        out.send(To::Member(peer), Message::BlockRequest { from, tip });
    }

    /// Who hinted at the block, then its voters in turn: f + 1 of them are correct and have it. Others
    /// are asked when no voter helps, and everybody again when nobody does.
    fn whom_to_ask(&mut self, wanted: &QuorumCertificate) -> Option<MemberIndex> {
        let hint = self.fetch.hint.take();
        let is_first = self.fetch.next.is_none();
        if let Some(hint) = hint.filter(|hint| is_first && !self.fetch.passed.contains(hint)) {
            return Some(hint);
        }
        let me = self.me();
        let others = self.context().committee.indices().filter(|m| *m != me);
        let (voters, silent): (Vec<_>, Vec<_>) = others.partition(|m| wanted.signers.contains(*m));
        self.fetch
            .next_of(&voters)
            .or_else(|| self.fetch.next_of(&silent))
            .or_else(|| {
                self.fetch.passed.clear();
                self.fetch.next_of(&voters)
            })
            .or_else(|| self.fetch.next_of(&silent))
    }

    /// A peer asks for blocks.
    pub(crate) fn on_block_request(
        &mut self,
        now: Time,
        peer: MemberIndex,
        from: Height,
        tip: BlockId,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        // The root has no parent and no certificate to show; everybody has it.
        let from = from.max(Height::ZERO.next());
        let interval = self.pacemaker.config().resend;
        if !self.fetch.may_serve(now, peer, interval) {
            return Err(Refusal::TooManyRequests(MAX_SERVED_PER_INTERVAL));
        }
        match self.tree.range(from, &tip) {
            Served::Here(blocks) => {
                if let Some(answer) = Message::answer(blocks) {
                    out.send(To::Member(peer), answer);
                }
            }
            Served::TooOld => out.serve.push(LogRequest { peer, from, tip }),
            Served::Unknown => return Err(Refusal::UnknownTip { tip }),
        }
        Ok(())
    }

    /// Blocks came. The message's shape, links and certificates are checked already.
    pub(crate) fn on_blocks(
        &mut self,
        now: Time,
        peer: MemberIndex,
        mut blocks: Vec<LinkedBlock>,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        let Some((from, tip)) = self.fetch.asked.remove(&peer) else {
            return Err(Refusal::NotAsked);
        };
        let awaited = self.fetch.outstanding.take_if(|asked| asked.peer == peer);
        if awaited.is_none() && self.application.is_full() {
            return Ok(()); // room is kept for the answer that is awaited
        }
        let is_whole = is_whole_answer(&blocks, from, &tip);
        self.keep_certified(&mut blocks, &tip);
        self.check_for_fork(&blocks, out);
        let floor = self.committed().header().height;
        blocks.retain(|link| link.block.header().height > floor);
        let mut reached = None;
        let mut problem = None;
        for link in blocks {
            let height = link.block.header().height;
            match self.insert(now, link.into(), false, out) {
                Ok(_) => reached = Some(height),
                Err(refusal) => {
                    problem = Some(refusal);
                    break;
                }
            }
        }
        match (reached, &problem) {
            (Some(height), None) => {
                self.fetch.next = self.fetch.next.max(Some(height.next()));
                self.fetch.failures = 0;
                if is_whole {
                    self.fetch.passed.remove(&peer);
                } else {
                    self.fetch.passed.insert(peer);
                }
            }
            _ if awaited.is_some() => self.fetch.pass_over(peer),
            _ => {} // somebody else is asked by now
        }
        problem.map_or(Ok(()), Err)
    }

    /// Each block but the last is certified by its child's certificate. The last one stays only
    /// when a certificate known here names it.
    fn keep_certified(&self, blocks: &mut Vec<LinkedBlock>, asked: &BlockId) {
        let Some(last) = blocks.last() else {
            return;
        };
        let id = last.block.id();
        let named = id == *asked
            || id == self.high_qc().block
            || self
                .proposals
                .values()
                .flat_map(BTreeMap::values)
                .any(|p| p.justify.block == id);
        if !named {
            blocks.pop();
        }
    }

    /// A certified block of a later view that does not extend the newest committed one cannot
    /// exist while at most f members are faulty.
    fn check_for_fork(&self, blocks: &[LinkedBlock], out: &mut Ready) {
        let committed = self.committed();
        let (height, view) = (committed.header().height, committed.header().view);
        let rival = blocks.iter().any(|link| {
            let header = link.block.header();
            let beside = header.height == height && link.block.id() != committed.id();
            let above = header.height.follows(height) && header.parent != committed.id();
            (beside || above) && header.view > view
        });
        if rival && self.tree.excludes_rivals() {
            out.stop = Some(Fatal::Fork {
                height,
                committed: committed.id(),
            });
        }
    }
}

/// Does an answer begin where it was asked to, and go on to the block asked for or for as long as
/// an answer may be?
fn is_whole_answer(blocks: &[LinkedBlock], from: Height, tip: &BlockId) -> bool {
    let first = blocks.first().map(|link| link.block.header().height);
    let reaches = blocks.iter().any(|link| link.block.id() == *tip);
    first == Some(from) && (reaches || is_full(blocks))
}
