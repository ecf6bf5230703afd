//! The client's answer to the greeting.

use crate::wire::values::original::Original;
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Hidden, Put};
use bytes::BufMut;
use std::fmt;

const NAME: &str = "auth";

/// Unused bytes, the last four of which are MariaDB's extended capabilities.
const FILLER: usize = 19;

/// The client's answer to the greeting (HandshakeResponse41). Its optional fields travel if their
/// flags are set in `capabilities`; one that is missing nevertheless is sent empty, but for a
/// plugin's name at the end of the packet.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_response.html>
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// What the client asks for.
    pub capabilities: Capabilities,
    /// The largest packet the client wants to see.
    pub max_packet_size: u32,
    /// The id of the collation the client wants. This packet has room for its low byte only; there is
    /// more of it in a COM_CHANGE_USER that is read as this.
    pub character_set: u16,
    /// The user's name.
    pub user: Vec<u8>,
    /// The answer to the challenge; empty for an empty password. More than 255 bytes are cut off
    /// unless PLUGIN_AUTH_LENENC_CLIENT_DATA is set.
    pub auth_response: Vec<u8>,
    /// The initial database (CONNECT_WITH_DB).
    pub database: Option<Vec<u8>>,
    /// The plugin that made the answer (PLUGIN_AUTH).
    pub auth_plugin: Option<Vec<u8>>,
    /// Connection attributes (CONNECT_ATTRS): keys and values, without the length before them.
    pub attributes: Option<Vec<u8>>,
    /// The level of compression (ZSTD_COMPRESSION).
    pub zstd_level: Option<u8>,
    /// See [`Original`].
    pub original: Original,
}

impl fmt::Debug for Auth {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("capabilities", &self.capabilities)
            .field("max_packet_size", &self.max_packet_size)
            .field("character_set", &self.character_set)
            .field("user", &self.user)
            .field("auth_response", &Hidden(&self.auth_response))
            .field("database", &self.database)
            .field("auth_plugin", &self.auth_plugin)
            .field("attributes", &self.attributes)
            .field("zstd_level", &self.zstd_level)
            .finish_non_exhaustive()
    }
}

impl Default for Auth {
    /// An answer with an empty user name and an empty password. It asks only for what every client
    /// library understands, so that clients of all kinds can be linked to a server that was logged
    /// in to with it. (Many do not understand PS_MULTI_RESULTS.)
    fn default() -> Self {
        Self {
            capabilities: Capabilities::LONG_PASSWORD
                | Capabilities::LONG_FLAG
                | Capabilities::PROTOCOL_41
                | Capabilities::TRANSACTIONS
                | Capabilities::SECURE_CONNECTION
                | Capabilities::MULTI_STATEMENTS
                | Capabilities::MULTI_RESULTS
                | Capabilities::PLUGIN_AUTH
                | Capabilities::SESSION_TRACK
                | Capabilities::DEPRECATE_EOF,
            max_packet_size: 1 << 24,
            character_set: 45,
            user: Vec::new(),
            auth_response: Vec::new(),
            database: None,
            auth_plugin: Some(b"mysql_native_password".to_vec()),
            attributes: None,
            zstd_level: None,
            original: Original::default(),
        }
    }
}

impl Auth {
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

    /// Sets or takes away the database together with its flag.
    pub fn set_database(&mut self, database: Option<Vec<u8>>) {
        self.capabilities
            .set(Capabilities::CONNECT_WITH_DB, database.is_some());
        self.database = database;
    }

    fn parse(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        if let Some((low, _)) = payload.split_first_chunk()
            && u16::from_le_bytes(*low) & Capabilities::PROTOCOL_41.low() as u16 == 0
        {
            let why = "a HandshakeResponse320, of a client before 4.1";
            return Err(reader.invalid("capabilities", why));
        }
        let low = reader.u32("capabilities")?;
        let max_packet_size = reader.u32("max_packet_size")?;
        let character_set = reader.u8("character_set")?.into();
        reader.bytes("filler", FILLER)?;
        let capabilities = Capabilities::from_halves(low, reader.u32("extended capabilities")?);
        let user = reader.nul_terminated("user")?.to_vec();
        let auth_response = if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC_CLIENT_DATA) {
            reader.lenenc_bytes("auth_response")?
        } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let len = usize::from(reader.u8("auth_response")?);
            reader.bytes("auth_response", len)?
        } else {
            reader.nul_or_end_terminated()
        };

        let mut packet = Self {
            capabilities,
            max_packet_size,
            character_set,
            user,
            auth_response: auth_response.to_vec(),
            database: None,
            auth_plugin: None,
            attributes: None,
            zstd_level: None,
            original: Original::default(),
        };
        // Some clients announce a last field and then leave it, or its NUL, out; servers accept
        // that, and ignore trailing bytes.
        if capabilities.contains(Capabilities::CONNECT_WITH_DB) && !reader.is_empty() {
            packet.database = Some(reader.nul_or_end_terminated().to_vec());
        }
        if capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty() {
            packet.auth_plugin = Some(reader.nul_or_end_terminated().to_vec());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            packet.attributes = Some(reader.lenenc_bytes("attributes")?.to_vec());
        }
        if capabilities.contains(Capabilities::ZSTD_COMPRESSION) && !reader.is_empty() {
            packet.zstd_level = Some(reader.u8("zstd_level")?);
        }
        Ok(packet)
    }

    /// Whether the packet ends where a plugin's name was announced, as some clients' do. MariaDB
    /// takes that for `mysql_native_password`, and an empty name for an unknown plugin.
    fn ends_without_plugin(&self) -> bool {
        self.capabilities.contains(Capabilities::PLUGIN_AUTH)
            && self.auth_plugin.is_none()
            && self.attributes.is_none()
            && !self.capabilities.contains(Capabilities::ZSTD_COMPRESSION)
    }

    fn encode_usual(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.capabilities.low());
        out.put_u32_le(self.max_packet_size);
        out.put_u8(self.character_set as u8);
        out.put_bytes(0, FILLER);
        out.put_u32_le(self.capabilities.sendable_extended());
        out.put_nul_terminated(&self.user);
        if self
            .capabilities
            .contains(Capabilities::PLUGIN_AUTH_LENENC_CLIENT_DATA)
        {
            out.put_lenenc_bytes(&self.auth_response);
        } else if self.capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let fits = self.auth_response.get(..255).unwrap_or(&self.auth_response);
            out.put_u8(fits.len() as u8);
            out.put_slice(fits);
        } else {
            out.put_nul_terminated(&self.auth_response);
        }
        if self.capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            out.put_nul_terminated(self.database.as_deref().unwrap_or_default());
        }
        if self.ends_without_plugin() {
            return;
        }
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            out.put_nul_terminated(self.auth_plugin.as_deref().unwrap_or_default());
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            out.put_lenenc_bytes(self.attributes.as_deref().unwrap_or_default());
        }
        if self.capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            out.put_u8(self.zstd_level.unwrap_or(3));
        }
    }
}
