//! The start of the answer to COM_STMT_PREPARE.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError};
use bytes::BufMut;

const NAME: &str = "prepare ok";

/// The start of the answer to COM_STMT_PREPARE. The definitions of the parameters and of the
/// columns follow.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareOk {
    /// The statement's id.
    pub statement_id: u32,
    /// How many columns its result has.
    pub columns: u16,
    /// How many parameters it takes.
    pub params: u16,
    /// How many warnings there are.
    pub warnings: u16,
    /// Whether the definitions follow, which they always do unless OPTIONAL_RESULTSET_METADATA is
    /// agreed on.
    pub definitions: bool,
    /// See [`Original`].
    pub original: Original,
}

impl Default for PrepareOk {
    fn default() -> Self {
        Self {
            statement_id: 0,
            columns: 0,
            params: 0,
            warnings: 0,
            definitions: true,
            original: Original::default(),
        }
    }
}

lossless!(PrepareOk);

impl PrepareOk {
    /// The first byte of the packet.
    pub const HEADER: u8 = 0x00;

    fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        reader.header(Self::HEADER)?;
        let statement_id = reader.u32("statement_id")?;
        let columns = reader.u16("columns")?;
        let params = reader.u16("params")?;
        // The filler and the warnings came with 5.0.
        let mut warnings = 0;
        if reader.take(1).is_some() && !reader.is_empty() {
            warnings = reader.u16("warnings")?;
        }
        let optional = capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let definitions = !optional || reader.is_empty() || reader.u8("definitions")? != 0;
        Ok(Self {
            statement_id,
            columns,
            params,
            warnings,
            definitions,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_u32_le(self.statement_id);
        out.put_u16_le(self.columns);
        out.put_u16_le(self.params);
        out.put_u8(0);
        out.put_u16_le(self.warnings);
        if capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
            out.put_u8(self.definitions.into());
        }
    }
}
