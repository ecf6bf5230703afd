//! The statements that a connection remembers, if a script has asked for that: what a client has
//! prepared, what a server has. Both ends of a link that passes a statement on have the same one.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use mlua::Value;

use super::conn::ConnObject;
use super::convert::to_integer;
use super::error::ScriptError;
use super::function::{Args, Methods, nothing, one};
use super::known::{Budget, Known};
use super::object;
use super::option_table::OptionTable;
use super::rset::Arrived;
use super::runtime::Runtime;
use super::statement::Statement;
use crate::proxy::{ConnId, ConnInfo, ConnKind, Packet, Verdict};
use crate::session::{Event, EventSet};
use crate::wire::{Capabilities, Column, Com, Command, LAST_PREPARED, PrepareOk};

/// More than a client that closes its statements ever has; the oldest is forgotten beyond it.
const MAX_STATEMENTS: usize = 4096;

/// A connection's statements.
#[derive(Debug, Default)]
pub struct Statements {
    /// By their ids, with a number that tells which is older.
    by_id: BTreeMap<u32, (u64, Statement)>,
    newest: u64,
    last: Option<u32>,
    /// A script has asked for them. Otherwise they are here for results that come without columns.
    asked: bool,
    budget: Rc<Budget>,
}

/// The statement whose definitions are on their way.
#[derive(Debug, Clone)]
pub struct Preparing {
    ok: PrepareOk,
    known: Rc<Known>,
}

impl Statements {
    fn get(&self, id: u32) -> Option<&Statement> {
        let id = match id {
            LAST_PREPARED => self.last?,
            id => id,
        };
        self.by_id.get(&id).map(|(_, statement)| statement)
    }

    /// The same, which makes it the last one to be forgotten.
    fn use_now(&mut self, id: u32) -> Option<Statement> {
        self.newest += 1;
        let id = match id {
            LAST_PREPARED => self.last?,
            id => id,
        };
        let (age, statement) = self.by_id.get_mut(&id)?;
        *age = self.newest;
        Some(statement.clone())
    }

    /// Whether a script has asked for them.
    pub fn asked(&self) -> bool {
        self.asked
    }

    /// What falls out is given back, to be dropped when nothing is borrowed.
    fn insert(&mut self, statement: Statement) -> Vec<Statement> {
        self.newest += 1;
        let id = statement.ok.statement_id;
        self.last = Some(id);
        let before = self.by_id.insert(id, (self.newest, statement));
        let mut out: Vec<Statement> = before.into_iter().map(|(_, before)| before).collect();
        if self.by_id.len() > MAX_STATEMENTS {
            let oldest = self.by_id.iter().min_by_key(|(_, (age, _))| *age);
            let oldest = oldest.map(|(id, _)| *id);
            out.extend(
                oldest
                    .and_then(|id| self.by_id.remove(&id))
                    .map(|(_, old)| old),
            );
        }
        out
    }

    /// What a command that was carried out makes of them.
    fn forget(&mut self, com: Com, id: Option<u32>) {
        match (com, id) {
            (Com::STMT_CLOSE, Some(id)) => {
                self.by_id.remove(&id);
            }
            (Com::RESET_CONNECTION | Com::CHANGE_USER, _) => {
                self.by_id.clear();
                self.last = None;
            }
            (Com::STMT_PREPARE, _) => self.last = None,
            _ => {}
        }
    }
}

/// The events that remembering takes.
pub fn wanted(kind: ConnKind, tracked: bool) -> EventSet {
    match (tracked, kind) {
        (false, _) => EventSet::NONE,
        (true, ConnKind::Server) => Event::ServerPrepared
            .set()
            .with(Event::ServerSendingParams.set())
            .with(Event::ServerSendingFields.set()),
        (true, _) => Event::ClientSentCommand.set(),
    }
}

