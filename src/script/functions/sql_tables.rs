//! `dpm.tables`: what `sql::tables` finds, as a Lua table.

use mlua::{Lua, Table, Value};

use super::sql_helpers::{MODES, options};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, one};
use crate::sql::{Access, Name, Use, Ways, tables as tables_of};

/// The other ways of values, by the names that scripts use.
const WAYS: &[(&str, Ways)] = &[
    ("anything", Ways::ANYTHING),
    ("stores", Ways::STORES),
    ("defines", Ways::DEFINES),
    ("temporary", Ways::TEMPORARY),
    ("sets_system", Ways::SETS_SYSTEM),
    ("sets_insert_id", Ways::SETS_INSERT_ID),
    ("writes_file", Ways::WRITES_FILE),
    ("diagnostics", Ways::DIAGNOSTICS),
    ("calls", Ways::CALLS),
    ("alters", Ways::ALTERS),
    ("chooses_schema", Ways::SCHEMA),
    ("derives", Ways::DERIVES),
];

/// An array of tables, and the rest by names.
pub fn tables(lua: &Lua, args: &Args) -> Answer {
    let sql = args.string(0, "sql")?.as_bytes();
    let options = options(args, 1, MODES)?;
    let found = tables_of(&sql, options.mode);
    let result = lua.create_table_with_capacity(found.tables.len(), 16)?;
    for (name, access) in &found.tables {
        let entry = named(lua, name)?;
        entry.raw_set("read", access.contains(Access::READ))?;
        entry.raw_set("write", access.contains(Access::WRITE))?;
        result.raw_push(entry)?;
    }
    let routines = lua.create_table_with_capacity(found.routines.len(), 0)?;
    for name in &found.routines {
        routines.raw_push(named(lua, name)?)?;
    }
    result.raw_set("routines", routines)?;
    let copies = lua.create_table_with_capacity(found.copies.len(), 0)?;
    for (from, to) in &found.copies {
        let copy = lua.create_table_with_capacity(0, 2)?;
        copy.raw_set("from", lua.create_string(from)?)?;
        copy.raw_set("to", lua.create_string(to)?)?;
        copies.raw_push(copy)?;
    }
    result.raw_set("copies", copies)?;
    let variables = lua.create_table_with_capacity(found.variables.len(), 0)?;
    for (name, how) in &found.variables {
        let variable = lua.create_table_with_capacity(0, 2)?;
        variable.raw_set("name", lua.create_string(name)?)?;
        let how = match how {
            Use::Read => "read",
            Use::MaySet => "may be set",
            Use::Set => "set",
        };
        variable.raw_set("is", how)?;
        variables.raw_push(variable)?;
    }
    result.raw_set("variables", variables)?;
    if let Some((name, text)) = &found.prepares {
        let prepares = lua.create_table_with_capacity(0, 2)?;
        prepares.raw_set("name", lua.create_string(name)?)?;
        prepares.raw_set("sql", lua.create_string(text)?)?;
        result.raw_set("prepares", prepares)?;
    }
    if let Some(name) = &found.executes {
        result.raw_set("executes", lua.create_string(name)?)?;
    }
    for (name, way) in WAYS {
        result.raw_set(*name, found.ways.contains(*way))?;
    }
    result.raw_set("statements", found.statements as f64)?;
    result.raw_set("unknown", found.unknown)?;
    one(Value::Table(result))
}

fn named(lua: &Lua, name: &Name) -> mlua::Result<Table> {
    let entry = lua.create_table_with_capacity(0, 4)?;
    if let Some(schema) = &name.schema {
        entry.raw_set("schema", lua.create_string(schema)?)?;
    }
    entry.raw_set("name", lua.create_string(&name.name)?)?;
    Ok(entry)
}
