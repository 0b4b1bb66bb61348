//! Members that lie. Each misbehaviour is a file and a value that a world is given; production code
//! knows nothing of them.
//!
//! A Byzantine member runs the production replica as a puppet, so that it keeps up with its
//! committee and says plausible things, and a [`Behaviour`] decides what of it is really sent. It
//! signs for its own identity and for no other. What became of its lies is counted in [`Lies`].

mod bad_batch;
mod double_voter;
mod duplicate_signer;
mod equivocator;
mod false_checkpoint;
mod far_future;
mod flooder;
mod forger;
mod garbage;
mod hidden;
mod instead;
mod liar;
mod lies;
mod low_tc;
mod memory;
mod outbox_forger;
mod record_liar;
mod replayer;
mod seat;
mod selective;
mod silent;
mod stale;
mod state_denier;
mod sync_liar;
mod tc_forger;
mod vote_replacer;
mod withheld_batch;
mod wrong_block;
mod wrong_executed;

use std::collections::BTreeMap;

use lockstep_genesis::Genesis;
use lockstep_shard::{Message, Peer};
use lockstep_types::{CommitteeId, MemberIndex};

pub use liar::Liar;
pub use lies::Lies;
pub use memory::Memory;
pub use seat::{Parcel, Place, Post, Seat};

use crate::Random;

