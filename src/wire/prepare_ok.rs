//! The start of the answer to COM_STMT_PREPARE.

use super::original::{Original, lossless};
use super::reader::Reader;
use super::{Capabilities, DecodeError};
use bytes::BufMut;

const NAME: &str = "prepare ok";

/// The start of the answer to COM_STMT_PREPARE. The definitions of the parameters and of the
/// columns follow.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrepareOk {
    /// The statement's id.
    pub statement_id: u32,
    /// How many columns its result has.
    pub columns: u16,
    /// How many parameters it takes.
    pub params: u16,
    /// How many warnings there are.
    pub warnings: u16,
    /// See [`Original`].
    pub original: Original,
}

lossless!(PrepareOk);

impl PrepareOk {
    /// How the packet begins.
    pub const HEADER: u8 = 0x00;

    fn parse(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        reader.header(Self::HEADER)?;
        let statement_id = reader.u32("statement_id")?;
        let columns = reader.u16("columns")?;
        let params = reader.u16("params")?;
        // The filler and the warnings came with 5.0; with OPTIONAL_RESULTSET_METADATA one more
        // byte follows, which clients that did not ask for it ignore.
        let mut warnings = 0;
        if reader.take(1).is_some() && !reader.is_empty() {
            warnings = reader.u16("warnings")?;
        }
        Ok(Self {
            statement_id,
            columns,
            params,
            warnings,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_u8(Self::HEADER);
        out.put_u32_le(self.statement_id);
        out.put_u16_le(self.columns);
        out.put_u16_le(self.params);
        out.put_u8(0);
        out.put_u16_le(self.warnings);
    }
}
