//! The simulator: whole networks of production replicas in virtual time, under faults drawn from a
//! seed, with checkers that look at every step. `SIMULATOR.md` says how to use it.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod byzantine;
pub mod checker;
mod clock;
pub mod committee;
mod copies;
pub mod crashed_member;
mod delivery;
mod disk;
mod event;
pub mod explorer;
mod faults;
mod forgery;
pub mod fuzz;
mod network;
mod node;
mod process;
mod random;
mod replay;
mod steady_load;
mod swarm;
pub mod trace;
pub mod twins;
mod wan;
mod workload;
mod world;

pub use checker::{Broken, Checkers};
pub use clock::Clock;
pub use disk::{Disk, Harm};
pub use faults::{Fault, FaultSet, Faults};
pub use network::{Cut, LONGEST_DELAY, Links, Network};
pub use random::Random;
pub use replay::{Said, Tape};
pub use steady_load::{Final, SteadyLoad};
pub use swarm::{Chains, Outcome, Run};
pub use wan::Wan;
pub use workload::Workload;
pub use world::{Chain, CrashPoints, World, WorldSpec};
