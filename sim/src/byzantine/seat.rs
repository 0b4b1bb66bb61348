//! Where a liar sits, what it may use, and what it posts. It signs with its own key and no other.

use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_genesis::Genesis;
use lockstep_ledger::Transaction;
use lockstep_shard::{Batch, BatchHeader, Executor, Message, Peer};
use lockstep_types::{
    Block, BlockId, CommitteeId, Domain, Epoch, Header, KeyedSigner, Kind, QuorumCertificate,
    Signer, Time, Timeout, TimeoutCertificate, View, Vote, WindowNumber, hash,
};
use parity_scale_codec::{Decode, Encode};

use super::Memory;
use crate::Random;

/// What a liar puts on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// A message.
    Message(Message),
    /// What may or may not be the encoding of one.
    Bytes(Vec<u8>),
}

/// What a liar sends and keeps to itself in one go.
#[derive(Debug, Default)]
pub struct Post {
    /// To whom, what, and whether a correct member would not have sent it.
    pub parcels: Vec<(Peer, Parcel, bool)>,
    /// Messages of its replica that it did not send.
    pub kept_back: u64,
    /// What others did because of its lies, as far as it can tell.
    pub effects: Vec<&'static str>,
}

/// What the world gives a liar.
pub struct Place<'a> {
    /// The chain.
    pub genesis: &'a Arc<Genesis>,
    /// Its seat.
    pub peer: Peer,
    /// Signs for this seat and for no other.
    pub signer: &'a KeyedSigner,
    /// The time.
    pub now: Time,
    /// Its replica's execution, in a shard.
    pub executor: Option<&'a Executor>,
    /// For its free choices.
    pub random: &'a mut Random,
}

/// A liar at work.
pub struct Seat<'a> {
    /// Where it sits, and what it may use.
    pub place: Place<'a>,
    /// What it has seen.
    pub memory: &'a Memory,
    pub(super) post: Post,
}

impl<'a> Seat<'a> {
    pub(super) fn new(place: Place<'a>, memory: &'a Memory) -> Self {
        Seat {
            place,
            memory,
            post: Post::default(),
        }
    }

    /// Sends what its replica would.
    pub fn say(&mut self, to: Peer, message: Message) {
        let parcel = Parcel::Message(message);
        self.post.parcels.push((to, parcel, false));
    }

    /// Sends what no correct member would send.
    pub fn lie(&mut self, to: Peer, message: Message) {
        let parcel = Parcel::Message(message);
        self.post.parcels.push((to, parcel, true));
    }

    /// The same with a message of consensus.
    pub fn lie_in_consensus(&mut self, to: Peer, message: consensus::Message) {
        self.lie(to, Message::Consensus(message));
    }

    /// Sends bytes.
    pub fn lie_in_bytes(&mut self, to: Peer, bytes: Vec<u8>) {
        self.post.parcels.push((to, Parcel::Bytes(bytes), true));
    }

    /// Does not send a message of its replica.
    pub fn keep_back(&mut self) {
        self.post.kept_back += 1;
    }

    /// A lie had this effect on somebody.
    pub fn saw(&mut self, effect: &'static str) {
        self.post.effects.push(effect);
    }

    /// The chain and committee its statements are for.
    pub fn domain(&self) -> Domain {
        self.place.genesis.domain(self.place.peer.committee)
    }

    /// Members that may be faulty in its committee.
    pub fn faulty(&self) -> usize {
        self.place
            .genesis
            .committee(self.place.peer.committee)
            .max_faulty()
    }

    /// The members of a committee but itself.
    pub fn members(&self, committee: CommitteeId) -> Vec<Peer> {
        let members = self.place.genesis.committee(committee).indices();
        members
            .map(|member| Peer { committee, member })
            .filter(|peer| *peer != self.place.peer)
            .collect()
    }

    /// The other members of its committee.
    pub fn others(&self) -> Vec<Peer> {
        self.members(self.place.peer.committee)
    }

    /// One of them.
    pub fn somebody(&mut self) -> Peer {
        let others = self.others();
        *self.place.random.pick(&others)
    }

    /// A member of any of these committees, but itself.
    pub fn somebody_in(&mut self, wanted: impl Fn(CommitteeId) -> bool) -> Option<Peer> {
        let committees = self.place.genesis.committees().filter(|id| wanted(*id));
        let peers: Vec<Peer> = committees.flat_map(|id| self.members(id)).collect();
        (!peers.is_empty()).then(|| *self.place.random.pick(&peers))
    }

    /// A draw from so few that it is an index.
    pub fn choose(&mut self, bound: u64) -> usize {
        usize::try_from(self.place.random.below(bound)).expect("a small number")
    }

    /// Is it this member's own proposal?
    pub fn is_mine(&self, proposal: &Proposal) -> bool {
        proposal.proposer() == self.place.peer.member
    }

    /// Its vote.
    pub fn vote(&self, view: View, block: BlockId) -> consensus::Message {
        let (author, domain) = (self.place.peer.member, self.domain());
        let vote = Vote::sign(self.place.signer, &domain, author, Epoch::ZERO, view, block);
        consensus::Message::Vote(vote)
    }

    /// A block that nobody has made.
    pub fn invented(&self, view: View) -> BlockId {
        BlockId::new(hash("lockstep/invented", &(view, self.place.peer)))
    }

    /// Its proposal of a block.
    pub fn propose(
        &self,
        header: Header,
        payload: Vec<u8>,
        justify: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> Proposal {
        let block = Block::new(header, payload);
        Proposal::sign(
            self.place.signer,
            &self.domain(),
            block,
            justify,
            entered_by,
        )
    }

    /// `timeout` naming an older certificate. It must show how its view was entered, so only where
    /// a timeout certificate did that.
    pub fn older_timeout(&self, timeout: &Timeout) -> Option<Timeout> {
        let entered_by = timeout.entered_by.clone()?;
        let older = self.memory.certificates.range(..timeout.high_qc.view);
        let (_, old) = older.last()?;
        let (author, domain) = (self.place.peer.member, self.domain());
        let (view, old) = (timeout.view, old.clone());
        let entered_by = Some(entered_by);
        Some(Timeout::sign(
            self.place.signer,
            &domain,
            author,
            view,
            old,
            entered_by,
        ))
    }

    /// A batch of its own.
    pub fn batch(
        &self,
        window: WindowNumber,
        sequence: u64,
        transactions: Vec<Transaction>,
    ) -> Batch {
        let header = BatchHeader {
            epoch: Epoch::ZERO,
            author: self.place.peer.member,
            window,
            sequence,
            body: hash("lockstep/batch-body", &transactions),
        };
        let statement = self
            .domain()
            .statement(Kind::Batch, Epoch::ZERO, View::ZERO, &header);
        let signature = self.place.signer.sign(&statement);
        let bytes = (header, signature, transactions).encode();
        Batch::decode(&mut &bytes[..]).expect("the encoding of a batch")
    }
}
