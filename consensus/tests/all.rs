//! Replicas talking to each other in a world of their own.
#![allow(clippy::unwrap_used)]

mod common;
mod explore;
mod long_path;
mod paper;
mod scripts;
mod wire;
