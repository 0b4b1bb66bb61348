//! One running replica: takes an input, gives a [`Ready`]. This file only dispatches; the rules are
//! in `safety`, `tally`, `block_tree` and `pacemaker`, and what ties them together is in `voting`,
//! `leader`, `progress` and `fetch`.
//!
//! Breaks if: a step reads a clock, or anything but the arguments and the replica's own state
//! decides what comes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lockstep_types::{
    Block, BlockId, CommitProof, Committee, Domain, Durable, EpochContext, Gauge, Height,
    LinkedBlock, LogPosition, MemberIndex, QuorumCertificate, Signer, Time, Timeout,
    TimeoutCertificate, View, Vote,
};

use crate::arrival::Asking;
use crate::block_tree::{BlockTree, RETAINED_BLOCKS};
use crate::fetch::Fetch;
use crate::pacemaker::Pacemaker;
use crate::ready::{Held, Outbound, Ready, To};
use crate::safety::Safety;
use crate::tally::{MAX_VIEWS_AHEAD, Tally};
use crate::voting::{MAX_MISFITS, MAX_PROPOSAL_VIEWS};
use crate::{
    Ancestry, Application, Arrival, Fatal, Horizon, Input, LeaderRule, LogEnd, Message, Proposal,
    Refusal, SafetyRecord, TimerConfig,
};

/// Own statements on their way to the disk. A host lets a replica run at most a thousand steps ahead
/// of its disk, and a step rarely signs anything.
pub const MAX_UNSYNCED: usize = 4_096;

/// What a replica is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain and committee.
    pub domain: Domain,
    /// The members.
    pub committee: Committee,
    /// Which of them this is.
    pub me: MemberIndex,
    /// The block the epoch starts from.
    pub root: Block,
    /// Durations.
    pub timers: TimerConfig,
    /// Whose turn each view is.
    pub leaders: LeaderRule,
}

/// What a replica finds on its disk.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The safety record. `None` only for a replica that has never run, or has lost it.
    pub record: Option<SafetyRecord>,
    /// How it comes to its start.
    pub arrival: Arrival,
    /// Blocks from the log above the anchor, by ascending height; rivals included.
    pub blocks: Vec<LinkedBlock>,
    /// A committed block: the newest one the host has dealt with. Later ones are given out anew.
    pub anchor: LinkedBlock,
    /// What decides about the anchor's children, as it was given out with it.
    pub ancestry: Ancestry,
    /// Where the log ends.
    pub log_end: LogPosition,
}

impl Recovered {
    /// What a replica that has never run starts from.
    pub fn fresh(root: Block) -> Self {
        Recovered {
            record: None,
            arrival: Arrival::Unasked,
            blocks: Vec::new(),
            anchor: root_link(root),
            ancestry: Ancestry::default(),
            log_end: LogPosition::START,
        }
    }
}

/// The root block in the form of the log. It has no parent, so it stands for its own certificate.
pub fn root_link(root: Block) -> LinkedBlock {
    LinkedBlock {
        justify: QuorumCertificate::root(root.header().epoch, root.id()),
        block: root,
    }
}

/// A vote or a timeout.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    Vote(Vote),
    Timeout(Timeout),
}

