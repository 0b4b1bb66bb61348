//! The undecided blocks, as a tree on the newest committed one, and a few committed blocks below
//! it for peers that are a little behind.
//!
//! A block enters only after its parent and carries the parent's certificate. A block is committed
//! when it and a child proposed in the very next view are certified.
//!
//! Breaks if: a rival of a committed block stays in the tree, or the tree grows without bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use lockstep_types::{
    BlockId, CommitProof, Committee, Gauge, Hasher, Headers, Height, LinkedBlock,
    MAX_PROOF_HEADERS, QuorumCertificate,
};

use crate::{Ancestry, CommittedBlock, Refusal};

/// Most undecided blocks held beside the path from the newest committed block to the highest
/// certified one: rivals, and blocks that nobody certified.
pub const MAX_TREE_BLOCKS: usize = 512;

/// Longest undecided path. It grows while no two views in a row succeed, which one liar can bring
/// about as long as one correct member is cut off. Since views then take ever longer
/// ([`PATH_DOUBLING`]), this many stand for 48 days of that at a view timer of half a second.
pub const MAX_PATH_BLOCKS: usize = MAX_PROOF_HEADERS;

/// A block this far above what its own chain commits carries no payload: it only helps to commit
/// what is below. So a long path takes little memory.
pub const MAX_FILLED_PATH: u64 = 256;

/// With every so many undecided blocks on the path, views are given twice the time.
pub const PATH_DOUBLING: u64 = 128;

/// Most undecided blocks held.
pub const MAX_UNDECIDED: usize = MAX_PATH_BLOCKS + MAX_TREE_BLOCKS;

/// Committed blocks kept in memory for peers that are a little behind.
pub const RETAINED_BLOCKS: usize = 64;

/// How far a header's executed height may lie behind the newest block its ancestry commits.
pub const MAX_EXECUTION_LAG: u64 = 8;

#[derive(Clone)]
struct Node {
    link: Arc<LinkedBlock>,
    qc: Option<QuorumCertificate>,
    /// What decides about its children.
    ancestry: Ancestry,
    logged: bool,
}

#[derive(Clone)]
pub(crate) struct BlockTree {
    committee: Committee,
    nodes: BTreeMap<BlockId, Node>,
    committed: BlockId,
    /// The newest committed block is known to be certified together with a child of the very next
    /// view, so that no certified rival of it can have a later view.
    directly: bool,
    /// Committed blocks below `committed`, oldest first.
    retained: VecDeque<Arc<LinkedBlock>>,
}

impl BlockTree {
    /// A tree on a committed block, and what decides about its children.
    pub(crate) fn new(committee: Committee, anchor: LinkedBlock, ancestry: Ancestry) -> Self {
        let committed = anchor.block.id();
        let is_genesis = anchor.block.header().height == Height::ZERO;
        let node = Node {
            link: Arc::new(anchor),
            qc: None,
            ancestry,
            logged: true,
        };
        BlockTree {
            committee,
            nodes: BTreeMap::from([(committed, node)]),
            committed,
            directly: is_genesis,
            retained: VecDeque::new(),
        }
    }

    /// The newest committed block.
    pub(crate) fn committed(&self) -> &Arc<LinkedBlock> {
        &self.nodes[&self.committed].link
    }

    /// No certified rival of the newest committed block can have a later view.
    pub(crate) fn excludes_rivals(&self) -> bool {
        self.directly
    }

    pub(crate) fn committed_height(&self) -> Height {
        self.committed().block.header().height
    }

    /// An undecided block, or the newest committed one.
    pub(crate) fn get(&self, id: &BlockId) -> Option<&Arc<LinkedBlock>> {
        self.nodes.get(id).map(|node| &node.link)
    }

    /// What decides about the children of a block that is here.
    pub(crate) fn ancestry(&self, id: &BlockId) -> Option<&Ancestry> {
        self.nodes.get(id).map(|node| &node.ancestry)
    }

