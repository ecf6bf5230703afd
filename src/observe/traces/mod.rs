//! Traces: a span for each query that is chosen, as OpenTelemetry has them.
//!
//! A span begins with the command and ends when its client may send the next one, whoever has answered: its server, a pooled
//! connection (for which it may have waited), or a script. A query that is not chosen costs no memory.
//!
//! - `context`: the trace that a query says it is part of; `parents`: where it says so
//! - `sampling`: which are chosen, and their ids
//! - `client`: what is known of a client
//! - `telling`: a span is made of what has been answered; `texts`: what it has of the statement
//! - `span`: a span in JSON; `batches`: those that wait to be sent, which is somebody else's business
//! - `figures`: what is counted

mod batches;
mod client;
mod context;
mod figures;
mod options;
mod parents;
mod sampling;
mod span;
mod telling;
mod texts;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

pub use batches::Batch;
pub use options::{Comments, Statements, TraceOptions};
pub use sampling::Ratio;

use batches::Batches;
use client::{Client, Running, Statement, What};
use context::{Context, Given};
use figures::{Counts, Figures, count};
use sampling::{Decision, Ids, decide};
use span::Failure;

use crate::metrics::Source;
use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Decoded, Incoming, Observer, Packet, PerConnection, Proxy, Shown,
    Verdict,
};
use crate::session::{Event, EventSet, Head, PacketKind};
use crate::wire::{Com, ErrPacket, Ok as OkPacket};

/// Longer queries get no comment, so that a server's limit of their size stays the client's own affair.
const MAX_COMMENTED: usize = 1 << 20;

/// What whoever sends the spans should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// There are spans to send, sooner or later.
    Waiting,
    /// There are enough for a batch.
    Full,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Traces {
    /// `None` as long as nothing is traced.
    options: Cell<Option<TraceOptions>>,
    clients: PerConnection<Client>,
    servers: PerConnection<Server>,
    batches: RefCell<Batches>,
    counts: Rc<Counts>,
    /// What was told of the spans that wait.
    told: Cell<Option<News>>,
    scratch: RefCell<Scratch>,
}

/// What is known of a server.
#[derive(Debug, Default)]
struct Server {
    /// How many bytes had been read of it when its last answer ended.
    read: u64,
    is_mariadb: bool,
}

/// Buffers that are used again.
#[derive(Debug, Default)]
struct Scratch {
    digest: Vec<u8>,
    summary: Vec<u8>,
    place: Vec<u8>,
    comment: Vec<u8>,
}

impl Traces {
    /// Traces queries from now on.
    pub fn start(&self, proxy: &Proxy, options: TraceOptions) {
        self.options.set(Some(options));
        proxy.rearm_all();
    }

    /// Whether queries are traced.
    pub fn is_started(&self) -> bool {
        self.options.get().is_some()
    }

    /// The table of what is counted.
    pub fn source(&self) -> Rc<dyn Source> {
        Rc::new(Figures::new(self.counts.clone()))
    }

    /// What has changed since it was last asked. `at_once`: what waits cannot wait for more.
    pub fn news(&self, at_once: bool) -> Option<News> {
        let options = self.options.get()?;
        let news = match self.batches.borrow().count() {
            0 => return None,
            count if count >= options.batch || at_once => News::Full,
            _ => News::Waiting,
        };
        (self.told.replace(Some(news)) < Some(news)).then_some(news)
    }

    /// Takes the oldest spans that wait.
    pub fn take(&self) -> Option<Batch> {
        let mut batches = self.batches.borrow_mut();
        self.told.set(None);
        let batch = batches.take();
        self.counts.waiting.set(batches.count() as u64);
        batch
    }

    /// What became of spans that were taken.
    pub fn note_sent(&self, sent: u64, failed: u64) {
        count(&self.counts.sent, sent);
        count(&self.counts.failed, failed);
    }
}

// What passes -------------------------------------------------------------------------------------

const OF_CLIENTS: EventSet = Event::ClientSentCommand
    .set()
    .with(Event::ClientWaiting.set());
const OF_SERVERS: EventSet = Event::ServerWaitAuth
    .set()
    .with(Event::ServerSendingEof.set())
    .with(Event::ServerWaitCommand.set())
    .with(Event::ServerReceivedError.set())
    .with(Event::ServerPrepared.set());

