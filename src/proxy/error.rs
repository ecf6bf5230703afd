//! Why the proxy cannot do what was asked for.

use std::io;

/// An error of a call; in a script, a Lua error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The connection has closed, and why.
    #[error("connection {id} is closed ({reason})")]
    Closed {
        /// The connection's number.
        id: u32,
        /// Why it closed.
        reason: String,
    },
    /// The state of the protocol does not allow the packet.
    #[error("connection {id}: {why}")]
    Forbidden {
        /// The connection's number.
        id: u32,
        /// Which state, and what it waits for.
        why: String,
    },
    /// The two ends cannot be linked.
    #[error("cannot link client {client} and server {server}: {why}")]
    Link {
        /// The client's number.
        client: u32,
        /// The server's number.
        server: u32,
        /// Why not.
        why: String,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address or path.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// TLS cannot be set up as the options say.
    #[error("tls: {0}")]
    Tls(#[from] crate::net::TlsError),
    /// The packet is longer than the connection's queue may be.
    #[error("connection {id}: the packet is {len} bytes long, more than max_queue allows ({max})")]
    TooLong {
        /// The connection's number.
        id: u32,
        /// The packet's length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
}
