//! The server's answer to LOAD DATA LOCAL.

use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError};
use bytes::BufMut;

const NAME: &str = "local infile";

/// The server asks the client for a file.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_local_infile_request.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalInfile {
    /// The file's name.
    pub filename: Vec<u8>,
}

impl LocalInfile {
    /// The first byte of the packet.
    pub const HEADER: u8 = 0xFB;

    /// Decodes a payload.
    pub fn decode(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        reader.header(Self::HEADER)?;
        Ok(Self {
            filename: reader.rest().to_vec(),
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_slice(&self.filename);
    }
}
