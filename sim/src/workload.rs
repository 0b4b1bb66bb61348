//! Clients: each holds one account, sends transfers to one member of its shard in nonce order, and
//! sends again what that member lost when it crashed, or may have given up after a minute in which
//! the transaction before it was not executed.

use core::time::Duration;
use std::collections::VecDeque;

use lockstep_ledger::{Action, Transaction};
use lockstep_shard::Peer;
use lockstep_types::{
    AccountId, AssetId, CommitteeId, KeyedSigner, ShardId, Signer, Time, TransactionId,
    WindowNumber,
};

use crate::{Broken, Random, World};

/// Transactions of one client on their way at a time.
const MOST_PENDING: usize = 4;

/// Between what clients do, for worlds that are not drawn from a seed.
const BETWEEN_ACTS: Duration = Duration::from_millis(20);

/// How long a client waits before it sends something again. A member that still has it takes no
/// notice. Well below the time that a healed network is given to execute what was sent.
const SEND_AGAIN: Duration = Duration::from_secs(15);

/// Far beyond any run, so that nothing expires.
const EXPIRY: WindowNumber = WindowNumber::new(1_000_000);

struct Pending {
    id: TransactionId,
    transaction: Transaction,
    /// The life of the member that took it in.
    life: u64,
    /// When it did.
    since: Time,
}

struct Client {
    signer: KeyedSigner,
    shard: ShardId,
    home: Peer,
    nonce: u64,
    pending: VecDeque<Pending>,
}

impl Client {
    /// Forgets what is executed; sends again, in order, what the home has lost.
    fn refresh(&mut self, world: &mut World) -> bool {
        let shard = self.shard;
        let executed = &world.checkers.exactly_once;
        self.pending.retain(|p| !executed.is_executed(shard, p.id));
        let (life, now) = (world.life(&self.home), world.now());
        for pending in &mut self.pending {
            if pending.life == life && now.since(pending.since) < SEND_AGAIN {
                continue;
            }
            if world
                .submit(&self.home, pending.transaction.clone())
                .is_none()
            {
                return false;
            }
            (pending.life, pending.since) = (life, now);
        }
        world.member(&self.home).is_some()
    }
}

/// All clients of a run.
pub struct Workload {
    clients: Vec<Client>,
    accounts: Vec<AccountId>,
}

impl Workload {
    /// One client per account of the chain. Its home is a correct member.
    pub fn new(random: &mut Random, world: &World) -> Self {
        let keys = world.keys();
        let clients = keys.accounts.iter().map(|account| {
            let committee = CommitteeId::Shard(account.shard);
            let homes: Vec<Peer> = world
                .correct()
                .filter(|peer| peer.committee == committee)
                .filter(|peer| world.checkers.is_dependable(peer))
                .collect();
            Client {
                signer: world.engine().signer_for(account.key.public_key()),
                shard: account.shard,
                home: *random.pick(&homes),
                nonce: 0,
                pending: VecDeque::new(),
            }
        });
        Workload {
            clients: clients.collect(),
            accounts: keys
                .accounts
                .iter()
                .map(|account| account.account)
                .collect(),
        }
    }

    /// One client does something.
    pub fn act(&mut self, random: &mut Random, world: &mut World) {
        let who = usize::try_from(random.below(self.clients.len() as u64)).expect("an index");
        let to = *random.pick(&self.accounts);
        let amount = u128::from(1 + random.below(1_000_000_000));
        let also = random.chance(100);
        let client = &mut self.clients[who];
        if !client.refresh(world) || client.pending.len() >= MOST_PENDING {
            return;
        }
        let asset = AssetId::NATIVE;
        let actions = vec![Action::Transfer { to, asset, amount }];
        let genesis = world.genesis().hash();
        let transaction =
            Transaction::sign(&genesis, &client.signer, client.nonce, EXPIRY, actions);
        let Some(id) = world.submit(&client.home, transaction.clone()) else {
            return;
        };
        // A submission may be the last thing its home does in this life.
        let life = world.life(&client.home) - u64::from(world.member(&client.home).is_none());
        client.nonce += 1;
        if also {
            let others: Vec<Peer> = world
                .correct()
                .filter(|peer| peer.committee == client.home.committee)
                .collect();
            let _second = world.submit(random.pick(&others), transaction.clone());
        }
        client.pending.push_back(Pending {
            id,
            transaction,
            life,
            since: world.now(),
        });
    }

    /// Runs the world for `span`, in which some client acts every 20 ms.
    ///
    /// # Errors
    /// What does not hold.
    pub fn run(
        &mut self,
        random: &mut Random,
        world: &mut World,
        span: Duration,
    ) -> Result<(), Broken> {
        let end = world.now().after(span);
        while world.now() < end {
            self.act(random, world);
            world.run_until(world.now().after(BETWEEN_ACTS).min(end))?;
        }
        Ok(())
    }

    /// Sends again whatever was lost. Returns how much is on its way.
    pub fn chase(&mut self, world: &mut World) -> usize {
        let mut pending = 0;
        for client in &mut self.clients {
            client.refresh(world);
            pending += client.pending.len();
        }
        pending
    }

    /// What is on its way, for a failure's report.
    pub fn pending(&self) -> Vec<(Peer, TransactionId)> {
        let all = self.clients.iter();
        all.flat_map(|client| client.pending.iter().map(|p| (client.home, p.id)))
            .collect()
    }
}
