//! The start of a resultset.

use crate::wire::values::original::{Original, lossless};
use crate::wire::values::reader::Reader;
use crate::wire::{Capabilities, DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "resultset header";

/// The start of a resultset: how many columns it has.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsetHeader {
    /// How many columns there are.
    pub columns: u64,
    /// Whether their definitions follow, which they always do unless one of
    /// [`Capabilities::BARE_RESULTS`] is agreed on.
    pub definitions: bool,
    /// What follows the count, in the answer to the old list commands.
    pub trailing: Vec<u8>,
    /// See [`Original`].
    pub original: Original,
}

impl Default for ResultsetHeader {
    fn default() -> Self {
        Self {
            columns: 0,
            definitions: true,
            trailing: Vec::new(),
            original: Original::default(),
        }
    }
}

lossless!(ResultsetHeader);

impl ResultsetHeader {
    fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let columns = reader.lenenc("columns")?;
        let mut definitions = true;
        if capabilities.intersects(Capabilities::BARE_RESULTS) && !reader.is_empty() {
            definitions = reader.u8("definitions")? != 0;
        }
        let trailing = reader.rest().to_vec();
        Ok(Self {
            columns,
            definitions,
            trailing,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        out.put_lenenc(self.columns);
        if capabilities.intersects(Capabilities::BARE_RESULTS) {
            out.put_u8(self.definitions.into());
        }
        out.put_slice(&self.trailing);
    }
}
