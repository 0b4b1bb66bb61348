//! Who is connected. Places are few, so nobody may hold them for nothing: one address has a bounded
//! share, programs on this machine have places that nobody else can take, a connection that has not
//! brought a whole request gives its place up once all are taken, and an address whose connection
//! had to be cut off for asking too much is not let in for a while.
//!
//! Breaks if: a connection outlives its [`Seat`] (a WebSocket leaves the server that accepted it).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Connections at a time. A wallet holds one; a load generator a few per node.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections from one remote address, or from one network of IPv6 addresses: whoever has one has
/// all 2^64 of them.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// Connections from `127.0.0.1` and `::1` each, which all programs of this machine share. As many
/// places are kept for them: an operator can ask while the whole world tries to.
pub const MAX_LOCAL_CONNECTIONS: usize = 128;
/// Connections from everywhere else together.
const MAX_REMOTE_CONNECTIONS: usize = MAX_CONNECTIONS - MAX_LOCAL_CONNECTIONS;
/// A client that means it has sent its request by then, also from the other end of the world.
const MUTE_GRACE: Duration = Duration::from_secs(1);

/// An address waits so long after one of its connections had to be cut off for asking too much. What led to that has
/// cost much more than to turn it away.
const BANNED_FOR: Duration = Duration::from_secs(10);
/// Addresses that wait. With more of them those who have waited longest are let in.
const MAX_BANNED: usize = 1_024;

/// The list.
#[derive(Default)]
pub(super) struct Guests(Mutex<List>);

#[derive(Default)]
struct List {
    next: u64,
    /// By number, so the longest connected first.
    present: BTreeMap<u64, Guest>,
    /// Who waits, and since when.
    banned: BTreeMap<IpAddr, Instant>,
}

struct Guest {
    address: IpAddr,
    since: Instant,
    /// It has sent a whole request.
    heard: bool,
    leave: Arc<Notify>,
}