/// After links or wishes have changed: arms what it takes.
pub fn rearm(runtime: &Runtime, id: ConnId) {
    let own = |id| {
        let found = runtime.entry(id, |entry| (entry.asked_for_statements(), entry.peer));
        found.unwrap_or((false, None))
    };
    let (tracks, peer) = own(id);
    let tracked = tracks || peer.is_some_and(|peer| own(peer).0);
    let changed = runtime.entry(id, |entry| {
        std::mem::replace(&mut entry.statements_tracked, tracked) != tracked
    });
    if changed == Some(true) {
        runtime.rearm(id);
    }
}

/// A client's command, before callbacks see it.
pub fn command_arrives(runtime: &Runtime, id: ConnId, payload: &[u8]) {
    let Some((com, statement_id, argument)) = command_of(payload) else {
        return;
    };
    if com == Com::STMT_PREPARE {
        runtime.entry(id, |entry| {
            if let Some(statements) = &mut entry.statements {
                statements.last = None;
            }
        });
        return;
    }
    // What the client knows it by is what counts; if that is not remembered, what its server does.
    let peer = runtime.entry(id, |entry| entry.peer).flatten();
    if let Some(statement) = find_for(runtime, id, peer, statement_id) {
        note(&statement, com, argument);
    }
}

/// The statement that the client means.
fn find_for(
    runtime: &Runtime,
    client: ConnId,
    server: Option<ConnId>,
    statement_id: Option<u32>,
) -> Option<Statement> {
    let statement_id = statement_id?;
    find(runtime, client, statement_id).or_else(|| find(runtime, server?, statement_id))
}

/// The same command when callbacks have seen it; the result is the verdict on it.
pub fn command_passed(runtime: &Runtime, id: ConnId, payload: &[u8], verdict: Verdict) -> Verdict {
    let Some((com, statement_id, argument)) = command_of(payload) else {
        return verdict;
    };
    let peer = runtime.entry(id, |entry| entry.peer).flatten();
    let known = statement_id.and_then(|statement_id| find(runtime, id, statement_id));
    let statement = find_for(runtime, id, peer, statement_id);
    forget(runtime, id, com, statement_id);
    if !passes(verdict) {
        return verdict;
    }
    if let Some(peer) = peer {
        let other = statement_id.and_then(|statement_id| find(runtime, peer, statement_id));
        if let (Some(known), Some(other)) = (&known, &other)
            && !Rc::ptr_eq(&known.known, &other.known)
        {
            note(other, com, argument);
        }
        forget(runtime, peer, com, statement_id);
        if let Some(statement) = statement.filter(|_| com == Com::STMT_EXECUTE) {
            return execute_passed(runtime, (id, peer), &statement, argument, verdict);
        }
    }
    verdict
}

/// An execute that leaves out types goes to a server that last got others, from a script: it goes
/// with them, or the server would read values for what they are not.
fn execute_passed(
    runtime: &Runtime,
    (client, server): (ConnId, ConnId),
    statement: &Statement,
    argument: &[u8],
    verdict: Verdict,
) -> Verdict {
    let known = &statement.known;
    if statement.types_of(argument).is_some() || known.bound().is_empty() {
        known.server_knows.set(true);
        return verdict;
    }
    if known.server_knows.get() {
        return verdict;
    }
    let command = Command {
        com: Com::STMT_EXECUTE,
        argument: Bytes::copy_from_slice(argument),
        ..Command::default()
    };
    let proxy = runtime.proxy();
    let to = runtime.entry(server, |entry| entry.info.capabilities.get());
    let command = statement.with_types(&command, to.unwrap_or_default());
    let sent = command.and_then(|command| {
        let sent = proxy.send(server, Packet::Command(&command));
        sent.map_err(|error| error.to_string())
    });
    if let Err(problem) = sent {
        log::warn!("connection {}: {problem}", client.serial());
        return verdict;
    }
    known.server_knows.set(true);
    if verdict == Verdict::FlushDisconnect {
        // It may be unlinked already.
        let _ = proxy.unlink(client, server);
    }
    Verdict::Hold
}

