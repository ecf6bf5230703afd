//! What a client asks for.

use super::reader::Reader;
use super::{Capabilities, Com, DecodeError, Hidden};
use bytes::{BufMut, Bytes};
use std::fmt;

const NAME: &str = "command";

/// A client's command.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Which command.
    pub com: Com,
    /// All that follows: for COM_QUERY the SQL.
    pub argument: Bytes,
}

impl fmt::Debug for Command {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("com", &self.com)
            .field("argument", &Hidden(&self.argument))
            .finish_non_exhaustive()
    }
}

impl Default for Command {
    fn default() -> Self {
        Self {
            com: Com::QUERY,
            argument: Bytes::new(),
        }
    }
}

impl Command {
    /// Decodes a payload.
    pub fn decode(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let com = Com(reader.u8("command")?);
        Ok(Self {
            com,
            argument: Bytes::copy_from_slice(reader.rest()),
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(self.com.0);
        out.put_slice(&self.argument);
    }
}
