//! Which schedule a number stands for. Of ten numbers eight are enumerated schedules (four members,
//! one twin, two cells; four of them with votes for everybody, four with votes for the next leader
//! only), one is a longer sampled one with up to three cells, and one is of seven members with two
//! twins. So any run of numbers has some of each.
//!
//! Enumerated schedules are taken in the order of a multiple of their numbers, so that any part of
//! the enumeration is spread over all of it; once all were taken, sampled ones take their place.

use super::{Enumeration, Partition, Round, Schedule, Shape, Votes};
use crate::Random;

/// Rounds of sampled schedules.
const SAMPLED_ROUNDS: usize = 8;

/// Numbers in a group, and how many of them are enumerated with wide votes, and with narrow ones.
const GROUP: u64 = 10;
const EACH: u64 = 4;

/// Names schedules by number.
pub struct Plan {
    enumeration: Enumeration,
    /// Enumerated schedules of one kind of votes.
    total: u64,
    /// Coprime to the total, and far from any simple fraction of it.
    stride: u64,
}

impl Plan {
    /// A plan whose enumeration has schedules of so many rounds. None when they are too many to be
    /// numbered.
    pub fn new(rounds: u32) -> Option<Self> {
        let enumeration = Enumeration::new(Shape::FOUR, rounds, 2);
        let total = enumeration.total()?;
        // The golden section spreads multiples most evenly.
        let about = total / 1_000 * 618 + 1;
        let stride = (about..).find(|stride| coprime(*stride, total))?;
        Some(Plan {
            enumeration,
            total,
            stride,
        })
    }

    /// How many schedules are enumerated.
    pub fn total(&self) -> u64 {
        2 * self.total
    }

    /// Rounds of enumerated schedules.
    pub fn rounds(&self) -> u32 {
        self.enumeration.length()
    }

    /// Of the first `numbers` numbers, how many are enumerated schedules.
    pub fn enumerated_below(&self, numbers: u64) -> u64 {
        let (whole, rest) = (numbers / GROUP * EACH, numbers % GROUP);
        let wide = (whole + rest.min(EACH)).min(self.total);
        let narrow = (whole + rest.saturating_sub(EACH).min(EACH)).min(self.total);
        wide + narrow
    }

    /// The schedule of a number.
    pub fn schedule(&self, number: u64) -> Schedule {
        let place = number % GROUP;
        let position = number / GROUP * EACH + place % EACH;
        if place < 2 * EACH && position < self.total {
            let rank = u128::from(position) * u128::from(self.stride) % u128::from(self.total);
            let rank = u64::try_from(rank).expect("below the total");
            let votes = if place < EACH {
                Votes::Wide
            } else {
                Votes::Narrow
            };
            return self.enumeration.schedule(rank, votes);
        }
        let shape = if place == GROUP - 1 {
            Shape::SEVEN
        } else {
            Shape::FOUR
        };
        sampled(shape, number)
    }
}

fn coprime(a: u64, b: u64) -> bool {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// A schedule drawn from a seed.
fn sampled(shape: Shape, seed: u64) -> Schedule {
    let mut random = Random::new(seed);
    let votes = *random.pick(&[Votes::Wide, Votes::Narrow]);
    let rounds = (0..SAMPLED_ROUNDS).map(|_| {
        let leader = usize::try_from(random.below(shape.members as u64)).expect("an index");
        Round {
            leader: shape.member(leader),
            partition: draw_partition(shape, &mut random),
        }
    });
    Schedule {
        shape,
        votes,
        rounds: rounds.collect(),
    }
}

/// Mostly a few seats are apart, since a committee split evenly only waits.
fn draw_partition(shape: Shape, random: &mut Random) -> Partition {
    let seats = shape.seats();
    let apart = match random.below(8) {
        0 => 0,
        1..=5 => shape.twins as u64 + 1,
        _ => seats as u64,
    };
    let cells = 2 + u64::from(random.chance(250));
    let mut labels = vec![0u8; seats];
    for _ in 0..apart {
        let seat = usize::try_from(random.below(seats as u64)).expect("an index");
        labels[seat] = u8::try_from(random.below(cells)).expect("at most three");
    }
    Partition::of(seats, |seat| labels[seat])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_enumerated_schedule_is_taken_once() {
        let plan = Plan::new(2).unwrap();
        let numbers = plan.total() / 2 / EACH * GROUP + GROUP;
        assert_eq!(plan.enumerated_below(numbers), plan.total());
        let short = (0..numbers)
            .map(|number| plan.schedule(number))
            .filter(|schedule| schedule.rounds.len() == 2);
        let texts: BTreeSet<String> = short.map(|schedule| schedule.to_string()).collect();
        assert_eq!(texts.len() as u64, plan.total());
    }

    #[test]
    fn a_number_is_one_schedule() {
        let plan = Plan::new(4).unwrap();
        for number in 0..40 {
            assert_eq!(plan.schedule(number), plan.schedule(number));
        }
        assert_eq!(plan.schedule(9).shape, Shape::SEVEN);
        assert_eq!(plan.schedule(8).rounds.len(), SAMPLED_ROUNDS);
    }
}
