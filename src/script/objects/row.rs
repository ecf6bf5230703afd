//! The values of a row, between the two encodings and Lua.

use std::borrow::Cow;

use mlua::Table;

use crate::script::lua::convert::{describe, is_null, number_text};
use crate::wire::binary_row::{self, BinaryColumn};
use crate::wire::row::{self, TextRow};

/// One value: its text, or SQL's NULL.
pub type Value = Option<Vec<u8>>;

/// The highest positive integer key.
pub fn highest_index(table: &Table) -> mlua::Result<usize> {
    // Lua's length is the result, unless there are holes.
    let mut highest = table.raw_len();
    for pair in table.pairs::<mlua::Value, mlua::Value>() {
        if let mlua::Value::Integer(key) = pair?.0
            && let Ok(key) = usize::try_from(key)
        {
            highest = highest.max(key);
        }
    }
    Ok(highest)
}

/// The values 1 to `columns` of a table: strings, numbers, booleans as MySQL's 1 and 0, and
/// nothing or `dpm.NULL` for NULL.
pub fn from_table(table: &Table, columns: usize) -> Result<Vec<Value>, String> {
    (1..=columns)
        .map(|index| {
            let value: mlua::Value = table.raw_get(index).map_err(|error| error.to_string())?;
            match &value {
                mlua::Value::Nil => Ok(None),
                mlua::Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
                mlua::Value::Integer(integer) => Ok(Some(integer.to_string().into_bytes())),
                mlua::Value::Number(number) if number.is_finite() => {
                    Ok(Some(number_text(*number).into_bytes()))
                }
                mlua::Value::Boolean(boolean) => Ok(Some(vec![b'0' + u8::from(*boolean)])),
                null if is_null(null) => Ok(None),
                other => {
                    let got = describe(other);
                    Err(format!(
                        "value {index}: expected a string, a number or NULL, got {got}"
                    ))
                }
            }
        })
        .collect()
}

/// Encodes a row of the text protocol.
pub fn encode_text(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    row::encode(values.iter().map(Option::as_deref), &mut out);
    out
}

/// Decodes a row of the text protocol.
pub fn decode_text(payload: &[u8]) -> Result<Vec<Value>, String> {
    TextRow::new(payload)
        .map(|value| match value {
            Ok(value) => Ok(value.map(<[u8]>::to_vec)),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

/// Encodes a row of the binary protocol.
pub fn encode_binary(values: &[Value], columns: &[BinaryColumn]) -> Result<Vec<u8>, String> {
    if columns.is_empty() {
        return Err(UNKNOWN.to_string());
    }
    let mut out = Vec::new();
    binary_row::encode(values.iter().map(Option::as_deref), columns, &mut out)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// Decodes a row of the binary protocol into what the text protocol would have sent.
pub fn decode_binary(payload: &[u8], columns: &[BinaryColumn]) -> Result<Vec<Value>, String> {
    if columns.is_empty() {
        return Err(UNKNOWN.to_string());
    }
    let values = binary_row::decode(payload, columns).map_err(|error| error.to_string())?;
    Ok(values
        .into_iter()
        .map(|value| value.map(Cow::into_owned))
        .collect())
}

const UNKNOWN: &str = "a row of the binary protocol needs its columns: give them with \
    rset:add_field, or take the resultset that MYS_SENT_RSET brings";
