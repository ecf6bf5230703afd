//! What a connection needs until its login is over.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::net::TlsClient;
use crate::proxy::login::parting::Parting;

/// A login under way. It goes when that is over, so that the many connections that are idle do not
/// carry it along.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// What TLS with a server needs, if there may be any.
    pub tls: Option<Rc<TlsClient>>,
    /// Addresses of a server that are still to be tried.
    pub candidates: Vec<SocketAddr>,
    /// When connecting has taken too long, whichever address it has come to.
    pub connect_until: Option<Instant>,
    /// When the whole login, connecting included, has taken too long for whoever waits for it.
    pub until: Option<Instant>,
    /// The path of a server's unix socket, whose queue is full.
    pub unix_path: Option<Box<str>>,
    /// What has come of the PROXY header that a client's connection is to begin with.
    pub header: Option<Vec<u8>>,
    /// The level of compression that a client asked for.
    pub zstd_level: Option<u8>,
    /// What finishes it at a server whose client has left.
    pub parting: Option<Box<Parting>>,
    /// How much longer a server may take that is not waiting for us.
    pub patience: Option<Duration>,
    /// It counts among the [arrivals](crate::proxy::connect::accept::Arrivals).
    pub arriving: bool,
}
