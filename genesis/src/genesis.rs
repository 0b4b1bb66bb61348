//! [`Genesis`], the checked starting point, and its parts.

use core::ops::Deref;
use core::time::Duration;

use lockstep_types::{
    AccountId, AssetId, Committee, CommitteeId, Domain, GenesisHash, Hasher, MemberIndex,
    PublicKey, ShardId, Time,
};

use crate::check::check;
use crate::draft::Draft;
use crate::problem::Found;
use crate::{Limits, Network, Problems, json};

/// One member of a committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSpec {
    /// What operators call it; unique on the chain.
    pub name: String,
    /// The key that signs consensus statements.
    pub key: PublicKey,
    /// The ed25519 public key of its network identity.
    pub network_key: [u8; 32],
}

/// A committee with its members' names and network keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitteeSpec {
    /// The committee.
    pub committee: Committee,
    /// Its members, in the committee's order.
    pub validators: Vec<ValidatorSpec>,
}

/// Value somebody holds from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// A name for people; it has no effect.
    pub name: Option<String>,
    /// Who holds it.
    pub account: AccountId,
    /// What is held.
    pub asset: AssetId,
    /// How many units of it.
    pub amount: u128,
}

/// A genesis that nobody has checked yet: what [`Genesis::new`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisSpec {
    /// Name of the chain; see [`Genesis::chain_name`].
    pub name: String,
    /// Kind of network.
    pub network: Network,
    /// When window 1 begins.
    pub time: Time,
    /// Length of a window.
    pub interval: Duration,
    /// Barriers that may be outstanding: 0, 1 or 2.
    pub depth: u8,
    /// How long the beacon waits for a late shard.
    pub patience: Duration,
    /// Bounds on blocks and accounts.
    pub limits: Limits,
    /// Members of the beacon.
    pub beacon: Vec<ValidatorSpec>,
    /// Members of each shard's committee.
    pub shards: Vec<Vec<ValidatorSpec>>,
    /// Who holds what.
    pub accounts: Vec<Allocation>,
}

/// What a genesis says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Name of the chain; see [`Genesis::chain_name`].
    pub name: String,
    /// Kind of network.
    pub network: Network,
    /// When window 1 begins.
    pub time: Time,
    /// Length of a window.
    pub interval: Duration,
    /// Barriers that may be outstanding: 0 stops every shard at each barrier, 1 and 2 hide it.
    pub depth: u8,
    /// How long the beacon waits for a late shard.
    pub patience: Duration,
    /// Bounds on blocks and accounts.
    pub limits: Limits,
    /// The committee that orders barrier records.
    pub beacon: CommitteeSpec,
    /// The committee of each shard.
    pub shards: Vec<CommitteeSpec>,
    /// Who holds what.
    pub accounts: Vec<Allocation>,
}

/// A checked genesis with its hash. Reads like its [`Content`]; it cannot be changed, so the hash
/// always fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    content: Content,
    hash: GenesisHash,
}

impl Deref for Genesis {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Genesis {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems, by place, without lines.
    pub fn new(spec: GenesisSpec) -> Result<Self, Problems> {
        let draft = Draft::from(spec);
        let mut found = Found::default();
        check(&draft, &mut found);
        found.into_result("genesis", |_| None)?;
        Ok(Self::sealed(draft.finish()))
    }

    /// Wraps content that has passed [`check`].
    pub(crate) fn sealed(content: Content) -> Self {
        let bytes = json::write(&content);
        let hash = Hasher::new("lockstep/genesis")
            .bytes(bytes.as_bytes())
            .finish();
        Genesis {
            content,
            hash: GenesisHash::new(hash),
        }
    }

    /// The identity of the chain: SHA-256 over the tag `lockstep/genesis` (behind its length, one
    /// byte) and the bytes of [`Genesis::to_json`].
    pub fn hash(&self) -> GenesisHash {
        self.hash
    }

    /// Name and first four digits of the hash, so that two chains of one name are told apart.
    pub fn chain_name(&self) -> String {
        format!("{}-{}", self.name, &self.hash.to_string()[..4])
    }

    /// Where signatures of a committee are valid.
    pub fn domain(&self, committee: CommitteeId) -> Domain {
        Domain {
            genesis: self.hash,
            committee,
        }
    }

    /// How many shards.
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("checked to be at most MAX_SHARDS")
    }

    /// All committees, the beacon first.
    pub fn committees(&self) -> impl Iterator<Item = CommitteeId> + use<> {
        let shards = (0..self.shard_count()).map(|shard| CommitteeId::Shard(ShardId::new(shard)));
        core::iter::once(CommitteeId::Beacon).chain(shards)
    }

    /// Does the chain have this committee?
    pub fn has(&self, committee: CommitteeId) -> bool {
        committee
            .shard()
            .is_none_or(|shard| shard.get() < self.shard_count())
    }

    /// A committee's specification.
    ///
    /// # Panics
    /// When the chain has no such shard; ask [`Genesis::has`] about numbers from outside.
    pub fn spec(&self, committee: CommitteeId) -> &CommitteeSpec {
        match committee {
            CommitteeId::Beacon => &self.beacon,
            CommitteeId::Shard(shard) => &self.shards[usize::from(shard.get())],
        }
    }

    /// A committee.
    ///
    /// # Panics
    /// As [`Genesis::spec`].
    pub fn committee(&self, committee: CommitteeId) -> &Committee {
        &self.spec(committee).committee
    }

    /// A committee's members.
    ///
    /// # Panics
    /// As [`Genesis::spec`].
    pub fn validators(&self, committee: CommitteeId) -> &[ValidatorSpec] {
        &self.spec(committee).validators
    }

    /// Where a validator key is a member, if anywhere. Keys occur once on a chain.
    pub fn seat(&self, key: &PublicKey) -> Option<(CommitteeId, MemberIndex)> {
        self.committees().find_map(|committee| {
            self.committee(committee)
                .index_of(key)
                .map(|member| (committee, member))
        })
    }

    /// The shard that holds an account.
    pub fn shard_of(&self, account: &AccountId) -> ShardId {
        account.shard(self.shard_count())
    }

    /// What the ledger starts from.
    pub fn allocations(&self) -> Vec<(AccountId, AssetId, u128)> {
        self.accounts
            .iter()
            .map(|a| (a.account, a.asset, a.amount))
            .collect()
    }

    /// The canonical form: JSON with fixed keys in fixed order, two spaces of indentation, and a
    /// newline at the end. These bytes are what is hashed.
    pub fn to_json(&self) -> String {
        json::write(&self.content)
    }

    /// Reads the canonical form and checks everything again.
    ///
    /// # Errors
    /// All problems; also when the bytes are not the canonical form of what they say.
    pub fn from_json(text: &str, file: &str) -> Result<Self, Problems> {
        json::read(text, file).map(Self::sealed)
    }
}
