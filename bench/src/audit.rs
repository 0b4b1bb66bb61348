//! The audit of a run: whatever was fast must also have been right. It asks every validator over
//! the public interface, and has no other source.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_client::Client;
use lockstep_client::rpc::{AssetSupply, ReplicaStatus, ShardSupply};
use lockstep_types::CommitteeId;

use crate::cluster::Testbed;
use crate::load::Shared;
use crate::run::Audit;

/// A replica this many blocks behind the highest of its committee lags. Validators are asked one
/// after the other, and a shard makes a few blocks in that time.
const MAX_LAG: u64 = 16;
/// Newest records compared between the beacon's members.
const RECORDS: u64 = 20;
/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Checks a network whose load has ended. Does not fail: what cannot be asked is a finding.
pub async fn audit(cluster: &mut Testbed, book: &Shared) -> Audit {
    let mut audit = Audit::default();
    if let Err(error) = cluster.alive() {
        audit.check(false, format!("a validator stopped: {error:#}"));
        return audit;
    }
    check_book(book, &mut audit);
    check_heights(&cluster.statuses().await, &mut audit);
    check_supply(cluster, &mut audit).await;
    check_records(cluster, &mut audit).await;
    audit
}

fn check_book(book: &Shared, audit: &mut Audit) {
    let mut book = book.open();
    let (agreed, problems) = book.compare();
    audit.check(
        problems.is_empty(),
        match (problems.first(), agreed) {
            (Some(first), _) => format!("{} differences, first: {first}", problems.len()),
            (None, 0) => "the chains shown have no gaps; one member of each was followed".into(),
            (None, _) => {
                format!("no fork: {agreed} blocks shown by further members equal the first's")
            }
        },
    );
    let (executed, credited) = book.totals();
    let (unfinished, repeated) = (book.unfinished(), book.repeated());
    audit.check(
        unfinished == 0,
        format!(
            "every accepted transfer is in the chain and credited: {executed} executed, {credited} \
             credited across shards, {unfinished} missing"
        ),
    );
    audit.check(
        repeated == 0,
        format!("nothing is executed or credited twice: {repeated} of {executed}"),
    );
}

fn check_heights(statuses: &[(String, CommitteeId, Option<ReplicaStatus>)], audit: &mut Audit) {
    let mut highest: BTreeMap<CommitteeId, u64> = BTreeMap::new();
    for (_, committee, replica) in statuses {
        let height = replica.as_ref().map_or(0, |replica| replica.executed);
        let top = highest.entry(*committee).or_default();
        *top = height.max(*top);
    }
    let behind: Vec<String> = statuses
        .iter()
        .filter_map(|(name, committee, replica)| match replica {
            None => Some(format!("{name} (silent)")),
            Some(replica) if replica.executed + MAX_LAG < highest[committee] => {
                let (at, top) = (replica.executed, highest[committee]);
                Some(format!("{name} (height {at} of {top})"))
            }
            Some(_) => None,
        })
        .collect();
    audit.nodes_lagging = u32::try_from(behind.len()).unwrap_or(u32::MAX);
    audit.check(
        behind.is_empty(),
        match behind.is_empty() {
            true => format!(
                "all {} validators end within {MAX_LAG} blocks of their committee",
                statuses.len()
            ),
            false => format!("left behind: {}", behind.join(", ")),
        },
    );
}

async fn check_supply(cluster: &Testbed, audit: &mut Audit) {
    let mut totals = Totals::default();
    let mut broken = Vec::new();
    let mut asked = 0;
    for shard in cluster.shards() {
        // Equal heights must show equal balances, whoever is asked.
        let mut by_height: BTreeMap<u64, ShardSupply> = BTreeMap::new();
        for url in cluster.urls(CommitteeId::Shard(shard)) {
            let supply = match Client::new(&[&url], DEADLINE) {
                Ok(client) => client.supply().await,
                Err(error) => Err(error),
            };
            match supply {
                Err(error) => broken.push(format!("{shard}: {error}")),
                Ok(supply) => {
                    asked += 1;
                    broken.extend(supply.assets.iter().filter_map(|a| unbalanced(&supply, a)));
                    match by_height.get(&supply.height) {
                        Some(other) if *other != supply => broken.push(format!(
                            "{shard} height {}: members show different supplies",
                            supply.height
                        )),
                        _ => drop(by_height.insert(supply.height, supply)),
                    }
                }
            }
        }
        if let Some((_, newest)) = by_height.pop_last() {
            newest.assets.iter().for_each(|asset| totals.add(asset));
        }
    }
    if let Some(problem) = totals.problem() {
        broken.push(problem);
    }
    let ok = broken.is_empty();
    audit.check(
        ok,
        match ok {
            true => format!(
                "supply is exact: balances + escrow = genesis + received − sent at {asked} \
                 validators, and {} units over all shards",
                totals.held
            ),
            false => format!("{} supply findings, first: {}", broken.len(), broken[0]),
        },
    );
}

