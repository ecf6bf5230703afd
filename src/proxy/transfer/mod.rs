//! Connections that go from one process to another: a client, and the server that it is linked to, at a moment when nothing
//! is on its way and no transaction is open.
//!
//! - `resting`: what the proxy knows of such a pair, as plain data, and how that is written down
//! - `leaving`: the process that has the pair: it is written down, its sockets are handed over, and it waits. If the
//!   other process acknowledges it, the pair is gone; if not, it goes on
//! - `departures`: which pairs are to leave, and which are on their way
//! - `arriving`: the process that gets it
//!
//! Whoever has a pair is decided by one message, the acknowledgement. Before it is sent the new process touches neither socket;
//! from the moment on when a pair was written down the old one does not, unless it learns that the new one has not
//! got it. Bytes that arrive meanwhile wait in the sockets.

mod arriving;
mod departures;
mod leaving;
mod resting;

pub(super) use departures::Departures;
pub use resting::{Leg, Pair, RestingEnd};

/// The version of how connections are written down. It changes only when something must not be skipped by a process that
/// does not know it.
pub const TRANSFER_FORMAT: u8 = resting::VERSION;
