//! What is wrong with a genesis file, and where. All problems of a file are collected and shown
//! together, each with file, line and column, the line itself, and what to do about it.

use core::fmt;
use core::ops::Range;

use lockstep_types::KeyError;

use crate::{AddressError, AmountError};

/// One kind of problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML or not JSON.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key nobody reads.
    #[error("unknown key")]
    UnknownKey {
        /// A known key with a similar name.
        similar: Option<&'static str>,
    },
    /// A key that must be there.
    #[error("missing")]
    Missing,
    /// A value of another kind.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What was expected.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A number outside its range.
    #[error("{value} is outside the allowed range {low} to {high}")]
    OutOfRange {
        /// What stands there.
        value: String,
        /// The smallest value.
        low: String,
        /// The largest value.
        high: String,
    },
    /// A number above another one it may not exceed.
    #[error("{value} is more than {other}, which is {other_value}")]
    Exceeds {
        /// What stands there.
        value: String,
        /// The number it is compared with.
        other: &'static str,
        /// That number.
        other_value: String,
    },
    /// A name with characters that do not belong into file names and chain names.
    #[error("{name:?} is not a name: 1 to {max} lower-case letters, digits and '-'")]
    BadName {
        /// The name.
        name: String,
        /// The longest name.
        max: usize,
    },
    /// A word that is not one of the known ones.
    #[error("{0}")]
    BadWord(&'static str),
    /// Not a validator key.
    #[error("{0}")]
    BadKey(KeyError),
    /// Not an ed25519 public key in hexadecimal.
    #[error("not a network key: expected 64 hexadecimal digits of an ed25519 public key")]
    BadNetworkKey,
    /// Not an address.
    #[error("{0}")]
    BadAddress(AddressError),
    /// Not an amount.
    #[error("{0}")]
    BadAmount(AmountError),
    /// A committee that could not survive a single fault.
    #[error("a committee needs at least {needed} members to survive one faulty one, not {members}")]
    CommitteeTooSmall {
        /// How many there are.
        members: usize,
        /// How many there must be.
        needed: usize,
    },
    /// More of something than a chain can have.
    #[error("{got} {what} where at most {limit} are possible")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there may be.
        limit: usize,
    },
    /// No shard at all.
    #[error("a chain needs at least one shard")]
    NoShards,
    /// Something that may occur only once.
    #[error("stands at {first} already")]
    Duplicate {
        /// The first place.
        first: String,
    },
    /// The same key for a validator and for an account.
    #[error("this account belongs to the validator key at {validator}")]
    KeyForTwoPurposes {
        /// The validator.
        validator: String,
    },
    /// More value than sums can hold.
    #[error("the supply of asset {asset} exceeds 2^96 units")]
    SupplyTooLarge {
        /// The asset.
        asset: u32,
    },
    /// An account with less than every account must hold.
    #[error(
        "the account holds {held} units of the native asset, less than limits.minimum_balance, {minimum}"
    )]
    BelowMinimum {
        /// What it holds.
        held: u128,
        /// What it must hold.
        minimum: u128,
    },
    /// A key that anyone can compute, on a network that is not for development.
    #[error("this is a development key: anyone can compute it")]
    DevelopmentKey,
    /// A setting that only development networks have.
    #[error("only for measurements on a development or test network")]
    MeasurementOnly,
    /// A file of another format.
    #[error("genesis format {got}, and this version reads format {expected}")]
    WrongFormat {
        /// The file's format.
        got: u32,
        /// Ours.
        expected: u32,
    },
    /// JSON that is not byte for byte the canonical form.
    #[error("not the canonical form: line {line} should read {expected:?}")]
    NotCanonical {
        /// The first line that differs.
        line: usize,
        /// What should stand there.
        expected: String,
    },
}

