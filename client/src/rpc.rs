//! The RPC: method names, parameters and answers, shared by the node that serves them and the
//! client that asks.
//!
//! JSON-RPC 2.0 over HTTP and WebSocket on one port. Parameters are positional. Hashes are 64
//! hexadecimal digits, amounts are decimal strings (they exceed what JSON readers keep exactly),
//! times are microseconds since 1970, committees are `beacon` or `shard-N`. Signed and proven
//! things travel as hexadecimal SCALE bytes, because their bytes are what is signed.
//!
//! A node never holds keys, and no answer of it has to be believed: whoever does not trust it asks
//! for the proof.

use lockstep_types::{
    CommitteeId, EffectsDigest, GenesisHash, MerkleRoot, RecordHash, ShardId, TransactionId,
};
use serde::{Deserialize, Serialize};

/// Method names.
pub mod method {
    /// `[]` → [`Info`](super::Info).
    pub const INFO: &str = "lockstep_info";
    /// `[]` → [`Status`](super::Status).
    pub const STATUS: &str = "lockstep_status";
    /// `[hex of a SCALE transaction]` → [`Submitted`](super::Submitted).
    pub const SUBMIT: &str = "lockstep_submit";
    /// `[[hex, …]]`, at most [`MAX_SUBMITTED`](super::MAX_SUBMITTED) → one
    /// [`Submitted`](super::Submitted) each, in order.
    pub const SUBMIT_MANY: &str = "lockstep_submitMany";
    /// `[address]` → [`Account`](super::Account).
    pub const ACCOUNT: &str = "lockstep_account";
    /// `[transaction id]` → [`Stage`](super::Stage), in the sender's shard.
    pub const TRANSACTION: &str = "lockstep_transaction";
    /// `[source shard, transaction id]` → [`Credit`](super::Credit), in the receiver's shard.
    pub const CREDIT: &str = "lockstep_credit";
    /// `[transaction id]` → [`Proof`](super::Proof) or null: the receipt of a transaction of this
    /// shard with the commit proof of a later header.
    pub const RECEIPT: &str = "lockstep_receipt";
    /// `[source shard, transaction id]` → [`Proof`](super::Proof) or null: the receipt of the
    /// credit in this shard.
    pub const CREDIT_RECEIPT: &str = "lockstep_creditReceipt";
    /// `[number]` → [`Record`](super::Record) or null.
    pub const RECORD: &str = "lockstep_record";
    /// `[]` → [`ShardSupply`](super::ShardSupply): the conservation equation of this shard.
    pub const SUPPLY: &str = "lockstep_supply";
    /// `[from]` → [`BarrierPhases`](super::BarrierPhases) of at most
    /// [`MAX_BARRIERS`](super::MAX_BARRIERS) barriers, ascending, from number `from` on.
    pub const BARRIERS: &str = "lockstep_barriers";
    /// `[]` → a list of [`Misdeed`](super::Misdeed): members of this validator's committee that
    /// contradicted themselves, also before its last start. A few of each member and kind.
    pub const EVIDENCE: &str = "lockstep_evidence";
    /// `[]` → a list of [`PeerConduct`](super::PeerConduct): every other validator, and how it
    /// behaves towards this one.
    pub const PEERS: &str = "lockstep_peers";
    /// Starts a subscription to [`BlockSummary`](super::BlockSummary).
    pub const SUBSCRIBE_BLOCKS: &str = "lockstep_subscribeBlocks";
    /// The notifications of that subscription.
    pub const BLOCKS: &str = "lockstep_blocks";
    /// Ends that subscription.
    pub const UNSUBSCRIBE_BLOCKS: &str = "lockstep_unsubscribeBlocks";

    /// All methods that are called and answered once.
    pub const CALLS: [&str; 14] = [
        INFO,
        STATUS,
        SUBMIT,
        SUBMIT_MANY,
        ACCOUNT,
        TRANSACTION,
        CREDIT,
        RECEIPT,
        CREDIT_RECEIPT,
        RECORD,
        SUPPLY,
        BARRIERS,
        EVIDENCE,
        PEERS,
    ];
}

