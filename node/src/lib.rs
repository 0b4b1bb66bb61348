//! A validator of Lockstep: sockets, disk, threads and commands around the pure crates.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod network;
