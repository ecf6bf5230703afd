//! The server's greeting.

use crate::wire::values::original::Original;
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Hidden, Put, Status, nonce};
use bytes::BufMut;
use std::fmt;

const NAME: &str = "handshake";

/// The least the second part of the scramble takes, its NUL included.
const PART_2_MIN: usize = 13;

/// The server's greeting: version 10 of the handshake, the only one since MySQL 3.21.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html>,
/// <https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection#initial-handshake-packet>
#[derive(Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Always 10.
    pub protocol_version: u8,
    /// The server's version, as `SELECT VERSION()` would print it.
    pub server_version: Vec<u8>,
    /// The connection's id at the server, for KILL.
    pub thread_id: u32,
    /// The challenge, normally 20 bytes, without its NUL.
    pub scramble: Vec<u8>,
    /// What the server can do, MariaDB's extended bits included. These travel only if
    /// LONG_PASSWORD is clear.
    pub capabilities: Capabilities,
    /// The default collation's id, or its low byte.
    pub character_set: u8,
    /// The server's status.
    pub status: Status,
    /// The plugin the scramble is meant for, if PLUGIN_AUTH is set.
    pub auth_plugin: Option<Vec<u8>>,
    /// See [`Original`].
    pub original: Original,
}

impl fmt::Debug for Handshake {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("protocol_version", &self.protocol_version)
            .field("server_version", &self.server_version)
            .field("thread_id", &self.thread_id)
            .field("scramble", &Hidden(&self.scramble))
            .field("capabilities", &self.capabilities)
            .field("character_set", &self.character_set)
            .field("status", &self.status)
            .field("auth_plugin", &self.auth_plugin)
            .finish_non_exhaustive()
    }
}

impl Default for Handshake {
    /// A greeting with a fresh nonce, for `mysql_native_password`.
    fn default() -> Self {
        Self {
            protocol_version: 10,
            server_version: b"8.0.0-dpm".to_vec(),
            thread_id: 0,
            scramble: nonce().to_vec(),
            capabilities: Capabilities::USUAL,
            character_set: 45,
            status: Status::AUTOCOMMIT,
            auth_plugin: Some(b"mysql_native_password".to_vec()),
            original: Original::default(),
        }
    }
}

impl Handshake {
    /// Decodes a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut packet = Self::parse(payload)?;
        let encode = |out: &mut Vec<u8>| packet.encode_usual(out);
        packet.original = Original::unless_usual(payload, Capabilities::empty(), encode);
        Ok(packet)
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self
            .original
            .still(self, Capabilities::empty(), |bytes, _| Self::parse(bytes))
        {
            Some(bytes) => out.extend_from_slice(bytes),
            None => self.encode_usual(out),
        }
    }

    fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let protocol_version = reader.u8("protocol_version")?;
        if protocol_version != 10 {
            return Err(reader.invalid("protocol_version", "not 10"));
        }
        let server_version = reader.nul_terminated("server_version")?.to_vec();
        let thread_id = reader.u32("thread_id")?;
        let mut scramble = reader.bytes("scramble", 8)?.to_vec();
        reader.u8("filler")?;
        let mut packet = Self {
            protocol_version,
            server_version,
            thread_id,
            scramble: Vec::new(),
            capabilities: Capabilities::from_bits_retain(u64::from(reader.u16("capabilities")?)),
            character_set: 0,
            status: Status::empty(),
            auth_plugin: None,
            original: Original::default(),
        };

        // Servers before 4.1 end here.
        if !reader.is_empty() {
            packet.character_set = reader.u8("character_set")?;
            packet.status = Status::from_bits_retain(reader.u16("status")?);
            let high = reader.u16("capabilities")?;
            let scramble_len = usize::from(reader.u8("scramble length")?);
            reader.bytes("filler", 6)?;
            let extended = reader.u32("extended capabilities")?;
            let low = packet.capabilities.low() | u32::from(high) << 16;
            packet.capabilities = Capabilities::from_halves(low, extended);

            // Clients read the second part if there is one, whatever SECURE_CONNECTION says, and so
            // does this.
            let part_2 = scramble_len.saturating_sub(8).max(PART_2_MIN);
            let part_2 = reader.take(part_2).unwrap_or_else(|| reader.rest());
            scramble.extend_from_slice(part_2.strip_suffix(b"\0").unwrap_or(part_2));
            if packet.capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty() {
                // Without a NUL at some servers: https://bugs.mysql.com/bug.php?id=59453
                packet.auth_plugin = Some(reader.nul_or_end_terminated().to_vec());
            }
        }
        packet.scramble = scramble;
        Ok(packet)
    }

    fn encode_usual(&self, out: &mut Vec<u8>) {
        // The second part's length travels in a byte that counts the first part, too.
        let (part_1, part_2) = self.scramble.split_at(self.scramble.len().min(8));
        let part_2 = part_2.get(..255 - 8 - 1).unwrap_or(part_2);
        let part_2_len = (part_2.len() + 1).max(PART_2_MIN);
        let named = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let low = self.capabilities.low();

        out.put_u8(self.protocol_version);
        out.put_nul_terminated(&self.server_version);
        out.put_u32_le(self.thread_id);
        out.put_slice(part_1);
        out.put_bytes(0, 8 - part_1.len() + 1);
        out.put_u16_le(low as u16);
        out.put_u8(self.character_set);
        out.put_u16_le(self.status.bits());
        out.put_u16_le((low >> 16) as u16);
        // Without a plugin's name there is no length, unless the challenge is longer than clients assume.
        let counted = named || part_2_len > PART_2_MIN;
        out.put_u8(if counted { (8 + part_2_len) as u8 } else { 0 });
        out.put_bytes(0, 6);
        out.put_u32_le(self.capabilities.sendable_extended());
        out.put_slice(part_2);
        out.put_bytes(0, part_2_len - part_2.len());
        if named {
            out.put_nul_terminated(self.auth_plugin.as_deref().unwrap_or_default());
        }
    }
}
