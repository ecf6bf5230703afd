//! A client and its server between two commands, as plain data.
//!
//! It is written down as a record whose fields say what they are ([`record`](crate::record)): fields that a program does not know are
//! skipped. What is read is checked, as far as it could harm the one who reads it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proxy::info::Address;
use crate::record::{Field, Fields, MAX_RECORD, Unreadable, Writer};
use crate::session::{Counted, RestingClient, RestingServer};
use crate::wire::{Capabilities, Status};

/// What every pair begins with.
const MARK: &[u8] = b"dpm-pair";
/// The version that is written, and the newest that is read.
pub(super) const VERSION: u8 = 1;

const LISTENER: u8 = 1;
const LISTENER_PORT: u8 = 2;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const TEXT: u8 = 5;
const USER: u8 = 6;
const DESTINATION: u8 = 7;

const ADDRESS: u8 = 1;
const PORT: u8 = 2;
const CAPABILITIES: u8 = 3;
const OFFERED: u8 = 4;
const STATUS: u8 = 5;
const EOFS_DUE: u8 = 6;
const COUNTED: u8 = 7;
const LAST: u8 = 8;
const LEVEL: u8 = 9;
const AGE: u8 = 10;
const PLACE: u8 = 11;
const PLUGIN: u8 = 12;
const NONCE: u8 = 13;
const BYTES_READ: u8 = 14;
const BYTES_WRITTEN: u8 = 15;
const MAX_PACKET: u8 = 16;
const MAX_QUEUE: u8 = 17;
const IDLE_TIMEOUT: u8 = 18;

/// Bytes of a statement in the list of those that are counted.
const COUNTED_BYTES: usize = 6;

/// What is at the far end, and what was agreed on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestingEnd {
    /// A client.
    Client(RestingClient),
    /// A server.
    Server(RestingServer),
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// What is at its far end.
    pub end: RestingEnd,
    /// Where that is.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// The level of compression, if there is one.
    pub level: u8,
    /// How long it has been open.
    pub age: Duration,
    /// The server's name in figures.
    pub place: Option<Vec<u8>>,
    /// What a change of user needs of the login: its method and its nonce.
    pub login: Option<(Vec<u8>, Vec<u8>)>,
    /// How many bytes were read and written.
    pub bytes: (u64, u64),
    /// The limits that it was made with: `max_packet`, `max_queue`, `idle_timeout`.
    pub limits: (u64, u64, Duration),
}

/// A client, and the server that it is linked to, if it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The address and port of the listener that the client has come by.
    pub listener: (String, u16),
    /// The client.
    pub client: Leg,
    /// The server.
    pub server: Option<Leg>,
    /// The name that the client has logged in with, as far as it is counted.
    pub user: Option<Vec<u8>>,
    /// The address that the client has connected to, as a load balancer has said.
    pub destination: Option<SocketAddr>,
    /// What the layer above knows.
    pub text: Vec<u8>,
}

impl Pair {
    /// Writes it down. `None` if it is too long.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut out = Writer::default();
        out.bytes(LISTENER, self.listener.0.as_bytes());
        out.number(LISTENER_PORT, self.listener.1.into());
        out.record(CLIENT, |out| self.client.write(out));
        if let Some(server) = &self.server {
            out.record(SERVER, |out| server.write(out));
        }
        out.bytes(TEXT, &self.text);
        out.optional(USER, self.user.as_deref());
        let destination = self.destination.map(|address| address.to_string());
        out.optional(DESTINATION, destination.as_deref().map(str::as_bytes));
        let record = out.finish()?;
        Some([MARK, &[VERSION], &record].concat())
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// These bytes are no pair, a damaged one, or one of a newer program.
    pub fn read(bytes: &[u8]) -> Result<Pair, Unreadable> {
        let rest = bytes.strip_prefix(MARK).ok_or(Unreadable::Other)?;
        let (version, record) = rest.split_first().ok_or(Unreadable::Malformed)?;
        if *version > VERSION {
            return Err(Unreadable::Newer {
                version: *version,
                known: VERSION,
            });
        }
        if record.len() > MAX_RECORD {
            return Err(Unreadable::TooLong);
        }
        let (mut listener, mut client, mut server) = ((None, 0), None, None);
        let (mut user, mut destination, mut text) = (None, None, Vec::new());
        for field in Fields::of(record) {
            let field = field?;
            match field.tag {
                LISTENER => listener.0 = Some(field.text()?.to_owned()),
                LISTENER_PORT => listener.1 = field.small()?,
                CLIENT => client = Some(Leg::read(field.fields(), true)?),
                SERVER => server = Some(Leg::read(field.fields(), false)?),
                TEXT => text = field.bytes(),
                USER => user = Some(field.bytes()),
                DESTINATION => destination = Some(parsed(&field)?),
                _ => {}
            }
        }
        Ok(Pair {
            listener: (listener.0.ok_or(Unreadable::Malformed)?, listener.1),
            client: client.ok_or(Unreadable::Malformed)?,
            server,
            user,
            destination,
            text,
        })
    }
}

