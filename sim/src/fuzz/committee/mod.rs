//! A committee of four with one hostile member, driven by a script: what arrives when and twice,
//! who crashes in which step, what the hostile member says. The checkers of the simulator look at
//! every step, and in the end, when the hostile member falls silent, the others come together.

mod hostile;
mod world;

use std::sync::Arc;

use lockstep_shard::{
    BarrierRecord, CertifiedRecord, CheckpointVote, Input, Message, Peer, ShardEntry,
};
use lockstep_types::generate::Random;
use lockstep_types::{CommitteeId, Height, MemberIndex, ShardId, Verified, WindowNumber};
use parity_scale_codec::Encode;

use super::forge::SHARD;
use super::script::Script;
use super::{Forge, Target};
use world::{Crash, World};
/// The seat of the hostile member.
const HOSTILE: usize = 3;

/// Choices of a script that are followed. A longer one only takes longer.
const MAX_CHOICES: usize = 1_500;

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(Scripted {
            name: "beacon",
            committee: CommitteeId::Beacon,
            forge: Forge::new(),
        }),
        Box::new(Scripted {
            name: "shard",
            committee: SHARD,
            forge: Forge::new(),
        }),
    ]
}

struct Scripted {
    name: &'static str,
    committee: CommitteeId,
    forge: Forge,
}

impl Target for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let quiet = |random: &mut Random| -> Vec<u8> {
            // Mostly deliveries and time, so that something is committed between the attacks.
            (0..600 + random.below(600))
                .map(|_| {
                    let wild = random.one_in(6);
                    let calm = random.below(160) as u8;
                    if wild { random.make() } else { calm }
                })
                .collect()
        };
        (0..8).map(|_| quiet(random)).collect()
    }

    /// Taken in: something was committed.
    fn run(&self, input: &[u8]) -> bool {
        let mut world = World::new(&self.forge, self.committee);
        let mut script = Script::new(input);
        for _ in 0..MAX_CHOICES {
            if script.is_done() {
                break;
            }
            world.choose(&mut script);
            world.judge();
        }
        world.heal();
        world.highest() > Height::ZERO
    }
}

impl World<'_> {
    fn choose(&mut self, script: &mut Script<'_>) {
        match script.below(20) {
            0..=6 => {
                if let Some(next) = self.queue.pop_front() {
                    self.deliver(next);
                }
            }
            7 => {
                if !self.queue.is_empty() {
                    let late = script.index(self.queue.len());
                    let late = self.queue.remove(late).expect("an index");
                    self.deliver(late);
                }
            }
            8 => {
                // Arrives, and once more later.
                if let Some(next) = self.queue.front().cloned() {
                    self.queue.rotate_left(1);
                    self.deliver(next);
                }
            }
            9..=10 => self.pass_time(u64::from(script.byte())),
            11..=12 => self.work(script),
            13 => drop(self.queue.pop_front()),
            14 => {
                let kinds = [
                    Crash::Nothing,
                    Crash::LogOnly,
                    Crash::RecordOnly,
                    Crash::BothUnsent,
                ];
                let choice = script.below(8);
                match kinds.get(choice) {
                    Some(crash) => self.crash = Some(*crash),
                    None => self.restart(choice % HOSTILE),
                }
            }
            15 => self.lie_vote(script),
            16 => self.lie_timeout(script),
            17 => self.lie_proposal(script),
            18 => self.gather(script),
            _ => self.bend(script),
        }
    }

    /// Something to order: checkpoints at the beacon, payments and records at the shard.
    fn work(&mut self, script: &mut Script<'_>) {
        let mut random = Random::new(self.submitted);
        self.submitted += 1;
        let Some(shard) = self.committee.shard() else {
            return self.checkpoint(script);
        };
        match script.below(8) {
            0 => self.give_record(),
            1 => {
                let batch = self.forge.batch(&mut random, shard, member(HOSTILE));
                for transaction in &batch.transactions {
                    let id = transaction.id(&self.forge.genesis.hash());
                    self.checkers.on_submitted(id);
                }
                let to = script.below(HOSTILE);
                let from = peer(self.committee, HOSTILE);
                self.post(from, to, Message::Batch(Arc::new(batch)));
            }
            choice => {
                let expiry = WindowNumber::new(1 + u64::from(script.byte()));
                let nonce = u64::from(script.below(3) as u8);
                let payment = self.forge.payment(&mut random, shard, nonce, expiry);
                let id = payment.id(&self.forge.genesis.hash());
                self.checkers.on_submitted(id);
                let transaction = Verified::vouch(payment);
                self.step(choice % HOSTILE, Input::Submitted { transaction });
            }
        }
    }

    /// A shard's member tells the beacon where it stands; its fourth member tells something else.
    fn checkpoint(&mut self, script: &mut Script<'_>) {
        let shard = ShardId::new(u16::from(script.byte() % 2));
        let window = 1 + u64::from(script.below(4) as u8) + self.record.0.get();
        let seat = script.below(HOSTILE + 1);
        let false_one = u64::from(seat == HOSTILE && script.byte() % 2 == 1);
        let mut random = Random::new(window * 4 + u64::from(shard.get()) + 1_000 * false_one);
        let mut checkpoint = self.forge.checkpoint(&mut random, shard);
        checkpoint.seal.window = WindowNumber::new(window);
        checkpoint.seal.height = Height::new(window * 10);
        checkpoint.seal.flows.clear();
        checkpoint.seal.supply.clear();
        checkpoint.record = WindowNumber::ZERO;
        let committee = CommitteeId::Shard(shard);
        let signer = self.forge.signer(committee, member(seat));
        let genesis = &self.forge.genesis;
        let vote = CheckpointVote::sign(genesis, &signer, member(seat), checkpoint);
        for to in 0..HOSTILE {
            let message = Message::Checkpoint(Box::new(vote.clone()));
            self.post(peer(committee, seat), to, message);
        }
    }

    /// The beacon's next record, in which every shard is absent.
    fn give_record(&mut self) {
        let genesis = &self.forge.genesis;
        let number = self.record.0.next();
        let record = BarrierRecord {
            number,
            previous: self.record.1,
            committees: BarrierRecord::committees_of(genesis),
            base: self.now,
            shards: vec![ShardEntry::Absent; usize::from(genesis.shard_count())],
        };
        self.record = (number, record.hash());
        let mut random = Random::new(number.get());
        let payload = record.encode();
        let proof = self.forge.proof(CommitteeId::Beacon, &mut random, payload);
        let record = Arc::new(CertifiedRecord { record, proof });
        for to in 0..HOSTILE {
            let from = peer(CommitteeId::Beacon, to);
            self.post(from, to, Message::Record(record.clone()));
        }
    }
}

fn member(at: usize) -> MemberIndex {
    MemberIndex::new(u8::try_from(at).expect("one of four"))
}

fn peer(committee: CommitteeId, at: usize) -> Peer {
    Peer {
        committee,
        member: member(at),
    }
}
