//! A network of processes under load, with everything that watches it, and what was done to it.

use std::time::Duration;

use anyhow::ensure;
use lockstep_sim::Random;
use lockstep_types::CommitteeId;

use crate::history::Verdict;
use crate::load::Load;
use crate::mesh::{Line, Mesh};
use crate::network::{Form, Network};
use crate::pulse::{Pulse, now_us};
use crate::tally::{Kind, Tally};

/// Senders; each has one transfer under way.
const ACCOUNTS: u32 = 8;
/// Waiting ends here, far above every bound: a network that needs longer will not come back.
const HOPELESS: Duration = Duration::from_secs(60);
/// Most memory a validator may ever have used: 512 MiB.
const MAX_RESIDENT_KIB: u64 = 512 << 10;

/// The network and its watchers.
pub(crate) struct Run {
    pub(crate) network: Network,
    pub(crate) load: Load,
    pub(crate) pulse: Pulse,
    pub(crate) random: Random,
    pub(crate) tally: Tally,
}

impl Run {
    /// A fresh network that does what the seed says.
    pub(crate) fn start(seed: u64) -> anyhow::Result<Self> {
        let network = Network::start(Form::Meshed, ACCOUNTS)?;
        let load = Load::start(&network, u64::MAX)?;
        let pulse = Pulse::start(&network)?;
        let run = Run {
            network,
            load,
            pulse,
            random: Random::new(seed),
            tally: Tally::default(),
        };
        run.all_commit_after(now_us())?;
        Ok(run)
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        self.network
            .mesh
            .as_ref()
            .expect("a meshed network has one")
    }

    pub(crate) fn validators(&self) -> usize {
        self.network.cluster.places().len()
    }

    pub(crate) fn committees(&self) -> Vec<CommitteeId> {
        self.network.cluster.genesis().committees().collect()
    }

    pub(crate) fn shards(&self) -> Vec<CommitteeId> {
        let mut committees = self.committees();
        committees.retain(|committee| committee.shard().is_some());
        committees
    }

    /// The validator that led the newest view of a committee.
    pub(crate) fn leader(&self, committee: CommitteeId) -> usize {
        self.network.members(committee)[usize::from(self.pulse.leader(committee))]
    }

    /// One of several.
    pub(crate) fn pick(&mut self, from: &[usize]) -> usize {
        *self.random.pick(from)
    }

    pub(crate) fn any_validator(&mut self) -> usize {
        let all: Vec<usize> = (0..self.validators()).collect();
        self.pick(&all)
    }

    pub(crate) fn any_committee(&mut self) -> CommitteeId {
        let committees = self.committees();
        *self.random.pick(&committees)
    }

    /// Lets the network run for a while.
    pub(crate) fn sleep(&mut self, low_ms: u64, high_ms: u64) {
        let (low, high) = (
            Duration::from_millis(low_ms),
            Duration::from_millis(high_ms),
        );
        std::thread::sleep(self.random.duration(low, high));
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, index: usize) {
        self.network.cluster.kill(index);
        self.tally.kills += 1;
    }

