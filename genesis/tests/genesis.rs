//! A genesis file from the outside: what is read, what is refused and how, and the canonical form.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use lockstep_genesis::{
    Amount, DevelopmentSpec, Fault, Genesis, Network, PERSONAS, PRESETS, Preset, Problems,
};
use lockstep_types::{CommitteeId, MemberIndex, ShardId, Signer, Time};

fn development() -> Genesis {
    Genesis::development(&DevelopmentSpec::default()).unwrap().0
}

fn problems(text: &str) -> Problems {
    Genesis::from_toml(text, "genesis.toml").unwrap_err()
}

/// Code and place of each problem.
fn found(problems: &Problems) -> Vec<(&'static str, &str)> {
    problems
        .list
        .iter()
        .map(|p| (p.fault.code(), p.place.as_str()))
        .collect()
}

/// A change of these bytes changes the hash of every chain. When it is meant, run the test with
/// `LOCKSTEP_BLESS=1` and review the difference.
#[test]
fn the_canonical_form_and_its_hash_are_fixed() {
    let genesis = development();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/development");
    let (json, hash) = (format!("{golden}.json"), format!("{golden}.hash"));
    if std::env::var_os("LOCKSTEP_BLESS").is_some() {
        std::fs::write(&json, genesis.to_json()).unwrap();
        std::fs::write(&hash, format!("{}\n", genesis.hash())).unwrap();
    }
    assert_eq!(genesis.to_json(), std::fs::read_to_string(json).unwrap());
    assert_eq!(
        genesis.hash().to_string(),
        std::fs::read_to_string(hash).unwrap().trim()
    );
}

#[test]
fn every_form_reads_back_to_the_same_genesis() {
    let spec = DevelopmentSpec {
        time: Time::from_micros(1_795_219_200_123_456),
        interval: Duration::from_micros(1_500),
        shards: 3,
        accounts: 25,
        balance: Amount(10_000_000_001),
        ..DevelopmentSpec::default()
    };
    assert!(
        Genesis::development(&spec).is_err(),
        "an interval of 1500us is too short"
    );
    let spec = DevelopmentSpec {
        interval: Duration::from_millis(1_500),
        ..spec
    };
    let (genesis, _) = Genesis::development(&spec).unwrap();
    assert_eq!(
        Genesis::from_json(&genesis.to_json(), "g.json").unwrap(),
        genesis
    );
    assert_eq!(
        Genesis::from_toml(&genesis.to_toml(), "g.toml").unwrap(),
        genesis
    );
}

#[test]
fn json_that_is_not_canonical_is_refused_with_the_line() {
    let json = development().to_json();
    let edited = json.replacen("\"depth\": 1", "\"depth\":  1", 1);
    let problems = Genesis::from_json(&edited, "g.json").unwrap_err();
    assert!(
        matches!(problems.list[0].fault, Fault::NotCanonical { line: 7, .. }),
        "{problems}"
    );
    let more = json.replacen("\"depth\"", "\"colour\": 1,\n  \"depth\"", 1);
    let problems = Genesis::from_json(&more, "g.json").unwrap_err();
    assert_eq!(problems.list[0].at.as_ref().unwrap().line, 7);
    assert!(problems.to_string().contains("colour"), "{problems}");
}

