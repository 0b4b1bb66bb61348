//! What lines between validators can do: split a committee so that no side has a quorum, carry one
//! direction only, be slow, trickle, and refuse connections.

use std::time::Duration;

use lockstep_types::CommitteeId;

use crate::mesh::Line;
use crate::run::Run;
use crate::tally::Kind;

/// Connections may have been given up meanwhile; both ends try again every second.
const SPLIT: Kind = Kind {
    name: "f+1 of a committee cut off, then healed",
    bound: Duration::from_secs(5),
};
const HALVES: Kind = Kind {
    name: "every committee cut in half, then healed",
    bound: Duration::from_secs(5),
};
const REFUSED: Kind = Kind {
    name: "f+1 of a committee refused, then healed",
    bound: Duration::from_secs(5),
};
/// A shard names one record in a block, and misses two in a second.
const CAUGHT_UP: Kind = Kind {
    name: "shards at the beacon's newest record again",
    bound: Duration::from_secs(10),
};
/// One member of four is mute: its turns as leader time out.
const MUTE: Kind = Kind {
    name: "a validator nobody hears: longest gap",
    bound: Duration::from_secs(5),
};
const DEAF: Kind = Kind {
    name: "a validator that hears nobody: longest gap",
    bound: Duration::from_secs(5),
};
/// A block takes four delays, a barrier ten.
const SLOW: Kind = Kind {
    name: "all lines slow: longest gap",
    bound: Duration::from_secs(5),
};
const TRICKLE: Kind = Kind {
    name: "a validator at the end of a trickle: longest gap",
    bound: Duration::from_secs(5),
};
/// Until it has executed what the others have, and all are connected.
const BACK: Kind = Kind {
    name: "a validator with a bad line is back",
    bound: Duration::from_secs(10),
};

/// A tenth of a second each way, more or less.
const FAR: Line = Line::Slow {
    base: Duration::from_millis(20),
    jitter: Duration::from_millis(60),
};
/// A modem of old.
const THIN: Line = Line::Trickle {
    bytes_per_second: 20_000,
};

/// f + 1 of a committee can talk to nobody for a while.
pub(crate) fn split(run: &mut Run, committee: CommitteeId, time: Duration) -> anyhow::Result<()> {
    without_quorum(run, committee, Line::Cut, time, SPLIT)
}

/// f + 1 of a committee lose all connections and get no new ones for a while.
pub(crate) fn refused(run: &mut Run, committee: CommitteeId, time: Duration) -> anyhow::Result<()> {
    without_quorum(run, committee, Line::Refused, time, REFUSED)
}

fn without_quorum(
    run: &mut Run,
    committee: CommitteeId,
    line: Line,
    time: Duration,
    kind: Kind,
) -> anyhow::Result<()> {
    run.calm()?;
    let mut side = run.network.members(committee);
    let enough = run
        .network
        .cluster
        .genesis()
        .committee(committee)
        .join_threshold();
    while side.len() > enough {
        let out = run.random.below(side.len() as u64);
        side.remove(usize::try_from(out)?);
    }
    run.mesh().split(&side, line);
    std::thread::sleep(time);
    heal(run, kind)
}

/// Two networks of half the members each.
pub(crate) fn halves(run: &mut Run, time: Duration) -> anyhow::Result<()> {
    run.calm()?;
    let mut side = Vec::new();
    for committee in run.committees() {
        let members = run.network.members(committee);
        side.extend_from_slice(&members[..members.len() / 2]);
    }
    run.mesh().split(&side, Line::Cut);
    std::thread::sleep(time);
    heal(run, HALVES)
}

/// Everything one validator says is lost; it hears all.
pub(crate) fn mute(run: &mut Run, time: Duration) -> anyhow::Result<()> {
    let index = run.any_validator();
    run.calm()?;
    run.mesh().one_way(&[index], Line::Cut);
    one_suffers(run, index, time, MUTE)
}

/// One validator hears nothing; all hear it.
pub(crate) fn deaf(run: &mut Run, time: Duration) -> anyhow::Result<()> {
    let index = run.any_validator();
    run.calm()?;
    let others: Vec<usize> = (0..run.validators()).filter(|i| *i != index).collect();
    run.mesh().one_way(&others, Line::Cut);
    one_suffers(run, index, time, DEAF)
}

/// One validator has a line that carries next to nothing.
pub(crate) fn trickle(run: &mut Run, time: Duration) -> anyhow::Result<()> {
    let index = run.any_validator();
    run.calm()?;
    run.mesh().split(&[index], THIN);
    one_suffers(run, index, time, TRICKLE)
}

/// Every line is as long as one around the world.
pub(crate) fn slow(run: &mut Run, time: Duration) -> anyhow::Result<()> {
    run.calm()?;
    run.pulse.mark();
    run.mesh().everywhere(FAR);
    std::thread::sleep(time);
    run.note_gap(SLOW);
    run.mesh().everywhere(Line::Open);
    Ok(())
}

fn one_suffers(run: &mut Run, index: usize, time: Duration, kind: Kind) -> anyhow::Result<()> {
    run.pulse.mark();
    std::thread::sleep(time);
    run.note_gap(kind);
    run.mesh().everywhere(Line::Open);
    let took = run.catches_up(index)?;
    run.tally.note(BACK, took);
    Ok(())
}

fn heal(run: &mut Run, kind: Kind) -> anyhow::Result<()> {
    run.mesh().everywhere(Line::Open);
    let committees = run.committees();
    run.resumes(kind, &committees)?;
    let took = run.shards_have_the_newest_record()?;
    run.tally.note(CAUGHT_UP, took);
    Ok(())
}