impl Fault {
    /// A stable name for this kind of problem.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Syntax { .. } => "LS-GEN-001",
            Fault::UnknownKey { .. } => "LS-GEN-002",
            Fault::Missing => "LS-GEN-003",
            Fault::WrongType { .. } => "LS-GEN-004",
            Fault::OutOfRange { .. } => "LS-GEN-005",
            Fault::Exceeds { .. } => "LS-GEN-006",
            Fault::BadName { .. } => "LS-GEN-007",
            Fault::BadWord(_) => "LS-GEN-008",
            Fault::BadKey(_) => "LS-GEN-009",
            Fault::BadNetworkKey => "LS-GEN-010",
            Fault::BadAddress(error) => error.code(),
            Fault::BadAmount(error) => error.code(),
            Fault::CommitteeTooSmall { .. } => "LS-GEN-011",
            Fault::TooMany { .. } => "LS-GEN-012",
            Fault::NoShards => "LS-GEN-013",
            Fault::Duplicate { .. } => "LS-GEN-014",
            Fault::KeyForTwoPurposes { .. } => "LS-GEN-015",
            Fault::SupplyTooLarge { .. } => "LS-GEN-016",
            Fault::BelowMinimum { .. } => "LS-GEN-017",
            Fault::DevelopmentKey => "LS-GEN-018",
            Fault::MeasurementOnly => "LS-GEN-019",
            Fault::WrongFormat { .. } => "LS-GEN-020",
            Fault::NotCanonical { .. } => "LS-GEN-021",
        }
    }

    /// What to do about it, where that is not obvious.
    pub fn help(&self) -> Option<String> {
        match self {
            Fault::UnknownKey {
                similar: Some(similar),
            } => Some(format!("did you mean {similar}?")),
            Fault::BadAmount(error) => Some(error.help()),
            Fault::DevelopmentKey => Some(
                "an account's is made by lockstep key new NAME; for validators there is no command yet"
                    .to_owned(),
            ),
            Fault::KeyForTwoPurposes { .. } => {
                Some("validators and accounts have keys of their own".to_owned())
            }
            Fault::NotCanonical { .. } => {
                Some("the file was edited; edit the TOML and export again".to_owned())
            }
            _ => None,
        }
    }
}

/// Where in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters the value has on that line, at least 1.
    pub width: usize,
    /// The line.
    pub text: String,
}

impl At {
    pub(crate) fn find(text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let end = floor(text, span.end).clamp(start, line_start + line.len());
        At {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].chars().count().max(1),
            text: line.to_owned(),
        }
    }
}

fn floor(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index)
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0)
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which value: `shard[1].validator[2].key`.
    pub place: String,
    /// Where it stands, when it was read from a file.
    pub at: Option<At>,
    /// What is wrong.
    pub fault: Fault,
}

/// Everything that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name.
    pub file: String,
    /// The problems, in the order of the file. Never empty.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write!(f, "error[{}]: ", problem.fault.code())?;
            if !problem.place.is_empty() {
                write!(f, "{}: ", problem.place)?;
            }
            writeln!(f, "{}", problem.fault)?;
            if let Some(at) = &problem.at {
                let margin = " ".repeat(at.line.to_string().len());
                writeln!(f, "{margin}--> {}:{}:{}", self.file, at.line, at.column)?;
                writeln!(f, "{margin} |")?;
                writeln!(f, "{} | {}", at.line, at.text)?;
                let indent = " ".repeat(at.column - 1);
                writeln!(f, "{margin} | {indent}{}", "^".repeat(at.width))?;
            }
            if let Some(help) = problem.fault.help() {
                writeln!(f, "  help: {help}")?;
            }
        }
        let many = if self.list.len() == 1 {
            "problem"
        } else {
            "problems"
        };
        write!(f, "{}: {} {many}", self.file, self.list.len())
    }
}

impl std::error::Error for Problems {}

/// Problems on their way: by place, located when the file has been read.
#[derive(Default)]
pub(crate) struct Found(pub(crate) Vec<(String, Fault)>);

impl Found {
    pub(crate) fn add(&mut self, place: impl Into<String>, fault: Fault) {
        self.0.push((place.into(), fault));
    }

    /// Ends the search: nothing was found, or this is the list.
    pub(crate) fn into_result(
        self,
        file: &str,
        locate: impl Fn(&str) -> Option<At>,
    ) -> Result<(), Problems> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut list: Vec<Problem> = self
            .0
            .into_iter()
            .map(|(place, fault)| Problem {
                at: locate(&place),
                place,
                fault,
            })
            .collect();
        list.sort_by_key(|problem| problem.at.as_ref().map(|at| (at.line, at.column)));
        Err(Problems {
            file: file.to_owned(),
            list,
        })
    }
}
