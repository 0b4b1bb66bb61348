//! Determinism (I13) and the state root (I10): the same block, executed a second time on the state
//! that the disk holds, comes to the same digest, the same receipts and the same checkpoint. A state
//! that is read back is committed anew, every account of it, so this compares the state root that
//! was updated from seal to seal with the one from scratch. Asked of a sample of blocks.

use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::Store;
use lockstep_shard::{ExecuteBlock, ExecutedBlock, Executor, Fatal, Peer, run_in_order};

use super::Broken;

/// One in so many blocks of each member, and one in so many of its seals.
const ONE_IN_BLOCKS: u64 = 256;
const ONE_IN_SEALS: u64 = 16;

/// Is this block one of the sample? Members take turns, so that each block is somebody's.
fn is_sampled(peer: &Peer, block: &ExecuteBlock) -> bool {
    let turn = peer.member.get() as u64;
    let sealed = block.place.seal.map(|window| window.get());
    sealed.is_some_and(|window| (window + turn).is_multiple_of(ONE_IN_SEALS))
        || (block.place.height.get() + turn).is_multiple_of(ONE_IN_BLOCKS)
}

/// What a member that is about to execute `block` would come to after a restart. None for blocks
/// that are not asked about.
pub(crate) fn rehearse(
    genesis: &Arc<Genesis>,
    peer: &Peer,
    store: &dyn Store,
    block: &ExecuteBlock,
) -> Option<Result<ExecutedBlock, Fatal>> {
    let shard = peer.committee.shard()?;
    if !is_sampled(peer, block) {
        return None;
    }
    let executor = Executor::load(genesis.clone(), shard, store);
    Some(executor.and_then(|mut executor| {
        let execution = executor.step(block.clone(), &mut run_in_order)?;
        Ok(execution.executed)
    }))
}

/// Did both executions come to the same?
pub(super) fn compare(
    peer: &Peer,
    again: &Result<ExecutedBlock, Fatal>,
    block: &ExecutedBlock,
) -> Result<(), Broken> {
    let different = match again {
        Err(fatal) => Some(format!("{fatal}")),
        Ok(again) if again.digest != block.digest => Some("another digest".to_owned()),
        Ok(again) if again.receipts != block.receipts => Some("other receipts".to_owned()),
        Ok(again) if again.checkpoint != block.checkpoint => {
            let (then, now) = (&again.checkpoint, &block.checkpoint);
            Some(format!("{then:?} in the place of {now:?}"))
        }
        Ok(_) => None,
    };
    let Some(different) = different else {
        return Ok(());
    };
    let detail = format!("{peer:?} at {}, executed again: {different}", block.height);
    Err(Broken::new("executed twice, the same", detail))
}
