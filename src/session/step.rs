//! What a session finds out about a packet from its head.

use std::fmt;

use super::event::EventSet;
use crate::wire::Com;

/// How many bytes of a packet's start a session needs, if the packet is that long: the most it
/// reads is an OK packet up to its status flags (1 + 9 + 9 + 2 bytes).
pub const HEAD: usize = 24;

/// The start of a packet.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The length that the first frame announces: the whole payload, if it is under 16 MB.
    pub len: usize,
    /// The first bytes of the payload, at most [`HEAD`].
    pub bytes: &'a [u8],
    /// The sequence number of the first frame.
    pub seq: u8,
}

impl fmt::Debug for Head<'_> {
    /// Without the bytes: those of an auth packet may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("len", &self.len)
            .field("first", &self.first())
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

impl<'a> Head<'a> {
    /// The head of a complete packet.
    pub fn of(payload: &'a [u8]) -> Head<'a> {
        Head {
            len: payload.len(),
            bytes: payload.get(..HEAD).unwrap_or(payload),
            seq: 0,
        }
    }

    /// The prepared statement that a command with this head is about.
    pub fn statement(&self) -> Option<u32> {
        let (com, argument) = self.bytes.split_first()?;
        let id = argument.first_chunk()?;
        Com(*com)
            .names_statement()
            .then_some(u32::from_le_bytes(*id))
    }

    /// The byte that tells most packets apart.
    pub fn first(&self) -> Option<u8> {
        self.bytes.first().copied()
    }
}

/// The kind of a packet: what it decodes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// The server's greeting.
    Handshake,
    /// The client's answer to it.
    Auth,
    /// OK, also as the end of rows (header 0xFE) under CLIENT_DEPRECATE_EOF.
    Ok,
    /// ERR.
    Err,
    /// A command.
    Command,
    /// EOF.
    Eof,
    /// The column count.
    ResultsetHeader,
    /// A column's or a parameter's definition.
    Column,
    /// A row of the text protocol.
    TextRow,
    /// A row of the binary protocol.
    BinaryRow,
    /// The answer to COM_STATISTICS.
    Stats,
    /// A further round of authentication, either way.
    AuthData,
    /// The first packet of the answer to COM_STMT_PREPARE.
    Prepared,
    /// The server asks for a file.
    Infile,
    /// MariaDB's progress report.
    Progress,
    /// A piece of a file from the client, or of a binlog from the server.
    Data,
}

impl PacketKind {
    /// Whether a client may answer after it was sent this packet in a login. What it has sent too
    /// early is processed then.
    pub fn lets_speak(self) -> bool {
        matches!(self, PacketKind::Handshake | PacketKind::AuthData)
    }

    /// The name used in messages: that of the packet's Lua object.
    pub fn name(self) -> &'static str {
        match self {
            PacketKind::Handshake => "handshake",
            PacketKind::Auth => "auth",
            PacketKind::Ok => "ok",
            PacketKind::Err => "err",
            PacketKind::Command => "cmd",
            PacketKind::Eof => "eof",
            PacketKind::ResultsetHeader => "rset",
            PacketKind::Column => "field",
            PacketKind::TextRow | PacketKind::BinaryRow => "row",
            PacketKind::Stats => "stats",
            PacketKind::AuthData => "authdata",
            PacketKind::Prepared => "prepared",
            PacketKind::Infile => "infile",
            PacketKind::Progress => "progress",
            PacketKind::Data => "data",
        }
    }
}

/// What a packet is and what it causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What the packet is.
    pub kind: PacketKind,
    /// The events that fire with this packet.
    pub events: EventSet,
    /// The events that fire after it with a synthesised EOF, which is not on the wire.
    pub synthesised: EventSet,
    /// Whether the exchange that it belongs to is complete.
    pub done: bool,
}

/// A packet that is not allowed at this point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got}")]
pub struct Violation {
    /// What was expected.
    pub expected: &'static str,
    /// What came instead.
    pub got: String,
}

impl Violation {
    /// A violation by the packet with this head.
    pub fn by(expected: &'static str, head: Head<'_>) -> Violation {
        let got = match head.first() {
            Some(first) => format!(
                "a packet of {} bytes that begins with 0x{first:02x}",
                head.len
            ),
            None => "an empty packet".to_string(),
        };
        Violation { expected, got }
    }
}