    pub(crate) fn contains(&self, id: &BlockId) -> bool {
        self.nodes.contains_key(id)
    }

    /// One of the highest blocks, undecided or committed.
    pub(crate) fn highest(&self) -> &Arc<LinkedBlock> {
        let links = self.nodes.values().map(|node| &node.link);
        let highest = links.max_by_key(|link| link.block.header().height);
        highest.expect("the newest committed block is there")
    }

    /// May `link` be put on its parent, which is in the tree? The rules that hold between a header
    /// and its parent's; the same for proposals and for synced blocks.
    pub(crate) fn check(&self, link: &LinkedBlock) -> Result<(), Refusal> {
        let header = link.block.header();
        let parent = self
            .nodes
            .get(&header.parent)
            .ok_or(Refusal::NotConnected {
                parent: header.parent,
            })?;
        let above = parent.link.block.header();
        if !header.height.follows(above.height) {
            return Err(Refusal::WrongHeight {
                got: header.height,
                parent: above.height,
            });
        }
        if header.parent_view != above.view {
            return Err(Refusal::WrongParentView {
                got: header.parent_view,
                parent: above.view,
            });
        }
        if header.time <= above.time {
            return Err(Refusal::TimeNotAfterParent);
        }
        Ok(())
    }

    /// Does the header name an executed height that its ancestry allows? Asked before a vote.
    pub(crate) fn check_executed(&self, link: &LinkedBlock) -> Result<(), Refusal> {
        let header = link.block.header();
        let node = &self.nodes[&header.parent];
        let (parent, most) = (node.link.block.header(), node.ancestry.commits);
        let behind = most.get().saturating_sub(MAX_EXECUTION_LAG);
        let least = parent.executed.height.max(Height::new(behind));
        let got = header.executed.height;
        if got < least || got > most {
            return Err(Refusal::ExecutedOutOfRange { got, least, most });
        }
        Ok(())
    }

    /// May a block on this parent, which is in the tree, carry payload?
    pub(crate) fn allows_payload(&self, parent: &BlockId) -> bool {
        let node = &self.nodes[parent];
        let above = node.link.block.header().height.next();
        above.since(node.ancestry.commits) <= MAX_FILLED_PATH
    }

    /// Is the block's payload empty where its chain is too long for more? Asked before a vote.
    pub(crate) fn check_payload(&self, link: &LinkedBlock) -> Result<(), Refusal> {
        if link.block.payload().is_empty() || self.allows_payload(&link.block.header().parent) {
            Ok(())
        } else {
            Err(Refusal::PayloadOnLongPath(MAX_FILLED_PATH))
        }
    }

    /// How many undecided blocks lead to this one; 0 if it is not here.
    pub(crate) fn path_length(&self, tip: &BlockId) -> u64 {
        let height = self.get(tip).map(|link| link.block.header().height);
        height.map_or(0, |height| height.since(self.committed_height()))
    }

    /// Adds a block to its parent. False if it is there already.
    pub(crate) fn insert(
        &mut self,
        link: Arc<LinkedBlock>,
        logged: bool,
        high: &BlockId,
    ) -> Result<bool, Refusal> {
        let id = link.block.id();
        if self.nodes.contains_key(&id) {
            return Ok(false);
        }
        let committed = self.committed_height();
        if link.block.header().height <= committed {
            return Err(Refusal::BelowCommitted {
                got: link.block.header().height,
                committed,
            });
        }
        if !lockstep_types::planted!(BlocksNeedNotFit) {
            self.check(&link)?;
        }
        self.make_room(high, &link.block.header().parent)?;
        let header = link.block.header();
        let ancestry = self.nodes[&header.parent]
            .ancestry
            .after(&self.committee, header);
        let node = Node {
            link,
            qc: None,
            ancestry,
            logged,
        };
        self.nodes.insert(id, node);
        assert!(self.nodes.len() <= MAX_UNDECIDED + 1);
        Ok(true)
    }

