//! Requests as tables, and answers from what scripts give.

use mlua::{Lua, Table, Value};

use crate::http::{Head, Request, Response};
use crate::script::lua::convert::describe;
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;

/// How long the body of an answer may be.
const MAX_BODY: usize = 64 << 20;

/// A request as scripts see it.
pub fn request_table(lua: &Lua, request: &Request) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("method", request.method.as_str())?;
    table.raw_set("target", request.target.as_str())?;
    table.raw_set("path", lua.create_string(&request.path)?)?;
    table.raw_set("body", lua.create_string(&request.body)?)?;
    if let Some(peer) = request.peer {
        table.raw_set("peer", peer.to_string())?;
    }
    let query = lua.create_table()?;
    for (name, value) in &request.query {
        query.raw_set(lua.create_string(name)?, lua.create_string(value)?)?;
    }
    table.raw_set("query", query)?;
    table.raw_set("headers", headers_table(lua, &request.headers)?)?;
    Ok(table)
}

/// The headers by their names; those that came several times in one, as HTTP says.
pub fn headers_table(lua: &Lua, all: &[(String, Vec<u8>)]) -> mlua::Result<Table> {
    let headers = lua.create_table()?;
    for (name, value) in all {
        let before: Option<mlua::LuaString> = headers.raw_get(name.as_str())?;
        let value = match before {
            None => lua.create_string(value)?,
            Some(before) => {
                let separator: &[u8] = match name.as_str() {
                    "cookie" => b"; ",
                    _ => b", ",
                };
                let before = before.as_bytes();
                lua.create_string([&*before, separator, value].concat())?
            }
        };
        headers.raw_set(name.as_str(), value)?;
    }
    Ok(headers)
}

/// The answer that is given by a status, headers and a body from this argument on.
pub fn response(args: &Args, first: usize) -> Result<Response, ScriptError> {
    let head = head(args, first)?;
    let body = match args.get(first + 2) {
        Value::Nil => Vec::new(),
        _ => args.bytes(first + 2, "body", MAX_BODY)?,
    };
    Ok(Response::new(head, body))
}

/// Status and headers from this argument on.
pub fn head(args: &Args, first: usize) -> Result<Head, ScriptError> {
    let status = args.integer(first, "status", 999)?;
    let headers = match args.get(first + 1) {
        Value::Nil => Vec::new(),
        _ => headers(args, args.table(first + 1, "headers")?)?,
    };
    Head::new(status, headers).map_err(|error| args.error(error))
}

/// Headers by their names, in the order of these; a header with several values has them in an array.
pub fn headers(args: &Args, table: &Table) -> Result<Vec<(String, Vec<u8>)>, ScriptError> {
    let mut headers = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = &name else {
            let got = describe(&name);
            return Err(args.error(format!("headers: expected names as keys, got {got}")));
        };
        let name = name.to_string_lossy();
        match value {
            Value::Table(values) => {
                for value in values.sequence_values::<Value>() {
                    headers.push((name.clone(), header_value(args, &name, &value?)?));
                }
            }
            value => headers.push((name.clone(), header_value(args, &name, &value)?)),
        }
    }
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(headers)
}

fn header_value(args: &Args, name: &str, value: &Value) -> Result<Vec<u8>, ScriptError> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        other => {
            let got = describe(other);
            Err(args.error(format!("headers: {name}: expected a string, got {got}")))
        }
    }
}
