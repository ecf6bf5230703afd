//! The EOF packet.

use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Status};
use bytes::BufMut;

const NAME: &str = "eof";

/// The end of column definitions or rows, where DEPRECATE_EOF is not agreed on.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eof {
    /// How many warnings there are.
    pub warnings: u16,
    /// The server's status.
    pub status: Status,
}

impl Default for Eof {
    fn default() -> Self {
        Self {
            warnings: 0,
            status: Status::AUTOCOMMIT,
        }
    }
}

impl Eof {
    /// The first byte of an EOF.
    pub const HEADER: u8 = 0xFE;
    /// A payload that begins like an EOF but has this many bytes or more is not one.
    pub const LEN_LIMIT: usize = 9;

    /// The status alone; `None` if it is not there, as with a peer before 4.1.
    pub fn peek_status(payload: &[u8]) -> Option<Status> {
        let mut reader = Reader::new(NAME, payload);
        reader.bytes("header and warnings", 3).ok()?;
        reader.u16("status").ok().map(Status::from_bits_retain)
    }

    /// Decodes a payload.
    pub fn decode(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        reader.header(Self::HEADER)?;
        if !capabilities.contains(Capabilities::PROTOCOL_41) {
            reader.finish()?;
            return Ok(Self {
                warnings: 0,
                status: Status::empty(),
            });
        }
        let warnings = reader.u16("warnings")?;
        let status = Status::from_bits_retain(reader.u16("status")?);
        reader.finish()?;
        Ok(Self { warnings, status })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        if capabilities.contains(Capabilities::PROTOCOL_41) {
            out.put_u16_le(self.warnings);
            out.put_u16_le(self.status.bits());
        }
    }
}
