//! Remembers the prepared statements of connections: those that a client has prepared, and those of
//! a server. Both ends of a link share a statement that was forwarded. Also keeps the columns of
//! the result that a server is sending, for callbacks that are shown results.

use std::rc::{Rc, Weak};

use bytes::Bytes;

use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Incoming, Observer, Packet, PerConnection, Proxy, Shown,
    StatementIds, Verdict,
};
use crate::session::statements::{Budget, Columns, Kept, Statement, Statements};
use crate::session::{Event, EventSet, Head};
use crate::wire::{Capabilities, Column, Com, Command, DecodeError, PrepareOk, ResultsetHeader};

/// The events by which others are shown results and statements.
const SHOWN: EventSet = Event::ServerPrepared
    .set()
    .with(Event::ServerSentResultset.set());

/// See the module.
#[derive(Debug, Default)]
pub struct StatementMemory(PerConnection<Memory>);

/// What is known of a connection.
#[derive(Default)]
struct Memory {
    statements: Option<Box<Statements>>,
    /// Whether the statements are asked for. Otherwise they serve results that come without
    /// columns.
    asked: bool,
    /// Those of [`SHOWN`] that others see.
    shown: EventSet,
    /// The text of the COM_STMT_PREPARE that was sent last.
    sql: Option<Bytes>,
    preparing: Option<Preparing>,
    /// The statement of a client's last command, if its id is not the server's.
    current: Option<Rc<Statement>>,
    /// The columns of the result that has just begun, until a resultset may have taken them.
    begun: Option<Rc<Columns>>,
    /// The same, as long as a resultset (or a statement) has them: an idle connection keeps none.
    columns: Weak<Columns>,
}

/// The statement whose definitions are arriving.
struct Preparing {
    statement: Rc<Statement>,
    /// Keeps its note until the client knows the statement.
    _kept: Option<Kept>,
    /// How many definitions are still to come.
    due: u32,
}

impl Memory {
    fn definitions_due(&self) -> bool {
        self.preparing.as_ref().is_some_and(|of| of.due > 0)
    }
}

// What others ask ---------------------------------------------------------------------------------

impl StatementMemory {
    /// Remembers the statements of a connection from now on, and up to this many bytes of their
    /// long data.
    pub fn track(&self, proxy: &Proxy, id: ConnId, long_data: usize) {
        if proxy.info(id).is_none() {
            return;
        }
        self.0.with_default(id, |memory| {
            memory.asked = true;
            let statements = memory.statements.get_or_insert_default();
            statements.budget().keep_long_data(long_data);
        });
        rearm(proxy, id);
    }

    /// Forgets them.
    pub fn forget(&self, proxy: &Proxy, id: ConnId) {
        let before = self.0.with(id, |memory| {
            memory.asked = false;
            memory.statements.take()
        });
        drop(before);
        rearm(proxy, id);
    }

    /// Whether the statements of a connection are remembered.
    pub fn tracks(&self, id: ConnId) -> bool {
        self.0.with(id, |memory| memory.asked) == Some(true)
    }

    /// A statement that a connection remembers.
    pub fn statement(&self, id: ConnId, statement: u32) -> Option<Rc<Statement>> {
        let found = |memory: &mut Memory| memory.statements.as_ref()?.get(statement).cloned();
        self.0.with(id, found).flatten()
    }

    /// The ids of all statements that a connection remembers, in ascending order.
    pub fn ids(&self, id: ConnId) -> Vec<u32> {
        let ids = |memory: &mut Memory| Some(memory.statements.as_ref()?.ids().collect());
        self.0.with(id, ids).flatten().unwrap_or_default()
    }

    /// Sets the events of a server that others are shown: for statements and results their
    /// definitions have to be known.
    pub fn show(&self, proxy: &Proxy, server: ConnId, events: EventSet) {
        let shown = events.and(SHOWN);
        if shown == EventSet::NONE && !self.0.has(server) {
            return;
        }
        let before = self
            .0
            .with_default(server, |memory| std::mem::replace(&mut memory.shown, shown));
        if before != shown {
            proxy.rearm(server);
        }
    }

    /// The statement that a server has prepared last.
    pub fn prepared(&self, server: ConnId) -> Option<Rc<Statement>> {
        let prepared = |memory: &mut Memory| Some(memory.preparing.as_ref()?.statement.clone());
        self.0.with(server, prepared).flatten()
    }

    /// The columns of the result that a server is sending, as they come.
    pub fn columns(&self, server: ConnId) -> Option<Rc<Columns>> {
        self.0
            .with(server, |memory| memory.columns.upgrade())
            .flatten()
    }

