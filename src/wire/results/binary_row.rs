//! Rows of the binary protocol, which answer COM_STMT_EXECUTE and COM_STMT_FETCH.
//!
//! Values are decoded to, and encoded from, the text that the text protocol would have for them, so
//! that code that handles rows need not care which protocol they came by.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html>

use crate::wire::values::float_text;
use crate::wire::values::reader::Reader;
use crate::wire::values::temporal::{DateTime, Time};
use crate::wire::vocabulary::column_type::column_flags;
use crate::wire::{Column, ColumnType, DecodeError, Put};
use bytes::BufMut;
use std::borrow::Cow;

const NAME: &str = "binary row";

/// The part of a column's definition that decides how its values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinaryColumn {
    /// The type.
    pub column_type: ColumnType,
    /// See [`column_flags`].
    pub flags: u16,
    /// Digits behind the point; 31 if they vary.
    pub decimals: u8,
    /// The most bytes a value takes as text.
    pub length: u32,
}

impl From<&Column> for BinaryColumn {
    fn from(column: &Column) -> Self {
        let &Column {
            column_type,
            flags,
            decimals,
            length,
            ..
        } = column;
        Self {
            column_type,
            flags,
            decimals,
            length,
        }
    }
}

/// Why values could not be encoded as a row of the binary protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value does not fit its column's type.
    #[error("binary row: column {column}: the text does not fit {}", column_type.name())]
    Unfit {
        /// The column, counted from 1.
        column: usize,
        /// Its type.
        column_type: ColumnType,
    },
    /// There are more or fewer values than columns.
    #[error("binary row: {values} values for {columns} columns")]
    Count {
        /// How many values there are, at least.
        values: usize,
        /// How many columns there are.
        columns: usize,
    },
}

/// The values of a row as text; SQL NULL is `None`.
pub fn decode<'a>(
    payload: &'a [u8],
    columns: &[BinaryColumn],
) -> Result<Vec<Option<Cow<'a, [u8]>>>, DecodeError> {
    let mut reader = Reader::new(NAME, payload);
    reader.header(0)?;
    // The bitmap's first two bits are not in use.
    let nulls = reader.bytes("null bitmap", (columns.len() + 9) / 8)?;
    let values = columns
        .iter()
        .enumerate()
        .map(|(i, column)| match nulls.get((i + 2) / 8) {
            Some(bits) if bits >> ((i + 2) % 8) & 1 == 1 => Ok(None),
            _ => column.decode(&mut reader).map(Some),
        })
        .collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(values)
}

/// Appends a row of the binary protocol to `out`; nothing, if it fails.
pub fn encode<'a>(
    values: impl Iterator<Item = Option<&'a [u8]>>,
    columns: &[BinaryColumn],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = append(values, columns, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append<'a>(
    mut values: impl Iterator<Item = Option<&'a [u8]>>,
    columns: &[BinaryColumn],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    out.put_u8(0);
    let nulls = out.len();
    out.put_bytes(0, (columns.len() + 9) / 8);
    for (i, column) in columns.iter().enumerate() {
        let wrong_count = EncodeError::Count {
            values: i,
            columns: columns.len(),
        };
        match values.next().ok_or(wrong_count)? {
            Some(text) => column.encode(text, out).ok_or(EncodeError::Unfit {
                column: i + 1,
                column_type: column.column_type,
            })?,
            None => {
                if let Some(bits) = out.get_mut(nulls + (i + 2) / 8) {
                    *bits |= 1 << ((i + 2) % 8);
                }
            }
        }
    }
    match values.next() {
        None => Ok(()),
        Some(_) => Err(EncodeError::Count {
            values: columns.len() + 1,
            columns: columns.len(),
        }),
    }
}

impl BinaryColumn {
    const fn is_unsigned(&self) -> bool {
        self.flags & column_flags::UNSIGNED != 0
    }

