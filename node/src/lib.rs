//! A validator of Lockstep: sockets, disk, threads and commands around the pure crates.
//!
//! [`validator::Validator`] is one running validator, [`cluster::Cluster`] a whole development
//! network on this machine; the binary is [`cli::main`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod barriers;
pub mod cli;
mod clock;
pub mod cluster;
mod conduct;
pub mod config;
mod disk;
mod evidence;
mod execution;
pub mod exit;
mod held;
pub mod home;
pub mod host;
mod identity;
mod inbox;
pub mod metrics;
pub mod network;
mod pending;
pub mod ports;
pub mod process;
mod replica;
mod routes;
pub mod rpc;
mod safety_file;
mod shared;
mod space;
mod storage;
pub mod tap;
pub mod telemetry;
pub mod validator;
pub mod verify;
mod watched_store;

// The gate that plants bugs builds the simulator alone.
const _: () = assert!(
    !lockstep_types::planted::CAN_BE_PLANTED,
    "a validator has no bugs planted on purpose: build it without the feature mutants"
);