impl Leg {
    fn write(&self, out: &mut Writer) {
        match &self.address {
            Address::Ip(ip) => out.bytes(ADDRESS, ip.to_string().as_bytes()),
            Address::Local => {}
            Address::Name(name) => out.bytes(ADDRESS, name.as_bytes()),
        }
        out.number(PORT, self.port.into());
        let (capabilities, counted) = match &self.end {
            RestingEnd::Client(rest) => {
                out.number(EOFS_DUE, rest.eofs_due.into());
                (rest.capabilities, &rest.statements)
            }
            RestingEnd::Server(rest) => {
                out.number(OFFERED, rest.really_offered.bits());
                out.number(STATUS, rest.status.bits().into());
                (rest.capabilities, &rest.statements)
            }
        };
        out.number(CAPABILITIES, capabilities.bits());
        if let Some(counted) = counted {
            let mut list = Vec::with_capacity(counted.params.len() * COUNTED_BYTES);
            for (id, params) in &counted.params {
                list.extend_from_slice(&id.to_le_bytes());
                list.extend_from_slice(&params.to_le_bytes());
            }
            out.bytes(COUNTED, &list);
            if let Some(last) = counted.last {
                out.number(LAST, last.into());
            }
        }
        out.number(LEVEL, self.level.into());
        out.number(AGE, millis(self.age));
        out.optional(PLACE, self.place.as_deref());
        if let Some((plugin, nonce)) = &self.login {
            out.bytes(PLUGIN, plugin);
            out.bytes(NONCE, nonce);
        }
        out.number(BYTES_READ, self.bytes.0);
        out.number(BYTES_WRITTEN, self.bytes.1);
        out.number(MAX_PACKET, self.limits.0);
        out.number(MAX_QUEUE, self.limits.1);
        out.number(IDLE_TIMEOUT, millis(self.limits.2));
    }

    fn read(fields: Fields<'_>, is_client: bool) -> Result<Leg, Unreadable> {
        let mut leg = Leg {
            end: RestingEnd::Client(RestingClient {
                capabilities: Capabilities::empty(),
                eofs_due: 0,
                statements: None,
            }),
            address: Address::Local,
            port: 0,
            level: 0,
            age: Duration::ZERO,
            place: None,
            login: None,
            bytes: (0, 0),
            limits: (0, 0, Duration::ZERO),
        };
        let (mut capabilities, mut really_offered) = (Capabilities::empty(), Capabilities::empty());
        let (mut status, mut eofs_due) = (Status::AUTOCOMMIT, 0);
        let (mut counted, mut last) = (None, None);
        let (mut plugin, mut nonce) = (None, None);
        for field in fields {
            let field = field?;
            match field.tag {
                ADDRESS => {
                    let text = field.text()?;
                    let ip = text.parse::<IpAddr>();
                    leg.address = ip.map_or_else(|_| Address::from(text), Address::Ip);
                }
                PORT => leg.port = field.small()?,
                CAPABILITIES => capabilities = Capabilities::from_bits_retain(field.number()?),
                OFFERED => really_offered = Capabilities::from_bits_retain(field.number()?),
                STATUS => status = Status::from_bits_retain(field.small()?),
                EOFS_DUE => eofs_due = field.small()?,
                COUNTED => counted = Some(read_counted(field.value)?),
                LAST => last = Some(field.small()?),
                LEVEL => leg.level = field.small()?,
                AGE => leg.age = Duration::from_millis(field.number()?),
                PLACE => leg.place = Some(field.bytes()),
                PLUGIN => plugin = Some(field.bytes()),
                NONCE => nonce = Some(field.bytes()),
                BYTES_READ => leg.bytes.0 = field.number()?,
                BYTES_WRITTEN => leg.bytes.1 = field.number()?,
                MAX_PACKET => leg.limits.0 = field.number()?,
                MAX_QUEUE => leg.limits.1 = field.number()?,
                IDLE_TIMEOUT => leg.limits.2 = Duration::from_millis(field.number()?),
                _ => {}
            }
        }
        leg.login = plugin.zip(nonce);
        let statements = counted.map(|params| Counted { params, last });
        leg.end = match is_client {
            true => RestingEnd::Client(RestingClient {
                capabilities,
                eofs_due,
                statements,
            }),
            false => RestingEnd::Server(RestingServer {
                capabilities,
                really_offered,
                statements,
                status,
            }),
        };
        Ok(leg)
    }

    /// What was agreed on.
    pub fn capabilities(&self) -> Capabilities {
        match &self.end {
            RestingEnd::Client(rest) => rest.capabilities,
            RestingEnd::Server(rest) => rest.capabilities,
        }
    }
}

fn read_counted(list: &[u8]) -> Result<Vec<(u32, u16)>, Unreadable> {
    let (each, rest) = list.as_chunks::<COUNTED_BYTES>();
    if !rest.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let read = |[i0, i1, i2, i3, p0, p1]: &[u8; COUNTED_BYTES]| {
        let id = u32::from_le_bytes([*i0, *i1, *i2, *i3]);
        (id, u16::from_le_bytes([*p0, *p1]))
    };
    Ok(each.iter().map(read).collect())
}

fn parsed<T: std::str::FromStr>(field: &Field<'_>) -> Result<T, Unreadable> {
    field.text()?.parse().map_err(|_| Unreadable::Malformed)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
