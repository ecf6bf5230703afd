//! The tables of what listeners, servers and users have done.

use std::rc::Rc;

use super::connections;
use super::groups::{Group, Usage};
use super::tally::Tally;
use crate::metrics::{Column, Page, Row, Source, Sources, Table, Unit, Value};
use crate::proxy::Proxy;
use crate::wire::Com;

/// A kind of what is counted.
#[derive(Clone, Copy)]
struct Kind {
    /// The label of each.
    label: &'static str,
    help: &'static str,
    of: fn(&Usage) -> &Group,
    /// The tables of totals, of commands and of errors, and what the first shows.
    names: [&'static str; 3],
    about: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        label: "listener",
        help: "Where clients connect to.",
        of: |usage| &usage.listeners,
        names: ["listeners", "listener_commands", "listener_errors"],
        about: "what the clients of each listener have done",
    },
    Kind {
        label: "server",
        help: "The server's address.",
        of: |usage| &usage.servers,
        names: ["servers", "server_commands", "server_errors"],
        about: "what the connections to each server have done",
    },
    Kind {
        label: "user",
        help: "The name of those who have logged in.",
        of: |usage| &usage.users,
        names: ["users", "user_commands", "user_errors"],
        about: "what the clients of each user have done",
    },
];

/// Makes the rows of one of them.
type Reader = fn(&Tally) -> Vec<Row>;

/// A table of a kind.
struct Of {
    proxy: Proxy,
    kind: Kind,
    table: Table,
    rows: Reader,
}

impl Source for Of {
    fn table(&self) -> &Table {
        &self.table
    }

    /// A page has some of a kind, each with all its rows.
    fn page(&self, from: usize) -> Page {
        let core = self.proxy.core();
        let all = &(self.kind.of)(&core.usage).all;
        let mut rows = Vec::new();
        for (place, tally) in all.iter().enumerate().skip(from) {
            if rows.len() >= Page::ROWS {
                let next = Some(place);
                return Page { rows, next };
            }
            rows.extend((self.rows)(tally));
        }
        Page::last(rows)
    }
}

fn totals(tally: &Tally) -> Vec<Row> {
    let of = |com: Com| {
        let mut commands = tally.commands();
        commands.find(|(it, _)| *it == com).map_or(0, |of| of.1)
    };
    let commands: u64 = tally.commands().map(|(_, count)| count).sum();
    let errors: u64 = tally.errors().iter().map(|(_, count)| count).sum();
    vec![vec![
        (&*tally.name).into(),
        tally.connections.get().into(),
        tally.opened.get().into(),
        commands.into(),
        of(Com::QUERY).into(),
        of(Com::STMT_EXECUTE).into(),
        errors.into(),
        tally.bytes_in.get().into(),
        tally.bytes_out.get().into(),
        tally.lua_us.get().into(),
    ]]
}

fn commands(tally: &Tally) -> Vec<Row> {
    let counts = tally.commands();
    let row = |(com, count): (Com, u64)| -> Row {
        vec![(&*tally.name).into(), com.name().into(), count.into()]
    };
    counts.map(row).collect()
}

fn errors(tally: &Tally) -> Vec<Row> {
    let counts = tally.errors().into_iter();
    let row = |(number, count): (Option<u16>, u64)| -> Row {
        let number = number.map_or("(others)".to_owned(), |number| number.to_string());
        vec![(&*tally.name).into(), number.into(), Value::Integer(count)]
    };
    counts.map(row).collect()
}

fn totals_table(kind: Kind) -> Table {
    let columns = vec![
        Column::label(kind.label, kind.help),
        Column::gauge("connections", "Connections now."),
        Column::counter("opened", "Connections so far."),
        Column::counter("commands", "Commands."),
        Column::counter("queries", "Commands that were COM_QUERY."),
        Column::counter("executes", "Commands that were COM_STMT_EXECUTE."),
        Column::counter("errors", "Errors in answers."),
        Column::counter("bytes_in", "Bytes read from them.")
            .unit(Unit::Bytes)
            .metric("received"),
        Column::counter("bytes_out", "Bytes written to them.")
            .unit(Unit::Bytes)
            .metric("sent"),
        Column::counter("lua_us", "Time in callbacks of their connections.")
            .unit(Unit::Microseconds)
            .metric("lua"),
    ];
    let [name, ..] = kind.names;
    Table::new(name, kind.about, columns)
}

impl Proxy {
    /// Adds the tables of what listeners, servers and users have done, of clients and of connections to servers.
    pub fn add_figures(&self, sources: &Sources) {
        add(self, sources);
        connections::add(self, sources);
    }
}

fn add(proxy: &Proxy, sources: &Sources) {
    for kind in KINDS {
        let [_, of_commands, of_errors] = kind.names;
        let label = Column::label(kind.label, kind.help);
        let count = Column::counter("count", "How many there were.").metric("");
        let by_command = Table::new(
            of_commands,
            "commands by their kind",
            vec![
                label.clone(),
                Column::label("command", "The command's name."),
                count.clone(),
            ],
        );
        let by_number = Table::new(
            of_errors,
            "errors by their number",
            vec![label, Column::label("number", "The error's number."), count],
        );
        let tables: [(Table, Reader); 3] = [
            (totals_table(kind), totals),
            (by_command, commands),
            (by_number, errors),
        ];
        for (table, rows) in tables {
            let proxy = proxy.clone();
            sources.add(Rc::new(Of {
                proxy,
                kind,
                table,
                rows,
            }));
        }
    }
}
