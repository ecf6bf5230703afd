//! What comes of the bytes at the front of what was read.

use crate::proxy::id::ConnId;
use crate::proxy::table::sides::Streaming;
use crate::session::EventSet;

/// What is to be done after the bytes that could be forwarded.
#[derive(Debug)]
pub(crate) enum Advance {
    /// Call `advance` again.
    Again,
    /// A packet is complete at its receiver, and these events fire there.
    Arrived { to: ConnId, events: EventSet },
    /// A packet of this many bytes, including frame headers, is to be handled as a whole.
    Packet(usize),
    /// The connection has had its share of this pass of the loop.
    Later,
    /// Nothing can be done until there are this many bytes (0: until something else happens).
    Wait(usize),
    /// The far end broke the protocol.
    Broken(String),
    /// A client's command is longer than allowed.
    TooLong(String),
    /// The connection is closing, or gone.
    Gone,
}

/// The progress of a packet in transit.
pub(crate) enum Carried {
    /// It is not complete yet.
    Partly(usize),
    /// It is complete.
    Done(Streaming),
}
