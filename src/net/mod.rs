//! The reactor: sockets, timers and name look-ups. Knows nothing of the protocol.
//!
//! A map of the folder:
//!
//! - [`Poller`] waits for many sockets at once and says which are [`Ready`]; a [`WakeHandle`]
//!   interrupts it from another thread, where a [`Registrar`] adds sockets to it.
//! - [`Stream`] is one connected (or connecting) socket, [`Listener`] makes more of them, and
//!   [`Peer`] names the far end.
//! - [`TlsServer`] and [`TlsClient`] make the sessions that put TLS on a stream.
//! - [`Timers`] orders deadlines; the loop asks it how long it may sleep.
//! - [`Resolver`] looks names up on a thread of its own, because that blocks.
//! - [`Signals`] turns the process's signals into one more readable source; [`LastResort`] ends the
//!   program when the loop never comes to see them.
//! - [`ServiceManager`] is told how the process fares; [`inherit_sockets`] takes over the listening sockets that
//!   it has made.
//! - [`Line`] connects two processes of which the second takes the place of the first.
//! - [`ProxyHeader`] is the header in which a load balancer says whose connection it passes on.
//! - [`descriptor_limit`], [`raise_descriptor_limit`] and [`is_out_of_descriptors`] deal with file
//!   descriptors, the resource that a proxy runs out of first.
//!
//! Everything else is single-threaded and non-blocking: a call that would have to wait returns
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock). Readiness is edge-triggered: a socket is
//! reported once when it becomes ready, so code that stops reading before `WouldBlock` has to
//! remember that there may be more.

mod descriptors;
mod fd_store;
mod inherited;
mod last_resort;
mod line;
mod listener;
mod listening;
mod poller;
mod proxy_header;
mod resolver;
mod service_manager;
mod signals;
mod stream;
mod timers;
mod tls;
mod unix_socket;

/// A socket that a [`Poller`] can watch.
pub use mio::event::Source;

pub use descriptors::{descriptor_limit, is_out_of_descriptors, raise_descriptor_limit};
pub use inherited::{
    HandedOver, Taken, close_unused_sockets, inherit_sockets, sockets_to_hand_over,
    take_over_socket, unused_sockets,
};
pub use last_resort::LastResort;
pub use line::{FarEnd, Line, Parcel, set_standard_input};
pub use listener::{Known, Listener};
pub use listening::{Open, Wanted, another_serves, let_another_serve};
pub use poller::{Poller, Ready, Registrar, WAKE_TOKEN, WakeHandle};
pub use proxy_header::{ProxyHeader, ProxyVersion};
pub use resolver::{Reply, Resolver, numeric_address};
pub use service_manager::ServiceManager;
pub use signals::{Signal, Signals};
pub use stream::{KEEPALIVE_IDLE, Peer, Stream};
pub use timers::{TimerId, Timers};
pub use tls::{
    TlsClient, TlsClientOptions, TlsError, TlsInfo, TlsMode, TlsServer, TlsServerOptions,
    TlsSession, TlsVerify, TlsVersion,
};

/// How many connections may wait to be accepted. The kernel lowers it to its own limit. It is high
/// so that many clients may connect while a callback keeps the loop busy.
const BACKLOG: i32 = 4096;
