//! The OK packet.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Put, Status};
use bytes::BufMut;

const NAME: &str = "ok";

/// Success, or, under DEPRECATE_EOF and with another header, the end of rows.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ok {
    /// [`Ok::HEADER`], or [`Ok::HEADER_EOF`] at the end of rows.
    pub header: u8,
    /// Affected rows.
    pub affected_rows: u64,
    /// The last insert id.
    pub insert_id: u64,
    /// The server's status.
    pub status: Status,
    /// How many warnings there are.
    pub warnings: u16,
    /// Human-readable information.
    pub message: Vec<u8>,
    /// Changes of the session's state, as a list of blocks. They travel under SESSION_TRACK if
    /// the status says SESSION_STATE_CHANGED.
    pub session_changes: Option<Vec<u8>>,
    /// See [`Original`].
    pub original: Original,
}

impl Default for Ok {
    fn default() -> Self {
        Self {
            header: Self::HEADER,
            affected_rows: 0,
            insert_id: 0,
            status: Status::AUTOCOMMIT,
            warnings: 0,
            message: Vec::new(),
            session_changes: None,
            original: Original::default(),
        }
    }
}

lossless!(Ok);

impl Ok {
    /// The first byte of an OK.
    pub const HEADER: u8 = 0x00;
    /// The first byte of an OK that stands for EOF.
    pub const HEADER_EOF: u8 = 0xFE;

    /// The status alone, from the first bytes of a payload: at most 21 of them are looked at.
    /// `None` if it is not there, as with a peer before 4.1 that has no transactions.
    pub fn peek_status(payload: &[u8]) -> Option<Status> {
        let mut reader = Reader::new(NAME, payload);
        reader.u8("header").ok()?;
        reader.lenenc("affected_rows").ok()?;
        reader.lenenc("insert_id").ok()?;
        reader.u16("status").ok().map(Status::from_bits_retain)
    }

    /// The rows that were changed, alone, likewise.
    pub fn peek_affected_rows(payload: &[u8]) -> Option<u64> {
        let mut reader = Reader::new(NAME, payload);
        reader.u8("header").ok()?;
        reader.lenenc("affected_rows").ok()
    }

    fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let header = reader.u8("header")?;
        if header != Self::HEADER && header != Self::HEADER_EOF {
            return Err(reader.invalid("header", "another kind of packet"));
        }
        let affected_rows = reader.lenenc("affected_rows")?;
        let insert_id = reader.lenenc("insert_id")?;
        let mut status = Status::empty();
        let mut warnings = 0;
        if capabilities.contains(Capabilities::PROTOCOL_41) {
            status = Status::from_bits_retain(reader.u16("status")?);
            warnings = reader.u16("warnings")?;
        } else if capabilities.contains(Capabilities::TRANSACTIONS) {
            status = Status::from_bits_retain(reader.u16("status")?);
        }

        let mut message = &[][..];
        let mut session_changes = None;
        if reader.is_empty() {
            // Servers leave out an empty message if nothing follows it.
        } else if capabilities.contains(Capabilities::SESSION_TRACK) {
            message = reader.lenenc_bytes("message")?;
            if status.contains(Status::SESSION_STATE_CHANGED) && !reader.is_empty() {
                session_changes = Some(reader.lenenc_bytes("session_changes")?.to_vec());
            }
            // Clients ignore what trails.
        } else {
            message = untracked_message(&reader);
        }
        Ok(Self {
            header,
            affected_rows,
            insert_id,
            status,
            warnings,
            message: message.to_vec(),
            session_changes,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(self.header);
        out.put_lenenc(self.affected_rows);
        out.put_lenenc(self.insert_id);
        if capabilities.contains(Capabilities::PROTOCOL_41) {
            out.put_u16_le(self.status.bits());
            out.put_u16_le(self.warnings);
        } else if capabilities.contains(Capabilities::TRANSACTIONS) {
            out.put_u16_le(self.status.bits());
        }
        let changed = capabilities.contains(Capabilities::SESSION_TRACK)
            && self.status.contains(Status::SESSION_STATE_CHANGED);
        if changed || !self.message.is_empty() {
            out.put_lenenc_bytes(&self.message);
        }
        if changed {
            out.put_lenenc_bytes(self.session_changes.as_deref().unwrap_or_default());
        }
    }
}

/// The message without SESSION_TRACK. According to the documentation it is the rest of the packet,
/// but servers put its length before it all the same, and clients skip the length.
fn untracked_message<'a>(reader: &Reader<'a>) -> &'a [u8] {
    let mut attempt = reader.clone();
    match attempt.lenenc_bytes("message") {
        Ok(message) if attempt.is_empty() => message,
        _ => reader.peek(),
    }
}
