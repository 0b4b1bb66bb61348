//! A leader that makes the lowest timeout certificate it lawfully can: of the timeouts it heard those
//! that name the oldest certificates, its own naming the root; and proposes on what that allows.
//! A committed block must be extended all the same.

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::{
    Epoch, Header, MemberIndex, Signature, Signer, Timeout, TimeoutCertificate, View,
};

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct LowTc(Instead);

fn lowest(seat: &mut Seat<'_>, view: View) -> Option<TimeoutCertificate> {
    let memory = seat.memory;
    let all = (view, MemberIndex::new(0))..=(view, MemberIndex::new(u8::MAX));
    let heard = memory.timeouts.range(all).map(|(_, timeout)| timeout);
    let mut heard: Vec<&Timeout> = heard
        .filter(|t| t.author != seat.place.peer.member)
        .collect();
    heard.sort_by_key(|timeout| timeout.high_qc.view);
    heard.truncate(
        seat.place
            .genesis
            .committee(seat.place.peer.committee)
            .quorum()
            - 1,
    );
    if heard.len() + 1
        < seat
            .place
            .genesis
            .committee(seat.place.peer.committee)
            .quorum()
    {
        return None;
    }
    let highest = (*heard.last()?).clone();
    let known = memory.certificates.range(..view).next_back();
    if known.is_some_and(|(known, _)| *known > highest.high_qc.view) {
        seat.saw("leaves a higher certificate out");
    }
    let own = Timeout::statement(&seat.domain(), Epoch::ZERO, view, View::ZERO);
    let mut signed: Vec<(MemberIndex, View, Signature)> = heard
        .iter()
        .map(|timeout| (timeout.author, timeout.high_qc.view, timeout.signature))
        .collect();
    signed.push((
        seat.place.peer.member,
        View::ZERO,
        seat.place.signer.sign(&own),
    ));
    signed.sort_by_key(|(author, ..)| *author);
    Some(TimeoutCertificate {
        epoch: Epoch::ZERO,
        view,
        signers: signed.iter().map(|(author, ..)| *author).collect(),
        high_qc_views: signed.iter().map(|(_, high, _)| *high).collect(),
        signatures: signed.iter().map(|(.., signature)| *signature).collect(),
        high_qc: highest.high_qc,
    })
}

fn on_the_lowest(seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
    let tc = lowest(seat, own.entered_by.as_ref()?.view)?;
    let justify = tc.high_qc.clone();
    let parent = seat.memory.header(&justify.block)?;
    let header = Header {
        height: parent.height.next(),
        parent: justify.block,
        parent_view: justify.view,
        executed: parent.executed,
        ..own.block.header().clone()
    };
    Some(seat.propose(header, Vec::new(), justify, Some(tc)))
}

impl Behaviour for LowTc {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        self.0.send(seat, to, message, on_the_lowest);
    }

    fn act(&mut self, seat: &mut Seat<'_>) {
        let Some((view, _)) = seat.memory.timeouts.keys().next_back().copied() else {
            return;
        };
        if seat.place.random.chance(100)
            && let Some(tc) = lowest(seat, view)
        {
            let certificates = consensus::Certificates {
                high_qc: tc.high_qc.clone(),
                high_tc: Some(tc),
            };
            let to = seat.somebody();
            seat.lie_in_consensus(to, consensus::Message::Certificates(Box::new(certificates)));
        }
    }
}
