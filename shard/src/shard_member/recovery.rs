//! How a shard's member comes up: from what its store and its safety record hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_consensus::{self as consensus, Replica};
use lockstep_ledger::Store;
use lockstep_types::{EffectsDigest, Height, ShardId, Time, WindowNumber};

use super::ShardMember;
use crate::CheckpointVote;
use crate::batch::BatchContext;
use crate::far_behind::Lag;
use crate::log;
use crate::member::Setup;
use crate::mempool::Mempool;
use crate::questions::Questions;
use crate::ready::Fatal;
use crate::shard_chain::{Place, ShardChain};

/// Effects digests read back at a start. Headers name heights at most eight below what is committed.
const DIGESTS_READ: usize = 64;

impl ShardMember {
    pub(crate) fn recover(
        setup: Setup,
        shard: ShardId,
        store: &dyn Store,
        record: Option<consensus::SafetyRecord>,
    ) -> Result<Self, Fatal> {
        let first = ShardChain::first_place(&setup.genesis);
        let found = log::read::<Place>(store, &setup, record, first)?;
        let config = setup.config();
        let Setup {
            genesis,
            me,
            signer,
            max_replay,
            ..
        } = setup;
        let digests = ledger_digests(store)?;
        let anchor = &found.recovered.anchor;
        let mut chain = ShardChain::new(
            &genesis,
            shard,
            me,
            &anchor.block,
            found.place.clone(),
            digests,
        );
        let since = found.place.window.previous_opened;
        let listed = log::listed_since(store, anchor, since)?;
        for digest in listed.into_iter().flat_map(|(_, digests)| digests) {
            chain.batches.on_listed(found.place.window.number, digest);
            chain.batches.on_executing(&digest);
        }
        for record in log::read_records(store, chain.bundles.records_of_use())? {
            chain.bundles.add_record(record, &BTreeSet::new());
        }
        for batch in found.batches {
            // A repeat is all that can be refused here.
            let _known = chain.batches.insert(batch, true);
        }
        let listed = found.bundles.iter().map(|bundle| bundle.digest()).collect();
        for bundle in found.bundles {
            // It was proven when it was written; of an old window it is listed or of no use.
            let _proven = chain.bundles.add(bundle.clone(), &listed);
            chain.bundles.add_listed(bundle);
        }
        let checkpoints = log::read_checkpoints(store)?
            .into_iter()
            .filter(|checkpoint| checkpoint.window() > found.place.window.record)
            .map(|checkpoint| {
                let window = checkpoint.window();
                let vote = CheckpointVote::sign(&genesis, &*signer, me, checkpoint);
                (window, (vote, Time::ZERO))
            })
            .collect();
        let handed = anchor.block.header().height;
        let position = found.recovered.log_end;
        let replica = Replica::new(config, signer.clone(), chain, found.recovered)?;
        Ok(ShardMember {
            batch_context: BatchContext::new(&genesis, shard),
            mempool: Mempool::new(genesis.hash()),
            genesis,
            shard,
            me,
            signer,
            replica,
            sequence: 0,
            position,
            unsynced: BTreeMap::new(),
            waiting: VecDeque::new(),
            claims: BTreeMap::new(),
            checkpoints,
            questions: Questions::default(),
            last_step: Time::ZERO,
            heard: WindowNumber::ZERO,
            handed,
            lag: Lag::new(max_replay),
        })
    }
}

/// The digests of the newest stored heights. After a restart of everybody, leaders name heights
/// below the anchor, and voters must be able to compare.
fn ledger_digests(store: &dyn Store) -> Result<BTreeMap<Height, EffectsDigest>, Fatal> {
    let (anchor, _) = log::anchor_of(store)?.unwrap_or_default();
    let history = lockstep_ledger::History::new(store);
    let reached = history.reached()?.unwrap_or_default();
    if reached.0 != anchor {
        return Err(Fatal::Store(format!(
            "the state is at height {}, the anchor at {anchor}",
            reached.0
        )));
    }
    let base = log::read_base(store)?.unwrap_or_default();
    let mut digests = BTreeMap::from_iter(base.digests);
    digests.insert(anchor, reached.1);
    let mut height = anchor;
    for _ in 0..DIGESTS_READ {
        let Some(below) = height.previous() else {
            break;
        };
        let Some(block) = history.block(height)? else {
            break;
        };
        digests.insert(below, block.previous);
        height = below;
    }
    Ok(digests)
}
