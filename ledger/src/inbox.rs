//! Inbox: what has been credited from other shards. Per source a watermark, the next sequence
//! number to credit, and the source's certified outbox roots. Applying a record only raises the
//! roots; credits are payload.

use std::collections::VecDeque;

use lockstep_types::{MerkleRoot, ShardId, WindowNumber};
use parity_scale_codec::{Decode, Encode};

use crate::merkle::RootKind;
use crate::{Amounts, Flow};

/// The inbox tree: a list of [`InboxLeaf`].
pub(crate) const INBOX: RootKind = RootKind::new("lockstep/inbox", "lockstep/inbox-leaf");

/// Certified roots kept per source. A bundle is made against the newest root its maker knows; one
/// that has aged 16 records on its way is made again.
pub const MAX_CERTIFIED_ROOTS: usize = 16;

/// What the inbox root says about one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InboxLeaf {
    /// The source.
    pub source: ShardId,
    /// Entries of it that have been credited.
    #[codec(compact)]
    pub consumed: u64,
}

/// One shard's checkpoint in a record, as far as another shard's ledger needs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CertifiedOutbox {
    /// Whose checkpoint.
    pub source: ShardId,
    /// The window it seals.
    pub window: WindowNumber,
    /// The outbox root it certifies.
    pub outbox_root: MerkleRoot,
    /// Its flow with the shard that applies the record, if there is any.
    pub flow: Option<Flow>,
}

/// Everything known from one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox {
    /// The next sequence number to credit.
    pub(crate) consumed: u64,
    /// Amounts ever credited.
    pub(crate) received: Amounts,
    /// Windows and their roots, ascending, the newest last.
    pub(crate) certified: VecDeque<(WindowNumber, MerkleRoot)>,
}

impl Inbox {
    /// A record names a checkpoint of the source.
    pub(crate) fn certify(&mut self, window: WindowNumber, root: MerkleRoot) {
        if self
            .certified
            .back()
            .is_some_and(|(newest, _)| *newest >= window)
        {
            return; // known already, or older than what is known
        }
        self.certified.push_back((window, root));
        if self.certified.len() > MAX_CERTIFIED_ROOTS {
            self.certified.pop_front();
        }
    }

    pub(crate) fn root(&self, window: WindowNumber) -> Option<&MerkleRoot> {
        self.certified
            .iter()
            .find(|(known, _)| *known == window)
            .map(|(_, root)| root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::hash;

    #[test]
    fn roots_rise_and_are_bounded() {
        let root = |number: u64| MerkleRoot::new(hash("test", &number));
        let mut inbox = Inbox::default();
        for number in 1..=2 * MAX_CERTIFIED_ROOTS as u64 {
            inbox.certify(WindowNumber::new(number), root(number));
            inbox.certify(WindowNumber::new(number), root(99));
            inbox.certify(WindowNumber::new(number / 2), root(99));
        }
        assert_eq!(inbox.certified.len(), MAX_CERTIFIED_ROOTS);
        assert_eq!(inbox.root(WindowNumber::new(17)), Some(&root(17)));
        assert_eq!(inbox.root(WindowNumber::new(16)), None);
        assert_eq!(inbox.root(WindowNumber::new(32)), Some(&root(32)));
    }
}
