//! Decoding of the packets that hooks and observers are shown.

use super::hooks::Incoming;
use crate::session::{Head, PacketKind};
use crate::wire::{
    Auth, Capabilities, Column, Com, Command, DecodeError, Eof, ErrPacket, Handshake, LocalInfile,
    Ok as OkPacket, PrepareOk, Progress, ResultsetHeader, TextRow, query_attributes,
};

/// A decoded packet. Variants with bytes hold the raw payload.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Decoded<'a> {
    /// The server's greeting.
    Handshake(Handshake),
    /// The client's answer to it.
    Auth(Auth),
    /// OK, also as the end of rows.
    Ok(OkPacket),
    /// ERR.
    Err(ErrPacket),
    /// A command.
    Command(Command),
    /// EOF.
    Eof(Eof),
    /// The column count.
    ResultsetHeader(ResultsetHeader),
    /// A column's or a parameter's definition.
    Column(Column),
    /// A row of the text protocol, whose values it iterates over.
    TextRow(TextRow<'a>),
    /// A row of the binary protocol: [`binary_row`](crate::wire::binary_row) decodes it, given the
    /// columns.
    BinaryRow(&'a [u8]),
    /// The answer to COM_STATISTICS.
    Stats(&'a [u8]),
    /// A further round of authentication, either way.
    AuthData(&'a [u8]),
    /// The first packet of the answer to COM_STMT_PREPARE.
    Prepared(PrepareOk),
    /// The server asks for a file.
    Infile(LocalInfile),
    /// MariaDB's progress report.
    Progress(Progress),
    /// A piece of a file from the client, or of a binlog from the server.
    Data(&'a [u8]),
}

impl<'a> Incoming<'a> {
    /// A command that was kept from before.
    pub fn of_command(payload: &'a [u8], capabilities: Capabilities) -> Incoming<'a> {
        Incoming {
            kind: PacketKind::Command,
            payload,
            capabilities,
            answers: None,
            statement: Head::of(payload).statement(),
        }
    }

    /// Decodes the packet.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn decode(&self) -> Result<Decoded<'a>, DecodeError> {
        let (payload, capabilities) = (self.payload, self.capabilities);
        Ok(match self.kind {
            PacketKind::Handshake => Decoded::Handshake(Handshake::decode(payload)?),
            PacketKind::Auth => Decoded::Auth(Auth::decode(payload)?),
            PacketKind::Ok => Decoded::Ok(OkPacket::decode(payload, capabilities)?),
            PacketKind::Err => Decoded::Err(ErrPacket::decode(payload, capabilities)?),
            PacketKind::Command => Decoded::Command(Command::decode(payload, capabilities)?),
            PacketKind::Eof => Decoded::Eof(Eof::decode(payload, capabilities)?),
            PacketKind::ResultsetHeader => {
                Decoded::ResultsetHeader(ResultsetHeader::decode(payload, capabilities)?)
            }
            PacketKind::Column => Decoded::Column(Column::decode(payload, capabilities)?),
            PacketKind::TextRow => Decoded::TextRow(TextRow::new(payload)),
            PacketKind::BinaryRow => Decoded::BinaryRow(payload),
            PacketKind::Stats => Decoded::Stats(payload),
            PacketKind::AuthData => Decoded::AuthData(payload),
            PacketKind::Prepared => Decoded::Prepared(PrepareOk::decode(payload, capabilities)?),
            PacketKind::Infile => Decoded::Infile(LocalInfile::decode(payload, capabilities)?),
            PacketKind::Progress => Decoded::Progress(Progress::decode(payload, capabilities)?),
            PacketKind::Data => Decoded::Data(payload),
        })
    }

    /// Which command it is, if it is one.
    pub fn command(&self) -> Option<Com> {
        match self.kind {
            PacketKind::Command => self.payload.first().map(|com| Com(*com)),
            _ => None,
        }
    }

    /// The SQL of a COM_QUERY or COM_STMT_PREPARE, without the query's attributes.
    pub fn sql(&self) -> Option<&'a [u8]> {
        let argument = self.payload.get(1..)?;
        match self.command()? {
            Com::STMT_PREPARE => Some(argument),
            Com::QUERY if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) => {
                let (_, size) = query_attributes::decode(argument).ok()?;
                argument.get(size..)
            }
            Com::QUERY => Some(argument),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_of_commands() {
        let none = Capabilities::empty();
        let agreed = Capabilities::QUERY_ATTRIBUTES;
        assert_eq!(
            Incoming::of_command(b"\x03SELECT 1", none).sql(),
            Some(&b"SELECT 1"[..])
        );
        assert_eq!(
            Incoming::of_command(b"\x03\0\x01SELECT 1", agreed).sql(),
            Some(&b"SELECT 1"[..])
        );
        assert_eq!(
            Incoming::of_command(b"\x16SELECT ?", agreed).sql(),
            Some(&b"SELECT ?"[..])
        );
        assert_eq!(Incoming::of_command(b"\x0e", none).sql(), None);
        assert_eq!(
            Incoming::of_command(b"\x0e", none).command(),
            Some(Com::PING)
        );
        assert_eq!(Incoming::of_command(b"", none).sql(), None);
        assert_eq!(Incoming::of_command(b"\x03\xfc", agreed).sql(), None);
        let row = Incoming {
            kind: PacketKind::TextRow,
            ..Incoming::of_command(b"\x03one", none)
        };
        assert_eq!(row.sql(), None);
        let Ok(Decoded::TextRow(values)) = row.decode() else {
            panic!("a row is a row");
        };
        let values: Result<Vec<_>, _> = values.collect();
        assert_eq!(values, Ok(vec![Some(&b"one"[..])]));
    }
}
