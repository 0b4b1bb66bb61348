//! A member that makes a quorum of itself: certificates in which it signs for everybody, in which one
//! bit stands for many signatures, or many for one, or bits for members that do not exist.

use lockstep_consensus as consensus;
use lockstep_types::{
    BlockId, Epoch, MemberIndex, QuorumCertificate, Signer, Signers, Timeout, View, Vote,
};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct DuplicateSigner;

/// A certificate for a block that nobody but this member has voted for.
fn certificate(seat: &mut Seat<'_>, view: View, block: BlockId) -> QuorumCertificate {
    let committee = seat.place.genesis.committee(seat.place.peer.committee);
    let (quorum, size) = (committee.quorum(), committee.size());
    let own = seat
        .place
        .signer
        .sign(&Vote::statement(&seat.domain(), Epoch::ZERO, view, &block));
    let everybody: Signers = committee.indices().take(quorum).collect();
    let alone: Signers = core::iter::once(seat.place.peer.member).collect();
    let index = |at: usize| MemberIndex::new(u8::try_from(at).expect("at most 64 members"));
    let nobodies: Signers = (size..size + quorum).map(index).collect();
    let (signers, signatures) = match seat.choose(5) {
        0 => (everybody, vec![own; quorum]),
        1 => (alone, vec![own; quorum]),
        2 => (everybody, vec![own]),
        3 => (nobodies, vec![own; quorum]),
        _ => (everybody, vec![own; quorum + 1]),
    };
    QuorumCertificate {
        epoch: Epoch::ZERO,
        view,
        block,
        signers,
        signatures,
    }
}

impl Behaviour for DuplicateSigner {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(50) {
            return;
        }
        let Some((newest, proposal)) = seat.memory.proposals.last_key_value() else {
            return;
        };
        let (view, block) = match seat.choose(2) {
            0 => (*newest, proposal.block.id()),
            _ => (newest.next(), seat.invented(newest.next())),
        };
        let high_qc = certificate(seat, view, block);
        let message = if seat.place.random.chance(500) {
            let high_tc = None;
            consensus::Message::Certificates(Box::new(consensus::Certificates { high_qc, high_tc }))
        } else {
            let (author, domain) = (seat.place.peer.member, seat.domain());
            let timeout = Timeout::sign(
                seat.place.signer,
                &domain,
                author,
                view.next(),
                high_qc,
                None,
            );
            consensus::Message::Timeout(Box::new(timeout))
        };
        let to = seat.somebody();
        seat.lie_in_consensus(to, message);
    }
}
