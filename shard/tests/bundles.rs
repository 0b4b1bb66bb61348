//! Bundles that a shard's member keeps and lists. Some of them are a liar's: true, and cut so that
//! nothing fits on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use lockstep_ledger::merkle::RootKind;
use lockstep_ledger::{Bundle, BundleProof, Flow, OutboxEntry, OutboxLeaf};
use lockstep_shard::{
    BundlePool, CertifiedCheckpoint, CertifiedRecord, Input, MAX_PROVEN_PER_SOURCE, Message, Peer,
    ShardEntry,
};
use lockstep_types::generate::Random;
use lockstep_types::{CommitteeId, MemberIndex, ShardId, Verified, WindowNumber};

use crate::common::{Host, START};

const HERE: ShardId = ShardId::new(0);
const THERE: ShardId = ShardId::new(1);

const OUTBOX: RootKind = RootKind::new("lockstep/outbox", "lockstep/outbox-leaf");
const ENTRIES: RootKind = RootKind::new("lockstep/entries", "lockstep/outbox-entry");

fn entries(count: u64) -> Vec<OutboxEntry> {
    let mut random = Random::new(1);
    (0..count).map(|_| random.make()).collect()
}

fn outbox(count: u64) -> OutboxLeaf {
    OutboxLeaf {
        destination: HERE,
        count,
        top: ENTRIES.log_of(entries(count)).top(count),
    }
}

/// A true bundle of the outbox that had `count` entries when the window was sealed.
fn bundle(window: u64, count: u64, from: u64, to: u64) -> Arc<Bundle> {
    let all = entries(count);
    Arc::new(Bundle {
        source: THERE,
        destination: HERE,
        window: WindowNumber::new(window),
        from,
        entries: all[from as usize..to as usize].to_vec(),
        proof: BundleProof {
            count,
            entries: ENTRIES.log_of(&all).prove(from, to, count).unwrap(),
            position: 0,
            destinations: 1,
            leaf: OUTBOX.log_of([outbox(count)]).prove(0, 1, 1).unwrap(),
        },
    })
}

/// A record by which that outbox is certified.
fn record(window: u64, count: u64) -> Arc<CertifiedRecord> {
    let mut random = Random::new(window);
    let mut record: CertifiedRecord = random.make();
    let mut certified: CertifiedCheckpoint = random.make();
    let mut flow: Flow = random.make();
    (flow.peer, flow.sent_count) = (HERE, count);
    certified.checkpoint.shard = THERE;
    certified.checkpoint.seal.window = WindowNumber::new(window);
    certified.checkpoint.seal.outbox_root = OUTBOX.root_of([outbox(count)]);
    certified.checkpoint.seal.flows = vec![flow];
    record.record.number = WindowNumber::new(window);
    record.record.shards = vec![ShardEntry::Certified(Box::new(certified))];
    Arc::new(record)
}

/// A pool that holds the record of window 1 with 1,000 entries, and that of window 2 with 1,500.
fn pool() -> BundlePool {
    let mut pool = BundlePool::new(HERE, WindowNumber::ZERO);
    let nothing = BTreeSet::new();
    assert_eq!(pool.add_record(record(1, 1_000), &nothing), []);
    assert_eq!(pool.add_record(record(2, 1_500), &nothing), []);
    pool
}

#[test]
fn the_longest_that_fits_is_listed() {
    let mut pool = pool();
    let nothing = BTreeSet::new();
    for kept in [bundle(1, 1_000, 0, 512), bundle(2, 1_500, 0, 1)] {
        assert!(pool.add(kept, &nothing).unwrap().is_some());
    }
    let next = pool.next(THERE, 0, WindowNumber::new(2));
    assert_eq!(next.unwrap().1.to(), 512);
}

#[test]
fn what_a_block_lists_stays() {
    let mut pool = pool();
    let short = bundle(1, 1_000, 0, 1);
    let listed = BTreeSet::from([short.digest()]);
    assert!(pool.add(short.clone(), &listed).unwrap().is_some());
    let long = bundle(1, 1_000, 0, 512);
    assert!(pool.add(long, &listed).unwrap().is_some());
    assert_eq!(pool.by_digest(&short.digest()), Some(&short));
    let last = bundle(2, 1_500, 1_024, 1_500);
    let listed = BTreeSet::from([last.digest()]);
    assert!(pool.add(last.clone(), &listed).unwrap().is_some());
    for from in 1..=MAX_PROVEN_PER_SOURCE as u64 {
        assert!(pool.add(bundle(1, 1_000, from, 512), &listed).is_ok());
    }
    assert_eq!(pool.by_digest(&last.digest()), Some(&last));
}

#[test]
fn only_what_others_fit_on_is_kept() {
    let Host {
        setup, mut member, ..
    } = Host::new();
    assert_eq!(setup.genesis.limits.bundle_entries, 512);
    let mut hear = |committee: CommitteeId, message: Message| {
        let from = Peer {
            committee,
            member: MemberIndex::new(0),
        };
        let message = Verified::vouch(message); // a bundle is proven by the record
        let ready = member.step(START, Input::Received { from, message });
        assert!(ready.refused.is_empty());
        ready.needs_sync()
    };
    for (window, count) in [(1, 1_000), (2, 1_500)] {
        hear(CommitteeId::Beacon, Message::Record(record(window, count)));
    }
    let mut is_kept = |window, count, from, to| {
        let bundle = bundle(window, count, from, to);
        hear(CommitteeId::Shard(THERE), Message::Bundle(bundle))
    };
    // A liar's: from the watermark, and of the sort of which there are more than there is room for.
    assert!(!is_kept(2, 1_500, 0, 1));
    assert!(!is_kept(2, 1_500, 1, 512));
    assert!(!is_kept(2, 1_500, 512, 1_000));
    // As they are pushed: under the first outbox, and under the second from where that one ended.
    assert!(is_kept(1, 1_000, 0, 512));
    assert!(is_kept(1, 1_000, 512, 1_000));
    assert!(is_kept(2, 1_500, 1_000, 1_024));
    assert!(is_kept(2, 1_500, 1_024, 1_500));
    // As somebody else was answered.
    assert!(is_kept(2, 1_500, 512, 1_024));
}
