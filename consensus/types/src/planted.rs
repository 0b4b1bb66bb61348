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
    // What is signed, and what must be on disk before it leaves.
    /// The record on disk lacks the newest vote.
    SkipVotePersist: "R9, R12" in "Safety::take_record",
    /// Votes and timeouts leave at once, before their record is synced.
    SendBeforeSync: "R9" in "Replica::finish",
    /// A vote of our own counts towards a certificate before it is on disk.
    CountBeforeSync: "R10" in "Replica::cast_vote",
    /// A vote does not put the block and its ancestors into the log.
    VoteWithoutBlock: "R27" in "Replica::cast_vote",
    /// A start goes on with the older record of the safety file.
    OlderSlot: "R12" in "safety_file::choose",
    /// What a record without its log end says leaves before the next record is on disk.
    TrustLostRecord: "R9" in "Replica::recall",
    /// The highest timeout certificate is forgotten at a restart.
    ForgetTcAtRestart: "R13" in "Safety::restarted",
    /// A member without its safety record starts as one that has never run, and no certificate with
    /// its name warns it.
    WipedNodeVotesAtOnce: "R35" in "Asking::new, Replica::knows_its_past",
    /// A start does not ask the others what they have seen of it, and no certificate with its name
    /// warns it.
    StartWithoutAsking: "R34" in "Asking::new, Replica::knows_its_past",
    /// After a restart a member proposes in views in which it may have proposed before.
    ProposeAgainAfterRestart: "R8" in "Safety::restarted",
    /// The last proposal of a view is voted for, not the first.
    VoteTwice: "R2, R16" in "Safety::may_vote, Replica::on_proposal",
    /// A replica votes in a view that it has given up.
    VoteAfterTimeout: "R2" in "Safety::may_vote",
    /// A timeout names the certificate that the last one named, not the highest.
    TimeoutBelowLock: "R5" in "Safety::time_out",
    /// Nobody looks at the certificate that a timeout names.
    TimeoutNamesAnyCertificate: "R6" in "Timeout::claims",
    /// A block need not reach what the signers of the timeout certificate knew.
    ExtendBelowTimeoutCertificate: "R3" in "Safety::may_vote, Proposal::check_entry",
    /// A timeout certificate may carry another certificate than the highest that was signed.
    TimeoutCertificateHidesHighest: "R7" in "TimeoutCertificate::claims",
    /// A signature does not say for which committee it is.
    NoCommitteeInSignedBytes: "signed bytes" in "Domain::statement",
    /// A signature does not say for which chain it is.
    NoChainInSignedBytes: "signed bytes" in "Domain::statement",

    // Certificates, commits, and getting on.
    /// 2f + 1 members make a quorum, whatever n is.
    TwoFPlusOne: "R15" in "Committee::quorum",
    /// As many signatures as a quorum has are enough, whoever made them.
    CountSignatures: "R15" in "check_signers",
    /// A block is committed by two certificates of views that do not follow each other.
    CommitWithoutConsecutiveViews: "R17" in "BlockTree::committed_by",
    /// The second certificate of a commit proof is not looked at.
    LoneCertificateAsCommitProof: "R17, B13" in "CommitProof::claims",
    /// Blocks that are committed together come in reverse order.
    ReverseAncestors: "R18" in "Replica::commit_by",
    /// Each committed block comes twice.
    RepeatCommit: "R18" in "Replica::commit_by",
    /// Blocks from a peer are taken whatever certificates they hang on.
    SyncWithoutCertificates: "R28" in "check_chain",
    /// Nothing is said twice: whoever has missed something stays where it is.
    NeverRepeat: "R22" in "Replica::settle",
    /// A block need not have the height, time and parent's view that follow from its parent's.
    BlocksNeedNotFit: "R23" in "BlockTree::insert",
    /// A voter does not wait for the time of the block.
    VoteAheadOfClock: "R25" in "Replica::judge",
    /// Votes of any view are kept, for ever.
    UnboundedVotes: "R32" in "Tally::add_vote, Replica::on_vote",

    // What a block may hold, and the barrier.
    /// The digest of executed effects in a header is not compared with ours.
    ExecutedUnchecked: "R24" in "ShardChain::check_executed",
    /// The same, in blocks without payload.
    EmptyBlockExecutedUnchecked: "R24" in "ShardChain::check",
    /// Payload stands between a seal and its record.
    PayloadAfterSeal: "B4" in "ShardChain::is_open",
    /// A checkpoint leaves before the log it vouches for is synced.
    CheckpointBeforeSync: "B7" in "ShardMember::send_checkpoint",
    /// A restart forgets the batches listed lately, which the next checkpoint names.
    PastForgottenAtRestart: "B7" in "Past::load",
    /// A checkpoint is said once.
    CheckpointSaidOnce: "B8" in "ShardMember::resend_checkpoints",
    /// Where the record after the next is known, it is applied.
    SkipRecord: "B10" in "ShardChain::next_record, applied, check_record; Window::applying",
    /// A record holds the first shard's checkpoint in the place of every shard's.
    CountShardTwice: "B11" in "BeaconChain::gather, BarrierRecord::claims",

    // Value.
    /// Entries are credited once a record with their root is known, before it is applied.
    CreditBeforeRecord: "B15" in "BundlePool::is_certified, owing; Ledger::apply_bundle",
    /// Neither chain nor ledger remember what was credited.
    CreditTwice: "B16" in "ShardChain::place_after, Ledger::apply_bundle",
    /// The chain forgets what was credited; the ledger does not.
    ChainForgetsWatermark: "B16" in "ShardChain::place_after",
    /// What was credited is not written to the store.
    WatermarkNotWritten: "B16" in "Ledger::apply_bundle",
    /// The effects of a block reach the store in two writes: debit and entry come apart. The host
    /// does the writing, so this one is in the simulator's.
    StateInTwoWrites: "one write" in "World::execute",
    /// A transfer to oneself is credited and not debited.
    SelfTransferDoubles: "conservation" in "Overlay::transfer",
    /// A transaction executes again after its nonce was used.
    StaleNonceExecutes: "nonces" in "Ledger::apply_transaction",
    /// A transaction that fails does not use its nonce up.
    NonceStaysAfterFailure: "nonces" in "Ledger::apply_transaction",
    /// The state root misses an account that has changed.
    TrieMissesAccount: "state root" in "Ledger::begin_seal",
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

/// A known bug that nothing here can have yet.
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
        name: "NoDirectorySync",
        reason: "the simulated store has no directories",
    },
    NotYet {
        name: "NoEpochInSignedBytes",
        reason: "there is one epoch only; no signature of another can be replayed",
    },
    NotYet {
        name: "StaleRoleRead",
        reason: "roles are not built",
    },
];
