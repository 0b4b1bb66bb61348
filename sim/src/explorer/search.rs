//! The search: states by their distance from the start, each once, until there are no more or the
//! limit is reached. At every state: agreement of all committed chains, one vote and one timeout of
//! a member per view, no vote after a timeout; and at every step the commit rule, commits in order,
//! and that nobody stops.

use std::collections::BTreeMap;

use lockstep_types::MemberIndex;

use super::adversary::Made;
use super::letter::Letter;
use super::member::{CORRECT, Effect, Members, StateNumber};
use crate::Broken;

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Views that are led.
    pub views: u64,
    /// Rival blocks that the liar makes on one parent in one view.
    pub rivals: u8,
    /// Votes and timeouts arrive one by one, too. Without, members learn what they come to: by
    /// certificates, which the liar can always make as soon as the statements are there.
    pub statements: bool,
    /// Distinct states after which no further distance is begun.
    pub states: usize,
}

/// Something that does not hold, and how to get there.
#[derive(Clone, Debug)]
pub struct Found {
    /// What.
    pub broken: Broken,
    /// The steps from the start.
    pub path: Vec<String>,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Distinct states visited.
    pub states: usize,
    /// Steps taken, most of them to states that were known.
    pub steps: u64,
    /// Every state that so many steps reach was visited.
    pub depth: usize,
    /// There is nothing beyond.
    pub complete: bool,
    /// States of single members.
    pub member_states: usize,
    /// Steps after which something did not hold. A search ends with the first distance at which
    /// there are any.
    pub violations: u64,
    /// The first of them.
    pub first: Option<Found>,
}

/// The states of the correct members. Each member's contains all that it has said, and the network
/// and the liar have nothing else.
type State = [StateNumber; CORRECT];

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Origin {
    from: usize,
    member: usize,
    letter: Letter,
}

struct Search {
    limits: Limits,
    members: Members,
    start: State,
    known: BTreeMap<State, usize>,
    origins: Vec<Option<Origin>>,
    report: Report,
}

/// Explores within limits.
pub fn explore(limits: Limits) -> Report {
    let mut members = Members::new();
    let start = core::array::from_fn(|index| {
        // Where no letter names an author, members differ by nothing but their names: all are
        // the first one, and a state is what it is in any order.
        let index = if limits.statements { index } else { 0 };
        let member = MemberIndex::new(u8::try_from(index).expect("one of three"));
        members.start(member, limits.views)
    });
    let mut search = Search {
        limits,
        members,
        start,
        known: BTreeMap::from([(start, 0)]),
        origins: vec![None],
        report: Report::default(),
    };
    let mut frontier = vec![(start, 0)];
    let mut goes_on = true;
    while goes_on {
        frontier = search.expand(&frontier);
        search.report.depth += 1;
        let holds = search.report.violations == 0;
        goes_on = holds && !frontier.is_empty() && search.known.len() < limits.states;
    }
    search.report.complete = frontier.is_empty();
    search.report.states = search.known.len();
    search.report.member_states = search.members.states.len();
    search.report
}

impl Search {
    /// The states one step beyond these that were not known.
    fn expand(&mut self, frontier: &[(State, usize)]) -> Vec<(State, usize)> {
        let mut beyond = Vec::new();
        for (state, from) in frontier {
            let made = Made::of(&self.members, state);
            for member in 0..CORRECT {
                if !self.limits.statements && state[..member].contains(&state[member]) {
                    continue; // another member in the same state goes the same ways
                }
                let index = MemberIndex::new(u8::try_from(member).expect("one of three"));
                let (members, limits) = (&mut self.members, &self.limits);
                for letter in made.letters(members, limits, index, state[member]) {
                    let origin = Origin {
                        from: *from,
                        member,
                        letter,
                    };
                    beyond.extend(self.follow(state, origin));
                }
            }
        }
        beyond
    }

    /// The state that a step leads to, if it is new and everything holds.
    fn follow(&mut self, state: &State, origin: Origin) -> Option<(State, usize)> {
        self.report.steps += 1;
        let effect = self.members.effect(state[origin.member], origin.letter);
        if effect.state == state[origin.member] && effect.broken.is_none() {
            return None;
        }
        if let Err(broken) = self.check(state, origin.member, &effect) {
            self.report.violations += 1;
            if self.report.first.is_none() {
                let path = self.path(origin);
                self.report.first = Some(Found { broken, path });
            }
            return None;
        }
        let mut next = *state;
        next[origin.member] = effect.state;
        if !self.limits.statements {
            next.sort_unstable();
        }
        if self.known.contains_key(&next) {
            return None;
        }
        let number = self.origins.len();
        self.known.insert(next, number);
        self.origins.push(Some(origin));
        Some((next, number))
    }

    fn check(&self, state: &State, member: usize, effect: &Effect) -> Result<(), Broken> {
        if let Some(broken) = &effect.broken {
            return Err(broken.clone());
        }
        let chain = |number: StateNumber| &self.members.states[number as usize].chain;
        let ours = chain(effect.state);
        for other in (0..CORRECT).filter(|other| *other != member) {
            let theirs = chain(state[other]);
            if ours.iter().zip(theirs).any(|(a, b)| a != b) {
                let detail = format!("one member committed {ours:?}, another {theirs:?}");
                return Err(Broken::new("agreement", detail));
            }
        }
        Ok(())
    }

    /// The steps from the start, with members called by the names that they had there.
    fn path(&mut self, last: Origin) -> Vec<String> {
        let mut origins = vec![last];
        while let Some(origin) = self.origins[origins[origins.len() - 1].from] {
            origins.push(origin);
        }
        let mut seats: Vec<(StateNumber, usize)> = self.start.into_iter().zip(0..).collect();
        let mut path = Vec::new();
        for origin in origins.into_iter().rev() {
            let (state, name) = seats[origin.member];
            path.push(format!("{name} {}", origin.letter));
            seats[origin.member].0 = self.members.effect(state, origin.letter).state;
            if !self.limits.statements {
                seats.sort_unstable();
            }
        }
        path
    }
}
