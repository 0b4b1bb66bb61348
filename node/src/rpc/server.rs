//! The HTTP server: JSON-RPC over POST and WebSocket, `/metrics`, `/healthz` and `/readyz` on one
//! port.
//!
//! The accept loop is our own, because every limit matters more here than convenience: slow
//! headers, slow bodies, many connections from one address and web pages that reach for a local
//! node through a name of theirs are all answered before the RPC sees them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::Methods;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, PingConfig, ServerConfig,
    ServerHandle, stop_channel,
};
use lockstep_client::rpc::{MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

/// Connections at a time. A wallet holds one; a load generator a few per node.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections from one remote address.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// Connections from this machine itself, where many programs share one address.
pub const MAX_LOCAL_CONNECTIONS: usize = 128;
/// Calls in one JSON-RPC batch.
const MAX_BATCH: u32 = 10;
/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: u32 = 16;
/// Notifications that may wait for one connection.
const MAX_WAITING_NOTIFICATIONS: u32 = 256;
/// The request line and headers must have come after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The body must have come after this.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Header bytes of a request.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// What the plain pages say.
pub trait Pages: Send + Sync + 'static {
    /// The text of `/metrics`.
    fn metrics(&self) -> String;
    /// Is the node in working order? And a JSON document that says why or why not.
    fn health(&self) -> (bool, String);
    /// Can it serve clients? Likewise.
    fn readiness(&self) -> (bool, String);
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    /// Listens at once, and serves on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(
        listen: SocketAddr,
        methods: Methods,
        pages: Arc<dyn Pages>,
    ) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let (stop, handle) = stop_channel();
        let config = ServerConfig::builder()
            .max_request_body_size(MAX_REQUEST_BYTES)
            .max_response_body_size(MAX_ANSWER_BYTES)
            .max_connections(u32::try_from(MAX_CONNECTIONS).expect("a small constant"))
            .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
            .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
            .set_message_buffer_capacity(MAX_WAITING_NOTIFICATIONS)
            .enable_ws_ping(PingConfig::new())
            .build();
        let builder = jsonrpsee::server::Server::builder()
            .set_config(config)
            .to_service_builder();
        let guests = Arc::new(Guests::default());
        tokio::spawn(async move {
            let mut closing = std::pin::pin!(stop.clone().shutdown());
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = &mut closing => return,
                };
                let (stream, from) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or a connection that died in the queue: go on.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                let Some(seat) = Guests::admit(&guests, from.ip()) else {
                    tracing::debug!(%from, "too many connections");
                    continue;
                };
                let rpc = builder.clone().build(methods.clone(), stop.clone());
                let pages = Arc::clone(&pages);
                let stop = stop.clone();
                tokio::spawn(async move {
                    serve(stream, rpc, pages, stop).await;
                    drop(seat);
                });
            }
        });
        Ok(Server { address, handle })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections.
    pub fn stop(&self) {
        // An error means that it has stopped already.
        let _ = self.handle.stop();
    }
}

async fn serve<S>(
    stream: TcpStream,
    rpc: S,
    pages: Arc<dyn Pages>,
    stop: jsonrpsee::server::StopHandle,
) where
    S: Service<HttpRequest, Response = HttpResponse, Error = jsonrpsee::core::BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    // Answers are small and somebody waits for each.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let rpc = rpc.clone();
        let pages = Arc::clone(&pages);
        async move { Ok::<_, Infallible>(answer(request, rpc, pages.as_ref()).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        // An error is the client's: bad HTTP, too slow, gone.
        _ = connection => {}
        () = stop.shutdown() => {}
    }
}

