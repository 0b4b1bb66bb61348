//! The arrows between the crates, and what must not stand in the pure ones. A crate that needs an
//! exception changes this table in the same commit, where a reviewer sees it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder, and which of our crates it may import (tests of its own included).
const ARROWS: [(&str, &[&str]); 10] = [
    ("consensus/types", &[]),
    ("consensus", &["types"]),
    ("ledger", &["types"]),
    ("genesis", &["types"]),
    ("shard", &["types", "genesis", "consensus", "ledger"]),
    ("sim", &["types", "genesis", "consensus", "ledger", "shard"]),
    (
        "client",
        &["types", "genesis", "consensus", "ledger", "shard"],
    ),
    (
        "node",
        &["types", "genesis", "consensus", "ledger", "shard", "client"],
    ),
    (
        "bench",
        &[
            "types",
            "genesis",
            "consensus",
            "ledger",
            "shard",
            "sim",
            "client",
            "node",
        ],
    ),
    (
        "tests",
        &[
            "types",
            "genesis",
            "consensus",
            "ledger",
            "shard",
            "sim",
            "client",
            "node",
        ],
    ),
];

const PURE: [&str; 6] = [
    "consensus/types",
    "consensus",
    "ledger",
    "genesis",
    "shard",
    "sim",
];

/// Words that have no place in a pure crate. `sim/src/main.rs` with its `cli` is a program around the
/// library and may use threads, files and the clock; `ledger/src/store/rocks.rs` is behind a feature.
const FORBIDDEN: [&str; 12] = [
    "tokio",
    "libp2p",
    "rocksdb::",
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "thread::sleep",
    "thread_rng",
    "std::net",
    "std::fs",
    "HashMap",
    "HashSet",
];

const EXEMPT: [&str; 4] = [
    "sim/src/main.rs",
    "sim/src/cli",
    "sim/src/bin",
    "ledger/src/store/rocks.rs",
];

/// Files that may wrap a value as verified without running its checks, each for the reason that
/// its comment at the place gives.
const MAY_VOUCH: [&str; 5] = [
    "consensus/types/src/verified.rs",
    "shard/src/batch.rs",
    "shard/src/shard_member.rs",
    "shard/src/beacon_member.rs",
    "sim/src",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Lines of code: comments and what follows a file's first test module left out.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    rust_files(&root.join(folder).join("src"), &mut files);
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    files
        .iter()
        .map(|path| (name(path), code_of(path)))
        .collect()
}

#[test]
fn crates_import_only_what_the_table_allows() {
    for (folder, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let ours: BTreeSet<String> = ["dependencies", "dev-dependencies"]
            .iter()
            .filter_map(|section| manifest.get(*section)?.as_table())
            .flat_map(|section| section.keys())
            .filter_map(|name| name.strip_prefix("lockstep-").map(str::to_owned))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let extra: Vec<_> = ours.difference(&allowed).collect();
        assert!(
            extra.is_empty(),
            "{folder} imports {extra:?}, which the table does not allow"
        );
    }
}

#[test]
fn pure_crates_have_no_clock_thread_socket_or_random_order() {
    for folder in PURE {
        for (name, code) in sources(folder) {
            if EXEMPT.iter().any(|exempt| name.starts_with(exempt)) {
                continue;
            }
            for word in FORBIDDEN {
                assert!(
                    !code.contains(word),
                    "{name} says {word}, which has no place there"
                );
            }
        }
    }
}

#[test]
fn pure_crates_build_without_cpp() {
    for folder in PURE {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let default = manifest
            .get("features")
            .and_then(|features| features.get("default"));
        assert!(
            default.is_none(),
            "{folder} switches something on by default"
        );
        let Some(rocksdb) = manifest["dependencies"].get("rocksdb") else {
            continue;
        };
        assert_eq!(
            rocksdb["optional"].as_bool(),
            Some(true),
            "{folder} always needs RocksDB"
        );
    }
}

/// Where bugs can be planted on purpose: the crate that has the list, and the one with the gate.
/// Whoever else switched the feature on, by a dependency of its own, would ship the switches.
const MAY_PLANT: [&str; 2] = ["consensus/types", "sim"];

#[test]
fn bugs_are_planted_by_the_gate_only() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        !workspace.contains("mutants"),
        "the workspace names the feature"
    );
    for (folder, _) in ARROWS {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let may = MAY_PLANT.contains(&folder);
        assert!(
            may || !manifest.contains("mutants"),
            "{folder} switches planted bugs on"
        );
        if folder == "tests" {
            continue;
        }
        for (name, code) in sources(folder) {
            let may = name == "consensus/types/src/planted.rs" || name.starts_with("sim/src");
            assert!(
                may || !code.contains("feature = \"mutants\""),
                "{name} is other code with the feature than without"
            );
        }
    }
    let types = root().join("consensus/types/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(types).unwrap().parse().unwrap();
    assert!(manifest["features"].get("mutants").is_some());
}

#[test]
fn values_are_vouched_for_in_few_places() {
    for (folder, _) in ARROWS {
        if folder == "tests" {
            continue;
        }
        for (name, code) in sources(folder) {
            let may = MAY_VOUCH.iter().any(|place| name.starts_with(place));
            assert!(
                may || !code.contains("Verified::vouch"),
                "{name} vouches for a value"
            );
        }
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = root();
    let mut documents = vec![root.clone(), root.join("docs"), root.join("docs/decisions")];
    documents.extend(ARROWS.iter().map(|(folder, _)| root.join(folder)));
    for folder in documents {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for link in text
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let target = link.split('#').next().unwrap();
                let elsewhere = link.contains("://") || link.starts_with("mailto:");
                if target.is_empty() || elsewhere {
                    continue;
                }
                assert!(
                    folder.join(target).exists(),
                    "{}: no {target}",
                    path.display()
                );
            }
        }
    }
}
