//! Certificates (I12): who signs is a set of members of the committee, a quorum of it, each with a
//! signature; a timeout certificate carries a certificate of the highest view that its signers name.
//! Asked of everything that a correct member sends. Signatures are checked on the way to others.

use lockstep_consensus::{self as consensus, Certificates};
use lockstep_genesis::Genesis;
use lockstep_shard::{CertifiedCheckpoint, CertifiedRecord, Message, ShardEntry};
use lockstep_types::{
    Committee, CommitteeId, Epoch, QuorumCertificate, Signature, Signers, Timeout,
    TimeoutCertificate, View,
};

use super::Broken;

/// Are all certificates of a message that a member of `committee` sends what they must be?
///
/// # Errors
/// The first that is not of a quorum.
pub fn check(genesis: &Genesis, committee: CommitteeId, message: &Message) -> Result<(), Broken> {
    let own = genesis.committee(committee);
    match message {
        Message::Consensus(message) => check_consensus(own, message),
        Message::Record(record) => check_record(genesis, record),
        Message::Manifest(Some(manifest)) => {
            check_qc(own, &manifest.link.justify)?;
            check_qc(own, &manifest.proof.qc)?;
            check_qc(own, &manifest.proof.child_qc)?;
            check_record(genesis, &manifest.record)
        }
        Message::Manifest(None) | Message::Part(_) => Ok(()),
        Message::Batch(_) | Message::Checkpoint(_) | Message::Bundle(_) | Message::Request(_) => {
            Ok(())
        }
    }
}

fn check_consensus(committee: &Committee, message: &consensus::Message) -> Result<(), Broken> {
    match message {
        consensus::Message::Proposal(proposal) => {
            check_tc(committee, proposal.entered_by.as_ref())?;
            check_qc(committee, &proposal.justify)
        }
        consensus::Message::Timeout(timeout) => check_timeout(committee, timeout),
        consensus::Message::Certificates(known) => check_known(committee, known),
        consensus::Message::Blocks(blocks) => {
            let mut links = blocks.iter();
            links.try_for_each(|link| check_qc(committee, &link.justify))
        }
        consensus::Message::Testimony(testimony) => {
            let mut timeouts = testimony.timeout.iter();
            timeouts.try_for_each(|timeout| check_timeout(committee, timeout))?;
            check_known(committee, &testimony.certificates)
        }
        consensus::Message::Vote(_)
        | consensus::Message::BlockRequest { .. }
        | consensus::Message::Inquiry(_) => Ok(()),
    }
}

fn check_known(committee: &Committee, known: &Certificates) -> Result<(), Broken> {
    check_tc(committee, known.high_tc.as_ref())?;
    check_qc(committee, &known.high_qc)
}

fn check_timeout(committee: &Committee, timeout: &Timeout) -> Result<(), Broken> {
    check_tc(committee, timeout.entered_by.as_ref())?;
    check_qc(committee, &timeout.high_qc)
}

fn check_record(genesis: &Genesis, record: &CertifiedRecord) -> Result<(), Broken> {
    let beacon = genesis.committee(CommitteeId::Beacon);
    check_qc(beacon, &record.proof.qc)?;
    check_qc(beacon, &record.proof.child_qc)?;
    let present = record.record.shards.iter();
    for certified in present.filter_map(ShardEntry::checkpoint) {
        let CertifiedCheckpoint {
            checkpoint,
            signers,
            signatures,
        } = certified;
        let committee = genesis.committee(CommitteeId::Shard(checkpoint.shard));
        let what = format!("the checkpoint of window {}", checkpoint.window());
        check_signers(committee, checkpoint.epoch, *signers, signatures, &what)?;
    }
    Ok(())
}

fn check_qc(committee: &Committee, qc: &QuorumCertificate) -> Result<(), Broken> {
    if qc.view == View::ZERO {
        return Ok(()); // the root needs no votes
    }
    let what = format_args!("a certificate of {}", qc.view).to_string();
    check_signers(committee, qc.epoch, qc.signers, &qc.signatures, &what)
}

fn check_tc(committee: &Committee, tc: Option<&TimeoutCertificate>) -> Result<(), Broken> {
    let Some(tc) = tc else { return Ok(()) };
    let what = format!("a timeout certificate of {}", tc.view);
    check_signers(committee, tc.epoch, tc.signers, &tc.signatures, &what)?;
    let named = tc.high_qc_views.iter().max();
    if tc.high_qc_views.len() != tc.signatures.len() || named != Some(&tc.high_qc.view) {
        let detail = format!("{what} names {named:?} and shows {}", tc.high_qc.view);
        return Err(Broken::new("certificates are of quorums", detail));
    }
    check_qc(committee, &tc.high_qc)
}

fn check_signers(
    committee: &Committee,
    epoch: Epoch,
    signers: Signers,
    signatures: &[Signature],
    what: &str,
) -> Result<(), Broken> {
    let count = signers.count();
    if epoch == Epoch::ZERO
        && signers.is_within(committee)
        && count == signatures.len()
        && count >= committee.quorum()
    {
        return Ok(());
    }
    let detail = format!("{what}: {signers:?}, {} signatures", signatures.len());
    Err(Broken::new("certificates are of quorums", detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Forge;
    use lockstep_types::generate::Random;

    #[test]
    fn what_a_testimony_shows_is_of_quorums() {
        let (forge, mut random) = (Forge::new(), Random::new(2));
        let shard = CommitteeId::Shard(lockstep_types::ShardId::new(0));
        let chain = forge.chain(shard, &mut random, &[vec![1], vec![2]]);
        let good = forge.testimony(shard, &mut random, &chain[1]);
        let check = |bend: &dyn Fn(&mut consensus::Testimony)| {
            let mut bent = good.clone();
            bend(&mut bent);
            let bent = consensus::Message::Testimony(Box::new(bent));
            super::check(&forge.genesis, shard, &Message::Consensus(bent))
        };
        assert_eq!(check(&|_| {}), Ok(()));
        let known = |testimony: &mut consensus::Testimony| {
            testimony.certificates.high_qc.signatures.pop();
        };
        let given_up = |testimony: &mut consensus::Testimony| {
            let tc = testimony.certificates.high_tc.as_mut().unwrap();
            tc.high_qc_views.pop();
        };
        let named = |testimony: &mut consensus::Testimony| {
            let timeout = testimony.timeout.as_mut().unwrap();
            timeout.high_qc.signers = Signers::NONE;
        };
        for bend in [&known as &dyn Fn(&mut _), &given_up, &named] {
            assert!(check(bend).is_err());
        }
    }
}
