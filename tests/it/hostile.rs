//! Surroundings that mean no good: a thousand RPC connections that waste what they are given, and a
//! member that sends garbage as fast as it can. The validator they aim at keeps to its memory, and
//! an honest client of it is served nearly as before.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use lockstep_client::rpc::{PeerConduct, Stage};
use lockstep_client::{Client, SignedTransaction, Transfer};
use lockstep_consensus as consensus;
use lockstep_genesis::AccountKey;
use lockstep_node::cluster::Place;
use lockstep_node::network::{
    self, Bytes, Class, NetworkConfig, NetworkEvent, NetworkHandle, PeerId, keypair, peer_id,
};
use lockstep_shard::{MAX_MESSAGE_BYTES, Message};
use lockstep_sim::Random;
use lockstep_types::{
    AssetId, BlockId, CommitteeId, Epoch, GenesisHash, ShardId, Signature, View, Vote, WindowNumber,
};
use parity_scale_codec::Encode as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::network::{CALL, Form, Network};
use crate::run::memory_kib;

const SEED: u64 = 11;
/// Honest senders: every other account, which are those of the victim's shard.
const ACCOUNTS: u32 = 32;
/// Each sends so often. All together leave some of two processors free, else one would measure how
/// an attack and its target share them.
const PACE: Duration = Duration::from_millis(250);
/// Each round is measured without the attack and with it, since machines change their speed.
const ROUNDS: usize = 3;
/// How long each half of a round is measured.
const WATCH: Duration = Duration::from_secs(6);
/// A transfer that is not final after so long never will be.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before it is: what has just begun, or ended, is over.
const SETTLE: Duration = Duration::from_secs(1);
/// What a validator may use.
const MAX_RESIDENT_KIB: u64 = 512 << 10;
/// An honest client waits at most so much longer at the 99th percentile, in most rounds.
const MAX_SLOWDOWN: u32 = 2;
/// Below this, on one machine for everybody, noise is larger than what is measured.
const NOISE: Duration = Duration::from_millis(150);
/// Hostile connections, from so many addresses.
const CONNECTIONS: usize = 1_000;
const ADDRESSES: usize = 100;
/// Less than this in a round is a machine too slow for the attack that is meant.
const MIN_ATTEMPTS: u64 = 3_000;
const MIN_WRONG: u64 = 15_000;
/// Before a client that was sent away comes again.
const COME_AGAIN: Duration = Duration::from_millis(500);
/// A WebSocket asks so much at once, so many times.
const UNREAD: usize = 200;
/// Pages of barriers in a batch, beside the evidence.
const PAGES: usize = 9;
/// The victim has started again by then.
const BACK: Duration = Duration::from_secs(20);
/// What the victim has to tell of the liar: so many cases of so many bytes each.
const CASES: usize = 12;
const CASE_BYTES: usize = 1 << 20;
/// The server has had enough of it by then.
const UNREAD_FOR: Duration = Duration::from_secs(12);
/// The liar sends so many messages to each colleague, this often.
const BURST: usize = 20;
const BURST_EVERY: Duration = Duration::from_millis(10);
/// Of those, of this size; one in a burst.
const LARGE: usize = 128 << 10;

pub(crate) fn rpc_floods_and_garbage_are_survived() -> anyhow::Result<()> {
    let mut net = Network::start(Form::Processes, ACCOUNTS)?;
    let committee = CommitteeId::Shard(ShardId::new(0));
    let members = net.members(committee);
    let (victim, liar) = (members[0], members[3]);
    net.cluster.kill(liar);
    let place = net.cluster.places()[victim].clone();
    net.cluster.kill(victim);
    std::fs::write(place.home.evidence_file(), casebook(&net, liar))?;
    net.cluster.restart(victim)?;
    net.wait_for(victim, BACK, "evidence", |status| {
        status.evidence == CASES as u64 && status.blocked.is_none()
    })?;
    let process = net.cluster.process_id(victim).context("a process")?;

    let senders = Senders::start(&net, &place)?;
    let client = Client::new(&[place.url()], CALL)?;
    let elsewhere = elsewhere()?;
    let (mut waits, mut known) = (Vec::new(), [0; 3]);
    for _ in 0..ROUNDS {
        let calm = senders.watch()?;
        let crowd = Crowd::start(&elsewhere, place.rpc);
        let garbage = Garbage::start(&net, &elsewhere, liar, committee)?;
        let attacked = senders.watch()?;
        let peers = net.runtime.block_on(client.peers())?;
        let (taken, sent) = (crowd.stop(), garbage.stop());
        println!(
            "  {CONNECTIONS} hostile connections from {ADDRESSES} addresses made {taken} attempts; \
             a member sent {sent} wrong messages: p99 of an honest transfer {calm:.0?} without, \
             {attacked:.0?} with"
        );
        ensure!(taken > MIN_ATTEMPTS && sent > MIN_WRONG, "a weak attack");
        judge(&net, liar, &peers, &mut known)?;
        waits.push((calm, attacked));
    }
    senders.stop();
    elsewhere.shutdown_background();

    let peak = memory_kib(process, "VmHWM:").context("a peak")?;
    println!("  memory at most {} MiB", peak >> 10);
    ensure!(peak < MAX_RESIDENT_KIB, "a validator used {peak} KiB");
    let kept =
        |(calm, attacked): &&(Duration, Duration)| *attacked <= MAX_SLOWDOWN * *(calm.max(&NOISE));
    ensure!(
        waits.iter().filter(kept).count() > ROUNDS / 2,
        "an honest client waits too long: {waits:?}"
    );
    net.cluster.stop();
    let (_, contradictions) = net.statements()?;
    ensure!(contradictions.is_empty(), "{contradictions:?}");
    Ok(())
}