/// A program of this machine, by its canonical address.
pub(super) fn is_local(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// Whom an address stands for. Those of a link are all in one network, and those of a translator
/// (RFC 6052, section 2.1) stand for the IPv4 addresses in them.
fn party(address: IpAddr) -> IpAddr {
    const TRANSLATED: u128 = 0x0064_ff9b << 96;
    let IpAddr::V6(address) = address.to_canonical() else {
        return address.to_canonical();
    };
    let (bits, host) = (address.to_bits(), u128::from(u32::MAX));
    if address.is_loopback() || address.is_unicast_link_local() {
        address.into()
    } else if bits & !host == TRANSLATED {
        Ipv4Addr::from_bits(u32::try_from(bits & host).expect("masked")).into()
    } else {
        Ipv6Addr::from_bits(bits & !u128::from(u64::MAX)).into()
    }
}

impl List {
    fn is_banned(&mut self, address: IpAddr, now: Instant) -> bool {
        let waited = |since: &Instant| now.saturating_duration_since(*since) >= BANNED_FOR;
        let banned = self.banned.get(&address).map(|since| !waited(since));
        if banned == Some(false) {
            self.banned.remove(&address);
        }
        banned == Some(true)
    }

    fn ban(&mut self, address: IpAddr, now: Instant) {
        self.banned.insert(address, now);
        if self.banned.len() > MAX_BANNED {
            let first = self.banned.iter().min_by_key(|(_, since)| **since);
            let first = *first.expect("not empty").0;
            self.banned.remove(&first);
        }
    }

    fn count(&self, which: impl Fn(IpAddr) -> bool) -> usize {
        let present = self.present.values();
        present.filter(|guest| which(guest.address)).count()
    }

    /// Sends away whoever of the pool has said nothing for the longest time. True if somebody went.
    fn make_room(&mut self, local: bool, now: Instant) -> bool {
        let mute = self.present.iter().find(|(_, guest)| {
            is_local(guest.address) == local
                && !guest.heard
                && now.saturating_duration_since(guest.since) >= MUTE_GRACE
        });
        let Some(number) = mute.map(|(number, _)| *number) else {
            return false;
        };
        let guest = self.present.remove(&number).expect("found above");
        guest.leave.notify_one();
        true
    }
}

impl Guests {
    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Takes a place, if there is one for this address.
    pub(super) fn admit(guests: &Arc<Guests>, address: IpAddr, now: Instant) -> Option<Seat> {
        let address = party(address);
        let local = is_local(address);
        let (share, places) = if local {
            (MAX_LOCAL_CONNECTIONS, MAX_LOCAL_CONNECTIONS)
        } else {
            (MAX_CONNECTIONS_PER_ADDRESS, MAX_REMOTE_CONNECTIONS)
        };
        let mut list = guests.lock();
        if list.is_banned(address, now) {
            return None;
        }
        // An address that uses up its share does so at its own cost: its mute ones go for its own.
        if list.count(|other| other == address) >= share && !(local && list.make_room(true, now)) {
            return None;
        }
        if list.count(|other| is_local(other) == local) >= places && !list.make_room(local, now) {
            return None;
        }
        let number = list.next;
        list.next += 1;
        let leave = Arc::new(Notify::new());
        let guest = Guest {
            address,
            since: now,
            heard: false,
            leave: Arc::clone(&leave),
        };
        list.present.insert(number, guest);
        drop(list);
        Some(Seat {
            guests: Arc::clone(guests),
            number,
            leave,
        })
    }
}

/// A place, free again when dropped.
pub(super) struct Seat {
    guests: Arc<Guests>,
    number: u64,
    leave: Arc<Notify>,
}

impl Seat {
    /// A whole request has come.
    pub(super) fn heard(&self) {
        if let Some(guest) = self.guests.lock().present.get_mut(&self.number) {
            guest.heard = true;
        }
    }

    /// The connection had to be cut off for asking too much: its address has to wait, unless it is
    /// this machine's, which its programs share.
    pub(super) fn cut_off(&self, now: Instant) {
        let mut list = self.guests.lock();
        let address = list.present.get(&self.number).map(|guest| guest.address);
        if let Some(address) = address.filter(|address| !is_local(*address)) {
            list.ban(address, now);
        }
    }

    /// Waits until the place is given to somebody else.
    pub(super) async fn lost(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.lock().present.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()])
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections() {
        let guests = Arc::new(Guests::default());
        let now = Instant::now();
        let admit = |address| Guests::admit(&guests, address, now);
        let seats: Vec<_> = std::iter::from_fn(|| admit(address(1))).collect();
        assert_eq!(seats.len(), MAX_CONNECTIONS_PER_ADDRESS);
        assert!(admit(address(2)).is_some());
        // The same address, written as IPv6.
        assert!(admit("::ffff:10.0.0.1".parse().unwrap()).is_none());
        drop(seats);
        assert!(guests.lock().present.is_empty());
        assert!(admit(address(1)).is_some());
    }

    #[test]
    fn the_world_cannot_take_the_places_of_this_machine_nor_it_those_of_the_world() {
        let guests = Arc::new(Guests::default());
        let now = Instant::now();
        let admit = |address| Guests::admit(&guests, address, now);
        let of = |address| std::iter::from_fn(move || admit(address));
        let world: Vec<_> = (0..255).flat_map(|number| of(address(number))).collect();
        assert_eq!(world.len(), MAX_REMOTE_CONNECTIONS);
        let here: Vec<_> = of(Ipv4Addr::LOCALHOST.into()).collect();
        assert_eq!(here.len(), MAX_LOCAL_CONNECTIONS);
        assert_eq!(world.len() + here.len(), MAX_CONNECTIONS);
        assert!(admit(address(255)).is_none());
    }

    #[test]
    fn who_says_nothing_gives_its_place_to_a_newcomer() {
        let guests = Arc::new(Guests::default());
        let now = Instant::now();
        let admit = |number, now| Guests::admit(&guests, address(number), now);
        let mut seats: Vec<_> = (0..128).filter_map(|number| admit(number, now)).collect();
        for seat in seats.iter().skip(1) {
            seat.heard();
        }
        let later = now + MUTE_GRACE;
        assert!(admit(200, later - Duration::from_millis(1)).is_none());
        seats.extend(admit(200, later));
        assert_eq!(seats.len(), MAX_REMOTE_CONNECTIONS + 1);
        assert!(!guests.lock().present.contains_key(&seats[0].number));
        // All others have been heard, or have just come.
        assert!(admit(201, later).is_none());
    }

    #[test]
    fn an_address_that_was_cut_off_waits_and_this_machine_never() {
        let guests = Arc::new(Guests::default());
        let start = Instant::now();
        let cut_off = |address, now| {
            let seat = Guests::admit(&guests, address, now).unwrap();
            seat.cut_off(now);
        };
        let is_in = |address, now| Guests::admit(&guests, address, now).is_some();
        cut_off(address(1), start);
        assert!(!is_in(
            address(1),
            start + BANNED_FOR - Duration::from_millis(1)
        ));
        assert!(is_in(address(2), start));
        assert!(is_in(address(1), start + BANNED_FOR));
        assert!(guests.lock().banned.is_empty());
        for local in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            cut_off(local, start);
            assert!(is_in(local, start));
        }
        // Many of them: the list is bounded, and the last ones are on it.
        let many = u32::try_from(2 * MAX_BANNED).unwrap();
        let nth = |number| IpAddr::from(Ipv4Addr::from_bits((20 << 24) + number));
        for number in 0..many {
            cut_off(nth(number), start + Duration::from_micros(number.into()));
        }
        assert_eq!(guests.lock().banned.len(), MAX_BANNED);
        let soon = start + Duration::from_secs(1);
        assert!(is_in(nth(0), soon) && !is_in(nth(many - 1), soon));
    }

    #[test]
    fn a_network_of_ipv6_addresses_counts_as_one() {
        let guests = Arc::new(Guests::default());
        let now = Instant::now();
        let admit = |text: String| Guests::admit(&guests, text.parse().unwrap(), now);
        let seats: Vec<_> = (0..100)
            .filter_map(|number| admit(format!("2001:db8:0:7::{number}")))
            .collect();
        assert_eq!(seats.len(), MAX_CONNECTIONS_PER_ADDRESS);
        assert!(admit("2001:db8:0:8::1".to_owned()).is_some());
        let of = |text: &str| party(text.parse().unwrap()).to_string();
        assert_eq!(of("fe80::1:2"), "fe80::1:2");
        assert_eq!(of("64:ff9b::10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::1"), "::1");
    }
}
