//! A member that shows timeout certificates nobody signed: with the signers' highest views rewritten
//! so that an older block may be extended, with a certificate below the highest view signed, with
//! the signatures of another view, or with votes in the place of timeouts.

use lockstep_consensus::{self as consensus, Proposal};
use lockstep_shard::{Message, Peer};
use lockstep_types::{Epoch, Header, QuorumCertificate, TimeoutCertificate, View};

use super::instead::Instead;
use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct TcForger(Instead);

/// A certificate for `view` that allows to extend `low`.
fn forged(seat: &mut Seat<'_>, view: View, low: &QuorumCertificate) -> TimeoutCertificate {
    let memory = seat.memory;
    let real = memory.gave_up.get(&view).cloned();
    let newest = memory.gave_up.last_key_value().map(|(_, tc)| tc.clone());
    match (seat.choose(3), real, newest) {
        (0, Some(mut tc), _) => {
            for high in &mut tc.high_qc_views {
                *high = (*high).min(low.view);
            }
            tc.high_qc = low.clone();
            tc
        }
        (1, Some(mut tc), _) => {
            tc.high_qc = low.clone();
            tc
        }
        (2, _, Some(mut tc)) if tc.view != view => {
            tc.view = view;
            tc
        }
        _ => TimeoutCertificate {
            epoch: Epoch::ZERO,
            view,
            signers: low.signers,
            high_qc_views: vec![low.view; low.signatures.len()],
            signatures: low.signatures.clone(),
            high_qc: low.clone(),
        },
    }
}

fn on_a_forged_one(seat: &mut Seat<'_>, own: &Proposal) -> Option<Proposal> {
    let view = own.view().previous()?;
    let (low, parent) = seat.memory.extendable(own.justify.view).next()?;
    let tc = forged(seat, view, low);
    let header = Header {
        height: parent.height.next(),
        parent: low.block,
        parent_view: low.view,
        executed: parent.executed,
        ..own.block.header().clone()
    };
    Some(seat.propose(header, Vec::new(), low.clone(), Some(tc)))
}

impl Behaviour for TcForger {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        self.0.send(seat, to, message, on_a_forged_one);
    }

    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(30) {
            return;
        }
        let memory = seat.memory;
        let Some((highest, high_qc)) = memory.certificates.last_key_value() else {
            return;
        };
        let ahead = 1 + seat.place.random.below(10);
        let certificates = consensus::Certificates {
            high_tc: Some(forged(seat, highest.plus(ahead), high_qc)),
            high_qc: high_qc.clone(),
        };
        let to = seat.somebody();
        seat.lie_in_consensus(to, consensus::Message::Certificates(Box::new(certificates)));
    }
}
