//! The value of a statement's parameter, as COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE send it.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html>

use crate::wire::values::float_text;
use crate::wire::values::reader::Reader;
use crate::wire::values::temporal::{DateTime, Time};
use crate::wire::{ColumnType, DecodeError, Put};
use bytes::BufMut;
use std::fmt;

/// The type that a client has bound to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamType {
    /// The type.
    pub column_type: ColumnType,
    /// Whether an integer is unsigned.
    pub unsigned: bool,
}

/// A parameter's value.
#[derive(Clone, PartialEq)]
pub enum ParamValue {
    /// SQL's NULL.
    Null,
    /// Not in this packet: it was sent before, by COM_STMT_SEND_LONG_DATA.
    LongData,
    /// The column's default. Bulk executes only.
    Default,
    /// The column is left as it is. Bulk executes only.
    Ignore,
    /// An integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A FLOAT.
    Float(f32),
    /// A DOUBLE.
    Double(f64),
    /// Anything else: strings and decimals as they are, dates and times as the text protocol
    /// prints them.
    Bytes(Vec<u8>),
}

/// Why values could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// A value does not fit the type it was given.
    #[error("parameter {param}: {what} does not fit {}{}", unsigned(param_type), param_type.column_type.name())]
    Unfit {
        /// The parameter, counted from 1.
        param: usize,
        /// What it was to hold.
        what: String,
        /// Its type.
        param_type: ParamType,
    },
    /// The packet cannot hold this; the text says why.
    #[error("{0}")]
    Impossible(&'static str),
}

fn unsigned(param_type: &ParamType) -> &'static str {
    match param_type.unsigned {
        true => "unsigned ",
        false => "",
    }
}

impl ParamType {
    /// Signed, or whatever has no sign.
    pub const fn new(column_type: ColumnType) -> Self {
        Self {
            column_type,
            unsigned: false,
        }
    }

    /// From the two bytes on the wire.
    pub(in crate::wire) const fn from_bytes([code, flags]: [u8; 2]) -> Self {
        Self {
            column_type: ColumnType(code),
            unsigned: flags & 0x80 != 0,
        }
    }

    pub(in crate::wire) const fn to_bytes(self) -> [u8; 2] {
        [self.column_type.0, (self.unsigned as u8) << 7]
    }

    /// A type that holds the value as it is.
    pub const fn of(value: &ParamValue) -> Self {
        let (column_type, unsigned) = match value {
            ParamValue::Null => (ColumnType::NULL, false),
            ParamValue::Signed(_) => (ColumnType::LONGLONG, false),
            ParamValue::Unsigned(_) => (ColumnType::LONGLONG, true),
            ParamValue::Float(_) => (ColumnType::FLOAT, false),
            ParamValue::Double(_) => (ColumnType::DOUBLE, false),
            ParamValue::LongData => (ColumnType::LONG_BLOB, false),
            ParamValue::Default | ParamValue::Ignore | ParamValue::Bytes(_) => {
                (ColumnType::VAR_STRING, false)
            }
        };
        Self {
            column_type,
            unsigned,
        }
    }

    /// Reads a value that is there.
    pub(in crate::wire) fn decode(
        self,
        reader: &mut Reader<'_>,
    ) -> Result<ParamValue, DecodeError> {
        const FIELD: &str = "value";
        let signed = |value: i64| Ok(ParamValue::Signed(value));
        let unsigned = |value: u64| Ok(ParamValue::Unsigned(value));
        let text = |text: String| Ok(ParamValue::Bytes(text.into_bytes()));
        match self.column_type {
            ColumnType::NULL => Ok(ParamValue::Null),
            ColumnType::TINY if self.unsigned => unsigned(reader.u8(FIELD)?.into()),
            ColumnType::TINY => signed(reader.u8(FIELD)?.cast_signed().into()),
            ColumnType::SHORT if self.unsigned => unsigned(reader.u16(FIELD)?.into()),
            ColumnType::SHORT => signed(reader.u16(FIELD)?.cast_signed().into()),
            ColumnType::LONG if self.unsigned => unsigned(reader.u32(FIELD)?.into()),
            ColumnType::LONG => signed(reader.u32(FIELD)?.cast_signed().into()),
            ColumnType::LONGLONG if self.unsigned => unsigned(reader.u64(FIELD)?),
            ColumnType::LONGLONG => signed(reader.u64(FIELD)?.cast_signed()),
            ColumnType::FLOAT => Ok(ParamValue::Float(f32::from_bits(reader.u32(FIELD)?))),
            ColumnType::DOUBLE => Ok(ParamValue::Double(f64::from_bits(reader.u64(FIELD)?))),
            ColumnType::DATE
            | ColumnType::NEWDATE
            | ColumnType::DATETIME
            | ColumnType::TIMESTAMP => {
                text(DateTime::decode(reader)?.text(self.column_type, VARYING))
            }
            ColumnType::TIME => text(Time::decode(reader)?.text(VARYING)),
            _ if self.is_bytes() => Ok(ParamValue::Bytes(reader.lenenc_bytes(FIELD)?.to_vec())),
            _ => Err(reader.invalid(FIELD, "no parameter is of this type")),
        }
    }