/// The conservation equation of one shard and asset, if it does not hold. Additions only, so that
/// nothing can wrap below zero.
fn unbalanced(supply: &ShardSupply, a: &AssetSupply) -> Option<String> {
    let left = a.balances + a.escrow + a.burned + a.sent;
    let right = a.genesis + a.issued + a.received;
    (left != right).then(|| {
        format!(
            "shard {} height {} asset {}: {left} held, burned and sent, {right} from genesis, \
             issued and received",
            supply.shard, supply.height, a.asset
        )
    })
}

/// Sums over all shards, after everything on the way has arrived.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    held: u128,
    made: u128,
    sent: u128,
    received: u128,
}

impl Totals {
    fn add(&mut self, asset: &AssetSupply) {
        self.held += asset.balances + asset.escrow + asset.burned;
        self.made += asset.genesis + asset.issued;
        self.sent += asset.sent;
        self.received += asset.received;
    }

    fn problem(&self) -> Option<String> {
        if self.received > self.sent {
            return Some(format!(
                "{} received, but only {} sent",
                self.received, self.sent
            ));
        }
        let in_flight = self.sent - self.received;
        (self.held + in_flight != self.made).then(|| {
            format!(
                "{} held and {in_flight} on the way, of {} made",
                self.held, self.made
            )
        })
    }
}

async fn check_records(cluster: &Testbed, audit: &mut Audit) {
    let urls = cluster.urls(CommitteeId::Beacon);
    let newest = cluster
        .statuses()
        .await
        .into_iter()
        .filter(|(_, committee, _)| *committee == CommitteeId::Beacon)
        .filter_map(|(_, _, replica)| replica.map(|replica| replica.record))
        .min()
        .unwrap_or(0);
    let (mut equal, mut findings) = (0, Vec::new());
    for number in newest.saturating_sub(RECORDS).max(1)..=newest {
        let mut first = None;
        for url in &urls {
            let record = match Client::new(&[url], DEADLINE) {
                Ok(client) => client.record(number).await,
                Err(error) => Err(error),
            };
            match (record, &first) {
                (Err(error), _) => findings.push(format!("record {number}: {error}")),
                (Ok(None), _) => findings.push(format!("record {number} is missing at {url}")),
                (Ok(Some(record)), None) => first = Some((record.hash, record.shards)),
                // Commit proofs may differ in their signers; what they prove may not.
                (Ok(Some(record)), Some((hash, shards)))
                    if record.hash == *hash && record.shards == *shards =>
                {
                    equal += 1;
                }
                (Ok(Some(_)), Some(_)) => {
                    findings.push(format!("record {number} differs between beacon members"));
                }
            }
        }
    }
    let ok = findings.is_empty() && equal + 1 >= urls.len();
    audit.check(
        ok,
        match findings.first() {
            None => format!(
                "roots are equal: certified records up to {newest} agree between beacon members \
                 ({equal} comparisons)"
            ),
            Some(first) => format!("{} record findings, first: {first}", findings.len()),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(balances: u128, sent: u128, received: u128) -> AssetSupply {
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

    fn supply(asset: AssetSupply) -> ShardSupply {
        ShardSupply {
            shard: 0,
            height: 9,
            window: 2,
            assets: vec![asset],
        }
    }

    #[test]
    fn a_unit_too_much_is_found_in_its_shard() {
        let good = supply(asset(90, 30, 20));
        assert_eq!(unbalanced(&good, &good.assets[0]), None);
        let bad = supply(asset(91, 30, 20));
        assert!(
            unbalanced(&bad, &bad.assets[0])
                .unwrap()
                .contains("height 9")
        );
    }

    #[test]
    fn value_must_not_appear_between_shards() {
        let mut totals = Totals::default();
        totals.add(&asset(70, 30, 0));
        totals.add(&asset(125, 0, 25));
        assert_eq!(totals.problem(), None, "5 are on the way");
        totals.add(&asset(106, 0, 6));
        assert!(totals.problem().unwrap().contains("only 30 sent"));
    }

    #[test]
    fn a_replica_left_behind_is_named() {
        let replica = |executed| ReplicaStatus {
            committee: CommitteeId::Beacon,
            height: executed,
            block_time_us: 0,
            view: 0,
            leader: 0,
            executed,
            window: 0,
            sealed: 0,
            record: 1,
            pool: 0,
            connected: 4,
            blocked: None,
            evidence: 0,
        };
        let all = [
            ("a".to_owned(), CommitteeId::Beacon, Some(replica(100))),
            (
                "b".to_owned(),
                CommitteeId::Beacon,
                Some(replica(100 - MAX_LAG)),
            ),
            (
                "c".to_owned(),
                CommitteeId::Beacon,
                Some(replica(99 - MAX_LAG)),
            ),
            ("d".to_owned(), CommitteeId::Beacon, None),
        ];
        let mut audit = Audit::default();
        check_heights(&all, &mut audit);
        assert_eq!(audit.nodes_lagging, 2);
        let expected = "left behind: c (height 83 of 100), d (silent)";
        assert_eq!(audit.failed, [expected]);
    }
}