    /// A client's COM_STMT_PREPARE is about to be answered with `head`, for this statement of a
    /// server, or for a script's own.
    pub fn answer(&self, client: ConnId, head: PrepareOk, statement: &Statement) {
        self.0.with(client, |memory| {
            let sql = memory.sql.take();
            if let Some(statements) = &mut memory.statements {
                let statement = statement.elsewhere(head, sql, statements.budget().clone());
                statements.remember(Rc::new(statement));
            }
        });
    }
}

fn rearm(proxy: &Proxy, id: ConnId) {
    proxy.rearm(id);
    if let Some(peer) = proxy.peer(id) {
        proxy.rearm(peer);
    }
}

// What passes -------------------------------------------------------------------------------------

impl Observer for StatementMemory {
    fn keeps(&self, _: &Proxy, conn: ConnId) -> Option<&'static str> {
        let is_known = !self.ids(conn).is_empty();
        is_known.then_some("its script decodes its prepared statements")
    }

    fn wants(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        let id = conn.id;
        let tracked = self.is_tracked(proxy, id);
        if conn.kind != ConnKind::Server {
            return match tracked {
                true => Event::ClientSentCommand.set(),
                false => EventSet::NONE,
            };
        }
        let (shown, due) = self
            .0
            .with(id, |memory| (memory.shown, memory.definitions_due()))
            .unwrap_or_default();
        let fields = Event::ServerSendingFields.set();
        let mut wanted = EventSet::NONE;
        if tracked || shown != EventSet::NONE {
            wanted = wanted.with(Event::ServerPrepared.set());
        }
        if due {
            wanted = wanted.with(fields).with(Event::ServerSendingParams.set());
        }
        if shown.has(Event::ServerSentResultset) {
            wanted = wanted.with(fields).with(Event::ServerSentResultset.set());
        }
        wanted
    }

    fn event(&self, proxy: &Proxy, shown: Shown<'_>) -> Verdict {
        let Some(packet) = shown.packet else {
            return Verdict::Forward;
        };
        let id = shown.conn.id;
        let noted = match shown.event {
            Event::ClientSentCommand => {
                self.command_arrives(proxy, id, packet.payload);
                Ok(())
            }
            Event::ServerPrepared => self.statement_begins(proxy, id, packet),
            Event::ServerSentResultset => self.result_begins(proxy, id, packet),
            event => self.definition(proxy, id, event, packet),
        };
        match noted {
            Ok(()) => Verdict::Forward,
            Err(problem) => {
                let (id, event) = (id.serial(), shown.event.name());
                log::error!("connection {id}: {event}: {problem}");
                Verdict::Failed
            }
        }
    }

    fn settled(&self, proxy: &Proxy, shown: Shown<'_>, verdict: Verdict) -> Verdict {
        let id = shown.conn.id;
        match (shown.event, shown.packet) {
            (Event::ClientSentCommand, Some(packet)) => {
                self.command_settled(proxy, id, packet.payload, verdict)
            }
            (Event::ServerPrepared, _) if passes(verdict) => {
                let client = proxy.peer(id).filter(|id| !has_own_ids(proxy, *id));
                if let (Some(statement), Some(client)) = (self.prepared(id), client) {
                    self.remember(client, statement);
                }
                verdict
            }
            (Event::ServerSentResultset, _) => {
                drop(self.0.with(id, |memory| memory.begun.take()));
                verdict
            }
            _ => verdict,
        }
    }

    /// A command was sent to a server instead of a client's, or without one; or a client was given another
    /// statement's id than its server has told, as clients of pools are.
    fn sent(&self, proxy: &Proxy, conn: &Rc<ConnInfo>, packet: &Packet<'_>) {
        let id = conn.id;
        if let Packet::Prepared(head) = packet {
            self.prepared_elsewhere(proxy, id, head);
        }
        let Some((com, argument)) = packet.command() else {
            return;
        };
        let statement_id = com.names_statement().then(|| argument.first_chunk());
        let statement_id = statement_id.flatten().map(|id| u32::from_le_bytes(*id));
        if com == Com::STMT_EXECUTE
            && let Some(statement_id) = statement_id
            && let Some((statement, form)) = self.at_server(proxy, id, statement_id)
        {
            statement.goes_to_server(argument, form);
        }
        self.follow(id, com, statement_id);
        if com == Com::STMT_PREPARE {
            self.remember_text(id, argument);
        }
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        drop(self.0.remove(conn.id));
    }
}

impl StatementMemory {
    fn is_tracked(&self, proxy: &Proxy, id: ConnId) -> bool {
        self.tracks(id) || proxy.peer(id).is_some_and(|peer| self.tracks(peer))
    }

    fn remember(&self, id: ConnId, statement: Rc<Statement>) {
        self.0.with(id, |memory| {
            if let Some(statements) = &mut memory.statements {
                statements.remember(statement);
            }
        });
    }

