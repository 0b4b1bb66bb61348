//! Numbers for Prometheus, named `lockstep_…`. Labels are few and bounded: the message class and
//! the thread class; which validator it is follows from the address that is scraped.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::network::{Class, NetworkHandle};
use crate::verify::VerifyPool;

/// Limits of all duration histograms, in seconds: from a fast step to a barrier that waits.
const SECONDS: [f64; 16] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
/// Limits of the histogram of group sizes.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

type Level = Gauge<i64, std::sync::atomic::AtomicI64>;
type Count = Counter<u64, AtomicU64>;

/// Everything one validator counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Newest committed height.
    pub height: Level,
    /// Newest executed height.
    pub executed: Level,
    /// The view the replica is in.
    pub view: Level,
    /// Newest record applied; at the beacon, committed.
    pub record: Level,
    /// Transactions that wait.
    pub pool: Level,
    /// Transactions executed.
    pub transactions: Count,
    /// Transactions executed without effect but on the nonce.
    pub failed_transactions: Count,
    /// Credits from other shards.
    pub credits: Count,
    /// Steps of the replica.
    pub steps: Count,
    /// Messages refused: malformed, badly signed.
    pub rejected: Count,
    /// Checked messages that the replica did not act on.
    pub refused: Count,
    /// Proofs of a member contradicting itself.
    pub evidence: Count,
    /// Log writes with their sync.
    pub log_sync: Histogram,
    /// Safety record writes with their sync.
    pub record_sync: Histogram,
    /// Steps whose writes shared one sync.
    pub group: Histogram,
    /// Execution of a block.
    pub execution: Histogram,
    /// From a committed block's time to its execution here.
    pub finality: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lockstep");
        let r = &mut registry;
        let level = |r: &mut Registry, name, help| {
            let level = Level::default();
            r.register(name, help, level.clone());
            level
        };
        let count = |r: &mut Registry, name, help| {
            let count = Count::default();
            r.register(name, help, count.clone());
            count
        };
        let histogram = |r: &mut Registry, name, help, limits: &[f64]| {
            let histogram = Histogram::new(limits.iter().copied());
            r.register(name, help, histogram.clone());
            histogram
        };
        Metrics {
            height: level(r, "committed_height", "Newest committed height"),
            executed: level(r, "executed_height", "Newest executed height"),
            view: level(r, "view", "View the replica is in"),
            record: level(r, "record", "Newest barrier record applied or committed"),
            pool: level(r, "pool_transactions", "Transactions that wait"),
            transactions: count(r, "transactions", "Transactions executed"),
            failed_transactions: count(
                r,
                "transactions_failed",
                "Transactions executed with no effect but on the nonce",
            ),
            credits: count(r, "credits", "Credits from other shards"),
            steps: count(r, "steps", "Steps of the replica"),
            rejected: count(r, "messages_rejected", "Messages malformed or badly signed"),
            refused: count(r, "messages_refused", "Checked messages not acted on"),
            evidence: count(r, "evidence", "Members seen to contradict themselves"),
            log_sync: histogram(r, "log_sync_seconds", "Log write with its sync", &SECONDS),
            record_sync: histogram(
                r,
                "safety_record_sync_seconds",
                "Safety record write with its sync",
                &SECONDS,
            ),
            group: histogram(
                r,
                "commit_group_steps",
                "Steps that shared one sync",
                &SIZES,
            ),
            execution: histogram(
                r,
                "block_execution_seconds",
                "Execution of a block",
                &SECONDS,
            ),
            finality: histogram(
                r,
                "block_finality_seconds",
                "From a block's time to its execution here",
                &SECONDS,
            ),
            registry,
        }
    }

    /// Adds what the network and the verifier pool count themselves.
    pub fn watch(&mut self, network: NetworkHandle, pool: VerifyPool) {
        self.registry
            .register_collector(Box::new(Watched { network, pool }));
    }

    /// The text Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

/// Observes how long something took since `start`.
pub fn observe(histogram: &Histogram, took: Duration) {
    histogram.observe(took.as_secs_f64());
}

struct Watched {
    network: NetworkHandle,
    pool: VerifyPool,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut one = |name: &str, help: &str, kind, values: &[(&str, u64)]| {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (class, value) in values {
                let labels = [("class", *class)];
                let family = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCount(*value).encode(family)?,
                    _ => ConstLevel(*value).encode(family)?,
                }
            }
            Ok(())
        };
        let traffic = self.network.traffic();
        let by_class = |read: &dyn Fn(Class) -> u64| Class::ALL.map(|c| (c.name(), read(c)));
        let counter = MetricType::Counter;
        let gauge = MetricType::Gauge;
        let sent = by_class(&|class| traffic.class(class).sent);
        one("messages_sent", "Messages written", counter, &sent)?;
        let sent_bytes = by_class(&|class| traffic.class(class).sent_bytes);
        one(
            "sent_bytes",
            "Bytes of messages written",
            counter,
            &sent_bytes,
        )?;
        let received = by_class(&|class| traffic.class(class).received);
        one("messages_received", "Messages read", counter, &received)?;
        let bytes = by_class(&|class| traffic.class(class).received_bytes);
        one("received_bytes", "Bytes of messages read", counter, &bytes)?;
        let dropped = by_class(&|class| traffic.class(class).dropped);
        one(
            "messages_dropped",
            "Messages dropped from full queues",
            counter,
            &dropped,
        )?;
        let waiting = by_class(&|class| self.network.waiting(class) as u64);
        one(
            "messages_waiting",
            "Messages waiting to be sent",
            gauge,
            &waiting,
        )?;
        let pool = self.pool.waiting();
        let checks = by_class(&|class| pool[class.index()] as u64);
        one(
            "checks_waiting",
            "Messages waiting to be checked",
            gauge,
            &checks,
        )?;
        let [published, failed, received, dropped] = traffic.gossip();
        let gossip = [
            ("published", published),
            ("not_published", failed),
            ("received", received),
            ("dropped", dropped),
        ];
        one("gossip_messages", "Gossiped messages", counter, &gossip)?;
        let peers = [("connected", self.network.connections() as u64)];
        one("peers", "Peers connected", gauge, &peers)?;
        one(
            "connections_refused",
            "Connections of peers that are not listed",
            counter,
            &[("incoming", traffic.refused())],
        )
    }
}

struct ConstCount(u64);

impl EncodeMetric for ConstCount {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.0, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

struct ConstLevel(u64);

impl EncodeMetric for ConstLevel {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.0)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