impl Observer for Traces {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        if !self.is_started() {
            return EventSet::NONE;
        }
        match conn.kind {
            ConnKind::Client => OF_CLIENTS,
            ConnKind::Server => OF_SERVERS,
            _ => EventSet::NONE,
        }
    }

    fn event(&self, proxy: &Proxy, shown: Shown<'_>) -> Verdict {
        let id = shown.conn.id;
        match (shown.event, shown.packet) {
            (Event::ClientSentCommand, Some(packet)) => self.command(id, packet),
            (Event::ClientWaiting, Some(packet)) => self
                .clients
                .with_default(id, |client| client.identity.login(packet)),
            (Event::ClientWaiting, None) => self.complete(proxy, shown.conn, None),
            (Event::ServerWaitAuth, Some(packet)) => self.greeted(id, packet),
            _ => {}
        }
        Verdict::Forward
    }

    /// What became of it: only what clients are sent is part of their answers.
    fn settled(&self, proxy: &Proxy, shown: Shown<'_>, verdict: Verdict) -> Verdict {
        let passes = matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect);
        let (conn, Some(packet)) = (shown.conn, shown.packet) else {
            return verdict;
        };
        match (conn.kind, shown.event) {
            (ConnKind::Client, Event::ClientSentCommand) if passes => {
                self.forwards(proxy, conn.id, packet);
            }
            (ConnKind::Client, Event::ClientSentCommand) => {
                self.with_running(conn.id, |running| running.held = true);
            }
            (ConnKind::Server, event) if event != Event::ServerWaitAuth => {
                let bytes = self.bytes_of(conn);
                if let (Some(client), true) = (proxy.peer(conn.id), passes) {
                    self.answered(client, shown, packet, bytes);
                }
            }
            _ => {}
        }
        verdict
    }

    /// What a script or an observer sends in the place of a server.
    fn sent(&self, _: &Proxy, conn: &Rc<ConnInfo>, packet: &Packet<'_>) {
        if conn.kind != ConnKind::Client {
            return;
        }
        match packet {
            Packet::Err(err) => self.failed(conn.id, err),
            Packet::Ok(ok) => self.with_running(conn.id, |running| {
                running.outcome.affected += ok.affected_rows;
            }),
            Packet::Row(_) => self.with_running(conn.id, |running| running.outcome.rows += 1),
            Packet::Prepared(ok) => self.prepared(conn.id, ok.statement_id, ok.params),
            _ => {}
        }
    }

    fn closing(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) {
        if conn.kind == ConnKind::Client {
            self.complete(proxy, conn, Some(Failure::Closed));
        }
        drop(self.clients.remove(conn.id));
        self.servers.remove(conn.id);
    }
}

impl Traces {
    fn with_running(&self, client: ConnId, change: impl FnOnce(&mut Running)) {
        self.clients.with(client, |client| {
            if let Some(running) = &mut client.running {
                change(running);
            }
        });
    }

    fn greeted(&self, server: ConnId, packet: Incoming<'_>) {
        if let Ok(Decoded::Handshake(handshake)) = packet.decode() {
            let is_mariadb = memchr::memmem::find(&handshake.server_version, b"MariaDB").is_some();
            self.servers
                .with_default(server, |server| server.is_mariadb = is_mariadb);
        }
    }

    /// How many bytes have come of a server since its last answer.
    fn bytes_of(&self, server: &ConnInfo) -> u64 {
        let read = server.bytes_read();
        let before = self.servers.with_default(server.id, |server| {
            std::mem::replace(&mut server.read, read)
        });
        read.saturating_sub(before)
    }

    /// A command has come; or it is shown again, as it was held back when it came.
    fn command(&self, id: ConnId, packet: Incoming<'_>) {
        let Some(options) = self.options.get() else {
            return;
        };
        let com = Com(packet.payload.first().copied().unwrap_or_default());
        self.clients.with_default(id, |client| {
            if let Some(running) = client.running.as_mut().filter(|running| running.held) {
                running.held = false;
                return;
            }
            client.identity.command(com, packet);
            client.preparing = None;
            let (what, decision) = self.begin(client, com, packet, &options);
            // (What has no answer is never shown again, whoever holds it back.)
            let running = || Running::new(Instant::now(), what, decision);
            client.running = com.expects_answer().then(running);
        });
    }

    /// What a command does, and whether its trace is recorded. If it may be, its text is left with the client.
    fn begin(
        &self,
        client: &mut Client,
        com: Com,
        packet: Incoming<'_>,
        options: &TraceOptions,
    ) -> (What, Decision) {
        let statement = Head::of(packet.payload).statement();
        let nothing = (What::Other, Decision::Not);
        match com {
            Com::QUERY => {
                let Some(sql) = packet.sql() else {
                    return nothing;
                };
                let decision = self.decide(parents::of_query(packet, sql), options);
                if decision != Decision::Not {
                    client.text.clear();
                    client.text.extend_from_slice(texts::kept(sql, options));
                }
                (What::Query, decision)
            }
            Com::STMT_PREPARE => {
                let sql = packet.payload.get(1..).unwrap_or_default();
                let parent = match context::in_comments(sql) {
                    Given::Parent(parent) => Some(parent),
                    _ => None,
                };
                client.preparing = Some(Statement {
                    text: texts::of_prepared(sql, options),
                    params: 0,
                    parent,
                    executed: None,
                });
                (What::Prepare, Decision::Not)
            }
            Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => {
                let Some(known) = client.statement(statement) else {
                    return nothing;
                };
                let text = known.text.clone();
                let of_comment = known.parent.take().map_or(Given::Nothing, Given::Parent);
                let given = match parents::of_execution(packet, known.params) {
                    Given::Nothing => of_comment,
                    given => given,
                };
                let decision = self.decide(given, options);
                known.executed = match decision {
                    Decision::Recorded(ids) => Some(ids),
                    _ => None,
                };
                client.text.clear();
                client.text.extend_from_slice(&text);
                (What::Execute(statement.unwrap_or_default()), decision)
            }
            Com::STMT_FETCH => {
                let known = client.statement(statement);
                let executed = known.and_then(|known| Some((known.executed?, known.text.clone())));
                let Some((execution, text)) = executed else {
                    return nothing;
                };
                client.text.clear();
                client.text.extend_from_slice(&text);
                let ids = Ids::below(execution.context());
                (What::Fetch, Decision::Recorded(ids))
            }
            Com::STMT_CLOSE => {
                client.close(statement);
                nothing
            }
            Com::CHANGE_USER | Com::RESET_CONNECTION => {
                client.close_all();
                nothing
            }
            _ => nothing,
        }
    }

