//! The form of a genesis that people write: TOML in, and TOML out for `genesis new`.

use core::fmt::Write as _;
use core::time::Duration;

use lockstep_types::{AssetId, PublicKey, Time};
use toml::value::{Datetime, Offset};

use crate::check::check;
use crate::draft::{AllocationDraft, Draft, ValidatorDraft};
use crate::json::{parse_address, parse_network_key};
use crate::reader::{Reader, Section};
use crate::{
    Address, Amount, CommitteeSpec, Fault, Genesis, Limits, Network, Problems, format_duration,
    parse_duration,
};

impl Genesis {
    /// Reads a genesis as people write it.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines of `file`.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, Problems> {
        let (mut reader, table) = Reader::parse(text, file);
        if reader.is_broken() {
            reader.finish()?;
            unreachable!("a broken text has a problem");
        }
        let root = reader.section(&table, "");
        let draft = read(root, &mut reader);
        check(&draft, &mut reader.found);
        reader.finish()?;
        Ok(Self::sealed(draft.finish()))
    }

    /// Writes a file that [`Genesis::from_toml`] reads back to the same hash.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        write(self, &mut out).expect("writing to memory cannot fail");
        out
    }
}

fn read<'a>(mut root: Section<'_, 'a>, reader: &mut Reader<'a>) -> Draft {
    let name = root.text("name", reader);
    let network = root.parse("network", "text in quotes", reader, |text| {
        text.parse::<Network>().map_err(Fault::BadWord)
    });
    let time = root.datetime("time", reader).map(micros);
    if let Some(Err(message)) = time {
        reader.found.add("time", Fault::BadWord(message));
    }
    let interval = duration(&mut root, "interval", reader);
    let depth = root.number("depth", reader);
    let patience = duration(&mut root, "patience", reader);
    root.require("name", name.as_ref(), reader);
    root.require("network", network, reader);
    root.require("time", time, reader);
    root.require("interval", interval, reader);
    root.require("depth", depth, reader);
    root.require("patience", patience, reader);
    let limits = match root.table("limits", reader) {
        Some(section) => limits(section, Limits::default(), reader),
        None => Limits::default(),
    };
    let beacon = match root.table("beacon", reader) {
        Some(section) => committee(section, reader),
        None => Vec::new(),
    };
    let shards = root.tables("shard", reader);
    let shards = shards
        .into_iter()
        .map(|section| committee(section, reader))
        .collect();
    let accounts = root.tables("account", reader);
    let accounts = accounts
        .into_iter()
        .map(|section| account(section, network, reader))
        .collect();
    root.close(reader);
    Draft {
        name,
        network,
        time: time.and_then(Result::ok),
        interval,
        depth,
        patience,
        limits,
        beacon,
        shards,
        accounts,
    }
}

pub(crate) fn duration(
    section: &mut Section<'_, '_>,
    key: &'static str,
    reader: &mut Reader<'_>,
) -> Option<Duration> {
    const EXPECTED: &str = "a duration like \"2s\" or \"500ms\"";
    section.parse(key, EXPECTED, reader, |text| {
        parse_duration(text).map_err(|_| Fault::WrongType {
            expected: EXPECTED,
            found: format!("{text:?}"),
        })
    })
}

pub(crate) fn amount(
    section: &mut Section<'_, '_>,
    key: &'static str,
    reader: &mut Reader<'_>,
) -> Option<Amount> {
    let expected = "an amount in quotes, like \"5lck\"";
    section.parse(key, expected, reader, |text| {
        text.parse().map_err(Fault::BadAmount)
    })
}