/// As many and as long statements of one member as make an answer nearly as long as answers get.
fn casebook(net: &Network, member: usize) -> String {
    let place = &net.cluster.places()[member];
    let (name, position) = (&place.name, place.member.get());
    let statements = "0".repeat(CASE_BYTES);
    let case = |view: usize| {
        format!(
            "{{\"committee\":\"shard-0\",\"member\":{position},\"validator\":\"{name}\",\"view\":{view},\
             \"kind\":\"votes\",\"seen_us\":1,\"statements\":\"{statements}\"}}\n"
        )
    };
    (0..CASES).map(case).collect()
}

/// The hostile would be other machines: they get what the validators and their honest clients leave
/// of the processors.
fn step_back() {
    // On Linux, of this thread alone.
    rustix::process::setpriority_process(None, 19).expect("everybody may have less");
}

/// Where they run.
fn elsewhere() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hostile")
        .enable_all()
        .on_thread_start(step_back)
        .build()
}

/// The liar is known, was not listened to since last time, and nobody else is blamed.
fn judge(
    net: &Network,
    liar: usize,
    peers: &[PeerConduct],
    before: &mut [u64; 3],
) -> anyhow::Result<()> {
    let name = &net.cluster.places()[liar].name;
    ensure!(peers.len() == net.cluster.places().len() - 1);
    for peer in peers {
        if &peer.validator == name {
            println!(
                "  its score is {}: {} rejected, {} unread, {} far ahead",
                peer.score, peer.rejected, peer.unread, peer.ahead
            );
            let now = [peer.rejected, peer.unread, peer.ahead];
            let more = now.iter().zip(&*before).all(|(now, before)| now > before);
            ensure!(
                peer.connected && peer.score > 0 && more,
                "{peer:?} after {before:?}"
            );
            *before = now;
        } else {
            ensure!(peer.score == 0 && peer.rejected == 0, "{peer:?} is blamed");
        }
    }
    Ok(())
}

/// Honest clients of one validator: each sends a transfer at its times, which are nobody else's.
struct Senders {
    took: std::sync::mpsc::Receiver<Sent>,
    count: usize,
    /// Their own: a crowd in the same threads would hold them up before they reach the network.
    runtime: Runtime,
}

impl Senders {
    fn start(net: &Network, place: &Place) -> anyhow::Result<Self> {
        let accounts = net.cluster.keys().accounts.iter();
        let accounts: Vec<AccountKey> = accounts
            .filter(|account| Some(account.shard) == place.committee.shard())
            .cloned()
            .collect();
        let (tell, took) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let started = Instant::now();
        for (position, account) in accounts.iter().enumerate() {
            let sender = Sender {
                client: Client::new(&[place.url()], CALL)?,
                genesis: net.cluster.genesis().hash(),
                account: account.clone(),
                receiver: accounts[(position + 1) % accounts.len()].clone(),
                first: started + PACE * u32::try_from(position)? / u32::try_from(accounts.len())?,
                number: position,
                tell: tell.clone(),
            };
            runtime.spawn(sender.run());
        }
        let count = accounts.len();
        Ok(Senders {
            took,
            count,
            runtime,
        })
    }

