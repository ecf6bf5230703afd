//! What can be sent.

use std::fmt;

use crate::session::PacketKind;
use crate::wire::{
    Auth, Column, Com, Command, Eof, ErrPacket, Handshake, LocalInfile, Ok as OkPacket, PrepareOk,
    Progress, ResultsetHeader,
};

/// A packet to be sent. Variants with bytes hold the raw payload.
#[derive(Clone, Copy)]
pub enum Packet<'a> {
    /// The greeting, to a client.
    Handshake(&'a Handshake),
    /// The login, to a server.
    Auth(&'a Auth),
    /// OK, to a client.
    Ok(&'a OkPacket),
    /// ERR, to a client.
    Err(&'a ErrPacket),
    /// EOF, to a client.
    Eof(&'a Eof),
    /// A command, to a server.
    Command(&'a Command),
    /// A command as it is on the wire, to a server; not COM_CHANGE_USER, which is a login.
    EncodedCommand(&'a [u8]),
    /// The column count, to a client.
    ResultsetHeader(&'a ResultsetHeader),
    /// A column's definition, to a client.
    Column(&'a Column),
    /// A row, to a client.
    Row(&'a [u8]),
    /// The answer to COM_STATISTICS, to a client.
    Stats(&'a [u8]),
    /// A round of authentication, either way.
    AuthData(&'a [u8]),
    /// The first packet of the answer to COM_STMT_PREPARE, to a client.
    Prepared(&'a PrepareOk),
    /// The request for a file, to a client.
    Infile(&'a LocalInfile),
    /// How far a command has come, to a client.
    Progress(&'a Progress),
    /// A piece of a file to a server, or of a binlog to a client.
    Data(&'a [u8]),
}

impl fmt::Debug for Packet<'_> {
    /// The kind only, since the contents may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packet").field(&self.kind()).finish()
    }
}

impl Packet<'_> {
    /// The kind of packet.
    pub fn kind(&self) -> PacketKind {
        match self {
            Packet::Handshake(_) => PacketKind::Handshake,
            Packet::Auth(_) => PacketKind::Auth,
            Packet::Ok(_) => PacketKind::Ok,
            Packet::Err(_) => PacketKind::Err,
            Packet::Eof(_) => PacketKind::Eof,
            Packet::Command(_) | Packet::EncodedCommand(_) => PacketKind::Command,
            Packet::ResultsetHeader(_) => PacketKind::ResultsetHeader,
            Packet::Column(_) => PacketKind::Column,
            Packet::Row(_) => PacketKind::TextRow,
            Packet::Stats(_) => PacketKind::Stats,
            Packet::AuthData(_) => PacketKind::AuthData,
            Packet::Prepared(_) => PacketKind::Prepared,
            Packet::Infile(_) => PacketKind::Infile,
            Packet::Progress(_) => PacketKind::Progress,
            Packet::Data(_) => PacketKind::Data,
        }
    }

    /// The length of those packets that can be of any length.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Packet::Command(command) => Some(command.argument.len()),
            Packet::Row(bytes)
            | Packet::Stats(bytes)
            | Packet::AuthData(bytes)
            | Packet::Data(bytes)
            | Packet::EncodedCommand(bytes) => Some(bytes.len()),
            _ => None,
        }
    }

    /// The command that it is, and its argument: of a query without attributes the SQL.
    pub fn command(&self) -> Option<(Com, &[u8])> {
        match self {
            Packet::Command(command) => Some((command.com, &command.argument)),
            Packet::EncodedCommand(bytes) => {
                let (com, argument) = bytes.split_first()?;
                Some((Com(*com), argument))
            }
            _ => None,
        }
    }
}
