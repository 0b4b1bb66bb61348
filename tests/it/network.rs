//! A development network under test.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lockstep_client::{Client, rpc};
use lockstep_consensus as consensus;
use lockstep_genesis::{DevelopmentSpec, Limits};
use lockstep_node::cluster::{Cluster, ClusterSpec};
use lockstep_node::tap::Reader;
use lockstep_shard::{CertifiedRecord, Conservation, Message, Observer, Peer};
use lockstep_sim::checker::{Agreement, certificates};
use lockstep_types::{CommitteeId, ShardId, Time, WindowNumber};
use parity_scale_codec::DecodeAll;

use crate::mesh::Mesh;

/// How long one call may take.
pub(crate) const CALL: Duration = Duration::from_secs(2);

/// How long a validator that is back may take until it has executed what the others have.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(15);

/// How the validators of a network run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// All in this process.
    Inside,
    /// Each in a process of its own.
    Processes,
    /// As processes, with a [`Mesh`] in between.
    Meshed,
}

/// A running network and its files.
pub(crate) struct Network {
    pub(crate) cluster: Cluster,
    /// What is between the processes.
    pub(crate) mesh: Option<Mesh>,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// Validators that were made to contradict themselves.
    two_faced: Vec<usize>,
    files: tempfile::TempDir,
}

