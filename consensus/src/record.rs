//! What a replica must not forget: every statement it may have released, and what it promised by
//! them. It is synced before a statement leaves.

use lockstep_types::{
    BlockId, Epoch, Height, LogPosition, MemberIndex, QuorumCertificate, Timeout,
    TimeoutCertificate, View, Vote,
};
use parity_scale_codec::{Decode, Encode};

/// The end of the log a record vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogEnd {
    /// The position of the write.
    pub position: LogPosition,
    /// The height of the block written last.
    pub height: Height,
    /// The block written last.
    pub block: BlockId,
}

/// The durable facts of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SafetyRecord {
    /// The epoch these facts are of.
    pub epoch: Epoch,
    /// The last vote itself, so that a repeat is the same bytes.
    pub last_voted: Option<Vote>,
    /// The last timeout itself, for the same reason.
    pub last_timed_out: Option<Timeout>,
    /// The highest view of a certificate that a block we voted for extended. We never time out
    /// with a lower certificate.
    pub lock: View,
    /// The highest quorum certificate seen.
    pub high_qc: QuorumCertificate,
    /// The highest timeout certificate seen. Without it a restart could end in a view that can
    /// neither be voted in nor left.
    pub high_tc: Option<TimeoutCertificate>,
    /// What was signed up to this view is not known, since the record before this one was lost; 0 when
    /// none was. Nothing is signed there.
    pub floor: View,
    /// Nothing is signed at all, until a committed block above the floor names a record.
    pub is_silent: bool,
    /// The log must reach this far for the facts to mean what they say.
    pub log_end: LogEnd,
}

impl SafetyRecord {
    /// The record of a replica that has never signed anything.
    pub fn fresh(epoch: Epoch, root: QuorumCertificate, log_end: LogEnd) -> Self {
        assert_eq!(root.view, View::ZERO, "an epoch starts from its root");
        SafetyRecord {
            epoch,
            last_voted: None,
            last_timed_out: None,
            lock: View::ZERO,
            high_qc: root,
            high_tc: None,
            floor: View::ZERO,
            is_silent: false,
            log_end,
        }
    }

    /// The view of the last vote; 0 before the first.
    pub fn last_voted_view(&self) -> View {
        self.last_voted
            .as_ref()
            .map_or(View::ZERO, |vote| vote.view)
    }

    /// The view of the last timeout; 0 before the first.
    pub fn last_timed_out_view(&self) -> View {
        self.last_timed_out
            .as_ref()
            .map_or(View::ZERO, |timeout| timeout.view)
    }

    /// The view of the highest timeout certificate; 0 before the first.
    pub fn high_tc_view(&self) -> View {
        self.high_tc.as_ref().map_or(View::ZERO, |tc| tc.view)
    }

    /// The view to be in: the one after the highest certificate of either kind.
    pub fn view(&self) -> View {
        self.high_qc.view.max(self.high_tc_view()).next()
    }

    /// The last view for which anything was signed.
    pub fn last_signed_view(&self) -> View {
        self.last_voted_view().max(self.last_timed_out_view())
    }

    /// Whose statements it holds; its owner's only, or it is the record of somebody else.
    pub fn authors(&self) -> impl Iterator<Item = MemberIndex> {
        let voted = self.last_voted.iter().map(|vote| vote.author);
        voted.chain(self.last_timed_out.iter().map(|timeout| timeout.author))
    }
}
