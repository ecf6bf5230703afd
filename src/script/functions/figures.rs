//! Figures, as tables: `dpm.figures` and `dpm.stats`.

use std::rc::{Rc, Weak};

use mlua::{Lua, MultiValue, Table as LuaTable, Value as LuaValue};

use crate::metrics::{
    Audience, Column, Form, Kind, Merge, Page, Row, Source, Table, Type, Unit, Value,
};
use crate::proxy::Stats;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, one};
use crate::script::runtime::Runtime;

/// The program's own counters: the table that `dpm.stats()` tells.
pub struct Program {
    table: Table,
    runtime: Weak<Runtime>,
}

/// What is counted of Lua, beside the proxy's counters.
const OF_LUA: [Column; 11] = [
    Column::gauge("lua_memory", "Bytes that Lua has in use.").unit(Unit::Bytes),
    Column::gauge("lua_handles", "Lua values that the binding holds."),
    Column::gauge(
        "lua_refs",
        "Lua values that are held for connections and timers.",
    ),
    Column::gauge("timers", "Timers that are scheduled."),
    Column::counter(
        "messages_missed",
        "Published messages that did not come, as too many waited.",
    ),
    Column::counter("lua_us", "Time in callbacks.")
        .unit(Unit::Microseconds)
        .metric("lua"),
    Column::gauge(
        "startfiles",
        "Startfiles that run: one, and those before it that still have clients.",
    ),
    Column::gauge(
        "clients_in_older_startfiles",
        "Clients that are still with a startfile from before a reload.",
    ),
    Column::counter("reloads", "Reloads of the startfile."),
    Column::counter(
        "reloads_failed",
        "Reloads that have changed nothing, as the new startfile cannot be used.",
    ),
    Column::counter(
        "clients_moved",
        "Clients that have moved from an older startfile to the one in use.",
    ),
];

impl Program {
    /// The program of this binding.
    pub fn new(runtime: &Rc<Runtime>) -> Program {
        let stats = Stats::default();
        let columns = stats.figures().map(|(column, _)| column).chain(OF_LUA);
        let help = "what the program has done since its start, and what it has in use";
        Program {
            table: Table::new("stats", help, columns.collect())
                .as_list()
                .prefixed(""),
            runtime: Rc::downgrade(runtime),
        }
    }
}

impl Source for Program {
    fn table(&self) -> &Table {
        &self.table
    }

    fn page(&self, _: usize) -> Page {
        let Some(runtime) = self.runtime.upgrade() else {
            return Page::default();
        };
        let Some(lua) = runtime.lua() else {
            return Page::default();
        };
        let mut stats = runtime.proxy().stats();
        stats.callback_errors += runtime.errors();
        let reloads = &runtime.commons.reloads;
        let of_lua = [
            lua.used_memory() as u64,
            runtime.fast().handles(&lua) as u64,
            runtime.refs.len() as u64,
            runtime.timers.len() as u64,
            runtime.proxy().worker().missed(),
            runtime.lua_time().as_micros() as u64,
            reloads.states.get() as u64,
            runtime.proxy().clients_of_others() as u64,
            reloads.done.get(),
            reloads.failed.get(),
            reloads.moved.get(),
        ];
        let values = stats.figures().map(|(_, value)| value).chain(of_lua);
        Page::last(vec![values.map(Value::Integer).collect()])
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Label => "label",
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Note => "note",
    }
}

fn type_of(of: Type) -> &'static str {
    match of {
        Type::Text => "text",
        Type::Integer => "integer",
        Type::Real => "number",
        Type::Time => "time",
    }
}

fn unit(unit: Unit) -> Option<&'static str> {
    match unit {
        Unit::None => None,
        Unit::Seconds => Some("seconds"),
        Unit::Microseconds => Some("microseconds"),
        Unit::Bytes => Some("bytes"),
    }
}

fn merge(merge: Merge) -> &'static str {
    match merge {
        Merge::Sum => "sum",
        Merge::Largest => "largest",
        Merge::Smallest => "smallest",
    }
}

