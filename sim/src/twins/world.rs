//! Runs one schedule. Rounds are synchronous: what is said arrives at once at everybody in the
//! sender's cell and is lost for the others; a statement for a view waits for the round of that
//! number. When nothing more arrives, whoever is still in a view of the round's number or below has
//! waited long enough and gives up, and what that brings arrives too. So view v is decided in round
//! v under its partition, unless nobody had a quorum: then it goes on in the next round.
//!
//! After the schedule everything is whole and views are led in turn; then everybody must commit
//! a block proposed since, although the twins go on.

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use lockstep_consensus::{LeaderRule, Message, To};
use lockstep_types::{Header, MemberIndex, Verified, View};

use super::{Partition, Schedule, Shape, Votes};
use crate::Broken;
use crate::checker::CommitteeChecker;
use crate::committee::{BareCommittee, Said, Seat, TIMERS};
use crate::trace::{ConsensusSummary, Sink};

/// Rounds in which a healed committee must commit again. A twin leads one view of four (two of
/// seven), its rivals may split the votes, and a commit takes two views in a row.
pub const MAX_HEALING_ROUNDS: u64 = 16;

/// What a round takes beside the waiting: long enough to ask for a missing block.
const TICK: Duration = Duration::from_millis(20);

/// A statement under way.
struct Flight {
    from: usize,
    to: To,
    /// It waits for the round of this number.
    round: u64,
    message: Rc<Verified<Message>>,
}

/// How a schedule ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What did not hold.
    pub broken: Option<Broken>,
    /// Rounds until the healed committee committed.
    pub healing_rounds: u64,
    /// Steps of replicas.
    pub steps: u64,
}

/// A committee with twins.
pub struct TwinsWorld<'a> {
    committee: &'a BareCommittee,
    schedule: &'a Schedule,
    seats: Vec<Seat>,
    flights: VecDeque<Flight>,
    checker: CommitteeChecker,
    broken: Option<Broken>,
    steps: u64,
    round: u64,
    sink: Option<Sink>,
}

impl<'a> TwinsWorld<'a> {
    /// A world that has not begun.
    pub fn new(committee: &'a BareCommittee, schedule: &'a Schedule, sink: Option<Sink>) -> Self {
        let shape = schedule.shape;
        let leaders: Vec<MemberIndex> = schedule.rounds.iter().map(|r| r.leader).collect();
        let rule = LeaderRule::Listed(leaders.into());
        let seats = (0..shape.seats()).map(|seat| {
            let mark = u8::try_from(seat).expect("at most ten seats");
            committee.seat(shape.member(seat), mark, rule.clone())
        });
        TwinsWorld {
            committee,
            schedule,
            seats: seats.collect(),
            flights: VecDeque::new(),
            checker: CommitteeChecker::new(shape.seats()),
            broken: None,
            steps: 0,
            round: 0,
            sink,
        }
    }

    /// Runs the schedule and heals.
    pub fn run(mut self) -> Outcome {
        for seat in 0..self.seats.len() {
            let said = self.seats[seat].wait(Duration::ZERO);
            self.take(seat, said);
        }
        for round in &self.schedule.rounds {
            self.go(&round.partition, &round.to_string());
        }
        let healing_rounds = self.heal();
        Outcome {
            broken: self.broken,
            healing_rounds,
            steps: self.steps,
        }
    }

    fn heal(&mut self) -> u64 {
        let whole = Partition::whole(self.seats.len());
        for round in 1..=MAX_HEALING_ROUNDS {
            if self.broken.is_some() {
                return round;
            }
            self.go(&whole, "whole");
            if self.has_committed_anew() {
                return round;
            }
        }
        let views = self.seats.iter().map(|seat| committed(seat).view.get());
        let views: Vec<u64> = views.collect();
        let detail = format!("blocks of views {views:?} after {MAX_HEALING_ROUNDS} whole rounds");
        self.note(Err(Broken::new("a healed committee gets on", detail)));
        MAX_HEALING_ROUNDS
    }

    /// Has every correct member committed a block proposed since everything is whole?
    fn has_committed_anew(&self) -> bool {
        let shape = self.schedule.shape;
        let scheduled = self.schedule.rounds.len() as u64;
        let mut seats = self.seats.iter().enumerate();
        seats
            .all(|(seat, replica)| shape.is_twin(seat) || committed(replica).view.get() > scheduled)
    }

    /// One round.
    fn go(&mut self, partition: &Partition, name: &str) {
        self.round += 1;
        self.trace(|| format!("---- round {name}"));
        for seat in 0..self.seats.len() {
            if let Some(said) = self.seats[seat].pass(TICK) {
                self.take(seat, said);
            }
        }
        self.deliver(partition);
        for seat in 0..self.seats.len() {
            if self.seats[seat].replica().view().get() <= self.round {
                self.trace(|| format!("{seat} has waited"));
                let said = self.seats[seat].wait(TIMERS.base);
                self.take(seat, said);
            }
        }
        self.deliver(partition);
    }

