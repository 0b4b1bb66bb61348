//! A shard's replica: consensus over the shard's chain, with the pools and the duties around it.
//! It packs batches, fetches what blocks lack, hands committed blocks to the executor in order,
//! signs checkpoints, and passes certified entries on to other shards. When a record shows it a state
//! of its shard that is very far ahead, it leaves for that one (`far_behind.rs`).

mod execution;
mod recovery;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_consensus::{self as consensus, CommittedBlock, Replica};
use lockstep_genesis::Genesis;
use lockstep_ledger::{Bundle, Write};
use lockstep_types::{
    BatchDigest, CommitteeId, EffectsDigest, Gauge, Height, LogPosition, MemberIndex, ShardId,
    Signer, Time, TransactionId, Verified, WindowNumber,
};

use crate::batch::BatchContext;
use crate::batch_pool::MAX_BODIES;
use crate::far_behind::Lag;
use crate::log::{self, write_batch, write_block, write_bundle, write_proof, write_record};
use crate::mempool::{Busy, Mempool};
use crate::message::{Destination, Message, Outbound, Peer, Phase, Request};
use crate::questions::{Questions, Want};
use crate::ready::{Fatal, Input, Ready, Status, outbound};
use crate::shard_chain::{MAX_COMMITTED, ShardChain};
use crate::state_sync::write_target;
use crate::{Batch, CertifiedRecord, Checkpoint, CheckpointVote};

/// How long a sealed shard waits for its record, or a shard for entries it is owed, before it asks.
const PULL_AFTER: Duration = Duration::from_millis(300);

/// Records asked for at a time by a shard that knows that there are more: they are applied one a
/// block, so an answer for each block that can follow before the next answers come.
const RECORDS_ASKED: usize = 16;

/// How often a checkpoint that no record names is sent again.
const CHECKPOINT_RESEND: Duration = Duration::from_millis(500);

/// One shard's replica with all its duties but execution.
pub struct ShardMember {
    genesis: Arc<Genesis>,
    shard: ShardId,
    me: MemberIndex,
    signer: Arc<dyn Signer>,
    batch_context: BatchContext,
    replica: Replica<ShardChain>,
    mempool: Mempool,
    /// The sequence number of the last own batch. Starts from the clock, so a restart never
    /// repeats one.
    sequence: u64,
    position: LogPosition,
    /// Batches whose writes are under way, and what must be synced for each.
    unsynced: BTreeMap<BatchDigest, LogPosition>,
    /// Committed blocks that the executor has not been given, in order.
    waiting: VecDeque<CommittedBlock>,
    /// Digests that committed headers name and execution has not reached.
    claims: BTreeMap<Height, EffectsDigest>,
    /// Our checkpoints that no applied record can hold, and when each is sent again. The beacon
    /// needs them one by one: a later one does not stand for an earlier.
    checkpoints: BTreeMap<WindowNumber, (CheckpointVote, Time)>,
    questions: Questions,
    /// The clock at the last step.
    last_step: Time,
    /// The newest record that is known to exist, held or not.
    heard: WindowNumber,
    /// The newest block that the executor was given.
    handed: Height,
    /// Whether this member is very far behind, and what it does about it.
    lag: Lag,
}

impl ShardMember {
    pub(crate) fn step(&mut self, now: Time, input: Input) -> Ready {
        if self.lag.is_leaving() {
            return self.leave(input);
        }
        let mut ready = Ready::default();
        self.look_at_clock(now);
        let input = self.on_input(now, input, &mut ready);
        self.pack(now, &mut ready);
        self.replica.note_log(self.position);
        let parts = self.replica.step(now, input).into_parts();
        self.absorb(now, parts, &mut ready);
        self.hand_over(&mut ready);
        self.ask(now, &mut ready);
        self.resend_checkpoints(now, &mut ready);
        self.set_wake(now, &mut ready);
        self.seek_state(now, &mut ready);
        ready.position = ready.position.max(if ready.needs_sync() {
            self.position
        } else {
            LogPosition::START
        });
        ready
    }

    /// A clock that is set back must not keep anybody waiting for the time it had shown.
    fn look_at_clock(&mut self, now: Time) {
        if now < self.last_step {
            self.mempool.on_clock_set_back(now);
            self.questions.on_clock_set_back(now);
            for (_, again) in self.checkpoints.values_mut() {
                *again = (*again).min(now.after(CHECKPOINT_RESEND));
            }
        }
        self.last_step = now;
    }

