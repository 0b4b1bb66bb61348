//! A genesis as far as it could be read. What could not be read is `None` and has been reported;
//! the checks pass over it, so that one mistake is never reported twice.

use core::time::Duration;

use lockstep_types::{AccountId, AssetId, Committee, PublicKey, Time};

use crate::{Allocation, CommitteeSpec, Content, GenesisSpec, Limits, Network, ValidatorSpec};

#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    pub(crate) network: Option<Network>,
    pub(crate) time: Option<Time>,
    pub(crate) interval: Option<Duration>,
    pub(crate) depth: Option<u128>,
    pub(crate) patience: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) beacon: Vec<ValidatorDraft>,
    pub(crate) shards: Vec<Vec<ValidatorDraft>>,
    pub(crate) accounts: Vec<AllocationDraft>,
}

#[derive(Default)]
pub(crate) struct ValidatorDraft {
    pub(crate) name: Option<String>,
    pub(crate) key: Option<PublicKey>,
    pub(crate) network_key: Option<[u8; 32]>,
}

#[derive(Default)]
pub(crate) struct AllocationDraft {
    pub(crate) name: Option<String>,
    pub(crate) account: Option<AccountId>,
    pub(crate) asset: AssetId,
    pub(crate) amount: Option<u128>,
}

impl From<GenesisSpec> for Draft {
    fn from(spec: GenesisSpec) -> Self {
        Draft {
            name: Some(spec.name),
            network: Some(spec.network),
            time: Some(spec.time),
            interval: Some(spec.interval),
            depth: Some(spec.depth.into()),
            patience: Some(spec.patience),
            limits: spec.limits,
            beacon: spec.beacon.into_iter().map(Into::into).collect(),
            shards: spec
                .shards
                .into_iter()
                .map(|members| members.into_iter().map(Into::into).collect())
                .collect(),
            accounts: spec.accounts.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ValidatorSpec> for ValidatorDraft {
    fn from(spec: ValidatorSpec) -> Self {
        ValidatorDraft {
            name: Some(spec.name),
            key: Some(spec.key),
            network_key: Some(spec.network_key),
        }
    }
}

impl From<Allocation> for AllocationDraft {
    fn from(allocation: Allocation) -> Self {
        AllocationDraft {
            name: allocation.name,
            account: Some(allocation.account),
            asset: allocation.asset,
            amount: Some(allocation.amount),
        }
    }
}

const CHECKED: &str = "the checks report whatever is missing";

impl Draft {
    /// The content of a draft that was read whole and passed the checks.
    pub(crate) fn finish(self) -> Content {
        Content {
            name: self.name.expect(CHECKED),
            network: self.network.expect(CHECKED),
            time: self.time.expect(CHECKED),
            interval: self.interval.expect(CHECKED),
            depth: u8::try_from(self.depth.expect(CHECKED)).expect("checked to be at most 2"),
            patience: self.patience.expect(CHECKED),
            limits: self.limits,
            beacon: committee(self.beacon),
            shards: self.shards.into_iter().map(committee).collect(),
            accounts: self
                .accounts
                .into_iter()
                .map(AllocationDraft::finish)
                .collect(),
        }
    }
}

impl AllocationDraft {
    fn finish(self) -> Allocation {
        Allocation {
            name: self.name,
            account: self.account.expect(CHECKED),
            asset: self.asset,
            amount: self.amount.expect(CHECKED),
        }
    }
}

fn committee(members: Vec<ValidatorDraft>) -> CommitteeSpec {
    let validators: Vec<ValidatorSpec> = members
        .into_iter()
        .map(|member| ValidatorSpec {
            name: member.name.expect(CHECKED),
            key: member.key.expect(CHECKED),
            network_key: member.network_key.expect(CHECKED),
        })
        .collect();
    let keys = validators.iter().map(|validator| validator.key).collect();
    let committee = Committee::new(keys).expect("size and distinct keys have been checked");
    CommitteeSpec {
        committee,
        validators,
    }
}
