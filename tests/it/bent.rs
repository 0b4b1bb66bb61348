//! Bent bytes for what only whole programs read: requests to a validator, and files that people get
//! from each other or write themselves. A campaign of the simulator's fuzzer for each. Whatever comes
//! is refused or taken in; nobody panics, nobody waits for more, and nothing that is made up passes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lockstep_client::rpc::method;
use lockstep_client::{
    CertifiedReceipt, Client, Cost, FinalReceipt, KeyFile, MAX_CERTIFIED_RECEIPT_BYTES,
    ReceiptFile, SignedTransaction, Transfer, Verified,
};
use lockstep_genesis::Genesis;
use lockstep_node::config::NodeConfig;
use lockstep_sim::fuzz::{Campaign, Target};
use lockstep_types::generate::Random;
use lockstep_types::{AssetId, CommitteeId, Signer as _, WindowNumber, codec};
use parity_scale_codec::Encode as _;

use crate::hostile::{call, frame};
use crate::network::{CALL, Form, Network};

const SEED: u64 = 3;
/// How long each campaign goes on.
const TIME: Duration = Duration::from_secs(4);
/// A request whose end was sent is answered, and its connection closed, by then:
/// longer than what a validator waits for itself: for room, for a reading of its store.
const PATIENCE: Duration = Duration::from_secs(15);
const FINAL: Duration = Duration::from_secs(20);

pub(crate) fn bent_requests_and_files_are_refused() -> anyhow::Result<()> {
    let mut network = Network::start(Form::Inside, 4)?;
    let genesis = network.cluster.genesis().clone();
    let certified = receipt(&network, 0)?;
    let verified = certified
        .verify(&genesis)
        .map_err(|(_, fault)| fault)
        .context("a receipt of the network")?;
    let place = &network.cluster.places()[network.members(CommitteeId::Beacon)[0]];
    let home = std::fs::read_to_string(place.home.config_file())?;
    let target = network.cluster.places()[shard_member(&network)?].rpc;
    let receipts = Receipts {
        chain: genesis.chain_name(),
        genesis,
        certified,
        verified,
    };
    let targets: [&dyn Target; 5] = [
        &Requests::to(target),
        &receipts,
        &ReceiptFiles(&receipts),
        &KeyFiles::new()?,
        &Configs(home),
    ];
    for target in targets {
        let mut campaign = Campaign::new(target, SEED);
        let end = Instant::now() + TIME;
        while Instant::now() < end || campaign.executions < campaign.start() {
            if let Err(failure) = campaign.step() {
                bail!("{failure}");
            }
        }
        ensure!(campaign.taken > 0, "{} takes nothing in", target.name());
        println!(
            "  {}: {} inputs, {} taken in",
            target.name(),
            campaign.executions,
            campaign.taken
        );
    }
    // They all still work, for those who ask properly.
    receipt(&network, 1)?;
    network.cluster.stop();
    Ok(())
}

fn shard_member(network: &Network) -> anyhow::Result<usize> {
    let shard = network.cluster.keys().accounts[0].shard;
    let members = network.members(CommitteeId::Shard(shard));
    members.first().copied().context("a shard has members")
}

/// Sends within a shard, and returns what proves it.
fn receipt(network: &Network, nonce: u64) -> anyhow::Result<CertifiedReceipt> {
    let genesis = network.cluster.genesis();
    let account = &network.cluster.keys().accounts[0];
    let transfer = Transfer {
        to: account.account,
        asset: AssetId::NATIVE,
        amount: 2_000_000,
    };
    let expiry = WindowNumber::new(1_000);
    let hash = genesis.hash();
    let signed = SignedTransaction::transfers(&hash, &account.key, nonce, expiry, &[transfer]);
    let url = network.cluster.places()[shard_member(network)?].url();
    let client = Client::new(&[url], CALL)?;
    let proof = network.runtime.block_on(async {
        client.submit(&signed.bytes).await?;
        let end = Instant::now() + FINAL;
        while Instant::now() < end {
            if let Some(proof) = client.receipt(&signed.id).await? {
                return Ok(proof);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("no receipt within {FINAL:?}")
    })?;
    let bytes = hex::decode(&proof.bytes)?;
    let receipt: FinalReceipt = codec::decode(&bytes, MAX_CERTIFIED_RECEIPT_BYTES)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(CertifiedReceipt {
        genesis: hash,
        receipt,
        record: None,
        credits: Vec::new(),
    })
}

/// `requests`: the bytes of a connection to a validator.
struct Requests {
    to: SocketAddr,
    /// What tasks of the validator's died of: their runtime keeps that to itself.
    panics: Arc<Mutex<Vec<String>>>,
}

impl Requests {
    fn to(to: SocketAddr) -> Self {
        let panics = Arc::new(Mutex::new(Vec::new()));
        let (told, ours) = (Arc::clone(&panics), std::thread::current().id());
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() != ours {
                let mut told = told.lock().expect("no holder of this lock panics");
                told.push(panic.to_string());
            }
        }));
        Requests { to, panics }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.panics.lock().expect("no holder of this lock panics")
    }

    /// The first bytes of the answer.
    fn ask(&self, request: &[u8]) -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect(self.to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // It may have closed already.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        if let Err(error) = end
            && error.kind() == ErrorKind::WouldBlock
        {
            return Err(error);
        }
        let mut start = [0; 12];
        let known = answer.len().min(start.len());
        start[..known].copy_from_slice(&answer[..known]);
        Ok(start)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // From now on panics are printed again. Who panics may not change that.
        if !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

impl Target for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        let post = |body: &str| {
            format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        let get =
            |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                       Transfer-Encoding: chunked\r\n\r\n";
        let status = call(method::STATUS, "[]");
        let chunks = format!("{chunked}{:x}\r\n{status}\r\n0\r\n\r\n", status.len());
        let socket = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut all = vec![
            get("/"),
            get("/metrics"),
            get("/readyz"),
            chunks.into_bytes(),
        ];
        let id = format!("[\"{}\"]", "ab".repeat(32));
        let params = ["[]", "[0]", "[0,\"00\"]", "[[\"00\"]]", "[\"00\"]", &id];
        for name in method::CALLS {
            let calls = params.map(|params| call(name, params));
            all.extend(calls.iter().map(|call| post(call)));
            let frames = calls.iter().flat_map(|call| frame(call));
            all.push(socket.iter().copied().chain(frames).collect());
        }
        all.push(post(&format!("[{status},{status}]")));
        let subscribe = frame(&call(method::SUBSCRIBE_BLOCKS, "[]"));
        let ping = [0x89, 0x80, 0, 0, 0, 0];
        all.push(
            [
                socket.as_slice(),
                &subscribe,
                &ping,
                &[0x88, 0x80, 0, 0, 0, 0],
            ]
            .concat(),
        );
        all
    }

    fn run(&self, input: &[u8]) -> bool {
        let answer = self.ask(input);
        let panics = std::mem::take(&mut *self.lock());
        assert!(panics.is_empty(), "{panics:?}");
        let start = answer.expect("an answer, or an end");
        start.starts_with(b"HTTP/1.1 200") || start.starts_with(b"HTTP/1.1 101")
    }
}