    /// Takes an input apart: what is consensus' business is returned.
    fn on_input(&mut self, now: Time, input: Input, ready: &mut Ready) -> consensus::Input {
        match input {
            Input::Tick => {}
            Input::Synced(durable) => {
                self.unsynced.retain(|_, at| !durable.covers(*at));
                return consensus::Input::Synced(durable);
            }
            Input::Connected { peer } if peer.committee == CommitteeId::Shard(self.shard) => {
                return consensus::Input::Connected { peer: peer.member };
            }
            Input::Connected { .. } => {}
            Input::Submitted { transaction } => {
                if let Err(Busy(id)) = self.mempool.submit(now, transaction) {
                    ready.turned_away.push(id);
                }
            }
            Input::Executed(block) => self.on_executed(now, *block, ready),
            Input::Received { from, message } => {
                return self.on_message(now, from, message, ready);
            }
        }
        consensus::Input::Tick
    }

    fn on_message(
        &mut self,
        now: Time,
        from: Peer,
        message: Verified<Message>,
        ready: &mut Ready,
    ) -> consensus::Input {
        match message.into_inner() {
            Message::Consensus(message) if from.committee == CommitteeId::Shard(self.shard) => {
                let message = Verified::vouch(message); // part of what was checked
                return consensus::Input::Received {
                    from: from.member,
                    message,
                };
            }
            Message::Consensus(_) => ready.refuse(from, "consensus of another committee"),
            Message::Batch(batch) => self.on_batch(from, batch, ready),
            Message::Record(record) => self.on_record(now, record, ready),
            Message::Bundle(bundle) => self.on_bundle(from, bundle, ready),
            Message::Request(request) => self.on_request(from, request, ready),
            Message::Checkpoint(_) => ready.refuse(from, "checkpoints go to the beacon"),
            Message::Manifest(manifest) if from.committee == CommitteeId::Shard(self.shard) => {
                self.lag.on_answer(from.member, manifest);
            }
            // Parts came after the state was complete.
            Message::Manifest(_) | Message::Part(_) => {}
        }
        consensus::Input::Tick
    }

    /// What only our own shard can use is for members of it: others would have to refuse the answer.
    fn on_request(&self, from: Peer, request: Request, ready: &mut Ready) {
        let for_all = matches!(request, Request::Record(_) | Request::Entries { .. });
        if !for_all && from.committee != CommitteeId::Shard(self.shard) {
            return ready.refuse(from, "asked for what is ours by another committee");
        }
        if let Request::Entries { destination, .. } = request
            && from.committee != CommitteeId::Shard(destination)
        {
            return ready.refuse(from, "asked for entries for another shard");
        }
        ready.serve.push((from, request));
    }

    fn on_batch(&mut self, from: Peer, batch: Arc<Batch>, ready: &mut Ready) {
        let digest = batch.digest();
        let wanted = self.questions.contains(&Want::Batch(digest));
        match self.chain().batches.insert(batch.clone(), wanted) {
            Ok(()) => self.log_batch(&batch, ready),
            Err(crate::batch_pool::NotKept::Known) => {}
            Err(reason) => ready.refuse(from, reason),
        }
    }

    fn on_record(&mut self, now: Time, record: Arc<CertifiedRecord>, ready: &mut Ready) {
        let number = record.record.number;
        self.heard = self.heard.max(number);
        let executed = self.replica.application().executed_height();
        self.lag.on_record(self.shard, &record, executed);
        let bundles = &self.chain().bundles;
        if bundles.record(number).is_some() || !bundles.records_of_use().contains(&number.get()) {
            return;
        }
        ready.phase(now, number, Phase::Received);
        self.log(ready, write_record(&record));
        let listed = self.chain().listed_bundles();
        let proven = self.chain().bundles.add_record(record, &listed);
        for bundle in proven {
            self.log(ready, write_bundle(&bundle));
        }
        self.chain().on_record();
    }

    fn on_bundle(&mut self, from: Peer, bundle: Arc<Bundle>, ready: &mut Ready) {
        let own = CommitteeId::Shard(self.shard);
        if from.committee != own && from.committee != CommitteeId::Shard(bundle.source) {
            return ready.refuse(from, "a bundle of another shard than its source");
        }
        let committed = self.replica.committed().id();
        let place = self.replica.application().place(&committed);
        let consumed = place.and_then(|place| place.consumed.get(&bundle.source).copied());
        let watermark = consumed.unwrap_or(0);
        let is_listed = self.questions.contains(&Want::Bundle(bundle.digest()));
        if !is_listed && bundle.from < watermark {
            return; // credited long ago
        }
        let most = u64::from(self.genesis.limits.bundle_entries);
        let listed = self.chain().listed_bundles();
        let bundles = &mut self.chain().bundles;
        if !is_listed && !bundles.is_well_cut(&bundle, watermark, most) {
            return; // maybe an answer to an older question
        }
        let mut new = match bundles.add(bundle.clone(), &listed) {
            Ok(new) => new,
            Err(error) => return ready.refuse(from, error),
        };
        if is_listed && new.is_none() {
            new = bundles.add_listed(bundle);
        }
        if let Some(bundle) = new {
            self.log(ready, write_bundle(&bundle));
        }
    }

