//! A committee in virtual time: an application that orders numbers, disks that lose what was not
//! synced, and a network whose messages a test can drop.

mod application;
mod byzantine;
mod chaos;
mod disk;
mod world;

pub(crate) use application::Numbers;
pub(crate) use application::{POISON, WITHHELD};
pub(crate) use chaos::{Chaos, Random};
pub(crate) use world::{Sent, World, member};
