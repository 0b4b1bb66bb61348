//! One program for all tests of the crate.

#![allow(clippy::unwrap_used)]

mod common;

mod barrier;
mod batch;
mod bundles;
mod far_behind;
mod member;
mod observer;
mod state_sync;
mod statements;