/// One replica of one committee.
///
/// A copy has the same key and would contradict the original: copies are for explorers, which go on
/// from one state in several ways, and never for hosts.
#[derive(Clone)]
pub struct Replica<A> {
    pub(crate) context: EpochContext,
    pub(crate) me: MemberIndex,
    pub(crate) leaders: LeaderRule,
    pub(crate) application: A,
    pub(crate) safety: Safety,
    pub(crate) pacemaker: Pacemaker,
    pub(crate) tree: BlockTree,
    pub(crate) tally: Tally,
    pub(crate) fetch: Fetch,
    /// The first proposal of each member in each recent view. Who leads is known for sure only
    /// when the parent is here.
    pub(crate) proposals: BTreeMap<View, BTreeMap<MemberIndex, Arc<Proposal>>>,
    /// Proposed blocks that do not fit on their parents.
    pub(crate) misfits: BTreeSet<BlockId>,
    /// Proposals of the current view that will not be voted for, whatever comes.
    pub(crate) turned_down: BTreeSet<BlockId>,
    /// Proofs of the blocks committed last.
    pub(crate) proofs: VecDeque<CommitProof>,
    /// When each peer that was behind was last sent our certificates.
    pub(crate) helped: BTreeMap<MemberIndex, Time>,
    /// No other replica has this key, as far as it is to know.
    pub(crate) only_copy: bool,
    /// A start that waits for answers of others.
    pub(crate) asking: Option<Asking>,
    /// When each member's question was answered last.
    pub(crate) testified: BTreeMap<MemberIndex, Time>,
    /// How far the log was written, synced or not.
    pub(crate) position: LogPosition,
    /// Messages of this step that wait for its record.
    pub(crate) held: Vec<Outbound>,
    /// Statements of this step.
    pub(crate) signed: Vec<Own>,
    /// Our own statements that count once they are on disk.
    pub(crate) unsynced: VecDeque<(LogPosition, Own)>,
    /// The view of a vote from the safety record whose block the log lost before it was synced. The
    /// vote never left, and must not, because its block is not on this disk.
    pub(crate) muted: Option<View>,
    /// A held block's time, when that is what a vote waits for.
    pub(crate) wake: Option<Time>,
    /// What recovery found to do, for the first step.
    pub(crate) early: Ready,
    pub(crate) stopped: Option<Fatal>,
}

impl<A: Application> Replica<A> {
    /// Starts a replica from what its disk holds. Committed blocks above the anchor come out of the
    /// first step.
    ///
    /// # Errors
    /// When what the disk holds cannot be this replica's.
    pub fn new(
        config: Config,
        signer: Arc<dyn Signer>,
        application: A,
        recovered: Recovered,
    ) -> Result<Self, Fatal> {
        if config.committee.key(config.me) != Some(&signer.public_key()) {
            return Err(Fatal::NotOurKey(config.me));
        }
        let epoch = config.root.header().epoch;
        let context = EpochContext {
            domain: config.domain,
            epoch,
            committee: config.committee,
            root: config.root.id(),
        };
        let safety = start_safety(&context, config.me, signer, &recovered)?;
        let view = safety.record().view();
        // A log that lost its end is shorter than the record says; positions rise all the same.
        let position = recovered.log_end.max(safety.record().log_end.position);
        let tree = BlockTree::new(
            context.committee.clone(),
            recovered.anchor,
            recovered.ancestry,
        );
        let mut replica = Replica {
            context,
            me: config.me,
            leaders: config.leaders,
            application,
            safety,
            pacemaker: Pacemaker::new(config.timers, view),
            tree,
            tally: Tally::default(),
            fetch: Fetch::default(),
            proposals: BTreeMap::new(),
            misfits: BTreeSet::new(),
            turned_down: BTreeSet::new(),
            proofs: VecDeque::new(),
            helped: BTreeMap::new(),
            only_copy: recovered.arrival != Arrival::Unasked,
            asking: Asking::new(recovered.arrival),
            testified: BTreeMap::new(),
            position,
            held: Vec::new(),
            signed: Vec::new(),
            unsynced: VecDeque::new(),
            muted: None,
            wake: None,
            early: Ready::default(),
            stopped: None,
        };
        replica.check_arrival()?;
        replica.read_log(recovered.blocks)?;
        replica.recall();
        Ok(replica)
    }

