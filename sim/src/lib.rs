//! The simulator: whole networks of production replicas in virtual time.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checker;
mod disk;
mod network;
mod random;
mod world;

pub use checker::{Broken, Checkers};
pub use disk::Disk;
pub use network::{Links, Network};
pub use random::Random;
pub use world::{World, WorldSpec};