#[test]
fn any_change_changes_the_hash() {
    let base = DevelopmentSpec::default();
    let change = |edit: fn(&mut DevelopmentSpec)| {
        let mut spec = base.clone();
        edit(&mut spec);
        Genesis::development(&spec).unwrap().0.hash()
    };
    let hashes = [
        change(|_| ()),
        change(|s| s.name.push('2')),
        change(|s| s.seed = 1),
        change(|s| s.shards = 3),
        change(|s| s.validators = 5),
        change(|s| s.depth = 0),
        change(|s| s.interval = Duration::from_secs(3)),
        change(|s| s.patience = Duration::from_secs(3)),
        change(|s| s.accounts = 9),
        change(|s| s.balance = Amount::lck(1)),
        change(|s| s.limits.pair_cap = 7),
        change(|s| s.limits.pace = Some(100)),
        change(|s| s.time = Time::from_micros(1)),
    ];
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn everything_wrong_is_reported_in_one_run() {
    let text = "\
name = \"Big Chain\"
network = \"mian\"
time = 2027-01-01T00:00:00
intervall = \"2s\"
depth = 3
patience = \"2 weeks\"

[limits]
batch_bytes = 10
minimum_balance = \"5\"
pair_cap = -1

[beacon]
[[beacon.validator]]
name = \"b0\"
key = \"02zz\"
network_key = \"00\"

[[account]]
addres = \"x\"
amount = 5
";
    let problems = problems(text);
    assert_eq!(
        found(&problems),
        [
            ("LS-GEN-003", "interval"),
            ("LS-GEN-013", "shard"),
            ("LS-GEN-007", "name"),
            ("LS-GEN-008", "network"),
            ("LS-GEN-008", "time"),
            ("LS-GEN-002", "intervall"),
            ("LS-GEN-005", "depth"),
            ("LS-GEN-004", "patience"),
            ("LS-GEN-005", "limits.batch_bytes"),
            ("LS-AMT-001", "limits.minimum_balance"),
            ("LS-GEN-004", "limits.pair_cap"),
            ("LS-GEN-011", "beacon"),
            ("LS-GEN-009", "beacon.validator[0].key"),
            ("LS-GEN-010", "beacon.validator[0].network_key"),
            ("LS-GEN-003", "account[0].address"),
            ("LS-GEN-002", "account[0].addres"),
            ("LS-GEN-004", "account[0].amount"),
        ]
    );
    let shown = problems.to_string();
    assert!(shown.contains("genesis.toml:9:15"), "{shown}");
    assert!(shown.contains("did you mean interval?"), "{shown}");
    assert!(shown.contains("did you mean address?"), "{shown}");
    assert!(shown.ends_with("genesis.toml: 17 problems"), "{shown}");
}

#[test]
fn the_caret_points_at_the_value() {
    let problems = problems("depth = 3\n");
    let shown = problems.to_string();
    assert!(
        shown.contains(" --> genesis.toml:1:9\n  |\n1 | depth = 3\n  |         ^\n"),
        "{shown}"
    );
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    let problems = problems("name = \"x\"\ndepth = = 3\n");
    assert_eq!(problems.list[0].fault.code(), "LS-GEN-001");
    assert_eq!(problems.list[0].at.as_ref().unwrap().line, 2);
}

#[test]
fn duplicates_name_the_first_place_and_its_line() {
    let genesis = development();
    let text = genesis.to_toml();
    let of = |committee, member: u8| genesis.validators(committee)[usize::from(member)].clone();
    let (a, b) = (
        of(CommitteeId::Beacon, 1),
        of(CommitteeId::Shard(ShardId::new(1)), 2),
    );
    let text = text
        .replace(&b.key.to_string(), &a.key.to_string())
        .replace(&hex::encode(b.network_key), &hex::encode(a.network_key))
        .replace(&b.name, &a.name);
    let problems = problems(&text);
    assert_eq!(
        found(&problems),
        [
            ("LS-GEN-014", "shard[1].validator[2].name"),
            ("LS-GEN-014", "shard[1].validator[2].key"),
            ("LS-GEN-014", "shard[1].validator[2].network_key"),
        ]
    );
    let line = text
        .lines()
        .position(|line| line.contains(&a.key.to_string()))
        .unwrap()
        + 1;
    assert!(
        problems
            .to_string()
            .contains(&format!("stands at beacon.validator[1].key (line {line})")),
        "{problems}"
    );
}

#[test]
fn accounts_are_checked_for_sense() {
    let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
    let address = |i: usize| {
        lockstep_genesis::Address::new(Network::Development, genesis.accounts[i].account)
    };
    let validator = &keys.validators[&CommitteeId::Beacon][0].key;
    let validator = lockstep_genesis::Address::new(
        Network::Development,
        lockstep_types::AccountId::of(&validator.public_key()),
    );
    let extra = format!(
        "
[[account]]
address = \"{}\"
amount = \"1lck\"
[[account]]
name = \"poor\"
address = \"dlock1qqrsu9guyv4rzwplgex4gkmzd9c8wl59dpj2ef\"
amount = \"1units\"
[[account]]
address = \"{validator}\"
amount = \"1lck\"
[[account]]
address = \"{}\"
asset = 7
amount = \"79228162514264337593543950337units\"
",
        address(0),
        address(1),
    );
    let text = genesis.to_toml() + &extra;
    let problems = problems(&text);
    let found = found(&problems);
    assert!(
        found.contains(&("LS-GEN-014", "account[10].address")),
        "{problems}"
    );
    assert!(
        found.contains(&("LS-GEN-015", "account[12].address")),
        "{problems}"
    );
    assert!(
        found.contains(&("LS-GEN-016", "account[13].amount")),
        "{problems}"
    );
    assert!(problems.list.len() >= 4, "{problems}");
}

#[test]
fn an_account_below_the_minimum_is_refused() {
    let spec = DevelopmentSpec {
        balance: Amount(999_999),
        ..DevelopmentSpec::default()
    };
    let problems = Genesis::development(&spec).unwrap_err();
    assert_eq!(problems.list.len(), 10);
    assert!(problems.list.iter().all(|p| p.fault.code() == "LS-GEN-017"));
}

#[test]
fn development_keys_are_refused_elsewhere() {
    let genesis = development();
    let text = genesis.to_toml().replace("\"development\"", "\"test\"");
    let text = genesis.accounts.iter().fold(text, |text, allocation| {
        let old = lockstep_genesis::Address::new(Network::Development, allocation.account);
        let new = lockstep_genesis::Address::new(Network::Test, allocation.account);
        text.replace(&old.to_string(), &new.to_string())
    });
    let problems = problems(&text);
    assert!(
        problems
            .list
            .iter()
            .all(|p| p.fault == Fault::DevelopmentKey),
        "{problems}"
    );
    // Twelve validators with two keys each, and ten accounts.
    assert_eq!(problems.list.len(), 12 * 2 + 10);
}

#[test]
fn addresses_of_another_network_are_refused() {
    let genesis = development();
    let other = lockstep_genesis::Address::new(Network::Main, genesis.accounts[3].account);
    let own = lockstep_genesis::Address::new(Network::Development, genesis.accounts[3].account);
    let text = genesis
        .to_toml()
        .replace(&own.to_string(), &other.to_string());
    assert_eq!(
        found(&problems(&text)),
        [("LS-ADDR-002", "account[3].address")]
    );
}

#[test]
fn committees_of_three_are_refused() {
    let spec = DevelopmentSpec {
        validators: 3,
        ..DevelopmentSpec::default()
    };
    let problems = Genesis::development(&spec).unwrap_err();
    assert_eq!(
        found(&problems),
        [
            ("LS-GEN-011", "beacon"),
            ("LS-GEN-011", "shard[0]"),
            ("LS-GEN-011", "shard[1]")
        ]
    );
}

#[test]
fn personas_live_where_their_number_says() {
    for shards in [1, 2, 3, 8] {
        let spec = DevelopmentSpec {
            shards,
            accounts: 40,
            ..DevelopmentSpec::default()
        };
        let (genesis, keys) = Genesis::development(&spec).unwrap();
        for (i, account) in keys.accounts.iter().enumerate() {
            assert_eq!(account.shard.get(), i as u16 % shards);
            assert_eq!(genesis.shard_of(&account.account), account.shard);
        }
        assert_eq!(keys.accounts[0].name, PERSONAS[0]);
        assert_eq!(keys.accounts[10].name, "account-10");
        for account in &keys.accounts {
            let again = lockstep_genesis::development_account(0, shards, &account.name).unwrap();
            assert_eq!(again.account, account.account);
        }
        for name in [
            "account-3",
            "account-010",
            "account-",
            "mallory",
            "account-4000000000",
        ] {
            assert!(
                lockstep_genesis::development_account(0, shards, name).is_none(),
                "{name}"
            );
        }
        let few = DevelopmentSpec {
            accounts: 10,
            ..spec
        };
        let (_, fewer) = Genesis::development(&few).unwrap();
        let last = fewer.accounts.last().unwrap();
        assert_eq!(
            last.account, keys.accounts[9].account,
            "keys do not depend on how many follow"
        );
    }
}

#[test]
fn every_member_is_found_by_its_key() {
    let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
    for committee in genesis.committees() {
        for member in genesis.committee(committee).indices() {
            let own = keys.validator(committee, member).unwrap();
            assert_eq!(
                genesis.seat(&own.key.public_key()),
                Some((committee, member))
            );
            let spec = &genesis.validators(committee)[member.get()];
            let network_key = lockstep_genesis::network_public_key(&own.network_seed);
            assert_eq!(spec.network_key, network_key);
        }
    }
    assert_eq!(genesis.committees().count(), 3);
    assert!(
        keys.validator(CommitteeId::Beacon, MemberIndex::new(4))
            .is_none()
    );
}

#[test]
fn every_preset_makes_a_genesis() {
    for preset in PRESETS {
        let spec = DevelopmentSpec::from_toml(preset.text, preset.name).unwrap();
        assert_eq!(Preset::find(preset.name).unwrap().spec(), spec);
        Genesis::development(&spec).unwrap();
    }
    let problems = DevelopmentSpec::from_toml("shrads = 2\nvalidators = 3\n", "p").unwrap_err();
    assert_eq!(
        found(&problems),
        [("LS-GEN-002", "shrads"), ("LS-GEN-005", "validators")]
    );
}