    /// The 99th percentile of how long all those transfers take that are due for a while from soon
    /// on. It returns when they are final, and every sender is on time again.
    fn watch(&self) -> anyhow::Result<Duration> {
        let from = Instant::now() + SETTLE;
        let until = from + WATCH;
        let mut late: BTreeSet<usize> = (0..self.count).collect();
        let mut all = Vec::new();
        while !late.is_empty() {
            let end = (until + PATIENCE).saturating_duration_since(Instant::now());
            let final_one = self.took.recv_timeout(end);
            let Sent { sender, due, took } = final_one.context("some transfers do not end")?;
            if due >= until && took < PACE {
                late.remove(&sender);
            } else if (from..until).contains(&due) {
                all.push(took);
            }
        }
        // Each has sent at its times, whenever that was.
        let expected = self.count * (WATCH.as_millis() / PACE.as_millis()) as usize;
        ensure!(
            all.len() == expected,
            "{} transfers, not {expected}",
            all.len()
        );
        all.sort_unstable();
        Ok(all[all.len() * 99 / 100])
    }

    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// A transfer that is final.
struct Sent {
    sender: usize,
    due: Instant,
    took: Duration,
}

struct Sender {
    client: Client,
    genesis: GenesisHash,
    account: AccountKey,
    receiver: AccountKey,
    first: Instant,
    number: usize,
    tell: std::sync::mpsc::Sender<Sent>,
}

impl Sender {
    async fn run(self) {
        let transfer = Transfer {
            to: self.receiver.account,
            asset: AssetId::NATIVE,
            amount: 2_000_000,
        };
        let mut due = self.first;
        for nonce in 0.. {
            tokio::time::sleep_until(due.into()).await;
            let expiry = WindowNumber::new(1_000_000);
            let key = &self.account.key;
            let signed =
                SignedTransaction::transfers(&self.genesis, key, nonce, expiry, &[transfer]);
            while !self.is_final(&signed).await {}
            // The test may have ended.
            let _ = self.tell.send(Sent {
                sender: self.number,
                due,
                took: due.elapsed(),
            });
            due += PACE;
        }
    }

