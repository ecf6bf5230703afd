//! The start of a resultset.

use super::original::{Original, lossless};
use super::reader::Reader;
use super::{Capabilities, DecodeError, Put};
use bytes::BufMut;

const NAME: &str = "resultset header";

/// The start of a resultset: how many columns it has.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResultsetHeader {
    /// How many columns follow.
    pub columns: u64,
    /// What follows the count, in the answer to the old list commands.
    pub trailing: Vec<u8>,
    /// See [`Original`].
    pub original: Original,
}

lossless!(ResultsetHeader);

impl ResultsetHeader {
    fn parse(payload: &[u8], _: Capabilities) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(NAME, payload);
        let columns = reader.lenenc("columns")?;
        let trailing = reader.rest().to_vec();
        Ok(Self {
            columns,
            trailing,
            original: Original::default(),
        })
    }

    fn encode_usual(&self, _: Capabilities, out: &mut Vec<u8>) {
        out.put_lenenc(self.columns);
        out.put_slice(&self.trailing);
    }
}
