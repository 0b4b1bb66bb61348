//! The canonical form of a genesis: JSON with fixed keys in a fixed order, two spaces of
//! indentation, amounts as decimal strings (they exceed what JSON readers keep exactly), times in
//! microseconds, and one newline at the end.
//!
//! Breaks if: a field is added, renamed or moved. That changes the hash of every chain, so it
//! takes a new [`FORMAT`]; the golden file in `tests/` notices.

use core::time::Duration;

use lockstep_types::{AccountId, AssetId, Time};
use serde::{Deserialize, Serialize};

use crate::check::check;
use crate::draft::{AllocationDraft, Draft, ValidatorDraft};
use crate::problem::Found;
use crate::{
    Address, At, CommitteeSpec, Content, Fault, Limits, Network, Problem, Problems, ValidatorSpec,
};

/// The format this version writes and reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    name: String,
    network: String,
    time_us: u64,
    interval_us: u64,
    depth: u8,
    patience_us: u64,
    limits: FileLimits,
    beacon: Vec<FileValidator>,
    shards: Vec<Vec<FileValidator>>,
    accounts: Vec<FileAccount>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    batch_transactions: u32,
    batch_bytes: u32,
    block_batches: u32,
    block_transactions: u32,
    block_bundles: u32,
    bundle_entries: u32,
    minimum_balance: String,
    account_window_limit: u32,
    pair_cap: u64,
    pace: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileValidator {
    name: String,
    key: String,
    network_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
    address: String,
    asset: u32,
    amount: String,
}

/// Writes the canonical form.
pub(crate) fn write(content: &Content) -> String {
    let limits = &content.limits;
    let file = File {
        format: FORMAT,
        name: content.name.clone(),
        network: content.network.word().to_owned(),
        time_us: content.time.micros(),
        interval_us: micros(content.interval),
        depth: content.depth,
        patience_us: micros(content.patience),
        limits: FileLimits {
            batch_transactions: limits.batch_transactions,
            batch_bytes: limits.batch_bytes,
            block_batches: limits.block_batches,
            block_transactions: limits.block_transactions,
            block_bundles: limits.block_bundles,
            bundle_entries: limits.bundle_entries,
            minimum_balance: limits.minimum_balance.to_string(),
            account_window_limit: limits.account_window_limit,
            pair_cap: limits.pair_cap,
            pace: limits.pace,
        },
        beacon: validators(&content.beacon),
        shards: content.shards.iter().map(validators).collect(),
        accounts: content
            .accounts
            .iter()
            .map(|allocation| FileAccount {
                name: allocation.name.clone(),
                address: Address::new(content.network, allocation.account).to_string(),
                asset: allocation.asset.get(),
                amount: allocation.amount.to_string(),
            })
            .collect(),
    };
    let mut text = serde_json::to_string_pretty(&file).expect("strings and numbers always encode");
    text.push('\n');
    text
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("durations are bounded by the checks")
}

fn validators(committee: &CommitteeSpec) -> Vec<FileValidator> {
    let file = |validator: &ValidatorSpec| FileValidator {
        name: validator.name.clone(),
        key: validator.key.to_string(),
        network_key: hex::encode(validator.network_key),
    };
    committee.validators.iter().map(file).collect()
}

/// Reads, checks, and insists on the canonical bytes.
pub(crate) fn read(text: &str, name: &str) -> Result<Content, Problems> {
    let file: File = serde_json::from_str(text).map_err(|error| syntax(text, name, &error))?;
    let mut found = Found::default();
    let draft = draft(file, &mut found);
    check(&draft, &mut found);
    found.into_result(name, |_| None)?;
    let content = draft.finish();
    let canonical = write(&content);
    if canonical == text {
        return Ok(content);
    }
    let line = canonical
        .lines()
        .zip(text.lines())
        .position(|(expected, got)| expected != got)
        .unwrap_or_else(|| canonical.lines().count().min(text.lines().count()));
    let expected = canonical.lines().nth(line).unwrap_or_default().to_owned();
    let mut found = Found::default();
    found.add(
        "",
        Fault::NotCanonical {
            line: line + 1,
            expected,
        },
    );
    found.into_result(name, |_| None)?;
    unreachable!("a problem has just been added");
}