    /// The statement that a client means by this id, and the capabilities by which executes are
    /// encoded. The client's statement counts; if it is not remembered, the server's.
    fn meant(
        &self,
        proxy: &Proxy,
        client: ConnId,
        statement: u32,
    ) -> Option<(Rc<Statement>, Capabilities)> {
        let of = |id| Some((self.statement(id, statement)?, capabilities(proxy, id)));
        of(client).or_else(|| of(proxy.peer(client)?))
    }

    /// The statement that has this id at a server, and the capabilities by which executes are encoded: a client
    /// knows the same one, unless its statements have ids of their own.
    fn at_server(
        &self,
        proxy: &Proxy,
        server: ConnId,
        id: u32,
    ) -> Option<(Rc<Statement>, Capabilities)> {
        let client = proxy.peer(server).filter(|id| !has_own_ids(proxy, *id));
        let shared =
            client.and_then(|id_of| Some((self.statement(id_of, id)?, capabilities(proxy, id_of))));
        shared.or_else(|| Some((self.statement(server, id)?, capabilities(proxy, server))))
    }

    /// A client whose statements have ids of their own has got the answer to its COM_STMT_PREPARE.
    fn prepared_elsewhere(&self, proxy: &Proxy, client: ConnId, head: &PrepareOk) {
        let server = proxy.peer(client).filter(|_| has_own_ids(proxy, client));
        let Some(statement) = server.and_then(|server| self.prepared(server)) else {
            return;
        };
        self.0.with(client, |memory| {
            if let Some(statements) = &mut memory.statements {
                let sql = statement.sql().map(Bytes::copy_from_slice);
                let budget = statements.budget().clone();
                statements.remember(Rc::new(statement.elsewhere(head.clone(), sql, budget)));
            }
        });
    }

    // Commands ------------------------------------------------------------------------------------

    fn command_arrives(&self, proxy: &Proxy, client: ConnId, payload: &[u8]) {
        let Some((com, argument)) = payload.split_first() else {
            return;
        };
        let mut current = None;
        if Com(*com) == Com::STMT_PREPARE {
            self.follow(client, Com(*com), None);
            self.remember_text(client, argument);
        } else if let Some(id) = Head::of(payload).statement()
            && let Some((statement, form)) = self.meant(proxy, client, id)
        {
            statement.command(Com(*com), argument, form);
            current = Some(statement).filter(|_| has_own_ids(proxy, client));
        }
        self.0.with(client, |memory| memory.current = current);
    }

    /// The same command after all observers and hooks; returns the verdict on it.
    fn command_settled(
        &self,
        proxy: &Proxy,
        client: ConnId,
        payload: &[u8],
        verdict: Verdict,
    ) -> Verdict {
        let Some((com, argument)) = payload.split_first() else {
            return verdict;
        };
        let (com, id) = (Com(*com), Head::of(payload).statement());
        let known = id.and_then(|id| self.statement(client, id));
        let meant = id.and_then(|id| self.meant(proxy, client, id));
        if com != Com::STMT_PREPARE {
            // (That one may have been answered by now.)
            self.follow(client, com, id);
        }
        let Some(server) = proxy.peer(client).filter(|_| passes(verdict)) else {
            return verdict;
        };
        let other = id.and_then(|id| self.statement(server, id));
        if let (Some(known), Some(other)) = (&known, &other)
            && !Rc::ptr_eq(known, other)
        {
            other.command(com, argument, capabilities(proxy, server));
        }
        self.follow(server, com, id);
        if com == Com::STMT_PREPARE {
            self.remember_text(server, argument);
        }
        match meant {
            Some((statement, form)) if com == Com::STMT_EXECUTE => {
                if statement.goes_to_server(argument, form) {
                    return verdict;
                }
                let sent = send_with_types(proxy, server, &statement, argument, form);
                if let Err(problem) = sent {
                    log::warn!("connection {}: {problem}", client.serial());
                    return verdict;
                }
                statement.server_was_told();
                if verdict == Verdict::FlushDisconnect {
                    // It may be unlinked already.
                    let _ = proxy.unlink(client, server);
                }
                Verdict::Hold
            }
            _ => verdict,
        }
    }

    /// The effect of a command on a connection's statements.
    fn follow(&self, id: ConnId, com: Com, statement: Option<u32>) {
        self.0.with(id, |memory| {
            if let Some(statements) = &mut memory.statements {
                statements.command(com, statement);
            }
            let ends = |of: &mut Preparing| match com {
                Com::STMT_CLOSE => statement == Some(of.statement.head().statement_id),
                com => matches!(com, Com::RESET_CONNECTION | Com::CHANGE_USER),
            };
            memory.preparing.take_if(ends);
        });
    }

