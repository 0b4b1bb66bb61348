//! Who is connected. Places are few, so nobody may hold them for nothing: one address has a bounded
//! share, programs on this machine have places that nobody else can take, and a connection that has
//! not brought a whole request gives its place up once all are taken.
//!
//! Breaks if: a connection outlives its [`Seat`] (a WebSocket leaves the server that accepted it).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Connections at a time. A wallet holds one; a load generator a few per node.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections from one remote address.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 16;
/// Connections from `127.0.0.1` and `::1` each, which all programs of this machine share. As many
/// places are kept for them: an operator can ask while the whole world tries to.
pub const MAX_LOCAL_CONNECTIONS: usize = 128;
/// Connections from everywhere else together.
const MAX_REMOTE_CONNECTIONS: usize = MAX_CONNECTIONS - MAX_LOCAL_CONNECTIONS;
/// A client that means it has sent its request by then, also from the other end of the world.
const MUTE_GRACE: Duration = Duration::from_secs(1);

/// The list.
#[derive(Default)]
pub(super) struct Guests(Mutex<List>);

#[derive(Default)]
struct List {
    next: u64,
    /// By number, so the longest connected first.
    present: BTreeMap<u64, Guest>,
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

impl List {
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
        let address = address.to_canonical();
        let local = is_local(address);
        let (share, places) = if local {
            (MAX_LOCAL_CONNECTIONS, MAX_LOCAL_CONNECTIONS)
        } else {
            (MAX_CONNECTIONS_PER_ADDRESS, MAX_REMOTE_CONNECTIONS)
        };
        let mut list = guests.lock();
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
}
