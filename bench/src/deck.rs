//! Everything that the accounts will send, signed before the run.

use std::collections::BTreeMap;

use lockstep_genesis::AccountKey;
use lockstep_ledger::{Action, Transaction};
use lockstep_types::{AccountId, AssetId, GenesisHash, TransactionId, WindowNumber};
use parity_scale_codec::Encode;

use crate::random::Random;

/// What each transfer moves: the least that may enter another shard, where the receiver might be
/// new. Accounts start with enough for ten million of them.
const AMOUNT: u128 = 1_000_000;

/// A signed transfer.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) id: TransactionId,
    pub(crate) bytes: Vec<u8>,
    /// The shard whose account receives.
    pub(crate) destination: u16,
}

/// The signed transactions of one account, by nonce.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) shard: u16,
    pub(crate) transactions: Vec<Signed>,
}

/// All accounts with everything they will send.
#[derive(Debug)]
pub struct Deck(pub(crate) Vec<Account>);

impl Deck {
    /// Signs `each` transactions for each account, on all processors.
    pub fn sign(
        genesis: &GenesisHash,
        keys: &[AccountKey],
        shards: u16,
        cross_share: f64,
        each: usize,
        seed: u64,
    ) -> Self {
        let mut homes: BTreeMap<u16, Vec<AccountId>> = BTreeMap::new();
        for key in keys {
            homes.entry(key.shard.get()).or_default().push(key.account);
        }
        let sign_some = |first: usize, keys: &[AccountKey]| -> Vec<Account> {
            keys.iter()
                .enumerate()
                .map(|(offset, key)| {
                    let mut random = Random::new(seed ^ ((first + offset) as u64) << 20);
                    let home = key.shard.get();
                    let one = |nonce: usize| {
                        let cross = shards > 1 && random.unit() < cross_share;
                        let destination = match cross {
                            true => other(home, shards, &mut random),
                            false => home,
                        };
                        let to = receiver(&homes, destination, key.account, &mut random);
                        signed(genesis, key, nonce as u64, to, destination)
                    };
                    Account {
                        shard: home,
                        transactions: (0..each).map(one).collect(),
                    }
                })
                .collect()
        };
        let share = keys.len().div_ceil(crate::manifest::cores()).max(1);
        let accounts = std::thread::scope(|scope| {
            let workers: Vec<_> = keys
                .chunks(share)
                .enumerate()
                .map(|(index, chunk)| scope.spawn(move || sign_some(index * share, chunk)))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("signing does not panic"))
                .collect()
        });
        Deck(accounts)
    }
}

fn other(home: u16, shards: u16, random: &mut Random) -> u16 {
    let step = 1 + random.below(usize::from(shards) - 1);
    ((usize::from(home) + step) % usize::from(shards)) as u16
}

fn receiver(
    homes: &BTreeMap<u16, Vec<AccountId>>,
    shard: u16,
    not: AccountId,
    random: &mut Random,
) -> AccountId {
    let there = &homes[&shard];
    let at = random.below(there.len());
    // A transfer to oneself would be a different kind of work.
    if there[at] == not {
        there[(at + 1) % there.len()]
    } else {
        there[at]
    }
}

fn signed(
    genesis: &GenesisHash,
    key: &AccountKey,
    nonce: u64,
    to: AccountId,
    destination: u16,
) -> Signed {
    let transfer = Action::Transfer {
        to,
        asset: AssetId::NATIVE,
        amount: AMOUNT,
    };
    let expiry = WindowNumber::new(u64::from(u32::MAX));
    let transaction = Transaction::sign(genesis, &key.key, nonce, expiry, vec![transfer]);
    Signed {
        id: transaction.id(genesis),
        bytes: transaction.encode(),
        destination,
    }
}