fn syntax(text: &str, name: &str, error: &serde_json::Error) -> Problems {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let at = At {
        line,
        column,
        width: 1,
        text: text.lines().nth(line - 1).unwrap_or_default().to_owned(),
    };
    let message = error.to_string();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    Problems {
        file: name.to_owned(),
        list: vec![Problem {
            place: String::new(),
            at: Some(at),
            fault: Fault::Syntax { message },
        }],
    }
}

fn draft(file: File, found: &mut Found) -> Draft {
    if file.format != FORMAT {
        found.add(
            "format",
            Fault::WrongFormat {
                got: file.format,
                expected: FORMAT,
            },
        );
    }
    let network: Option<Network> = file
        .network
        .parse()
        .map_err(|message| found.add("network", Fault::BadWord(message)))
        .ok();
    Draft {
        name: Some(file.name),
        network,
        time: Some(Time::from_micros(file.time_us)),
        interval: Some(Duration::from_micros(file.interval_us)),
        depth: Some(file.depth.into()),
        patience: Some(Duration::from_micros(file.patience_us)),
        limits: Limits {
            batch_transactions: file.limits.batch_transactions,
            batch_bytes: file.limits.batch_bytes,
            block_batches: file.limits.block_batches,
            block_transactions: file.limits.block_transactions,
            block_bundles: file.limits.block_bundles,
            bundle_entries: file.limits.bundle_entries,
            minimum_balance: units(
                &file.limits.minimum_balance,
                "limits.minimum_balance",
                found,
            )
            .unwrap_or(Limits::default().minimum_balance),
            account_window_limit: file.limits.account_window_limit,
            pair_cap: file.limits.pair_cap,
            pace: file.limits.pace,
        },
        beacon: members(file.beacon, "beacon", found),
        shards: file
            .shards
            .into_iter()
            .enumerate()
            .map(|(i, list)| members(list, &format!("shard[{i}]"), found))
            .collect(),
        accounts: file
            .accounts
            .into_iter()
            .enumerate()
            .map(|(i, account)| self::account(account, i, network, found))
            .collect(),
    }
}

fn members(list: Vec<FileValidator>, committee: &str, found: &mut Found) -> Vec<ValidatorDraft> {
    list.into_iter()
        .enumerate()
        .map(|(i, validator)| {
            let place = format!("{committee}.validator[{i}]");
            ValidatorDraft {
                name: Some(validator.name),
                key: validator
                    .key
                    .parse()
                    .map_err(|error| found.add(format!("{place}.key"), Fault::BadKey(error)))
                    .ok(),
                network_key: parse_network_key(&validator.network_key)
                    .map_err(|fault| found.add(format!("{place}.network_key"), fault))
                    .ok(),
            }
        })
        .collect()
}

/// Reads 64 hexadecimal digits; whether they are a point is for the checks to say.
pub(crate) fn parse_network_key(text: &str) -> Result<[u8; 32], Fault> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| Fault::BadNetworkKey)?;
    Ok(bytes)
}

fn account(
    file: FileAccount,
    index: usize,
    network: Option<Network>,
    found: &mut Found,
) -> AllocationDraft {
    let place = format!("account[{index}]");
    AllocationDraft {
        name: file.name,
        account: network.and_then(|network| {
            parse_address(&file.address, network)
                .map_err(|fault| found.add(format!("{place}.address"), fault))
                .ok()
        }),
        asset: AssetId::new(file.asset),
        amount: units(&file.amount, &format!("{place}.amount"), found),
    }
}

pub(crate) fn parse_address(text: &str, network: Network) -> Result<AccountId, Fault> {
    Address::parse_on(text, network).map_err(Fault::BadAddress)
}

fn units(text: &str, place: &str, found: &mut Found) -> Option<u128> {
    let units = text.parse().ok();
    if units.is_none() {
        let fault = Fault::WrongType {
            expected: "a whole number of units in quotes",
            found: format!("{text:?}"),
        };
        found.add(place, fault);
    }
    units
}
