//! Sockets in the loop that do not speak MySQL.
//!
//! A [`Guest`] has a socket, a turn when that is ready or a deadline is over, and nothing to do with the table of
//! connections. So what else a program serves (HTTP, say) lives in the same loop, without a thread of its own.

use std::fmt;
use std::time::Instant;

/// Names a guest. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuestId {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// What has become possible on a guest's socket since its last turn. It is told once: who stops before
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock) has to remember it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read: bytes, an end, an error, or a connection to accept.
    pub readable: bool,
    /// Writing is worth a try.
    pub writable: bool,
}

/// What a guest wants after its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// To wait for its socket, for [`Proxy::wake`](super::Proxy::wake), and for this moment, if any.
    Wait(Option<Instant>),
    /// Another turn, after the others have had theirs.
    Again,
    /// To leave. It is dropped.
    Over,
}

/// Something with a socket in the loop.
///
/// No borrow of the proxy is held while it is called, so it may do anything to any connection. A guest that panics leaves.
pub trait Guest {
    /// Its socket is ready, it was woken, or its moment has come.
    fn turn(&self, readiness: Readiness) -> Turn;

    /// Whether something is under way that the end of the program should wait for, as it waits for exchanges in flight.
    fn is_busy(&self) -> bool {
        false
    }

    /// It has left. Called once.
    fn ended(&self) {}
}

impl fmt::Debug for dyn Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guest")
    }
}
