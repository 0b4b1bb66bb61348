//! The RPC server and clients that mean no good.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::RpcModule;
use lockstep_node::rpc::{MAX_LOCAL_CONNECTIONS, Pages, Server};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

struct Fine;

impl Pages for Fine {
    fn metrics(&self) -> String {
        "numbers".to_owned()
    }

    fn health(&self) -> (bool, String) {
        (true, "{}".to_owned())
    }

    fn readiness(&self) -> (bool, String) {
        (false, "{\"reason\":\"test\"}".to_owned())
    }

    fn broken(&self, bug: String) {
        panic!("{bug}");
    }
}

fn start() -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let mut module = RpcModule::new(());
    module
        .register_method("echo", |params, _, _| params.one::<String>())
        .unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::start(any, module.into(), Arc::new(Fine)).unwrap();
    drop(_entered);
    (runtime, server)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends bytes and reads until the server closes.
fn exchange(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(host: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn good_requests_are_answered() {
    let (_runtime, server) = start();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["hello"]}"#;
    let answer = exchange(&server, &post("127.0.0.1", call));
    assert!(answer.contains(r#""result":"hello""#), "{answer}");
    let get = |path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(&server, &request)
    };
    assert!(get("/metrics").contains("numbers"));
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    let ready = get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("test"), "{ready}");
    assert!(get("/").contains("lockstep_submit"));
    assert!(get("/etc/passwd").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_name_of_somebody_else_is_refused() {
    let (_runtime, server) = start();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["hello"]}"#;
    let answer = exchange(&server, &post("evil.example", call));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(!answer.contains("hello"), "{answer}");
}

#[test]
fn large_bodies_and_large_batches_are_refused() {
    let (_runtime, server) = start();
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":["{}"]}}"#,
        "x".repeat(300 << 10)
    );
    let answer = exchange(&server, &post("127.0.0.1", &long));
    assert!(
        answer.starts_with("HTTP/1.1 413"),
        "{}",
        &answer[..80.min(answer.len())]
    );
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":["hello"]}"#;
    let batch = format!("[{}]", [call; 11].join(","));
    let answer = exchange(&server, &post("127.0.0.1", &batch));
    assert!(!answer.contains("hello"), "{answer}");
}

#[test]
fn deep_parameters_are_refused_and_nothing_is_sent_back() {
    let (_runtime, server) = start();
    for depth in [33, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{deep}}}"#);
        let answer = exchange(&server, &post("127.0.0.1", &call));
        assert!(answer.contains("deeper than 32"), "{answer}");
        let answer = exchange(&server, &post("127.0.0.1", &format!("[{call}]")));
        assert!(answer.contains("deeper than 32"), "{answer}");
    }
    let strange = r#"{"jsonrpc":"2.0","id":1,"method":"<script>","params":["<script>"]}"#;
    let answer = exchange(&server, &post("127.0.0.1", strange));
    assert!(answer.contains("not found"), "{answer}");
    assert!(!answer.contains("script"), "{answer}");
    let answer = exchange(&server, "GET /<script> HTTP/1.1\r\nHost: <script>\r\n\r\n");
    assert!(!answer.contains("script"), "{answer}");
}

