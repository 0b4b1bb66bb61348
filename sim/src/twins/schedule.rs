//! A schedule: who leads each view, and who hears whom in each round.

use core::fmt;

use lockstep_types::MemberIndex;

use super::Partition;
use super::partition::MAX_SEATS;

/// A committee with twins: the last members have two seats each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Members.
    pub members: usize,
    /// How many of them are twins.
    pub twins: usize,
}

impl Shape {
    /// Four members, one of them a twin.
    pub const FOUR: Shape = Shape {
        members: 4,
        twins: 1,
    };

    /// Seven members, two of them twins.
    pub const SEVEN: Shape = Shape {
        members: 7,
        twins: 2,
    };

    /// Replicas that run: seats 0 to `members` − 1 are the members, each later one is the second
    /// half of a twin.
    pub fn seats(&self) -> usize {
        self.members + self.twins
    }

    /// Whose seat it is.
    pub fn member(&self, seat: usize) -> MemberIndex {
        let member = if seat < self.members {
            seat
        } else {
            seat - self.twins
        };
        MemberIndex::new(u8::try_from(member).expect("at most ten seats"))
    }

    /// Is this a seat of a twin?
    pub fn is_twin(&self, seat: usize) -> bool {
        self.member(seat).get() >= self.members - self.twins
    }
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round {
    /// Who leads the view of this number. Both halves of a twin do.
    pub leader: MemberIndex,
    /// Who hears whom.
    pub partition: Partition,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.leader.get(), self.partition)
    }
}

/// Who hears votes during a schedule. Members send them to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Votes {
    /// Everybody in the cell. Then whoever helps to make a certificate also learns of it.
    Wide,
    /// Only the leader of the next view; for the others they are lost. So one seat alone may hold
    /// a certificate, and be cut off with it in the next round.
    Narrow,
}

/// Rounds of a committee with twins; after them everything is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The committee.
    pub shape: Shape,
    /// Who hears votes.
    pub votes: Votes,
    /// The rounds, the first one first.
    pub rounds: Vec<Round>,
}

const NARROW: &str = "narrow";

impl fmt::Display for Schedule {
    /// `leader:cells` for each round, and `narrow` before them if votes are: `0:0123|4 3:01|234`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.votes == Votes::Narrow {
            write!(f, "{NARROW} ")?;
        }
        let rounds: Vec<String> = self.rounds.iter().map(Round::to_string).collect();
        f.write_str(&rounds.join(" "))
    }
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{round}` is no round of {members} members and {twins} twins: expected leader:cells, as in 0:0123|4"
)]
pub struct MalformedSchedule {
    /// The round as it was written.
    pub round: String,
    /// Members.
    pub members: usize,
    /// Twins.
    pub twins: usize,
}

impl Schedule {
    /// Reads what [`Schedule`] prints.
    ///
    /// # Errors
    /// Names the round that cannot be read.
    pub fn parse(shape: Shape, text: &str) -> Result<Self, MalformedSchedule> {
        let (votes, text) = match text.trim_start().strip_prefix(NARROW) {
            Some(rest) => (Votes::Narrow, rest),
            None => (Votes::Wide, text),
        };
        let rounds = text.split_whitespace().map(|round| {
            parse_round(shape, round).ok_or_else(|| MalformedSchedule {
                round: round.to_owned(),
                members: shape.members,
                twins: shape.twins,
            })
        });
        let rounds = rounds.collect::<Result<_, _>>()?;
        Ok(Schedule {
            shape,
            votes,
            rounds,
        })
    }
}

fn parse_round(shape: Shape, text: &str) -> Option<Round> {
    let (leader, cells) = text.split_once(':')?;
    let leader: u8 = leader.parse().ok()?;
    let mut labels = [None; MAX_SEATS];
    for (cell, seats) in (0u8..).zip(cells.split('|')) {
        for seat in seats.chars() {
            let seat = usize::try_from(seat.to_digit(10)?).ok()?;
            if labels.get_mut(seat)?.replace(cell).is_some() {
                return None; // in two cells
            }
        }
    }
    let placed = |seat: &Option<u8>| seat.is_some();
    let all_placed = labels[..shape.seats()].iter().all(placed);
    if usize::from(leader) >= shape.members || !all_placed {
        return None;
    }
    if labels[shape.seats()..].iter().any(placed) {
        return None;
    }
    Some(Round {
        leader: MemberIndex::new(leader),
        partition: Partition::of(shape.seats(), |seat| labels[seat].unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let text = "0:0123|4 3:01|234 3:01234 2:0|13|24";
        let schedule = Schedule::parse(Shape::FOUR, text).unwrap();
        assert_eq!(schedule.to_string(), text);
        let narrow = Schedule::parse(Shape::FOUR, &format!("narrow {text}")).unwrap();
        assert_eq!(narrow.votes, Votes::Narrow);
        assert_eq!(narrow.rounds, schedule.rounds);
        assert_eq!(narrow.to_string(), format!("narrow {text}"));
        for bad in ["4:01234", "0:0123", "0:012345", "0:01123|4", "x:01234", "0"] {
            let problem = Schedule::parse(Shape::FOUR, bad).unwrap_err();
            assert_eq!(problem.round, bad);
        }
    }

    #[test]
    fn the_last_members_have_two_seats() {
        let shape = Shape::SEVEN;
        let members: Vec<_> = (0..shape.seats()).map(|s| shape.member(s).get()).collect();
        assert_eq!(members, [0, 1, 2, 3, 4, 5, 6, 5, 6]);
        assert!(!shape.is_twin(4) && shape.is_twin(5) && shape.is_twin(8));
    }
}