async fn answer<S>(request: hyper::Request<Incoming>, mut rpc: S, pages: &dyn Pages) -> HttpResponse
where
    S: Service<HttpRequest, Response = HttpResponse, Error = jsonrpsee::core::BoxError>,
{
    if !is_local_name(request.headers().get(HOST)) {
        let text = "this Host is not one of this node's: use its IP address\n";
        return plain(StatusCode::FORBIDDEN, "text/plain", text.to_owned());
    }
    let page = |(good, body): (bool, String)| {
        let status = if good {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        plain(status, "application/json", body)
    };
    let upgrade = request.headers().contains_key(UPGRADE);
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            return plain(StatusCode::OK, kind, pages.metrics());
        }
        (&Method::GET, "/healthz") => return page(pages.health()),
        (&Method::GET, "/readyz") => return page(pages.readiness()),
        (&Method::GET, "/") if !upgrade => {
            return plain(StatusCode::OK, "text/plain; charset=utf-8", front_page());
        }
        (&Method::POST, "/") | (&Method::GET, "/") => {}
        _ => {
            let text = "not here; see /\n".to_owned();
            return plain(StatusCode::NOT_FOUND, "text/plain", text);
        }
    }
    let request = if upgrade {
        request.map(HttpBody::new)
    } else {
        let (head, body) = request.into_parts();
        let limited = Limited::new(body, MAX_REQUEST_BYTES as usize);
        match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
            Ok(Ok(body)) => {
                hyper::Request::from_parts(head, HttpBody::from(body.to_bytes().to_vec()))
            }
            Ok(Err(error)) => {
                let text = format!("{error}; at most {MAX_REQUEST_BYTES} bytes\n");
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", text);
            }
            Err(_) => {
                let text = "the request did not come in time\n".to_owned();
                return plain(StatusCode::REQUEST_TIMEOUT, "text/plain", text);
            }
        }
    };
    match rpc.call(request).await {
        Ok(response) => response,
        Err(error) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            format!("{error}\n"),
        ),
    }
}

fn plain(status: StatusCode, kind: &'static str, text: String) -> HttpResponse {
    let mut response =
        hyper::Response::new(HttpBody::new(Full::new(Bytes::from(text.into_bytes()))));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn front_page() -> String {
    let mut text = format!(
        "lockstep {}\n\nGET  /metrics /healthz /readyz\nPOST /  JSON-RPC 2.0, also as WebSocket:\n",
        env!("CARGO_PKG_VERSION")
    );
    for call in lockstep_client::rpc::method::CALLS {
        text.push_str("  ");
        text.push_str(call);
        text.push('\n');
    }
    text.push_str("  ");
    text.push_str(lockstep_client::rpc::method::SUBSCRIBE_BLOCKS);
    text.push('\n');
    text
}

/// A page on the web can make a browser send requests to this machine under a name of its own
/// (DNS rebinding). An IP address or `localhost` cannot be such a name.
fn is_local_name(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else {
        return false;
    };
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    name == "localhost" || (name.starts_with('[') && name.ends_with(']'))
}

/// Who is connected, by address.
#[derive(Default)]
struct Guests(Mutex<BTreeMap<IpAddr, usize>>);

impl Guests {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    fn admit(guests: &Arc<Guests>, address: IpAddr) -> Option<Seat> {
        let limit = if address.is_loopback() {
            MAX_LOCAL_CONNECTIONS
        } else {
            MAX_CONNECTIONS_PER_ADDRESS
        };
        let mut counts = guests.lock();
        if counts.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat {
            guests: Arc::clone(guests),
            address,
        })
    }
}

struct Seat {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.guests.lock();
        let count = counts
            .get_mut(&self.address)
            .expect("counted when admitted");
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_own() {
        for good in [
            "127.0.0.1:7700",
            "localhost",
            "localhost:1",
            "[::1]:7700",
            "10.0.0.7",
        ] {
            assert!(
                is_local_name(Some(&HeaderValue::from_static(good))),
                "{good}"
            );
        }
        for bad in [
            "evil.example",
            "evil.example:7700",
            "",
            "localhost.evil.example",
        ] {
            assert!(
                !is_local_name(Some(&HeaderValue::from_static(bad))),
                "{bad}"
            );
        }
        assert!(!is_local_name(None));
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections() {
        let guests = Arc::new(Guests::default());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let seats: Vec<_> = (0..MAX_CONNECTIONS_PER_ADDRESS)
            .map(|_| Guests::admit(&guests, address).unwrap())
            .collect();
        assert!(Guests::admit(&guests, address).is_none());
        assert!(Guests::admit(&guests, "10.0.0.2".parse().unwrap()).is_some());
        drop(seats);
        assert!(guests.lock().is_empty());
        assert!(Guests::admit(&guests, address).is_some());
    }
}