#[test]
fn a_page_of_somebody_else_is_refused() {
    let (_runtime, server) = start();
    let request = upgrade().replace("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n");
    let answer = exchange(&server, &request);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

fn upgrade() -> String {
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_owned()
}

fn web_socket(server: &Server) -> TcpStream {
    upgraded(connect(server))
}

fn upgraded(mut stream: TcpStream) -> TcpStream {
    stream.write_all(upgrade().as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// A text message, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | 127];
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

#[test]
fn a_web_socket_keeps_the_place_it_came_by() {
    let (_runtime, server) = start();
    let held: Vec<TcpStream> = (0..MAX_LOCAL_CONNECTIONS)
        .map(|_| web_socket(&server))
        .collect();
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Also after the time a client without a request has.
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(exchange(&server, get), "");
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    assert!(exchange(&server, get).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_client_that_asks_without_reading_is_not_heard_and_then_cut_off() {
    let (_runtime, server) = start();
    let mut stream = connect(&server);
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let text = "x".repeat(200 << 10);
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":["{text}"]}}"#);
    let call = post("localhost", &call).replace("Connection: close\r\n", "");
    // Far more than sockets hold on both sides.
    let stopped = (0..1_000).find_map(|_| stream.write_all(call.as_bytes()).err());
    let stopped = stopped.expect("200 MiB of answers are kept for a client that does not read");
    assert_eq!(stopped.kind(), ErrorKind::WouldBlock, "it is still there");
    std::thread::sleep(Duration::from_secs(12));
    let cut = stream.write_all(call.as_bytes()).unwrap_err();
    assert_ne!(cut.kind(), ErrorKind::WouldBlock, "it is gone: {cut}");
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(exchange(&server, get).starts_with("HTTP/1.1 200"));
}

/// Each message is answered by a task of its own, whether it is a call or not.
#[test]
fn a_client_that_floods_with_what_is_no_call_is_cut_off() {
    let (_runtime, server) = start();
    let batch = format!("[{}]", vec![call_of("x"); 11].join(","));
    for text in ["", "x", "{x", &batch] {
        let mut stream = web_socket(&server);
        stream
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let mut reader = stream.try_clone().unwrap();
        let read = std::thread::spawn(move || {
            // An error is as good as an end.
            let mut answers = Vec::new();
            let _ = reader.read_to_end(&mut answers);
        });
        let burst = frame(text).repeat(100);
        let cut = (0..10_000).position(|_| stream.write_all(&burst).is_err());
        assert!(cut.is_some(), "a million of {text:?} were read");
        read.join().unwrap();
    }
}

/// As a client at another address of this machine, which to the server is a machine of its own.
fn connect_from(runtime: &Runtime, server: &Server, last: u8) -> TcpStream {
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        let from = Ipv4Addr::new(127, 0, 0, last);
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(server.address()).await.unwrap()
    });
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn who_had_to_be_cut_off_is_not_let_in_for_a_while() {
    let (runtime, server) = start();
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let ask = |last| {
        let mut stream = connect_from(&runtime, &server, last);
        let mut answer = String::new();
        // An error is as good as an end.
        let _ = stream.write_all(get.as_bytes());
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(2).starts_with("HTTP/1.1 200"));
    let mut flood = upgraded(connect_from(&runtime, &server, 2));
    let burst = frame("x").repeat(100);
    while flood.write_all(&burst).is_ok() {}
    assert_eq!(ask(2), "");
    assert!(ask(3).starts_with("HTTP/1.1 200"));
    std::thread::sleep(Duration::from_millis(10_500));
    assert!(ask(2).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_web_socket_opens_its_connection() {
    let (_runtime, server) = start();
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let later = format!("{get}{}", upgrade());
    let bare = upgrade().replace("\r\n", "\n");
    let early = format!("\r\n{}", upgrade());
    let body = upgrade().replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nxy");
    for request in [later, bare, early, body] {
        let mut stream = connect(&server);
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // It stays open for the next request.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.contains(" 400 ") && !answer.contains(" 101 "),
            "{answer}"
        );
    }
}

fn call_of(text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":["{text}"]}}"#)
}

#[test]
fn slow_clients_are_cut_off() {
    let (_runtime, server) = start();
    let started = Instant::now();
    let mut slow = connect(&server);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    let mut rest = Vec::new();
    // An error is as good as an end: the server has closed.
    let _ = slow.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(15), "never cut off");
    // A body that never comes.
    let mut slow = connect(&server);
    slow.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        .unwrap();
    let _ = slow.read_to_end(&mut rest);
    assert!(String::from_utf8_lossy(&rest).contains("408"));
}

#[test]
fn one_address_cannot_take_all_connections() {
    let (_runtime, server) = start();
    let held: Vec<TcpStream> = (0..MAX_LOCAL_CONNECTIONS)
        .map(|_| connect(&server))
        .collect();
    // The seats are taken when the server has accepted, which may be a moment later.
    std::thread::sleep(Duration::from_millis(300));
    let get = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(
        exchange(&server, get),
        "",
        "one too many is closed without an answer"
    );
    // Those that have said nothing for a second give their places to who comes then.
    std::thread::sleep(Duration::from_secs(1));
    assert!(exchange(&server, get).starts_with("HTTP/1.1 200"));
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    assert!(exchange(&server, get).starts_with("HTTP/1.1 200"));
}
