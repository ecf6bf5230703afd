//! The answer to COM_STATISTICS.

use crate::wire::{Capabilities, DecodeError};

/// The answer to COM_STATISTICS: bare text.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_statistics.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats(pub Vec<u8>);

impl Stats {
    /// Decodes a payload; there is nothing that could go wrong.
    pub fn decode(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        Ok(Self(payload.to_vec()))
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}