fn declaration(lua: &Lua, table: &Table) -> mlua::Result<LuaTable> {
    let columns = lua.create_table()?;
    for (index, column) in table.columns.iter().enumerate() {
        let shown = lua.create_table()?;
        shown.raw_set("name", column.name)?;
        shown.raw_set("help", column.help)?;
        shown.raw_set("kind", kind(column.kind))?;
        shown.raw_set("type", type_of(column.of))?;
        shown.raw_set("unit", unit(column.unit))?;
        shown.raw_set("merge", merge(column.merge))?;
        shown.raw_set("metric", column.metric)?;
        columns.raw_set(index + 1, shown)?;
    }
    let shown = lua.create_table()?;
    shown.raw_set("name", table.name)?;
    shown.raw_set("help", table.help)?;
    shown.raw_set("prefix", table.prefix)?;
    shown.raw_set("list", table.form == Form::List)?;
    shown.raw_set("metrics", table.audience == Audience::All)?;
    shown.raw_set("order", table.order)?;
    shown.raw_set("columns", columns)?;
    Ok(shown)
}

fn value(lua: &Lua, value: Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        Value::Null => LuaValue::Nil,
        Value::Integer(number) => LuaValue::Number(number as f64),
        Value::Real(number) => LuaValue::Number(number),
        Value::Text(text) => LuaValue::String(lua.create_string(&text)?),
        Value::Histogram(counts, sum) => {
            let table = lua.create_table()?;
            for (index, (limit, count)) in counts.into_iter().enumerate() {
                let step = lua.create_table()?;
                step.raw_set(1, limit)?;
                step.raw_set(2, count as f64)?;
                table.raw_set(index + 1, step)?;
            }
            table.raw_set("sum", sum)?;
            LuaValue::Table(table)
        }
    })
}

/// Rows as arrays.
pub fn rows(lua: &Lua, rows: Vec<Row>) -> mlua::Result<LuaTable> {
    let list = lua.create_table_with_capacity(rows.len(), 0)?;
    for (index, row) in rows.into_iter().enumerate() {
        let shown = lua.create_table_with_capacity(row.len(), 0)?;
        for (place, of) in row.into_iter().enumerate() {
            shown.raw_set(place + 1, value(lua, of)?)?;
        }
        list.raw_set(index + 1, shown)?;
    }
    Ok(list)
}

fn named(runtime: &Runtime, args: &Args) -> Result<Rc<dyn Source>, ScriptError> {
    let name = args.text(0, "table")?;
    runtime.sources.named(&name).ok_or_else(|| {
        let all = runtime.sources.all();
        let names: Vec<&str> = all.iter().map(|of| of.table().name).collect();
        args.error(format!(
            "there is no table {name}, only {}",
            names.join(", ")
        ))
    })
}

/// `dpm.figures()`: the declarations of all tables. `dpm.figures(table, from)`: some rows of one, and where to go on.
pub fn figures(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    if args.is_empty() {
        let list = lua.create_table()?;
        for (index, source) in runtime.sources.all().iter().enumerate() {
            list.raw_set(index + 1, declaration(lua, source.table())?)?;
        }
        return one(LuaValue::Table(list));
    }
    let source = named(runtime, args)?;
    let from = match args.get(1) {
        LuaValue::Nil => 0,
        _ => args.integer(1, "from", u32::MAX.into())?,
    };
    let page = source.page(from as usize);
    let next = page
        .next
        .map_or(LuaValue::Nil, |next| LuaValue::Number(next as f64));
    let values = vec![LuaValue::Table(rows(lua, page.rows)?), next];
    Ok(MultiValue::from_vec(values))
}

/// `dpm.stats(table)`: the rows of one, with names; without an argument the program's own counters.
pub fn stats(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let source = match args.get(0) {
        LuaValue::Nil => Rc::new(Program::new(runtime)),
        _ => named(runtime, args)?,
    };
    let list = lua.create_table()?;
    let mut from = Some(0);
    while let Some(place) = from {
        let page = source.page(place);
        for row in page.rows {
            let record = lua.create_table()?;
            for (column, of) in source.table().columns.iter().zip(row) {
                record.raw_set(column.name, value(lua, of)?)?;
            }
            if source.table().form == Form::List {
                return one(LuaValue::Table(record));
            }
            list.raw_push(record)?;
        }
        from = page.next;
    }
    one(LuaValue::Table(list))
}
