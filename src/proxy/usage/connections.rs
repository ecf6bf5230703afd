//! The tables of clients and of connections to servers, one by one.

use std::rc::Rc;
use std::time::Instant;

use crate::metrics::{Column, Page, Row, Source, Sources, Table, Type, Unit, Value};
use crate::proxy::Proxy;
use crate::proxy::info::ConnKind;
use crate::proxy::table::conn::Conn;
use crate::proxy::table::core::Core;

/// Makes a connection's row.
type Reader = fn(&Core, &Conn) -> Row;

/// The connections of a kind.
struct Connections {
    proxy: Proxy,
    kind: ConnKind,
    table: Table,
    row: Reader,
}

impl Source for Connections {
    fn table(&self) -> &Table {
        &self.table
    }

    fn page(&self, from: usize) -> Page {
        let core = self.proxy.core();
        let mut rows = Vec::new();
        for slot in from..core.conns.capacity() {
            let conn = core.conns.get(slot).filter(|conn| !conn.closing());
            let Some(conn) = conn.filter(|conn| conn.info.kind == self.kind) else {
                continue;
            };
            if rows.len() >= Page::ROWS {
                let next = Some(slot);
                return Page { rows, next };
            }
            rows.push((self.row)(&core, conn));
        }
        Page::last(rows)
    }
}

fn place(conn: &Conn) -> Value {
    let tally = conn.info.tallies.place();
    tally.map(|tally| Value::from(&*tally.name)).into()
}

fn address(conn: &Conn) -> Value {
    match conn.info.port.get() {
        0 => conn.info.address().to_string().into(),
        port => format!("{}:{port}", conn.info.address()).into(),
    }
}

fn state(conn: &Conn) -> Value {
    conn.info.state.get().map(|event| event.name()).into()
}

fn command(conn: &Conn) -> Value {
    conn.answering().map(|com| com.name()).into()
}

fn peer(conn: &Conn) -> Value {
    conn.peer.map(|peer| u64::from(peer.serial())).into()
}

fn tls(conn: &Conn) -> Value {
    let session = conn.info.tls();
    session.map(|tls| tls.version.to_string()).into()
}

fn age(conn: &Conn) -> Value {
    Value::Integer(
        Instant::now()
            .duration_since(conn.info.opened.get())
            .as_secs(),
    )
}

fn client(core: &Core, conn: &Conn) -> Row {
    let server = conn.peer.and_then(|peer| core.get(peer));
    let user = conn.info.tallies.user();
    vec![
        u64::from(conn.id().serial()).into(),
        user.map(|user| Value::from(&*user.name)).into(),
        address(conn),
        place(conn),
        state(conn),
        command(conn),
        server.map_or(Value::Null, place),
        peer(conn),
        age(conn),
        tls(conn),
        conn.info.tallies.bytes().0.into(),
        conn.info.tallies.bytes().1.into(),
        (conn.pending() as u64).into(),
        u64::from(conn.info.owner.get()).into(),
        conn.info.stays().as_deref().into(),
    ]
}

fn server(_: &Core, conn: &Conn) -> Row {
    vec![
        u64::from(conn.id().serial()).into(),
        place(conn),
        state(conn),
        command(conn),
        peer(conn),
        age(conn),
        tls(conn),
        conn.info.tallies.bytes().0.into(),
        conn.info.tallies.bytes().1.into(),
        (conn.pending() as u64).into(),
    ]
}

/// A number that is the name of something.
fn number(name: &'static str, help: &'static str) -> Column {
    Column::note(name, help).of(Type::Integer)
}

fn common() -> [Column; 5] {
    [
        number("seconds", "For how long it has been connected.").unit(Unit::Seconds),
        Column::note("tls", "The version of TLS, if it uses any."),
        number("bytes_in", "Bytes read from it.").unit(Unit::Bytes),
        number("bytes_out", "Bytes written to it.").unit(Unit::Bytes),
        number("queued", "Bytes that wait to be written to it.").unit(Unit::Bytes),
    ]
}

/// Adds the tables to what is shown.
pub(crate) fn add(proxy: &Proxy, sources: &Sources) {
    let state = Column::note("state", "The last event on it.");
    let command = Column::note("command", "The command that is being answered.");
    let mut clients = vec![
        number("client", "Its number."),
        Column::note("user", "The name that it has logged in with."),
        Column::note("host", "Where it comes from."),
        Column::note("listener", "The listener that it has come by."),
        state.clone(),
        command.clone(),
        Column::note("server", "The server that it is linked to."),
        number("connection", "The number of the connection to that."),
    ];
    clients.extend(common());
    clients.extend([
        number(
            "startfile",
            "The startfile that has it: 1 is the first, and each reload brings the next.",
        ),
        Column::note("stays", "Why it is still with an older startfile."),
    ]);
    let mut servers = vec![
        number("connection", "Its number."),
        Column::note("server", "The server's address."),
        state,
        command,
        number("client", "The client that it is linked to."),
    ];
    servers.extend(common());
    let tables: [(Table, ConnKind, Reader); 2] = [
        (
            Table::new("clients", "the clients, one by one", clients),
            ConnKind::Client,
            client,
        ),
        (
            Table::new(
                "connections",
                "the connections to servers, one by one",
                servers,
            ),
            ConnKind::Server,
            server,
        ),
    ];
    for (table, kind, row) in tables {
        sources.add(Rc::new(Connections {
            proxy: proxy.clone(),
            kind,
            table: table.for_people(),
            row,
        }));
    }
}
