//! A member: one validator's replica in one committee, behind one `step`.

use std::sync::Arc;

use lockstep_consensus::{self as consensus, Arrival, Horizon, SafetyRecord, TimerConfig};
use lockstep_genesis::Genesis;
use lockstep_ledger::Store;
use lockstep_types::{Block, CommitteeId, Gauge, Height, MemberIndex, ShardId, Signer, Time};

use crate::beacon_member::BeaconMember;
use crate::message::root_block;
use crate::ready::{Fatal, Input, Ready, Status};
use crate::shard_member::ShardMember;
use crate::state_sync::{StateSync, is_syncing};

/// Blocks that a shard's member executes one by one rather than fetch the state after them, unless
/// its host says otherwise.
///
/// To replay is worth something: all receipts of these blocks are here afterwards, and the member
/// votes while it catches up. It takes as long as execution does, from seconds, when blocks are nearly
/// empty, to about as long as the blocks took to be made, when they are full: an outage of some
/// twenty minutes at ten blocks a second is the longest worth that. To fetch takes the time of the
/// accounts, some seconds for a million, however long the outage was.
pub const MAX_REPLAY: u64 = 10_000;

/// What a member is.
#[derive(Clone)]
pub struct Setup {
    /// The chain.
    pub genesis: Arc<Genesis>,
    /// The committee.
    pub committee: CommitteeId,
    /// The position in it.
    pub me: MemberIndex,
    /// The validator's key.
    pub signer: Arc<dyn Signer>,
    /// Durations of consensus.
    pub timers: TimerConfig,
    /// How it comes to this start.
    pub arrival: Arrival,
    /// A shard's member that is further behind than so many blocks fetches a state. See
    /// [`MAX_REPLAY`].
    pub max_replay: u64,
}

impl Setup {
    /// The block that the committee's chain begins with.
    pub(crate) fn root(&self) -> Block {
        root_block(&self.genesis, self.committee)
    }

    /// What its replica is.
    pub(crate) fn config(&self) -> consensus::Config {
        consensus::Config {
            domain: self.genesis.domain(self.committee),
            committee: self.genesis.committee(self.committee).clone(),
            me: self.me,
            root: self.root(),
            timers: self.timers,
            leaders: consensus::LeaderRule::Rotation,
        }
    }
}

/// A replica of a shard or of the beacon.
pub enum Member {
    /// Of a shard.
    Shard(Box<ShardMember>),
    /// Of a shard, without its state: it fetches one.
    Syncing(Box<StateSync>),
    /// Of the beacon.
    Beacon(Box<BeaconMember>),
}

impl Member {
    /// Starts from what the disk holds: the store, and the safety record from its own file (`None`
    /// only for a member that has never run). Committed blocks whose effects are not stored come
    /// out of the first step for execution. A state that was being fetched is fetched further; what
    /// [`finish_state_sync`](crate::finish_state_sync) gives must have been written before.
    ///
    /// # Errors
    /// When what the disk holds is damaged or not this member's.
    pub fn recover(
        setup: Setup,
        store: &dyn Store,
        record: Option<SafetyRecord>,
    ) -> Result<Self, Fatal> {
        Ok(match setup.committee {
            CommitteeId::Shard(shard) if is_syncing(store)? => Self::sync(setup, shard, store)?,
            CommitteeId::Shard(shard) => {
                Member::Shard(Box::new(ShardMember::recover(setup, shard, store, record)?))
            }
            CommitteeId::Beacon => {
                Member::Beacon(Box::new(BeaconMember::recover(setup, store, record)?))
            }
        })
    }

    /// Starts a shard's member that has no state, or one that is too old to be of use: it fetches
    /// the newest that a barrier record holds.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn sync(setup: Setup, shard: ShardId, store: &dyn Store) -> Result<Self, Fatal> {
        let sync = StateSync::start(&setup, shard, store)?;
        Ok(Member::Syncing(Box::new(sync)))
    }

    /// Does it fetch its state? It takes no transactions then, and executes nothing.
    pub fn is_syncing(&self) -> bool {
        matches!(self, Member::Syncing(_))
    }

    /// The height of the state that it fetches, once it has chosen one.
    pub fn fetches(&self) -> Option<Height> {
        let Member::Syncing(member) = self else {
            return None;
        };
        let target = member.target()?;
        Some(target.link.block.header().height)
    }

    /// One step.
    pub fn step(&mut self, now: Time, input: Input) -> Ready {
        match self {
            Member::Shard(member) => member.step(now, input),
            Member::Syncing(member) => member.step(now, input),
            Member::Beacon(member) => member.step(now, input),
        }
    }

    /// How the member stands.
    pub fn status(&self) -> Status {
        match self {
            Member::Shard(member) => member.status(),
            Member::Syncing(member) => member.status(),
            Member::Beacon(member) => member.status(),
        }
    }

    /// Which consensus messages are worth checking.
    pub fn horizon(&self) -> Horizon {
        match self {
            Member::Shard(member) => member.horizon(),
            Member::Syncing(member) => member.horizon(),
            Member::Beacon(member) => member.horizon(),
        }
    }

    /// How full everything is that grows with what others say. Cheap: counts, never walks.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        match self {
            Member::Shard(member) => member.measure(gauge),
            Member::Syncing(member) => member.measure(gauge),
            Member::Beacon(member) => member.measure(gauge),
        }
    }
}
