//! Development networks: every key is computed from a seed and a role, so that a whole network
//! fits into one command line and one number. Anyone can compute them, which is why [`check`]
//! refuses them everywhere else.
//!
//! [`check`]: crate::Genesis::new

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_types::{
    AccountId, AssetId, CommitteeId, MemberIndex, PublicKey, SecretKey, ShardId, Signer, Time, hash,
};

use crate::{Allocation, Amount, Genesis, GenesisSpec, Limits, Network, Problems, ValidatorSpec};

/// The names of the first ten accounts. Account i lives in shard i mod S.
pub const PERSONAS: [&str; 10] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "jane",
];

/// The seed used when none is given.
pub const DEFAULT_DEVELOPMENT_SEED: u64 = 0;

/// Seeds whose keys are recognized on other networks.
const KNOWN_SEEDS: u64 = 8;
/// Account keys recognized per seed: enough draws to have given every persona a shard of eight.
const KNOWN_ACCOUNTS: u32 = 64;

/// Shape of a development network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevelopmentSpec {
    /// Name of the chain.
    pub name: String,
    /// All keys follow from it.
    pub seed: u64,
    /// Number of shards.
    pub shards: u16,
    /// Members of each committee, the beacon's included.
    pub validators: u8,
    /// Length of a window.
    pub interval: Duration,
    /// Barriers that may be outstanding.
    pub depth: u8,
    /// How long the beacon waits for a late shard.
    pub patience: Duration,
    /// How many accounts hold value.
    pub accounts: u32,
    /// What each of them holds.
    pub balance: Amount,
    /// Bounds on blocks and accounts.
    pub limits: Limits,
    /// When window 1 begins.
    pub time: Time,
}

impl Default for DevelopmentSpec {
    fn default() -> Self {
        DevelopmentSpec {
            name: "dlock".to_owned(),
            seed: DEFAULT_DEVELOPMENT_SEED,
            shards: 2,
            validators: 4,
            interval: Duration::from_secs(2),
            depth: 1,
            patience: Duration::from_secs(4),
            accounts: 10,
            balance: Amount::lck(10_000),
            limits: Limits::default(),
            time: Time::ZERO,
        }
    }
}

/// Both keys of a validator.
#[derive(Clone, Debug)]
pub struct ValidatorKeys {
    /// Signs consensus statements.
    pub key: SecretKey,
    /// The 32 secret bytes of its ed25519 network key.
    pub network_seed: [u8; 32],
}

/// The key of a funded account.
#[derive(Clone, Debug)]
pub struct AccountKey {
    /// `alice` to `jane`, then `account-10` and so on.
    pub name: String,
    /// The key.
    pub key: SecretKey,
    /// The account.
    pub account: AccountId,
    /// The shard that holds it.
    pub shard: ShardId,
}

/// All secret keys of a development network.
#[derive(Clone, Debug)]
pub struct DevelopmentKeys {
    /// By committee, in member order.
    pub validators: BTreeMap<CommitteeId, Vec<ValidatorKeys>>,
    /// In the order of the genesis.
    pub accounts: Vec<AccountKey>,
}

impl DevelopmentKeys {
    /// The keys of one member.
    pub fn validator(&self, committee: CommitteeId, member: MemberIndex) -> Option<&ValidatorKeys> {
        self.validators.get(&committee)?.get(member.get())
    }

    /// The account of a name.
    pub fn account(&self, name: &str) -> Option<&AccountKey> {
        self.accounts.iter().find(|account| account.name == name)
    }
}

impl Genesis {
    /// A development network with all its keys. The same specification gives the same bytes.
    ///
    /// # Errors
    /// When the shape is out of bounds: too few validators, no shard, and so on.
    pub fn development(spec: &DevelopmentSpec) -> Result<(Genesis, DevelopmentKeys), Problems> {
        let ids = core::iter::once(CommitteeId::Beacon)
            .chain((0..spec.shards).map(|shard| CommitteeId::Shard(ShardId::new(shard))));
        let validators: BTreeMap<CommitteeId, Vec<ValidatorKeys>> = ids
            .map(|id| (id, committee_keys(spec.seed, id, spec.validators)))
            .collect();
        // Nothing can be spread over no shards; the check then says what is wrong.
        let accounts = match spec.shards {
            0 => Vec::new(),
            shards => account_keys(spec.seed, shards, spec.accounts),
        };
        let members = |id: CommitteeId| -> Vec<ValidatorSpec> {
            validators[&id]
                .iter()
                .enumerate()
                .map(|(i, keys)| member(id, i, keys))
                .collect()
        };
        let genesis = Genesis::new(GenesisSpec {
            name: spec.name.clone(),
            network: Network::Development,
            time: spec.time,
            interval: spec.interval,
            depth: spec.depth,
            patience: spec.patience,
            limits: spec.limits,
            beacon: members(CommitteeId::Beacon),
            shards: (0..spec.shards)
                .map(|shard| members(CommitteeId::Shard(ShardId::new(shard))))
                .collect(),
            accounts: accounts
                .iter()
                .map(|account| Allocation {
                    name: Some(account.name.clone()),
                    account: account.account,
                    asset: AssetId::NATIVE,
                    amount: spec.balance.units(),
                })
                .collect(),
        })?;
        Ok((
            genesis,
            DevelopmentKeys {
                validators,
                accounts,
            },
        ))
    }
}