/// Error codes of JSON-RPC answers, besides the standard ones.
pub mod code {
    /// The node has no replica of the shard that was asked about.
    pub const WRONG_SHARD: i32 = -32_010;
    /// The node cannot answer yet: it is starting or catching up.
    pub const NOT_READY: i32 = -32_011;
    /// Too much at a time; come back later.
    pub const BUSY: i32 = -32_012;
    /// It is not known here, and this node has no blocks from before it fetched its state: another
    /// one may know.
    pub const HISTORY_STARTS_LATER: i32 = -32_013;
    /// The node has taken the call and was not done in time. What was submitted may have been taken.
    pub const NOT_IN_TIME: i32 = -32_014;
    /// The answer is, or may be, too large for a WebSocket.
    pub const BY_HTTP: i32 = -32_015;
}

/// Transactions of one [`method::SUBMIT_MANY`]. With 256 KiB per request there is no room for more.
pub const MAX_SUBMITTED: usize = 512;
/// Barriers in one answer.
pub const MAX_BARRIERS: usize = 1_000;
/// Largest request body.
pub const MAX_REQUEST_BYTES: u32 = 256 * 1024;
/// Largest answer: a certified record of 4,096 shards with a margin.
pub const MAX_ANSWER_BYTES: u32 = 16 * 1024 * 1024;

/// What never changes while the node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Software version.
    pub version: String,
    /// Name of the chain with four digits of its hash.
    pub chain: String,
    /// The chain's identity.
    #[serde(with = "text")]
    pub genesis: GenesisHash,
    /// `main`, `test` or `development`.
    #[serde(with = "text")]
    pub network: lockstep_genesis::Network,
    /// How many shards the chain has.
    pub shards: u16,
    /// Length of a window.
    pub interval_us: u64,
    /// Barriers that may be outstanding.
    pub depth: u8,
    /// The validator's name in genesis.
    pub validator: String,
    /// Where this node is a member.
    pub seats: Vec<Seat>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The committee.
    #[serde(with = "committee")]
    pub committee: CommitteeId,
    /// The position in it.
    pub member: u8,
    /// How many members it has.
    pub members: u8,
    /// How many of them make a quorum.
    pub quorum: u8,
}

/// How the node is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node's clock.
    pub time_us: u64,
    /// Since it started.
    pub uptime_us: u64,
    /// One entry per replica it runs.
    pub replicas: Vec<ReplicaStatus>,
}

/// How one replica is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its committee.
    #[serde(with = "committee")]
    pub committee: CommitteeId,
    /// Newest committed height.
    pub height: u64,
    /// Time of that block.
    pub block_time_us: u64,
    /// The view it is in.
    pub view: u64,
    /// The leader of that view.
    pub leader: u8,
    /// Newest executed height.
    pub executed: u64,
    /// The open window; at the beacon, the record being made.
    pub window: u64,
    /// Newest window it has seen sealed.
    pub sealed: u64,
    /// Newest record applied; at the beacon, committed.
    pub record: u64,
    /// Transactions that wait.
    pub pool: u64,
    /// Members it is connected to, itself included.
    pub connected: u8,
    /// What keeps it from progressing, if anything does.
    pub blocked: Option<String>,
    /// Cases in which members were seen to contradict themselves: see [`Misdeed`].
    #[serde(default)]
    pub evidence: u64,
}

/// How a member contradicted itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// It proposed two blocks in one view.
    Proposals,
    /// It voted for two blocks in one view.
    Votes,
    /// It gave up one view twice, with different highest certificates.
    Timeouts,
    /// The answering validator's own key signed what this validator did not: a second copy of it
    /// runs, or its disk is an old copy.
    SecondCopy,
}

impl EvidenceKind {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            EvidenceKind::Proposals => "proposals",
            EvidenceKind::Votes => "votes",
            EvidenceKind::Timeouts => "timeouts",
            EvidenceKind::SecondCopy => "second_copy",
        }
    }
}