/// A way of being Byzantine.
pub trait Behaviour {
    /// Its replica would send `message`; what is sent in its place?
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        seat.say(to, message);
    }

    /// `from` has sent it `message`.
    fn hear(&mut self, _seat: &mut Seat<'_>, _from: Peer, _message: &Message) {}

    /// Its replica has said what it had to say. An occasion to say more.
    fn act(&mut self, _seat: &mut Seat<'_>) {}
}

/// The ways there are, to choose from by a draw. Each is described in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the files say it")]
pub enum Kind {
    BadBatch,
    DoubleVoter,
    DuplicateSigner,
    Equivocator,
    FalseCheckpoint,
    FarFuture,
    Flooder,
    Forger,
    Garbage,
    Hidden,
    LowTc,
    OutboxForger,
    RecordLiar,
    Replayer,
    Selective,
    Silent,
    Stale,
    StateDenier,
    SyncLiar,
    TcForger,
    /// Two honest copies with one key, see `copies.rs`.
    Twin,
    VoteReplacer,
    WithheldBatch,
    WrongBlock,
    WrongExecuted,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 25] = [
        Kind::BadBatch,
        Kind::DoubleVoter,
        Kind::DuplicateSigner,
        Kind::Equivocator,
        Kind::FalseCheckpoint,
        Kind::FarFuture,
        Kind::Flooder,
        Kind::Forger,
        Kind::Garbage,
        Kind::Hidden,
        Kind::LowTc,
        Kind::OutboxForger,
        Kind::RecordLiar,
        Kind::Replayer,
        Kind::Selective,
        Kind::Silent,
        Kind::Stale,
        Kind::StateDenier,
        Kind::SyncLiar,
        Kind::TcForger,
        Kind::Twin,
        Kind::VoteReplacer,
        Kind::WithheldBatch,
        Kind::WrongBlock,
        Kind::WrongExecuted,
    ];

    /// The ways that make sense in a committee.
    pub fn of(committee: CommitteeId) -> Vec<Kind> {
        let at_beacon = committee == CommitteeId::Beacon;
        let fits = |kind: &Kind| match kind {
            Kind::Forger | Kind::RecordLiar => at_beacon,
            Kind::BadBatch
            | Kind::FalseCheckpoint
            | Kind::OutboxForger
            | Kind::StateDenier
            | Kind::WithheldBatch => !at_beacon,
            _ => true,
        };
        Self::ALL.into_iter().filter(fits).collect()
    }

    /// Who lies in a run, and how: in some committees, or in all of them at once, up to as many
    /// members as may be faulty.
    pub fn draw(random: &mut Random, genesis: &Genesis) -> BTreeMap<Peer, Kind> {
        let mut liars = BTreeMap::new();
        let everywhere = random.chance(150);
        let twin = random.chance(50);
        for committee in genesis.committees() {
            if !everywhere && !random.chance(350) {
                continue;
            }
            let faulty = genesis.committee(committee).max_faulty() as u64;
            let members: Vec<_> = genesis.committee(committee).indices().collect();
            let kinds = Kind::of(committee);
            for _ in 0..faulty.min(1 + random.below(faulty.max(1))) {
                let member = *random.pick(&members);
                liars.insert(Peer { committee, member }, *random.pick(&kinds));
            }
        }
        if twin {
            // One validator, twinned in a shard and in the beacon at once.
            liars.clear();
            let member = MemberIndex::new(u8::try_from(random.below(4)).expect("small"));
            for committee in genesis.committees().take(2) {
                liars.insert(Peer { committee, member }, Kind::Twin);
            }
        }
        liars
    }

    pub(super) fn behaviour(self, random: &mut Random) -> Box<dyn Behaviour> {
        match self {
            Kind::BadBatch => Box::<bad_batch::BadBatch>::default(),
            Kind::DoubleVoter => Box::<double_voter::DoubleVoter>::default(),
            Kind::DuplicateSigner => Box::new(duplicate_signer::DuplicateSigner),
            Kind::Equivocator => Box::<equivocator::Equivocator>::default(),
            Kind::FalseCheckpoint => Box::new(false_checkpoint::FalseCheckpoint),
            Kind::FarFuture => Box::new(far_future::FarFuture),
            Kind::Flooder => Box::<flooder::Flooder>::default(),
            Kind::Forger => Box::<forger::Forger>::default(),
            Kind::Garbage => Box::new(garbage::Garbage),
            Kind::Hidden => Box::<hidden::Hidden>::default(),
            Kind::LowTc => Box::<low_tc::LowTc>::default(),
            Kind::OutboxForger => Box::new(outbox_forger::OutboxForger),
            Kind::RecordLiar => Box::<record_liar::RecordLiar>::default(),
            Kind::Replayer => Box::new(replayer::Replayer),
            Kind::Selective => Box::new(selective::Selective::new(random)),
            Kind::Silent => Box::new(silent::Silent::new(random)),
            Kind::Stale => Box::<stale::Stale>::default(),
            Kind::StateDenier => Box::<state_denier::StateDenier>::default(),
            Kind::SyncLiar => Box::new(sync_liar::SyncLiar),
            Kind::TcForger => Box::<tc_forger::TcForger>::default(),
            Kind::Twin => unreachable!("two honest processes, which the world runs"),
            Kind::VoteReplacer => Box::new(vote_replacer::VoteReplacer),
            Kind::WithheldBatch => Box::new(withheld_batch::WithheldBatch::new(random)),
            Kind::WrongBlock => Box::<wrong_block::WrongBlock>::default(),
            Kind::WrongExecuted => Box::<wrong_executed::WrongExecuted>::default(),
        }
    }

    /// A word for traces and tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::BadBatch => "bad-batch",
            Kind::DoubleVoter => "double-voter",
            Kind::DuplicateSigner => "duplicate-signer",
            Kind::Equivocator => "equivocator",
            Kind::FalseCheckpoint => "false-checkpoint",
            Kind::FarFuture => "far-future",
            Kind::Flooder => "flooder",
            Kind::Forger => "forger",
            Kind::Garbage => "garbage",
            Kind::Hidden => "hidden",
            Kind::LowTc => "low-tc",
            Kind::OutboxForger => "outbox-forger",
            Kind::RecordLiar => "record-liar",
            Kind::Replayer => "replayer",
            Kind::Selective => "selective",
            Kind::Silent => "silent",
            Kind::Stale => "stale",
            Kind::StateDenier => "state-denier",
            Kind::SyncLiar => "sync-liar",
            Kind::TcForger => "tc-forger",
            Kind::Twin => "twin",
            Kind::VoteReplacer => "vote-replacer",
            Kind::WithheldBatch => "withheld-batch",
            Kind::WrongBlock => "wrong-block",
            Kind::WrongExecuted => "wrong-executed",
        }
    }
}
