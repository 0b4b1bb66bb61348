//! A shard's state at a seal, as its members give it to one that has lost its own: executed by a
//! ledger, certified by the shard's committee, recorded by the beacon's.

use std::sync::Arc;

use lockstep_ledger::{BlockInput, Ledger, LedgerSnapshot, ReceiptStep, SealChoice, TriePath};
use lockstep_shard::{
    Checkpoint, Manifest, Message, Part, PartBody, PartName, Place, ShardEntry, ledger_config,
    rest_digest, run_in_order,
};
use lockstep_types::generate::Random;
use lockstep_types::{
    BatchDigest, CommitProof, CommitteeId, EffectsDigest, Epoch, Height, LinkedBlock, ShardId,
    WindowNumber,
};

use super::Forge;

/// The window that the seal ends.
const WINDOW: WindowNumber = WindowNumber::new(1);

/// Blocks whose effects are shown at least.
const SHOWN: usize = 9;

/// A state that a record holds.
pub struct ForgedState {
    /// All of it but accounts and entries; it holds.
    pub manifest: Arc<Manifest>,
    ledger: LedgerSnapshot,
}

impl ForgedState {
    /// The answers to all that a member without its state asks for, but for parts of parts.
    pub fn messages(&self) -> Vec<Message> {
        let entries = self.ledger.frame.entries().into_iter();
        let names = entries.map(PartName::Entries);
        let names = names.chain([PartName::Accounts(TriePath::ROOT)]);
        let part = |name| {
            let body = match &name {
                PartName::Accounts(path) => self.ledger.accounts(path).map(PartBody::Accounts),
                PartName::Entries(range) => self.ledger.entries(range).map(PartBody::Entries),
            };
            let record = self.manifest.number();
            Message::Part(Box::new(Part { record, name, body }))
        };
        let mut messages: Vec<Message> = names.map(part).collect();
        messages.push(Message::Manifest(Some(self.manifest.clone())));
        messages
    }
}

/// Blocks as a ledger has executed them, the last one a seal.
struct Executed {
    ledger: LedgerSnapshot,
    steps: Vec<ReceiptStep>,
}

impl Forge {
    /// The state of a shard at a seal some blocks above genesis.
    pub fn state(&self, random: &mut Random, shard: ShardId) -> ForgedState {
        let height = SHOWN + random.index(4);
        let (link, proof) = self.seal(random, shard, height);
        let Executed { ledger, steps } = self.execute(random, shard, height);
        let hidden = random.index(height - SHOWN + 1);
        let zero = EffectsDigest::ZERO;
        let before = steps[..hidden]
            .iter()
            .fold(zero, |at, step| step.after(&at));
        let (place, ancestry): (Place, _) = (random.make(), random.make());
        let listed: Vec<BatchDigest> = random.list();
        let checkpoint = Checkpoint {
            shard,
            epoch: Epoch::ZERO,
            block: link.block.id(),
            record: WindowNumber::ZERO,
            seal: ledger.seal.clone(),
            rest: rest_digest(&place, &ancestry, &listed),
        };
        let mut record = self.record(random);
        let certified = self.certify(random, checkpoint);
        record.shards[usize::from(shard.get())] = ShardEntry::Certified(Box::new(certified));
        let manifest = Manifest {
            record: Arc::new(self.commit(random, record)),
            link,
            proof,
            place,
            ancestry,
            listed,
            before,
            steps: steps[hidden..].to_vec(),
            ledger: ledger.frame.clone(),
        };
        ForgedState {
            manifest: Arc::new(manifest),
            ledger,
        }
    }

    /// A final block at this height.
    fn seal(
        &self,
        random: &mut Random,
        shard: ShardId,
        height: usize,
    ) -> (LinkedBlock, CommitProof) {
        let committee = CommitteeId::Shard(shard);
        loop {
            let chain = self.chain(committee, random, &vec![Vec::new(); height + 3]);
            let sealed = &chain[height - 1..];
            if let Some(proof) = self.prove(committee, random, sealed) {
                return (sealed[0].linked(), proof);
            }
        }
    }

    /// Some payments, here and to the other shard.
    fn execute(&self, random: &mut Random, shard: ShardId, height: usize) -> Executed {
        let config = ledger_config(&self.genesis, shard);
        let mut ledger = Ledger::genesis(config, &self.genesis.allocations());
        let mut steps = Vec::new();
        for number in 1..=height {
            let mut payment = || {
                let nonce = random.below(3);
                self.payment(random, shard, nonce, WINDOW.plus(2))
            };
            let payments = [payment(), payment(), payment()];
            let outcome = ledger.execute(BlockInput {
                height: Height::new(number as u64),
                window: WINDOW,
                record: None,
                bundles: &[],
                transactions: &mut payments.iter(),
                seal: (number == height).then_some(WINDOW),
            });
            steps.push(ReceiptStep {
                receipts_root: outcome.receipts_root,
                effects: outcome.effects,
            });
            if let Some(pending) = outcome.seal {
                let _ = ledger.finish_seal(run_in_order(pending.jobs));
            }
        }
        let ledger = ledger.snapshot(SealChoice::Window(WINDOW));
        Executed {
            ledger: ledger.expect("its last block is a seal"),
            steps,
        }
    }
}
