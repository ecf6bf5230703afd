//! What: a proxy in both languages: Rust counts the queries of each table, Lua shows and steers that.
//! How:  cargo run --example table_counter -- --startfile demos/table_counter.lua -- 127.0.0.1 3306 5500
//! See:  mysql -h127.0.0.1 -P5500 …: SHOW TABLE COUNTS after a few queries; STOP COUNTING, and no more of
//!       this client's are counted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::rc::Rc;

use clap::Parser;
use dpm::cli::Arguments;
use dpm::proxy::{ConnId, ConnInfo, ConnKind, Observer, PerConnection, Proxy, Shown, Verdict};
use dpm::script::mlua::{AnyUserData, Lua, Table};
use dpm::script::{Script, ScriptError};
use dpm::session::{Event, EventSet};
use dpm::sql::{Kind, Mode, Tokens};

/// Only so many tables are counted, so that a client cannot fill the memory.
const MOST_TABLES: usize = 10_000;

/// What is known of a client.
#[derive(Default)]
struct Client {
    queries: u64,
    ignored: bool,
}

/// Counts the queries of each table.
#[derive(Default)]
struct TableCounter {
    tables: RefCell<BTreeMap<String, u64>>,
    clients: PerConnection<Client>,
    busiest: Cell<Option<(ConnId, u64)>>,
}

impl TableCounter {
    /// Whether a client's queries count.
    fn ignore(&self, proxy: &Proxy, client: ConnId, ignored: bool) {
        self.clients
            .with_default(client, |client| client.ignored = ignored);
        // A client that is not counted asks for no events, so that its packets are not decoded.
        proxy.rearm(client);
    }
}

impl Observer for TableCounter {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        let ignored = self.clients.with(conn.id, |client| client.ignored);
        match (conn.kind, ignored) {
            (ConnKind::Client, None | Some(false)) => Event::ClientSentCommand.set(),
            _ => EventSet::NONE,
        }
    }

    fn event(&self, _: &Proxy, shown: Shown<'_>) -> Verdict {
        if let Some(sql) = shown.packet.and_then(|packet| packet.sql()) {
            let mut counts = self.tables.borrow_mut();
            for table in tables(sql) {
                if counts.len() < MOST_TABLES || counts.contains_key(&table) {
                    *counts.entry(table).or_default() += 1;
                }
            }
            let id = shown.conn.id;
            let queries = self.clients.with_default(id, |client| {
                client.queries += 1;
                client.queries
            });
            if self.busiest.get().is_none_or(|(_, most)| queries > most) {
                self.busiest.set(Some((id, queries)));
            }
        }
        Verdict::Forward
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        self.clients.remove(conn.id);
        if self.busiest.get().is_some_and(|(id, _)| id == conn.id) {
            self.busiest.set(None);
        }
    }
}

/// The tables that a statement names: the names after FROM, JOIN, INTO and UPDATE.
fn tables(sql: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_due = false;
    let mut name = String::new();
    for token in Tokens::new(sql, Mode::default()) {
        let text = String::from_utf8_lossy(sql.get(token.from..token.to).unwrap_or_default());
        let is_name = matches!(token.kind, Kind::Word | Kind::Quoted);
        if is_due && (is_name && (name.is_empty() || name.ends_with('.')) || text == ".") {
            name.push_str(text.trim_matches('`'));
            continue;
        }
        if !token.kind.is_code() {
            continue;
        }
        if !name.is_empty() {
            found.insert(std::mem::take(&mut name));
        }
        is_due = ["FROM", "JOIN", "INTO", "UPDATE"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word));
    }
    if !name.is_empty() {
        found.insert(name);
    }
    found
}

/// The global `counter`, by which scripts ask and steer.
fn counter_table(
    lua: &Lua,
    proxy: &Proxy,
    script: &Rc<Script>,
    counter: &Rc<TableCounter>,
) -> Result<Table, ScriptError> {
    let table = lua.create_table()?;
    let own = counter.clone();
    table.set(
        "tables",
        lua.create_function(move |lua, ()| {
            let counts = own.tables.borrow();
            lua.create_table_from(counts.iter().map(|(name, count)| (name.as_str(), *count)))
        })?,
    )?;
    // A client's object names its connection…
    let (own, proxy) = (counter.clone(), proxy.clone());
    table.set(
        "ignore",
        lua.create_function(move |_, (client, ignored): (AnyUserData, bool)| {
            if let Some(id) = Script::conn_id(&client) {
                own.ignore(&proxy, id, ignored);
            }
            Ok(())
        })?,
    )?;
    // … and a connection has its object.
    let (own, script) = (counter.clone(), Rc::downgrade(script));
    table.set(
        "busiest",
        lua.create_function(move |_, ()| {
            let found = own.busiest.get().and_then(|(id, queries)| {
                let object = script.upgrade()?.conn_object(id)?;
                Some((object, queries))
            });
            Ok(found.unzip())
        })?,
    )?;
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let startfile = arguments.startfile.as_deref();
    let proxy = Proxy::new()?;
    // Observers are called in the order in which they come: this one sees what clients said before a
    // script has changed it.
    let counter = Rc::new(TableCounter::default());
    proxy.observe(counter.clone());
    let script = Rc::new(Script::new(proxy.clone(), startfile)?);
    let lua = script.lua();
    let table = counter_table(lua, &proxy, &script, &counter)?;
    lua.globals().set("counter", table)?;
    script.set_arguments("table_counter", &arguments.script_arguments)?;
    script.run(&script.load(startfile)?)?;
    std::process::exit(proxy.run()?);
}
