//! What an administrator asks for beside counters: the last lines of the log, timers, listeners, options.

use std::rc::{Rc, Weak};
use std::time::Instant;

use mlua::{Lua, Value as LuaValue};

use crate::metrics::{Column, Page, Row, Source, Table, Type, Unit, Value};
use crate::output;
use crate::proxy::{ConnKind, Options};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, nothing, one, string};
use crate::script::runtime::{KEYS, Runtime};

/// Reads some rows, from a position on.
type Reader = fn(&Runtime, usize) -> Page;

/// One of these tables.
struct Inventory {
    table: Table,
    runtime: Weak<Runtime>,
    page: Reader,
}

impl Source for Inventory {
    fn table(&self) -> &Table {
        &self.table
    }

    fn page(&self, from: usize) -> Page {
        let runtime = self.runtime.upgrade();
        runtime.map_or_else(Page::default, |runtime| (self.page)(&runtime, from))
    }
}

fn number(name: &'static str, help: &'static str) -> Column {
    Column::note(name, help).of(Type::Integer)
}

fn log_table() -> Table {
    let columns = vec![
        number("line", "Its number."),
        Column::note("time", "When it was written, in UTC.").of(Type::Time),
        Column::note("level", "ERROR, WARN, INFO, DEBUG or TRACE."),
        Column::note("target", "The part of the program that has written it."),
        Column::note("message", "What it says."),
    ];
    Table::new("log", "the last lines of the log", columns).for_people()
}

fn log_page(_: &Runtime, from: usize) -> Page {
    let lines = output::recent_lines(from as u64, Page::ROWS);
    let next = lines.last().map(|line| line.number as usize + 1);
    let rows = lines.into_iter().map(|line| {
        let time = jiff::Timestamp::try_from(line.time).unwrap_or_default();
        vec![
            line.number.into(),
            time.strftime("%Y-%m-%d %H:%M:%S").to_string().into(),
            line.level.as_str().into(),
            (&*line.target).into(),
            (&*line.message).into(),
        ]
    });
    let rows: Vec<Row> = rows.collect();
    Page {
        next: next.filter(|_| rows.len() == Page::ROWS),
        rows,
    }
}

fn timers_table() -> Table {
    let seconds = |name, help| Column::note(name, help).of(Type::Real).unit(Unit::Seconds);
    let columns = vec![
        number("timer", "Its number."),
        seconds("every_seconds", "Its delay."),
        seconds("due_seconds", "When it is due."),
    ];
    Table::new("timers", "timers that are scheduled", columns).for_people()
}

/// What of a timer's key is its number in its state.
const NUMBER: u64 = (1 << KEYS) - 1;

fn timers_page(runtime: &Runtime, from: usize) -> Page {
    let scheduled = runtime.timers.scheduled.borrow();
    let mut keys: Vec<u64> = scheduled.keys().copied().collect();
    keys.sort_unstable();
    let first = keys.partition_point(|key| *key < from as u64);
    let now = Instant::now();
    let page = keys.iter().skip(first).take(Page::ROWS);
    let rows = page.filter_map(|key| {
        let timer = scheduled.get(key)?;
        let due = timer.id.deadline().saturating_duration_since(now);
        Some(vec![
            (*key & NUMBER).into(),
            timer.delay.as_secs_f64().into(),
            due.as_secs_f64().into(),
        ])
    });
    Page {
        rows: rows.collect(),
        next: keys.get(first + Page::ROWS).map(|key| *key as usize),
    }
}

fn listening_table() -> Table {
    let columns = vec![
        number("connection", "Its number."),
        Column::note("listener", "Where clients connect to."),
        Column::note("kind", "tcp or unix."),
        Column::note("state", "open, or paused: clients wait to be accepted."),
    ];
    Table::new("listening", "the listeners that are open", columns).for_people()
}

