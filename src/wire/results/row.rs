//! Rows of the text protocol.

use crate::wire::values::reader::Reader;
use crate::wire::{DecodeError, Put, lenenc};
use bytes::BufMut;

const NAME: &str = "row";

/// The values of a row of the text protocol, one after the other; SQL NULL is `None`. It ends
/// with the payload, or behind the first error.
///
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html>
#[derive(Debug, Clone)]
pub struct TextRow<'a> {
    reader: Reader<'a>,
}

impl<'a> TextRow<'a> {
    /// The values of the row in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(NAME, payload),
        }
    }
}

impl<'a> Iterator for TextRow<'a> {
    type Item = Result<Option<&'a [u8]>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.peek().first()? {
            &lenenc::NULL => {
                self.reader.take(1)?;
                Some(Ok(None))
            }
            _ => {
                let value = self.reader.lenenc_bytes("value");
                if value.is_err() {
                    self.reader.rest();
                }
                Some(value.map(Some))
            }
        }
    }
}

/// Appends a row of the text protocol to `out`.
pub fn encode<'a>(values: impl Iterator<Item = Option<&'a [u8]>>, out: &mut Vec<u8>) {
    for value in values {
        match value {
            None => out.put_u8(lenenc::NULL),
            Some(value) => out.put_lenenc_bytes(value),
        }
    }
}
