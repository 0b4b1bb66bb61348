//! Who is passed over as a leader, decided by a chain of headers and nothing else.
//!
//! A view that a chain skips is a turn in which its leader failed. That member is passed over for
//! its next few turns, for a thousand when it fails again, until a block of its own is certified.
//! Every replica that holds a block computes the same table for it, since a table follows from the
//! parent's and the two views in the header. It costs two failed views and then one per thousand
//! turns, where taking turns costs one in every n.
//!
//! Breaks if: anything but the headers of the chain goes in, or a table names more than f members:
//! then those who are left need not contain a correct one.

use lockstep_types::{Committee, Header, MemberIndex, View};
use parity_scale_codec::{Decode, Encode};

/// For how many turns a member is passed over the first time. Few, because one lost message is
/// forgiven soon, and because who is gone is asked the second time while everybody notices anyway:
/// 32 views of a committee of four, less than ten seconds even between continents.
pub const FIRST_SKIPPED_TURNS: u16 = 8;

/// For how many turns from the second failure on. A failed view keeps everybody waiting for as long
/// as some 30 to 7 views take (near, far). Of those who wait a hundredth is the most that a 99th
/// percentile does not show, so one view in 3,000 may fail: 750 turns of a committee of four. A
/// member that comes back leads again after 4,096 views at most, some minutes, and loses nothing
/// meanwhile, since others order its batches.
pub const MAX_SKIPPED_TURNS: u16 = 1_024;

/// One member that failed and has not led a certified block since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Failure {
    pub(crate) member: MemberIndex,
    /// The view that failed under it last.
    pub(crate) failed: View,
    /// For how many of its turns from then on it is passed over.
    pub(crate) turns: u16,
}

/// The table that holds on top of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SkipTable {
    /// The latest failure last; one entry per member, at most f.
    pub(crate) failures: Vec<Failure>,
}

impl SkipTable {
    /// The leader of `view` when the certificate of the view before let it be entered: the first
    /// member from v mod n on that is not passed over. (A view entered by a timeout certificate
    /// belongs to member v mod n: those who gave up need not know the same chain.)
    pub fn leader(&self, committee: &Committee, view: View) -> MemberIndex {
        (0..committee.size() as u64)
            .map(|step| committee.by_turn(view.plus(step).get()))
            .find(|member| !self.skips(committee, *member, view))
            .expect("at most f of the members are passed over")
    }

    /// Has this member failed since it last led a certified block?
    pub(crate) fn has_failed(&self, member: MemberIndex) -> bool {
        self.failures.iter().any(|f| f.member == member)
    }

    fn skips(&self, committee: &Committee, member: MemberIndex, view: View) -> bool {
        let failure = self.failures.iter().find(|f| f.member == member);
        failure.is_some_and(|failure| {
            let views = u64::from(failure.turns).saturating_mul(committee.size() as u64);
            view <= failure.failed.plus(views)
        })
    }

    /// The table on top of the block with this header, whose parent has this table.
    #[must_use]
    pub fn after(&self, committee: &Committee, header: &Header) -> SkipTable {
        let mut table = self.clone();
        let gap = header.view.since(header.parent_view).saturating_sub(1);
        // Of a gap in which everybody failed the last turn of each counts.
        let looked_at = gap.min(committee.size() as u64);
        for back in (1..=looked_at).rev() {
            let failed = View::new(header.view.get() - back);
            let leader = if failed.follows(header.parent_view) {
                self.leader(committee, failed)
            } else {
                committee.by_turn(failed.get())
            };
            table.fail(committee, leader, failed);
        }
        table.failures.retain(|f| f.member != header.proposer);
        table
    }

