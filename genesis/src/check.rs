//! What must hold for a genesis beyond the shape of its file. Every rule looks at what could be
//! read and adds what it finds; none stops at the first.

use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_types::{AccountId, AssetId, KeyError, MAX_MEMBERS};

use crate::draft::{Draft, ValidatorDraft};
use crate::problem::Found;
use crate::{Fault, Network, development, format_duration};

/// Smallest committee: three members tolerate no fault at all.
pub const MIN_MEMBERS: usize = 4;
/// Most shards. The number is part of every address's meaning; ten bits leave room for models of
/// networks far larger than any that runs.
pub const MAX_SHARDS: usize = 4_096;
/// Most allocations. A genesis is read whole, by everybody.
pub const MAX_ACCOUNTS: usize = 1_000_000;
/// Shortest window: ten network delays of half a millisecond, the critical path of a barrier on
/// one machine.
pub const MIN_INTERVAL: Duration = Duration::from_millis(5);
/// Longest window. Value across shards waits for its end.
pub const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// Shortest patience; below it every shard would be declared absent now and then.
pub const MIN_PATIENCE: Duration = Duration::from_millis(5);
/// Largest supply of an asset. Cumulative sums over all transfers are kept in 128 bits, so the
/// whole supply may change shards 2^32 times.
pub const MAX_SUPPLY: u128 = 1 << 96;
/// Longest name of a chain, validator or account.
pub(crate) const MAX_NAME: usize = 32;

pub(crate) fn check(draft: &Draft, found: &mut Found) {
    check_names_and_times(draft, found);
    for (name, fault) in draft.limits.problems() {
        found.add(format!("limits.{name}"), fault);
    }
    if draft.limits.pace.is_some() && draft.network == Some(Network::Main) {
        found.add("limits.pace", Fault::MeasurementOnly);
    }
    check_committees(draft, found);
    check_accounts(draft, found);
    if draft
        .network
        .is_some_and(|network| network != Network::Development)
    {
        check_for_development_keys(draft, found);
    }
}

fn check_names_and_times(draft: &Draft, found: &mut Found) {
    if let Some(name) = &draft.name {
        check_name(name, "name".to_owned(), found);
    }
    let durations = [
        ("interval", draft.interval, MIN_INTERVAL),
        ("patience", draft.patience, MIN_PATIENCE),
    ];
    for (place, duration, low) in durations {
        if let Some(duration) = duration
            && (duration < low || duration > MAX_INTERVAL)
        {
            let fault = Fault::OutOfRange {
                value: format_duration(duration),
                low: format_duration(low),
                high: format_duration(MAX_INTERVAL),
            };
            found.add(place, fault);
        }
    }
    if let Some(depth) = draft.depth
        && depth > 2
    {
        let fault = Fault::OutOfRange {
            value: depth.to_string(),
            low: "0".to_owned(),
            high: "2".to_owned(),
        };
        found.add("depth", fault);
    }
}

fn check_name(name: &str, place: String, found: &mut Found) {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        found.add(
            place,
            Fault::BadName {
                name: name.to_owned(),
                max: MAX_NAME,
            },
        );
    }
}

/// All committees with the place of each in the file.
fn committees(draft: &Draft) -> impl Iterator<Item = (String, &[ValidatorDraft])> {
    let shards = draft.shards.iter().enumerate();
    core::iter::once(("beacon".to_owned(), draft.beacon.as_slice()))
        .chain(shards.map(|(i, members)| (format!("shard[{i}]"), members.as_slice())))
}

/// All validators with the place of each.
fn validators(draft: &Draft) -> impl Iterator<Item = (String, &ValidatorDraft)> {
    committees(draft).flat_map(|(place, members)| {
        members
            .iter()
            .enumerate()
            .map(move |(i, member)| (format!("{place}.validator[{i}]"), member))
    })
}

fn check_committees(draft: &Draft, found: &mut Found) {
    if draft.shards.is_empty() {
        found.add("shard", Fault::NoShards);
    }
    too_many("shards", draft.shards.len(), MAX_SHARDS, "shard", found);
    for (place, members) in committees(draft) {
        if members.len() < MIN_MEMBERS {
            let fault = Fault::CommitteeTooSmall {
                members: members.len(),
                needed: MIN_MEMBERS,
            };
            found.add(place.clone(), fault);
        }
        too_many("members", members.len(), MAX_MEMBERS, &place, found);
    }
    let mut names = FirstPlace::default();
    let mut keys = FirstPlace::default();
    let mut network_keys = FirstPlace::default();
    for (place, member) in validators(draft) {
        if let Some(name) = &member.name {
            check_name(name, format!("{place}.name"), found);
        }
        names.note(member.name.as_ref(), format!("{place}.name"), found);
        keys.note(member.key, format!("{place}.key"), found);
        network_keys.note(member.network_key, format!("{place}.network_key"), found);
        if let Some(key) = member.key
            && !key.is_on_curve()
        {
            found.add(format!("{place}.key"), Fault::BadKey(KeyError::NotOnCurve));
        }
        if let Some(key) = &member.network_key
            && !development::is_network_key(key)
        {
            found.add(format!("{place}.network_key"), Fault::BadNetworkKey);
        }
    }
}

