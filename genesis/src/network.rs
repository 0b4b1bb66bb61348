//! Which kind of network a chain is: it decides the prefix of addresses, and whether keys that
//! anyone can compute are allowed.

use core::fmt;
use core::str::FromStr;

/// Main, test or development network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// Value is real. Addresses start with `lock1`.
    Main,
    /// Operated like a main network, value is not real. Addresses start with `tlock1`.
    Test,
    /// On one machine, with keys anyone can compute. Addresses start with `dlock1`.
    Development,
}

impl Network {
    /// All of them.
    pub const ALL: [Network; 3] = [Network::Main, Network::Test, Network::Development];

    /// What addresses start with, before the separator `1`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Network::Main => "lock",
            Network::Test => "tlock",
            Network::Development => "dlock",
        }
    }

    /// The network of an address prefix.
    pub fn from_prefix(prefix: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|network| network.prefix() == prefix)
    }

    /// The word in files and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Network::Main => "main",
            Network::Test => "test",
            Network::Development => "development",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|network| network.word() == text)
            .ok_or("expected main, test or development")
    }
}