/// A member that contradicted itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misdeed {
    /// Of which committee.
    #[serde(with = "committee")]
    pub committee: CommitteeId,
    /// Its position there.
    pub member: u8,
    /// Its name in genesis.
    pub validator: String,
    /// In which view.
    pub view: u64,
    /// How.
    pub kind: EvidenceKind,
    /// When this node saw it.
    pub seen_us: u64,
    /// Both statements with their signatures, hexadecimal SCALE; of a second copy the one that this
    /// validator did not make, as a message. Empty when it is larger than is kept.
    pub statements: String,
}

/// How another validator behaves towards the one that answers, since that one's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConduct {
    /// Of which committee.
    #[serde(with = "committee")]
    pub committee: CommitteeId,
    /// Its position there.
    pub member: u8,
    /// Its name in genesis.
    pub validator: String,
    /// Is there a connection to it now?
    pub connected: bool,
    /// Points for wrong messages, which wear off; 0 for whoever behaves.
    pub score: u32,
    /// Messages of it that were malformed or badly signed.
    pub rejected: u64,
    /// Messages of it that were right and of no use: late, early, repeated.
    pub refused: u64,
    /// Votes of it for views so far ahead that they are not kept: many of them, while those of
    /// others are not, are made up.
    pub ahead: u64,
    /// Messages of it that were dropped unread, because it had too many points.
    pub unread: u64,
}

/// What became of a submitted transaction. The id is given in every case in which the bytes are a
/// transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// The transaction, if the bytes are one.
    #[serde(with = "optional_text")]
    pub id: Option<TransactionId>,
    /// What became of it.
    #[serde(flatten)]
    pub admission: Admission,
}

/// The node's decision about a submitted transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Admission {
    /// It is in the pool and will be proposed.
    Accepted,
    /// It was in the pool already.
    Pending,
    /// It has been executed already.
    Executed,
    /// It can never be executed as it is.
    Rejected {
        /// A stable word: `malformed`, `signature`, `wrong_shard`, `wrong_chain`, `nonce`,
        /// `expired`, `no_account`, `balance`, `limit`.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// No room at the moment; the same transaction may be submitted again.
    Busy {
        /// A sentence for people.
        message: String,
    },
}

/// An account as of an executed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The address.
    pub address: String,
    /// The shard that holds it.
    pub shard: u16,
    /// The height this is as of.
    pub height: u64,
    /// The window that was open there. A transaction's expiry counts from it.
    pub window: u64,
    /// Whether the account exists.
    pub exists: bool,
    /// The nonce its next executed transaction must have.
    pub nonce: u64,
    /// The nonce after everything of it that waits in this node's pool.
    pub pending_nonce: u64,
    /// What it holds, by asset.
    pub balances: Vec<Balance>,
}

/// One asset of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The asset; 0 is lck.
    pub asset: u32,
    /// How many units.
    #[serde(with = "text")]
    pub amount: u128,
}

/// How far a transaction has come in its sender's shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// This node has not seen it, or has forgotten it.
    Unknown,
    /// It waits in the pool or in a batch.
    Pending,
    /// A committed block executed it. For a transfer within the shard this is final.
    Executed(Executed),
}

/// A transaction that a committed block executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// The block's height.
    pub height: u64,
    /// The block's time.
    pub time_us: u64,
    /// The window it fell into; value for other shards settles at the barrier of that number.
    pub window: u64,
    /// True: its actions took effect. False: only the nonce advanced.
    pub applied: bool,
    /// Why it failed, as a stable word.
    pub failure: Option<String>,
    /// The shards its value went to, other than its own.
    pub destinations: Vec<u16>,
}

/// How far value from another shard has come at its destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Credit {
    /// Not credited so far, as far as this node knows.
    Unknown,
    /// A committed block credited it. This is final.
    Credited {
        /// The block's height.
        height: u64,
        /// The block's time.
        time_us: u64,
        /// Position among everything that shard ever sent to this one.
        sequence: u64,
    },
}

