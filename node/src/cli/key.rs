//! `lockstep key`: the keys of accounts. They are kept encrypted in the format that other wallets
//! read too; nothing here prints a secret.

use std::path::PathBuf;

use lockstep_client::{Cost, KeyFile, Keystore, generate};
use lockstep_genesis::{Address, Network, PERSONAS, development_account};
use lockstep_types::{AccountId, SecretKey, Signer as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::accounts::PasswordOptions;
use super::connect::NetworkOptions;
use super::failure::Failure;
use super::output::{Done, Output, table};
use crate::exit::ExitCode;

/// Keys of accounts: make, list, import
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyCommand {
    #[command(subcommand)]
    action: Action,
    /// Kind of network to show addresses for [default: that of the network in use, else main]
    #[arg(long = "for", value_name = "NETWORK", global = true, value_parser = parse_network)]
    kind: Option<Network>,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Make a key and keep it encrypted under a password
    New {
        /// Its name
        name: String,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// List your keys; on a development network its accounts as well
    List,
    /// Give a key another password
    Password {
        /// Its name
        name: String,
        /// File whose first line is the new password [default: ask]
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordOptions,
    },
    /// Delete a key; what its account holds can then be spent by nobody
    Remove {
        /// Its name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Take a key from a file
    Import {
        /// Its name here
        name: String,
        /// File with the secret in hexadecimal; keep it from others, and delete it afterwards
        #[arg(long, value_name = "FILE", required_unless_present = "keystore")]
        secret_file: Option<PathBuf>,
        /// Key file of another wallet (Web3 Secret Storage, version 3)
        #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
        keystore: Option<PathBuf>,
        #[command(flatten)]
        password: PasswordOptions,
    },
}

fn parse_network(text: &str) -> Result<Network, String> {
    text.parse().map_err(str::to_owned)
}

/// How addresses are shown.
struct View {
    network: Network,
    seed: Option<u64>,
    shards: Option<u16>,
}

impl KeyCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        self.output.finish(self.execute())
    }

    fn execute(&self) -> Result<Done, Failure> {
        let keystore = Keystore::of_user();
        let (in_use, seed, shards) = self.network.kind();
        let network = self.kind.unwrap_or(in_use);
        let same = network == in_use;
        let view = View {
            network,
            seed: seed.filter(|_| same && network == Network::Development),
            shards: shards.filter(|_| same),
        };
        match &self.action {
            Action::New { name, password } => {
                // Before anybody is asked for a password.
                refuse_taken(&keystore, name)?;
                keep(&keystore, name, &generate()?, password, &view)
            }
            Action::List => list(&keystore, &view),
            Action::Password {
                name,
                new_password_file,
                password,
            } => {
                let new = PasswordOptions {
                    password_file: new_password_file.clone(),
                };
                change_password(&keystore, name, password, &new)
            }
            Action::Remove { name, yes } => {
                keystore.load(name)?;
                let question = format!("Delete the key {name} for good?");
                if !yes && !self.output.confirm(&question) {
                    return Err(Failure::new(
                        ExitCode::Rejected,
                        "LS-KEY-016",
                        "not deleted",
                    ));
                }
                keystore.remove(name)?;
                let value = json!({ "name": name, "removed": true });
                Ok(Done {
                    value,
                    text: format!("{name} deleted"),
                    ..Done::default()
                })
            }
            Action::Import {
                name,
                secret_file,
                keystore: file,
                password,
            } => {
                refuse_taken(&keystore, name)?;
                let key = match (secret_file, file) {
                    (Some(path), _) => read_secret(path)?,
                    (None, Some(path)) => read_key_file(path, password)?,
                    (None, None) => unreachable!("clap requires one of the two"),
                };
                keep(&keystore, name, &key, password, &view)
            }
        }
    }
}

fn refuse_taken(keystore: &Keystore, name: &str) -> Result<(), Failure> {
    if keystore.path(name)?.exists() {
        return Err(lockstep_client::KeystoreError::Exists {
            name: name.to_owned(),
        }
        .into());
    }
    if PERSONAS.contains(&name) {
        let message = format!("{name} is the name of a development account");
        return Err(Failure::usage("LS-KEY-014", message).help("choose another name"));
    }
    Ok(())
}

fn keep(
    keystore: &Keystore,
    name: &str,
    key: &SecretKey,
    password: &PasswordOptions,
    view: &View,
) -> Result<Done, Failure> {
    let password = password.read_new(name)?;
    let file = KeyFile::encrypt(key, &password, Cost::STANDARD)?;
    let path = keystore.save(name, &file)?;
    let account = AccountId::of(&key.public_key());
    let mut value = describe(name, account, view);
    value["file"] = json!(path);
    let address = Address::new(view.network, account).to_string();
    let shard = view
        .shards
        .map(|shards| format!("\n  shard    {}", account.shard(shards).get()));
    let text = format!(
        "{name}\n  address  {address}{}\n  file     {}\n  Without the password the key is lost.",
        shard.unwrap_or_default(),
        path.display()
    );
    Ok(Done {
        value,
        text,
        bare: address,
        exit: None,
    })
}

fn change_password(
    keystore: &Keystore,
    name: &str,
    old: &PasswordOptions,
    new: &PasswordOptions,
) -> Result<Done, Failure> {
    let file = keystore.load(name)?;
    let key = file.decrypt(&old.read(&format!("Password for {name}: "))?)?;
    let file = KeyFile::encrypt(&key, &new.read_new(name)?, Cost::STANDARD)?;
    keystore.replace(name, &file)?;
    let value = json!({ "name": name, "changed": true });
    Ok(Done {
        value,
        text: format!("{name} has a new password"),
        ..Done::default()
    })
}

fn describe(name: &str, account: AccountId, view: &View) -> Value {
    json!({
        "name": name,
        "address": Address::new(view.network, account).to_string(),
        "network": view.network.word(),
        "shard": view.shards.map(|shards| account.shard(shards).get()),
    })
}

fn list(keystore: &Keystore, view: &View) -> Result<Done, Failure> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut addresses = Vec::new();
    let mut add = |name: &str, account: Option<AccountId>, note: &str| {
        let address = account.map(|account| Address::new(view.network, account).to_string());
        let shard = account
            .zip(view.shards)
            .map(|(a, shards)| format!("shard {}", a.shard(shards).get()));
        addresses.extend(address.clone());
        rows.push(vec![
            name.to_owned(),
            address.unwrap_or_else(|| "address not stated in the file".to_owned()),
            shard.unwrap_or_default(),
            note.to_owned(),
        ]);
        values.push(match account {
            Some(account) => describe(name, account, view),
            None => json!({ "name": name }),
        });
    };
    for name in keystore.names()? {
        let key = keystore.load(&name)?.public_key();
        add(&name, key.map(|key| AccountId::of(&key)), "");
    }
    if let (Some(seed), Some(shards)) = (view.seed, view.shards) {
        for persona in PERSONAS {
            let account = development_account(seed, shards, persona).map(|key| key.account);
            add(persona, account, "development: anyone can spend from it");
        }
    }
    let text = if rows.is_empty() {
        "No keys yet. Make one:  lockstep key new NAME".to_owned()
    } else {
        table(&rows)
    };
    Ok(Done {
        value: values.into(),
        text,
        bare: addresses.join("\n"),
        exit: None,
    })
}

fn read_secret(path: &PathBuf) -> Result<SecretKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let text = Zeroizing::new(text);
    let digits = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(
        digits.strip_prefix("0x").unwrap_or(digits),
        bytes.as_mut_slice(),
    )
    .ok()
    .and_then(|()| SecretKey::from_bytes(&bytes).ok())
    .ok_or_else(|| {
        // The message does not repeat the content: it may be a mistyped secret.
        let message = format!("{} is not a secret key in hexadecimal", path.display());
        Failure::usage("LS-KEY-015", message).help("expected 64 hexadecimal digits")
    })
}

fn read_key_file(path: &PathBuf, password: &PasswordOptions) -> Result<SecretKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let file = KeyFile::parse(&text)?;
    let password = password.read(&format!("Password of {}: ", path.display()))?;
    Ok(file.decrypt(&password)?)
}
