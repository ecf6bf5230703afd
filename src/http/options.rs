//! Options of a listener.

use std::time::Duration;

use super::access::Access;
use crate::net::TlsServer;

/// What a listener allows its clients.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Who may ask.
    pub access: Access,
    /// HTTPS.
    pub tls: Option<TlsServer>,
    /// How many clients may be connected; further ones get a 503.
    pub max_clients: usize,
    /// How long a request's body may be.
    pub max_body: usize,
    /// How long a client may take to send a request.
    pub request_timeout: Duration,
    /// How long a connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// How long the handler may take to begin its answer, and a client to take what is queued for it.
    pub answer_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            access: Access::default(),
            tls: None,
            max_clients: 128,
            max_body: 1 << 20,
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(30),
        }
    }
}
