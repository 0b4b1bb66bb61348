//! Twins: one member run as two processes with one key and a disk each. Both are honest; together
//! they are Byzantine, since each knows nothing of what the other signed. Each of the others reaches
//! the one, the other or both, and is reached by the same; who reaches whom changes now and then.
//!
//! A validator that is twinned in a shard and in the beacon splits the world in both alike.

use lockstep_shard::Peer;
use lockstep_types::{Time, hash};

use crate::node::Node;
use crate::{Random, World};

/// Which of the two copies others talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    salt: u64,
    /// Sides stay as they are for so many microseconds.
    period: u64,
}

/// One of the two copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    /// The node of the other.
    other: usize,
    split: Split,
    is_first: bool,
}

impl Split {
    fn draw(random: &mut Random) -> Self {
        Split {
            salt: random.below(u64::MAX),
            period: 300_000 + random.below(4_000_000),
        }
    }

    /// Does `peer` reach the first copy, and the second?
    fn reaches(&self, now: Time, peer: &Peer) -> [bool; 2] {
        let turn = now.micros() / self.period;
        let drawn = hash("lockstep/twin-side", &(self.salt, turn, peer.member));
        match drawn.as_bytes()[0] % 5 {
            0 | 1 => [true, false],
            2 | 3 => [false, true],
            _ => [true, true],
        }
    }
}

impl World {
    /// Runs a member as two copies from now on. It is excused from the checkers.
    pub fn twin(&mut self, peer: &Peer) {
        let first = self.seats[peer];
        let same = self.nodes.iter().filter(|n| n.peer.member == peer.member);
        let known = same.filter_map(|node| node.copy).next();
        let split = known.map_or_else(|| Split::draw(&mut self.whims), |copy| copy.split);
        let second = self.nodes.len();
        self.tell(first, format_args!("is twinned"));
        let copy = |other, is_first| {
            Some(Copy {
                other,
                split,
                is_first,
            })
        };
        let this = &mut self.nodes[first];
        this.copy = copy(second, true);
        let twin = Node {
            copy: copy(first, false),
            ..Node::new(*peer, this.signer.clone(), this.sync)
        };
        self.nodes.push(twin);
        self.checkers.excuse(*peer);
        self.start_anew(first);
        self.restart(second);
    }

    /// The processes to which a message of `from` to the seat of `node` comes.
    pub(crate) fn copies_of(&self, node: usize, from: &Peer) -> [Option<usize>; 2] {
        let Some(copy) = self.nodes[node].copy else {
            return [Some(node), None];
        };
        let [first, second] = copy.split.reaches(self.now, from);
        [first.then_some(node), second.then_some(copy.other)]
    }

    /// Does what the process `node` sends come out of its half of the world to `to`?
    pub(crate) fn may_reach(&self, node: usize, to: &Peer) -> bool {
        let Some(copy) = self.nodes[node].copy else {
            return true;
        };
        let [first, second] = copy.split.reaches(self.now, to);
        if copy.is_first { first } else { second }
    }
}
