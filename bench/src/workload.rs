//! A ledger of many accounts and signed transfers between them, without a network: what the
//! micro-benchmarks execute, commit and store.

use lockstep_ledger::{Action, BlockInput, Ledger, LedgerConfig, Outcome, Transaction};
use lockstep_types::{
    AccountId, AssetId, GenesisHash, SecretKey, ShardId, Signer, WindowNumber, hash,
};

/// What each account holds.
const BALANCE: u128 = 1_000_000_000_000;

/// Identity of the made-up chain.
pub fn genesis() -> GenesisHash {
    GenesisHash::new(hash("lockstep/bench", &0u8))
}

/// Its only shard.
pub fn config() -> LedgerConfig {
    LedgerConfig {
        genesis: genesis(),
        shard: ShardId::new(0),
        shards: 1,
        minimum_balance: 1_000_000,
        account_window_limit: 1_024,
        pair_cap: 65_536,
    }
}

/// The accounts of `keys`, then `others` that nobody has a key of, to give the state its size.
pub fn allocations(keys: &[SecretKey], others: u32) -> Vec<(AccountId, AssetId, u128)> {
    let owned = keys.iter().map(|key| AccountId::of(&key.public_key()));
    let strangers = (0..others).map(|number| {
        let digest = hash("lockstep/bench-account", &number);
        AccountId::new(digest.as_bytes()[..20].try_into().expect("20 of 32 bytes"))
    });
    owned
        .chain(strangers)
        .map(|id| (id, AssetId::NATIVE, BALANCE))
        .collect()
}

/// Keys of `count` senders.
pub fn keys(count: u32) -> Vec<SecretKey> {
    (0..count)
        .map(|i| SecretKey::insecure_from_seed(u64::from(i), "bench"))
        .collect()
}

/// One transfer of each key, to accounts all over the state.
pub fn transfers(
    keys: &[SecretKey],
    to: &[(AccountId, AssetId, u128)],
    nonce: u64,
) -> Vec<Transaction> {
    let one = |(index, key): (usize, &SecretKey)| {
        let to = to[(index * 7 + 11) % to.len()].0;
        let action = Action::Transfer {
            to,
            asset: AssetId::NATIVE,
            amount: 1_000,
        };
        Transaction::sign(
            &genesis(),
            key,
            nonce,
            WindowNumber::new(1_000_000),
            vec![action],
        )
    };
    keys.iter().enumerate().map(one).collect()
}

/// Executes a block of `transactions` on top of the ledger.
///
/// # Panics
/// When one of them has no effect, or value is not conserved.
pub fn execute(
    ledger: &mut Ledger,
    transactions: &[Transaction],
    seal: Option<WindowNumber>,
) -> Outcome {
    let height = ledger.height().next();
    let outcome = ledger.execute(BlockInput {
        height,
        window: seal.unwrap_or(WindowNumber::new(1)),
        record: None,
        bundles: &[],
        transactions: &mut transactions.iter(),
        seal,
    });
    assert!(outcome.broken.is_none(), "value is conserved");
    assert!(outcome.skipped.is_empty(), "every transfer executes");
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_transfers_execute_one_after_the_other() {
        let keys = keys(20);
        let accounts = allocations(&keys, 100);
        let mut ledger = Ledger::genesis(config(), &accounts);
        for nonce in 0..3 {
            let outcome = execute(&mut ledger, &transfers(&keys, &accounts, nonce), None);
            assert_eq!(outcome.receipts.len(), 20);
        }
    }
}
