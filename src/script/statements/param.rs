//! Values of statements' parameters, between Lua and the wire.
//!
//! Integers and floating-point numbers are Lua's numbers, integers beyond 2^53 their decimal
//! digits, everything else is a string: decimals, dates and times as the text protocol has them.

use std::ffi::c_void;

use bytes::Bytes;
use mlua::{LightUserData, Lua, Table, Value};

use crate::script::lua::convert::{EXACT, describe, is_null, to_integer};
use crate::wire::{ColumnType, ParamType, ParamValue, execute_flags};

/// Their addresses are the marks' values. They have different contents, so that they are not
/// merged.
static MARKS: [u8; 3] = [0, 1, 2];

/// The marks, by their names in Lua.
pub const CONSTANTS: [(&str, Mark); 3] = [
    ("LONG_DATA", Mark::LongData),
    ("DEFAULT", Mark::Default),
    ("IGNORE", Mark::Ignore),
];

/// A mark in place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was sent before.
    LongData,
    /// The column's default.
    Default,
    /// Leave the column as it is.
    Ignore,
}

impl Mark {
    /// As scripts have it.
    pub fn value(self) -> Value {
        let mark: *const u8 = MARKS
            .get(self as usize)
            .map_or(std::ptr::null(), |mark| mark);
        Value::LightUserData(LightUserData(mark.cast_mut().cast::<c_void>()))
    }
}

/// The flags of an execute, which are constants of the `dpm` table.
pub fn flags() -> impl Iterator<Item = (&'static str, u64)> {
    execute_flags::ALL
        .iter()
        .map(|(name, flag)| (*name, u64::from(*flag)))
}

/// A value as scripts see it; `null` stands for NULL.
pub fn to_lua(lua: &Lua, value: &ParamValue, null: &Value) -> mlua::Result<Value> {
    let text = |text: &[u8]| Ok(Value::String(lua.create_string(text)?));
    match value {
        ParamValue::Null => Ok(null.clone()),
        ParamValue::LongData => Ok(Mark::LongData.value()),
        ParamValue::Default => Ok(Mark::Default.value()),
        ParamValue::Ignore => Ok(Mark::Ignore.value()),
        ParamValue::Signed(number) if number.unsigned_abs() <= EXACT => {
            Ok(Value::Number(*number as f64))
        }
        ParamValue::Signed(number) => text(number.to_string().as_bytes()),
        ParamValue::Unsigned(number) if *number <= EXACT => Ok(Value::Number(*number as f64)),
        ParamValue::Unsigned(number) => text(number.to_string().as_bytes()),
        ParamValue::Float(number) => Ok(Value::Number((*number).into())),
        ParamValue::Double(number) => Ok(Value::Number(*number)),
        ParamValue::Bytes(bytes) => text(bytes),
    }
}

/// The value that a script wrote; the error says what was expected.
pub fn from_lua(value: &Value) -> Result<ParamValue, String> {
    match value {
        Value::Nil => Ok(ParamValue::Null),
        Value::Boolean(boolean) => Ok(ParamValue::Signed((*boolean).into())),
        Value::Integer(integer) => Ok(ParamValue::Signed(*integer)),
        Value::Number(number) => Ok(number_from_lua(*number)),
        Value::String(bytes) => Ok(ParamValue::Bytes(bytes.as_bytes().to_vec())),
        null if is_null(null) => Ok(ParamValue::Null),
        mark if *mark == Mark::LongData.value() => Ok(ParamValue::LongData),
        mark if *mark == Mark::Default.value() => Ok(ParamValue::Default),
        mark if *mark == Mark::Ignore.value() => Ok(ParamValue::Ignore),
        other => {
            let got = describe(other);
            Err(format!("expected a string, a number or NULL, got {got}"))
        }
    }
}

fn number_from_lua(number: f64) -> ParamValue {
    let whole = number.fract() == 0.0 && number.abs() <= EXACT as f64;
    // Minus zero is no integer.
    match whole && !(number == 0.0 && number.is_sign_negative()) {
        true => ParamValue::Signed(number as i64),
        false => ParamValue::Double(number),
    }
}

/// The values 1 to `count` of a table.
pub fn values_from_lua(table: &Table, count: usize) -> Result<Vec<ParamValue>, String> {
    let highest =
        crate::script::objects::row::highest_index(table).map_err(|error| error.to_string())?;
    if highest > count {
        return Err(format!(
            "there are {highest} values, but the statement takes {count}"
        ));
    }
    (1..=count)
        .map(|index| {
            let value: Value = table.raw_get(index).map_err(|error| error.to_string())?;
            from_lua(&value).map_err(|problem| format!("value {index}: {problem}"))
        })
        .collect()
}