    fn decode<'a>(&self, reader: &mut Reader<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
        const FIELD: &str = "value";
        let text = match self.column_type {
            ColumnType::TINY if self.is_unsigned() => self.padded(reader.u8(FIELD)?),
            ColumnType::TINY => self.padded(reader.u8(FIELD)?.cast_signed()),
            ColumnType::SHORT if self.is_unsigned() => self.padded(reader.u16(FIELD)?),
            ColumnType::SHORT => self.padded(reader.u16(FIELD)?.cast_signed()),
            ColumnType::LONG | ColumnType::INT24 if self.is_unsigned() => {
                self.padded(reader.u32(FIELD)?)
            }
            ColumnType::LONG | ColumnType::INT24 => self.padded(reader.u32(FIELD)?.cast_signed()),
            ColumnType::LONGLONG if self.is_unsigned() => self.padded(reader.u64(FIELD)?),
            ColumnType::LONGLONG => self.padded(reader.u64(FIELD)?.cast_signed()),
            ColumnType::YEAR => {
                let width = if self.length == 2 { 2 } else { 4 };
                format!("{:0width$}", reader.u16(FIELD)?)
            }
            ColumnType::FLOAT => {
                let value = f32::from_bits(reader.u32(FIELD)?);
                self.padded(float_text::float(value, self.decimals))
            }
            ColumnType::DOUBLE => {
                let value = f64::from_bits(reader.u64(FIELD)?);
                self.padded(float_text::double(value, self.decimals))
            }
            ColumnType::DATE
            | ColumnType::NEWDATE
            | ColumnType::DATETIME
            | ColumnType::TIMESTAMP => {
                DateTime::decode(reader)?.text(self.column_type, self.decimals)
            }
            ColumnType::TIME => Time::decode(reader)?.text(self.decimals),
            ColumnType::NULL => return Err(reader.invalid(FIELD, "NULL is not marked as such")),
            _ => return reader.lenenc_bytes(FIELD).map(Cow::Borrowed),
        };
        Ok(Cow::Owned(text.into_bytes()))
    }

    fn encode(&self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let number = || str::from_utf8(text).ok();
        match self.column_type {
            ColumnType::TINY if self.is_unsigned() => out.put_u8(number()?.parse().ok()?),
            ColumnType::TINY => out.put_i8(number()?.parse().ok()?),
            ColumnType::SHORT if self.is_unsigned() => out.put_u16_le(number()?.parse().ok()?),
            ColumnType::SHORT => out.put_i16_le(number()?.parse().ok()?),
            ColumnType::LONG | ColumnType::INT24 if self.is_unsigned() => {
                out.put_u32_le(number()?.parse().ok()?);
            }
            ColumnType::LONG | ColumnType::INT24 => out.put_i32_le(number()?.parse().ok()?),
            ColumnType::LONGLONG if self.is_unsigned() => {
                out.put_u64_le(number()?.parse().ok()?);
            }
            ColumnType::LONGLONG => out.put_i64_le(number()?.parse().ok()?),
            ColumnType::YEAR => out.put_u16_le(number()?.parse().ok()?),
            ColumnType::FLOAT => {
                let value: f32 = number()?.parse().ok()?;
                value.is_finite().then(|| out.put_f32_le(value))?;
            }
            ColumnType::DOUBLE => {
                let value: f64 = number()?.parse().ok()?;
                value.is_finite().then(|| out.put_f64_le(value))?;
            }
            ColumnType::DATE
            | ColumnType::NEWDATE
            | ColumnType::DATETIME
            | ColumnType::TIMESTAMP => DateTime::parse(number()?)?.encode(out),
            ColumnType::TIME => Time::parse(number()?)?.encode(out),
            ColumnType::NULL => return None,
            _ => out.put_lenenc_bytes(text),
        }
        Some(())
    }

    /// A number's text, with zeros before it if the column is ZEROFILL.
    fn padded(&self, number: impl ToString) -> String {
        let text = number.to_string();
        if self.flags & column_flags::ZEROFILL == 0 {
            return text;
        }
        // No number's width is larger; the length is whatever the server says.
        let width = self.length.min(255) as usize;
        format!("{text:0>width$}")
    }
}

#[cfg(test)]
mod tests;
