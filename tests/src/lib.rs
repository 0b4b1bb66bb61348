//! Tests of the whole: what the crates may import, and the real binaries as separate processes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
mod tidy;
