//! The connections, and their data.
//!
//! - `core`: the table itself, with timers and what is due at the end of a tick
//! - `conn`: one connection; `sides`: its two directions; `channel`: the layer between it and its
//!   socket, nothing or compression; `login`: data that it needs until its login is over
//! - `link`, `close`: linking two connections, and the end of one; `ownership`: which part of the layer above has one
//! - `limits`: the timers of a connection; `pace`: how slowly a client may send a packet; `buffered`: what all
//!   connections hold together
//! - `slice`: how much of a pass of the loop one connection gets; `spare`: buffers for queues
//! - `patience`: how a server's login fits into the time of the client that waits for it
//! - `remark`: a comment in front of a query
//! - `received`: what is said of a packet that was received; `admission`: whether there is room for another
//!   client; `tls_clients`: TLS towards servers, by destination; `certificate_log`: warnings about
//!   certificates of our own

pub(super) mod admission;
pub(super) mod buffered;
pub(super) mod certificate_log;
pub(super) mod channel;
pub(super) mod close;
pub(super) mod conn;
pub(super) mod core;
pub(super) mod guests;
pub(super) mod limits;
pub(super) mod link;
pub(super) mod login;
pub(super) mod ownership;
pub(super) mod pace;
pub(super) mod patience;
pub(super) mod received;
pub(super) mod remark;
pub(super) mod sides;
pub(super) mod slice;
pub(super) mod spare;
pub(super) mod tls_clients;
