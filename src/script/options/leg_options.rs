//! Options of listeners and connects about a leg's transport: compression, and the PROXY protocol.

use mlua::{Table, Value};

use crate::proxy::{Algorithm, Compression, ConnId, ConnKind, ProxyVersion, Trusted};
use crate::script::connections::conn::ConnObject;
use crate::script::lua::convert::{describe, to_integer};

const KINDS: &str = "\"zlib\", \"zstd\", a list of these, or false";

/// `compression = "zlib" | "zstd" | { "zstd", "zlib", level = 3 } | false`. The error says what was
/// expected, and what was got.
pub fn compression(value: &Value) -> Result<Compression, String> {
    let table = match value {
        Value::Boolean(false) => return Ok(Compression::default()),
        Value::String(_) => {
            return Ok(Compression {
                algorithms: vec![algorithm(value)?],
                level: None,
            });
        }
        Value::Table(table) => table,
        other => return Err(expected(KINDS, other)),
    };
    let mut compression = Compression::default();
    for value in list(table, &["level"])? {
        let algorithm = algorithm(&value)?;
        if !compression.algorithms.contains(&algorithm) {
            compression.algorithms.push(algorithm);
        }
    }
    let highest = compression.algorithms.iter().map(|one| one.max_level());
    let highest = highest.max().unwrap_or(9);
    compression.level = match field(table, "level")? {
        Value::Nil => None,
        level => {
            let wanted = || expected(&format!("level: an integer from 1 to {highest}"), &level);
            let number = to_integer(&level, highest.into()).filter(|level| *level > 0);
            Some(number.ok_or_else(wanted)? as u8)
        }
    };
    Ok(compression)
}

/// A listener's `proxy_protocol = { "127.0.0.1", "10.0.0.0/8", "unix" }`.
pub fn trusted(value: &Value) -> Result<Vec<Trusted>, String> {
    const WANTED: &str = "a list of addresses, networks, and perhaps \"unix\"";
    let Value::Table(table) = value else {
        return Err(expected(WANTED, value));
    };
    let mut trusted = Vec::new();
    for value in list(table, &[])? {
        let Value::String(text) = &value else {
            return Err(expected(WANTED, &value));
        };
        trusted.push(text.to_string_lossy().parse::<Trusted>()?);
    }
    Ok(trusted)
}

/// A connect's `proxy_protocol = 1 | 2`.
pub fn proxy_version(value: &Value) -> Result<ProxyVersion, String> {
    match to_integer(value, 2) {
        Some(1) => Ok(ProxyVersion::V1),
        Some(2) => Ok(ProxyVersion::V2),
        _ => Err(expected("1 or 2", value)),
    }
}

/// A connect's `client = conn`.
pub fn client(value: &Value) -> Result<ConnId, String> {
    let info = match value {
        Value::UserData(object) => object.borrow::<ConnObject>().ok(),
        _ => None,
    };
    let client = info.filter(|conn| conn.info().kind == ConnKind::Client);
    client.map_or_else(|| Err(expected("a client", value)), |conn| Ok(conn.id()))
}

fn algorithm(value: &Value) -> Result<Algorithm, String> {
    let Value::String(name) = value else {
        return Err(expected(KINDS, value));
    };
    let name = name.to_string_lossy();
    Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name() == name)
        .ok_or_else(|| format!("expected {KINDS}, got \"{name}\""))
}

/// The values of a list that may also have these fields.
fn list(table: &Table, fields: &[&str]) -> Result<Vec<Value>, String> {
    let len = table.raw_len();
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair.map_err(|error| error.to_string())?;
        let known = match &key {
            Value::String(key) => fields.contains(&key.to_string_lossy().as_str()),
            key => to_integer(key, len as u64).is_some_and(|index| index > 0),
        };
        if !known {
            let key = match &key {
                Value::String(key) => key.to_string_lossy(),
                other => describe(other),
            };
            return Err(format!("expected a list, got a field '{key}'"));
        }
    }
    let value = |index: usize| table.raw_get::<Value>(index).map_err(|e| e.to_string());
    (1..=len).map(value).collect()
}

fn field(table: &Table, name: &str) -> Result<Value, String> {
    table.raw_get(name).map_err(|error| error.to_string())
}

fn expected(wanted: &str, got: &Value) -> String {
    format!("expected {wanted}, got {}", describe(got))
}
