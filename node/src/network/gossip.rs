//! Gossip: anonymous (what needs a signature carries its own), named by content, passed on only
//! after we found it good, on known topics only.
//!
//! Breaks if: messages are named by anything but their bytes (the same batch would be verified
//! once for every path it takes), or passed on before they are verified.

use std::collections::HashSet;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter, MessageAcceptance,
    MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter,
};

/// Far below a block's time, so that a peer that joins a topic is in its mesh at once.
const HEARTBEAT: Duration = Duration::from_millis(200);
const FIRST_HEARTBEAT: Duration = Duration::from_millis(50);
/// Messages waiting for one peer; past it gossip to that peer is dropped (it fetches what it
/// misses).
const QUEUE_MESSAGES: usize = 256;
/// Bytes of a control message, and of them what a peer announces and asks for at a time.
const MAX_CONTROL_BYTES: usize = 16 << 10;
/// How long a message's name is remembered.
const DUPLICATE_CACHE: Duration = Duration::from_secs(30);
/// Room for the frame around a message.
const FRAME_BYTES: usize = 1_024;

/// The gossip behaviour with a list of allowed topics.
pub(super) type Gossip = Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>,
>;

/// Names a gossiped message towards the network.
#[derive(Clone, Debug)]
pub struct GossipReceipt {
    pub(super) message: MessageId,
    pub(super) from: PeerId,
}

/// What we think of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good: pass it on.
    Accept,
    /// The peer that passed it on should have refused it.
    Reject,
    /// Not for us to judge: do not pass it on, blame nobody.
    Ignore,
}

impl From<Verdict> for MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        }
    }
}

/// Builds the behaviour and joins `topics`.
pub(super) fn behaviour(
    topics: &[String],
    foreign: &[String],
    max_message: usize,
) -> Result<Gossip, String> {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            let name = lockstep_types::hash("lockstep/gossip", &message.data);
            MessageId::from(name.as_bytes().to_vec())
        })
        .heartbeat_initial_delay(FIRST_HEARTBEAT)
        .heartbeat_interval(HEARTBEAT)
        .flood_publish(true)
        .max_transmit_size(max_message + FRAME_BYTES)
        .duplicate_cache_time(DUPLICATE_CACHE)
        .connection_handler_queue_len(QUEUE_MESSAGES)
        .max_publish_messages(QUEUE_MESSAGES)
        .max_control_messages_sent(QUEUE_MESSAGES)
        .max_control_message_size(MAX_CONTROL_BYTES)
        .publish_queue_duration(Duration::from_secs(2))
        .forward_queue_duration(Duration::from_secs(1))
        .build()
        .map_err(|error| error.to_string())?;
    let allowed: HashSet<_> = topics
        .iter()
        .chain(foreign)
        .map(|topic| IdentTopic::new(topic).hash())
        .collect();
    let mut gossip = Gossip::new_with_subscription_filter(
        MessageAuthenticity::Anonymous,
        config,
        MaxCountSubscriptionFilter {
            max_subscribed_topics: allowed.len(),
            // Joining and leaving each, in one message.
            max_subscriptions_per_request: 2 * allowed.len(),
            filter: WhitelistSubscriptionFilter(allowed),
        },
    )
    .map_err(str::to_owned)?;
    for topic in topics {
        gossip
            .subscribe(&IdentTopic::new(topic))
            .map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}
