//! What connections have for the prepared statements that they remember.

use std::rc::Rc;

use mlua::Value;

use super::statement::Prepared;
use crate::script::connections::conn::ConnObject;
use crate::script::lua::convert::to_integer;
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::{Args, Methods, nothing, one};
use crate::script::lua::option_table::OptionTable;
use crate::script::objects::object;
use crate::script::runtime::Runtime;

/// The methods of connections.
pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("track_statements", move |_, conn, args| {
        if args.is_empty() {
            return one(Value::Boolean(rt.statements.tracks(conn.id())));
        }
        track(&rt, conn, args)?;
        nothing()
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("statement", move |lua, conn, args| {
        let id = args.integer(0, "", u32::MAX.into())? as u32;
        check_tracked(&rt, conn, args)?;
        let Some(known) = rt.statements.statement(conn.id(), id) else {
            return one(Value::Nil);
        };
        let head = known.head().clone();
        let prepared = Prepared::new(head, known, Some(conn.info().clone()));
        let object = lua.create_userdata(object::Held::new(prepared))?;
        one(Value::UserData(object))
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("statements", move |lua, conn, args| {
        check_tracked(&rt, conn, args)?;
        let table = lua.create_table()?;
        for (index, id) in rt.statements.ids(conn.id()).into_iter().enumerate() {
            table.raw_set(index + 1, f64::from(id))?;
        }
        one(Value::Table(table))
    })
}

fn track(runtime: &Runtime, conn: &ConnObject, args: &Args) -> Result<(), ScriptError> {
    if conn.info().kind.is_listener() {
        return Err(args.error("a listener has no statements"));
    }
    let on = args.boolean(0, "")?;
    let keep = match OptionTable::argument(args, 1, &["long_data"])? {
        Some(options) => options.read("long_data", "a number of bytes", |value| {
            to_integer(value, 1 << 40)
        })?,
        None => None,
    };
    match on {
        true => {
            let keep = keep.unwrap_or_default() as usize;
            runtime.statements.track(runtime.proxy(), conn.id(), keep);
        }
        false => runtime.statements.forget(runtime.proxy(), conn.id()),
    }
    Ok(())
}

/// An error if statements are not remembered, since nil would mean that there is no such statement.
fn check_tracked(runtime: &Runtime, conn: &ConnObject, args: &Args) -> Result<(), ScriptError> {
    let closed = || runtime.proxy().info(conn.id()).is_none();
    if runtime.statements.tracks(conn.id()) || closed() {
        return Ok(());
    }
    Err(args.error(
        "the connection does not remember statements: call conn:track_statements(true) before they \
         are prepared",
    ))
}