    fn fail(&mut self, committee: &Committee, member: MemberIndex, failed: View) {
        let earlier = self.failures.iter().find(|f| f.member == member);
        let turns = earlier.map_or(FIRST_SKIPPED_TURNS, |_| MAX_SKIPPED_TURNS);
        self.failures.retain(|f| f.member != member);
        self.failures.push(Failure {
            member,
            failed,
            turns,
        });
        while self.failures.len() > committee.max_faulty() {
            self.failures.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{Block, CommitteeId, Domain, GenesisHash, PublicKey, Time};

    fn committee(size: u8) -> Committee {
        Committee::new((0..size).map(|i| PublicKey::new([i; 33])).collect()).unwrap()
    }

    fn header(view: u64, parent: u64, proposer: u8) -> Header {
        let domain = Domain {
            genesis: GenesisHash::ZERO,
            committee: CommitteeId::Beacon,
        };
        let mut header = Block::genesis(&domain, Time::ZERO).header().clone();
        header.view = View::new(view);
        header.parent_view = View::new(parent);
        header.proposer = MemberIndex::new(proposer);
        header
    }

    fn leaders(
        table: &SkipTable,
        committee: &Committee,
        views: core::ops::Range<u64>,
    ) -> Vec<usize> {
        let leader = |view| table.leader(committee, View::new(view)).get();
        views.map(leader).collect()
    }

    #[test]
    fn without_a_gap_the_members_take_turns() {
        let four = committee(4);
        let table = SkipTable::default().after(&four, &header(5, 4, 1));
        assert_eq!(leaders(&table, &four, 6..11), [2, 3, 0, 1, 2]);
    }

    #[test]
    fn who_failed_is_passed_over_for_eight_turns_and_then_asked_again() {
        let four = committee(4);
        let table = SkipTable::default().after(&four, &header(4, 2, 0)); // member 3 failed in 3
        assert_eq!(leaders(&table, &four, 5..9), [1, 2, 0, 0]);
        assert_eq!(leaders(&table, &four, 35..36), [0], "its eighth turn");
        assert_eq!(leaders(&table, &four, 39..40), [3], "its ninth");
    }

    #[test]
    fn a_repeated_failure_lasts_long_and_a_certified_block_forgives() {
        let four = committee(4);
        let mut table = SkipTable::default();
        let (mut parent, mut failed) = (2, 3);
        for turns in [8, 1_024, 1_024] {
            table = table.after(&four, &header(failed + 1, parent, 0));
            assert_eq!(
                table.failures,
                [Failure {
                    member: MemberIndex::new(3),
                    failed: View::new(failed),
                    turns
                }]
            );
            parent = failed + 4 * u64::from(turns) + 3;
            failed = parent + 1;
            assert_eq!(leaders(&table, &four, failed..failed + 1), [3]);
        }
        table = table.after(&four, &header(failed, parent, 3));
        assert_eq!(table, SkipTable::default());
    }

    #[test]
    fn at_most_f_are_passed_over_and_the_oldest_failure_goes_first() {
        let four = committee(4);
        let table = SkipTable::default().after(&four, &header(4, 2, 0)); // member 3 failed in 3
        // In 5 member 1 fails, entered by a certificate.
        let table = table.after(&four, &header(6, 4, 2));
        assert_eq!(leaders(&table, &four, 7..10), [3, 0, 2]);
        // An outage in which every turn failed leaves the latest failure.
        let table = SkipTable::default().after(&four, &header(1_000_003, 2, 3));
        assert_eq!(table.failures.len(), 1);
        let seven = committee(7);
        let table = SkipTable::default().after(&seven, &header(9, 2, 2));
        assert_eq!(table.failures.len(), 2);
        assert_eq!(
            leaders(&table, &seven, 14..16),
            [2, 2],
            "0 and 1 failed last"
        );
    }

    /// The member of the view after the parent's is the one that the parent's table names.
    #[test]
    fn the_first_view_of_a_gap_is_blamed_on_who_led_it() {
        let seven = committee(7);
        let first = SkipTable::default().after(&seven, &header(4, 2, 4)); // member 3 failed in 3
        // View 10 would be member 3's; member 4 led in its place, and failed.
        let second = first.after(&seven, &header(11, 9, 4));
        assert!(second.skips(&seven, MemberIndex::new(3), View::new(17)));
        assert!(
            !second.skips(&seven, MemberIndex::new(4), View::new(18)),
            "it failed in 10 and led the block of 11"
        );
        let third = first.after(&seven, &header(12, 9, 5));
        assert!(third.skips(&seven, MemberIndex::new(4), View::new(18)));
    }
}
