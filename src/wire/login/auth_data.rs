//! Packets of the later rounds of authentication.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Hidden, Put};
use bytes::BufMut;
use std::fmt;

/// The server asks for an answer by another plugin.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_switch_request.html>,
/// and for the bare form, which asks for the password of before 4.1,
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_old_auth_switch_request.html>
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AuthSwitch {
    /// The plugin's name.
    pub plugin: Vec<u8>,
    /// Data for the plugin, normally a scramble and a NUL.
    pub data: Vec<u8>,
    /// See [`Original`].
    pub original: Original,
}

impl fmt::Debug for AuthSwitch {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSwitch")
            .field("plugin", &self.plugin)
            .field("data", &Hidden(&self.data))
            .finish_non_exhaustive()
    }
}

lossless!(AuthSwitch);

impl AuthSwitch {
    /// The first byte of the packet.
    pub const HEADER: u8 = 0xFE;

    /// The scramble, without its NUL.
    pub fn scramble(&self) -> &[u8] {
        self.data.strip_suffix(b"\0").unwrap_or(&self.data)
    }

    fn parse(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("auth switch", payload);
        reader.header(Self::HEADER)?;
        let plugin = match reader.is_empty() {
            true => b"mysql_old_password",
            false => reader.nul_or_end_terminated(),
        };
        let data = reader.rest().to_vec();
        Ok(Self {
            plugin: plugin.to_vec(),
            data,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_nul_terminated(&self.plugin);
        out.put_slice(&self.data);
    }
}

/// More data from the server for the client's plugin.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_auth_more_data.html>
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AuthMoreData {
    /// Data for the plugin.
    pub data: Vec<u8>,
}

impl fmt::Debug for AuthMoreData {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthMoreData")
            .field("data", &Hidden(&self.data))
            .finish_non_exhaustive()
    }
}

impl AuthMoreData {
    /// The first byte of the packet.
    pub const HEADER: u8 = 0x01;

    /// Decodes a payload.
    pub fn decode(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("auth more data", payload);
        reader.header(Self::HEADER)?;
        Ok(Self {
            data: reader.rest().to_vec(),
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_slice(&self.data);
    }
}
