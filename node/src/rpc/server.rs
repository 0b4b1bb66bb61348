//! The HTTP server: JSON-RPC over POST and WebSocket, `/metrics`, `/healthz` and `/readyz` on one
//! port.
//!
//! The accept loop is our own, because every limit matters more here than convenience: slow
//! headers, slow bodies, many connections from one address and web pages that reach for a local
//! node through a name of theirs are all answered before the RPC sees them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::Methods;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpRequest, HttpResponse, PingConfig, ServerConfig,
    ServerHandle, stop_channel,
};
use lockstep_client::rpc::{MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use super::calls::{Allowance, Calls};
use super::guests::{Guests, MAX_CONNECTIONS, Seat};
use super::line::Line;
use super::names;
use super::room::{Rooms, hold};

/// Calls in one JSON-RPC batch.
const MAX_BATCH: u32 = 10;
/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: u32 = 16;
/// Notifications that may wait for one connection.
const MAX_WAITING_NOTIFICATIONS: u32 = 32;
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
    /// A bug, and its text: nobody is served any more.
    fn broken(&self, bug: String);
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
        let rooms = Rooms::default();
        let guests = Arc::new(Guests::default());
        let told = Arc::clone(&pages);
        let accepting = tokio::spawn(async move {
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
                let Some(seat) = Guests::admit(&guests, from.ip(), Instant::now()) else {
                    tracing::debug!(%from, "not let in");
                    continue;
                };
                let allowance = Arc::new(Allowance::default());
                let (asked, room) = (Arc::clone(&allowance), rooms.of(from.ip()));
                let door = RpcServiceBuilder::new()
                    .layer_fn(move |service| Calls::new(service, Arc::clone(&asked), room.clone()));
                let rpc = builder.clone().set_rpc_middleware(door);
                let guest = Guest {
                    rpc: rpc.build(methods.clone(), stop.clone()),
                    pages: Arc::clone(&pages),
                    seat: Arc::new(seat),
                    allowance,
                    listen: listen.ip(),
                };
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = guest.seat.lost() => {}
                        () = guest.serve(stream) => {}
                        () = stop.shutdown() => {}
                    }
                });
            }
        });
        tokio::spawn(async move {
            if let Err(error) = accepting.await
                && error.is_panic()
            {
                told.broken(error.to_string());
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

/// A connection and what answers it.
struct Guest<S> {
    rpc: S,
    pages: Arc<dyn Pages>,
    seat: Arc<Seat>,
    allowance: Arc<Allowance>,
    /// Where the server listens.
    listen: IpAddr,
}

impl<S> Guest<S>
where
    S: Service<HttpRequest, Response = HttpResponse, Error = jsonrpsee::core::BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    async fn serve(&self, stream: TcpStream) {
        // Answers are small and somebody waits for each.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let service = hyper::service::service_fn(|request| async {
            Ok::<_, Infallible>(self.answer(request).await)
        });
        // An error is the client's: bad HTTP, too slow, gone.
        let _ = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(
                TokioIo::new(Line::new(
                    stream,
                    Arc::clone(&self.allowance),
                    Arc::clone(&self.seat),
                )),
                service,
            )
            .with_upgrades()
            .await;
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> HttpResponse {
        self.allowance.request();
        if !names::are_ours(request.headers(), self.listen) {
            let text = "this Host or Origin is not one of this node's: use its IP address\n";
            return plain(StatusCode::FORBIDDEN, "text/plain", text.to_owned());
        }
        let upgrade = request.headers().contains_key(UPGRADE);
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/") => {}
            (&Method::GET, "/") if upgrade => {}
            (&Method::GET, path) => {
                self.seat.heard();
                return self.page(path);
            }
            _ => return not_here(),
        }
        let request = if upgrade {
            if !request.body().is_end_stream() || !self.allowance.upgrade() {
                let text = "a WebSocket opens its connection, and its request has no body\n";
                return plain(StatusCode::BAD_REQUEST, "text/plain", text.to_owned());
            }
            request.map(HttpBody::new)
        } else {
            match whole(request).await {
                Ok(request) => request,
                Err((status, text)) => return plain(status, "text/plain", text),
            }
        };
        self.seat.heard();
        let answered = async { hold(self.rpc.clone().call(request).await?).await };
        match answered.await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(error, "a call could not be answered");
                let text = "the call could not be answered\n".to_owned();
                plain(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text)
            }
        }
    }

    fn page(&self, path: &str) -> HttpResponse {
        let json = |(good, body): (bool, String)| {
            let status = if good {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            plain(status, "application/json", body)
        };
        match path {
            "/metrics" => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                plain(StatusCode::OK, kind, self.pages.metrics())
            }
            "/healthz" => json(self.pages.health()),
            "/readyz" => json(self.pages.readiness()),
            "/" => plain(StatusCode::OK, "text/plain; charset=utf-8", front_page()),
            _ => not_here(),
        }
    }
}

