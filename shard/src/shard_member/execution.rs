//! What a shard's member gives to its executor, and what it does with what comes back.

use lockstep_consensus::CommittedBlock;
use lockstep_ledger::Subject;
use lockstep_types::Time;

use super::ShardMember;
use crate::message::MAX_BATCHES_REQUESTED;
use crate::ready::{ExecuteBlock, ExecutedBlock, Fatal, Ready};

impl ShardMember {
    /// Gives the executor every committed block whose bodies are here, in order. Its batches are
    /// synced by then: the state, which is written behind, must never be on disk without them (the
    /// rest of the block is written with the state once more).
    pub(super) fn hand_over(&mut self, ready: &mut Ready) {
        while let Some(block) = self.waiting.front() {
            let Some(block) = self.assemble(block.clone()) else {
                return self.want_ahead();
            };
            let mut digests = block.batches.iter().map(|batch| batch.digest());
            if digests.any(|digest| self.unsynced.contains_key(&digest)) {
                return;
            }
            for batch in &block.batches {
                self.chain().batches.on_executing(&batch.digest());
            }
            self.handed = block.link.block.header().height;
            ready.execute.push(block);
            self.waiting.pop_front();
        }
    }

    /// Execution waits for a body: wants those of the blocks after it as well, as many as one answer
    /// brings, so that a member that catches up does not pay a round trip for each block.
    fn want_ahead(&mut self) {
        let chain = self.replica.application_mut();
        let room = MAX_BATCHES_REQUESTED.saturating_sub(chain.wanted.batches.len());
        let mut ahead = Vec::new();
        for block in self.waiting.iter().skip(1) {
            let id = block.block().id();
            let (Some(payload), Some(_)) = (chain.payload(&id), chain.place(&id)) else {
                break;
            };
            let digests = payload.batches.iter().map(|batch| batch.digest);
            ahead.extend(digests.filter(|digest| chain.batches.get(digest).is_none()));
            if ahead.len() >= room {
                break;
            }
        }
        for digest in ahead.into_iter().take(room) {
            chain.wanted.batches.entry(digest).or_default();
        }
    }

    fn assemble(&mut self, block: CommittedBlock) -> Option<ExecuteBlock> {
        let id = block.block().id();
        let chain = self.replica.application_mut();
        let payload = chain
            .payload(&id)
            .expect("kept until it is executed")
            .clone();
        let record = match &payload.record {
            None => None,
            Some(reference) => match chain.bundles.record(reference.number) {
                Some(record) => Some(record.clone()),
                None => {
                    chain.wanted.record = Some(reference.number);
                    return None;
                }
            },
        };
        let place = chain.place(&id)?.clone();
        let mut batches = Vec::new();
        for batch in &payload.batches {
            match chain.batches.get(&batch.digest) {
                Some(body) => batches.push(body.clone()),
                None => {
                    chain.wanted.batches.entry(batch.digest).or_default();
                }
            }
        }
        let mut bundles = Vec::new();
        for bundle in &payload.bundles {
            match chain.bundles.by_digest(&bundle.digest) {
                Some(body) => bundles.push(body.clone()),
                None => {
                    chain.wanted.bundles.entry(bundle.digest).or_default();
                }
            }
        }
        let whole =
            batches.len() == payload.batches.len() && bundles.len() == payload.bundles.len();
        whole.then_some(ExecuteBlock {
            link: block.link,
            proof: block.proof,
            ancestry: block.ancestry,
            place,
            record,
            bundles,
            batches,
        })
    }

    pub(super) fn on_executed(&mut self, now: Time, block: ExecutedBlock, ready: &mut Ready) {
        if let Some(theirs) = self.claims.remove(&block.height)
            && theirs != block.digest
        {
            let (height, ours) = (block.height, block.digest);
            ready.stop = Some(Fatal::Diverged {
                height,
                ours,
                theirs,
            });
            return;
        }
        self.claims = self.claims.split_off(&block.height.next());
        // The place of the newest committed block may not be known; this one's is.
        let recorded = block.place.window.record;
        self.checkpoints = self.checkpoints.split_off(&recorded.next());
        self.chain()
            .on_executed(block.height, block.digest, &block.place);
        self.mempool
            .on_executed(block.receipts.iter().filter_map(|r| match r.subject {
                Subject::Transaction(id) => Some(id),
                Subject::Credit { .. } => None,
            }));
        self.mempool.on_skipped(now, &block.skipped);
        if block.record.is_some() {
            self.mempool.expire(block.place.window.number);
            self.push_entries(&block.bundles, ready);
        }
        if let Some(checkpoint) = block.checkpoint {
            self.sign_checkpoint(now, checkpoint, &block.proof, ready);
        }
    }
}
