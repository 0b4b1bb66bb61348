//! What a member has executed it can show, whenever its process ends: every batch that the newest
//! executed blocks list is on its disk when it starts again.

use lockstep_ledger::Store;
use lockstep_shard::{Archive, Fatal, Payload, Peer, anchor_of};
use lockstep_types::Height;

use super::Broken;

/// Blocks looked at below the newest executed one. A crash can only touch what is still on its way
/// to the disk.
const BLOCKS: u64 = 16;

/// Looks through the disk of a shard's member that is about to start.
///
/// # Errors
/// The batch that is missing.
pub(crate) fn check(peer: &Peer, store: &dyn Store) -> Result<(), Broken> {
    match missing(store) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(broken(format!("{peer:?} executed {what}"))),
        Err(fatal) => Err(broken(format!("{peer:?}: {fatal}"))),
    }
}

fn broken(detail: String) -> Broken {
    Broken::new("what was executed can be shown", detail)
}

fn missing(store: &dyn Store) -> Result<Option<String>, Fatal> {
    let Some((top, _)) = anchor_of(store)? else {
        return Ok(None);
    };
    let archive = Archive::new(store);
    // What it was given as a whole it has not executed.
    let given = archive.history_after()?.get();
    let lowest = top.get().saturating_sub(BLOCKS).max(given + 1);
    for height in (lowest..=top.get()).rev().map(Height::new) {
        let Some(link) = archive.block(height)? else {
            break;
        };
        let Ok(payload) = Payload::from_bytes(link.block.payload()) else {
            continue;
        };
        for listed in &payload.batches {
            if archive.batch(&listed.digest)?.is_none() {
                let what = format!("height {height} and has no batch {:?} of it", listed.digest);
                return Ok(Some(what));
            }
        }
    }
    Ok(None)
}