/// A command that a script has wired to a server.
pub fn command_wired(runtime: &Runtime, id: ConnId, command: &Command) {
    let statement_id = command.statement_id();
    if command.com == Com::STMT_EXECUTE
        && let Some(client) = runtime.entry(id, |entry| entry.peer).flatten()
        && let Some(statement) = find_for(runtime, client, Some(id), statement_id)
        && let Some(types) = statement.types_of(&command.argument)
    {
        let known = &statement.known;
        known.server_knows.set(types == *known.bound());
    }
    forget(runtime, id, command.com, statement_id);
}

fn command_of(payload: &[u8]) -> Option<(Com, Option<u32>, &[u8])> {
    let (com, argument) = payload.split_first()?;
    let com = Com(*com);
    let id = argument.first_chunk().map(|id| u32::from_le_bytes(*id));
    let about_one = com.names_statement();
    let of_all = matches!(
        com,
        Com::STMT_PREPARE | Com::RESET_CONNECTION | Com::CHANGE_USER
    );
    (about_one || of_all).then_some((com, id.filter(|_| about_one), argument))
}

fn note(statement: &Statement, com: Com, argument: &[u8]) {
    let Statement { ok, known, .. } = statement;
    match com {
        Com::STMT_EXECUTE => {
            known.executed(argument, ok.params, statement.capabilities());
        }
        Com::STMT_BULK_EXECUTE => known.bulk_executed(argument, ok.params),
        Com::STMT_SEND_LONG_DATA => {
            if let Some(([a, b], data)) = argument.get(4..).and_then(<[u8]>::split_first_chunk) {
                known.long_data_sent(ok.params, u16::from_le_bytes([*a, *b]), data);
            }
        }
        Com::STMT_RESET => known.reset(),
        _ => {}
    }
}

fn forget(runtime: &Runtime, id: ConnId, com: Com, statement_id: Option<u32>) {
    runtime.entry(id, |entry| {
        if let Some(statements) = &mut entry.statements {
            statements.forget(com, statement_id);
        }
    });
}

fn find(runtime: &Runtime, id: ConnId, statement_id: u32) -> Option<Statement> {
    let found = runtime.entry(id, |entry| {
        let statements = entry.statements.as_ref()?;
        statements.get(statement_id).cloned()
    });
    found.flatten()
}

/// The head of a server's answer to COM_STMT_PREPARE.
pub fn prepared(runtime: &Runtime, conn: &Rc<ConnInfo>, ok: PrepareOk) -> Statement {
    let id = conn.id;
    let budget = |id| {
        let statements = runtime.entry(id, |entry| {
            entry
                .statements
                .as_ref()
                .map(|statements| statements.budget.clone())
        });
        statements.flatten()
    };
    let peer = runtime.entry(id, |entry| entry.peer).flatten();
    let budget = (peer.and_then(budget))
        .or_else(|| budget(id))
        .unwrap_or_default();
    let known = Rc::new(Known::new(budget));
    let statement = Statement {
        ok: ok.clone(),
        known: known.clone(),
        conn: Some(conn.clone()),
    };
    let bare = (conn.capabilities.get()).intersects(Capabilities::BARE_RESULTS);
    let before = runtime.entry(id, |entry| {
        if bare && entry.wanted().has(Event::ServerSentResultset) {
            entry.statements.get_or_insert_default();
        }
        entry.preparing.replace(Preparing { ok, known })
    });
    drop(before);
    insert(runtime, id, statement.clone());
    statement
}

/// The same when callbacks have seen it: whether the client gets to know of it.
pub fn prepared_passed(runtime: &Runtime, id: ConnId, statement: Statement, verdict: Verdict) {
    if !passes(verdict) {
        return;
    }
    let Some(peer) = runtime.entry(id, |entry| entry.peer).flatten() else {
        return;
    };
    let conn = runtime.entry(peer, |entry| entry.info.clone());
    insert(runtime, peer, Statement { conn, ..statement });
}