/// Reads limits over `base`; what is not named keeps its value there.
pub(crate) fn limits(
    mut section: Section<'_, '_>,
    base: Limits,
    reader: &mut Reader<'_>,
) -> Limits {
    // What exceeds 32 bits exceeds every range as well, and the check reports the range.
    let mut narrow = |key, or: u32| {
        section
            .number(key, reader)
            .map_or(or, |number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let batch_transactions = narrow("batch_transactions", base.batch_transactions);
    let batch_bytes = narrow("batch_bytes", base.batch_bytes);
    let block_batches = narrow("block_batches", base.block_batches);
    let block_transactions = narrow("block_transactions", base.block_transactions);
    let block_bundles = narrow("block_bundles", base.block_bundles);
    let bundle_entries = narrow("bundle_entries", base.bundle_entries);
    let account_window_limit = narrow("account_window_limit", base.account_window_limit);
    let pair_cap = section
        .number("pair_cap", reader)
        .map_or(base.pair_cap, |number| {
            u64::try_from(number).unwrap_or(u64::MAX)
        });
    let pace = section
        .number("pace", reader)
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        .or(base.pace);
    let minimum_balance =
        amount(&mut section, "minimum_balance", reader).map_or(base.minimum_balance, Amount::units);
    section.close(reader);
    Limits {
        batch_transactions,
        batch_bytes,
        block_batches,
        block_transactions,
        block_bundles,
        bundle_entries,
        minimum_balance,
        account_window_limit,
        pair_cap,
        pace,
    }
}

fn committee<'a>(mut section: Section<'_, 'a>, reader: &mut Reader<'a>) -> Vec<ValidatorDraft> {
    let members = section.tables("validator", reader);
    section.close(reader);
    members
        .into_iter()
        .map(|member| validator(member, reader))
        .collect()
}

fn validator(mut section: Section<'_, '_>, reader: &mut Reader<'_>) -> ValidatorDraft {
    let name = section.text("name", reader);
    let key = section.parse("key", "a public key in hexadecimal", reader, |text| {
        text.parse::<PublicKey>().map_err(Fault::BadKey)
    });
    let network_key = section.parse(
        "network_key",
        "a public key in hexadecimal",
        reader,
        parse_network_key,
    );
    section.require("name", name.as_ref(), reader);
    section.require("key", key, reader);
    section.require("network_key", network_key, reader);
    section.close(reader);
    ValidatorDraft {
        name,
        key,
        network_key,
    }
}

fn account(
    mut section: Section<'_, '_>,
    network: Option<Network>,
    reader: &mut Reader<'_>,
) -> AllocationDraft {
    let name = section.text("name", reader);
    // Without a known network the prefix cannot be judged; the network itself has been reported.
    let account = section.parse("address", "an address", reader, |text| {
        network
            .map(|network| parse_address(text, network))
            .transpose()
    });
    let amount = amount(&mut section, "amount", reader);
    let asset = section.number("asset", reader).unwrap_or(0);
    section.require("address", account, reader);
    section.require("amount", amount, reader);
    let asset = u32::try_from(asset).unwrap_or_else(|_| {
        let fault = Fault::OutOfRange {
            value: asset.to_string(),
            low: "0".to_owned(),
            high: u32::MAX.to_string(),
        };
        reader.found.add(section.place("asset"), fault);
        0
    });
    section.close(reader);
    AllocationDraft {
        name,
        account: account.flatten(),
        asset: AssetId::new(asset),
        amount: amount.map(Amount::units),
    }
}

/// Microseconds since 1970. Leap seconds are not counted, as in every Unix clock.
fn micros(datetime: &Datetime) -> Result<Time, &'static str> {
    let (Some(date), Some(time), Some(offset)) = (datetime.date, datetime.time, datetime.offset)
    else {
        return Err("expected date, time and offset, like 2027-01-01T00:00:00Z");
    };
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let seconds = (days * 24 + i64::from(time.hour)) * 3_600
        + (i64::from(time.minute) - offset_minutes) * 60
        + i64::from(time.second.unwrap_or(0));
    u64::try_from(seconds)
        .map(|seconds| {
            let micros = u64::from(time.nanosecond.unwrap_or(0) / 1_000);
            Time::from_micros(seconds * 1_000_000 + micros)
        })
        .map_err(|_| "before 1970")
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap
/// day is a year's last; 400 years have 146,097 days; 719,468 days lie before 1970.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// The date of a day count; the inverse of [`days_since_1970`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

fn write_time(time: Time) -> String {
    let seconds = i64::try_from(time.micros() / 1_000_000).expect("at most 2^44");
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let micros = time.micros() % 1_000_000;
    let fraction = if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn write(genesis: &Genesis, out: &mut String) -> core::fmt::Result {
    writeln!(
        out,
        "# Genesis of a Lockstep chain. Check it with: lockstep genesis check FILE\n"
    )?;
    writeln!(out, "name = \"{}\"", genesis.name)?;
    writeln!(
        out,
        "network = \"{}\"           # main, test or development",
        genesis.network
    )?;
    writeln!(
        out,
        "time = {}    # window 1 begins",
        write_time(genesis.time)
    )?;
    writeln!(out, "interval = \"{}\"", format_duration(genesis.interval))?;
    writeln!(
        out,
        "depth = {}    # barriers that may be outstanding: 0, 1 or 2",
        genesis.depth
    )?;
    writeln!(
        out,
        "patience = \"{}\"    # for a late shard",
        format_duration(genesis.patience)
    )?;
    writeln!(out, "\n[limits]")?;
    write_limits(&genesis.limits, out)?;
    writeln!(out, "\n[beacon]")?;
    write_members("beacon", &genesis.beacon, out)?;
    for shard in &genesis.shards {
        writeln!(out, "\n[[shard]]")?;
        write_members("shard", shard, out)?;
    }
    for allocation in &genesis.accounts {
        writeln!(out, "\n[[account]]")?;
        if let Some(name) = &allocation.name {
            writeln!(out, "name = \"{name}\"")?;
        }
        let address = Address::new(genesis.network, allocation.account);
        writeln!(out, "address = \"{address}\"")?;
        if allocation.asset != AssetId::NATIVE {
            writeln!(out, "asset = {}", allocation.asset.get())?;
        }
        writeln!(out, "amount = \"{}\"", Amount(allocation.amount))?;
    }
    Ok(())
}

pub(crate) fn write_limits(limits: &Limits, out: &mut String) -> core::fmt::Result {
    for (name, value) in limits.named() {
        if name == "minimum_balance" {
            writeln!(out, "{name} = \"{}\"", Amount(value))?;
        } else {
            writeln!(out, "{name} = {value}")?;
        }
    }
    if let Some(pace) = limits.pace {
        writeln!(out, "pace = {pace}")?;
    }
    Ok(())
}

fn write_members(place: &str, committee: &CommitteeSpec, out: &mut String) -> core::fmt::Result {
    for validator in &committee.validators {
        writeln!(out, "\n[[{place}.validator]]")?;
        writeln!(out, "name = \"{}\"", validator.name)?;
        writeln!(out, "key = \"{}\"", validator.key)?;
        writeln!(
            out,
            "network_key = \"{}\"",
            hex::encode(validator.network_key)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2027-01-01T00:00:00Z", 1_798_761_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let datetime: Datetime = text.parse().unwrap();
            let time = Time::from_micros(seconds * 1_000_000);
            assert_eq!(micros(&datetime), Ok(time), "{text}");
            assert_eq!(write_time(time), text);
        }
        let offset: Datetime = "2027-01-01T02:00:00.25+02:00".parse().unwrap();
        let time = Time::from_micros(1_798_761_600_250_000);
        assert_eq!(micros(&offset), Ok(time));
        assert_eq!(write_time(time), "2027-01-01T00:00:00.250000Z");
        assert!(micros(&"2027-01-01T00:00:00".parse().unwrap()).is_err());
        assert!(micros(&"1969-12-31T00:00:00Z".parse().unwrap()).is_err());
    }
}
