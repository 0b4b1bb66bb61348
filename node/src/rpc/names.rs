//! Whom a request says it is for, and which page it comes from.
//!
//! A page on the web can make a browser send requests to this machine under a name of the page's
//! own (DNS rebinding), or open a WebSocket to `127.0.0.1` without asking. Only names that nobody
//! else can own are answered, and only pages that came from this node.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

/// Does this request mean a node that listens on `listen`?
pub(super) fn are_ours(headers: &HeaderMap, listen: IpAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    is_our_host(host, listen) && headers.get_all(ORIGIN).iter().all(|o| is_of(o, host))
}

/// Loopback, or the address that was configured; when that is all addresses, any of them.
fn is_our_host(host: &HeaderValue, listen: IpAddr) -> bool {
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address = host.parse().map(|address: SocketAddr| address.ip());
    let Ok(address) = address.or_else(|_| bare.unwrap_or(name).parse()) else {
        return name.eq_ignore_ascii_case("localhost");
    };
    address.is_loopback() || listen.is_unspecified() || address == listen
}

/// Was a page with this origin served by that host?
fn is_of(origin: &HeaderValue, host: &HeaderValue) -> bool {
    origin.as_bytes().strip_prefix(b"http://") == Some(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(listen: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        are_ours(&map, listen.parse().unwrap())
    }

    #[test]
    fn only_names_that_nobody_else_can_own() {
        for good in [
            "127.0.0.1:7700",
            "localhost",
            "LOCALHOST:1",
            "[::1]:7700",
            "[::1]",
            "10.0.0.7",
        ] {
            assert!(ours("10.0.0.7", &[("host", good)]), "{good}");
        }
        let bad = [
            "evil.example",
            "evil.example:7700",
            "",
            "localhost.evil.example",
            "[evil]",
            "10.0.0.8",
            ":1",
        ];
        for bad in bad {
            assert!(!ours("10.0.0.7", &[("host", bad)]), "{bad}");
        }
        assert!(ours("0.0.0.0", &[("host", "10.0.0.8:7700")]));
        assert!(!ours("0.0.0.0", &[("host", "evil.example")]));
        assert!(!ours("127.0.0.1", &[]));
        assert!(!ours(
            "127.0.0.1",
            &[("host", "localhost"), ("host", "evil.example")]
        ));
    }

    #[test]
    fn only_pages_of_this_node() {
        let host = ("host", "127.0.0.1:7700");
        assert!(ours(
            "127.0.0.1",
            &[host, ("origin", "http://127.0.0.1:7700")]
        ));
        for page in ["https://evil.example", "null", "http://127.0.0.1:7701", ""] {
            assert!(!ours("127.0.0.1", &[host, ("origin", page)]), "{page}");
        }
    }
}
