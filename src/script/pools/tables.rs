//! What is told of a pool, as tables.

use mlua::{Lua, Table, Value};

use crate::pool::shown::{Row, Told};
use crate::script::lua::error::Answer;
use crate::script::lua::function::one;

/// One row: its names with their values. Ages are in seconds.
fn row(lua: &Lua, row: Row) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, told) in row {
        let value = match told {
            Told::Text(text) => Value::String(lua.create_string(text)?),
            Told::Number(number) => Value::Number(number as f64),
            Told::Age(age) => Value::Number(age.as_secs_f64()),
            Told::Nothing => Value::Nil,
        };
        table.raw_set(name, value)?;
    }
    Ok(table)
}

/// A list of rows.
pub fn rows(lua: &Lua, rows: Vec<Row>) -> Answer {
    let list = lua.create_table()?;
    for (index, of) in rows.into_iter().enumerate() {
        list.raw_set(index + 1, row(lua, of)?)?;
    }
    one(Value::Table(list))
}