    /// Delivers what is said in this round's views, until nothing more is.
    fn deliver(&mut self, partition: &Partition) {
        let mut later = VecDeque::new();
        while let Some(flight) = self.flights.pop_front() {
            if flight.round > self.round {
                later.push_back(flight);
                continue;
            }
            for seat in 0..self.seats.len() {
                if self.reaches(&flight, seat, partition) {
                    self.arrive(&flight, seat);
                }
            }
        }
        self.flights = later;
    }

    /// A member's message to another goes to both halves of it, and halves have nothing to say to
    /// each other.
    fn reaches(&self, flight: &Flight, seat: usize, partition: &Partition) -> bool {
        let shape: Shape = self.schedule.shape;
        let member = shape.member(seat);
        let addressed = match flight.to {
            To::All => true,
            To::Member(to) => to == member,
        };
        addressed
            && member != shape.member(flight.from)
            && partition.joins(flight.from, seat)
            && self.hears(&flight.message, member)
    }

    /// Narrow votes are for the leader of the view after theirs, while the schedule lasts.
    fn hears(&self, message: &Message, member: MemberIndex) -> bool {
        let (Message::Vote(vote), Votes::Narrow) = (message, self.schedule.votes) else {
            return true;
        };
        let rounds = &self.schedule.rounds;
        if self.round > rounds.len() as u64 {
            return true;
        }
        // Rounds are counted from 0 here, and views from 1.
        let next = usize::try_from(vote.view.get()).ok();
        let next = next.and_then(|view| rounds.get(view));
        next.is_none_or(|round| round.leader == member)
    }

    fn arrive(&mut self, flight: &Flight, seat: usize) {
        let replica = self.seats[seat].replica();
        if flight.message.is_stale(&replica.horizon()) {
            return; // validators drop it before they check it
        }
        let from = self.schedule.shape.member(flight.from);
        self.trace(|| {
            let summary = ConsensusSummary(&flight.message);
            format!("{seat} <- {} {summary}", flight.from)
        });
        let said = self.seats[seat].receive(from, (*flight.message).clone());
        self.take(seat, said);
    }

    /// What a step came to.
    fn take(&mut self, seat: usize, said: Said) {
        self.steps += 1;
        let shape = self.schedule.shape;
        let judged = !shape.is_twin(seat);
        self.trace_said(seat, &said);
        let replica = self.seats[seat].replica();
        let checked = self.checker.on_step(seat, judged, replica, &said);
        self.note(checked);
        for evidence in &said.evidence {
            if !shape.is_twin(evidence.author().get()) {
                let detail = format!("{seat} has {evidence:?}");
                self.note(Err(Broken::new("no evidence against the correct", detail)));
            }
        }
        for outbound in said.sent {
            match self.committee.check(outbound.message) {
                Ok(message) => self.flights.push_back(Flight {
                    from: seat,
                    to: outbound.to,
                    round: view_of(&message).get(),
                    message: Rc::new(message),
                }),
                Err(rejection) => {
                    let detail = format!("what {seat} sent: {rejection}");
                    self.note(Err(Broken::new("honest messages are accepted", detail)));
                }
            }
        }
    }

    fn note(&mut self, checked: Result<(), Broken>) {
        if let Err(broken) = checked
            && self.broken.is_none()
        {
            self.trace(|| format!("BROKEN {broken}"));
            self.broken = Some(broken);
        }
    }

    fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(sink) = &mut self.sink {
            sink(&format!("{:>3} {}", self.round, line()));
        }
    }

    fn trace_said(&mut self, seat: usize, said: &Said) {
        for block in &said.committed {
            let header = block.block().header();
            let id = block.block().id();
            self.trace(|| format!("{seat} commits {} {} {id:?}", header.height, header.view));
        }
        for (from, refusal) in &said.refused {
            self.trace(|| format!("{seat} refuses {from}: {refusal}"));
        }
        if let Some(fatal) = &said.stop {
            self.trace(|| format!("{seat} stops: {fatal}"));
        }
    }
}

fn committed(seat: &Seat) -> &Header {
    seat.replica().committed().header()
}

/// The view that a statement is for. Certificates, requests and answers are for none: they arrive
/// in the round in which they are sent.
fn view_of(message: &Message) -> View {
    match message {
        Message::Proposal(proposal) => proposal.view(),
        Message::Vote(vote) => vote.view,
        Message::Timeout(timeout) => timeout.view,
        Message::Certificates(_)
        | Message::BlockRequest { .. }
        | Message::Blocks(_)
        | Message::Inquiry(_)
        | Message::Testimony(_) => View::ZERO,
    }
}
