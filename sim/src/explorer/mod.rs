//! An exhaustive check of small committees: four members, one of them Byzantine. From a state every
//! delivery that is possible in it is tried, at every correct member; the states reached are kept
//! once each, and what must hold is asked of every one. What runs is the production replica.
//!
//! - The network keeps what it likes: whatever was said may arrive at anybody, at any later time,
//!   or never. So nothing is ever lost for good, and a state need not remember what is on its way.
//! - Timers fire at any time, in any order.
//! - The liar leads every view. It may propose every block in every lawful form, sign every vote and
//!   timeout, and show every certificate that the statements said so far make, each to whom it
//!   likes. It answers requests for blocks at once, in whoever's name they were sent.
//!
//! A state is the three correct members, each with everything it has ever said. Replicas are
//! merged by [`Replica::fingerprint`](lockstep_consensus::Replica::fingerprint), which leaves out
//! what decides nothing here: clocks (timers fire at any time), who signed a certificate (only whom
//! to ask for a block, and everybody answers alike), and positions in the log. Everything else is
//! compared exactly. So two merged states have the same successors, and a search that visits each
//! once visits all. Correct members never lead here, so where no single statement with its author
//! arrives they are interchangeable, and a state counts once in whatever order they stand.
//!
//! Left out as it can change nothing: proposals for views that a member has left (their blocks come
//! with whatever needs them), and certificates and statements for views below.

mod adversary;
mod letter;
mod member;
mod search;
mod statement;

pub use search::{Found, Limits, Report, explore};
