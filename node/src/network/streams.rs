//! One outgoing stream per class on every connection, and as many incoming ones.
//!
//! The handler asks for its three streams when the connection stands and hands every stream, ours
//! or the peer's, to the network task. It never opens a second one: when a stream fails the whole
//! connection is closed and made anew.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};

use super::Class;

/// Protocol names, one per class.
#[derive(Clone, Debug)]
pub(super) struct Protocols([StreamProtocol; 3]);

impl Protocols {
    pub(super) fn of(chain: &str) -> Self {
        Protocols(Class::ALL.map(|class| {
            StreamProtocol::try_from_owned(format!("/lockstep/{chain}/{}/1", class.name()))
                .expect("starts with a slash")
        }))
    }

    fn class(&self, protocol: &StreamProtocol) -> Option<Class> {
        Class::ALL
            .into_iter()
            .find(|class| &self.0[class.index()] == protocol)
    }
}

/// A stream is ready.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// We opened it: for writing.
    Opened(PeerId, ConnectionId, Class, Stream),
    /// The peer opened it: for reading.
    Accepted(PeerId, ConnectionId, Class, Stream),
    /// The peer would not open it.
    Refused(PeerId, ConnectionId, Class),
}

/// The behaviour.
pub(super) struct Streams {
    protocols: Protocols,
    events: VecDeque<StreamEvent>,
}

impl Streams {
    pub(super) fn new(protocols: Protocols) -> Self {
        Streams {
            protocols,
            events: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocols.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocols.clone()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.events.push_back(match event {
            FromHandler::Opened(class, stream) => {
                StreamEvent::Opened(peer, connection, class, stream)
            }
            FromHandler::Accepted(class, stream) => {
                StreamEvent::Accepted(peer, connection, class, stream)
            }
            FromHandler::Refused(class) => StreamEvent::Refused(peer, connection, class),
        });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<StreamEvent, THandlerInEvent<Self>>> {
        // The swarm polls again after every handler event, so nothing needs a waker.
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            None => Poll::Pending,
        }
    }
}

/// What a connection reports.
#[derive(Debug)]
pub(super) enum FromHandler {
    Opened(Class, Stream),
    Accepted(Class, Stream),
    Refused(Class),
}

/// The part of the behaviour that lives on a connection.
pub(super) struct Handler {
    protocols: Protocols,
    to_open: VecDeque<Class>,
    /// Incoming streams taken so far; a peer gets one per class.
    accepted: [bool; 3],
    reports: VecDeque<FromHandler>,
}

impl Handler {
    fn new(protocols: Protocols) -> Self {
        Handler {
            protocols,
            to_open: Class::ALL.into(),
            accepted: [false; 3],
            reports: VecDeque::new(),
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = std::convert::Infallible;
    type ToBehaviour = FromHandler;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Class;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        SubstreamProtocol::new(Upgrade(self.protocols.0.to_vec()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, Class, FromHandler>> {
        if let Some(class) = self.to_open.pop_front() {
            let protocol = self.protocols.0[class.index()].clone();
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Upgrade(vec![protocol]), class),
            });
        }
        // The connection polls its handler again after every connection event.
        match self.reports.pop_front() {
            Some(report) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), Class>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => {
                let Some(class) = self.protocols.class(&protocol) else {
                    return;
                };
                if !std::mem::replace(&mut self.accepted[class.index()], true) {
                    self.reports.push_back(FromHandler::Accepted(class, stream));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info: class,
            }) => self.reports.push_back(FromHandler::Opened(class, stream)),
            ConnectionEvent::DialUpgradeError(error) => {
                self.reports.push_back(FromHandler::Refused(error.info));
            }
            _ => {}
        }
    }
}

/// Agreement on a protocol name and nothing else.
pub(super) struct Upgrade(Vec<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