/// Something with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Height of the block whose effect is proven.
    pub height: u64,
    /// The SCALE bytes, in hexadecimal.
    pub bytes: String,
}

/// A certified barrier record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// Its hash.
    #[serde(with = "text")]
    pub hash: RecordHash,
    /// Time of the beacon block that holds it.
    pub time_us: u64,
    /// What it says about each shard, in order.
    pub shards: Vec<RecordedShard>,
    /// The SCALE bytes with the commit proof, in hexadecimal.
    pub bytes: String,
}

/// What a record says about a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "presence", rename_all = "snake_case")]
pub enum RecordedShard {
    /// Its checkpoint.
    Present {
        /// The window the checkpoint closes.
        window: u64,
        /// The seal's height.
        height: u64,
        /// The effects digest there.
        #[serde(with = "text")]
        digest: EffectsDigest,
        /// The state root there.
        #[serde(with = "text")]
        state_root: MerkleRoot,
        /// The conservation equation there, by asset.
        supply: Vec<AssetSupply>,
    },
    /// No new checkpoint came in time.
    Absent,
}

/// The conservation equation of one shard, as of an executed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSupply {
    /// The shard.
    pub shard: u16,
    /// The height this is as of.
    pub height: u64,
    /// The window that was open there.
    pub window: u64,
    /// One line per asset.
    pub assets: Vec<AssetSupply>,
}

/// balances + escrow = genesis + issued − burned + received − sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetSupply {
    /// The asset.
    pub asset: u32,
    /// Held by accounts.
    #[serde(with = "text")]
    pub balances: u128,
    /// Reserved for undecided atomic transactions.
    #[serde(with = "text")]
    pub escrow: u128,
    /// Held at the start.
    #[serde(with = "text")]
    pub genesis: u128,
    /// Created since.
    #[serde(with = "text")]
    pub issued: u128,
    /// Destroyed since.
    #[serde(with = "text")]
    pub burned: u128,
    /// Sent to other shards.
    #[serde(with = "text")]
    pub sent: u128,
    /// Received from other shards.
    #[serde(with = "text")]
    pub received: u128,
}

/// When each phase of a barrier ended, by this node's clock. A phase this replica does not take
/// part in, or has not seen, is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierPhases {
    /// The barrier.
    pub number: u64,
    /// The window's scheduled end.
    pub due_us: Option<u64>,
    /// The seal was committed here.
    pub sealed_us: Option<u64>,
    /// The seal was executed and the checkpoint signed here.
    pub signed_us: Option<u64>,
    /// At the beacon: the first checkpoint for this barrier was certified.
    pub first_us: Option<u64>,
    /// At the beacon: the last checkpoint was certified, or patience ended.
    pub collected_us: Option<u64>,
    /// At the beacon: the record was committed.
    pub ordered_us: Option<u64>,
    /// The record reached this replica.
    pub released_us: Option<u64>,
    /// The block that names the record was executed here.
    pub applied_us: Option<u64>,
    /// At d = 0, the first block of the next window was proposed or received here.
    pub resumed_us: Option<u64>,
    /// Shards the record declares absent.
    pub absent: Vec<u16>,
}

/// An executed block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSummary {
    /// The shard.
    pub shard: u16,
    /// The height.
    pub height: u64,
    /// The block's time.
    pub time_us: u64,
    /// The window it belongs to.
    pub window: u64,
    /// Whether it ends that window.
    pub seal: bool,
    /// The record it names.
    pub record: Option<u64>,
    /// Its transactions.
    pub transactions: Vec<BlockTransaction>,
    /// Value from other shards that it credited.
    pub credits: Vec<BlockCredit>,
    /// How many summaries were dropped before this one because the subscriber was too slow.
    #[serde(default)]
    pub lagged: u64,
}

/// A transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockTransaction {
    /// The transaction.
    #[serde(with = "text")]
    pub id: TransactionId,
    /// Whether its actions took effect.
    pub applied: bool,
}

