//! A beacon replica: consensus over the beacon's chain, the gathering of checkpoints, and the
//! distribution of committed records.

use std::sync::Arc;

use lockstep_consensus::{self as consensus, CommittedBlock, Replica};
use lockstep_genesis::Genesis;
use lockstep_ledger::Store;
use lockstep_types::{CommitteeId, Gauge, LogPosition, MemberIndex, Time, Verified};

use crate::beacon_chain::{BeaconChain, BeaconPlace};
use crate::log::{self, write_anchor, write_block, write_committed, write_record};
use crate::member::Setup;
use crate::message::{Destination, Message, Outbound, Peer, Phase, Request};
use crate::ready::{Fatal, Input, Ready, Status, outbound};
use crate::shard_member::fan_out;
use crate::{CertifiedRecord, CheckpointVote};

/// One beacon replica.
pub struct BeaconMember {
    genesis: Arc<Genesis>,
    me: MemberIndex,
    replica: Replica<BeaconChain>,
    position: LogPosition,
}

impl BeaconMember {
    pub(crate) fn recover(
        setup: Setup,
        store: &dyn Store,
        record: Option<consensus::SafetyRecord>,
    ) -> Result<Self, Fatal> {
        let first = BeaconPlace::first(&setup.genesis);
        let found = log::read::<BeaconPlace>(store, &setup, record, first)?;
        let config = setup.config();
        let chain = BeaconChain::new(
            setup.genesis.clone(),
            &found.recovered.anchor.block,
            found.place,
            &log::read_newest_records(store)?,
        );
        let position = found.recovered.log_end;
        let replica = Replica::new(config, setup.signer, chain, found.recovered)?;
        Ok(BeaconMember {
            genesis: setup.genesis,
            me: setup.me,
            replica,
            position,
        })
    }

    pub(crate) fn step(&mut self, now: Time, input: Input) -> Ready {
        let mut ready = Ready::default();
        let input = self.on_input(now, input, &mut ready);
        self.replica.note_log(self.position);
        let parts = self.replica.step(now, input).into_parts();
        self.absorb(now, parts, &mut ready);
        let tip = self.replica.high_qc().block;
        let due = self
            .replica
            .application()
            .due_at(now, &tip)
            .filter(|due| *due > now);
        ready.wake_at = ready.wake_at.into_iter().chain(due).min();
        if ready.needs_sync() {
            ready.position = ready.position.max(self.position);
        }
        ready
    }

    fn on_input(&mut self, now: Time, input: Input, ready: &mut Ready) -> consensus::Input {
        match input {
            Input::Synced(durable) => return consensus::Input::Synced(durable),
            Input::Connected { peer } if peer.committee == CommitteeId::Beacon => {
                return consensus::Input::Connected { peer: peer.member };
            }
            Input::Received { from, message } => {
                return self.on_message(now, from, message, ready);
            }
            Input::Tick | Input::Connected { .. } => {}
            Input::Submitted { .. } | Input::Executed(_) => {
                unreachable!("the host gives transactions and executed blocks to shards only")
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
            Message::Consensus(message) if from.committee == CommitteeId::Beacon => {
                let message = Verified::vouch(message); // part of what was checked
                return consensus::Input::Received {
                    from: from.member,
                    message,
                };
            }
            Message::Consensus(_) => ready.refuse(from, "consensus of another committee"),
            Message::Checkpoint(vote) => self.on_checkpoint(now, *vote, ready),
            Message::Request(request @ Request::Record(_)) => ready.serve.push((from, request)),
            // A record reaches a beacon member as a block of its own chain.
            Message::Record(_) => {}
            Message::Request(_)
            | Message::Batch(_)
            | Message::Bundle(_)
            | Message::Manifest(_)
            | Message::Part(_) => {
                ready.refuse(from, "not for the beacon");
            }
        }
        consensus::Input::Tick
    }

    fn on_checkpoint(&mut self, now: Time, vote: CheckpointVote, ready: &mut Ready) {
        let committed = self.replica.committed().id();
        let chain = self.replica.application_mut();
        let place = chain
            .place(&committed)
            .expect("the committed block has a place")
            .clone();
        if chain.contradicts(&vote) {
            let author = Peer {
                committee: CommitteeId::Shard(vote.checkpoint.shard),
                member: vote.member,
            };
            return ready.refuse(
                author,
                "a checkpoint that contradicts its quorum or its member",
            );
        }
        let had_any = chain.has_any(&place);
        if chain.on_checkpoint(now, vote, &place).is_none() {
            return;
        }
        let number = place.number.next();
        if !had_any {
            ready.phase(now, number, Phase::FirstCertified);
        }
        if chain.has_all(&place) {
            ready.phase(now, number, Phase::AllCertified);
        }
    }

    fn absorb(&mut self, now: Time, parts: consensus::Parts, ready: &mut Ready) {
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
            ready.refuse(
                Peer {
                    committee: CommitteeId::Beacon,
                    member,
                },
                reason,
            );
        }
        for block in parts.committed {
            self.on_committed(now, &block, ready);
        }
        ready.stop = parts.stop.map(Fatal::Consensus);
    }

    fn on_committed(&mut self, now: Time, block: &CommittedBlock, ready: &mut Ready) {
        self.position = self.position.next();
        ready
            .writes
            .extend(write_committed(&block.link, &block.proof));
        // Of several blocks committed in one step only the last still has a place.
        if let Some(place) = self.replica.application().place(&block.block().id()) {
            ready
                .writes
                .push(write_anchor(&block.link, &block.ancestry, &**place));
        }
        let Some(record) = BeaconChain::record_in(block.block()) else {
            return;
        };
        ready.phase(now, record.number, Phase::Recorded);
        let certified = Arc::new(CertifiedRecord {
            record,
            proof: block.proof.clone(),
        });
        ready.writes.push(write_record(&certified));
        self.distribute(&certified, ready);
    }

    /// Sends a record to the shards: each beacon member to f + 1 members of each, so that every
    /// shard member hears from f + 1 and at least one of them is correct.
    fn distribute(&self, record: &Arc<CertifiedRecord>, ready: &mut Ready) {
        for committee in self.genesis.committees().filter(|id| id.shard().is_some()) {
            for member in fan_out(&self.genesis, committee, self.me) {
                let to = Destination::Member(Peer { committee, member });
                let message = Message::Record(record.clone());
                ready.prompt.push(Outbound { to, message });
            }
        }
    }

    pub(crate) fn status(&self) -> Status {
        let committed = self.replica.committed();
        let place = self.replica.application().place(&committed.id());
        let number = place.map(|place| place.number).unwrap_or_default();
        Status {
            view: self.replica.view(),
            leader: self.replica.leader(),
            signs: self.replica.may_sign(),
            committed: committed.header().height,
            executed: committed.header().height,
            window: number.next(),
            record: number,
            sealed: false,
            pending: 0,
        }
    }

    pub(crate) fn horizon(&self) -> consensus::Horizon {
        self.replica.horizon()
    }

    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        self.replica.measure(gauge);
        self.replica.application().measure(gauge);
    }
}