    fn decide(&self, given: Given, options: &TraceOptions) -> Decision {
        let parent = match given {
            Given::Nothing => None,
            Given::Invalid => {
                count(&self.counts.invalid, 1);
                None
            }
            Given::Parent(parent) => {
                count(&self.counts.joined, 1);
                Some(parent)
            }
        };
        decide(parent, options.ratio, options.slower_than.is_some())
    }

    /// A command is on its way to its server.
    fn forwards(&self, proxy: &Proxy, id: ConnId, packet: Incoming<'_>) {
        let Some(options) = self.options.get() else {
            return;
        };
        let context = self.clients.with(id, |client| {
            let running = client.running.as_mut()?;
            if running.may_be_told() {
                running.forwarded = Some(Instant::now());
            }
            match (running.what, running.decision) {
                (What::Query, Decision::Recorded(ids)) => Some(ids.context()),
                _ => None,
            }
        });
        if options.comments == Comments::Context
            && let Some(context) = context.flatten()
        {
            self.comment(proxy, id, packet, context);
        }
    }

    /// Puts the context in front of a query.
    fn comment(&self, proxy: &Proxy, id: ConnId, packet: Incoming<'_>, context: Context) {
        let sql = packet.sql().unwrap_or_default().trim_ascii_start();
        // Some tools look for what is executed by versions only at the very beginning.
        let is_versioned = sql.starts_with(b"/*!") || sql.starts_with(b"/*M!");
        if is_versioned || sql.is_empty() || packet.payload.len() > MAX_COMMENTED {
            return;
        }
        let comment = &mut self.scratch.borrow_mut().comment;
        comment.clear();
        comment.extend_from_slice(b"/*traceparent='");
        context.write(comment);
        comment.extend_from_slice(b"'*/ ");
        proxy.comment_on(id, comment);
    }

    /// A result has ended, or the answer has, or it is an error.
    fn answered(&self, client: ConnId, shown: Shown<'_>, packet: Incoming<'_>, bytes: u64) {
        let server = shown.conn;
        // (Decoding is for what needs it: this is the hot path.)
        if shown.event == Event::ServerPrepared
            && let Ok(Decoded::Prepared(ok)) = packet.decode()
        {
            return self.prepared(client, ok.statement_id, ok.params);
        }
        let mut is_told = false;
        self.with_running(client, |running| {
            running.server = Some(server.id);
            is_told = running.may_be_told();
            if is_told {
                running.answered = Some(Instant::now());
            }
            let outcome = &mut running.outcome;
            outcome.bytes += bytes;
            match packet.kind {
                PacketKind::Ok if packet.payload.first() == Some(&OkPacket::HEADER) => {
                    let affected = OkPacket::peek_affected_rows(packet.payload);
                    outcome.affected += affected.unwrap_or_default();
                }
                // The end of rows.
                PacketKind::Ok | PacketKind::Eof => {
                    outcome.rows += server.rows().unwrap_or_default();
                }
                PacketKind::Err => outcome.error = Some(0),
                _ => {}
            }
        });
        if is_told
            && packet.kind == PacketKind::Err
            && let Ok(Decoded::Err(err)) = packet.decode()
        {
            self.failed(client, &err);
        }
    }

    fn failed(&self, client: ConnId, err: &ErrPacket) {
        let tells = self.options.get().map(|options| options.statements);
        self.clients.with(client, |client| {
            let Some(running) = &mut client.running else {
                return;
            };
            running.outcome.error = Some(err.errnum);
            if running.may_be_told() && tells == Some(Statements::Texts) {
                client.message.clear();
                client.message.extend_from_slice(&err.message);
            }
        });
    }

    fn prepared(&self, client: ConnId, id: u32, params: u16) {
        self.clients
            .with(client, |client| client.prepared(id, params));
    }

    /// The client may send its next command: the one before has been answered.
    fn complete(&self, proxy: &Proxy, conn: &ConnInfo, failure: Option<Failure<'_>>) {
        self.clients.with(conn.id, |client| {
            let Some(mut running) = client.running.take() else {
                return;
            };
            if running.may_be_told() {
                self.tell(proxy, conn, client, &mut running, failure);
            }
            client
                .identity
                .answered(running.outcome.error.is_some() || failure.is_some());
            client.rests();
        });
    }
}
