//! What the liar and the network can do in a state: every letter that the statements said so far
//! allow.

use lockstep_types::{MemberIndex, View};

use super::letter::Letter;
use super::member::{CORRECT, LIAR, Members, StateNumber};
use super::search::Limits;
use super::statement::{BlockNumber, Ended, Statement};

/// Statements of correct members that a certificate needs beside the liar's own: q − 1.
const CORRECT_SIGNERS: usize = 2;

/// What can be made of what was said in a state.
pub(super) struct Made {
    /// Blocks that are or can be certified, the root among them.
    certified: Vec<BlockNumber>,
    /// Timeout certificates that can be made.
    ended: Vec<Ended>,
    statements: Vec<(MemberIndex, Statement)>,
}

impl Made {
    /// What can be made of what these members have said.
    pub(super) fn of(members: &Members, states: &[StateNumber; CORRECT]) -> Self {
        let said = (0u8..).zip(states).flat_map(|(author, state)| {
            let said = members.states[*state as usize].said.iter();
            said.map(move |statement| (MemberIndex::new(author), *statement))
        });
        let statements: Vec<_> = said.collect();
        let mut votes: Vec<BlockNumber> = Vec::new();
        let mut timeouts: Vec<(View, View)> = Vec::new();
        for (_, statement) in &statements {
            match statement {
                Statement::Vote { block, .. } => votes.push(*block),
                Statement::Timeout { view, high, .. } => {
                    timeouts.push((*view, members.blocks.view(*high)));
                }
            }
        }
        votes.sort_unstable();
        let enough = |group: &&[BlockNumber]| group.len() >= CORRECT_SIGNERS;
        let groups = votes.chunk_by(|a, b| a == b).filter(enough);
        let certified: Vec<BlockNumber> = [0].into_iter().chain(groups.map(|g| g[0])).collect();
        let ended = ended(members, &certified, timeouts);
        Made {
            certified,
            ended,
            statements,
        }
    }

    /// The timeout certificates that end the view before.
    fn entering(&self, view: View) -> impl Iterator<Item = Ended> {
        let ended = self.ended.iter().copied();
        ended.filter(move |ended| view.follows(ended.view))
    }

    /// Every letter for one of the members.
    pub(super) fn letters(
        &self,
        members: &mut Members,
        limits: &Limits,
        member: MemberIndex,
        state: StateNumber,
    ) -> Vec<Letter> {
        let at = &members.states[state as usize];
        let (view, has_given_up) = (at.view, at.has_given_up);
        let mut letters = Vec::new();
        if view.get() <= limits.views && !has_given_up {
            letters.push(Letter::Expires);
        }
        let known = self.certified.iter().filter(|block| **block != 0);
        letters.extend(known.map(|block| Letter::Certificate { block: *block }));
        let ended = self.ended.iter().filter(|ended| ended.view >= view);
        letters.extend(ended.map(|ended| Letter::Ended(*ended)));
        self.proposals(members, limits, view, &mut letters);
        if limits.statements {
            self.statements(members, member, view, &mut letters);
        }
        letters
    }

    /// The liar's proposals of the member's view and later ones: on every certified block, lawful
    /// or not, since refusing is the member's part.
    fn proposals(
        &self,
        members: &mut Members,
        limits: &Limits,
        from: View,
        letters: &mut Vec<Letter>,
    ) {
        for view in (from.get()..=limits.views).map(View::new) {
            for parent in &self.certified {
                let above = members.blocks.view(*parent);
                if above >= view {
                    continue;
                }
                let entries: Vec<Option<Ended>> = if view.follows(above) {
                    vec![None]
                } else {
                    self.entering(view).map(Some).collect()
                };
                for entered_by in entries {
                    for mark in 0..limits.rivals {
                        let block = members.liars_block(view, *parent, mark);
                        letters.push(Letter::Proposal { block, entered_by });
                    }
                }
            }
        }
    }

    /// Votes and timeouts one by one, the liar's among them.
    fn statements(
        &self,
        members: &Members,
        member: MemberIndex,
        from: View,
        letters: &mut Vec<Letter>,
    ) {
        for (author, statement) in &self.statements {
            match *statement {
                Statement::Vote { view, block } if view >= from => {
                    for author in [*author, LIAR] {
                        letters.push(Letter::Vote { author, block });
                    }
                }
                Statement::Timeout {
                    view,
                    high,
                    entered_by,
                } if view >= from => {
                    letters.push(Letter::Timeout {
                        author: *author,
                        view,
                        high,
                        entered_by,
                    });
                    self.liars_timeouts(members, view, letters);
                }
                _ => {}
            }
        }
        letters.retain(|letter| letter.author() != Some(member));
        letters.sort_unstable();
        letters.dedup();
    }

    /// The liar gives up on a view that somebody has given up, naming any certificate.
    fn liars_timeouts(&self, members: &Members, view: View, letters: &mut Vec<Letter>) {
        for high in &self.certified {
            let of = members.blocks.view(*high);
            let entered_by = self.entering(view).next();
            if of >= view || (!view.follows(of) && entered_by.is_none()) {
                continue;
            }
            letters.push(Letter::Timeout {
                author: LIAR,
                view,
                high: *high,
                entered_by: entered_by.filter(|_| !view.follows(of)),
            });
        }
    }
}

/// Views that enough members have given up: with the two lowest of their highest certificates, and
/// the liar names any certificate from there on.
fn ended(
    members: &Members,
    certified: &[BlockNumber],
    mut timeouts: Vec<(View, View)>,
) -> Vec<Ended> {
    timeouts.sort_unstable();
    let mut ended = Vec::new();
    for group in timeouts.chunk_by(|a, b| a.0 == b.0) {
        let Some((view, least)) = group.get(CORRECT_SIGNERS - 1).copied() else {
            continue;
        };
        let highest = certified.iter().filter(|block| {
            let of = members.blocks.view(**block);
            of >= least && of < view
        });
        ended.extend(highest.map(|high| Ended { view, high: *high }));
    }
    ended
}