/// A script answers a client's COM_STMT_PREPARE, with a statement of a server's or of its own.
pub fn prepared_wired(runtime: &Runtime, id: ConnId, statement: &Statement) {
    let found = runtime.entry(id, |entry| {
        let statements = entry.statements.as_ref()?;
        Some((entry.info.clone(), statements.budget.clone()))
    });
    let Some((conn, budget)) = found.flatten() else {
        return;
    };
    let known = Rc::new(statement.known.elsewhere(budget));
    insert(
        runtime,
        id,
        Statement {
            ok: statement.ok.clone(),
            known,
            conn: Some(conn),
        },
    );
}

fn insert(runtime: &Runtime, id: ConnId, statement: Statement) {
    let out = runtime.entry(id, |entry| {
        entry
            .statements
            .as_mut()
            .map(|statements| statements.insert(statement))
    });
    drop(out);
}

/// The definition of a parameter or a column of the statement that is being prepared.
pub fn definition(runtime: &Runtime, id: ConnId, column: &Column, is_param: bool) {
    let preparing = runtime.entry(id, |entry| entry.preparing.clone()).flatten();
    if let Some(Preparing { ok, known }) = preparing {
        known.note(&ok, column, is_param);
    }
}

/// A result of a statement begins. It brings its columns, or, if it is bare, has those that came
/// before: with another result, or when the statement was prepared.
pub fn result(runtime: &Runtime, id: ConnId, statement_id: u32, columns: &Rc<Arrived>, bare: bool) {
    let found = runtime.entry(id, |entry| {
        let statements = entry.statements.as_mut()?;
        statements.use_now(statement_id)
    });
    let Some(statement) = found.flatten() else {
        return;
    };
    match bare {
        true => columns.fill(statement.known.result_columns()),
        false => statement.known.set_result(columns.clone()),
    }
}

/// Whether a packet goes on to the peer.
fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect)
}

/// The methods of connections.
pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("track_statements", move |_, conn, args| {
        let id = conn.id();
        if args.is_empty() {
            let tracks = rt.entry(id, |entry| entry.asked_for_statements());
            return one(Value::Boolean(tracks.unwrap_or(false)));
        }
        track(&rt, conn, args)?;
        rearm(&rt, id);
        if let Some(peer) = rt.entry(id, |entry| entry.peer).flatten() {
            rearm(&rt, peer);
        }
        nothing()
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("statement", move |lua, conn, args| {
        let statement_id = args.integer(0, "", u32::MAX.into())? as u32;
        check_tracked(&rt, conn, args)?;
        match find(&rt, conn.id(), statement_id) {
            Some(statement) => {
                let object = lua.create_userdata(object::Packet::new(statement))?;
                one(Value::UserData(object))
            }
            None => one(Value::Nil),
        }
    })?;

    let rt = runtime.clone();
    methods.add::<ConnObject>("statements", move |lua, conn, args| {
        check_tracked(&rt, conn, args)?;
        let ids: Option<Vec<u32>> = rt.entry(conn.id(), |entry| {
            let statements = entry.statements.as_ref();
            statements.map_or(Vec::new(), |all| all.by_id.keys().copied().collect())
        });
        let table = lua.create_table()?;
        for (index, id) in ids.unwrap_or_default().into_iter().enumerate() {
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
    let before = runtime.entry(conn.id(), |entry| {
        if !on {
            return entry.statements.take();
        }
        let statements = entry.statements.get_or_insert_default();
        statements.asked = true;
        let keep = keep.unwrap_or_default() as usize;
        statements.budget.keep_long_data.set(keep);
        None
    });
    drop(before);
    Ok(())
}

/// Not to remember is no reason to say that there is no such statement.
fn check_tracked(runtime: &Runtime, conn: &ConnObject, args: &Args) -> Result<(), ScriptError> {
    let tracks = runtime.entry(conn.id(), |entry| entry.asked_for_statements());
    match tracks {
        // It has closed, and its statements with it.
        None | Some(true) => Ok(()),
        Some(false) => Err(args.error(
            "the connection does not remember statements: call conn:track_statements(true) before \
             they are prepared",
        )),
    }
}
