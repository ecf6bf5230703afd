//! Connections as objects, and what can be done to them.
//!
//! - `conn`: the object; `methods`: what it can do; `send`: `wire_packet`; `tls`: TLS of it

pub(super) mod conn;
pub(super) mod methods;
pub(super) mod send;
pub(super) mod tls;
pub(super) mod tracked_session;
