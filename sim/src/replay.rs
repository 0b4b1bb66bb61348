//! Messages said again: any that was ever sent, to whom it was sent or to a member of another
//! committee, and messages of another chain. A statement is for one chain and one committee, so
//! what is signed must be turned down everywhere else.

use core::time::Duration;
use std::rc::Rc;

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};
use lockstep_types::{CommitteeId, Verified};

use crate::event::Event;
use crate::{Broken, Random, World};

/// Messages kept, drawn evenly from all that were sent.
const KEPT: usize = 2_048;

/// How long a message that is said again takes, at most.
const DELAY: Duration = Duration::from_millis(20);

/// A message, who sent it, and to members of which committee.
#[derive(Clone, Debug)]
pub struct Said {
    from: Peer,
    to: CommitteeId,
    message: Rc<Verified<Message>>,
}

/// What was said on another chain.
pub type Tape = Rc<Vec<Said>>;

/// Keeps some of what was said.
#[derive(Debug)]
pub(crate) struct Recorder {
    kept: Vec<Said>,
    seen: u64,
    random: Random,
}

impl Recorder {
    fn new(random: Random) -> Self {
        Recorder {
            kept: Vec::new(),
            seen: 0,
            random,
        }
    }

    pub(crate) fn note(&mut self, from: Peer, to: CommitteeId, message: &Rc<Verified<Message>>) {
        self.seen += 1;
        let message = message.clone();
        let said = Said { from, to, message };
        if self.kept.len() < KEPT {
            return self.kept.push(said);
        }
        let place = usize::try_from(self.random.below(self.seen)).expect("an index");
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = said;
        }
    }
}

/// Is this message for members of one committee only?
fn is_for_one_committee(message: &Message) -> bool {
    match message {
        Message::Consensus(
            consensus::Message::BlockRequest { .. } | consensus::Message::Inquiry(_),
        ) => false, // nothing is signed
        Message::Consensus(_) | Message::Batch(_) | Message::Checkpoint(_) => true,
        Message::Manifest(Some(_)) => true,
        Message::Record(_) | Message::Bundle(_) | Message::Request(_) => false,
        Message::Manifest(None) | Message::Part(_) => false,
    }
}

/// Is this message for one chain only? Bundles are proven later, against a certified root.
fn is_for_one_chain(message: &Message) -> bool {
    is_for_one_committee(message) || matches!(message, Message::Record(_))
}

impl World {
    /// Keeps some of everything that is sent from now on.
    pub fn record_messages(&mut self) {
        let random = self.random.fork();
        self.recorder = Some(Recorder::new(random));
    }

    /// What was kept, for use in a world of another chain.
    pub fn into_tape(self) -> Tape {
        let kept = self.recorder.map(|recorder| recorder.kept);
        Rc::new(kept.unwrap_or_default())
    }

    /// Says some message of this world again.
    pub(crate) fn replay(&mut self, random: &mut Random) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        if recorder.kept.is_empty() {
            return;
        }
        let said = random.pick(&recorder.kept).clone();
        let committee = self.own_or_another(random, said.to);
        let to = self.anybody(random, committee);
        if to.committee == said.to {
            return self.say_again(random, &said, to, said.message.clone());
        }
        self.say_elsewhere(random, &said, to, is_for_one_committee);
    }

    /// Says some message of another chain here, where the same validators may have the same keys.
    pub(crate) fn replay_from(&mut self, random: &mut Random, tape: &Tape) {
        if tape.is_empty() {
            return;
        }
        let said = random.pick(tape).clone();
        let to = self.anybody(random, said.to);
        self.say_elsewhere(random, &said, to, is_for_one_chain);
    }

    fn say_elsewhere(
        &mut self,
        random: &mut Random,
        said: &Said,
        to: Peer,
        is_bound: impl Fn(&Message) -> bool,
    ) {
        let message = Message::clone(&said.message);
        let Ok(message) = self.verifier.check(message, &self.contexts[&to.committee]) else {
            return;
        };
        if is_bound(&message) {
            let (kind, from) = (message.kind(), said.from);
            let detail = format!("a {kind} of {from:?} for {:?} passed at {to:?}", said.to);
            let broken = Broken::new("statements are for one chain and committee", detail);
            self.checkers.note(Err(broken));
        }
        self.say_again(random, said, to, Rc::new(message));
    }

    /// A connection proves who sends, so a message comes from its sender, or from a liar.
    fn say_again(
        &mut self,
        random: &mut Random,
        said: &Said,
        to: Peer,
        message: Rc<Verified<Message>>,
    ) {
        let liars: Vec<Peer> = self
            .peers()
            .filter(|peer| *peer != to && !self.checkers.is_correct(peer))
            .collect();
        let from = match liars.is_empty() || random.chance(500) {
            true => said.from,
            false => *random.pick(&liars),
        };
        if from == to || !self.seats.contains_key(&from) {
            return;
        }
        let at = self.now.after(random.duration(Duration::ZERO, DELAY));
        let connection = self.network.connection(&from, &to);
        let event = Event::Deliver {
            from,
            connection,
            message,
        };
        self.agenda.add(at, self.seats[&to], event);
    }

    fn anybody(&self, random: &mut Random, committee: CommitteeId) -> Peer {
        let members = self.genesis().committee(committee).indices();
        let members: Vec<Peer> = members.map(|member| Peer { committee, member }).collect();
        *random.pick(&members)
    }
    /// Half of the time the committee it was for.
    fn own_or_another(&self, random: &mut Random, own: CommitteeId) -> CommitteeId {
        if random.chance(500) {
            return own;
        }
        let all: Vec<CommitteeId> = self.genesis().committees().collect();
        *random.pick(&all)
    }
}
