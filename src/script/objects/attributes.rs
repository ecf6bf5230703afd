//! Connection attributes as a table.

use mlua::{Lua, Table, Value};

use super::object::{Held, reading, writing};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, nothing, one};
use crate::wire::{Auth, Capabilities, read_attributes, write_attributes};

/// The most bytes that servers keep.
const MAX: usize = 65_535;

/// Encodes `{ name = value, ... }`, sorted by name.
pub fn from_table(args: &Args, table: &Table) -> Result<Vec<u8>, ScriptError> {
    let mut pairs = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (Value::String(name), Value::String(value)) = pair? else {
            return Err(args.error("attributes: expected strings as names and values"));
        };
        pairs.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    }
    pairs.sort();
    let bytes = write_attributes(pairs.iter().map(|(n, v)| (n.as_slice(), v.as_slice())));
    match bytes.len() > MAX {
        true => Err(args.error(format!(
            "attributes: expected at most {MAX} bytes, got {}",
            bytes.len()
        ))),
        false => Ok(bytes),
    }
}

/// `auth:attributes()` reads a table, `auth:attributes{ ... }` writes one, nil takes them away.
pub fn add(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<Held<Auth>>("attributes", |lua, auth, args| {
        if args.is_empty() {
            let bytes = reading(&auth.0, args)?.attributes.clone();
            return match bytes {
                Some(bytes) => table(lua, args, &bytes),
                None => nothing(),
            };
        }
        let bytes = match args.get(0) {
            Value::Nil => None,
            _ => Some(from_table(args, args.table(0, "")?)?),
        };
        let mut auth = writing(&auth.0, args)?;
        // Together with their flag, without which they would not be sent.
        let flag = Capabilities::CONNECT_ATTRS;
        auth.capabilities.set(flag, bytes.is_some());
        auth.attributes = bytes;
        nothing()
    })
}

fn table(lua: &Lua, args: &Args, bytes: &[u8]) -> Answer {
    let attributes = read_attributes(bytes).map_err(|error| args.error(error))?;
    let table = lua.create_table()?;
    for (name, value) in attributes {
        table.raw_set(lua.create_string(&name)?, lua.create_string(&value)?)?;
    }
    one(Value::Table(table))
}
