//! Listening.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::access::Open;
use super::connection::Connection;
use super::exchange::Handler;
use super::options::HttpOptions;
use super::service::Service;
use crate::net::{Listener, Peer, Stream, is_out_of_descriptors};
use crate::proxy::{Guest, GuestId, Proxy, Readiness, Turn};
use crate::workers::{Claim, ForAll};

/// How many clients are accepted in one turn.
const ACCEPT_BATCH: usize = 16;

/// How long accepting pauses when there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Why there is no listener.
#[derive(Debug)]
pub enum HttpError {
    /// The address is no IP address, is not ours or is taken.
    Listen(io::Error),
    /// Everybody could read it.
    Unguarded(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Listen(error) => write!(f, "{error}"),
            HttpError::Unguarded(address) => write!(
                f,
                "{address} can be reached from elsewhere: give a token, or a user and a password, or say open = true"
            ),
        }
    }
}

impl std::error::Error for HttpError {}

/// A listener for HTTP.
pub struct HttpListener {
    service: Rc<Service>,
    /// None if another worker listens there, or another listener does.
    accepting: RefCell<Option<(GuestId, Rc<Accepting>)>>,
    address: String,
    port: u16,
}

impl fmt::Debug for HttpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpListener({}:{})", self.address, self.port)
    }
}

impl HttpListener {
    /// Listens for all workers, unless another one does: a worker that comes later has a listener without clients.
    ///
    /// It listens on an address, or with `None` on all of them; port 0 lets the system choose one.
    ///
    /// # Errors
    /// The address is not ours or is taken, or can be reached from elsewhere although nothing guards it.
    pub fn listen(
        proxy: &Proxy,
        ip: Option<&str>,
        port: u16,
        options: HttpOptions,
        handler: Rc<dyn Handler>,
    ) -> Result<HttpListener, HttpError> {
        check_access(ip, port, &options)?;
        let listening = proxy.worker().listen_for_all(ip, port);
        let service = Rc::new(Service::new(proxy.clone(), options, handler));
        let (accepting, port) = match listening.map_err(HttpError::Listen)? {
            ForAll::Elsewhere(port) => (None, port),
            ForAll::Own(socket, claim) => {
                let port = socket.local_port();
                let accepting = Accepting::begin(&service, socket, claim);
                log::info!("http: listening on {}:{port}", ip.unwrap_or("*"));
                (Some(accepting.map_err(HttpError::Listen)?), port)
            }
        };
        Ok(HttpListener {
            service,
            accepting: RefCell::new(accepting),
            address: ip.unwrap_or("*").to_owned(),
            port,
        })
    }

    /// A listener that will take the place of this one: it has its address, and no clients until
    /// [`succeed`](Self::succeed).
    ///
    /// # Errors
    /// It can be reached from elsewhere although nothing guards it.
    pub fn listen_after(
        &self,
        options: HttpOptions,
        handler: Rc<dyn Handler>,
    ) -> Result<HttpListener, HttpError> {
        let ip = Some(&*self.address).filter(|ip| *ip != "*");
        check_access(ip, self.port, &options)?;
        let proxy = self.service.proxy.clone();
        Ok(HttpListener {
            service: Rc::new(Service::new(proxy, options, handler)),
            accepting: RefCell::default(),
            address: self.address.clone(),
            port: self.port,
        })
    }

    /// Takes the place of another listener, with its socket. The other one closes as [`close`](Self::close) says.
    ///
    /// # Errors
    /// The system's poller fails.
    pub fn succeed(&self, before: &HttpListener) -> io::Result<()> {
        let taken = before.accepting.take();
        let taken = taken.and_then(|(id, accepting)| {
            let (mut socket, claim) = accepting.socket.take()?;
            self.service.proxy.dismiss(id, &mut socket);
            Some((socket, claim))
        });
        before.close();
        if let Some((socket, claim)) = taken {
            let accepting = Accepting::begin(&self.service, socket, claim)?;
            self.accepting.replace(Some(accepting));
        }
        Ok(())
    }

    /// The address that it listens on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.service.connections.borrow().len()
    }

    /// Whether it listens.
    pub fn is_open(&self) -> bool {
        !self.service.is_closed()
    }

    /// Stops listening. Requests in progress are still answered; streams end.
    pub fn close(&self) {
        self.service.close();
        if let Some((id, _)) = &*self.accepting.borrow() {
            self.service.proxy.wake(*id);
        }
    }
}

fn check_access(ip: Option<&str>, port: u16, options: &HttpOptions) -> Result<(), HttpError> {
    let address: Option<IpAddr> = ip.and_then(|ip| ip.parse().ok());
    let is_loopback = address.is_some_and(|address| address.is_loopback());
    let access = &options.access;
    if is_loopback || access.is_guarded() || access.open == Open::Everything {
        return Ok(());
    }
    let address = format!("{}:{port}", ip.unwrap_or("*"));
    Err(HttpError::Unguarded(address))
}

/// The listening socket.
struct Accepting {
    service: Rc<Service>,
    /// None once another listener has taken it, with the claim to its address.
    socket: RefCell<Option<(Listener, Claim)>>,
}

impl Guest for Accepting {
    fn turn(&self, _: Readiness) -> Turn {
        if self.service.is_closed() {
            // A script may keep the listener for as long as it likes, but not its socket.
            drop(self.socket.take());
            return Turn::Over;
        }
        for _ in 0..ACCEPT_BATCH {
            let accepted = match &*self.socket.borrow() {
                Some((socket, _)) => socket.accept(),
                None => return Turn::Over,
            };
            match accepted {
                Ok((stream, peer)) => self.take_in(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Wait(None),
                Err(error) if is_out_of_descriptors(&error) => {
                    return Turn::Wait(Some(Instant::now() + ACCEPT_PAUSE));
                }
                Err(error) => log::warn!("http: cannot accept a client: {error}"),
            }
        }
        Turn::Again
    }
}

impl Accepting {
    fn begin(
        service: &Rc<Service>,
        mut socket: Listener,
        claim: Claim,
    ) -> io::Result<(GuestId, Rc<Accepting>)> {
        let accepting = Rc::new(Accepting {
            service: service.clone(),
            socket: RefCell::default(),
        });
        let id = service.proxy.admit(accepting.clone(), &mut socket)?;
        accepting.socket.replace(Some((socket, claim)));
        Ok((id, accepting))
    }

    fn take_in(&self, mut stream: Stream, peer: Peer) {
        let is_full = self.service.connections.borrow().len() >= self.service.options.max_clients;
        if is_full {
            log::debug!("http: a client was refused: there are as many as there may be");
            // Whoever does not get these few bytes learns as much from the end of the connection.
            let _ = stream.write(FULL);
            return;
        }
        if let Err(error) = Connection::admit(&self.service, stream, peer) {
            log::warn!("http: cannot take in a client: {error}");
        }
    }
}
