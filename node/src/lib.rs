//! A validator of Lockstep: sockets, disk, threads and commands around the pure crates.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod exit;
pub mod home;
pub mod network;
pub mod verify;
