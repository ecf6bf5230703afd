//! Information about a connection, which outlives its socket.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use super::id::ConnId;
use super::usage::tally::Tallies;
use crate::net::{TlsInfo, TlsServer};
use crate::session::{Event, Head, PacketKind};
use crate::wire::compressed::Algorithm;
use crate::wire::{Capabilities, Com};

/// The kind of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnKind {
    /// A listening TCP socket.
    TcpListener,
    /// A listening unix socket.
    UnixListener,
    /// A client is at the far end.
    Client,
    /// A server is at the far end.
    Server,
}

impl ConnKind {
    /// Whether it only listens.
    pub fn is_listener(self) -> bool {
        matches!(self, ConnKind::TcpListener | ConnKind::UnixListener)
    }
}

/// Where an end of a connection is. It is shown as text: "localhost" on a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address, an IPv4 one always in IPv4's form.
    Ip(IpAddr),
    /// This machine, over a unix socket.
    Local,
    /// The name of a host that is yet to be connected to, the path of a listener's unix socket, or
    /// "*": all addresses.
    Name(Rc<str>),
}

impl Address {
    /// The IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Local | Address::Name(_) => None,
        }
    }
}

impl From<Option<IpAddr>> for Address {
    /// From the address of a [`Peer`](crate::net::Peer): without an IP address it is a unix socket.
    fn from(ip: Option<IpAddr>) -> Address {
        ip.map_or(Address::Local, Address::Ip)
    }
}

impl From<&str> for Address {
    fn from(name: &str) -> Address {
        Address::Name(name.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Local => f.write_str("localhost"),
            Address::Name(name) => f.write_str(name),
        }
    }
}

/// Whose ids a client's prepared statements have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatementIds {
    /// Those that its server has given.
    #[default]
    Servers,
    /// Its own: it has one server after another, and its statements other ids at each.
    Own,
}

/// Information about a connection; it outlives the socket.
#[derive(Debug, Clone)]
pub struct ConnInfo {
    /// Its name.
    pub id: ConnId,
    /// What it is.
    pub kind: ConnKind,
    /// The number of the linked peer, also after that has closed; 0 if there has been none, or
    /// the link was undone.
    pub remote_id: Cell<u32>,
    /// Whether it has begun to close.
    pub closed: Cell<bool>,
    /// The far end's port; a listener's own.
    pub port: Cell<u16>,
    /// Whether nobody else can read it: it uses TLS, or is a unix socket.
    pub secure: Cell<bool>,
    /// What has been negotiated.
    pub capabilities: Cell<Capabilities>,
    /// The compression in use.
    pub compression: Cell<Option<Algorithm>>,
    /// Whose ids its prepared statements have.
    pub statement_ids: Cell<StatementIds>,
    /// The last event on it.
    pub state: Cell<Option<Event>>,
    /// Which part of the layer above it belongs to, by a number of that layer's own. A client belongs to whom its
    /// listener belongs to.
    pub owner: Cell<u32>,
    /// How many rows of its present or last result a server has sent.
    rows: Cell<u32>,
    /// How many columns that result has.
    columns: Cell<u16>,
    /// When it was made.
    pub(super) opened: Cell<Instant>,
    /// What it is counted by.
    pub(super) tallies: Tallies,
    address: RefCell<Address>,
    rare: RefCell<Option<Box<Rare>>>,
}

/// Rarely used information.
#[derive(Debug, Clone, Default)]
struct Rare {
    close_reason: Option<Box<str>>,
    tls: Option<Rc<TlsInfo>>,
    tls_server: Option<TlsServer>,
    stays: Option<Rc<str>>,
    destination: Option<SocketAddr>,
}

impl ConnInfo {
    /// For a new connection.
    pub(super) fn new(id: ConnId, kind: ConnKind, address: Address, port: u16) -> ConnInfo {
        ConnInfo {
            id,
            kind,
            remote_id: Cell::new(0),
            closed: Cell::new(false),
            port: Cell::new(port),
            secure: Cell::new(false),
            capabilities: Cell::new(Capabilities::empty()),
            compression: Cell::new(None),
            statement_ids: Cell::default(),
            state: Cell::new(None),
            owner: Cell::new(0),
            rows: Cell::new(0),
            columns: Cell::new(0),
            opened: Cell::new(Instant::now()),
            tallies: Tallies::default(),
            address: RefCell::new(address),
            rare: RefCell::new(None),
        }
    }

    /// How many rows the present result of this server has had so far, or the last one had. `None` if
    /// there were too many to count.
    pub fn rows(&self) -> Option<u64> {
        let rows = self.rows.get();
        (rows < u32::MAX).then_some(rows.into())
    }

    /// How many columns the present or last result of this server has told of.
    pub fn columns(&self) -> u16 {
        self.columns.get()
    }

