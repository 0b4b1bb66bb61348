//! How messages get from one member to another: what a step sends, what liars make of it, the check
//! before it goes on the links, its arrival, and the answers to questions.
//!
//! Breaks if: a message reaches a member that was not checked against that member's context.

use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use lockstep_shard::{
    Archive, Destination, Fatal, Input, Message, Outbound, Peer, Ready, Request, answer_part,
};
use lockstep_types::Verified;

use crate::World;
use crate::byzantine::{Liar, Parcel, Place, Post};
use crate::event::Event;
use crate::trace::{self, Summary};

impl World {
    pub(crate) fn connect(&mut self, node: usize) {
        let peer = self.nodes[node].peer;
        for other in 0..self.nodes.len() {
            let theirs = self.nodes[other].peer;
            if theirs == peer || theirs.committee != peer.committee {
                continue;
            }
            for (at, with) in [(other, peer), (node, theirs)] {
                let here = &self.nodes[at];
                if here.running.is_some() && here.paused_until <= self.now {
                    self.step(at, Input::Connected { peer: with });
                }
            }
        }
    }

    /// Resets the connection between two members: what is on its way is lost. It is up again after
    /// `down`, and both notice.
    pub fn reset(&mut self, one: &Peer, other: &Peer, down: Duration) {
        let (at, with) = (self.seats[one], *other);
        self.tell(
            at,
            format_args!("loses its connection to {}", trace::Name(&with)),
        );
        self.network.reset(one, other);
        for (at, peer) in [(one, *other), (other, *one)] {
            let node = self.seats[at];
            self.agenda
                .add(self.now.after(down), node, Event::Connect { peer });
        }
    }

    pub(crate) fn on_connect(&mut self, node: usize, peer: Peer) {
        let theirs = &self.nodes[self.seats[&peer]];
        if self.nodes[node].running.is_some() && theirs.running.is_some() {
            self.step(node, Input::Connected { peer });
        }
    }

    /// A message comes to the seat of `node`.
    pub(crate) fn deliver(&mut self, from: Peer, node: usize, message: Rc<Verified<Message>>) {
        for copy in self.copies_of(node, &from).into_iter().flatten() {
            self.arrive(from, copy, message.clone());
        }
    }

    fn arrive(&mut self, from: Peer, node: usize, message: Rc<Verified<Message>>) {
        let Some(running) = &self.nodes[node].running else {
            return;
        };
        // What a validator drops before it checks signatures.
        if let Message::Consensus(inner) = &**message
            && inner.is_stale(&running.member.horizon())
        {
            return self.checkers.on_stale(&from);
        }
        let kind = message.kind();
        let digest = self.digest.take().expect("put back below");
        self.digest = Some(digest.value(&(self.now, from, node as u64)).value(&kind));
        self.tell(
            node,
            format_args!("<- {:<10} {}", trace::Name(&from), Summary(&message)),
        );
        if self.nodes[node].liar.is_some() {
            self.let_lie(node, |liar, place| liar.hear(place, from, &message));
        }
        self.checkers.on_accepted(&self.nodes[node].peer, &message);
        let message = Rc::unwrap_or_clone(message);
        self.step(node, Input::Received { from, message });
    }

    pub(crate) fn serve(&mut self, node: usize, ready: &mut Ready) {
        let now = self.now;
        for (peer, request) in core::mem::take(&mut ready.serve) {
            let found = match &request {
                Request::Manifest => Ok(vec![self.running(node).shelf.manifest()]),
                Request::Part { record, name } => {
                    let held = self.running(node).shelf.find(now, *record);
                    Ok(vec![answer_part(held.as_deref(), *record, name.clone())])
                }
                Request::Entries { destination, from } => {
                    let executor = self.running(node).executor.as_ref();
                    let bundle = executor.and_then(|e| e.entries(*destination, *from));
                    Ok(bundle
                        .map(|b| Message::Bundle(Arc::new(b)))
                        .into_iter()
                        .collect())
                }
                _ => Archive::new(self.nodes[node].disk.store()).answer(&request),
            };
            if !self.answer(node, Destination::Member(peer), found) {
                return;
            }
        }
        for request in core::mem::take(&mut ready.serve_blocks) {
            let found = Archive::new(self.nodes[node].disk.store()).answer_blocks(&request);
            let found = found.map(|message| message.into_iter().collect());
            if !self.answer(node, Destination::Seat(request.peer), found) {
                return;
            }
        }
    }

