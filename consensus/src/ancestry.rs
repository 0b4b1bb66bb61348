//! What decides about the children of a block and follows from the headers of its chain alone. A
//! replica that starts on a block of its disk, or on one that others gave it, holds nothing of the
//! chain below; it is given this beside the block.
//!
//! Breaks if: two replicas that hold the same block judge its children differently.

use lockstep_types::{Committee, Header, Height};
use parity_scale_codec::{Decode, Encode};

use crate::SkipTable;

/// What a chain up to some block says of the block's children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Ancestry {
    /// Who is passed over as leader on top of the block.
    pub skips: SkipTable,
    /// The newest height that a child commits by its ancestry: that of the last block on this chain
    /// whose own child on it is of the very next view. A child brings that one's certificate.
    pub commits: Height,
}

impl Ancestry {
    /// What holds on top of the block with this header, whose parent has this.
    #[must_use]
    pub fn after(&self, committee: &Committee, header: &Header) -> Ancestry {
        let parent = header.height.previous();
        Ancestry {
            skips: self.skips.after(committee, header),
            commits: parent
                .filter(|_| header.view.follows(header.parent_view))
                .unwrap_or(self.commits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::generate::Random;
    use lockstep_types::{PublicKey, View};

    #[test]
    fn a_child_commits_the_last_block_with_a_child_of_the_next_view() {
        let committee = Committee::new((0..4).map(|i| PublicKey::new([i; 33])).collect()).unwrap();
        let mut ancestry = Ancestry::default();
        // Views 1 and 2 follow each other, 4 and 5 do, 7 does not follow 5.
        for (height, (view, parent), commits) in [
            (1, (1, 0), 0),
            (2, (2, 1), 1),
            (3, (4, 2), 1),
            (4, (5, 4), 3),
            (5, (7, 5), 3),
        ] {
            let header = Header {
                height: Height::new(height),
                view: View::new(view),
                parent_view: View::new(parent),
                ..Random::new(1).make()
            };
            ancestry = ancestry.after(&committee, &header);
            assert_eq!(ancestry.commits, Height::new(commits), "above view {view}");
        }
    }
}
