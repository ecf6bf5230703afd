//! JSON: `dpm.json_encode` and `dpm.json_decode`.

use mlua::{Lua, LuaString, MultiValue, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::script::lua::convert::{EXACT, describe, is_null};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, one, string};

/// How deep arrays and objects may nest: the limit of `serde_json`.
const MAX_DEPTH: usize = 127;

/// `dpm.json_encode(value)`.
pub fn encode(lua: &Lua, args: &Args) -> Answer {
    let json = to_json(args.get(0), MAX_DEPTH).map_err(|problem| args.error(problem.0))?;
    string(lua, json.to_string())
}

/// `dpm.json_decode(text)`: its value, or nil and what is wrong with it.
pub fn decode(lua: &Lua, args: &Args) -> Answer {
    let text = args.string(0, "text")?;
    match serde_json::from_slice(&text.as_bytes()) {
        Ok(json) => one(to_lua(lua, &json)?),
        Err(problem) => {
            let problem = Value::String(lua.create_string(problem.to_string())?);
            Ok(MultiValue::from_vec(vec![Value::Nil, problem]))
        }
    }
}

fn to_json(value: &Value, depth: usize) -> Result<Json, ScriptError> {
    match value {
        Value::Nil => Ok(Json::Null),
        Value::LightUserData(_) if is_null(value) => Ok(Json::Null),
        Value::Boolean(boolean) => Ok(Json::Bool(*boolean)),
        Value::Integer(integer) => Ok(Json::Number((*integer).into())),
        Value::Number(number) => to_number(*number),
        Value::String(text) => Ok(Json::String(to_text(text)?)),
        Value::Table(table) => match depth.checked_sub(1) {
            Some(depth) => table_to_json(table, depth),
            None => Err(ScriptError(format!(
                "tables are nested more than {MAX_DEPTH} deep"
            ))),
        },
        other => Err(ScriptError(format!("JSON has no {}", describe(other)))),
    }
}

/// An integer without a fraction; other numbers unchanged.
fn to_number(number: f64) -> Result<Json, ScriptError> {
    if number.fract() == 0.0 && number.abs() <= EXACT as f64 {
        return Ok(Json::Number((number as i64).into()));
    }
    match Number::from_f64(number) {
        Some(number) => Ok(Json::Number(number)),
        None => Err(ScriptError(format!("JSON has no {number}"))),
    }
}

fn to_text(text: &LuaString) -> Result<String, ScriptError> {
    String::from_utf8(text.as_bytes().to_vec())
        .map_err(|_| ScriptError::new("a string is not UTF-8, which JSON is"))
}

/// An array if its keys are 1 to n, else an object; an empty one is an object.
fn table_to_json(table: &Table, depth: usize) -> Result<Json, ScriptError> {
    let mut object = Map::new();
    let mut numbers = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        match &key {
            Value::String(name) => {
                object.insert(to_text(name)?, to_json(&value, depth)?);
            }
            Value::Integer(_) | Value::Number(_) => numbers += 1,
            other => {
                let other = describe(other);
                return Err(ScriptError(format!("JSON has no {other} for a name")));
            }
        }
    }
    if numbers == 0 {
        return Ok(Json::Object(object));
    }
    let mut array = Vec::with_capacity(numbers);
    for index in 1..=numbers {
        let value: Value = table.raw_get(index)?;
        if value.is_nil() || !object.is_empty() {
            return Err(ScriptError::new(
                "a table is neither an array, with keys from 1 to n, nor an object, with strings for keys",
            ));
        }
        array.push(to_json(&value, depth)?);
    }
    Ok(Json::Array(array))
}