    /// Sends an answer. False when its store could not be read, which has ended the process.
    fn answer(&mut self, node: usize, to: Destination, found: Result<Vec<Message>, Fatal>) -> bool {
        match found {
            Ok(messages) => {
                let outbound = messages.into_iter().map(|message| Outbound { to, message });
                self.send(node, outbound.collect());
                true
            }
            Err(fatal) => {
                self.stop(node, &fatal);
                false
            }
        }
    }

    pub(crate) fn receivers(&self, from: &Peer, to: Destination) -> Vec<Peer> {
        let committee = from.committee;
        match to {
            Destination::Seat(member) => vec![Peer { committee, member }],
            Destination::Member(peer) => vec![peer],
            Destination::Committee | Destination::Gossip => {
                let members = self.chain.genesis.committee(committee).indices();
                members
                    .map(|member| Peer { committee, member })
                    .filter(|peer| peer != from)
                    .collect()
            }
        }
    }

    pub(crate) fn send(&mut self, node: usize, messages: Vec<Outbound>) {
        let from = self.nodes[node].peer;
        if self.nodes[node].liar.is_some() {
            let mut honest = Vec::new();
            for Outbound { to, message } in messages {
                let receivers = self.receivers(&from, to).into_iter();
                honest.extend(receivers.map(|receiver| (receiver, message.clone())));
            }
            return self.let_lie(node, |liar, place| liar.send(place, honest));
        }
        for Outbound { to, message } in messages {
            self.checkers.on_sent(&from, &message);
            let mut receivers = self.receivers(&from, to);
            receivers.retain(|to| self.may_reach(node, to));
            self.transmit(from, &receivers, message);
        }
    }

    /// Lets a liar hear or say something, and puts what it makes of it on the links.
    fn let_lie(&mut self, node: usize, act: impl FnOnce(&mut Liar, Place<'_>) -> Post) {
        let mut liar = self.nodes[node].liar.take().expect("asked of liars only");
        let this = &self.nodes[node];
        let from = this.peer;
        let running = this.running.as_ref();
        let place = Place {
            genesis: &self.chain.genesis,
            peer: from,
            signer: &this.signer,
            now: self.now,
            executor: running.and_then(|running| running.executor.as_ref()),
            random: &mut self.whims,
        };
        let post = act(&mut liar, place);
        self.nodes[node].liar = Some(liar);
        self.checkers.on_lied(&from, &post);
        for (to, parcel, _) in post.parcels {
            match parcel {
                Parcel::Message(message) => self.post(from, to, message),
                Parcel::Bytes(bytes) => match Message::from_bytes(&bytes) {
                    Ok(message) => self.post(from, to, message),
                    Err(rejection) => self.checkers.on_rejected(&from, &rejection),
                },
            }
        }
    }

    fn post(&mut self, from: Peer, to: Peer, message: Message) {
        self.checkers.on_sent(&from, &message);
        self.transmit(from, &[to], message);
    }

    /// Puts a message on the links. It is checked once, for all receivers, which are of one
    /// committee; the check depends on nothing that could change on the way.
    pub(crate) fn transmit(&mut self, from: Peer, receivers: &[Peer], message: Message) {
        let mut arrivals = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            let seat = self.seats[receiver];
            let connection = self.network.connection(&from, receiver);
            let times = self.network.arrivals(self.now, &from, receiver);
            arrivals.extend(times.map(|at| (at, seat, connection)));
        }
        let Some(committee) = receivers.first().map(|peer| peer.committee) else {
            return;
        };
        if arrivals.is_empty() {
            return;
        }
        let message = match self.verifier.check(message, &self.contexts[&committee]) {
            Ok(message) => Rc::new(message),
            Err(rejection) => return self.checkers.on_rejected(&from, &rejection),
        };
        self.checkers.on_checked(&from, &message);
        if let Some(recorder) = &mut self.recorder {
            recorder.note(from, committee, &message);
        }
        for (at, seat, connection) in arrivals {
            let message = message.clone();
            let event = Event::Deliver {
                from,
                connection,
                message,
            };
            self.agenda.add(at, seat, event);
        }
    }
}
