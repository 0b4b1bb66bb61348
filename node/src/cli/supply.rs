//! `lockstep supply`: the conservation equation of every shard, and their sum. What has left one
//! shard and not arrived in another is on its way, and nothing else may be missing.

use std::collections::BTreeMap;

use lockstep_client::Client;
use lockstep_client::rpc::{AssetSupply, RecordedShard, ShardSupply};
use lockstep_genesis::Amount;
use serde_json::{Value, json};

use super::connect::NetworkOptions;
use super::failure::Failure;
use super::output::{Done, Output, table};
use crate::exit::ExitCode;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SupplyCommand {
    /// As the record of this barrier has it, instead of now; a shard that was absent from it, as the
    /// last record before has it.
    #[arg(long, value_name = "NUMBER")]
    barrier: Option<u64>,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    output: Output,
}

impl SupplyCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        self.output.finish(self.execute().await)
    }

    async fn execute(&self) -> Result<Done, Failure> {
        let connected = self.network.connect().await?;
        let mut shards = Vec::new();
        for shard in 0..connected.shards {
            let client = connected.shard(shard)?;
            shards.push(match self.barrier {
                None => client.supply().await?,
                Some(barrier) => at_barrier(client, shard, barrier).await?,
            });
        }
        Ok(show(&shards))
    }
}

/// A shard as the newest record up to number `barrier` has it in which it was present.
async fn at_barrier(client: &Client, shard: u16, barrier: u64) -> Result<ShardSupply, Failure> {
    let missing = |message: String| {
        Failure::new(ExitCode::Rejected, "LS-SUPPLY-002", message)
            .help("lockstep status shows the newest barrier")
    };
    for number in (1..=barrier).rev() {
        let Some(record) = client.record(number).await? else {
            return Err(missing(format!("shard {shard} has no record {number}")));
        };
        let entry = record.shards.into_iter().nth(usize::from(shard));
        if let Some(RecordedShard::Present {
            window,
            height,
            supply,
            ..
        }) = entry
        {
            return Ok(ShardSupply {
                shard,
                height,
                window,
                assets: supply,
            });
        }
    }
    Err(missing(format!(
        "shard {shard} was in no record up to {barrier}"
    )))
}

/// Sums over all shards of one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    held: u128,
    /// What all shards together should hold when nothing is on its way.
    due: u128,
    sent: u128,
    received: u128,
}

impl Total {
    fn add(&mut self, line: &AssetSupply) {
        self.held = self
            .held
            .saturating_add(line.balances)
            .saturating_add(line.escrow);
        self.due = self
            .due
            .saturating_add(line.genesis)
            .saturating_add(line.issued)
            .saturating_sub(line.burned);
        self.sent = self.sent.saturating_add(line.sent);
        self.received = self.received.saturating_add(line.received);
    }

    /// Shards are asked one after the other. Value that arrives in between is seen as received
    /// and not as sent; the next question shows it as sent.
    fn on_its_way(&self) -> u128 {
        self.sent.saturating_sub(self.received)
    }
}

/// balances + escrow = genesis + issued − burned + received − sent.
fn holds(line: &AssetSupply) -> bool {
    let left = [line.balances, line.escrow, line.burned, line.sent];
    let right = [line.genesis, line.issued, line.received];
    let sum = |terms: &[u128]| {
        terms
            .iter()
            .try_fold(0u128, |sum, term| sum.checked_add(*term))
    };
    sum(&left).is_some() && sum(&left) == sum(&right)
}

fn show(shards: &[ShardSupply]) -> Done {
    let header = [
        "SHARD", "WINDOW", "HEIGHT", "HELD", "GENESIS", "SENT", "RECEIVED", "",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut totals: BTreeMap<u32, Total> = BTreeMap::new();
    let mut broken = Vec::new();
    let amount = |asset: u32, units: u128| match asset {
        0 => Amount(units).to_string(),
        _ => format!("{units} of asset {asset}"),
    };
    for supply in shards {
        for line in &supply.assets {
            totals.entry(line.asset).or_default().add(line);
            if !holds(line) {
                broken.push((supply.shard, line.asset));
            }
            rows.push(vec![
                supply.shard.to_string(),
                supply.window.to_string(),
                supply.height.to_string(),
                amount(line.asset, line.balances.saturating_add(line.escrow)),
                amount(line.asset, line.genesis),
                amount(line.asset, line.sent),
                amount(line.asset, line.received),
                if holds(line) {
                    "balanced"
                } else {
                    "NOT BALANCED"
                }
                .to_owned(),
            ]);
        }
    }
    let mut text = table(&rows);
    let mut sums: Vec<Value> = Vec::new();
    for (asset, total) in &totals {
        text += &format!(
            "all shards hold {}, {} on its way\n",
            amount(*asset, total.held),
            amount(*asset, total.on_its_way())
        );
        sums.push(json!({
            "asset": asset,
            "held": total.held.to_string(),
            "issued": total.due.to_string(),
            "on_its_way": total.on_its_way().to_string(),
        }));
    }
    let exit = broken.first().map(|(shard, asset)| {
        let message = format!("the equation of shard {shard} does not hold for asset {asset}");
        Failure::new(ExitCode::Unverified, "LS-SUPPLY-001", message)
            .help("stop the network and keep its data: value was lost or forged")
    });
    let bare = totals
        .get(&0)
        .map_or(String::new(), |total| Amount(total.held).to_string());
    Done {
        value: json!({ "shards": shards, "totals": sums }),
        text,
        bare,
        exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u16, line: AssetSupply) -> ShardSupply {
        ShardSupply {
            shard: number,
            height: 1,
            window: 1,
            assets: vec![line],
        }
    }

    fn line(balances: u128, sent: u128, received: u128) -> AssetSupply {
        AssetSupply {
            asset: 0,
            balances,
            escrow: 0,
            genesis: 100,
            issued: 0,
            burned: 0,
            sent,
            received,
        }
    }

    #[test]
    fn what_was_sent_and_has_not_arrived_is_on_its_way() {
        let done = show(&[shard(0, line(70, 30, 0)), shard(1, line(110, 0, 10))]);
        assert!(done.exit.is_none());
        assert_eq!(done.value["totals"][0]["held"], "180");
        assert_eq!(done.value["totals"][0]["issued"], "200");
        assert_eq!(done.value["totals"][0]["on_its_way"], "20");
    }

    #[test]
    fn a_shard_that_does_not_balance_is_a_failure() {
        let done = show(&[shard(0, line(71, 30, 0))]);
        assert_eq!(done.exit.unwrap().exit as u8, 6);
        assert!(done.text.contains("NOT BALANCED"));
    }
}