    /// The log is synced through the seal and its commit proof before the signature leaves: both
    /// are among the writes up to this step's position.
    fn sign_checkpoint(
        &mut self,
        now: Time,
        checkpoint: Checkpoint,
        proof: &lockstep_types::CommitProof,
        ready: &mut Ready,
    ) {
        ready.phase(now, checkpoint.window(), Phase::Signed);
        self.log(ready, write_proof(proof));
        let vote = CheckpointVote::sign(&self.genesis, &*self.signer, self.me, checkpoint);
        self.send_checkpoint(&vote, ready);
        let again = now.after(CHECKPOINT_RESEND);
        self.checkpoints
            .insert(vote.checkpoint.window(), (vote, again));
    }

    fn send_checkpoint(&self, vote: &CheckpointVote, ready: &mut Ready) {
        for member in self.genesis.committee(CommitteeId::Beacon).indices() {
            let to = Destination::Member(Peer {
                committee: CommitteeId::Beacon,
                member,
            });
            let message = Message::Checkpoint(Box::new(vote.clone()));
            if lockstep_types::planted!(CheckpointBeforeSync) {
                ready.prompt.push(Outbound { to, message });
                continue;
            }
            ready.held_own.push(Outbound { to, message });
        }
    }

    fn resend_checkpoints(&mut self, now: Time, ready: &mut Ready) {
        let committed = self.replica.committed().id();
        let applied = self
            .replica
            .application()
            .place(&committed)
            .map(|p| p.window.record);
        if let Some(applied) = applied {
            self.checkpoints = self.checkpoints.split_off(&applied.next());
        }
        let mut again = Vec::new();
        for (vote, due) in self.checkpoints.values_mut() {
            if now >= *due {
                *due = now.after(CHECKPOINT_RESEND);
                if !lockstep_types::planted!(CheckpointSaidOnce) {
                    again.push(vote.clone());
                }
            }
        }
        for vote in again {
            self.send_checkpoint(&vote, ready);
        }
    }

    /// Sends certified entries on: each member to f + 1 members of the destination, so that each
    /// of those hears from f + 1 and at least one of them is correct.
    fn push_entries(&self, bundles: &[Arc<Bundle>], ready: &mut Ready) {
        for bundle in bundles {
            let committee = CommitteeId::Shard(bundle.destination);
            for member in fan_out(&self.genesis, committee, self.me) {
                let to = Destination::Member(Peer { committee, member });
                let message = Message::Bundle(bundle.clone());
                ready.prompt.push(Outbound { to, message });
            }
        }
    }

    fn pack(&mut self, now: Time, ready: &mut Ready) {
        let returned = core::mem::take(&mut self.chain().returned);
        let genesis = self.genesis.hash();
        for batch in returned {
            let ids: Vec<TransactionId> =
                batch.transactions.iter().map(|t| t.id(&genesis)).collect();
            self.mempool.pack_again(now, ids);
        }
        let most = self.genesis.limits.batch_transactions as usize;
        // Leave room for the header and the length prefixes.
        let most_bytes = (self.genesis.limits.batch_bytes as usize).saturating_sub(512);
        let me = self.me;
        while self.chain().batches.has_room(me) {
            let Some(transactions) = self.mempool.pack(now, most, most_bytes) else {
                break;
            };
            self.sequence = now.micros().max(self.sequence + 1);
            let window = self.chain().open_window();
            let batch = Batch::pack(
                &self.batch_context,
                &*self.signer,
                self.me,
                window,
                self.sequence,
                transactions,
            );
            let batch = Arc::new(batch.into_inner());
            if self.chain().batches.insert(batch.clone(), false).is_err() {
                // No room, whoever has taken it: the transactions wait for another batch.
                self.chain().returned.push(batch);
                break;
            }
            self.log_batch(&batch, ready);
            let message = Message::Batch(batch);
            ready.prompt.push(Outbound {
                to: Destination::Gossip,
                message,
            });
        }
    }

    /// When to pack. Without room for another batch there is none: room comes with a step.
    fn pack_at(&self) -> Option<Time> {
        let room = self.replica.application().batches.has_room(self.me);
        room.then(|| self.mempool.pack_at()).flatten()
    }