    /// Whether values are bytes behind their length. (No server takes a BIT, GEOMETRY, MEDIUMINT or
    /// YEAR: MySQL refuses them, MariaDB 10.11 reads NULL and takes their bytes for the next value's.)
    const fn is_bytes(self) -> bool {
        matches!(
            self.column_type,
            ColumnType::DECIMAL
                | ColumnType::NEWDECIMAL
                | ColumnType::VARCHAR
                | ColumnType::VECTOR
                | ColumnType::JSON
                | ColumnType::ENUM
                | ColumnType::SET
                | ColumnType::TINY_BLOB
                | ColumnType::MEDIUM_BLOB
                | ColumnType::LONG_BLOB
                | ColumnType::BLOB
                | ColumnType::VAR_STRING
                | ColumnType::STRING
        )
    }

    /// Whether the type holds the value without any loss.
    pub fn holds(self, value: &ParamValue) -> bool {
        let mut out = Vec::new();
        match value {
            ParamValue::Null | ParamValue::LongData => true,
            // A shortcut: encoding would copy what may be megabytes.
            ParamValue::Bytes(_) if self.is_bytes() => true,
            _ => self.encode(value, &mut out).is_some(),
        }
    }

    /// Appends a value that is there; `None` if the type does not hold it.
    pub(in crate::wire) fn encode(self, value: &ParamValue, out: &mut Vec<u8>) -> Option<()> {
        match self.column_type {
            ColumnType::TINY if self.unsigned => out.put_u8(integer(value)?.try_into().ok()?),
            ColumnType::TINY => out.put_i8(integer(value)?.try_into().ok()?),
            ColumnType::SHORT if self.unsigned => {
                out.put_u16_le(integer(value)?.try_into().ok()?);
            }
            ColumnType::SHORT => {
                out.put_i16_le(integer(value)?.try_into().ok()?);
            }
            ColumnType::LONG if self.unsigned => {
                out.put_u32_le(integer(value)?.try_into().ok()?);
            }
            ColumnType::LONG => {
                out.put_i32_le(integer(value)?.try_into().ok()?);
            }
            ColumnType::LONGLONG if self.unsigned => {
                out.put_u64_le(integer(value)?.try_into().ok()?);
            }
            ColumnType::LONGLONG => out.put_i64_le(integer(value)?.try_into().ok()?),
            ColumnType::FLOAT => out.put_f32_le(float(value)?),
            ColumnType::DOUBLE => out.put_f64_le(double(value)?),
            ColumnType::DATE
            | ColumnType::NEWDATE
            | ColumnType::DATETIME
            | ColumnType::TIMESTAMP => DateTime::parse(text(value)?)?.encode(out),
            ColumnType::TIME => Time::parse(text(value)?)?.encode(out),
            _ if self.is_bytes() => match value {
                ParamValue::Bytes(bytes) => out.put_lenenc_bytes(bytes),
                ParamValue::Signed(number) => out.put_lenenc_bytes(number.to_string().as_bytes()),
                ParamValue::Unsigned(number) => {
                    out.put_lenenc_bytes(number.to_string().as_bytes());
                }
                ParamValue::Float(number) if number.is_finite() => {
                    out.put_lenenc_bytes(number.to_string().as_bytes());
                }
                ParamValue::Double(number) if number.is_finite() => {
                    out.put_lenenc_bytes(float_text::double(*number, VARYING).as_bytes());
                }
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }
}

/// The number of decimals is not known where a value is bound: all are shown, if there are any.
const VARYING: u8 = 31;

impl fmt::Debug for ParamValue {
    /// Without the contents of strings, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl ParamValue {
    /// A description for error messages.
    pub(in crate::wire) fn describe(&self) -> String {
        match self {
            Self::Null => "NULL".into(),
            Self::LongData => "long data".into(),
            Self::Default => "DEFAULT".into(),
            Self::Ignore => "IGNORE".into(),
            Self::Signed(number) => number.to_string(),
            Self::Unsigned(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::Bytes(bytes) => format!("a string of {} bytes", bytes.len()),
        }
    }
}

fn text(value: &ParamValue) -> Option<&str> {
    match value {
        ParamValue::Bytes(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The value as an integer, if it is one.
fn integer(value: &ParamValue) -> Option<i128> {
    // Beyond every number of a 64-bit type.
    const LIMIT: f64 = 1.9e19;
    let whole =
        |number: f64| (number.fract() == 0.0 && number.abs() < LIMIT).then_some(number as i128);
    match value {
        ParamValue::Signed(number) => Some((*number).into()),
        ParamValue::Unsigned(number) => Some((*number).into()),
        ParamValue::Float(number) => whole((*number).into()),
        ParamValue::Double(number) => whole(*number),
        ParamValue::Bytes(_) => text(value)?.parse().ok(),
        _ => None,
    }
}

/// The value as a DOUBLE, if that loses nothing. (A string may have more digits than a DOUBLE: it
/// is read as the server would read it.)
fn double(value: &ParamValue) -> Option<f64> {
    const EXACT: u64 = 1 << 53;
    match value {
        ParamValue::Signed(number) if number.unsigned_abs() <= EXACT => Some(*number as f64),
        ParamValue::Unsigned(number) if *number <= EXACT => Some(*number as f64),
        ParamValue::Float(number) => Some((*number).into()),
        ParamValue::Double(number) => Some(*number),
        ParamValue::Bytes(_) => text(value)?.parse().ok(),
        _ => None,
    }
}

/// The same for a FLOAT.
fn float(value: &ParamValue) -> Option<f32> {
    if let ParamValue::Bytes(_) = value {
        return text(value)?.parse().ok();
    }
    let wide = double(value)?;
    let narrow = wide as f32;
    (f64::from(narrow) == wide || wide.is_nan()).then_some(narrow)
}
