//! What the two processes say to each other.
//!
//! The messages up to the listeners stay as they are for ever, so that any two versions can hand over at least these. Fields
//! that a process does not know are skipped.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::net::{HandedOver, Line, Parcel, Wanted};
use crate::record::{Fields, Unreadable, Writer};

/// The kinds of messages.
pub mod kind {
    /// From the new process: its [`Hello`](super::Hello).
    pub const HELLO: u8 = 1;
    /// From the old one: the same, with its standard input.
    pub const WELCOME: u8 = 2;
    /// From the old one: a listening socket.
    pub const LISTENER: u8 = 3;
    /// From the old one: these were all.
    pub const ALL_LISTENERS: u8 = 4;
    /// From the new one: it can serve.
    pub const SERVING: u8 = 5;
    /// From the old one: it accepts no more clients.
    pub const TAKE_OVER: u8 = 6;
    /// From the new one: how many connections may be on their way at once.
    pub const PULL: u8 = 7;
    /// From the old one: a connection.
    pub const CONNECTION: u8 = 8;
    /// From the new one: it has this connection, and the old one does not have it any more.
    pub const ACKNOWLEDGED: u8 = 9;
    /// From the new one: it does not have this connection.
    pub const REFUSED: u8 = 10;
    /// From the old one: the service manager takes the new process for the service now.
    pub const PROMOTED: u8 = 11;
    /// From the new one: it leaves in order, and takes nothing more.
    pub const FAREWELL: u8 = 12;
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The program's version, for people.
    pub version: String,
    /// The version of how connections are written down: the newest that is read, and the one that is written.
    pub format: u8,
    /// No connection of this process has a higher number, the bits for its worker left out.
    pub last_serial: u32,
}

const VERSION: u8 = 1;
const FORMAT: u8 = 2;
const LAST_SERIAL: u8 = 3;

impl Hello {
    /// Of this program.
    pub fn own(format: u8, last_serial: u32) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format,
            last_serial,
        }
    }

    /// Writes it down.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(VERSION, self.version.as_bytes());
        out.number(FORMAT, self.format.into());
        out.number(LAST_SERIAL, self.last_serial.into());
        out.finish().unwrap_or_default()
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(bytes: &[u8]) -> Result<Hello, Unreadable> {
        let mut hello = Hello::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.tag {
                VERSION => field.text()?.clone_into(&mut hello.version),
                FORMAT => hello.format = field.small()?,
                LAST_SERIAL => hello.last_serial = field.small()?,
                _ => {}
            }
        }
        Ok(hello)
    }
}

const NAME: u8 = 1;
const IP: u8 = 2;
const PORT: u8 = 3;
const PATH: u8 = 4;

/// A listening socket, without the socket.
pub fn write_listener(listener: &HandedOver) -> Vec<u8> {
    let mut out = Writer::default();
    out.optional(NAME, listener.name.as_deref().map(str::as_bytes));
    match &listener.wanted {
        Some(Wanted::Tcp(ip, port)) => {
            out.optional(IP, ip.as_deref().map(str::as_bytes));
            out.number(PORT, (*port).into());
        }
        Some(Wanted::Unix(path)) => out.bytes(PATH, path.as_os_str().as_bytes()),
        None => {}
    }
    out.finish().unwrap_or_default()
}

/// Reads it.
pub fn read_listener(bytes: &[u8], socket: OwnedFd) -> Result<HandedOver, Unreadable> {
    let (mut name, mut ip, mut port, mut path) = (None, None, None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            NAME => name = Some(field.text()?.to_owned()),
            IP => ip = Some(field.text()?.to_owned()),
            PORT => port = Some(field.small()?),
            PATH => path = Some(PathBuf::from(OsStr::from_bytes(field.value))),
            _ => {}
        }
    }
    let tcp = port.map(|port| Wanted::Tcp(ip, port));
    Ok(HandedOver {
        socket,
        wanted: path.map(Wanted::Unix).or(tcp),
        name,
    })
}

/// A connection on its way to the new process.
#[derive(Debug)]
pub struct Carried {
    /// The client's number in the old process.
    pub serial: u32,
    /// What the old process knows of it.
    pub record: Vec<u8>,
    /// The client's socket, and the server's if it has one of its own.
    pub sockets: Vec<OwnedFd>,
}

impl Carried {
    /// Sends it.
    ///
    /// # Errors
    /// The far end is gone, or does not read.
    pub fn send(&self, line: &Line) -> io::Result<()> {
        let content = [&self.serial.to_le_bytes()[..], &self.record].concat();
        let sockets: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        line.send(kind::CONNECTION, &content, &sockets)
    }

    /// What has come; `None` if it is no connection.
    pub fn of(parcel: Parcel) -> Option<Carried> {
        let (serial, record) = parcel.content.split_first_chunk()?;
        Some(Carried {
            serial: u32::from_le_bytes(*serial),
            record: record.to_vec(),
            sockets: parcel.descriptors,
        })
    }
}

/// The number of a connection, and a text behind it.
pub fn about(serial: u32, text: &str) -> Vec<u8> {
    [&serial.to_le_bytes()[..], text.as_bytes()].concat()
}

/// Reads that.
pub fn read_about(bytes: &[u8]) -> Option<(u32, String)> {
    let (serial, text) = bytes.split_first_chunk()?;
    let text = String::from_utf8_lossy(text).into_owned();
    Some((u32::from_le_bytes(*serial), text))
}

/// What a worker is told of an upgrade.
#[derive(Debug)]
pub enum Moving {
    /// Another process serves: connections go there.
    Begins,
    /// So many may be on their way at once.
    Pull(usize),
    /// The other process has it.
    Moved(u32),
    /// The other process does not take it, for this reason.
    Refused(u32, String),
    /// Nothing more goes over.
    Ends,
    /// The service manager takes another process for the service.
    Replaced,
    /// The service manager takes this process for the service.
    Promoted,
    /// This process serves as if there had been no upgrade.
    Failed,
    /// A connection of the process before.
    Arrival(Carried),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_said_is_heard() {
        let hello = Hello::own(7, 8);
        let mut bytes = hello.write();
        bytes.extend_from_slice(&[200, 1, 0, 0, 0, 9]);
        assert_eq!(Hello::read(&bytes), Ok(hello), "a newer field is skipped");
        for (name, wanted) in [
            (None, Some(Wanted::Tcp(Some("127.0.0.1".into()), 0))),
            (Some("a name"), Some(Wanted::Tcp(None, 3306))),
            (None, Some(Wanted::Unix("/a path".into()))),
            (Some("unused"), None),
        ] {
            let socket = || OwnedFd::from(File::open("/dev/null").unwrap());
            let listener = HandedOver {
                socket: socket(),
                wanted: wanted.clone(),
                name: name.map(str::to_owned),
            };
            let read = read_listener(&write_listener(&listener), socket()).unwrap();
            assert_eq!((read.wanted, read.name.as_deref()), (wanted, name));
        }
        assert_eq!(read_about(&about(9, "why")), Some((9, "why".into())));
        assert_eq!(read_about(b"abc"), None);
    }
}
