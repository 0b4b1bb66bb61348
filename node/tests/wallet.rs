//! The wallet's commands as a person types them, against a network that `lockstep up` started.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const LOCKSTEP: &str = env!("CARGO_BIN_EXE_lockstep");

/// A network and a person's home directory.
struct Network {
    home: TempDir,
    up: Child,
}

impl Drop for Network {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

impl Network {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut up = lockstep(home.path())
            .args([
                "up",
                "--no-tui",
                "--interval",
                "500ms",
                "--base-port",
                "21000",
                "--dir",
            ])
            .arg(home.path().join("net"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(up.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let ready = lines.any(|line| line.contains("Ready"));
        // Read on: a network whose output nobody reads stops.
        std::thread::spawn(move || lines.for_each(drop));
        let network = Network { home, up };
        assert!(ready, "the network did not start");
        network
    }

    fn run(&self, arguments: &[&str]) -> Output {
        lockstep(self.home.path())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a command with `--json`, and returns the exit code and the envelope.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let envelope: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {output:?}");
        });
        assert_eq!(envelope["schema"], 1);
        let code = output.status.code().unwrap();
        assert_eq!(envelope["ok"], code == 0, "{envelope}");
        (code, envelope)
    }

    /// The result of a command that must succeed.
    fn result(&self, arguments: &[&str]) -> Value {
        let (code, envelope) = self.json(arguments);
        assert_eq!(code, 0, "{arguments:?}: {envelope}");
        envelope["result"].clone()
    }

