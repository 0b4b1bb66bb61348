//! Conversations between replicas, as text. A script in `scripts/` names what happens; below its
//! line of dashes stands what the replicas did, in order. With `LOCKSTEP_BLESS=1` the traces are
//! written anew, to be reviewed as a difference.
//!
//! ```text
//! members 4            first; how many
//! sync 2               milliseconds a disk takes
//! submit 7             hand the number 7 to everybody (submit 7 to 2: to member 2)
//! run 40               let so many milliseconds pass
//! lose vote from 0     lose these messages from now on (also: to 3; * for every kind)
//! lose nothing
//! crash 2  restart 2
//! equivocate 1         member 1 proposes two blocks, one to the even members, one to the odd
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use lockstep_consensus::Message;

use crate::common::World;

const RULE: &str = "----------------------------------------------------------------";

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn every_script_gives_its_trace() {
    let bless = std::env::var_os("LOCKSTEP_BLESS").is_some();
    let scripts = scripts();
    assert!(!scripts.is_empty());
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once(RULE).unwrap_or((&text, ""));
        let trace = play(script);
        if bless {
            let script = script.trim_end();
            fs::write(&path, format!("{script}\n{RULE}\n{trace}")).unwrap();
        } else {
            assert_eq!(trace.trim(), expected.trim(), "{}", path.display());
        }
    }
}

fn play(script: &str) -> String {
    let mut world = World::new(4);
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() && !line.starts_with('#') {
            command(&mut world, &words);
        }
    }
    world.trace
}

fn command(world: &mut World, words: &[&str]) {
    let number = |word: &str| word.parse::<u32>().unwrap();
    let member = |word: &str| word.parse::<usize>().unwrap();
    match words {
        ["members", n] => *world = World::new(member(n)),
        ["sync", ms] => world.sync = core::time::Duration::from_millis(number(ms).into()),
        ["submit", n] => world.submit(number(n)),
        ["submit", n, "to", m] => world.submit_to(member(m), number(n)),
        ["run", ms] => world.run_ms(number(ms).into()),
        ["lose", "nothing"] => world.drop_nothing(),
        ["lose", kind, filters @ ..] => lose(world, kind, filters),
        ["crash", m] => world.crash(member(m)),
        ["restart", m] => world.restart(member(m)),
        ["equivocate", m] => equivocate(world, member(m)),
        _ => panic!("not a command: {words:?}"),
    }
}

fn lose(world: &mut World, kind: &str, filters: &[&str]) {
    let kind = kind.to_owned();
    let find = |name: &str| {
        let position = filters.iter().position(|word| *word == name)?;
        filters[position + 1].parse::<usize>().ok()
    };
    let (from, to) = (find("from"), find("to"));
    world.drop_when(move |sent| {
        (kind == "*" || sent.message.kind() == kind)
            && from.is_none_or(|from| sent.from == from)
            && to.is_none_or(|to| sent.to == to)
    });
}

fn equivocate(world: &mut World, leader: usize) {
    let other = (leader + 1) % world.size();
    let view = world.replica(other).view().get();
    let justify = world.replica(other).high_qc().clone();
    let parent = world.replica(other).block(&justify.block).unwrap().clone();
    let tc = world.replica(other).high_tc().cloned();
    let tc = tc.filter(|_| !world.replica(other).view().follows(justify.view));
    for (numbers, remainder) in [([101], 0), ([102], 1)] {
        let block = world.forge_block(view, &parent, &numbers);
        assert_eq!(block.header().proposer.get(), leader, "not its turn");
        let proposal = world.forge_proposal(block, justify.clone(), tc.clone());
        let to: Vec<usize> = (0..world.size())
            .filter(|peer| *peer != leader && peer % 2 == remainder)
            .collect();
        world.send_as(leader, &to, Message::Proposal(Box::new(proposal)));
    }
}
