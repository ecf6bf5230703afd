//! The client's request to continue under TLS.

use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError};
use bytes::BufMut;

const NAME: &str = "ssl request";

/// The client's request to continue under TLS: the start of its handshake response, sent before the
/// handshake response itself.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_ssl_request.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SslRequest {
    /// What the client asks for; SSL is among it.
    pub capabilities: Capabilities,
    /// The largest packet the client wants to see.
    pub max_packet_size: u32,
    /// The id of the collation the client wants, or its low byte.
    pub character_set: u8,
    /// Zeros, ahead of MariaDB's extended capabilities, which count only if LONG_PASSWORD is
    /// clear.
    pub filler: [u8; 23],
}

impl SslRequest {
    /// The length of the payload.
    pub const LEN: usize = 32;

    /// Whether the first packet of a client is this one rather than a whole response.
    pub fn matches(payload: &[u8]) -> bool {
        Self::decode(payload).is_ok()
    }

    /// Decodes a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let low = reader.u32("capabilities")?;
        let max_packet_size = reader.u32("max_packet_size")?;
        let character_set = reader.u8("character_set")?;
        let filler: [u8; 23] = reader.array("filler")?;
        let extended = filler
            .last_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let capabilities = Capabilities::from_halves(low, extended);
        if !capabilities.contains(Capabilities::SSL) {
            return Err(reader.invalid("capabilities", "SSL is not among them"));
        }
        reader.finish()?;
        Ok(Self {
            capabilities,
            max_packet_size,
            character_set,
            filler,
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.capabilities.low());
        out.put_u32_le(self.max_packet_size);
        out.put_u8(self.character_set);
        let mut filler = self.filler;
        if let Some(last) = filler.last_chunk_mut()
            && !self.capabilities.contains(Capabilities::LONG_PASSWORD)
        {
            *last = self.capabilities.extended().to_le_bytes();
        }
        out.put_slice(&filler);
    }
}