/// A type that holds the value: what was bound before, if it does.
pub fn type_for(value: &ParamValue, bound: Option<ParamType>) -> ParamType {
    if let Some(bound) = bound
        && bound.holds(value)
    {
        return bound;
    }
    match value {
        // Servers convert text from the session's character set, which binary data must not be.
        ParamValue::Bytes(bytes) if str::from_utf8(bytes).is_err() => {
            ParamType::new(ColumnType::BLOB)
        }
        value => ParamType::of(value),
    }
}

/// A type as scripts write it: its number, or a table of `type` and `unsigned`.
pub fn type_from_lua(value: &Value) -> Result<ParamType, String> {
    let wanted = |value: &Value| {
        let got = describe(value);
        format!(
            "expected a type such as dpm.MYSQL_TYPE_LONG, or {{ type =, unsigned = }}, got {got}"
        )
    };
    let Value::Table(table) = value else {
        let code = to_integer(value, u8::MAX.into()).ok_or_else(|| wanted(value))?;
        return Ok(ParamType::new(ColumnType(code as u8)));
    };
    let code: Value = table.raw_get("type").map_err(|error| error.to_string())?;
    let number = to_integer(&code, u8::MAX.into()).ok_or_else(|| wanted(&code))?;
    let unsigned: Value = (table.raw_get("unsigned")).map_err(|error| error.to_string())?;
    Ok(ParamType {
        column_type: ColumnType(number as u8),
        unsigned: matches!(unsigned, Value::Boolean(true)),
    })
}

/// A type as scripts read it.
pub fn type_to_lua(lua: &Lua, param_type: ParamType) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("type", f64::from(param_type.column_type.0))?;
    table.raw_set("unsigned", param_type.unsigned)?;
    Ok(Value::Table(table))
}

/// Concatenates pieces of long data.
pub fn joined(pieces: &[Bytes]) -> Vec<u8> {
    pieces.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let lua = Lua::new();
        for value in [
            ParamValue::Null,
            ParamValue::LongData,
            ParamValue::Default,
            ParamValue::Ignore,
            ParamValue::Signed(-9_007_199_254_740_992),
            ParamValue::Double(0.1),
            ParamValue::Double(1e300),
            ParamValue::Double(f64::INFINITY),
            ParamValue::Bytes(b"\0\xff".to_vec()),
        ] {
            let seen = to_lua(&lua, &value, &Value::Nil).unwrap();
            assert_eq!(from_lua(&seen).unwrap(), value);
        }
        let huge = to_lua(&lua, &ParamValue::Unsigned(u64::MAX), &Value::Nil).unwrap();
        assert_eq!(huge.to_string().unwrap(), "18446744073709551615");
        let huge = to_lua(&lua, &ParamValue::Signed(i64::MIN), &Value::Nil).unwrap();
        assert_eq!(huge.to_string().unwrap(), "-9223372036854775808");
        let float = to_lua(&lua, &ParamValue::Float(0.1), &Value::Nil).unwrap();
        assert_eq!(float, Value::Number(f64::from(0.1f32)));
        assert_eq!(
            from_lua(&Value::Number(-0.0)).unwrap(),
            ParamValue::Double(-0.0)
        );
        assert!(from_lua(&Value::Table(lua.create_table().unwrap())).is_err());
    }

    #[test]
    fn a_type_that_was_bound_stays_if_it_holds_the_value() {
        let long = ParamType::new(ColumnType::LONG);
        for (value, column_type) in [
            (ParamValue::Signed(5), ColumnType::LONG),
            (ParamValue::Null, ColumnType::LONG),
            (ParamValue::Bytes(b"7".to_vec()), ColumnType::LONG),
            (ParamValue::Signed(1 << 40), ColumnType::LONGLONG),
            (ParamValue::Double(0.5), ColumnType::DOUBLE),
            (ParamValue::Bytes(b"x".to_vec()), ColumnType::VAR_STRING),
            (ParamValue::Bytes(b"\xff".to_vec()), ColumnType::BLOB),
        ] {
            assert_eq!(
                type_for(&value, Some(long)).column_type,
                column_type,
                "{value:?}"
            );
        }
        assert_eq!(
            type_for(&ParamValue::Null, None).column_type,
            ColumnType::NULL
        );
    }
}