/// A credit of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCredit {
    /// The shard the value comes from.
    pub source: u16,
    /// The transaction that sent it.
    #[serde(with = "text")]
    pub transaction: TransactionId,
}

/// A committee as it is written in JSON, file names and on the command line.
pub fn committee_name(committee: CommitteeId) -> String {
    match committee {
        CommitteeId::Beacon => "beacon".to_owned(),
        CommitteeId::Shard(shard) => format!("shard-{}", shard.get()),
    }
}

/// Reads what [`committee_name`] writes.
pub fn parse_committee(name: &str) -> Option<CommitteeId> {
    match name.strip_prefix("shard-") {
        Some(number) => number
            .parse()
            .ok()
            .map(|number| CommitteeId::Shard(ShardId::new(number))),
        None => (name == "beacon").then_some(CommitteeId::Beacon),
    }
}

/// Committees as text.
mod committee {
    use super::{CommitteeId, committee_name, parse_committee};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &CommitteeId, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&committee_name(*id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<CommitteeId, D::Error> {
        let text = String::deserialize(from)?;
        parse_committee(&text).ok_or_else(|| D::Error::custom("expected beacon or shard-N"))
    }
}

/// Values in the form they print.
pub mod text {
    use core::fmt::Display;
    use core::str::FromStr;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the value as it prints.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    /// Reads what was printed.
    ///
    /// # Errors
    /// When the text is not the form of a value.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// As [`text`], or null.
mod optional_text {
    use core::fmt::Display;
    use core::str::FromStr;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => out.collect_str(value),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(from)?
            .map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T>(value: T, json: &str)
    where
        T: Serialize + for<'de> Deserialize<'de> + PartialEq + core::fmt::Debug,
    {
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(serde_json::from_str::<T>(json).unwrap(), value);
    }

    #[test]
    fn answers_have_a_fixed_form() {
        both_ways(
            Submitted {
                id: Some(TransactionId::ZERO),
                admission: Admission::Accepted,
            },
            &format!(
                "{{\"id\":\"{}\",\"outcome\":\"accepted\"}}",
                "00".repeat(32)
            ),
        );
        both_ways(
            Submitted {
                id: None,
                admission: Admission::Rejected {
                    reason: "nonce".into(),
                    message: "m".into(),
                },
            },
            r#"{"id":null,"outcome":"rejected","reason":"nonce","message":"m"}"#,
        );
        both_ways(Stage::Pending, r#"{"stage":"pending"}"#);
        both_ways(
            Stage::Executed(Executed {
                height: 1,
                time_us: 2,
                window: 3,
                applied: false,
                failure: Some("balance".into()),
                destinations: vec![1],
            }),
            r#"{"stage":"executed","height":1,"time_us":2,"window":3,"applied":false,"failure":"balance","destinations":[1]}"#,
        );
        both_ways(
            Credit::Credited {
                height: 1,
                time_us: 2,
                sequence: 3,
            },
            r#"{"stage":"credited","height":1,"time_us":2,"sequence":3}"#,
        );
        both_ways(
            Balance {
                asset: 0,
                amount: u128::MAX,
            },
            r#"{"asset":0,"amount":"340282366920938463463374607431768211455"}"#,
        );
        both_ways(
            Seat {
                committee: CommitteeId::Shard(ShardId::new(3)),
                member: 1,
                members: 4,
                quorum: 3,
            },
            r#"{"committee":"shard-3","member":1,"members":4,"quorum":3}"#,
        );
        both_ways(RecordedShard::Absent, r#"{"presence":"absent"}"#);
    }

    #[test]
    fn committees_have_names() {
        for committee in [CommitteeId::Beacon, CommitteeId::Shard(ShardId::new(12))] {
            assert_eq!(parse_committee(&committee_name(committee)), Some(committee));
        }
        for wrong in ["", "shard", "shard-", "shard-70000", "shard--1"] {
            assert_eq!(parse_committee(wrong), None, "{wrong}");
        }
    }
}