    fn remember_text(&self, id: ConnId, sql: &[u8]) {
        self.0.with(id, |memory| {
            memory.sql = memory.asked.then(|| Bytes::copy_from_slice(sql));
        });
    }

    // Answers -------------------------------------------------------------------------------------

    fn statement_begins(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
    ) -> Result<(), DecodeError> {
        let head = PrepareOk::decode(packet.payload, packet.capabilities)?;
        let client = proxy.peer(server);
        let budget_of = |id: ConnId| {
            let budget = |memory: &mut Memory| {
                let statements = memory.statements.as_ref();
                statements.map(|statements| statements.budget().clone())
            };
            self.0.with(id, budget).flatten()
        };
        let budget: Rc<Budget> = client
            .and_then(budget_of)
            .or_else(|| budget_of(server))
            .unwrap_or_default();
        let sql_of = |id: ConnId| self.0.with(id, |memory| memory.sql.take()).flatten();
        // The command that the server got, if it is known, rather than the client's.
        let (by_server, by_client) = (sql_of(server), client.and_then(sql_of));
        let due = match head.definitions {
            true => u32::from(head.params) + u32::from(head.columns),
            false => 0,
        };
        let tracked = self.is_tracked(proxy, server);
        let bare = packet.capabilities.intersects(Capabilities::BARE_RESULTS);
        let statement = Rc::new(Statement::new(head, by_server.or(by_client), budget));
        let preparing = Preparing {
            statement: statement.clone(),
            _kept: tracked.then(|| Kept::new(statement.clone())),
            due,
        };
        let before = self.0.with_default(server, |memory| {
            if bare && memory.shown.has(Event::ServerSentResultset) {
                memory.statements.get_or_insert_default();
            }
            memory.preparing.replace(preparing)
        });
        drop(before);
        self.remember(server, statement);
        proxy.rearm(server);
        Ok(())
    }

    fn result_begins(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
    ) -> Result<(), DecodeError> {
        let header = ResultsetHeader::decode(packet.payload, packet.capabilities)?;
        let columns = Rc::new(Columns::announced(&header));
        let id = packet.statement;
        let current = |client| self.0.with(client, |memory| memory.current.clone());
        let current = proxy.peer(server).and_then(current).flatten();
        let meant = current.or_else(|| Some(self.at_server(proxy, server, id?)?.0));
        if packet.answers.is_some_and(Com::has_binary_rows)
            && let Some(statement) = meant
        {
            statement.result_begins(&columns, &header);
        }
        self.0.with_default(server, |memory| {
            if let (Some(statements), Some(id)) = (&mut memory.statements, id) {
                statements.touch(id);
            }
            memory.columns = Rc::downgrade(&columns);
            memory.begun = Some(columns);
        });
        Ok(())
    }

    /// The definition of a parameter or a column.
    fn definition(
        &self,
        proxy: &Proxy,
        server: ConnId,
        event: Event,
        packet: Incoming<'_>,
    ) -> Result<(), DecodeError> {
        let column = Column::decode(packet.payload, packet.capabilities)?;
        if packet.answers != Some(Com::STMT_PREPARE) {
            if let Some(columns) = self.columns(server) {
                columns.note(column);
            }
            return Ok(());
        }
        let is_last = self.0.with(server, |memory| {
            let preparing = memory.preparing.as_mut()?;
            let is_param = event == Event::ServerSendingParams;
            preparing.statement.define(column, is_param);
            preparing.due = preparing.due.saturating_sub(1);
            Some(preparing.due == 0)
        });
        if is_last.flatten() == Some(true) {
            proxy.rearm(server);
        }
        Ok(())
    }
}

/// Whether a packet goes on to the peer.
fn passes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect)
}

/// Whether the ids of a client's statements say nothing to its server.
fn has_own_ids(proxy: &Proxy, client: ConnId) -> bool {
    let info = proxy.info(client);
    info.is_some_and(|info| info.statement_ids.get() == StatementIds::Own)
}

fn capabilities(proxy: &Proxy, id: ConnId) -> Capabilities {
    let info = proxy.info(id);
    info.map(|info| info.capabilities.get()).unwrap_or_default()
}

/// Adds the types to an execute without types if the server has last got other types, from a
/// script: otherwise it would misread the values.
fn send_with_types(
    proxy: &Proxy,
    server: ConnId,
    statement: &Statement,
    argument: &[u8],
    form: Capabilities,
) -> Result<(), String> {
    let argument = statement.with_types(argument, form, capabilities(proxy, server))?;
    let command = Command {
        com: Com::STMT_EXECUTE,
        argument: argument.into(),
        ..Command::default()
    };
    let sent = proxy.send(server, Packet::Command(&command));
    sent.map_err(|error| error.to_string())
}