    /// Submits once, and asks for a second.
    async fn is_final(&self, signed: &SignedTransaction) -> bool {
        // Whatever the answer: a repeated transaction is known, and a lost one is sent again.
        let _ = self.client.submit(&signed.bytes).await;
        for _ in 0..100 {
            if let Ok(Stage::Executed(_)) = self.client.transaction(&signed.id).await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

/// The ways to waste a connection.
#[derive(Clone, Copy, Debug)]
enum Waste {
    SlowHeader,
    HalfBody,
    HugeBody,
    DeepJson,
    /// Asks for the longest answers there are, and does not read.
    UnreadPages,
    /// A WebSocket that asks and does not read.
    Unread,
}

impl Waste {
    const ALL: [Waste; 6] = [
        Waste::SlowHeader,
        Waste::HalfBody,
        Waste::HugeBody,
        Waste::DeepJson,
        Waste::UnreadPages,
        Waste::Unread,
    ];

    /// Until the server has had enough of it.
    async fn run(self, stream: &mut TcpStream) -> std::io::Result<()> {
        let head = |length: usize| {
            format!(
                "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
        };
        match self {
            Waste::SlowHeader => loop {
                stream.write_all(b"G").await?;
                tokio::time::sleep(Duration::from_millis(700)).await;
            },
            Waste::HalfBody => {
                stream.write_all(head(256 << 10).as_bytes()).await?;
                stream.write_all(&vec![b'['; 255 << 10]).await?;
            }
            Waste::HugeBody => {
                let chunked = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
                stream.write_all(chunked.as_bytes()).await?;
                loop {
                    stream.write_all(b"10000\r\n").await?;
                    stream.write_all(&[b'['; 0x10000]).await?;
                    stream.write_all(b"\r\n").await?;
                }
            }
            Waste::DeepJson => {
                let deep = "[".repeat(100 << 10);
                let call = call("x", &deep);
                stream.write_all(head(call.len()).as_bytes()).await?;
                stream.write_all(call.as_bytes()).await?;
            }
            Waste::UnreadPages => {
                let batch = pages();
                stream.write_all(head(batch.len()).as_bytes()).await?;
                stream.write_all(batch.as_bytes()).await?;
                tokio::time::sleep(UNREAD_FOR).await;
                return Ok(());
            }
            Waste::Unread => {
                let upgrade = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                stream.write_all(upgrade).await?;
                let texts = [call("lockstep_barriers", "[0]"), pages()];
                let frame: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
                for _ in 0..UNREAD {
                    stream.write_all(&frame.repeat(UNREAD)).await?;
                    tokio::time::sleep(BURST_EVERY).await;
                }
            }
        }
        // The answer, if any, and the end.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        Ok(())
    }
}

pub(crate) fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

/// The longest answers, in one batch.
fn pages() -> String {
    let mut calls = vec![call("lockstep_barriers", "[0]"); PAGES];
    calls.push(call("lockstep_evidence", "[]"));
    format!("[{}]", calls.join(","))
}

/// A text message, masked with zeros.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    let mut bytes = vec![0x81, 0x80 | 126];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Clients that come again whenever they are sent away.
struct Crowd {
    attempts: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(runtime: &Runtime, target: SocketAddr) -> Self {
        let attempts = Arc::new(AtomicU64::new(0));
        let one = |number: usize| {
            let attempts = Arc::clone(&attempts);
            let last = u8::try_from(2 + number % ADDRESSES).expect("below 256");
            let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
            // An address does one thing: what one of them does tells nothing of the others.
            let waste = Waste::ALL[number % ADDRESSES % Waste::ALL.len()];
            runtime.spawn(async move {
                loop {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    // However it ends, it begins again.
                    let _ = attempt(waste, from, target).await;
                    tokio::time::sleep(COME_AGAIN).await;
                }
            })
        };
        let tasks = (0..CONNECTIONS).map(one).collect();
        Crowd { attempts, tasks }
    }

    /// How many connections were tried.
    fn stop(self) -> u64 {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.attempts.load(Ordering::Relaxed)
    }
}

async fn attempt(waste: Waste, from: SocketAddr, target: SocketAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from)?;
    let mut stream = socket.connect(target).await?;
    waste.run(&mut stream).await
}

/// A member that is down, played by somebody who has its network key.
struct Garbage {
    handle: NetworkHandle,
    stop: Arc<AtomicBool>,
    sending: std::thread::JoinHandle<u64>,
}

impl Garbage {
    fn start(
        net: &Network,
        runtime: &Runtime,
        liar: usize,
        committee: CommitteeId,
    ) -> anyhow::Result<Self> {
        let genesis = net.cluster.genesis();
        let place = &net.cluster.places()[liar];
        let config = place.home.config()?;
        let file = place.home.config_file();
        let network = NetworkConfig {
            key: keypair(place.home.keys(genesis)?.network_seed),
            listen: config.network.listen,
            peers: config.peers(genesis, &place.name, &file)?,
            chain: genesis.chain_name(),
            topics: Vec::new(),
            foreign_topics: Vec::new(),
            max_message: MAX_MESSAGE_BYTES,
        };
        let validators = genesis.validators(committee).iter();
        let colleagues = validators
            .filter(|validator| validator.name != place.name)
            .map(|validator| peer_id(&validator.network_key))
            .collect::<Result<Vec<_>, _>>()?;
        let _entered = runtime.enter();
        let handle = network::Network::start(network, Arc::new(drop::<NetworkEvent>))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, until, member) = (handle.clone(), Arc::clone(&stop), place.member);
        let sending = std::thread::spawn(move || {
            step_back();
            let mut random = Random::new(SEED);
            let noise = (0..3 * LARGE).map(|_| random.below(256) as u8);
            let noise = Bytes::from(noise.collect::<Vec<u8>>());
            let mut sent = 0;
            while !until.load(Ordering::Relaxed) {
                let vote = Vote {
                    epoch: Epoch::ZERO,
                    view: View::new(random.below(1 << 40)),
                    block: BlockId::ZERO,
                    author: member,
                    signature: Signature::new([1; 64]),
                };
                let vote = Message::Consensus(consensus::Message::Vote(vote)).encode();
                let start = usize::try_from(random.below(LARGE as u64)).expect("an index");
                sent += burst(
                    &sender,
                    &colleagues,
                    &noise.slice(start..),
                    &Bytes::from(vote),
                );
                std::thread::sleep(BURST_EVERY);
            }
            sent
        });
        Ok(Garbage {
            handle,
            stop,
            sending,
        })
    }

    /// How many messages were sent.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sending.join().expect("it only sends");
        self.handle.close();
        sent
    }
}

/// Badly signed votes for views far ahead, bytes that mean nothing, and many of them.
fn burst(to: &NetworkHandle, colleagues: &[PeerId], noise: &Bytes, vote: &Bytes) -> u64 {
    let mut sent = 0;
    for id in colleagues {
        for number in 0..BURST {
            let length = if number == 0 { LARGE } else { 100 };
            let nonsense = noise.slice(number..number + length);
            let (class, bytes) = match number % 4 {
                0 => (Class::Data, nonsense),
                1 => (Class::Sync, nonsense),
                2 => (Class::Consensus, nonsense),
                _ => (Class::Consensus, vote.clone()),
            };
            to.send(id, class, bytes);
            sent += 1;
        }
    }
    sent
}
