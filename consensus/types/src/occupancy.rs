//! How full something bounded is. Whatever grows with what others say has a named limit; its owner
//! tells both, so that a checker, a metric and a test ask the very thing that is filled.
//!
//! Breaks if: an owner tells the limit of something and does not keep it.

use core::fmt;

/// How much of something is held, and the most there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// What is held: a plural that names it.
    pub of: &'static str,
    /// How many there are.
    pub held: usize,
    /// How many there may be.
    pub limit: usize,
}

impl Occupancy {
    /// Is the limit kept?
    pub fn is_within(&self) -> bool {
        self.held <= self.limit
    }
}

impl fmt::Display for Occupancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Occupancy { of, held, limit } = self;
        write!(f, "{held} of {limit} {of}")
    }
}

/// Told how full each bounded thing is, one after the other.
pub trait Gauge {
    /// So many of `limit` are held.
    fn note(&mut self, of: &'static str, held: usize, limit: usize);
}

impl Gauge for Vec<Occupancy> {
    fn note(&mut self, of: &'static str, held: usize, limit: usize) {
        self.push(Occupancy { of, held, limit });
    }
}