    /// Counts what was signed before the restart: it is on disk. Where exactly a quorum is left, no
    /// certificate would ever be formed without.
    ///
    /// A record whose log end is lost released nothing, and the next one takes its place: a crash
    /// may still take it back. What it says is signed anew, so to speak, and leaves with that one.
    fn recall(&mut self) {
        let record = self.safety.record().clone();
        let end = record.log_end;
        let vote = record.last_voted.as_ref();
        // Asked at every start: a record written since names a log end that is there. Who has
        // committed past the vote's block has no use for the vote.
        let lost = vote.filter(|vote| !self.tree.contains(&vote.block));
        self.muted = lost.map(|vote| vote.view);
        let lost_end = !self.tree.contains(&end.block);
        if lost_end {
            // Later records vouch for what the log has: the lost end would be missed at every start.
            let highest = self.tree.highest().block.header();
            let (height, block) = (highest.height, highest.id());
            self.safety.logged(LogEnd {
                height,
                block,
                ..end
            });
            self.safety.record_again();
        }
        let vote = record.last_voted.map(Own::Vote);
        let vote = vote.filter(|_| self.muted.is_none());
        let timeout = record.last_timed_out.map(Own::Timeout);
        for own in vote.into_iter().chain(timeout) {
            if lost_end && !lockstep_types::planted!(TrustLostRecord) {
                self.signed.push(own);
                continue;
            }
            let mut out = Ready::default();
            let counted = self.count(own, &mut out);
            assert_eq!(counted, Ok(()), "nothing was counted before");
        }
    }

    fn read_log(&mut self, blocks: Vec<LinkedBlock>) -> Result<(), Fatal> {
        let mut out = core::mem::take(&mut self.early);
        let high = self.high_qc().clone();
        self.on_qc(Time::ZERO, &high, &mut out); // the anchor may be what it certifies
        for link in path_first(blocks, &high.block) {
            let id = link.block.id();
            // Rivals of committed blocks have nowhere to go.
            if !self.tree.contains(&link.block.header().parent) {
                continue;
            }
            match self.insert(Time::ZERO, link.into(), true, &mut out) {
                Ok(_) | Err(Refusal::TreeFull(_) | Refusal::BelowCommitted { .. }) => {}
                Err(_) => return Err(Fatal::BrokenLog(id)),
            }
        }
        assert!(out.log.is_empty(), "what was read is not written again");
        self.early = out;
        Ok(())
    }

    /// Tells the replica how far the host has written the log, so that positions keep rising when
    /// both write to it. Called before a step.
    pub fn note_log(&mut self, position: LogPosition) {
        self.position = self.position.max(position);
    }

    /// One step.
    ///
    /// `now` may go back; nothing but waiting times depends on it.
    pub fn step(&mut self, now: Time, input: Input) -> Ready {
        let mut out = core::mem::take(&mut self.early);
        if let Some(fatal) = &self.stopped {
            out.stop = Some(fatal.clone());
            return out;
        }
        self.wake = None;
        match input {
            Input::Tick => {}
            Input::Connected { peer } => self.on_connected(peer, &mut out),
            Input::Synced(synced) => self.on_synced(synced, &mut out),
            Input::Received { from, message } => {
                if let Err(refusal) = self.on_message(now, from, message.into_inner(), &mut out) {
                    out.refused.push((from, refusal));
                }
            }
        }
        self.settle(now, &mut out);
        self.finish(&mut out);
        out
    }

    fn on_message(
        &mut self,
        now: Time,
        from: MemberIndex,
        message: Message,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        if from == self.me || self.context.committee.key(from).is_none() {
            return Err(Refusal::NotAPeer(from));
        }
        match message {
            Message::Proposal(proposal) => self.on_proposal(now, from, *proposal, out),
            Message::Vote(vote) => self.on_vote(vote, out),
            Message::Timeout(timeout) => self.on_timeout(now, from, *timeout, out),
            Message::Certificates(certificates) => {
                self.on_certificates(now, from, &certificates, out);
                Ok(())
            }
            Message::BlockRequest { from: first, tip } => {
                self.on_block_request(now, from, first, tip, out)
            }
            Message::Blocks(blocks) => self.on_blocks(now, from, blocks, out),
            Message::Inquiry(challenge) => self.on_inquiry(now, from, challenge, out),
            Message::Testimony(testimony) => self.on_testimony(now, from, *testimony, out),
        }
    }