    /// What there is room for: a path that is not too long, and not too much beside it. Of that a
    /// full tree drops all but what leads to the new block.
    fn make_room(&mut self, high: &BlockId, parent: &BlockId) -> Result<(), Refusal> {
        if self.path_length(parent) >= MAX_PATH_BLOCKS as u64 {
            return Err(Refusal::TreeFull(MAX_PATH_BLOCKS));
        }
        if self.nodes.len() <= MAX_TREE_BLOCKS || self.beside(&self.trunk(high)) < MAX_TREE_BLOCKS {
            return Ok(());
        }
        let trunk = self.trunk(high);
        let mut keep: BTreeSet<BlockId> = BTreeSet::from([self.committed]);
        for tip in [&trunk, parent] {
            keep.extend(self.path(tip).iter().map(|link| link.block.id()));
        }
        self.nodes.retain(|id, _| keep.contains(id));
        if self.beside(&trunk) < MAX_TREE_BLOCKS {
            Ok(())
        } else {
            Err(Refusal::TreeFull(MAX_TREE_BLOCKS))
        }
    }

    /// The end of the path that is never dropped: the highest certified block, or while that one is
    /// missing, where what is known of the chain ends.
    fn trunk(&self, high: &BlockId) -> BlockId {
        if self.contains(high) {
            *high
        } else {
            self.highest().block.id()
        }
    }

    /// Undecided blocks that are not on the path to `tip`.
    fn beside(&self, tip: &BlockId) -> usize {
        let on_path = usize::try_from(self.path_length(tip)).unwrap_or(usize::MAX);
        (self.nodes.len() - 1).saturating_sub(on_path)
    }

    /// The certificate of a block, once. False if the block is unknown or was certified before.
    pub(crate) fn certify(&mut self, qc: &QuorumCertificate) -> bool {
        let Some(node) = self.nodes.get_mut(&qc.block) else {
            return false;
        };
        if node.qc.is_some() {
            return false;
        }
        assert_eq!(
            node.link.block.header().view,
            qc.view,
            "a block has one view"
        );
        node.qc = Some(qc.clone());
        true
    }

    /// Blocks above the newest committed one up to `tip`, parents first; `tip` must be in the tree.
    pub(crate) fn path(&self, tip: &BlockId) -> Vec<Arc<LinkedBlock>> {
        let mut path = Vec::new();
        let mut id = *tip;
        while id != self.committed {
            let Some(node) = self.nodes.get(&id) else {
                break;
            };
            path.push(node.link.clone());
            id = node.link.block.header().parent;
        }
        path.reverse();
        path
    }

    /// Blocks up to `tip` that are not in the log yet, parents first; now they count as logged.
    pub(crate) fn take_unlogged(&mut self, tip: &BlockId) -> Vec<Arc<LinkedBlock>> {
        let mut path = self.path(tip);
        path.retain(|link| !self.nodes[&link.block.id()].logged);
        for link in &path {
            let node = self.nodes.get_mut(&link.block.id());
            node.expect("on the path just walked").logged = true;
        }
        path
    }

    /// The commit rule: what does the certified block `child` commit?
    ///
    /// `Ok` lists the newly committed blocks, parents first, each with its proof. `Err` names the
    /// committed block whose rival would be committed.
    pub(crate) fn committed_by(&self, child: &BlockId) -> Result<Vec<CommittedBlock>, BlockId> {
        let Some(node) = self.nodes.get(child) else {
            return Ok(Vec::new());
        };
        let header = node.link.block.header();
        // The views must be consecutive: a view in between could have certified a rival.
        let consecutive = header.view.follows(header.parent_view)
            || lockstep_types::planted!(CommitWithoutConsecutiveViews);
        if !consecutive || header.parent == self.committed {
            return Ok(Vec::new());
        }
        let Some(child_qc) = node.qc.clone() else {
            return Ok(Vec::new());
        };
        let path = self.path(&header.parent);
        let Some(first) = path.first() else {
            return Ok(Vec::new()); // the parent is below what is committed
        };
        if first.block.header().parent != self.committed {
            return Err(self.committed);
        }
        let headers = path.iter().map(|link| link.block.header().clone());
        let headers: Headers = headers.collect();
        Ok(path
            .into_iter()
            .enumerate()
            .map(|(position, link)| CommittedBlock {
                ancestry: self.nodes[&link.block.id()].ancestry.clone(),
                link,
                proof: CommitProof {
                    headers: headers.from_position(position),
                    qc: node.link.justify.clone(),
                    child: header.clone(),
                    child_qc: child_qc.clone(),
                },
            })
            .collect())
    }

