//! Free ports for development networks on one machine.
//!
//! Ports are searched below the range from which the system takes the ports of outgoing
//! connections; a port from that range may be gone again before its validator listens, and a
//! restarted validator could find it taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Where the search starts when nothing is asked for; the first RPC port people see.
pub const DEFAULT_BASE: u16 = 7700;
/// First port the system may give to outgoing connections.
const FIRST_EPHEMERAL: u16 = 32_768;

/// `count` ports that nobody listens on, ascending from `base`.
///
/// # Errors
/// When the range is used up.
pub fn free_ports(base: u16, count: usize) -> Result<Vec<u16>, String> {
    let mut found = Vec::with_capacity(count);
    let mut port = base;
    // Held until all are found, so that two networks that start together do not share one.
    let mut held = Vec::with_capacity(count);
    while found.len() < count {
        if port >= FIRST_EPHEMERAL {
            return Err(format!(
                "no {count} free ports from {base} to {FIRST_EPHEMERAL}; give another --base-port"
            ));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(listener) = TcpListener::bind(address) {
            held.push(listener);
            found.push(port);
        }
        port += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_passed_over() {
        let first = free_ports(20_000, 1).unwrap()[0];
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        let ports = free_ports(first, 2).unwrap();
        assert!(!ports.contains(&first));
        assert!(free_ports(FIRST_EPHEMERAL - 1, 2).is_err());
    }
}
