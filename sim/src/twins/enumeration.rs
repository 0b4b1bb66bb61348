//! All schedules of some length up to symmetry, each with a number.
//!
//! Members that are no twins are interchangeable, and so are the halves of a twin. Of the schedules
//! that such an exchange turns into each other only the first in lexical order counts. How many
//! there are follows from Burnside's lemma: a group G has (1/|G|) · Σ fix(g)^k classes of sequences
//! of k rounds, where fix(g) counts the rounds that g leaves as they are. A sequence is the first of
//! its class when its first round is the first of its class and the rest is the first among what
//! the exchanges that fix this round make of it; so the same formula, for ever smaller groups,
//! leads from a number to its schedule.
//!
//! Exchanged schedules run alike but for ties: what arrives in the same moment arrives in the order
//! of seats, and the views after the schedule are led in the order of members.

use lockstep_types::MemberIndex;

use super::{Partition, Round, Schedule, Shape, Votes};

/// The schedules of one length.
pub struct Enumeration {
    shape: Shape,
    length: u32,
    rounds: Vec<Round>,
    /// For each exchange, what it makes of each round.
    images: Vec<Vec<usize>>,
}

impl Enumeration {
    /// All schedules of `length` rounds with at most so many cells in each.
    pub fn new(shape: Shape, length: u32, cells: u8) -> Self {
        let partitions = Partition::all(shape.seats(), cells);
        let leaders = (0..shape.members).map(|seat| shape.member(seat));
        let mut rounds: Vec<Round> = leaders
            .flat_map(|leader| {
                let with = |partition: &Partition| Round {
                    leader,
                    partition: *partition,
                };
                partitions.iter().map(with).collect::<Vec<_>>()
            })
            .collect();
        rounds.sort_unstable();
        let image = |exchange: &Vec<usize>| {
            let moved = rounds.iter().map(|round| exchanged(round, exchange));
            moved
                .map(|round| rounds.binary_search(&round).expect("all rounds are listed"))
                .collect()
        };
        let images = exchanges(shape).iter().map(image).collect();
        Enumeration {
            shape,
            length,
            rounds,
            images,
        }
    }

    /// How many there are; none when they are too many to be numbered.
    pub fn total(&self) -> Option<u64> {
        let all: Vec<usize> = (0..self.images.len()).collect();
        self.classes(&all, self.length)
    }

    /// Rounds in each schedule.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The schedule of a number below [`Enumeration::total`].
    ///
    /// # Panics
    /// When there is no such schedule.
    pub fn schedule(&self, number: u64, votes: Votes) -> Schedule {
        let mut left = number;
        let mut group: Vec<usize> = (0..self.images.len()).collect();
        let mut rounds = Vec::new();
        for remaining in (0..self.length).rev() {
            let (round, fixing) = self.choose(&group, remaining, &mut left);
            rounds.push(self.rounds[round]);
            group = fixing;
        }
        Schedule {
            shape: self.shape,
            votes,
            rounds,
        }
    }

    /// The round that comes next, and the exchanges that leave everything so far as it is.
    fn choose(&self, group: &[usize], remaining: u32, left: &mut u64) -> (usize, Vec<usize>) {
        for round in 0..self.rounds.len() {
            if group.iter().any(|g| self.images[*g][round] < round) {
                continue; // not the first of its class
            }
            let fixes = |g: &&usize| self.images[**g][round] == round;
            let fixing: Vec<usize> = group.iter().filter(fixes).copied().collect();
            let below = self.classes(&fixing, remaining).expect("fewer than all");
            if *left < below {
                return (round, fixing);
            }
            *left -= below;
        }
        unreachable!("the number is below the total")
    }

    /// Burnside: classes of sequences of so many rounds under a group.
    fn classes(&self, group: &[usize], length: u32) -> Option<u64> {
        let mut sum = 0u128;
        for exchange in group {
            let image = self.images[*exchange].iter().enumerate();
            let fixed = image.filter(|(round, moved)| round == *moved).count();
            let fixed = u128::try_from(fixed).ok()?;
            sum = sum.checked_add(fixed.checked_pow(length)?)?;
        }
        let order = u128::try_from(group.len()).ok()?;
        assert_eq!(sum % order, 0, "classes are whole");
        u64::try_from(sum / order).ok()
    }
}

/// The exchanges: for each seat, the seat it becomes. The committee's only twin may exchange its
/// halves; several twins are not enumerated.
fn exchanges(shape: Shape) -> Vec<Vec<usize>> {
    let correct = shape.members - shape.twins;
    let mut all = Vec::new();
    for order in orders(correct) {
        let same: Vec<usize> = order.into_iter().chain(correct..shape.seats()).collect();
        if shape.twins == 1 {
            let mut swapped = same.clone();
            swapped.swap(correct, shape.members);
            all.push(swapped);
        }
        all.push(same);
    }
    all
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        let insert = |order: &Vec<usize>| -> Vec<Vec<usize>> {
            let places = 0..=order.len();
            let put = |place| {
                let mut longer = order.clone();
                longer.insert(place, next);
                longer
            };
            places.map(put).collect()
        };
        all = all.iter().flat_map(insert).collect();
    }
    all
}

fn exchanged(round: &Round, exchange: &[usize]) -> Round {
    let becomes = exchange[round.leader.get()];
    // Only halves of twins have seats beyond the members, and both are the same leader.
    let leader = if becomes < exchange.len() - 1 {
        becomes
    } else {
        round.leader.get()
    };
    let from = |seat: usize| {
        let origin = exchange.iter().position(|to| *to == seat);
        origin.expect("an exchange reaches every seat")
    };
    Round {
        leader: MemberIndex::new(u8::try_from(leader).expect("a member")),
        partition: round.partition.moved(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Counted by trying every pair of rounds under every exchange.
    #[test]
    fn two_rounds_by_brute_force() {
        let all = Enumeration::new(Shape::FOUR, 2, 2);
        assert_eq!(all.rounds.len(), 64);
        assert_eq!(all.images.len(), 12);
        let mut firsts = BTreeSet::new();
        for a in 0..64 {
            for b in 0..64 {
                let class = all.images.iter().map(|image| (image[a], image[b]));
                firsts.insert(class.min().unwrap());
            }
        }
        assert_eq!(all.total(), Some(firsts.len() as u64));
        let numbered = (0..all.total().unwrap()).map(|number| all.schedule(number, Votes::Wide));
        let expected = firsts.iter().map(|(a, b)| [all.rounds[*a], all.rounds[*b]]);
        for (schedule, rounds) in numbered.zip(expected) {
            assert_eq!(schedule.rounds, rounds, "in lexical order, each once");
        }
    }

    #[test]
    fn the_totals_that_the_manual_names() {
        let total = |length| Enumeration::new(Shape::FOUR, length, 2).total();
        let totals = [15, 510, 25_740, 1_502_936].map(Some);
        assert_eq!([1, 2, 3, 4].map(total), totals);
    }
}
