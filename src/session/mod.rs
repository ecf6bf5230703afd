//! The protocol's state machines, without any input or output.
//!
//! A session is given the head of each packet in both directions, and returns what the packet is,
//! which [`Event`]s it causes, and whether the exchange is over. It knows no sockets and no
//! scripts.
//!
//! - [`client`]: the connection of a client; [`server`]: the connection to a server
//! - [`response`]: one command's answer, the same on both legs
//! - [`statements`]: the tracker of those that are prepared
//! - [`exchanges`]: the commands that wait for their answers
//! - [`event`]: the states, by their names in scripts
//! - [`rows`]: the fast path over a resultset

pub mod at_rest;
pub mod client;
pub mod event;
pub mod exchanges;
pub mod response;
pub mod rows;
pub mod server;
pub mod statements;
pub mod step;

pub use at_rest::{Counted, RestingClient, RestingServer};
pub use client::{ClientSession, Sent};
pub use event::{Event, EventSet};
pub use response::{Response, ok_status};
pub use server::{LoginWaits, ServerSession};
pub use step::{HEAD, Head, PacketKind, Step, Violation};
