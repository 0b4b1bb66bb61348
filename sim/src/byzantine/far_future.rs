//! A member that speaks of what is far ahead: views, windows, heights, sequence numbers, up to the
//! largest there are. None of it may be kept, answered at length or make anybody stumble.

use core::time::Duration;

use std::sync::Arc;

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{CheckpointVote, Message, Request};
use lockstep_types::{CommitteeId, Height, ShardId, Timeout, View, WindowNumber};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct FarFuture;

fn far(seat: &mut Seat<'_>, near: u64) -> u64 {
    match seat.choose(3) {
        0 => near.saturating_add(65),
        1 => near.saturating_add(1_000_000),
        _ => u64::MAX,
    }
}

/// Something for its own committee.
fn for_its_own(seat: &mut Seat<'_>) -> Option<Message> {
    let memory = seat.memory;
    let (near, proposal) = memory.proposals.last_key_value()?;
    let (_, high_qc) = memory.certificates.last_key_value()?;
    let view = View::new(far(seat, near.get()));
    let (author, domain) = (seat.place.peer.member, seat.domain());
    Some(Message::Consensus(match seat.choose(5) {
        0 => seat.vote(view, seat.invented(view)),
        1 => {
            let timeout = Timeout::sign(
                seat.place.signer,
                &domain,
                author,
                view,
                high_qc.clone(),
                None,
            );
            consensus::Message::Timeout(Box::new(timeout))
        }
        2 => {
            let mut header = proposal.block.header().clone();
            header.view = view;
            header.proposer = author;
            header.height = Height::new(far(seat, header.height.get()));
            header.time = header.time.after(Duration::from_secs(1_000_000));
            let payload = proposal.block.payload().to_vec();
            let proposal: Proposal = seat.propose(header, payload, proposal.justify.clone(), None);
            consensus::Message::Proposal(Box::new(proposal))
        }
        3 => consensus::Message::BlockRequest {
            from: Height::new(far(seat, 0)),
            tip: proposal.block.id(),
        },
        _ => {
            let batch = memory.batches.back()?;
            let window = WindowNumber::new(far(seat, batch.header.window.get()));
            let batch = seat.batch(window, u64::MAX, batch.transactions.clone());
            return Some(Message::Batch(Arc::new(batch)));
        }
    }))
}

/// Something for another committee.
fn for_others(seat: &mut Seat<'_>) -> Option<(CommitteeId, Message)> {
    if seat.place.peer.committee != CommitteeId::Beacon
        && seat.place.random.chance(500)
        && let Some(vote) = seat.memory.checkpoints.back()
    {
        let mut checkpoint = vote.checkpoint.clone();
        let window = WindowNumber::new(far(seat, checkpoint.window().get()));
        checkpoint.seal.window = window;
        let vote = CheckpointVote::sign(
            seat.place.genesis,
            seat.place.signer,
            seat.place.peer.member,
            checkpoint,
        );
        return Some((CommitteeId::Beacon, Message::Checkpoint(Box::new(vote))));
    }
    let committees: Vec<CommitteeId> = seat.place.genesis.committees().collect();
    let committee = *seat.place.random.pick(&committees);
    let request = match seat.choose(2) {
        0 => Request::Record(WindowNumber::new(far(seat, 100))),
        _ => Request::Entries {
            destination: seat
                .place
                .peer
                .committee
                .shard()
                .unwrap_or(ShardId::new(u16::MAX)),
            from: far(seat, 100),
        },
    };
    Some((committee, Message::Request(request)))
}

impl Behaviour for FarFuture {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if seat.place.random.chance(100)
            && let Some(message) = for_its_own(seat)
        {
            let to = seat.somebody();
            seat.lie(to, message);
        }
        if seat.place.random.chance(20)
            && let Some((committee, message)) = for_others(seat)
            && let Some(to) = seat.somebody_in(|id| id == committee)
        {
            seat.lie(to, message);
        }
    }
}