/// Waits for the whole body, for so long and for so much.
async fn whole(request: hyper::Request<Incoming>) -> Result<HttpRequest, (StatusCode, String)> {
    let refuse = |status, text: String| Err((status, text));
    let too_large = || {
        let text = format!("a request has at most {MAX_REQUEST_BYTES} bytes\n");
        refuse(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > u64::from(MAX_REQUEST_BYTES) {
        return too_large();
    }
    let limited = Limited::new(body, MAX_REQUEST_BYTES as usize);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(hyper::Request::from_parts(
            head,
            HttpBody::new(Full::new(body.to_bytes())),
        )),
        Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
        Ok(Err(_)) => refuse(
            StatusCode::BAD_REQUEST,
            "the request broke off\n".to_owned(),
        ),
        Err(_) => refuse(
            StatusCode::REQUEST_TIMEOUT,
            "the request did not come in time\n".to_owned(),
        ),
    }
}

fn not_here() -> HttpResponse {
    plain(
        StatusCode::NOT_FOUND,
        "text/plain",
        "not here; see /\n".to_owned(),
    )
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use jsonrpsee::RpcModule;
    use lockstep_client::rpc::{code, method};

    use super::*;

    struct Fine;

    impl Pages for Fine {
        fn metrics(&self) -> String {
            String::new()
        }

        fn health(&self) -> (bool, String) {
            (true, String::new())
        }

        fn readiness(&self) -> (bool, String) {
            (true, String::new())
        }

        fn broken(&self, bug: String) {
            panic!("{bug}");
        }
    }

    fn ask(server: &Server, method: &str) -> TcpStream {
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
            call.len()
        );
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_that_nobody_reads_keep_their_room_until_their_connection_ends() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let mut module = RpcModule::new(());
        let large = |_: jsonrpsee::types::Params<'_>, _: &(), _: &hyper::http::Extensions| {
            "x".repeat(15 << 20)
        };
        module.register_method(method::BARRIERS, large).unwrap();
        module.register_method("large", large).unwrap();
        module.register_method("small", |_, _, _| "y").unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(any, module.into(), Arc::new(Fine)).unwrap();

        let unread = [method::BARRIERS; 3].map(|large| ask(&server, large));
        // When the first bytes are here the answer stands, and most of it cannot be sent.
        for stream in &unread {
            stream.peek(&mut [0; 1]).unwrap();
        }
        let busy = answer(ask(&server, "large"));
        assert!(
            busy.contains(&code::BUSY.to_string()),
            "{} bytes",
            busy.len()
        );
        assert!(answer(ask(&server, "small")).contains(r#""result":"y""#));
        drop(unread);
        std::thread::sleep(Duration::from_millis(300));
        let whole = answer(ask(&server, method::BARRIERS));
        assert!(whole.len() > 15 << 20 && whole.contains("content-length"));
    }
}