fn too_many(what: &'static str, got: usize, limit: usize, place: &str, found: &mut Found) {
    if got > limit {
        found.add(place, Fault::TooMany { what, got, limit });
    }
}

/// Remembers where each value stood first.
struct FirstPlace<T>(BTreeMap<T, String>);

impl<T> Default for FirstPlace<T> {
    fn default() -> Self {
        FirstPlace(BTreeMap::new())
    }
}

impl<T: Ord> FirstPlace<T> {
    fn note(&mut self, value: Option<T>, place: String, found: &mut Found) {
        let Some(value) = value else { return };
        match self.0.get(&value) {
            Some(first) => found.add(
                place,
                Fault::Duplicate {
                    first: first.clone(),
                },
            ),
            None => {
                self.0.insert(value, place);
            }
        }
    }
}

fn check_accounts(draft: &Draft, found: &mut Found) {
    too_many(
        "accounts",
        draft.accounts.len(),
        MAX_ACCOUNTS,
        "account",
        found,
    );
    let of_validators: BTreeMap<AccountId, String> = validators(draft)
        .filter_map(|(place, member)| member.key.map(|key| (AccountId::of(&key), place)))
        .collect();
    let mut names = FirstPlace::default();
    let mut holdings = FirstPlace::default();
    let mut supply: BTreeMap<AssetId, u128> = BTreeMap::new();
    // What each account holds of the native asset, and where the account stands first.
    let mut native: BTreeMap<AccountId, (u128, String)> = BTreeMap::new();
    for (i, allocation) in draft.accounts.iter().enumerate() {
        let place = format!("account[{i}]");
        if let Some(name) = &allocation.name {
            check_name(name, format!("{place}.name"), found);
        }
        // A name may stand at several assets of one account.
        if allocation.asset == AssetId::NATIVE {
            names.note(allocation.name.as_ref(), format!("{place}.name"), found);
        }
        if let Some(amount) = allocation.amount {
            let sum = supply.entry(allocation.asset).or_default();
            let before = *sum;
            *sum = sum.saturating_add(amount);
            if before <= MAX_SUPPLY && *sum > MAX_SUPPLY {
                let fault = Fault::SupplyTooLarge {
                    asset: allocation.asset.get(),
                };
                found.add(format!("{place}.amount"), fault);
            }
        }
        let Some(account) = allocation.account else {
            continue;
        };
        let holding = (account, allocation.asset);
        holdings.note(Some(holding), format!("{place}.address"), found);
        if let Some(validator) = of_validators.get(&account) {
            let fault = Fault::KeyForTwoPurposes {
                validator: validator.clone(),
            };
            found.add(format!("{place}.address"), fault);
        }
        let held = native.entry(account).or_insert_with(|| (0, place.clone()));
        match allocation.amount {
            Some(amount) if allocation.asset == AssetId::NATIVE => {
                held.0 = held.0.saturating_add(amount);
            }
            // An amount that could not be read may have been enough.
            None if allocation.asset == AssetId::NATIVE => held.0 = u128::MAX,
            _ => {}
        }
    }
    let minimum = draft.limits.minimum_balance;
    for (held, place) in native.into_values() {
        if held < minimum {
            found.add(place, Fault::BelowMinimum { held, minimum });
        }
    }
}

fn check_for_development_keys(draft: &Draft, found: &mut Found) {
    let members = draft
        .shards
        .iter()
        .chain([&draft.beacon])
        .map(Vec::len)
        .max()
        .unwrap_or(0)
        .min(MAX_MEMBERS);
    let shards = u16::try_from(draft.shards.len().min(MAX_SHARDS)).expect("at most MAX_SHARDS");
    let known = development::KnownKeys::new(shards, members);
    for (place, member) in validators(draft) {
        if member.key.is_some_and(|key| known.has(&key)) {
            found.add(format!("{place}.key"), Fault::DevelopmentKey);
        }
        if member
            .network_key
            .is_some_and(|key| known.has_network_key(&key))
        {
            found.add(format!("{place}.network_key"), Fault::DevelopmentKey);
        }
    }
    for (i, allocation) in draft.accounts.iter().enumerate() {
        if allocation
            .account
            .is_some_and(|account| known.has_account(&account))
        {
            found.add(format!("account[{i}].address"), Fault::DevelopmentKey);
        }
    }
}