impl Network {
    /// Two shards of four and a beacon of four, ready.
    pub(crate) fn start(form: Form, accounts: u32) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let shape = DevelopmentSpec {
            interval: Duration::from_millis(500),
            depth: 0,
            accounts,
            limits: Limits {
                account_window_limit: 100_000,
                ..Limits::default()
            },
            time: Time::ZERO,
            ..DevelopmentSpec::default()
        };
        let mut spec = ClusterSpec::new(shape, files.path().join("network"));
        spec.processes = form != Form::Inside;
        spec.log = "warn".to_owned();
        spec.keep_messages = true;
        let mut cluster = Cluster::prepare(spec)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let mesh = match form {
            Form::Inside | Form::Processes => None,
            Form::Meshed => Some(Mesh::between(cluster.places(), runtime.handle())?),
        };
        cluster.start_all()?;
        let network = Network {
            cluster,
            mesh,
            runtime,
            two_faced: Vec::new(),
            files,
        };
        network.wait(Duration::from_secs(30), "a first barrier", |status| {
            status.record >= 1
        })?;
        Ok(network)
    }

    /// Leaves homes and logs behind, and says where and how everybody stands: something is wrong.
    pub(crate) fn keep(&mut self) {
        self.files.disable_cleanup(true);
        println!("  files are kept in {}", self.files.path().display());
        for (index, place) in self.cluster.places().iter().enumerate() {
            println!("  {}: {:?}", place.name, self.status(index));
        }
    }

    /// The validators of one committee, by their position in the cluster.
    pub(crate) fn members(&self, committee: CommitteeId) -> Vec<usize> {
        let places = self.cluster.places().iter().enumerate();
        places
            .filter(|(_, place)| place.committee == committee)
            .map(|(index, _)| index)
            .collect()
    }

    /// A client of the validators of a shard.
    pub(crate) fn client(&self, shard: u16) -> anyhow::Result<Client> {
        let urls = self.cluster.urls(CommitteeId::Shard(ShardId::new(shard)));
        Ok(Client::new(&urls, CALL)?)
    }

    /// How one validator's replica stands; none while it does not answer.
    pub(crate) fn status(&self, index: usize) -> Option<rpc::ReplicaStatus> {
        let client = Client::new(&[self.cluster.places()[index].url()], CALL).ok()?;
        self.runtime
            .block_on(client.status())
            .ok()?
            .replicas
            .into_iter()
            .next()
    }

    /// Waits until every validator's status satisfies `done`.
    pub(crate) fn wait(
        &self,
        patience: Duration,
        what: &str,
        done: impl Fn(&rpc::ReplicaStatus) -> bool,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        for index in 0..self.cluster.places().len() {
            self.wait_for(
                index,
                patience.saturating_sub(started.elapsed()),
                what,
                &done,
            )?;
        }
        Ok(())
    }

    /// Waits until one validator's status satisfies `done`; returns how long it took.
    pub(crate) fn wait_for(
        &self,
        index: usize,
        patience: Duration,
        what: &str,
        done: impl Fn(&rpc::ReplicaStatus) -> bool,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let status = self.status(index);
            if status.as_ref().is_some_and(&done) {
                return Ok(started.elapsed());
            }
            if started.elapsed() > patience {
                let name = &self.cluster.places()[index].name;
                bail!("{name}: no {what} within {patience:?}; it stands at {status:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The highest committed height of a committee, as its members say.
    pub(crate) fn height(&self, committee: CommitteeId) -> u64 {
        let members = self.members(committee);
        members
            .iter()
            .filter_map(|index| self.status(*index))
            .map(|s| s.height)
            .max()
            .unwrap_or(0)
    }

    /// The highest view of a committee, as its members say.
    pub(crate) fn view(&self, committee: CommitteeId) -> u64 {
        let members = self.members(committee);
        let views = members.iter().filter_map(|index| self.status(*index));
        views.map(|status| status.view).max().unwrap_or(0)
    }

    /// Waits until every validator of a shard has executed what the highest one has.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        for shard in 0..self.cluster.genesis().shard_count() {
            let committee = CommitteeId::Shard(ShardId::new(shard));
            let target = self.height(committee);
            for index in self.members(committee) {
                self.wait_for(index, CATCH_UP, "catching up", |s| s.executed >= target)?;
            }
        }
        Ok(())
    }

    /// Is what all shards hold, and what is on its way between them, what genesis gave, at every
    /// barrier there was, by each record as each shard has it? Returns where it is not.
    pub(crate) fn check_barriers(&self) -> anyhow::Result<Vec<String>> {
        let genesis = self.cluster.genesis();
        let all = 0..self.cluster.places().len();
        let records = all.map(|index| self.status(index).map_or(0, |status| status.record));
        let newest = records.min().unwrap_or(0);
        anyhow::ensure!(newest > 0, "a validator does not answer or has no barrier");
        let mut wrong = Vec::new();
        for asked in 0..genesis.shard_count() {
            let client = self.client(asked)?;
            let mut conservation = Conservation::new(genesis);
            for number in 1..=newest {
                let record = self.runtime.block_on(client.record(number))?;
                let record = record.with_context(|| format!("record {number}"))?;
                let bytes = hex::decode(&record.bytes)?;
                let certified = CertifiedRecord::decode_all(&mut &bytes[..])?;
                if let Err(unbalanced) = conservation.on_record(&certified.record) {
                    wrong.push(format!("shard {asked}: {unbalanced}"));
                }
            }
        }
        Ok(wrong)
    }

    /// Waits until a colleague has had a vote of this validator for a view after `view`.
    pub(crate) fn wait_for_vote(
        &self,
        index: usize,
        view: u64,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let place = &self.cluster.places()[index];
        let others = self.members(place.committee).into_iter();
        let mut readers: Vec<_> = others
            .map(|other| Reader::new(self.cluster.places()[other].messages()))
            .collect();
        let started = Instant::now();
        loop {
            for reader in &mut readers {
                let messages = reader.read()?;
                let voted = messages.iter().any(|message| match message {
                    Message::Consensus(consensus::Message::Vote(vote)) => {
                        vote.author == place.member && vote.view.get() > view
                    }
                    _ => false,
                });
                if voted {
                    return Ok(());
                }
            }
            if started.elapsed() > patience {
                bail!(
                    "{}: no vote after view {view} within {patience:?}",
                    place.name
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// This validator counts as faulty: what it says need not fit together.
    pub(crate) fn expect_two_faces(&mut self, index: usize) {
        self.two_faced.push(index);
    }

    fn is_two_faced(&self, peer: &Peer) -> bool {
        let places = self.cluster.places();
        let mut two_faced = self.two_faced.iter().map(|index| &places[*index]);
        two_faced.any(|place| (place.committee, place.member) == (peer.committee, peer.member))
    }

    /// What all validators together were ever told: how many statements, and which of them exclude
    /// each other. All certificates among it are of quorums, and no number has two records. For a
    /// network that was stopped.
    pub(crate) fn statements(&self) -> anyhow::Result<(usize, Vec<String>)> {
        let (mut observer, mut agreement) = (Observer::default(), Agreement::default());
        for place in self.cluster.places() {
            for message in Reader::new(place.messages()).read()? {
                observer.on_message(place.committee, &message);
                certificates::check(self.cluster.genesis(), place.committee, &message)?;
                if let Message::Record(record) = &message {
                    agreement.on_record(record)?;
                }
            }
        }
        anyhow::ensure!(observer.statements() > 0, "nobody was told anything");
        anyhow::ensure!(
            agreement.record() > WindowNumber::ZERO,
            "nobody was told a record"
        );
        let found = observer.contradictions().iter();
        let found = found.filter(|found| !self.is_two_faced(&found.by));
        let found = found.map(ToString::to_string);
        Ok((observer.statements(), found.collect()))
    }

    /// Is what all shards hold, and what is on its way between them, what genesis gave?
    pub(crate) fn check_supply(&self) -> anyhow::Result<()> {
        let (mut held, mut given, mut sent, mut received) = (0u128, 0u128, 0u128, 0u128);
        for shard in 0..self.cluster.genesis().shard_count() {
            let supply = self.runtime.block_on(self.client(shard)?.supply())?;
            let native = supply.assets.first().context("the native asset")?;
            held += native.balances + native.escrow;
            given += native.genesis;
            sent += native.sent;
            received += native.received;
        }
        anyhow::ensure!(
            held + sent == given + received,
            "held {held}, in flight {sent} - {received}, genesis gave {given}"
        );
        Ok(())
    }
}
