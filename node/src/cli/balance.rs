//! `lockstep balance`: what accounts hold, over all shards in one table.

use lockstep_client::Keystore;
use lockstep_client::rpc::Account;
use lockstep_genesis::{Address, Amount, Network, PERSONAS};
use lockstep_types::AccountId;
use serde_json::json;

use super::accounts::Names;
use super::connect::{Connected, NetworkOptions};
use super::failure::Failure;
use super::output::{Done, Output, table};
use crate::exit::ExitCode;

/// Show what accounts hold
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BalanceCommand {
    /// Names or addresses [default: your keys; on a development network its accounts as well]
    pub(crate) accounts: Vec<String>,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    output: Output,
}

impl BalanceCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        self.output.finish(self.execute().await)
    }

    async fn execute(&self) -> Result<Done, Failure> {
        let connected = self.network.connect().await?;
        let keystore = Keystore::of_user();
        let names = Names {
            keystore: &keystore,
            network: connected.network,
            seed: connected.seed,
            shards: connected.shards,
        };
        let mut who = self.accounts.clone();
        if who.is_empty() {
            who = keystore.names()?;
            if connected.network == Network::Development {
                who.extend(PERSONAS.map(str::to_owned));
            }
        }
        let mut held = Vec::new();
        for name in who {
            let account = names.account(&name)?;
            held.push((name, ask(&connected, account).await?));
        }
        Ok(show(&held))
    }
}

/// Asks the account's own shard.
///
/// # Errors
/// When no node of it answers.
pub(crate) async fn ask(connected: &Connected, account: AccountId) -> Result<Account, Failure> {
    let shard = account.shard(connected.shards).get();
    let address = Address::new(connected.network, account).to_string();
    Ok(connected.shard(shard)?.account(&address).await?)
}

/// How much of the native asset an account holds, as the node says; a node may say anything.
pub(crate) fn native(account: &Account) -> u128 {
    let native = account.balances.iter().filter(|balance| balance.asset == 0);
    native.fold(0, |sum, balance| sum.saturating_add(balance.amount))
}

fn show(held: &[(String, Account)]) -> Done {
    let mut rows = vec![
        ["ACCOUNT", "ADDRESS", "SHARD", "BALANCE", "NONCE", "HEIGHT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, account) in held {
        let balance = if account.exists {
            Amount(native(account)).to_string()
        } else {
            "does not exist".to_owned()
        };
        rows.push(vec![
            if *name == account.address {
                String::new()
            } else {
                name.clone()
            },
            account.address.clone(),
            account.shard.to_string(),
            balance,
            account.nonce.to_string(),
            account.height.to_string(),
        ]);
        for other in account.balances.iter().filter(|balance| balance.asset != 0) {
            let amount = format!("{} units of asset {}", other.amount, other.asset);
            rows.push(vec![String::new(), String::new(), String::new(), amount]);
        }
    }
    let bare: Vec<String> = held
        .iter()
        .map(|(_, a)| Amount(native(a)).to_string())
        .collect();
    let value = held
        .iter()
        .map(|(name, account)| {
            let mut value = json!(account);
            value["name"] = json!(name);
            value
        })
        .collect();
    Done {
        value,
        text: table(&rows),
        bare: bare.join("\n"),
        exit: None,
    }
}