    /// Moves the root of the tree to a child of it. What does not descend from it stays until
    /// [`prune`](Self::prune).
    pub(crate) fn commit(&mut self, id: &BlockId, directly: bool) {
        self.directly = directly;
        let link = self.nodes[id].link.clone();
        assert_eq!(link.block.header().parent, self.committed, "one at a time");
        assert!(self.nodes[id].logged, "logged before it is given out");
        let below = self.nodes.remove(&self.committed);
        self.retained
            .push_back(below.expect("the newest committed block is there").link);
        if self.retained.len() > RETAINED_BLOCKS {
            self.retained.pop_front();
        }
        self.committed = *id;
    }

    /// Drops what does not descend from the newest committed block and so can never be committed.
    /// Once for all blocks that are committed together.
    pub(crate) fn prune(&mut self) {
        let mut order: Vec<(Height, BlockId)> = self
            .nodes
            .values()
            .map(|node| (node.link.block.header().height, node.link.block.id()))
            .collect();
        order.sort_unstable();
        let mut alive = BTreeSet::from([self.committed]);
        for (_, other) in order {
            if alive.contains(&self.nodes[&other].link.block.header().parent) {
                alive.insert(other);
            }
        }
        self.nodes.retain(|other, _| alive.contains(other));
    }

    /// What of `from..=tip` is here, parents first. None when older blocks are asked for than are
    /// kept, or when `tip` is unknown.
    pub(crate) fn range(&self, from: Height, tip: &BlockId) -> Served {
        let retained_tip = self.retained.iter().any(|link| link.block.id() == *tip);
        if !self.contains(tip) && !retained_tip {
            return Served::Unknown;
        }
        let oldest = self
            .retained
            .front()
            .unwrap_or(self.committed())
            .block
            .header()
            .height;
        if from < oldest {
            return Served::TooOld;
        }
        let mut blocks: Vec<_> = self.retained.iter().cloned().collect();
        if !retained_tip {
            blocks.push(self.committed().clone());
            blocks.extend(self.path(tip));
        }
        let end = blocks
            .iter()
            .position(|link| link.block.id() == *tip)
            .expect("the tip is retained, committed or at the end of the path");
        blocks.truncate(end + 1);
        blocks.retain(|link| link.block.header().height >= from);
        Served::Here(blocks)
    }

    /// See `fingerprint.rs`.
    pub(crate) fn fingerprint(&self, mut hasher: Hasher) -> Hasher {
        let BlockTree {
            committee: _,
            nodes,
            committed,
            directly,
            retained: _,
        } = self;
        for (id, node) in nodes {
            let Node {
                link: _,
                qc,
                ancestry,
                logged,
            } = node;
            hasher = hasher.value(&(id, qc.is_some(), ancestry, logged));
        }
        hasher.value(&(nodes.len() as u64, committed, directly))
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How full it is. The newest committed block is not among the undecided ones.
    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        gauge.note("undecided blocks", self.nodes.len() - 1, MAX_UNDECIDED);
        gauge.note("blocks retained", self.retained.len(), RETAINED_BLOCKS);
    }
}

/// The answer of the tree to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// These blocks, parents first.
    Here(Vec<Arc<LinkedBlock>>),
    /// Only the log has them.
    TooOld,
    /// The last block wanted is not known here.
    Unknown,
}
