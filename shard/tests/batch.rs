//! What checking a batch costs, and where a batch that was checked counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_genesis::{DevelopmentSpec, Genesis};
use lockstep_ledger::{Action, Column, Durability, MemoryStore, Store, Transaction, Write};
use lockstep_shard::{Archive, Batch, BatchContext, Message, Request};
use lockstep_types::{
    AccountId, AssetId, Claim, CommitteeId, Engine, K256Engine, MemberIndex, Rejection, SecretKey,
    ShardId, Signer, Verified, Verifier, WindowNumber,
};
use parity_scale_codec::Encode;

const TRANSACTIONS: usize = 3;

#[derive(Default)]
struct Counting(K256Engine, AtomicUsize);

impl Counting {
    fn checked(&self) -> usize {
        self.1.swap(0, Ordering::Relaxed)
    }
}

impl Engine for Counting {
    fn check(&self, claims: &[Claim]) -> Vec<bool> {
        self.1.fetch_add(claims.len(), Ordering::Relaxed);
        self.0.check(claims)
    }
}

struct World {
    genesis: Arc<Genesis>,
    author: SecretKey,
    engine: Arc<Counting>,
    verifier: Verifier,
}

impl World {
    fn new() -> Self {
        let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
        let committee = CommitteeId::Shard(ShardId::new(0));
        let author = keys.validator(committee, MemberIndex::new(2));
        let engine = Arc::new(Counting::default());
        World {
            genesis: Arc::new(genesis),
            author: author.unwrap().key.clone(),
            engine: engine.clone(),
            verifier: Verifier::new(engine),
        }
    }

    fn context(&self, shard: u16) -> BatchContext {
        BatchContext::new(&self.genesis, ShardId::new(shard))
    }

    fn check(&self, batch: Batch, shard: u16) -> Result<Verified<Batch>, Rejection> {
        self.verifier.check(batch, &self.context(shard))
    }

    /// A batch of shard 0 as its author sends it.
    fn batch(&self) -> Batch {
        let senders = (0..100).map(|n| SecretKey::insecure_from_seed(n, "sender"));
        let at_home = senders.filter(|key| {
            AccountId::of(&key.public_key()).shard(self.genesis.shard_count()) == ShardId::new(0)
        });
        let transactions = at_home.take(TRANSACTIONS).map(|key| {
            let action = Action::Transfer {
                to: AccountId::new([9; 20]),
                asset: AssetId::NATIVE,
                amount: 5,
            };
            let expiry = WindowNumber::new(8);
            let hash = self.genesis.hash();
            Verified::vouch(Transaction::sign(&hash, &key, 0, expiry, vec![action]))
        });
        let (author, window) = (MemberIndex::new(2), WindowNumber::new(1));
        let transactions = transactions.collect();
        let context = self.context(0);
        Batch::pack(&context, &self.author, author, window, 1, transactions).into_inner()
    }
}

#[test]
fn a_second_copy_of_a_batch_costs_no_signature_check() {
    let world = World::new();
    assert!(world.check(world.batch(), 0).is_ok());
    assert_eq!(world.engine.checked(), TRANSACTIONS + 1);
    assert!(world.check(world.batch(), 0).is_ok());
    assert_eq!(world.engine.checked(), 0);
}

#[test]
fn a_batch_found_good_in_one_shard_is_not_good_in_another() {
    let world = World::new();
    assert!(world.check(world.batch(), 0).is_ok());
    let elsewhere = world.check(world.batch(), 1);
    assert!(elsewhere.is_err());
}

#[test]
fn a_changed_copy_of_a_batch_found_good_is_refused() {
    let world = World::new();
    let good = world.check(world.batch(), 0);
    let other = SecretKey::insecure_from_seed(7, "somebody");
    let mut resigned = world.batch();
    resigned.signature = other.sign(good.unwrap().digest().digest());
    assert!(matches!(
        world.check(resigned, 0),
        Err(Rejection::BadSignature { .. })
    ));
    let mut shortened = world.batch();
    shortened.transactions.pop();
    assert!(matches!(
        world.check(shortened, 0),
        Err(Rejection::Inconsistent(_))
    ));
}

#[test]
fn a_batch_that_is_named_twice_is_answered_once() {
    let batch = World::new().batch();
    let store = MemoryStore::default();
    let body = Write::put(Column::Batches, *batch.digest().as_bytes(), batch.encode());
    store.write(&[body], Durability::Synced).unwrap();
    let request = Request::Batches(vec![batch.digest(); 2]);
    let answers = Archive::new(&store).answer(&request).unwrap();
    assert_eq!(answers, [Message::Batch(Arc::new(batch))]);
}