    /// How many bytes have been read from it.
    pub fn bytes_read(&self) -> u64 {
        self.tallies.bytes().0
    }

    /// Adds the address of the listener or the server to `out`, as figures have it.
    pub fn write_place(&self, out: &mut Vec<u8>) {
        if let Some(place) = self.tallies.place() {
            out.extend_from_slice(&place.name);
        }
    }

    /// The name that a client has logged in with.
    pub fn user(&self) -> Option<Box<[u8]>> {
        self.tallies.user().map(|user| user.name.clone())
    }

    /// Notes its last event. One that comes again and again (rows) is logged once.
    #[inline]
    pub(super) fn enter(&self, state: Event) {
        if self.state.replace(Some(state)) != Some(state) {
            log::debug!("connection {}: {}", self.id.serial(), state.name());
        }
    }

    /// A packet has come.
    pub(super) fn count(&self, kind: PacketKind, head: Head<'_>) {
        self.log_packet("receives", kind, head);
        match kind {
            PacketKind::ResultsetHeader => {
                self.rows.set(0);
                self.columns.set(0);
            }
            PacketKind::Column => self.columns.set(self.columns.get().saturating_add(1)),
            PacketKind::TextRow | PacketKind::BinaryRow => {
                self.rows.set(self.rows.get().saturating_add(1));
            }
            _ => {}
        }
    }

    /// A packet is sent.
    #[inline]
    pub(super) fn note_sent(&self, kind: PacketKind, head: Head<'_>) {
        self.log_packet("is sent", kind, head);
    }

    /// Says what packet it is, and not what is in it.
    #[inline]
    fn log_packet(&self, verb: &str, kind: PacketKind, head: Head<'_>) {
        let id = self.id.serial();
        let (kind_name, len) = (kind.name(), head.len);
        match kind {
            PacketKind::Command => {
                let command = head.first().map_or("", |first| Com(first).name());
                log::trace!("connection {id}: {verb} {kind_name} {command}, {len} bytes");
            }
            _ => log::trace!("connection {id}: {verb} {kind_name}, {len} bytes"),
        }
    }

    /// So many rows have come.
    pub(super) fn add_rows(&self, rows: u64) {
        if rows > 0 {
            self.enter(Event::ServerSendingRows);
            log::trace!("connection {}: receives {rows} rows", self.id.serial());
        }
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.rows.set(self.rows.get().saturating_add(rows));
    }

    /// The far end's address; a listener's own.
    pub fn address(&self) -> Address {
        self.address.borrow().clone()
    }

    /// Why it closed, in words fit for a log.
    pub fn reason(&self) -> String {
        let reason = self.rare(|rare| rare.close_reason.clone());
        reason.map_or_else(|| "no reason was given".to_string(), String::from)
    }

    /// The TLS session on it, once there is one.
    pub fn tls(&self) -> Option<Rc<TlsInfo>> {
        self.rare(|rare| rare.tls.clone())
    }

    /// A listener's TLS configuration.
    pub fn tls_server(&self) -> Option<TlsServer> {
        self.rare(|rare| rare.tls_server.clone())
    }

    /// Why it still belongs to who has had it, although there is somebody else for new connections.
    pub fn stays(&self) -> Option<Rc<str>> {
        self.rare(|rare| rare.stays.clone())
    }

    /// Says why it still belongs to who has had it.
    pub fn set_stays(&self, why: Option<&str>) {
        if why.is_some() || self.rare.borrow().is_some() {
            self.rare_mut(|rare| rare.stays = why.map(Rc::from));
        }
    }

    /// The address that a client connected to, according to its PROXY protocol header.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        self.rare(|rare| rare.destination)
    }

    pub(super) fn set_address(&self, address: Address, port: u16) {
        self.address.replace(address);
        self.port.set(port);
    }

    pub(super) fn set_reason(&self, reason: &str) {
        self.rare_mut(|rare| rare.close_reason = Some(reason.into()));
    }

    pub(super) fn set_tls(&self, session: TlsInfo) {
        self.rare_mut(|rare| rare.tls = Some(Rc::new(session)));
    }

    pub(super) fn set_tls_server(&self, tls: TlsServer) {
        self.rare_mut(|rare| rare.tls_server = Some(tls));
    }

    pub(super) fn set_destination(&self, destination: SocketAddr) {
        self.rare_mut(|rare| rare.destination = Some(destination));
    }

    fn rare<T>(&self, read: impl FnOnce(&Rare) -> Option<T>) -> Option<T> {
        self.rare.borrow().as_deref().and_then(read)
    }

    fn rare_mut(&self, write: impl FnOnce(&mut Rare)) {
        write(self.rare.borrow_mut().get_or_insert_default());
    }
}

// There is one for each connection: 10,000 of them need another megabyte for each hundred bytes
// that are added here.
const _: () = assert!(size_of::<ConnInfo>() <= 168);
