//! What `dpm.config{}` sets for the process, and the options of a listener or connect override.

use std::time::Duration;

use crate::net::{TlsClientOptions, TlsServer};

/// Limits and time-outs of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The largest packet, in bytes, that is gathered whole for a callback.
    pub max_packet: usize,
    /// How many bytes may be queued on a connection before it is closed.
    pub max_queue: usize,
    /// How long a connection to a server may take to be made. Zero: no limit.
    pub connect_timeout: Duration,
    /// How long a login may take, on either side. Zero: no limit.
    pub handshake_timeout: Duration,
    /// How long exchanges in flight may take to finish once the process was told to stop.
    pub drain: Duration,
    /// How long a connection may be silent. Zero: for ever.
    pub idle_timeout: Duration,
    /// How many clients a listener serves at once. `None`: any number.
    pub max_clients: Option<usize>,
    /// What a listener's clients are offered of TLS.
    pub tls_server: Option<TlsServer>,
    /// What is asked of a server of TLS. `None`: what the transport calls for.
    pub tls_client: Option<TlsClientOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_packet: 64 << 20,
            max_queue: 64 << 20,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            idle_timeout: Duration::ZERO,
            max_clients: None,
            tls_server: None,
            tls_client: None,
        }
    }
}
