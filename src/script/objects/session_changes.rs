//! `ok:session_changes()`: an OK's changes of the session's state.

use mlua::{Lua, Table, Value};

use super::object::{Held, reading, writing};
use crate::script::lua::convert::{integer, to_integer};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, Methods, nothing, one};
use crate::wire::session_changes::{self, change_type};
use crate::wire::{Eof, Ok as OkPacket, SessionChange, Status};

/// Adds the method.
pub fn add(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<Held<OkPacket>>("session_changes", |lua, ok, args| match args.is_empty() {
        true => read(lua, ok, args),
        false => write(ok, args),
    })
}

/// Adds it to an eof, where it is always nil, so that scripts need not check whether a response
/// ends with an eof or an ok, which depends on the client's capabilities.
pub fn add_to_eof(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<Held<Eof>>("session_changes", |_, _, args| match args.is_empty() {
        true => one(Value::Nil),
        false => Err(args.error("an eof cannot tell of changes")),
    })
}

/// An array of `{ type =, name =, value = }`; nil, if the OK tells nothing.
fn read(lua: &Lua, ok: &Held<OkPacket>, args: &Args) -> Answer {
    let blocks = reading(&ok.0, args)?.session_changes.clone();
    let Some(blocks) = blocks else {
        return one(Value::Nil);
    };
    let changes =
        session_changes::decode(&blocks).map_err(|error| args.error(error.to_string()))?;
    let list = lua.create_table_with_capacity(changes.len(), 0)?;
    for (index, change) in changes.iter().enumerate() {
        let table = lua.create_table_with_capacity(0, 3)?;
        table.raw_set("type", integer(lua, change.change_type)?)?;
        if let Some(name) = &change.name {
            table.raw_set("name", lua.create_string(name)?)?;
        }
        table.raw_set("value", lua.create_string(&change.value)?)?;
        list.raw_set(index + 1, table)?;
    }
    one(Value::Table(list))
}

/// Writes such an array, or nil, and the status flag that announces changes.
fn write(ok: &Held<OkPacket>, args: &Args) -> Answer {
    let changes = match args.get(0) {
        Value::Nil => None,
        _ => {
            let mut changes = Vec::new();
            for change in args.table(0, "")?.sequence_values::<Table>() {
                changes.push(from_lua(&change?).map_err(|wanted| args.error(wanted))?);
            }
            Some(session_changes::encode(&changes))
        }
    };
    let mut ok = writing(&ok.0, args)?;
    ok.status
        .set(Status::SESSION_STATE_CHANGED, changes.is_some());
    ok.session_changes = changes;
    nothing()
}

fn from_lua(table: &Table) -> Result<SessionChange, String> {
    let field = |name: &str| {
        table
            .raw_get::<Value>(name)
            .map_err(|error| error.to_string())
    };
    let text = |name: &str, value: Value| match value {
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        Value::Nil => Ok(None),
        _ => Err(format!("a change's {name} is a string")),
    };
    let change_type = to_integer(&field("type")?, u64::from(u32::MAX))
        .ok_or("a change's type is a number such as dpm.SESSION_TRACK_SCHEMA")?;
    let name = text("name", field("name")?)?;
    if name.is_some() != (change_type == change_type::SYSTEM_VARIABLES) {
        return Err("a system variable's change has a name, and no other has".to_string());
    }
    Ok(SessionChange {
        change_type,
        name,
        value: text("value", field("value")?)?.ok_or("a change has a value")?,
    })
}
