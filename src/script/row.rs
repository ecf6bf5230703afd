//! The values of a row, between the two encodings and Lua.

use mlua::Table;

use super::convert::{describe, is_null, number_text};
use crate::wire::Column;
use crate::wire::row::{self, TextRow};

/// One value: its text, or SQL's NULL.
pub type Value = Option<Vec<u8>>;

/// The highest positive integer key.
pub fn highest_index(table: &Table) -> mlua::Result<usize> {
    // The border is it, unless there are holes.
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
pub fn encode_binary(values: &[Value], columns: &[Column]) -> Result<Vec<u8>, String> {
    let _ = (values, columns);
    Err("rows of the binary protocol cannot be packed yet".to_string())
}

/// Decodes a row of the binary protocol into what the text protocol would have sent.
pub fn decode_binary(payload: &[u8], columns: &[Column]) -> Result<Vec<Value>, String> {
    let _ = (payload, columns);
    Err("rows of the binary protocol cannot be parsed yet".to_string())
}
