//! The upgrade of the binary: this process starts another one of itself, which takes its place without that anybody
//! notices.
//!
//! - `messages`: what the two say to each other
//! - `giving`: the process that is there, which starts the other one
//! - `taking`: the process that was started
//! - `workforce`: what both want of the workers
//!
//! # What happens, in this order
//!
//! 1. The process that serves starts its executable as it is on disk now, with the same arguments, and gives it one end of
//!    a [`Line`](crate::net::Line).
//! 2. The new process says which versions it understands. It gets the listening sockets, and runs its startfile.
//! 3. It says that it serves. Only then does the old process stop accepting clients; it tells the new one to begin.
//! 4. The new process says how many connections it takes at once, if it understands how they are written down. Each
//!    goes over at a moment when nothing is on its way there. The new process acknowledges it once it has made all of it,
//!    and before it reads or writes a byte: whoever has the connection is decided by whether that one message was
//!    sent.
//! 5. What cannot go over stays until it leaves. With the last of these, or when the time for them is over, the old
//!    process ends.
//!
//! Until it ends, the old process has all that it needs to serve: if the new one dies, or says something that makes no
//! sense, the old one kills it, accepts clients again, and goes on with each connection that was not acknowledged.
//! If the old one dies, the new one goes on with what it has.

mod giving;
mod messages;
mod taking;
mod workforce;

pub use giving::{Executable, UpgradeError, Upgrades};
pub use messages::{Carried, Hello, Moving, kind, write_listener};
pub use taking::{Arrivals, Predecessor};
pub use workforce::Workforce;
