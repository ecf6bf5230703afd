//! Making connections.
//!
//! - `sockets`: listening and connecting
//! - `accept`: which clients are let in
//! - `certificates`: new ones for listeners, and those that end soon
//! - `proxy_header`: the client's address behind a load balancer

pub(super) mod accept;
pub(super) mod certificates;
pub(super) mod proxy_header;
pub(super) mod sockets;
