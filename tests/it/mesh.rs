//! A network in between: every connection of one validator to another goes through here, and each
//! direction of it can be cut, slowed or refused while it runs.
//!
//! A cut holds bytes back and loses none, as a broken cable does to TCP: what was under way
//! arrives when it heals, and a connection that is tried meanwhile gets no answer.
//!
//! Breaks if: bytes of one stream overtake each other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::Context as _;
use lockstep_node::cluster::Place;
use lockstep_sim::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;
/// Chunks of one direction that are under way; a sender that is faster waits, as TCP would.
const UNDER_WAY: usize = 64;
/// A trickle flows in steps of this length.
const TRICKLE_STEP: Duration = Duration::from_millis(20);
/// What a connection that is not let through may say before we stop listening.
const MAX_HELD: usize = 64 << 10;

/// The state of one direction between two validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Everything passes at once.
    Open,
    /// Nothing passes until it heals.
    Cut,
    /// Everything arrives later, by `base` and up to `jitter` more.
    Slow { base: Duration, jitter: Duration },
    /// So many bytes a second pass.
    Trickle { bytes_per_second: u32 },
    /// Connections end and no new one is taken.
    Refused,
}

/// All lines between the validators of a cluster, by their positions there.
pub(crate) struct Mesh {
    lines: Vec<Vec<watch::Sender<Line>>>,
}

impl Mesh {
    /// Puts itself between all validators, by the addresses in their `node.toml`. None of them
    /// may be running yet.
    pub(crate) fn between(places: &[Place], runtime: &Handle) -> anyhow::Result<Self> {
        let line = |_| watch::Sender::new(Line::Open);
        let row = |_| (0..places.len()).map(line).collect();
        let mesh = Mesh {
            lines: (0..places.len()).map(row).collect(),
        };
        let _entered = runtime.enter();
        for (from, place) in places.iter().enumerate() {
            let mut config = place.home.config()?;
            for peer in &mut config.network.peers {
                let named = |other: &Place| other.name == peer.name;
                let to = places.iter().position(named).context("a stranger")?;
                peer.address = mesh.listen(from, to, places[to].network)?.to_string();
            }
            place.home.write_config(&config)?;
        }
        Ok(mesh)
    }

    /// Takes connections that `from` makes to `to`.
    fn listen(&self, from: usize, to: usize, target: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let there = self.lines[from][to].subscribe();
        let back = self.lines[to][from].subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, target, there.clone(), back.clone()));
            }
        });
        Ok(address)
    }

    /// What `from` sends to `to` from now on meets `line`.
    pub(crate) fn set(&self, from: usize, to: usize, line: Line) {
        self.lines[from][to].send_replace(line);
    }

    /// All lines between `side` and everybody else, in both directions.
    pub(crate) fn split(&self, side: &[usize], line: Line) {
        self.one_way(side, line);
        let all = 0..self.lines.len();
        let others: Vec<usize> = all.filter(|index| !side.contains(index)).collect();
        self.one_way(&others, line);
    }

    /// All lines from `side` to everybody else.
    pub(crate) fn one_way(&self, side: &[usize], line: Line) {
        for from in side {
            for to in 0..self.lines.len() {
                if !side.contains(&to) {
                    self.set(*from, to, line);
                }
            }
        }
    }

    /// All lines there are.
    pub(crate) fn everywhere(&self, line: Line) {
        for row in &self.lines {
            for one in row {
                one.send_replace(line);
            }
        }
    }
}

/// One connection, until either end closes it or a line is refused.
async fn relay(
    mut near: TcpStream,
    target: SocketAddr,
    there: watch::Receiver<Line>,
    back: watch::Receiver<Line>,
) {
    let (mut first, mut second) = (there.clone(), back.clone());
    let relayed = async {
        let held = held_while_cut(&mut near, there.clone(), back.clone()).await?;
        let far = TcpStream::connect(target).await.ok()?;
        near.set_nodelay(true).ok()?;
        far.set_nodelay(true).ok()?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let seed = u64::from(target.port());
        tokio::select! {
            () = pump(held, near_read, far_write, there, Random::new(seed)) => {}
            () = pump(Vec::new(), far_read, near_write, back, Random::new(seed + 1)) => {}
        }
        Some(())
    };
    tokio::select! {
        _ = relayed => {}
        _ = first.wait_for(|line| *line == Line::Refused) => {}
        _ = second.wait_for(|line| *line == Line::Refused) => {}
    }
}

/// Waits while either direction is cut; returns what the caller said meanwhile, or nothing when
/// it gave up.
async fn held_while_cut(
    near: &mut TcpStream,
    mut there: watch::Receiver<Line>,
    mut back: watch::Receiver<Line>,
) -> Option<Vec<u8>> {
    let mut held = Vec::new();
    let healed = async {
        loop {
            there.wait_for(|line| *line != Line::Cut).await.ok()?;
            back.wait_for(|line| *line != Line::Cut).await.ok()?;
            if *there.borrow() != Line::Cut {
                return Some(());
            }
        }
    };
    tokio::pin!(healed);
    loop {
        tokio::select! {
            biased;
            healed = &mut healed => return healed.map(|()| held),
            read = near.read_buf(&mut held) => match read {
                Ok(bytes) if bytes > 0 && held.len() <= MAX_HELD => {}
                _ => return None,
            },
        }
    }
}

/// Carries one direction, `first` before all else.
async fn pump(
    mut first: Vec<u8>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    mut random: Random,
) {
    let (queue, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let entering = line.clone();
    let read = async move {
        // A stream keeps its order: nothing is due before what came earlier.
        let mut due = Instant::now();
        loop {
            if first.is_empty() {
                first.reserve(CHUNK);
                match from.read_buf(&mut first).await {
                    Ok(bytes) if bytes > 0 => {}
                    _ => return,
                }
            }
            let lag = match *entering.borrow() {
                Line::Slow { base, jitter } => random.duration(base, base + jitter),
                _ => Duration::ZERO,
            };
            due = due.max(Instant::now() + lag);
            if queue.send((due, std::mem::take(&mut first))).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if !deliver(&mut to, &bytes, &mut line).await {
                return;
            }
        }
    };
    tokio::pin!(write);
    tokio::select! {
        () = read => write.await,
        () = &mut write => {}
    }
}

/// Writes bytes as the line lets them through; false when the other end is gone.
async fn deliver(
    to: &mut OwnedWriteHalf,
    mut bytes: &[u8],
    line: &mut watch::Receiver<Line>,
) -> bool {
    while !bytes.is_empty() {
        let state = *line.borrow_and_update();
        let piece = match state {
            Line::Cut => {
                if line.changed().await.is_err() {
                    return false;
                }
                continue;
            }
            Line::Trickle { bytes_per_second } => {
                let step = bytes_per_second as usize * TRICKLE_STEP.as_millis() as usize / 1_000;
                sleep(TRICKLE_STEP).await;
                step.clamp(1, bytes.len())
            }
            Line::Open | Line::Slow { .. } | Line::Refused => bytes.len(),
        };
        if to.write_all(&bytes[..piece]).await.is_err() {
            return false;
        }
        bytes = &bytes[piece..];
    }
    true
}
