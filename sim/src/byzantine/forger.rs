//! A beacon member that hands shards records which are certified and not committed: in the place of
//! a commit proof it gives one certificate twice, with a child that nobody has voted for.

use std::sync::Arc;

use lockstep_shard::{BeaconChain, CertifiedRecord, Message};
use lockstep_types::{CommitProof, Header, QuorumCertificate};

use super::{Behaviour, Seat};

/// See the module.
#[derive(Default)]
pub(super) struct Forger;

/// The proof of a block for which only `qc` is known.
fn proof(seat: &mut Seat<'_>, header: &Header, qc: &QuorumCertificate) -> CommitProof {
    let child = Header {
        view: header.view.next(),
        height: header.height.next(),
        parent: header.id(),
        parent_view: header.view,
        time: header.time.next(),
        ..header.clone()
    };
    let mut child_qc = qc.clone();
    if seat.place.random.chance(500) {
        child_qc.block = child.id();
        child_qc.view = child.view;
    }
    CommitProof {
        headers: vec![header.clone()].into(),
        qc: qc.clone(),
        child,
        child_qc,
    }
}

impl Behaviour for Forger {
    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(300) {
            return;
        }
        let memory = seat.memory;
        let certified = memory.proposals.values().rev().find_map(|proposal| {
            let record = BeaconChain::record_in(&proposal.block)?;
            let qc = memory.certificates.get(&proposal.view())?;
            (qc.block == proposal.block.id()).then_some((record, proposal.block.header(), qc))
        });
        let Some((record, header, qc)) = certified else {
            return;
        };
        let proof = proof(seat, header, qc);
        let record = Arc::new(CertifiedRecord { record, proof });
        if let Some(to) = seat.somebody_in(|id| id.shard().is_some()) {
            seat.lie(to, Message::Record(record));
        }
    }
}