fn member(committee: CommitteeId, index: usize, keys: &ValidatorKeys) -> ValidatorSpec {
    ValidatorSpec {
        name: format!("{}-validator-{index}", committee_word(committee)),
        key: keys.key.public_key(),
        network_key: network_public_key(&keys.network_seed),
    }
}

fn committee_word(committee: CommitteeId) -> String {
    match committee {
        CommitteeId::Beacon => "beacon".to_owned(),
        CommitteeId::Shard(shard) => format!("shard-{}", shard.get()),
    }
}

fn committee_keys(seed: u64, committee: CommitteeId, members: u8) -> Vec<ValidatorKeys> {
    (0..members)
        .map(|member| development_validator(seed, committee, MemberIndex::new(member)))
        .collect()
}

/// The keys of a member on the development network with this seed, as [`Genesis::development`]
/// makes them.
pub fn development_validator(
    seed: u64,
    committee: CommitteeId,
    member: MemberIndex,
) -> ValidatorKeys {
    let role = format!("{}/validator-{}", committee_word(committee), member.get());
    ValidatorKeys {
        key: SecretKey::insecure_from_seed(seed, &role),
        network_seed: *hash("lockstep/dev-network-key", &(seed, &role)).as_bytes(),
    }
}

fn account_key(seed: u64, draw: u32) -> SecretKey {
    SecretKey::insecure_from_seed(seed, &format!("account/{draw}"))
}

/// Draws keys until account i has one in shard i mod S. A key that falls into another shard waits
/// for the next account there, so that n accounts take little more than n draws.
fn account_keys(seed: u64, shards: u16, accounts: u32) -> Vec<AccountKey> {
    let mut waiting: BTreeMap<ShardId, VecDeque<SecretKey>> = BTreeMap::new();
    let mut draws = 0u32..;
    (0..accounts)
        .map(|i| {
            let shard = u16::try_from(i % u32::from(shards)).expect("less than the shards");
            let shard = ShardId::new(shard);
            let key = loop {
                if let Some(key) = waiting.get_mut(&shard).and_then(VecDeque::pop_front) {
                    break key;
                }
                let drawn = account_key(seed, draws.next().expect("far fewer than 2^32 draws"));
                let home = AccountId::of(&drawn.public_key()).shard(shards);
                waiting.entry(home).or_default().push_back(drawn);
            };
            let account = AccountId::of(&key.public_key());
            let name = match usize::try_from(i).ok().and_then(|i| PERSONAS.get(i)) {
                Some(persona) => (*persona).to_owned(),
                None => format!("account-{i}"),
            };
            AccountKey {
                name,
                key,
                account,
                shard,
            }
        })
        .collect()
}

/// Largest number of an account that [`development_account`] computes; each costs a key or two.
const MAX_NAMED_ACCOUNT: u32 = 100_000;

/// The account of a name on the development network with this seed and number of shards, as
/// [`Genesis::development`] makes it. None when it is no such name.
pub fn development_account(seed: u64, shards: u16, name: &str) -> Option<AccountKey> {
    let index = match PERSONAS.iter().position(|persona| *persona == name) {
        Some(index) => u32::try_from(index).expect("ten personas"),
        None => name.strip_prefix("account-")?.parse().ok()?,
    };
    if shards == 0 || index > MAX_NAMED_ACCOUNT {
        return None;
    }
    let last = account_keys(seed, shards, index + 1).pop()?;
    // "account-3" and "account-010" are not the names of anything.
    (last.name == name).then_some(last)
}

/// The ed25519 public key of 32 secret bytes.
pub fn network_public_key(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed)
        .verifying_key()
        .to_bytes()
}

/// Is this an ed25519 public key somebody can hold the secret of? Points of small order are not.
pub(crate) fn is_network_key(key: &[u8; 32]) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key).is_ok_and(|key| !key.is_weak())
}

/// Keys that anyone can compute, as far as anyone is likely to have used them.
pub(crate) struct KnownKeys {
    keys: BTreeSet<PublicKey>,
    network_keys: BTreeSet<[u8; 32]>,
    accounts: BTreeSet<AccountId>,
}

impl KnownKeys {
    pub(crate) fn new(shards: u16, members: usize) -> Self {
        let members = u8::try_from(members).expect("at most 64 members");
        let mut known = KnownKeys {
            keys: BTreeSet::new(),
            network_keys: BTreeSet::new(),
            accounts: BTreeSet::new(),
        };
        for seed in 0..KNOWN_SEEDS {
            let shards = (0..shards).map(|shard| CommitteeId::Shard(ShardId::new(shard)));
            for committee in shards.chain([CommitteeId::Beacon]) {
                for keys in committee_keys(seed, committee, members) {
                    known.keys.insert(keys.key.public_key());
                    known
                        .network_keys
                        .insert(network_public_key(&keys.network_seed));
                }
            }
            for draw in 0..KNOWN_ACCOUNTS {
                let key = account_key(seed, draw).public_key();
                known.keys.insert(key);
                known.accounts.insert(AccountId::of(&key));
            }
        }
        known
    }

    pub(crate) fn has(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    pub(crate) fn has_network_key(&self, key: &[u8; 32]) -> bool {
        self.network_keys.contains(key)
    }

    pub(crate) fn has_account(&self, account: &AccountId) -> bool {
        self.accounts.contains(account)
    }
}
