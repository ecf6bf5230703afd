//! How many sockets the process has and may have, counted over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::net::descriptor_limit;

/// How many descriptors are reserved for everything that is not a connection: clients that are
/// being refused, the resolver, the log, a script's files. If the limit is low, a quarter of it is
/// reserved instead.
const KEPT: usize = 64;

/// How many descriptors a worker has for its loop, its signals and its resolver. (Those of the first one, and the
/// acceptor's, are of the reserved.)
const OF_A_WORKER: usize = 10;

/// The room that the process has for sockets.
#[derive(Debug)]
pub struct Room {
    /// How many sockets connections and listeners may use.
    limit: usize,
    used: Counts,
}

/// Connections that are neither logged in nor linked are *arriving*. Such a client may need a server after its
/// login, so a descriptor is reserved for each of them, except for those whose server is already
/// connecting.
#[derive(Debug, Default)]
struct Counts {
    sockets: AtomicUsize,
    arriving_clients: AtomicUsize,
    arriving_servers: AtomicUsize,
}

/// What one worker uses of it, until this is dropped.
#[derive(Debug)]
pub struct RoomShare {
    room: Arc<Room>,
    own: Counts,
}

impl Room {
    /// By the process's limit on open files as it is now.
    pub fn new() -> Room {
        let limit = descriptor_limit().map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Room::of(limit - KEPT.min(limit / 4))
    }

    fn of(limit: usize) -> Room {
        Room {
            limit,
            used: Counts::default(),
        }
    }
}

impl Default for Room {
    fn default() -> Self {
        Room::new()
    }
}

impl RoomShare {
    /// Nothing but what a worker beside the first needs for itself.
    pub fn of(room: Arc<Room>, is_first: bool) -> RoomShare {
        let share = RoomShare {
            room,
            own: Counts::default(),
        };
        if !is_first {
            (0..OF_A_WORKER).for_each(|_| share.opened());
        }
        share
    }

    /// Whether there is room for another client with its server.
    pub fn has_room(&self) -> bool {
        let used = &self.room.used;
        let clients = used.arriving_clients.load(Relaxed);
        let expected = clients.saturating_sub(used.arriving_servers.load(Relaxed));
        used.sockets.load(Relaxed) + expected + 2 <= self.room.limit
    }

    /// A socket was opened.
    pub fn opened(&self) {
        add(&self.own.sockets, &self.room.used.sockets);
    }

    /// A socket was closed.
    pub fn closed(&self) {
        take(&self.own.sockets, &self.room.used.sockets, 1);
    }

    /// A connection has begun that is neither logged in nor linked.
    pub fn arrives(&self, is_client: bool) {
        let (own, all) = self.arriving(is_client);
        add(own, all);
    }

    /// It is logged in or linked now, or closed.
    pub fn arrived(&self, is_client: bool) {
        let (own, all) = self.arriving(is_client);
        take(own, all, 1);
    }

    fn arriving(&self, is_client: bool) -> (&AtomicUsize, &AtomicUsize) {
        let (own, all) = (&self.own, &self.room.used);
        match is_client {
            true => (&own.arriving_clients, &all.arriving_clients),
            false => (&own.arriving_servers, &all.arriving_servers),
        }
    }
}

impl Drop for RoomShare {
    fn drop(&mut self) {
        let (own, all) = (&self.own, &self.room.used);
        for (own, all) in [
            (&own.sockets, &all.sockets),
            (&own.arriving_clients, &all.arriving_clients),
            (&own.arriving_servers, &all.arriving_servers),
        ] {
            take(own, all, usize::MAX);
        }
    }
}

fn add(own: &AtomicUsize, all: &AtomicUsize) {
    own.fetch_add(1, Relaxed);
    all.fetch_add(1, Relaxed);
}

/// Takes that many of one's own away, as far as there are any.
fn take(own: &AtomicUsize, all: &AtomicUsize, count: usize) {
    let count = count.min(own.load(Relaxed));
    own.fetch_sub(count, Relaxed);
    all.fetch_sub(count, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_needs_room_for_its_server() {
        let room = Arc::new(Room::of(10));
        let share = RoomShare::of(room.clone(), true);
        let other = RoomShare::of(room, true);
        (0..4).for_each(|_| share.opened());
        (0..4).for_each(|_| other.opened());
        assert!(share.has_room() && other.has_room());
        share.arrives(true);
        assert!(!other.has_room(), "its server is still to come");
        share.arrives(false);
        assert!(other.has_room(), "it has come");
        other.opened();
        assert!(!share.has_room());
        drop(other);
        assert!(share.has_room(), "that worker's sockets are closed");
    }
}
