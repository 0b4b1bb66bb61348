//! A member that keeps others from fetching a state: asked for the newest it says at once that it
//! holds none, or offers the first it ever gave; asked for a part it says at once, and over and over,
//! that it does not hold that, also in the place of others who were asked.

use std::sync::Arc;

use lockstep_ledger::TriePath;
use lockstep_shard::{Manifest, Message, Part, PartName, Peer, Request};
use lockstep_types::WindowNumber;

use super::{Behaviour, Seat};

/// How often it denies a part at a time, and at how many occasions to whom asked for a state.
const TIMES: usize = 15;
const OCCASIONS: usize = 50;

/// See the module.
#[derive(Default)]
pub(super) struct StateDenier {
    /// The first state its replica gave.
    oldest: Option<Arc<Manifest>>,
    /// The newest.
    newest: WindowNumber,
    /// Who asked for one, and how often it is still told that there is none.
    asked: Option<(Peer, usize)>,
}

fn deny(seat: &mut Seat<'_>, to: Peer, record: WindowNumber, name: &PartName) {
    for _ in 0..TIMES {
        let part = Part {
            record,
            name: name.clone(),
            body: None,
        };
        seat.lie(to, Message::Part(Box::new(part)));
    }
}

impl Behaviour for StateDenier {
    fn hear(&mut self, seat: &mut Seat<'_>, from: Peer, message: &Message) {
        match message {
            Message::Request(Request::Manifest) => {
                let old = self
                    .oldest
                    .clone()
                    .filter(|_| seat.place.random.chance(500));
                seat.lie(from, Message::Manifest(old));
                self.asked = Some((from, OCCASIONS));
            }
            Message::Request(Request::Part { record, name }) => deny(seat, from, *record, name),
            _ => {}
        }
    }

    /// What its replica would answer, later and truly, stays unsaid.
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        match message {
            Message::Manifest(held) => {
                self.newest = held.as_ref().map_or(self.newest, |state| state.number());
                self.oldest = self.oldest.take().or(held);
                seat.keep_back();
            }
            Message::Part(_) => seat.keep_back(),
            message => seat.say(to, message),
        }
    }

    fn act(&mut self, seat: &mut Seat<'_>) {
        if let Some((to, occasions)) = &mut self.asked
            && *occasions > 0
        {
            *occasions -= 1;
            // What everybody begins with.
            let root = PartName::Accounts(TriePath::ROOT);
            deny(seat, *to, self.newest, &root);
        } else if seat.place.random.chance(20) {
            let to = seat.somebody();
            seat.lie(to, Message::Manifest(None));
        }
    }
}
