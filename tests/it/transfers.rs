//! A thousand mixed transfers in a network that runs in one process.

use std::time::Duration;

use anyhow::ensure;

use crate::Options;
use crate::load::Load;
use crate::network::Network;

const ACCOUNTS: u32 = 50;
const EACH: u64 = 20;

pub(crate) fn end_final_exactly_once(_: Options) -> anyhow::Result<()> {
    let mut network = Network::start(false, ACCOUNTS)?;
    let mut load = Load::start(&network, EACH)?;
    network.check_supply()?;
    load.finish(&network, Duration::from_secs(120))?;
    let sent = ACCOUNTS as usize * EACH as usize;
    ensure!(
        load.journal.len() == sent,
        "{} of {sent} acknowledged",
        load.journal.len()
    );
    let credited = load.journal.check_credits(&network)?;
    ensure!(
        credited * 2 == sent,
        "every other transfer crosses: {credited} of {sent}"
    );
    load.journal.check(&network)?;
    network.check_supply()?;
    let barriers = network.check_barriers()?;
    network.cluster.stop();
    let statements = network.check_statements()?;
    println!(
        "  {sent} transfers, {credited} across shards, supply exact at {barriers} barriers, \
         {statements} statements without contradiction"
    );
    Ok(())
}