fn listening_page(runtime: &Runtime, _: usize) -> Page {
    let rows = runtime
        .proxy()
        .listeners()
        .into_iter()
        .map(|(info, paused)| {
            let mut place = Vec::new();
            info.write_place(&mut place);
            let kind = match info.kind {
                ConnKind::UnixListener => "unix",
                _ => "tcp",
            };
            let state = if paused { "paused" } else { "open" };
            vec![
                u64::from(info.id.serial()).into(),
                place.as_slice().into(),
                kind.into(),
                state.into(),
            ]
        });
    Page::last(rows.collect())
}

/// Declares options with their values.
fn options(options: &Options) -> Vec<(Column, Value)> {
    let bytes = |name, help, value: usize| {
        (
            number(name, help).unit(Unit::Bytes),
            Value::Integer(value as u64),
        )
    };
    let seconds = |name, help, value: std::time::Duration| {
        let column = Column::note(name, help).of(Type::Real).unit(Unit::Seconds);
        (column, Value::Real(value.as_secs_f64()))
    };
    let count = |name, help, value: Option<usize>| {
        (number(name, help), value.map(|value| value as u64).into())
    };
    vec![
        bytes(
            "max_packet",
            "The largest packet that is read whole.",
            options.max_packet,
        ),
        bytes(
            "max_queue",
            "How much a script may queue on a connection.",
            options.max_queue,
        ),
        bytes(
            "max_buffered",
            "How much all connections together may hold.",
            options.max_buffered,
        ),
        seconds(
            "connect_timeout",
            "Connecting to a server takes so long at most.",
            options.connect_timeout,
        ),
        seconds(
            "handshake_timeout",
            "A login takes so long at most.",
            options.handshake_timeout,
        ),
        seconds(
            "idle_timeout",
            "Silent connections are closed after this; 0 is never.",
            options.idle_timeout,
        ),
        seconds(
            "drain",
            "How long the end of the program waits for exchanges.",
            options.drain,
        ),
        count(
            "max_clients",
            "Clients of a listener; NULL: as many as there are descriptors.",
            options.max_clients,
        ),
        count(
            "max_clients_per_address",
            "Clients of a listener from one address.",
            options.max_clients_per_address,
        ),
    ]
}

fn config_table() -> Table {
    let columns = options(&Options::default());
    let columns = columns.into_iter().map(|(column, _)| column).collect();
    let help = "the defaults of connections that are made from now on: dpm.config";
    Table::new("config", help, columns).as_list().for_people()
}

fn config_page(runtime: &Runtime, _: usize) -> Page {
    let all = options(&runtime.options());
    Page::last(vec![all.into_iter().map(|(_, value)| value).collect()])
}

/// The tables.
pub fn sources(runtime: &Rc<Runtime>) -> Vec<Rc<dyn Source>> {
    let tables: [(Table, Reader); 4] = [
        (listening_table(), listening_page),
        (timers_table(), timers_page),
        (config_table(), config_page),
        (log_table(), log_page),
    ];
    let runtime = Rc::downgrade(runtime);
    let sources = tables.into_iter().map(|(table, page)| {
        let runtime = runtime.clone();
        Rc::new(Inventory {
            table,
            runtime,
            page,
        }) as Rc<dyn Source>
    });
    sources.collect()
}

/// `dpm.log_level(level)`: what is logged from now on. Without an argument: what is logged.
pub fn log_level(lua: &Lua, runtime: &Runtime, args: &Args) -> Answer {
    if args.is_empty() {
        return string(lua, log::max_level().as_str().to_lowercase());
    }
    let wanted = "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
    let level = args
        .text(0, "level")
        .ok()
        .and_then(|level| level.parse().ok());
    let level = level.ok_or_else(|| args.no_such_word(0, "level", wanted))?;
    runtime.when_in_use(move || log::set_max_level(level));
    nothing()
}

/// `dpm.connection(id)`: the object of the open connection with this number, unless nobody holds it any more.
pub fn connection(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let serial = args.integer(0, "id", u32::MAX.into())?;
    let id = runtime.proxy().named(serial as u32);
    let object = id.and_then(|id| runtime.object(id));
    one(object.map_or(LuaValue::Nil, LuaValue::UserData))
}
