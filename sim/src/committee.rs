//! One bare committee: keys, a chain and its root, and [`Seat`]s that run the production consensus
//! with nothing around it. There is no shard and no ledger, the application orders marks, and a
//! disk syncs within the step. For worlds that try very many schedules.
//!
//! Breaks if: a seat lets out what a step holds back before the step's writes are synced.

use core::time::Duration;
use std::sync::Arc;

use lockstep_consensus::{
    Application, Check, CommittedBlock, Config, Content, Evidence, Fatal, Input, LeaderRule,
    Message, Outbound, Recovered, Refusal, Replica, TimerConfig, Turn,
};
use lockstep_types::{
    Block, BlockId, Committee, CommitteeId, Digest, Domain, Durable, EpochContext, Executed,
    GenesisHash, KeyedHashEngine, KeyedSigner, LogPosition, MemberIndex, Rejection, ShardId,
    Signer, Time, Verifiable, Verified, Verifier,
};

/// Every view is given the same time, so that a world can say when it is over.
pub const TIMERS: TimerConfig = TimerConfig {
    base: Duration::from_secs(1),
    cap: Duration::from_secs(1),
    resend: Duration::from_secs(1),
    fetch: Duration::from_millis(80),
};

/// Everybody's clock at the start; all blocks are made long before.
const START: Time = Time::from_millis(1_000_000);

/// A committee and its chain.
pub struct BareCommittee {
    context: EpochContext,
    root: Block,
    signers: Vec<KeyedSigner>,
    verifier: Verifier,
}

impl BareCommittee {
    /// A committee of `size` members.
    ///
    /// # Panics
    /// When no committee has that size.
    pub fn new(size: usize) -> Self {
        let engine = KeyedHashEngine::new([7; 32]);
        let names = (0..size).map(|index| format!("member {index}"));
        let signers: Vec<_> = names.map(|name| engine.signer(&name)).collect();
        let domain = Domain {
            genesis: GenesisHash::new(Digest::new([1; 32])),
            committee: CommitteeId::Shard(ShardId::new(0)),
        };
        let root = Block::genesis(&domain, Time::ZERO);
        let keys = signers.iter().map(KeyedSigner::public_key).collect();
        BareCommittee {
            context: EpochContext {
                domain,
                epoch: root.header().epoch,
                committee: Committee::new(keys).expect("distinct keys, and a sensible size"),
                root: root.id(),
            },
            root,
            signers,
            verifier: Verifier::new(Arc::new(engine)),
        }
    }

    /// What statements are checked against.
    pub fn context(&self) -> &EpochContext {
        &self.context
    }

    /// The block the chain starts from.
    pub fn root(&self) -> &Block {
        &self.root
    }

    /// A member's key.
    pub fn signer(&self, member: MemberIndex) -> &KeyedSigner {
        &self.signers[member.get()]
    }

    /// Checks something as a validator does before its replica sees it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check<T: Verifiable<Context = EpochContext>>(
        &self,
        value: T,
    ) -> Result<Verified<T>, Rejection> {
        self.verifier.check(value, &self.context)
    }

    /// A replica of `member` that has never run. Two seats of one member need different marks, else
    /// they propose the same blocks.
    pub fn seat(&self, member: MemberIndex, mark: u8, leaders: LeaderRule) -> Seat {
        let config = Config {
            domain: self.context.domain,
            committee: self.context.committee.clone(),
            me: member,
            root: self.root.clone(),
            timers: TIMERS,
            leaders,
        };
        let signer = Arc::new(self.signer(member).clone());
        let recovered = Recovered::fresh(self.root.clone());
        let replica = Replica::new(config, signer, Marks { mark }, recovered);
        Seat {
            replica: replica.expect("nothing on disk contradicts the configuration"),
            now: START,
            wake_at: None,
        }
    }
}

/// An application that always has work: each block carries its proposer's mark.
#[derive(Clone, Debug)]
pub struct Marks {
    mark: u8,
}

impl Application for Marks {
    fn on_block(&mut self, _block: &Block) {}

    fn check(&mut self, _now: Time, _block: &Block) -> Check {
        Check::Accept
    }

    fn propose(&mut self, _now: Time, turn: &Turn<'_>) -> Option<Content> {
        let executed = Executed {
            height: turn.commits,
            digest: Default::default(),
        };
        Some(Content {
            time: turn.parent.header().time.next(),
            executed,
            payload: match turn.may_fill {
                true => vec![self.mark],
                false => Vec::new(),
            },
        })
    }

    fn has_work(&self, _now: Time, _parent: &Block) -> bool {
        true
    }

    fn needs_commit(&self, _block: &Block) -> bool {
        true
    }

    fn names_record(&self, _block: &Block) -> bool {
        true
    }

    fn on_commit(&mut self, _block: &Block) {}

    fn retain(&mut self, _is_held: &dyn Fn(&BlockId) -> bool) {}

    fn is_full(&self) -> bool {
        false
    }
}

/// What a step came to, after its writes were synced.
#[derive(Debug, Default)]
pub struct Said {
    /// Messages, in order.
    pub sent: Vec<Outbound>,
    /// Blocks that became final, in order.
    pub committed: Vec<CommittedBlock>,
    /// Members that contradicted themselves.
    pub evidence: Vec<Evidence>,
    /// What was not acted on.
    pub refused: Vec<(MemberIndex, Refusal)>,
    /// The replica will not go on.
    pub stop: Option<Fatal>,
}

/// A running replica with its own clock.
#[derive(Clone)]
pub struct Seat {
    replica: Replica<Marks>,
    now: Time,
    wake_at: Option<Time>,
}

impl Seat {
    /// The replica.
    pub fn replica(&self) -> &Replica<Marks> {
        &self.replica
    }

    /// A checked message arrives.
    pub fn receive(&mut self, from: MemberIndex, message: Verified<Message>) -> Said {
        self.step(Input::Received { from, message })
    }

    /// Its clock goes on, and what is due happens.
    pub fn wait(&mut self, span: Duration) -> Said {
        self.now = self.now.after(span);
        self.step(Input::Tick)
    }

    /// Its clock goes on; nothing happens unless something is due.
    pub fn pass(&mut self, span: Duration) -> Option<Said> {
        self.now = self.now.after(span);
        let due = self.wake_at.is_some_and(|at| at <= self.now);
        due.then(|| self.step(Input::Tick))
    }

    fn step(&mut self, input: Input) -> Said {
        let mut said = Said::default();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let parts = self.replica.step(self.now, input).into_parts();
            self.wake_at = parts.wake_at;
            said.sent.extend(parts.prompt);
            said.committed.extend(parts.committed);
            said.evidence.extend(parts.evidence);
            said.refused.extend(parts.refused);
            said.stop = said.stop.or(parts.stop);
            let position = parts.held.position();
            if position > LogPosition::START {
                let synced = Durable::synced(position);
                said.sent.extend(parts.held.release(&synced));
                next = Some(Input::Synced(synced));
            }
        }
        said
    }
}
