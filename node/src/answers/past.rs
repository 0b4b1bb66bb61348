//! What the store says of the past: receipts, credits, their proofs and their windows.

use lockstep_client::FinalReceipt;
use lockstep_client::rpc::{Proof, code};
use lockstep_ledger::{History, MAX_ACTIONS, Receipt, Store, Subject, Transaction};
use lockstep_shard::{Archive, Payload, ShardEntry};
use lockstep_types::{
    GenesisHash, Height, MAX_PROOF_HEADERS, ShardId, TransactionId, WindowNumber,
};
use parity_scale_codec::Encode;

use super::{failed, refused};
use crate::rpc::Answer;

/// Blocks searched, above a receipt's own, for a header that covers it. No header of those that are
/// committed together with the receipt's block can name what that block does.
const MAX_COVER_SEARCH: u64 = MAX_PROOF_HEADERS as u64 + 64;

/// A receipt of this shard and where it is.
pub(super) fn receipt_at(
    store: &dyn Store,
    at: Option<(Height, u32)>,
) -> Answer<Option<(Height, u32, Receipt)>> {
    let Some((height, position)) = at else {
        return Ok(None);
    };
    let block = History::new(store).block(height).map_err(failed)?;
    let receipt = block.and_then(|block| block.receipts.get(position as usize).copied());
    Ok(receipt.map(|receipt| (height, position, receipt)))
}

/// Who fetched its state has not executed what came before, and cannot say that something is not
/// there.
pub(super) fn known_from_the_start(store: &dyn Store) -> Answer<()> {
    let after = Archive::new(store).history_after().map_err(failed)?;
    if after == Height::ZERO {
        return Ok(());
    }
    let message =
        format!("not known here, where history starts after height {after}: ask another validator");
    Err(refused(code::HISTORY_STARTS_LATER, message))
}

/// The newest credit here of a transaction of `source`.
pub(super) fn credit_at(
    store: &dyn Store,
    source: ShardId,
    id: &TransactionId,
) -> Answer<Option<(Height, u32, Receipt)>> {
    let mut newest = None;
    for action in 0..MAX_ACTIONS {
        let action = u8::try_from(action).expect("a small constant");
        let at = History::new(store)
            .find_credit(id, action)
            .map_err(failed)?;
        let found = receipt_at(store, at)?;
        let from_source = |receipt: &Receipt| matches!(receipt.subject, Subject::Credit { source: from, .. } if from == source);
        newest = found
            .filter(|(_, _, receipt)| from_source(receipt))
            .max_by_height(newest);
    }
    Ok(newest)
}

trait ByHeight: Sized {
    fn max_by_height(self, other: Self) -> Self;
}

impl<T> ByHeight for Option<(Height, u32, T)> {
    fn max_by_height(self, other: Self) -> Self {
        match (self, other) {
            (Some(a), Some(b)) if b.0 > a.0 => Some(b),
            (Some(a), _) => Some(a),
            (None, other) => other,
        }
    }
}

pub(super) fn block_time(store: &dyn Store, height: Height) -> Answer<u64> {
    let block = Archive::new(store).block(height).map_err(failed)?;
    Ok(block.map_or(0, |link| link.block.header().time.micros()))
}

/// A transaction in the batches of the block that executed it.
pub(super) fn transaction_in(
    store: &dyn Store,
    genesis: &GenesisHash,
    height: Height,
    id: &TransactionId,
) -> Answer<Option<Transaction>> {
    let archive = Archive::new(store);
    let Some(link) = archive.block(height).map_err(failed)? else {
        return Ok(None);
    };
    let payload = Payload::from_bytes(link.block.payload()).map_err(failed)?;
    for listed in &payload.batches {
        let Some(batch) = archive.batch(&listed.digest).map_err(failed)? else {
            continue;
        };
        let found = batch.transactions.iter().find(|t| t.id(genesis) == *id);
        if let Some(found) = found {
            return Ok(Some(found.clone()));
        }
    }
    Ok(None)
}

/// The receipt at a place with the proof of a later committed header.
pub(super) fn certified(
    store: &dyn Store,
    shard: ShardId,
    height: Height,
    position: u32,
    transaction: Option<Transaction>,
) -> Answer<Option<Proof>> {
    let archive = Archive::new(store);
    for distance in 1..=MAX_COVER_SEARCH {
        let at = height.plus(distance);
        let Some(link) = archive.block(at).map_err(failed)? else {
            // Still to come, or one of those that were never executed here.
            let is_past = at <= archive.history_after().map_err(failed)?;
            return match is_past {
                true => known_from_the_start(store).map(|()| None),
                false => Ok(None),
            };
        };
        let executed = link.block.header().executed;
        if executed.height < height {
            continue;
        }
        let Some(commit) = archive.proof(at).map_err(failed)? else {
            return Ok(None);
        };
        let history = History::new(store);
        let proof = history
            .prove(height, position, executed.height)
            .map_err(failed)?;
        return Ok(proof.map(|proof| {
            let receipt = FinalReceipt {
                shard,
                proof,
                commit,
                transaction,
            };
            Proof {
                height: height.get(),
                bytes: hex::encode(receipt.encode()),
            }
        }));
    }
    Ok(None)
}

/// The window a height fell into, from the seals that records name.
pub(super) fn window_from_records(
    store: &dyn Store,
    shard: ShardId,
    newest: WindowNumber,
    height: Height,
) -> Answer<WindowNumber> {
    let archive = Archive::new(store);
    let seal = |number| {
        let certified = archive.record(WindowNumber::new(number)).map_err(failed)?;
        let entry = certified.as_ref().and_then(|c| c.record.entry(shard));
        let checkpoint = entry.and_then(ShardEntry::checkpoint);
        Ok(checkpoint.map(|found| found.checkpoint.seal.height))
    };
    let Some(number) = first_seal_at(newest.get(), height, &seal)? else {
        return Ok(newest.next());
    };
    let number = WindowNumber::new(number);
    let certified = archive.record(number).map_err(failed)?;
    let entry = certified.as_ref().and_then(|c| c.record.entry(shard));
    let found = entry.and_then(ShardEntry::checkpoint);
    Ok(found.map_or(number, |found| found.checkpoint.window()))
}

/// The first record, of those up to `newest`, that names a seal at `height` or above. Seals ascend
/// with the records; a shard that was absent from a record has none there.
fn first_seal_at<E>(
    newest: u64,
    height: Height,
    seal: &dyn Fn(u64) -> Result<Option<Height>, E>,
) -> Result<Option<u64>, E> {
    let (mut low, mut end) = (1, newest + 1);
    while low < end {
        let middle = low + (end - low) / 2;
        let mut present = middle;
        let found = loop {
            match seal(present)? {
                None if present > low => present -= 1,
                found => break found,
            }
        };
        if found.is_some_and(|sealed| sealed >= height) {
            end = present;
        } else {
            low = middle + 1;
        }
    }
    Ok((low <= newest).then_some(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_height_is_found_past_absences() {
        // Record number to the height of the seal it names.
        let seals = [None, Some(10), None, None, Some(20), Some(30), None];
        let seal = |number: u64| -> Result<Option<Height>, ()> {
            Ok(seals[usize::try_from(number).unwrap() - 1].map(Height::new))
        };
        let find = |height| first_seal_at(7, Height::new(height), &seal).unwrap();
        let found = [1, 10, 11, 20, 21, 30, 31].map(find);
        assert_eq!(
            found,
            [Some(2), Some(2), Some(5), Some(5), Some(6), Some(6), None]
        );
        assert_eq!(first_seal_at(0, Height::new(1), &seal), Ok(None));
    }
}
