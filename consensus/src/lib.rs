//! Two-chain HotStuff (the rules of DiemBFT v4 and Jolteon) as a pure state machine.
//!
//! [`Replica::step`] takes the time and one [`Input`] and returns a [`Ready`]: what to write, what
//! to send, what was decided. There is no I/O, no clock, no thread and no randomness in here, so a
//! validator, a test and a simulated world run the same code. Votes and timeouts come out of a
//! [`Ready`] only in exchange for the token that storage returns after a sync.
//!
//! The rules are numbered in `PROTOCOL.md`, with the function that is each rule and the test that
//! fails without it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ancestry;
mod application;
mod arrival;
mod block_tree;
mod error;
mod evidence;
mod fetch;
mod fingerprint;
pub mod generate;
mod input;
mod leader;
mod marks;
mod message;
mod own_name;
mod pacemaker;
mod progress;
mod ready;
mod record;
mod replica;
mod safety;
pub mod safety_file;
mod skip_table;
mod tally;
mod testimony;
mod voting;

pub use ancestry::Ancestry;
pub use application::{Application, Check, Content, Turn};
pub use arrival::Arrival;
pub use block_tree::{
    MAX_EXECUTION_LAG, MAX_FILLED_PATH, MAX_PATH_BLOCKS, MAX_TREE_BLOCKS, MAX_UNDECIDED,
    PATH_DOUBLING, RETAINED_BLOCKS,
};
pub use error::{Fatal, Refusal};
pub use evidence::Evidence;
pub use fetch::MAX_SERVED_PER_INTERVAL;
pub use input::Input;
pub use leader::LeaderRule;
pub use marks::{Fallen, Marks};
pub use message::{
    Certificates, Horizon, MAX_ANSWER_BYTES, MAX_BLOCKS_PER_ANSWER, MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES, Message, Proposal,
};
pub use pacemaker::TimerConfig;
pub use ready::{CommittedBlock, Held, LogRequest, Outbound, Parts, Ready, To};
pub use record::{LogEnd, SafetyRecord};
pub use replica::{Config, MAX_UNSYNCED, Recovered, Replica, root_link};
pub use skip_table::{FIRST_SKIPPED_TURNS, MAX_SKIPPED_TURNS, SkipTable};
pub use tally::{MAX_VIEWS_AHEAD, MAX_VOTES_PER_AUTHOR};
pub use testimony::{Challenge, Testimony};
pub use voting::{MAX_CLOCK_LEAD, MAX_PROPOSAL_VIEWS};
