//! The agreed starting point of a chain: which committees run it, who holds what, and the limits
//! everybody applies.
//!
//! A person writes a genesis as TOML ([`Genesis::from_toml`]); everything wrong with it is
//! reported in one run, with file and line. Machines exchange its one canonical JSON form
//! ([`Genesis::to_json`]); the chain's identity, part of every signature, is the hash of those
//! bytes. A [`Genesis`] value exists only after every check has passed, so no other crate checks
//! again.
//!
//! Addresses, amounts and durations as people write them live here as well, because the genesis
//! file is the first place where they are read.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod amount;
mod check;
mod development;
mod draft;
mod duration;
mod genesis;
mod json;
mod limits;
mod network;
mod preset;
mod problem;
mod reader;
mod toml_form;

pub use address::{Address, AddressError};
pub use amount::{Amount, AmountError, UNITS_PER_LCK};
pub use check::{
    MAX_ACCOUNTS, MAX_INTERVAL, MAX_SHARDS, MAX_SUPPLY, MIN_INTERVAL, MIN_MEMBERS, MIN_PATIENCE,
};
pub use development::{
    AccountKey, DEFAULT_DEVELOPMENT_SEED, DevelopmentKeys, DevelopmentSpec, PERSONAS,
    ValidatorKeys, development_account, development_validator, network_public_key,
};
pub use duration::{DurationError, format_duration, parse_duration};
pub use genesis::{Allocation, CommitteeSpec, Content, Genesis, GenesisSpec, ValidatorSpec};
pub use limits::Limits;
pub use network::Network;
pub use preset::{PRESETS, Preset};
pub use problem::{At, Fault, Problem, Problems};