/// `certified-receipt`: the bytes of a proof.
struct Receipts {
    genesis: Arc<Genesis>,
    chain: String,
    certified: CertifiedReceipt,
    verified: Verified,
}

impl Receipts {
    /// Nobody has signed anything but this one: what passes says the same.
    fn check(&self, receipt: &CertifiedReceipt) -> bool {
        let Ok(verified) = receipt.verify(&self.genesis) else {
            return false;
        };
        let (known, found) = (&self.verified, &verified);
        assert_eq!((known.id, &known.result), (found.id, &found.result));
        let file = ReceiptFile::new(receipt, &self.chain).to_json();
        assert_eq!(ReceiptFile::parse(&file).as_ref(), Ok(receipt));
        true
    }
}

impl Target for Receipts {
    fn name(&self) -> &'static str {
        "certified-receipt"
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        vec![self.certified.encode()]
    }

    fn run(&self, input: &[u8]) -> bool {
        let receipt = codec::decode(input, MAX_CERTIFIED_RECEIPT_BYTES);
        receipt.is_ok_and(|receipt| self.check(&receipt))
    }
}

/// `receipt-file`: the text of a proof.
struct ReceiptFiles<'a>(&'a Receipts);

impl Target for ReceiptFiles<'_> {
    fn name(&self) -> &'static str {
        "receipt-file"
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        let file = ReceiptFile::new(&self.0.certified, &self.0.chain);
        vec![file.to_json().into_bytes()]
    }

    fn run(&self, input: &[u8]) -> bool {
        let receipt = ReceiptFile::parse(&String::from_utf8_lossy(input));
        receipt.is_ok_and(|receipt| self.0.check(&receipt))
    }
}

/// `key-file`: an encrypted key, and its password.
struct KeyFiles {
    file: KeyFile,
    /// Work that does not take long; a file may ask for as much as it likes.
    cheap: String,
}

const PASSWORD: &str = "correct horse";

impl KeyFiles {
    fn new() -> anyhow::Result<Self> {
        let cost = Cost {
            log_n: 1,
            r: 1,
            p: 1,
        };
        let file = KeyFile::encrypt(&lockstep_client::generate()?, PASSWORD, cost)?;
        let text = file.to_json();
        let cheap = text.lines().filter(|line| is_cost(line)).collect();
        Ok(KeyFiles { file, cheap })
    }
}

fn is_cost(line: &str) -> bool {
    let line = line.trim_start();
    ["\"n\"", "\"r\"", "\"p\"", "\"c\""]
        .iter()
        .any(|name| line.starts_with(name))
}

impl Target for KeyFiles {
    fn name(&self) -> &'static str {
        "key-file"
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        vec![self.file.to_json().into_bytes()]
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok(file) = KeyFile::parse(&String::from_utf8_lossy(input)) else {
            return false;
        };
        let text = file.to_json();
        assert_eq!(
            KeyFile::parse(&text).map(|again| again.to_json()).ok(),
            Some(text.clone())
        );
        let costs: String = text.lines().filter(|line| is_cost(line)).collect();
        if costs != self.cheap {
            return false;
        }
        let Ok(key) = file.decrypt(PASSWORD) else {
            return false;
        };
        let named = file.public_key();
        assert!(
            named.is_none_or(|named| named == key.public_key()),
            "another key than it names"
        );
        true
    }
}

/// `node-toml`: a validator's configuration.
struct Configs(String);

impl Target for Configs {
    fn name(&self) -> &'static str {
        "node-toml"
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        vec![self.0.clone().into_bytes()]
    }

    fn run(&self, input: &[u8]) -> bool {
        let read = |text: &str| NodeConfig::parse(text, Path::new("node.toml"));
        let Ok(config) = read(&String::from_utf8_lossy(input)) else {
            return false;
        };
        assert_eq!(read(&config.to_toml()).ok(), Some(config));
        true
    }
}