    fn absorb(&mut self, now: Time, parts: consensus::Parts, ready: &mut Ready) {
        let committee = CommitteeId::Shard(self.shard);
        for link in &parts.log {
            ready.writes.push(write_block(link));
        }
        self.position = self.position.max(parts.held.position());
        ready.position = parts.held.position();
        ready.record = parts.record;
        ready.held = parts.held;
        ready.prompt.extend(parts.prompt.into_iter().map(outbound));
        ready.evidence = parts.evidence;
        ready.serve_blocks = parts.serve;
        ready.wake_at = parts.wake_at;
        for (member, reason) in parts.refused {
            ready.refuse(Peer { committee, member }, reason);
        }
        for block in parts.committed {
            self.on_committed(now, block, ready);
        }
        if let Some(fatal) = parts.stop {
            ready.stop.get_or_insert(Fatal::Consensus(fatal));
        }
    }

    fn on_committed(&mut self, now: Time, block: CommittedBlock, ready: &mut Ready) {
        let executed = block.block().header().executed;
        if executed.height > self.replica.application().executed_height() {
            self.claims.insert(executed.height, executed.digest);
        } else if let Some(ours) = self.replica.application().digest_at(executed.height)
            && ours != executed.digest
        {
            let (height, theirs) = (executed.height, executed.digest);
            ready.stop = Some(Fatal::Diverged {
                height,
                ours,
                theirs,
            });
        }
        if let Some(place) = self.replica.application().place(&block.block().id()) {
            if let Some(window) = place.seal {
                ready.phase(now, window, Phase::Sealed);
            }
            let payload = self.replica.application().payload(&block.block().id());
            if let Some(record) = payload.and_then(|payload| payload.record) {
                ready.phase(now, record.number, Phase::Applied);
            }
        }
        self.waiting.push_back(block);
    }

    /// What is missing now, oldest needs first.
    fn wants(&mut self, now: Time) -> Vec<(Want, Option<MemberIndex>)> {
        let committed = self.replica.committed().id();
        let executed_tip = self.waiting.is_empty();
        let heard = self.heard;
        let chain = self.replica.application_mut();
        let mut wanted = core::mem::take(&mut chain.wanted);
        wanted
            .batches
            .retain(|digest, _| chain.batches.get(digest).is_none());
        wanted
            .bundles
            .retain(|digest, _| chain.bundles.by_digest(digest).is_none());
        wanted.record = wanted
            .record
            .filter(|number| chain.bundles.record(*number).is_none());
        let mut wants = Vec::new();
        let of_anybody = |want: Want| (want, None);
        wants.extend(wanted.record.map(Want::Record).map(of_anybody));
        wants.extend(
            wanted
                .bundles
                .iter()
                .map(|(d, lister)| (Want::Bundle(*d), *lister)),
        );
        wants.extend(
            wanted
                .batches
                .iter()
                .map(|(d, lister)| (Want::Batch(*d), *lister)),
        );
        if let Some(place) = chain.place(&committed)
            && executed_tip
        {
            let next = place.window.record.next();
            // A busy shard's newest block is always young: what counts is when it began to wait.
            let waiting_since = if place.window.sealed {
                place.time
            } else {
                place.window.opened
            };
            let late = now >= waiting_since.after(PULL_AFTER);
            let awaited = place.window.sealed || place.window.number > next;
            if awaited && late && chain.bundles.record(next).is_none() {
                wants.push(of_anybody(Want::Record(next)));
            }
            // Records that exist, since a later one does: a shard that asked for one in a window
            // would fall behind a beacon that commits one in a window.
            let of_use = chain.bundles.records_of_use();
            let missed = core::iter::successors(Some(next), |number| Some(number.next()))
                .take_while(|number| *number <= heard && of_use.contains(&number.get()))
                .take(RECORDS_ASKED)
                .filter(|number| chain.bundles.record(*number).is_none());
            wants.extend(missed.map(Want::Record).map(of_anybody));
            let applied = place.window.record;
            let owing = chain.bundles.owing(&place.consumed, applied);
            let missing = owing.filter(|(source, from)| {
                chain.bundles.next(*source, *from, applied).is_none()
                    && now >= place.window.opened.after(PULL_AFTER)
            });
            wants.extend(missing.map(|(source, from)| of_anybody(Want::Entries(source, from))));
        }
        chain.wanted = wanted;
        wants
    }

    fn ask(&mut self, now: Time, ready: &mut Ready) {
        let wants = self.wants(now);
        let me = Peer {
            committee: CommitteeId::Shard(self.shard),
            member: self.me,
        };
        self.questions.ask(now, wants, &self.genesis, me, ready);
    }

