//! A thousand mixed transfers in a network that runs in one process.

use std::time::Duration;

use anyhow::ensure;

use crate::load::Load;
use crate::network::{Form, Network};

const ACCOUNTS: u32 = 50;
const EACH: u64 = 20;

pub(crate) fn end_final_exactly_once() -> anyhow::Result<()> {
    let mut network = Network::start(Form::Inside, ACCOUNTS)?;
    let mut load = Load::start(&network, EACH)?;
    network.check_supply()?;
    load.finish(&network, Duration::from_secs(120))?;
    let sent = ACCOUNTS as usize * EACH as usize;
    network.settle()?;
    let verdict = load.history.judge(&network)?;
    verdict.check()?;
    ensure!(
        verdict.acknowledged == sent && verdict.credited * 2 == sent,
        "{} of {sent} acknowledged, every other crosses: {}",
        verdict.acknowledged,
        verdict.credited
    );
    network.cluster.stop();
    let (statements, contradictions) = network.statements()?;
    ensure!(contradictions.is_empty(), "{contradictions:?}");
    println!(
        "  {sent} transfers, {} across shards, {} refused, {} reads, {statements} statements \
         without contradiction",
        verdict.credited, verdict.refused, verdict.reads
    );
    Ok(())
}