    /// Exit code and error code of a command that must fail.
    fn error(&self, arguments: &[&str]) -> (i32, String) {
        let (code, envelope) = self.json(arguments);
        (
            code,
            envelope["error"]["code"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    fn balance(&self, who: &str) -> String {
        let output = self.run(&["balance", who, "-q"]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }
}

fn lockstep(home: &Path) -> Command {
    let mut command = Command::new(LOCKSTEP);
    command.env("LOCKSTEP_HOME", home);
    for variable in ["LOCKSTEP_RPC", "LOCKSTEP_NETWORK", "LOCKSTEP_GENESIS"] {
        command.env_remove(variable);
    }
    command
}

fn fails(code: i32, name: &str) -> (i32, String) {
    (code, name.to_owned())
}

#[test]
fn a_person_pays_proves_it_and_never_pays_twice() {
    let network = Network::start();
    pays_within_and_across_shards(&network);
    repeats_without_paying_twice(&network);
    proves_it_offline(&network);
    uses_a_key_of_their_own(&network);
    is_told_what_is_wrong(&network);
    sees_that_nothing_is_lost(&network);
}

fn pays_within_and_across_shards(network: &Network) {
    let local = network.result(&["send", "alice", "carol", "5lck"]);
    assert_eq!(local["stage"], "finalized");
    assert_eq!(local["from"]["shard"], local["to"]["shard"]);
    let cross = network.result(&["send", "alice", "bob", "7lck"]);
    assert_eq!(cross["stage"], "finalized");
    assert_ne!(cross["from"]["shard"], cross["to"]["shard"]);
    assert_eq!(cross["credits"].as_array().unwrap().len(), 1);
    assert_eq!(network.balance("alice"), "9988 lck");
    assert_eq!(network.balance("carol"), "10005 lck");
    assert_eq!(network.balance("bob"), "10007 lck");
}

fn repeats_without_paying_twice(network: &Network) {
    let order = ["send", "bob", "alice", "1lck", "--id", "order-17"];
    let first = network.result(&order);
    let again = network.result(&order);
    assert_eq!(first["transaction"], again["transaction"]);
    assert_eq!(again["stage"], "finalized");
    assert_eq!(network.balance("bob"), "10006 lck");
    let other = network.error(&["send", "bob", "alice", "2lck", "--id", "order-17"]);
    assert_eq!(other, fails(2, "LS-TX-003"));
    // Left before its end is known: the same command continues it.
    let waiting = network.result(&["send", "bob", "alice", "3lck", "--wait", "accepted"]);
    let continued = network.result(&["send", "bob", "alice", "3lck"]);
    assert_eq!(waiting["transaction"], continued["transaction"]);
    assert_eq!(network.balance("bob"), "10003 lck");
    // Settled: the same command is a new payment.
    let next = network.result(&["send", "bob", "alice", "3lck"]);
    assert_ne!(next["transaction"], continued["transaction"]);
    assert_eq!(network.balance("bob"), "10000 lck");
}

fn proves_it_offline(network: &Network) {
    let genesis = network.path("net/genesis.json");
    for (to, links) in [("carol", 3), ("bob", 5)] {
        let sent = network.result(&["send", "alice", to, "1lck"]);
        let id = sent["transaction"].as_str().unwrap().to_owned();
        let status = network.result(&["tx", "status", &id]);
        assert_eq!(status["stage"]["applied"], true);
        let file = network.path(&format!("{to}.json"));
        network.result(&["tx", "receipt", &id, "-o", &file]);
        let verified = network.result(&["tx", "verify", &file, "--genesis", &genesis]);
        assert_eq!(verified["verified"], true);
        assert_eq!(verified["complete"], true);
        assert_eq!(
            verified["links"].as_array().unwrap().len(),
            links,
            "{verified}"
        );

        let forged = std::fs::read_to_string(&file)
            .unwrap()
            .replace("applied", "refused");
        std::fs::write(&file, forged).unwrap();
        let verdict = network.error(&["tx", "verify", &file, "--genesis", &genesis]);
        assert_eq!(verdict, fails(6, "LS-PROOF-001"));
    }
}

fn uses_a_key_of_their_own(network: &Network) {
    let password = network.path("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let key = network.result(&["key", "new", "mine", "--password-file", &password]);
    let address = key["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("dlock1"));
    network.result(&["send", "alice", &address, "10lck"]);
    assert_eq!(network.balance("mine"), "10 lck");
    network.result(&["send", "mine", "bob", "4lck", "--password-file", &password]);
    assert_eq!(network.balance(&address), "6 lck");
    std::fs::write(&password, "wrong\n").unwrap();
    let denied = network.error(&["send", "mine", "bob", "1lck", "--password-file", &password]);
    assert_eq!(denied, fails(4, "LS-KEY-007"));
    let listed = network.result(&["key", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 11);
}

fn is_told_what_is_wrong(network: &Network) {
    assert_eq!(
        network.error(&["send", "alice", "bob", "5"]),
        fails(2, "LS-AMT-001")
    );
    assert_eq!(
        network.error(&["send", "alice", "bob", "1000000lck"]),
        fails(1, "LS-TX-004")
    );
    assert_eq!(
        network.error(&["send", "alice", "nobody", "1lck"]),
        fails(2, "LS-KEY-002")
    );
    // Too little to open an account or to cross shards: executed without effect.
    assert_eq!(
        network.error(&["send", "alice", "bob", "1units"]),
        fails(1, "LS-TX-006")
    );
    let dry = ["send", "alice", "bob", "1units", "--dry-run"];
    assert_eq!(network.error(&dry), fails(1, "LS-TX-006"));
    let nowhere = ["balance", "alice", "--rpc", "http://127.0.0.1:9"];
    assert_eq!(network.error(&nowhere), fails(3, "LS-RPC-002"));
    let unknown = "00".repeat(32);
    assert_eq!(
        network.error(&["tx", "status", &unknown]),
        fails(1, "LS-TX-010")
    );

    let balance = network.result(&["balance", "alice"]);
    let address = balance[0]["address"].as_str().unwrap();
    let last = if address.ends_with('q') { 'p' } else { 'q' };
    let typo = format!("{}{last}", &address[..address.len() - 1]);
    let output = network.run(&["send", "bob", &typo, "1lck"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "errors go to stderr");
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("LS-ADDR-003"), "{shown}");
    assert!(shown.contains("typing error near character 44"), "{shown}");
}

fn sees_that_nothing_is_lost(network: &Network) {
    let supply = network.result(&["supply"]);
    assert_eq!(supply["totals"][0]["issued"], "100000000000000");
    let units = |name: &str| {
        let text = supply["totals"][0][name].as_str().unwrap();
        text.parse::<u128>().unwrap()
    };
    assert_eq!(units("held") + units("on_its_way"), 100_000_000_000_000);
    let first = network.result(&["supply", "--barrier", "1"]);
    assert_eq!(first["totals"][0]["issued"], "100000000000000");
    assert_eq!(first["shards"][0]["window"], 1);
    let output = network.run(&["supply", "--barrier", "1000000"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("LS-SUPPLY-002"), "{shown}");
    let status = network.result(&["status"]);
    assert_eq!(status.as_array().unwrap().len(), 12);
    assert!(
        status
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["error"].is_null()),
        "{status}"
    );
}

#[test]
fn a_genesis_is_made_checked_and_exported_without_a_network() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = lockstep(home.path())
            .args(arguments)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stdout, stderr)
    };
    let (code, ..) = run(&[
        "genesis", "new", "--shards", "3", "--seed", "5", "-o", "g.toml",
    ]);
    assert_eq!(code, 0);
    let (_, by_toml, _) = run(&["genesis", "show", "g.toml", "-q"]);
    run(&["genesis", "export", "g.toml", "-o", "g.json"]);
    let (_, by_json, _) = run(&["genesis", "show", "g.json", "-q"]);
    assert_eq!(by_toml.trim().len(), 64);
    assert_eq!(by_toml, by_json);

    let (code, _, shown) = run(&["genesis", "export", "g.toml", "--homes", "net"]);
    assert_eq!(code, 2, "without the seed there are no keys");
    assert!(shown.contains("LS-GEN-034"), "{shown}");
    let (code, ..) = run(&[
        "genesis", "export", "g.toml", "--homes", "net2", "--seed", "5", "--ip", "10.0.0.7",
    ]);
    assert_eq!(code, 0);
    let (code, _, shown) = run(&["node", "check", "--home", "net2/shard-2-validator-3"]);
    assert_eq!(code, 0, "an exported home is complete: {shown}");

    let text = std::fs::read_to_string(home.path().join("g.toml")).unwrap();
    let wrong = text
        .replace("depth = 1", "depht = 1")
        .replace("patience = \"4s\"", "patience = 4");
    std::fs::write(home.path().join("wrong.toml"), wrong).unwrap();
    let (code, stdout, shown) = run(&["genesis", "check", "wrong.toml"]);
    assert_eq!(code, 2);
    assert!(stdout.is_empty());
    assert!(shown.contains("did you mean depth?"), "{shown}");
    assert!(shown.contains("wrong.toml: 3 problems"), "{shown}");
}