    fn set_wake(&self, now: Time, ready: &mut Ready) {
        let tip = self.replica.high_qc().block;
        let due = self
            .replica
            .application()
            .due_at(&tip)
            .filter(|due| *due > now);
        let asked = self.questions.next_at().into_iter();
        let checkpoints = self.checkpoints.values().map(|(_, due)| *due);
        let committed = self.replica.committed().id();
        // The moment at which a late record or late entries are asked for.
        let pull = self.replica.application().place(&committed).map(|place| {
            if place.window.sealed {
                place.time
            } else {
                place.window.opened
            }
            .after(PULL_AFTER)
        });
        ready.wake_at = asked
            .chain(ready.wake_at)
            .chain(due)
            .chain(checkpoints)
            .chain(self.pack_at())
            .chain(pull.filter(|pull| *pull > now))
            .min();
    }

    /// Asks for a state that is far ahead, and leaves for it when somebody holds one: the choice is
    /// written down, and from here on nothing is begun.
    fn seek_state(&mut self, now: Time, ready: &mut Ready) {
        let committee = self.genesis.committee(CommitteeId::Shard(self.shard));
        let executed = self.replica.application().executed_height();
        if let Some(target) = self.lag.seek(now, committee, executed, ready) {
            self.log(ready, write_target(&target));
        }
    }

    /// A member that leaves waits until all it has written is synced and all it has given to the
    /// executor is executed. What others say they repeat to what it becomes.
    fn leave(&mut self, input: Input) -> Ready {
        match input {
            Input::Synced(durable) if durable.covers(self.position) => self.lag.on_choice_synced(),
            Input::Executed(block) => {
                self.chain()
                    .on_executed(block.height, block.digest, &block.place);
            }
            _ => {}
        }
        let executed = self.replica.application().executed_height();
        Ready {
            restart: self.lag.has_left() && executed >= self.handed,
            ..Ready::default()
        }
    }

    fn chain(&mut self) -> &mut ShardChain {
        self.replica.application_mut()
    }

    fn log_batch(&mut self, batch: &Batch, ready: &mut Ready) {
        self.log(ready, write_batch(batch));
        self.unsynced.insert(batch.digest(), self.position);
    }

    fn log(&mut self, ready: &mut Ready, write: Write) {
        self.position = self.position.next();
        ready.writes.push(write);
    }

    pub(crate) fn status(&self) -> Status {
        let committed = self.replica.committed();
        let chain = self.replica.application();
        let place = chain.place(&committed.id());
        Status {
            view: self.replica.view(),
            leader: self.replica.leader(),
            signs: self.replica.may_sign() && !self.lag.is_leaving(),
            committed: committed.header().height,
            executed: chain.executed_height(),
            window: chain.open_window(),
            record: place.map_or(WindowNumber::ZERO, |place| place.window.record),
            sealed: place.is_some_and(|place| place.window.sealed),
            pending: self.mempool.pending(),
        }
    }

    pub(crate) fn horizon(&self) -> consensus::Horizon {
        self.replica.horizon()
    }

    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        self.replica.measure(gauge);
        let chain = self.replica.application();
        chain.measure(gauge);
        self.mempool.measure(gauge);
        gauge.note("batches under way", self.unsynced.len(), 2 * MAX_BODIES);
        gauge.note("blocks to be executed", self.waiting.len(), MAX_COMMITTED);
        gauge.note("digests claimed", self.claims.len(), MAX_COMMITTED);
        let checkpoints = self.checkpoints.len();
        let kept = usize::try_from(log::CHECKPOINTS_KEPT).unwrap_or(usize::MAX);
        gauge.note("own checkpoints", checkpoints, kept);
        // Records that are known to exist, the one that is waited for and the one a block names;
        // entries of each source.
        let wanted = chain.wanted.batches.len() + chain.wanted.bundles.len();
        let sources = usize::from(self.genesis.shard_count());
        let most = wanted + RECORDS_ASKED + 2 + sources;
        gauge.note("questions", self.questions.len(), most);
        let own = CommitteeId::Shard(self.shard);
        self.lag.measure(self.genesis.committee(own).size(), gauge);
    }
}

/// The members of `committee` that member `me` of another committee sends to, so that each of them
/// hears from at least f + 1 senders.
pub(crate) fn fan_out(
    genesis: &Genesis,
    committee: CommitteeId,
    me: MemberIndex,
) -> impl Iterator<Item = MemberIndex> {
    let members = genesis.committee(committee);
    let copies = members.join_threshold() as u64;
    (0..copies).map(move |copy| members.by_turn(me.get() as u64 + copy))
}
