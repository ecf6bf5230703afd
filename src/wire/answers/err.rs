//! The ERR packet.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError};
use bytes::BufMut;

const NAME: &str = "err";

/// Failure, or one of MariaDB's progress reports, which has the form of an ERR.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrPacket {
    /// The error's number.
    pub errnum: u16,
    /// The SQLSTATE. An error in place of the greeting has none, as nothing is agreed on by then.
    /// It is read wherever it is, but sent only under PROTOCOL_41.
    pub sqlstate: Option<[u8; 5]>,
    /// Human-readable information.
    pub message: Vec<u8>,
    /// See [`Original`].
    pub original: Original,
}

impl Default for ErrPacket {
    /// ER_UNKNOWN_ERROR.
    fn default() -> Self {
        Self {
            errnum: 1105,
            sqlstate: Some(*b"HY000"),
            message: b"Unknown error".to_vec(),
            original: Original::default(),
        }
    }
}

lossless!(ErrPacket);

impl ErrPacket {
    /// The first byte of an ERR.
    pub const HEADER: u8 = 0xFF;
    /// The number of MariaDB's progress reports, which end nothing.
    pub const PROGRESS: u16 = 0xFFFF;

    /// An error of one's own.
    pub fn new(errnum: u16, sqlstate: &[u8; 5], message: String) -> Self {
        Self {
            errnum,
            sqlstate: Some(*sqlstate),
            message: message.into_bytes(),
            original: Original::default(),
        }
    }

    /// Whether this is one of MariaDB's progress reports, after which the answer goes on.
    pub const fn is_progress_report(&self) -> bool {
        self.errnum == Self::PROGRESS
    }

    fn parse(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        reader.header(Self::HEADER)?;
        let errnum = reader.u16("errnum")?;
        let mut sqlstate = None;
        if let [b'#', rest @ ..] = reader.peek()
            && let Some((state, message)) = rest.split_first_chunk::<5>()
            && state.iter().all(u8::is_ascii_alphanumeric)
        {
            sqlstate = Some(*state);
            reader = Reader::new(NAME, message);
        }
        let message = reader.rest().to_vec();
        Ok(Self {
            errnum,
            sqlstate,
            message,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_u16_le(self.errnum);
        if let Some(sqlstate) = &self.sqlstate
            && capabilities.contains(Capabilities::PROTOCOL_41)
        {
            out.put_u8(b'#');
            out.put_slice(sqlstate);
        }
        out.put_slice(&self.message);
    }
}
