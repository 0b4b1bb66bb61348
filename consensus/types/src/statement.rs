//! What exactly is signed. One preimage layout for every kind of protocol signature, so that no
//! signature made for one purpose, chain, committee, epoch or view can serve another.

use parity_scale_codec::Encode;

use crate::{CommitteeId, Digest, Epoch, GenesisHash, Hasher, View};

/// Version of the wire and signature formats.
pub const FORMAT_VERSION: u8 = 1;

/// What a signature says. The number is part of the signed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
pub enum Kind {
    /// "I propose this block in its view."
    #[codec(index = 1)]
    Proposal,
    /// "I vote for this block in its view."
    #[codec(index = 2)]
    Vote,
    /// "I gave up on this view, and my highest certificate has that view."
    #[codec(index = 3)]
    Timeout,
    /// "I packed this batch."
    #[codec(index = 4)]
    Batch,
    /// "My shard stood like this at its seal."
    #[codec(index = 5)]
    Checkpoint,
    /// "I am the validator with this network identity."
    #[codec(index = 6)]
    Handshake,
    /// "This is what I know, and what I have seen of you."
    #[codec(index = 7)]
    Testimony,
}

/// Where a signature is valid: one chain, one committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain {
    /// The chain.
    pub genesis: GenesisHash,
    /// The committee within it.
    pub committee: CommitteeId,
}

impl Domain {
    /// The digest that is signed for `content` in a view of an epoch.
    pub fn statement(&self, kind: Kind, epoch: Epoch, view: View, content: &impl Encode) -> Digest {
        let mut signed = *self;
        if crate::planted!(NoCommitteeInSignedBytes) {
            signed.committee = CommitteeId::Beacon;
        }
        if crate::planted!(NoChainInSignedBytes) {
            signed.genesis = GenesisHash::ZERO;
        }
        Hasher::new("lockstep/statement")
            .value(&FORMAT_VERSION)
            .value(&signed.genesis)
            .value(&signed.committee)
            .value(&epoch)
            .value(&kind)
            .value(&view)
            .value(content)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardId;

    #[test]
    fn every_part_of_the_domain_changes_the_digest() {
        let beacon = Domain {
            genesis: GenesisHash::new(crate::hash("g", &0u8)),
            committee: CommitteeId::Beacon,
        };
        let shard = Domain {
            committee: CommitteeId::Shard(ShardId::new(0)),
            ..beacon
        };
        let other_chain = Domain {
            genesis: GenesisHash::new(crate::hash("g", &1u8)),
            ..beacon
        };
        let (e, v) = (Epoch::ZERO, View::new(1));
        let digests = [
            beacon.statement(Kind::Vote, e, v, &1u8),
            shard.statement(Kind::Vote, e, v, &1u8),
            other_chain.statement(Kind::Vote, e, v, &1u8),
            beacon.statement(Kind::Timeout, e, v, &1u8),
            beacon.statement(Kind::Vote, e.next(), v, &1u8),
            beacon.statement(Kind::Vote, e, v.next(), &1u8),
            beacon.statement(Kind::Vote, e, v, &2u8),
        ];
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
