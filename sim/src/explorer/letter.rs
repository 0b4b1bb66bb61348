//! What can happen to one member in one step.

use core::fmt;

use lockstep_types::{MemberIndex, View};

use super::statement::{BlockNumber, Ended};

/// One thing that arrives at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Letter {
    /// Its timer fires.
    Expires,
    /// The liar's proposal of a block.
    Proposal {
        block: BlockNumber,
        entered_by: Option<Ended>,
    },
    /// A quorum certificate.
    Certificate { block: BlockNumber },
    /// A timeout certificate.
    Ended(Ended),
    /// A vote.
    Vote {
        author: MemberIndex,
        block: BlockNumber,
    },
    /// A timeout.
    Timeout {
        author: MemberIndex,
        view: View,
        high: BlockNumber,
        entered_by: Option<Ended>,
    },
}

impl Letter {
    /// Whose statement it is, if it is a single one.
    pub(super) fn author(&self) -> Option<MemberIndex> {
        match self {
            Letter::Vote { author, .. } | Letter::Timeout { author, .. } => Some(*author),
            _ => None,
        }
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |entered_by: &Option<Ended>| {
            entered_by.map_or(String::new(), |tc| {
                format!(" after tc {} (hq block {})", tc.view, tc.high)
            })
        };
        match self {
            Letter::Expires => f.write_str("timer fires"),
            Letter::Proposal { block, entered_by } => {
                write!(f, "<- proposal of block {block}{}", after(entered_by))
            }
            Letter::Certificate { block } => write!(f, "<- certificate of block {block}"),
            Letter::Ended(tc) => write!(f, "<- tc {} (hq block {})", tc.view, tc.high),
            Letter::Vote { author, block } => write!(f, "<- vote of {author} for block {block}"),
            Letter::Timeout {
                author,
                view,
                high,
                entered_by,
            } => {
                let after = after(entered_by);
                write!(
                    f,
                    "<- timeout of {author} for {view} (hq block {high}){after}"
                )
            }
        }
    }
}