    fn on_connected(&mut self, peer: MemberIndex, out: &mut Ready) {
        if peer != self.me {
            self.repeat(To::Member(peer), out);
            self.ask_again(peer, out);
        }
    }

    /// Our own statements count from here on: a certificate with one that a crash could take back
    /// would be a certificate without a quorum.
    fn on_synced(&mut self, synced: Durable, out: &mut Ready) {
        self.safety.on_synced(&synced);
        while let Some((position, _)) = self.unsynced.front()
            && synced.covers(*position)
        {
            let (_, own) = self.unsynced.pop_front().expect("just seen");
            let counted = self.count(own, out);
            assert_eq!(counted, Ok(()), "we do not contradict ourselves");
        }
    }

    /// Does everything that has become possible, until nothing more is.
    fn settle(&mut self, now: Time, out: &mut Ready) {
        self.ask(now, out);
        loop {
            let mut moved = self.insert_proposed(now, out);
            moved |= self.form_certificates(now, out);
            moved |= self.try_vote(now, out);
            moved |= self.try_propose(now, out);
            if !moved || out.stop.is_some() {
                break;
            }
        }
        let work = self.has_work(now);
        let undecided = self.tree.path_length(&self.high_qc().block);
        self.pacemaker.on_path(undecided);
        self.pacemaker.put_on_trial(self.leader_is_on_trial());
        self.pacemaker.arm(now, work);
        let due = self.pacemaker.due(now);
        if due.expired {
            self.give_up();
        }
        self.join_timeouts();
        if due.resend && !lockstep_types::planted!(NeverRepeat) {
            self.repeat(To::All, out);
        }
        self.fetch_missing(now, out);
    }

    /// Locks what waits for this step's writes up with their position.
    fn finish(&mut self, out: &mut Ready) {
        let mut position = LogPosition::START;
        if !out.log.is_empty() {
            position = self.position;
        }
        if self.safety.has_unrecorded() {
            self.position = self.position.next();
            position = self.position;
            out.record = self.safety.take_record(position);
        }
        let mut held = core::mem::take(&mut self.held);
        if lockstep_types::planted!(SendBeforeSync) {
            out.prompt.append(&mut held);
        }
        assert!(held.is_empty() || out.record.is_some(), "held for a record");
        for own in self.signed.drain(..) {
            self.unsynced.push_back((position, own));
        }
        out.held = Held::new(position, held);
        let timers = self.pacemaker.wake_at().into_iter();
        out.wake_at = timers.chain(self.fetch.wake_at()).chain(self.wake).min();
        if out.stop.is_some() {
            self.stop(out);
        }
    }

    /// A replica that must stop says nothing more.
    fn stop(&mut self, out: &mut Ready) {
        self.stopped = out.stop.clone();
        out.held = Held::new(out.held.position(), Vec::new());
        out.prompt.clear();
        out.wake_at = None;
    }

