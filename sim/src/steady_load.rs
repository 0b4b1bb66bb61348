//! A steady load: each account sends a transfer in every period, whether or not earlier ones are
//! final, and the time from when it was planned until its own member has executed it is kept.
//!
//! Breaks if: latency is counted from when a member took a transfer in; one that refuses for a
//! while would look fast.

use core::time::Duration;
use std::collections::VecDeque;

use lockstep_ledger::{Action, Transaction};
use lockstep_shard::Peer;
use lockstep_types::{
    AccountId, AssetId, CommitteeId, KeyedSigner, MemberIndex, ShardId, Signer, Time,
    TransactionId, WindowNumber,
};

use crate::{Broken, Random, World};

/// How often clients look; latencies are exact to this.
const LOOK: Duration = Duration::from_millis(1);

/// Far beyond any run, so that nothing expires.
const EXPIRY: WindowNumber = WindowNumber::new(1_000_000);

/// A transfer that became final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// When it was executed by its client's member.
    pub at: Time,
    /// How long after the time for which it was planned.
    pub latency: Duration,
}

struct Client {
    signer: KeyedSigner,
    shard: ShardId,
    home: Peer,
    /// Transfers made so far.
    nonce: u64,
    next: Time,
    /// Planned, and not taken in by its member yet.
    refused: VecDeque<(Time, Transaction)>,
    /// Taken in, and not executed there.
    pending: Vec<(Time, TransactionId)>,
}

/// The clients, and what became of their transfers.
pub struct SteadyLoad {
    clients: Vec<Client>,
    accounts: Vec<AccountId>,
    period: Duration,
    random: Random,
    finals: Vec<Final>,
}

impl SteadyLoad {
    /// One client for each account of the chain, which sends once in every `period` to a member of
    /// its shard other than `avoided`. They begin one after the other within the first.
    pub fn new(world: &World, period: Duration, avoided: MemberIndex, mut random: Random) -> Self {
        let keys = &world.keys().accounts;
        let clients = keys.iter().map(|account| {
            let committee = CommitteeId::Shard(account.shard);
            let members = world.peers().filter(|peer| peer.committee == committee);
            let homes: Vec<Peer> = members.filter(|peer| peer.member != avoided).collect();
            Client {
                signer: world.engine().signer_for(account.key.public_key()),
                shard: account.shard,
                home: *random.pick(&homes),
                nonce: 0,
                next: world.now().after(random.duration(Duration::ZERO, period)),
                refused: VecDeque::new(),
                pending: Vec::new(),
            }
        });
        SteadyLoad {
            clients: clients.collect(),
            accounts: keys.iter().map(|account| account.account).collect(),
            period,
            random,
            finals: Vec::new(),
        }
    }

    /// Runs the world for `span` under the load.
    ///
    /// # Errors
    /// What does not hold.
    pub fn run(&mut self, world: &mut World, span: Duration) -> Result<(), Broken> {
        let end = world.now().after(span);
        while world.now() < end {
            for client in &mut self.clients {
                client.look(world, &mut self.finals);
                while client.next <= world.now() {
                    let to = *self.random.pick(&self.accounts);
                    client.plan(world, to);
                    client.next = client.next.after(self.period);
                }
                client.send(world);
            }
            world.run_until(world.now().after(LOOK).min(end))?;
        }
        Ok(())
    }

    /// What became final so far, in order.
    pub fn finals(&self) -> &[Final] {
        &self.finals
    }

    /// For how long what is not final yet has been waiting.
    pub fn waiting(&self, now: Time) -> impl Iterator<Item = Duration> + '_ {
        self.clients.iter().flat_map(move |client| {
            let refused = client.refused.iter().map(|(planned, _)| *planned);
            let pending = client.pending.iter().map(|(planned, _)| *planned);
            refused
                .chain(pending)
                .map(move |planned| now.since(planned))
        })
    }
}

impl Client {
    fn plan(&mut self, world: &World, to: AccountId) {
        let action = Action::Transfer {
            to,
            asset: AssetId::NATIVE,
            amount: 1,
        };
        let genesis = world.genesis().hash();
        let (nonce, actions) = (self.nonce, vec![action]);
        let transaction = Transaction::sign(&genesis, &self.signer, nonce, EXPIRY, actions);
        self.refused.push_back((self.next, transaction));
        self.nonce += 1;
    }

    /// In nonce order, as far as the member takes them.
    fn send(&mut self, world: &mut World) {
        while let Some((planned, transaction)) = self.refused.front() {
            let Some(id) = world.submit(&self.home, transaction.clone()) else {
                return;
            };
            self.pending.push((*planned, id));
            self.refused.pop_front();
        }
    }

    fn look(&mut self, world: &World, finals: &mut Vec<Final>) {
        let Some(executor) = world.executor(&self.home) else {
            return;
        };
        let (reached, executed) = (executor.ledger().height(), &world.checkers.exactly_once);
        let shard = self.shard;
        self.pending.retain(|(planned, id)| {
            let height = executed.executed_at(shard, *id);
            let waits = height.is_none_or(|height| height > reached);
            if !waits {
                let (at, latency) = (world.now(), world.now().since(*planned));
                finals.push(Final { at, latency });
            }
            waits
        });
    }
}
