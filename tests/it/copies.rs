//! Somebody copies the home of a validator and runs both: two processes with one key, of which each
//! hears what the other has said only through the others. Before long one of them sees its own name
//! under something that it did not sign. It ends, and does not start again before a person has looked.
//!
//! The validator counts as the faulty one of its committee.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use lockstep_node::exit::ExitCode;
use lockstep_node::home::Home;

use crate::damage::{copy, ends, replace};
use crate::pauses::stop_for;
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
    let index = run.pick(&members);
    run.network.expect_two_faces(index);
    run.kill(index);
    let files = tempfile::tempdir()?;
    let home = run.network.cluster.places()[index].home.clone();
    let twin_home = Home::at(files.path());
    copy(home.root(), files.path())?;
    let mut config = twin_home.config()?;
    config.network.listen = ANY;
    config.rpc.listen = ANY;
    twin_home.write_config(&config)?;
    run.restart(index)?;
    let mut command = run.network.cluster.command(&twin_home)?;
    let mut twin = command.stderr(Stdio::null()).spawn()?;
    let ended = one_ends(run, index, &mut twin);
    // A child that has ended by itself cannot be killed.
    let _ = twin.kill();
    twin.wait()?;
    run.network.cluster.kill(index);
    let ended_home = match ended? {
        Ended::Original => &home,
        Ended::Twin => &twin_home,
    };
    ensure!(ended_home.held_file().try_exists()?, "no reason is left");
    // A supervisor starts it again.
    replace(&home.data(), &ended_home.data())?;
    run.restart(index)?;
    let code = ends(run, index)?;
    ensure!(is_second_copy(code), "started again, it ends with {code}");
    // A person who does not know which of the two is newer goes on without either.
    run.network.cluster.wipe(index)?;
    run.catches_up(index)?;
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Original,
    Twin,
}

/// Waits until one of the two has ended, by the name that it must. The original stands still now and
/// then, so that the two do not always say the same.
fn one_ends(run: &mut Run, index: usize, twin: &mut Child) -> anyhow::Result<Ended> {
    let started = Instant::now();
    while started.elapsed() < 3 * SEEN.bound {
        let original = run.network.cluster.exit_code(index);
        let other = twin.try_wait()?.and_then(|status| status.code());
        let ended = match (original, other) {
            (Some(code), _) => (Ended::Original, code),
            (None, Some(code)) => (Ended::Twin, code),
            (None, None) => {
                stop_for(run, index, Duration::from_millis(300))?;
                std::thread::sleep(Duration::from_millis(300));
                continue;
            }
        };
        ensure!(
            is_second_copy(ended.1),
            "{:?} ended with {}",
            ended.0,
            ended.1
        );
        run.tally.note(SEEN, started.elapsed());
        return Ok(ended.0);
    }
    bail!("both run, and neither has noticed the other")
}

fn is_second_copy(code: i32) -> bool {
    code == ExitCode::SecondCopy as i32
}