    pub(crate) fn wake(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |set| set.min(at)));
    }

    pub(crate) fn statements_are_durable(&self) -> bool {
        self.signed.is_empty() && self.unsynced.is_empty()
    }

    /// Which member this is.
    pub fn me(&self) -> MemberIndex {
        self.me
    }

    /// The current view.
    pub fn view(&self) -> View {
        self.pacemaker.view()
    }

    /// The highest quorum certificate seen.
    pub fn high_qc(&self) -> &QuorumCertificate {
        &self.safety.record().high_qc
    }

    /// The highest timeout certificate seen.
    pub fn high_tc(&self) -> Option<&TimeoutCertificate> {
        self.safety.record().high_tc.as_ref()
    }

    /// The newest committed block.
    pub fn committed(&self) -> &Block {
        &self.tree.committed().block
    }

    /// The proof of a block committed lately.
    pub fn commit_proof(&self, height: Height) -> Option<&CommitProof> {
        self.proofs
            .iter()
            .find(|proof| proof.committed().height == height)
    }

    /// An undecided block, or the newest committed one.
    pub fn block(&self, id: &BlockId) -> Option<&Block> {
        self.tree.get(id).map(|link| &link.block)
    }

    /// How full everything is that grows with what others say.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        let members = self.context.committee.size();
        self.tally.measure(members, gauge);
        self.tree.measure(gauge);
        self.fetch.measure(members, gauge);
        let proposals = self.proposals.values().map(BTreeMap::len).sum();
        gauge.note("proposals", proposals, MAX_PROPOSAL_VIEWS * members);
        gauge.note("misfits", self.misfits.len(), MAX_MISFITS);
        gauge.note("proposals turned down", self.turned_down.len(), members);
        gauge.note("commit proofs", self.proofs.len(), RETAINED_BLOCKS);
        gauge.note("peers helped", self.helped.len(), members);
        gauge.note("peers answered", self.testified.len(), members);
        let unsynced = self.unsynced.len();
        gauge.note("own statements under way", unsynced, MAX_UNSYNCED);
    }

    /// What messages to this replica are checked against.
    pub fn context(&self) -> &EpochContext {
        &self.context
    }

    /// The facts as they are in memory, ahead of the disk.
    pub fn record(&self) -> &SafetyRecord {
        self.safety.record()
    }

    /// Which messages are worth checking.
    pub fn horizon(&self) -> Horizon {
        Horizon {
            proposals_from: self.committed().header().view.next(),
            votes_from: self.high_qc().view,
            votes_to: self.view().plus(MAX_VIEWS_AHEAD),
        }
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.application
    }

    /// The application, for feeding it. Follow it with a [`Input::Tick`].
    pub fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }
}

/// The blocks of a log with those first that lead to the highest certified one, so that none of
/// them is dropped for want of room. While that one is not here, the highest that a block of the log
/// certifies stands for it.
fn path_first(blocks: Vec<LinkedBlock>, high: &BlockId) -> impl Iterator<Item = LinkedBlock> {
    let parents: BTreeMap<BlockId, BlockId> = blocks
        .iter()
        .map(|link| (link.block.id(), link.block.header().parent))
        .collect();
    let newest = blocks.iter().max_by_key(|link| link.justify.view);
    let mut at = match newest {
        Some(newest) if !parents.contains_key(high) => newest.justify.block,
        _ => *high,
    };
    let mut path = BTreeSet::new();
    while let Some(parent) = parents.get(&at) {
        path.insert(at);
        at = *parent;
    }
    let (first, rest): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|link| path.contains(&link.block.id()));
    first.into_iter().chain(rest)
}

fn start_safety(
    context: &EpochContext,
    me: MemberIndex,
    signer: Arc<dyn Signer>,
    recovered: &Recovered,
) -> Result<Safety, Fatal> {
    let domain = context.domain;
    let Some(record) = recovered.record.clone() else {
        let anchor = recovered.anchor.block.header();
        let root = QuorumCertificate::root(context.epoch, context.root);
        let log_end = LogEnd {
            position: recovered.log_end,
            height: anchor.height,
            block: recovered.anchor.block.id(),
        };
        let record = SafetyRecord::fresh(context.epoch, root, log_end);
        return Ok(Safety::fresh(domain, me, signer, record));
    };
    if record.epoch != context.epoch {
        return Err(Fatal::WrongEpoch {
            got: record.epoch,
            expected: context.epoch,
        });
    }
    if record.high_qc.view < record.lock {
        return Err(Fatal::BrokenRecord(
            "the highest certificate is below the lock",
        ));
    }
    if record.last_signed_view() > record.view() {
        return Err(Fatal::BrokenRecord(
            "a statement for a view that was not entered",
        ));
    }
    if record.authors().any(|author| author != me) {
        return Err(Fatal::BrokenRecord("statements of another member"));
    }
    Ok(Safety::restarted(domain, me, signer, record))
}
