//! Four networks on loopback: who may talk, in which order, and what happens when one goes away.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use lockstep_node::network::{
    Bytes, Class, Keypair, Network, NetworkConfig, NetworkEvent, NetworkHandle, PeerAddress,
    PeerId, Verdict, keypair,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "lockstep/test/batches";

struct Place {
    key: Keypair,
    listen: SocketAddr,
}

fn places(count: u8) -> Vec<Place> {
    // All listeners are held until every port is known, so that no port is given twice.
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    listeners
        .iter()
        .zip(1..)
        .map(|(listener, seed)| Place {
            key: keypair([seed; 32]),
            listen: listener.local_addr().unwrap(),
        })
        .collect()
}

fn id(place: &Place) -> PeerId {
    place.key.public().to_peer_id()
}

struct Running {
    handle: NetworkHandle,
    events: UnboundedReceiver<NetworkEvent>,
}

fn config(me: &Place, peers: &[Place]) -> NetworkConfig {
    NetworkConfig {
        key: me.key.clone(),
        listen: me.listen,
        peers: peers
            .iter()
            .map(|peer| PeerAddress {
                id: id(peer),
                address: peer.listen.to_string(),
            })
            .collect(),
        chain: "test".to_owned(),
        topics: vec![TOPIC.to_owned()],
        foreign_topics: Vec::new(),
        max_message: 1 << 20,
    }
}

fn start(me: &Place, peers: &[Place]) -> Running {
    let (sender, events) = unbounded_channel();
    let sink = Arc::new(move |event| {
        // The test may have finished.
        let _ = sender.send(event);
    });
    Running {
        handle: Network::start(config(me, peers), sink).unwrap(),
        events,
    }
}

impl Running {
    async fn wait<T>(&mut self, mut wanted: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        })
        .await
        .expect("the event comes in time")
    }

    async fn connected_to(&mut self, count: usize) {
        let all = async {
            while self.handle.connections() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("connected in time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_peers_talk_in_order_and_an_outsider_is_refused() {
    let mut all = places(5);
    let outsider = all.pop().unwrap();
    let mut nodes: Vec<_> = all.iter().map(|place| start(place, &all)).collect();
    for node in &mut nodes {
        node.connected_to(3).await;
    }

    for number in 0..500u32 {
        let message = Bytes::from(number.to_le_bytes().to_vec());
        nodes[0]
            .handle
            .send(&id(&all[2]), Class::Consensus, message);
    }
    let large = Bytes::from(vec![7; 1 << 20]);
    nodes[0]
        .handle
        .send(&id(&all[2]), Class::Data, large.clone());
    let mut expected = 0u32;
    let mut large_seen = false;
    while expected < 500 || !large_seen {
        let (from, class, bytes) = nodes[2]
            .wait(|event| match event {
                NetworkEvent::Message {
                    from, class, bytes, ..
                } => Some((from, class, bytes)),
                _ => None,
            })
            .await;
        assert_eq!(from, id(&all[0]));
        if class == Class::Data {
            assert_eq!(bytes, large);
            large_seen = true;
        } else {
            assert_eq!(bytes.as_ref(), expected.to_le_bytes());
            expected += 1;
        }
    }

    // Gossip reaches everybody, once, and is passed on only when judged good.
    tokio::time::sleep(Duration::from_millis(300)).await;
    nodes[1].handle.publish(TOPIC, Bytes::from_static(b"batch"));
    for index in [0, 2, 3] {
        let node = &mut nodes[index];
        let (bytes, receipt) = node
            .wait(|event| match event {
                NetworkEvent::Gossip { bytes, receipt, .. } => Some((bytes, receipt)),
                _ => None,
            })
            .await;
        assert_eq!(bytes.as_ref(), b"batch");
        node.handle.judge(receipt, Verdict::Accept);
    }

    // The outsider knows everybody, but nobody lists it. The larger peer id is dialled, so it
    // meets both sides: some refuse it when it dials, others never dial it.
    let outsider = start(&outsider, &all);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(outsider.handle.connections(), 0);
    for node in &nodes {
        assert_eq!(node.handle.connections(), 3);
    }
    let refused: u64 = nodes.iter().map(|n| n.handle.traffic().refused()).sum();
    assert!(refused > 0, "somebody was asked and said no");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_back_within_seconds() {
    let all = places(3);
    let mut nodes: Vec<_> = all.iter().map(|place| start(place, &all)).collect();
    for node in &mut nodes {
        node.connected_to(2).await;
    }
    let gone = nodes.pop().unwrap();
    gone.handle.stop().await;
    for node in &mut nodes {
        node.wait(|event| {
            matches!(event, NetworkEvent::PeerDisconnected(peer) if peer == id(&all[2]))
                .then_some(())
        })
        .await;
    }
    // The port may linger for a moment after its task has ended.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut back = start(&all[2], &all);
    back.connected_to(2).await;
    for node in &mut nodes {
        node.connected_to(2).await;
    }
    back.handle
        .send(&id(&all[0]), Class::Sync, Bytes::from_static(b"again"));
    let bytes = nodes[0]
        .wait(|event| match event {
            NetworkEvent::Message { bytes, .. } => Some(bytes),
            _ => None,
        })
        .await;
    assert_eq!(bytes.as_ref(), b"again");
}

/// Whoever is asked how the network is must not hear that all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_dies_says_so() {
    let all = places(2);
    let _other = start(&all[1], &all);
    let (sender, mut events) = unbounded_channel();
    let sink = Arc::new(move |event| match event {
        NetworkEvent::PeerConnected(_) => panic!("a bug"),
        // The test may have finished.
        event => drop(sender.send(event)),
    });
    let _handle = Network::start(config(&all[0], &all), sink).unwrap();
    let broken = async {
        while let Some(event) = events.recv().await {
            if let NetworkEvent::Broken(bug) = event {
                return bug;
            }
        }
        panic!("it died without a word");
    };
    let bug = timeout(PATIENCE, broken).await.expect("told in time");
    assert!(bug.contains("panicked"), "{bug}");
}
