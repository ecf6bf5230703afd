//! What a client asks for.

use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, Com, DecodeError, Hidden, query_attributes};
use bytes::{BufMut, Bytes};
use std::fmt;

const NAME: &str = "command";

/// Under QUERY_ATTRIBUTES a COM_QUERY without attributes still begins with these two counts.
const NO_ATTRIBUTES: [u8; 2] = [0, 1];

/// A client's command.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Which command.
    pub com: Com,
    /// All that follows: for COM_QUERY the SQL alone.
    pub argument: Bytes,
    /// The attributes of a COM_QUERY as they travel, see [`query_attributes`]; empty if there are
    /// none. They are sent only where QUERY_ATTRIBUTES is agreed on.
    pub attributes: Bytes,
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
            attributes: Bytes::new(),
        }
    }
}

impl Command {
    /// Decodes a payload.
    pub fn decode(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let com = Com(reader.u8("command")?);
        let mut attributes = &[][..];
        if com == Com::QUERY && capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            let (_, size) = query_attributes::decode(reader.peek())?;
            attributes = reader.bytes("attributes", size)?;
            if attributes == NO_ATTRIBUTES {
                attributes = &[];
            }
        }
        Ok(Self {
            com,
            argument: Bytes::copy_from_slice(reader.rest()),
            attributes: Bytes::copy_from_slice(attributes),
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(self.com.0);
        if self.com == Com::QUERY && capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            match self.attributes.is_empty() {
                true => out.put_slice(&NO_ATTRIBUTES),
                false => out.put_slice(&self.attributes),
            }
        }
        out.put_slice(&self.argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_of_a_query_is_the_sql_alone() {
        let agreed = Capabilities::QUERY_ATTRIBUTES;
        for attributes in [&b""[..], b"\x01\x01\0\x01\xfe\0\x01n\x01v"] {
            let written: &[u8] = match attributes {
                b"" => &NO_ATTRIBUTES,
                attributes => attributes,
            };
            let payload = [b"\x03", written, b"SELECT 1"].concat();
            let command = Command::decode(&payload, agreed).unwrap();
            assert_eq!(&command.argument[..], b"SELECT 1");
            assert_eq!(&command.attributes[..], attributes);
            let mut out = Vec::new();
            command.encode(agreed, &mut out);
            assert_eq!(out, payload);
            out.clear();
            command.encode(Capabilities::empty(), &mut out);
            assert_eq!(out, b"\x03SELECT 1");
        }
        let ping = Command::decode(b"\x0e", agreed).unwrap();
        assert!(ping.argument.is_empty());
    }
}
