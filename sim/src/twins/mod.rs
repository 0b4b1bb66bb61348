//! Twins (Bano et al., arXiv 2004.10617): a Byzantine member is two replicas of honest code with
//! one key, and the network decides which of them meets whom. A [`Schedule`] names for each round
//! who leads the view of that number and which seats hear each other; an [`Enumeration`] counts all
//! schedules of some length up to symmetry and names each by a number; a [`Plan`] mixes them with
//! sampled longer ones and larger committees; a [`TwinsWorld`] runs one. `SIMULATOR.md` says how to
//! use it.

mod enumeration;
mod partition;
mod plan;
mod progress;
mod regression;
mod schedule;
mod world;

pub use enumeration::Enumeration;
pub use partition::Partition;
pub use plan::Plan;
pub use progress::Progress;
pub use regression::{Regression, regressions};
pub use schedule::{MalformedSchedule, Round, Schedule, Shape, Votes};
pub use world::{MAX_HEALING_ROUNDS, Outcome, TwinsWorld};
