//! The kinds of faults, each with its name and how often it is on.

use core::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $name:literal $per_mille:literal;)*) => {
        /// A kind of fault, which is on or off for a whole run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them, in the order in which they are drawn.
            pub const ALL: &'static [Fault] = &[$(Fault::$fault,)*];

            /// Its name in reports and flags.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)*
                }
            }

            /// Of how many runs in a thousand it is a part.
            pub(super) fn per_mille(self) -> u64 {
                match self {
                    $(Fault::$fault => $per_mille,)*
                }
            }
        }
    };
}

faults! {
    /// Messages take their own time and overtake each other.
    Delay "delay" 500;
    /// Some take ten times as long.
    Stragglers "stragglers" 250;
    /// Some take up to ten seconds.
    Tail "tail" 120;
    /// Some are lost.
    Loss "loss" 350;
    /// Some come twice.
    Duplicates "duplicates" 250;
    /// Some links are slower than others.
    SlowLinks "slow-links" 150;
    /// Members, leaders, committees are cut off, or see their neighbours only.
    Partitions "partitions" 350;
    /// Single links are cut in one direction.
    OneWay "one-way" 150;
    /// Connections break, with what is on its way in them.
    Resets "resets" 200;
    /// Messages are said again, later or to others.
    Replay "replay" 200;
    /// Messages of another chain with the same validators are said here.
    OtherChain "other-chain" 100;
    /// Processes are killed, one at a time.
    Crashes "crashes" 350;
    /// Processes die in the middle of steps.
    CrashPoints "crash-points" 350;
    /// A process dies again and again soon after its start.
    CrashLoops "crash-loops" 150;
    /// All processes are killed within an instant or one after the other.
    Blackouts "blackouts" 200;
    /// Processes stand still.
    Pauses "pauses" 250;
    /// Syncs take long.
    SlowSync "slow-sync" 250;
    /// Disks have no space for a while.
    FullDisks "full-disks" 150;
    /// Syncs fail.
    FailedSyncs "failed-syncs" 150;
    /// Clocks are wrong by less than a second, and jump.
    Skew "skew" 250;
    /// Clocks run up to a tenth too fast or too slow.
    Drift "drift" 150;
    /// A member's clock is wrong by up to an hour, or stands still.
    BadClocks "bad-clocks" 200;
    /// A member's files have values that cannot be read.
    BitFlips "bit-flips" 200;
    /// A member's store loses what was synced last.
    LostTails "lost-tails" 150;
    /// A member's files are put back from an old copy.
    OldCopies "old-copies" 150;
    /// A member's files are gone.
    Wipes "wipes" 150;
    /// Members lie.
    Liars "liars" 900;
}

impl Fault {
    /// The fault with a name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL
            .iter()
            .copied()
            .find(|fault| fault.name() == name)
    }

    /// Does it make its member one of the f that a committee may have?
    pub(super) fn takes_a_member(self) -> bool {
        Fault::MEMBERS.contains(&self)
    }

    /// Those that do, but for liars.
    pub(super) const MEMBERS: [Fault; 5] = [
        Fault::BadClocks,
        Fault::BitFlips,
        Fault::LostTails,
        Fault::OldCopies,
        Fault::Wipes,
    ];

    /// Does it happen now and then, and not all the time?
    pub(super) fn strikes(self) -> bool {
        use Fault::*;
        matches!(
            self,
            Partitions
                | OneWay
                | Resets
                | Replay
                | OtherChain
                | Crashes
                | CrashLoops
                | Blackouts
                | Pauses
                | FullDisks
                | FailedSyncs
                | Skew
                | Drift
        ) || self.takes_a_member()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some kinds of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    /// None.
    pub const NONE: FaultSet = FaultSet(0);

    /// All there are.
    pub fn all() -> Self {
        Fault::ALL.iter().copied().collect()
    }

    /// Is this one among them?
    pub fn contains(self, fault: Fault) -> bool {
        self.0 & Self::bit(fault) != 0
    }

    /// One more.
    pub fn insert(&mut self, fault: Fault) {
        self.0 |= Self::bit(fault);
    }

    /// Those of this set that are not in another.
    #[must_use]
    pub fn without(self, others: FaultSet) -> Self {
        FaultSet(self.0 & !others.0)
    }

    /// Those of both sets.
    #[must_use]
    pub fn with(self, others: FaultSet) -> Self {
        FaultSet(self.0 | others.0)
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        let all = Fault::ALL.iter().copied();
        all.filter(move |fault| self.contains(*fault))
    }

    fn bit(fault: Fault) -> u64 {
        1 << (fault as u32)
    }
}

impl FromIterator<Fault> for FaultSet {
    fn from_iter<T: IntoIterator<Item = Fault>>(faults: T) -> Self {
        let mut set = FaultSet::NONE;
        for fault in faults {
            set.insert(fault);
        }
        set
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.iter().enumerate() {
            write!(f, "{}{fault}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_a_place_in_a_set() {
        assert!(Fault::ALL.len() <= 64);
        for fault in Fault::ALL.iter().copied() {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            let but = FaultSet::all().without([fault].into_iter().collect());
            assert!(!but.contains(fault));
            assert_eq!(but.iter().count(), Fault::ALL.len() - 1);
        }
        let two: FaultSet = [Fault::Wipes, Fault::Loss].into_iter().collect();
        assert_eq!(two.to_string(), "loss,wipes");
    }
}
