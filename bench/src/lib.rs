//! The harness: how much throughput do periodic barriers take away, how does that depend on the
//! number of shards and the interval, and where is the ceiling?
//!
//! A [`scenario`] spans a grid; each run starts a network of real processes, drives it with an
//! open-loop load, and becomes a [`run`] with its own audit and validity flags;
//! the [`model`] is fitted to the valid ones. METHOD.md says what is measured and what is not
//! claimed.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
pub mod audit;
pub mod book;
pub mod cluster;
pub mod compare;
pub mod crashed;
pub mod deck;
pub mod experiment;
pub mod latency;
pub mod load;
pub mod manifest;
pub mod model;
pub mod plot;
pub mod processes;
pub mod progress;
pub mod random;
pub mod report;
pub mod run;
pub mod saturate;
pub mod scenario;
pub mod statistics;
pub mod timeline;
pub mod workload;