    pub(crate) fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        Ok(self.network.cluster.restart(index)?)
    }

    /// Waits until each of these committees has committed a block that was proposed after
    /// `since_us`; returns the time from the call to the last of them.
    pub(crate) fn commit_after(
        &self,
        committees: &[CommitteeId],
        since_us: u64,
    ) -> anyhow::Result<Duration> {
        let mut slowest = Duration::ZERO;
        for committee in committees {
            let left = HOPELESS.saturating_sub(slowest);
            slowest += self.pulse.wait_for_block(*committee, since_us, left)?;
        }
        Ok(slowest)
    }

    pub(crate) fn all_commit_after(&self, since_us: u64) -> anyhow::Result<Duration> {
        self.commit_after(&self.committees(), since_us)
    }

    /// From now on the network could work again: how long until every one of these committees
    /// commits something new?
    pub(crate) fn resumes(&mut self, kind: Kind, committees: &[CommitteeId]) -> anyhow::Result<()> {
        let took = self.commit_after(committees, now_us())?;
        self.tally.note(kind, took);
        Ok(())
    }

    /// Waits until every shard has applied the record that is the beacon's newest now.
    pub(crate) fn shards_have_the_newest_record(&self) -> anyhow::Result<Duration> {
        let newest = self.pulse.record(CommitteeId::Beacon);
        let mut slowest = Duration::ZERO;
        for shard in self.shards() {
            slowest += self.pulse.wait_for_record(shard, newest, HOPELESS)?;
        }
        Ok(slowest)
    }

    /// Notes the longest time since the mark in which a shard committed nothing.
    pub(crate) fn note_gap(&mut self, kind: Kind) {
        let gaps = self.shards().into_iter();
        let longest = gaps.map(|shard| self.pulse.longest_gap(shard)).max();
        self.tally.note(kind, longest.unwrap_or_default());
    }

    /// Waits until a validator has executed what its committee has, with everybody connected.
    pub(crate) fn catches_up(&mut self, index: usize) -> anyhow::Result<Duration> {
        let committee = self.network.cluster.places()[index].committee;
        let target = self.network.height(committee);
        let beacon = committee.shard().is_none();
        let members = self.network.members(committee).len();
        self.network
            .wait_for(index, HOPELESS, "catching up", |status| {
                usize::from(status.connected) == members
                    && (status.executed >= target || beacon && status.height >= target)
            })
    }

    /// Waits until everybody has.
    pub(crate) fn calm(&mut self) -> anyhow::Result<()> {
        for index in 0..self.validators() {
            self.catches_up(index)?;
        }
        Ok(())
    }

    /// The most memory any running validator has ever used, in KiB.
    fn peak_resident_kib(&self) -> u64 {
        let all = (0..self.validators()).filter_map(|index| self.network.cluster.process_id(index));
        all.filter_map(|process| memory_kib(process, "VmHWM:"))
            .max()
            .unwrap_or(0)
    }

    /// Stops the load, lets everybody catch up, and judges all that was said.
    pub(crate) fn finish(mut self) -> anyhow::Result<(Verdict, Tally)> {
        self.mesh().everywhere(Line::Open);
        self.network.cluster.start_all()?;
        self.load.stop(&self.network)?;
        self.calm()?;
        if let Some((index, how)) = self.network.cluster.failed() {
            anyhow::bail!(
                "{} stopped: {how}",
                self.network.cluster.places()[index].name
            );
        }
        self.network.settle()?;
        let mut verdict = self.load.history.judge(&self.network)?;
        self.network.check_supply()?;
        let peak = self.peak_resident_kib();
        ensure!(
            peak < MAX_RESIDENT_KIB,
            "a validator used {peak} KiB of memory"
        );
        drop(self.pulse);
        self.network.cluster.stop();
        let (statements, contradictions) = self.network.statements()?;
        verdict.conflicts.extend(contradictions);
        println!(
            "  {} kills, {} acknowledged, {} credited, {} refused, {} reads, {statements} \
             statements, at most {} MiB",
            self.tally.kills,
            verdict.acknowledged,
            verdict.credited,
            verdict.refused,
            verdict.reads,
            peak >> 10,
        );
        Ok((verdict, self.tally))
    }

    /// As [`Run::finish`], for a test: everything must hold.
    pub(crate) fn pass(self) -> anyhow::Result<()> {
        let (verdict, tally) = self.finish()?;
        for line in tally.to_string().lines() {
            println!("  {line}");
        }
        verdict.check()?;
        let broken = tally.broken();
        ensure!(
            broken.is_empty(),
            "took longer than their bound: {broken:?}"
        );
        Ok(())
    }
}

/// One line of what the system says about the memory of a process, in KiB.
pub(crate) fn memory_kib(process: u32, line: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let found = text.lines().find_map(|found| found.strip_prefix(line))?;
    found.trim().strip_suffix(" kB")?.trim().parse().ok()
}
