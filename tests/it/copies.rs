//! Somebody copies the home of a validator and runs both: two processes with one key. As long as a
//! colleague is connected with the one it takes no connection of the other; so the lines between the
//! first and two of its three colleagues are cut, and these talk to the second. Before long one of
//! the two sees its own name under something that it did not sign. It ends, and does not start again
//! before a person has looked.
//!
//! The validator counts as the faulty one of its committee.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lockstep_node::exit::ExitCode;
use lockstep_node::home::Home;
use lockstep_node::network::peer_id;

use crate::damage::{copy, ends, replace};
use crate::mesh::Line;
use crate::run::Run;
use crate::tally::Kind;

const SEEN: Kind = Kind {
    name: "two copies of one home: one has ended",
    bound: Duration::from_secs(20),
};

/// Any port.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A validator of a shard and a copy of it, started at once.
pub(crate) fn run_beside_each_other(run: &mut Run) -> anyhow::Result<()> {
    run.calm()?;
    let shard = run.shards()[0];
    let members = run.network.members(shard);
    let index = dials_all(run, &members)?;
    run.network.expect_two_faces(index);
    let name = run.network.cluster.places()[index].name.clone();
    run.kill(index);
    let files = tempfile::tempdir()?;
    let home = run.network.cluster.places()[index].home.clone();
    let twin_home = Home::at(files.path());
    copy(home.root(), files.path())?;
    let mut config = twin_home.config()?;
    config.network.listen = ANY;
    config.rpc.listen = ANY;
    // Past the mesh, whose lines are those of the first.
    for peer in &mut config.network.peers {
        let mut places = run.network.cluster.places().iter();
        let place = places.find(|place| place.name == peer.name);
        peer.address = place.context("a stranger")?.network.to_string();
    }
    twin_home.write_config(&config)?;
    run.restart(index)?;
    run.catches_up(index)?;
    let colleagues = members.iter().filter(|member| **member != index);
    let cut_off: Vec<usize> = colleagues.copied().take(2).collect();
    lines(run, index, &cut_off, Line::Refused);
    let mut command = run.network.cluster.command(&twin_home)?;
    let mut twin = command.stderr(Stdio::null()).spawn()?;
    let ended = one_ends(run, index, &mut twin);
    // A child that has ended by itself cannot be killed.
    let _ = twin.kill();
    twin.wait()?;
    run.network.cluster.kill(index);
    lines(run, index, &cut_off, Line::Open);
    let ended_home = match ended? {
        Ended::Original => &home,
        Ended::Twin => &twin_home,
    };
    ensure!(ended_home.held_file().try_exists()?, "no reason is left");
    let evidence = std::fs::read_to_string(ended_home.evidence_file())?;
    let seen = evidence.lines().find(|line| line.contains("second_copy"));
    let seen = seen.context("no evidence is left")?;
    ensure!(
        !seen.contains("\"statements\":\"\""),
        "it shows nothing: {seen}"
    );
    // A supervisor starts it again.
    run.load.history.damaged(&name);
    replace(&home.data(), &ended_home.data())?;
    run.restart(index)?;
    let code = ends(run, index)?;
    ensure!(is_second_copy(code), "started again, it ends with {code}");
    // A person who does not know which of the two is newer goes on without either.
    run.load.history.damaged(&name);
    run.network.cluster.wipe(index)?;
    run.catches_up(index)?;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Original,
    Twin,
}

/// The member that dials all others, so that its copy does, too, wherever it listens.
fn dials_all(run: &Run, members: &[usize]) -> anyhow::Result<usize> {
    let cluster = &run.network.cluster;
    let mut first = None;
    for index in members {
        let place = &cluster.places()[*index];
        let validators = cluster.genesis().validators(place.committee);
        let id = peer_id(&validators[place.member.get()].network_key)?;
        first = first.into_iter().chain([(id, *index)]).min();
    }
    first.map(|(_, index)| index).context("a committee")
}

fn lines(run: &Run, index: usize, others: &[usize], line: Line) {
    for other in others {
        run.mesh().set(index, *other, line);
        run.mesh().set(*other, index, line);
    }
}

/// Waits until one of the two has ended, by the name that it must.
fn one_ends(run: &mut Run, index: usize, twin: &mut Child) -> anyhow::Result<Ended> {
    let started = Instant::now();
    while started.elapsed() < 3 * SEEN.bound {
        let original = run.network.cluster.exit_code(index);
        let other = twin.try_wait()?.and_then(|status| status.code());
        let (who, code) = match (original, other) {
            (Some(code), _) => (Ended::Original, code),
            (None, Some(code)) => (Ended::Twin, code),
            (None, None) => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        ensure!(is_second_copy(code), "{who:?} ended with {code}");
        run.tally.note(SEEN, started.elapsed());
        return Ok(who);
    }
    bail!("both run, and neither has noticed the other")
}

fn is_second_copy(code: i32) -> bool {
    code == ExitCode::SecondCopy as i32
}
