//! What the cmd object has for commands about prepared statements.

use mlua::{Lua, MultiValue, Value};

use super::object::{Held, PAYLOAD, reading, writing};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, nothing, number, one};
use crate::script::statements::execute_options::read_attributes;
use crate::script::statements::param::{to_lua, type_for};
use crate::sql::{self, Kill, Target};
use crate::wire::{Attribute, Com, Command, query_attributes};

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// Adds the methods.
pub fn add_methods(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<Held<Command>>("statement_id", |_, cmd, args| {
        if args.is_empty() {
            return number_or_nil(reading(&cmd.0, args)?.statement_id().map(u64::from));
        }
        let id = args.integer(0, "", U32)? as u32;
        let mut command = writing(&cmd.0, args)?;
        check(command.com.names_statement(), &command, args)?;
        command.set_at(0, &id.to_le_bytes());
        nothing()
    })?;
    methods.add::<Held<Command>>("execute_flags", execute_flags)?;
    methods.add::<Held<Command>>("fetch_rows", |_, cmd, args| {
        if args.is_empty() {
            return number_or_nil(reading(&cmd.0, args)?.fetch_rows().map(u64::from));
        }
        let rows = args.integer(0, "", U32)? as u32;
        let mut command = writing(&cmd.0, args)?;
        check(command.com == Com::STMT_FETCH, &command, args)?;
        command.set_at(4, &rows.to_le_bytes());
        nothing()
    })?;
    methods.add::<Held<Command>>("long_data", |lua, cmd, args| {
        if args.is_empty() {
            let command = reading(&cmd.0, args)?.clone();
            if command.com != Com::STMT_SEND_LONG_DATA {
                return one(Value::Nil);
            }
            let long = command.long_data().map_err(|error| args.error(error))?;
            return Ok(MultiValue::from_vec(vec![
                Value::Number(f64::from(long.param) + 1.0),
                Value::String(lua.create_string(long.data)?),
            ]));
        }
        let param = args.integer(0, "param", U16 + 1)?.checked_sub(1);
        let param = param.ok_or_else(|| args.error("param: they are counted from 1"))? as u16;
        let data = args.bytes(1, "data", PAYLOAD - 6)?;
        let mut command = writing(&cmd.0, args)?;
        check(command.com == Com::STMT_SEND_LONG_DATA, &command, args)?;
        let id = command.statement_id().unwrap_or_default();
        let argument = [&id.to_le_bytes()[..], &param.to_le_bytes(), &data].concat();
        command.argument = argument.into();
        nothing()
    })?;
    methods.add::<Held<Command>>("attributes", attributes)?;
    methods.add::<Held<Command>>("kills", kills)
}

/// The connections that the command is to kill, `{ { id =, query_only =, computed =, from =, to = } }`;
/// nil if there are none.
fn kills(lua: &Lua, cmd: &Held<Command>, args: &Args) -> Answer {
    let command = reading(&cmd.0, args)?;
    let argument = command.argument.clone();
    let found = match command.com {
        Com::QUERY | Com::STMT_PREPARE => sql::kills(&argument, sql::Mode::default()),
        Com::PROCESS_KILL => vec![process_kill(&argument)],
        _ => Vec::new(),
    };
    drop(command);
    if found.is_empty() {
        return nothing();
    }
    let list = lua.create_table_with_capacity(found.len(), 0)?;
    for kill in found {
        let entry = lua.create_table_with_capacity(0, 5)?;
        match kill.target {
            Target::Number(id) => entry.raw_set("id", id as f64)?,
            Target::Computed => entry.raw_set("computed", true)?,
            Target::Unclear => {}
        }
        entry.raw_set("query_only", kill.query_only)?;
        entry.raw_set("from", kill.from as f64 + 1.0)?;
        entry.raw_set("to", kill.to as f64)?;
        list.raw_push(entry)?;
    }
    one(Value::Table(list))
}

/// COM_PROCESS_KILL, whose argument is a number of four bytes.
fn process_kill(argument: &[u8]) -> Kill {
    let id = argument.first_chunk().copied().map(u32::from_le_bytes);
    Kill {
        query_only: false,
        target: id.map_or(Target::Unclear, |id| Target::Number(id.into())),
        from: 0,
        to: argument.len(),
    }
}

/// The attributes of a query by their names, nil if there are none; written likewise.
fn attributes(lua: &Lua, cmd: &Held<Command>, args: &Args) -> Answer {
    if args.is_empty() {
        let bytes = reading(&cmd.0, args)?.attributes.clone();
        if bytes.is_empty() {
            return one(Value::Nil);
        }
        let (attributes, _) =
            query_attributes::decode(&bytes).map_err(|error| args.error(error.to_string()))?;
        let table = lua.create_table_with_capacity(0, attributes.len())?;
        for attribute in &attributes {
            let value = to_lua(lua, &attribute.value, &Value::NULL)?;
            table.raw_set(lua.create_string(&attribute.name)?, value)?;
        }
        return one(Value::Table(table));
    }
    let mut written = Vec::new();
    if !args.get(0).is_nil() {
        let attributes: Vec<_> = read_attributes(args, args.table(0, "")?)?
            .into_iter()
            .map(|(name, value)| Attribute {
                name,
                param_type: type_for(&value, None),
                value,
            })
            .collect();
        if !attributes.is_empty() {
            query_attributes::encode(&attributes, &mut written)
                .map_err(|error| args.error(error.to_string()))?;
        }
    }
    let mut command = writing(&cmd.0, args)?;
    check(command.com == Com::QUERY, &command, args)?;
    command.attributes = written.into();
    nothing()
}

/// A flag accessor: without an argument all of them, nil if the command has none.
fn execute_flags(_: &Lua, cmd: &Held<Command>, args: &Args) -> Answer {
    let flags = reading(&cmd.0, args)?.execute_flags();
    if args.is_empty() {
        return number_or_nil(flags.map(u64::from));
    }
    let asked = args.integer(0, "flags", U16)? as u16;
    let now = flags.unwrap_or_default();
    if args.len() == 1 {
        return one(Value::Boolean(now & asked == asked));
    }
    let on = args.boolean(1, "value")?;
    let mut command = writing(&cmd.0, args)?;
    let executes = matches!(command.com, Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE);
    check(executes, &command, args)?;
    let flags = if on { now | asked } else { now & !asked };
    match command.com {
        Com::STMT_EXECUTE => command.set_at(4, &[flags as u8]),
        _ => command.set_at(4, &flags.to_le_bytes()),
    }
    nothing()
}

fn number_or_nil(value: Option<u64>) -> Answer {
    match value {
        Some(value) => number(value as f64),
        None => one(Value::Nil),
    }
}

fn check(has_it: bool, command: &Command, args: &Args) -> Result<(), ScriptError> {
    match has_it {
        true => Ok(()),
        false => Err(args.error(format!("{} has none", command.com.name()))),
    }
}
