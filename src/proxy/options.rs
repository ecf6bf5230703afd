//! What `dpm.config{}` sets for the process, and the options of a listener or connect override.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::id::ConnId;
use crate::net::{KEEPALIVE_IDLE, ProxyVersion, Stream, TlsClientOptions, TlsServer};
use crate::wire::compressed::Algorithm;

/// Limits and time-outs of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The largest packet, in bytes, that is gathered for a callback.
    pub max_packet: usize,
    /// How many bytes may be queued on a connection before it is closed.
    pub max_queue: usize,
    /// How many bytes all connections of the process may hold together, in packets that are not
    /// complete and in queues, before the one that holds most is closed.
    pub max_buffered: usize,
    /// How long a connection to a server may take to be made. Zero: no limit.
    pub connect_timeout: Duration,
    /// How long a login may take, on either side. Zero: no limit.
    pub handshake_timeout: Duration,
    /// How long exchanges in flight may take to finish once the process was told to stop.
    pub drain: Duration,
    /// How long connections that cannot go over to the process that takes the place of this one may stay here.
    pub upgrade_drain: Duration,
    /// How long a connection may be silent. Zero: for ever.
    pub idle_timeout: Duration,
    /// How long a TCP connection may be silent before the kernel probes whether the far end is still
    /// there. Zero: it never does.
    pub keepalive: Duration,
    /// How many clients a listener serves at once. `None`: as many as the process may.
    pub max_clients: Option<usize>,
    /// How many clients a listener serves at once that come from the same IP address. `None`: any
    /// number.
    pub max_clients_per_address: Option<usize>,
    /// A listener's TLS configuration.
    pub tls_server: Option<TlsServer>,
    /// The TLS options towards a server. `None`: the transport's default.
    pub tls_client: Option<TlsClientOptions>,
    /// Whether a server may redirect the client to another server, bypassing the proxy. Either
    /// end's option is enough.
    pub allow_redirect: bool,
    /// The compression that clients are offered, or servers are asked for. `None`: clients are
    /// offered both algorithms, servers are asked for none.
    pub compression: Option<Compression>,
    /// The addresses from which a listener expects a PROXY protocol header.
    pub trusted: Vec<Trusted>,
    /// The version of the PROXY protocol header to send to a server, and the client that it names;
    /// without one it says that the connection is the proxy's own.
    pub proxy_header: Option<(ProxyVersion, Option<ConnId>)>,
    /// What to do with passwords from a safe leg if the server's leg is open.
    pub cleartext: Cleartext,
}

impl Options {
    /// Sets up the probes of keep-alive, unless they are the stream's default.
    pub(crate) fn set_keepalive(&self, stream: &Stream) {
        if self.keepalive != KEEPALIVE_IDLE {
            stream.keep_alive(Some(self.keepalive).filter(|idle| !idle.is_zero()));
        }
    }
}

/// What to do with a password that a client has sent over a safe leg, if the server's leg is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cleartext {
    /// The login is refused.
    #[default]
    Refuse,
    /// The server is asked for its RSA key, and gets the password encrypted with it. An attacker
    /// who can change the leg's traffic could replace the key with his own.
    Rsa,
    /// The same, and if the server accepts the password only in clear, it gets the password in
    /// clear.
    Allow,
}

/// What compression is offered, or asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compression {
    /// The kinds; the first that both know is asked for. None: nothing is compressed.
    pub algorithms: Vec<Algorithm>,
    /// The level. `None`: the level that a client asks for, or the servers' default.
    pub level: Option<u8>,
}

/// A source of connections that must begin with a PROXY protocol header, which is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// From these addresses.
    Net(IpNet),
    /// On unix sockets.
    Unix,
}

impl std::str::FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Trusted::Unix);
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Trusted::Net(net));
        }
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Trusted::Net(ip.into())),
            Err(_) => Err(format!(
                "expected an IP address, a network such as 10.0.0.0/8, or \"unix\", got '{text}'"
            )),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_packet: 64 << 20,
            max_queue: 64 << 20,
            max_buffered: 1 << 30,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            upgrade_drain: Duration::from_secs(600),
            idle_timeout: Duration::ZERO,
            keepalive: KEEPALIVE_IDLE,
            max_clients: None,
            max_clients_per_address: None,
            tls_server: None,
            tls_client: None,
            allow_redirect: false,
            compression: None,
            trusted: Vec::new(),
            proxy_header: None,
            cleartext: Cleartext::default(),
        }
    }
}
