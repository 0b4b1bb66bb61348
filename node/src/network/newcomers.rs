//! Connections whose handshake is not done: few, and of one address fewer, so that a stranger who
//! opens them and says nothing does not keep the members out.
//!
//! Breaks if: a connection is counted on when its handshake has ended, well or badly.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};

/// Handshakes with one address at a time. Members behind one address take turns of a few round trips.
/// Programs of this machine are trusted more: whole networks run on one.
const MAX_OF_ADDRESS: usize = 8;

/// There are too many handshakes with one address.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_OF_ADDRESS} handshakes with {0} are under way")]
struct Crowded(IpAddr);

/// The behaviour.
#[derive(Default)]
pub(super) struct Newcomers(BTreeMap<ConnectionId, IpAddr>);

fn address_of(remote: &Multiaddr) -> Option<IpAddr> {
    let address = remote.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(IpAddr::V6(address)),
        _ => None,
    })?;
    let address = address.to_canonical();
    (!address.is_loopback()).then_some(address)
}

impl NetworkBehaviour for Newcomers {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(address) = address_of(remote) else {
            return Ok(());
        };
        let of_address = self.0.values().filter(|other| **other == address);
        if of_address.count() >= MAX_OF_ADDRESS {
            return Err(ConnectionDenied::new(Crowded(address)));
        }
        self.0.insert(connection, address);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.remove(&connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.0.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ListenError;
    use libp2p::swarm::behaviour::ListenFailure;

    use super::*;

    fn come(newcomers: &mut Newcomers, number: usize, from: &str) -> bool {
        let (local, remote) = (
            "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            from.parse().unwrap(),
        );
        let connection = ConnectionId::new_unchecked(number);
        let result = newcomers.handle_pending_inbound_connection(connection, &local, &remote);
        result.is_ok()
    }

    #[test]
    fn an_address_takes_few_places_and_gives_them_back() {
        let mut all = Newcomers::default();
        let stranger = "/ip4/10.0.0.9/tcp/4000";
        assert!((0..MAX_OF_ADDRESS).all(|number| come(&mut all, number, stranger)));
        assert!(!come(&mut all, 100, stranger));
        assert!(!come(&mut all, 100, "/ip6/::ffff:10.0.0.9/tcp/4001"));
        assert!(come(&mut all, 100, "/ip4/10.0.0.8/tcp/4000"));
        assert!((200..300).all(|number| come(&mut all, number, "/ip4/127.0.0.1/tcp/4000")));

        let (local, remote) = (
            "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            stranger.parse().unwrap(),
        );
        all.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &local,
            send_back_addr: &remote,
            error: &ListenError::Aborted,
            connection_id: ConnectionId::new_unchecked(0),
            peer_id: None,
        }));
        assert!(come(&mut all, 101, stranger));
        assert!(!come(&mut all, 102, stranger));
        let done = ConnectionId::new_unchecked(1);
        let handler =
            all.handle_established_inbound_connection(done, PeerId::random(), &local, &remote);
        assert!(handler.is_ok());
        assert!(come(&mut all, 102, stranger));
    }
}
