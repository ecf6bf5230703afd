//! How connections come to be.
//!
//! - `sockets`: listening and connecting
//! - `accept`: which clients are let in
//! - `proxy_header`: whose connection it is, where a load balancer stands in front

pub(super) mod accept;
pub(super) mod proxy_header;
pub(super) mod sockets;