fn to_lua(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => return number_to_lua(lua, number),
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(array) => {
            let table = lua.create_table_with_capacity(array.len(), 0)?;
            for (index, value) in array.iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
        Json::Object(object) => {
            let table = lua.create_table_with_capacity(0, object.len())?;
            for (name, value) in object {
                table.raw_set(name.as_str(), to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

/// An integer that a Lua number cannot hold reads as a string of digits.
fn number_to_lua(lua: &Lua, number: &Number) -> mlua::Result<Value> {
    let is_exact = |magnitude: u64| magnitude <= EXACT;
    let unsigned = number.as_u64().map(is_exact);
    let exact = unsigned.or_else(|| number.as_i64().map(|value| is_exact(value.unsigned_abs())));
    match (exact, number.as_f64()) {
        (Some(true) | None, Some(number)) => Ok(Value::Number(number)),
        _ => Ok(Value::String(lua.create_string(number.to_string())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(lua: &Lua, expression: &str) -> Result<String, String> {
        let value = lua.load(expression).eval().unwrap();
        match to_json(&value, MAX_DEPTH) {
            Ok(json) => Ok(json.to_string()),
            Err(problem) => Err(problem.0),
        }
    }

    #[test]
    fn values_are_written() {
        let lua = Lua::new();
        lua.globals().set("NULL", Value::NULL).unwrap();
        for (expression, text) in [
            ("nil", "null"),
            ("NULL", "null"),
            ("true", "true"),
            ("-3", "-3"),
            ("2^53", "9007199254740992"),
            ("0.5", "0.5"),
            ("'a\\n\"ü\\0'", "\"a\\n\\\"ü\\u0000\""),
            ("{}", "{}"),
            ("{ 1, 'x', NULL, { 2 } }", "[1,\"x\",null,[2]]"),
            ("{ b = 1, a = { c = {} } }", "{\"a\":{\"c\":{}},\"b\":1}"),
        ] {
            assert_eq!(encoded(&lua, expression).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_json_has_not_is_refused() {
        let lua = Lua::new();
        for (expression, part) in [
            ("0/0", "NaN"),
            ("math.huge", "inf"),
            ("'\\255'", "UTF-8"),
            ("{ ['\\255'] = 1 }", "UTF-8"),
            ("print", "function"),
            ("{ 1, nil, 3 }", "neither"),
            ("{ 1, x = 2 }", "neither"),
            ("{ [0] = 1 }", "neither"),
            ("{ [1.5] = 1 }", "neither"),
            ("{ [true] = 1 }", "boolean"),
            (
                "(function() local t = {} t.t = t return t end)()",
                "127 deep",
            ),
        ] {
            let problem = encoded(&lua, expression).unwrap_err();
            assert!(problem.contains(part), "{expression}: {problem}");
        }
    }

    #[test]
    fn values_are_read() {
        let lua = Lua::new();
        let read = |text: &str| to_lua(&lua, &serde_json::from_str(text).unwrap()).unwrap();
        let globals = lua.globals();
        let text = r#"{"a": [1, -2.5e3, "x\u00fc\ud83d\ude00"], "n": null, "t": true, "a\"": {}}"#;
        globals.set("t", read(text)).unwrap();
        globals.set("NULL", Value::NULL).unwrap();
        let checks = "t.a[1] == 1 and t.a[2] == -2500 and t.a[3] == 'xü😀' and #t.a == 3
            and t.n == NULL and t.t == true and next(t['a\"']) == nil";
        assert!(lua.load(checks).eval::<bool>().unwrap());
        for (text, value) in [
            ("9007199254740992", Value::Number(9_007_199_254_740_992.0)),
            ("-9007199254740992", Value::Number(-9_007_199_254_740_992.0)),
            ("1e400", Value::Nil),
        ] {
            let json = serde_json::from_str(text).map(|json| to_lua(&lua, &json).unwrap());
            assert_eq!(json.unwrap_or(Value::Nil), value, "{text}");
        }
        for digits in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551615",
        ] {
            assert_eq!(read(digits).to_string().unwrap(), digits);
        }
    }

    #[test]
    fn what_was_written_can_be_read() {
        let lua = Lua::new();
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(serde_json::from_str::<Json>(&nested(MAX_DEPTH)).is_ok());
        assert!(serde_json::from_str::<Json>(&nested(MAX_DEPTH + 1)).is_err());
        let deepest = format!("{}1{}", "{".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        let written = encoded(&lua, &deepest).unwrap();
        assert!(serde_json::from_str::<Json>(&written).is_ok());
        assert!(encoded(&lua, &format!("{{{deepest}}}")).is_err());
    }
}
