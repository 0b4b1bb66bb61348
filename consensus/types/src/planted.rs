//! Bugs that can be planted on purpose, to show that the simulator and its checkers would see them:
//! one line for each, with the rule it breaks. `make mutants` plants one after the other and fails
//! when nobody notices (`sim/SIMULATOR.md`).
//!
//! A place where a bug can be planted asks [`planted`], which is the constant `false` unless this
//! crate is built with its feature `mutants`: no validator contains a switch. Nothing but the gate
//! in `sim` has that feature, and `node` does not compile with it.
//!
//! Breaks if: a bug is planted beside the check that it is about, so that the check goes on working,
//! or a place changes what happens when nothing is planted.

/// Is this bug planted? Names it without its type, and needs no import.
#[macro_export]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::planted($crate::planted::Bug::$bug)
    };
}

/// Writes the list once and makes the type and the table of it.
macro_rules! bugs {
    ($($(#[doc = $what:literal])+ $bug:ident: $rule:literal in $place:literal,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $what])+ $bug,)+
        }

        /// All of them, in the order of the list.
        #[cfg(feature = "mutants")]
        pub const BUGS: &[Entry] = &[
            $(Entry {
                bug: Bug::$bug,
                name: stringify!($bug),
                rule: $rule,
                what: concat!($($what),+),
                place: $place,
            },)+
        ];
    };
}

bugs! {
    /// The record on disk lacks the newest vote.
    SkipVotePersist: "R9, R12" in "Safety::take_record",
    /// Votes and timeouts leave at once, before their record is synced.
    SendBeforeSync: "R9" in "Replica::finish",
    /// The highest timeout certificate is forgotten at a restart.
    ForgetTcAtRestart: "R13" in "Safety::restarted",
    /// A replica votes in a view that it has given up.
    VoteAfterTimeout: "R2" in "Safety::may_vote",
    /// A block is committed by two certificates of views that do not follow each other.
    CommitWithoutConsecutiveViews: "R17" in "BlockTree::committed_by",
    /// The second certificate of a commit proof is not looked at.
    LoneCertificateAsCommitProof: "R17, B13" in "CommitProof::claims",
    /// A block need not reach what the signers of the timeout certificate knew.
    ExtendBelowTimeoutCertificate: "R3" in "Safety::may_vote, Proposal::check_entry",
}

#[cfg(not(feature = "mutants"))]
mod none {
    use super::Bug;

    /// Can bugs be planted in this build?
    pub const CAN_BE_PLANTED: bool = false;

    /// Is this bug planted? Never, in a build without the feature.
    #[inline(always)]
    pub const fn planted(_: Bug) -> bool {
        false
    }
}

#[cfg(not(feature = "mutants"))]
pub use none::{CAN_BE_PLANTED, planted};

#[cfg(feature = "mutants")]
mod gate {
    use core::cell::Cell;

    use super::Bug;

    /// Can bugs be planted in this build?
    pub const CAN_BE_PLANTED: bool = true;

    /// One line of the list.
    #[derive(Clone, Copy, Debug)]
    pub struct Entry {
        /// The bug.
        pub bug: Bug,
        /// Its name.
        pub name: &'static str,
        /// The rules it breaks: R in PROTOCOL.md, B in BARRIER.md.
        pub rule: &'static str,
        /// What goes wrong.
        pub what: &'static str,
        /// Where it is planted.
        pub place: &'static str,
    }

    // A world lives in one thread, so two of them may have different bugs.
    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        static REACHED: Cell<u64> = const { Cell::new(0) };
    }

    /// Plants a bug, or none, in everything that this thread runs from now on.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
        REACHED.set(0);
    }

    /// How often this thread has come by a place where the planted bug makes a difference.
    pub fn reached() -> u64 {
        REACHED.get()
    }

    /// Is this bug planted?
    pub fn planted(bug: Bug) -> bool {
        let here = PLANTED.get() == Some(bug);
        if here {
            REACHED.set(REACHED.get() + 1);
        }
        here
    }
}

#[cfg(feature = "mutants")]
pub use gate::{CAN_BE_PLANTED, Entry, plant, planted, reached};

/// A bug of the list in TRUST that nothing here can have yet.
#[derive(Clone, Copy, Debug)]
pub struct NotYet {
    /// Its name.
    pub name: &'static str,
    /// What must be built first, or why it cannot be had.
    pub reason: &'static str,
}

/// Bugs that would be on the list if what they break were built.
pub const NOT_YET: &[NotYet] = &[
    NotYet {
        name: "NoEpochInSignedBytes",
        reason: "there is one epoch only; no signature of another can be replayed",
    },
    NotYet {
        name: "StaleRoleRead",
        reason: "roles are not built",
    },
];
