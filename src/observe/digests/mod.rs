//! Statistics of statements by their digests: how often, how long, how many rows, how many errors.
//!
//! A statement is counted when its client may send the next one, whoever has answered it: its server, a pooled
//! connection, or a script in its place. Counting takes no memory once a digest is known.
//!
//! - `client`: what is known of a client
//! - `entry`: the sums of one digest; `table`: all digests
//! - `figures`: how they are shown

mod client;
mod entry;
mod figures;
mod table;

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Instant;

use client::{Client, Running, What};
use entry::Outcome;
use figures::{AllQueries, EachDigest};
use table::{Key, Table};

use crate::metrics::{Row, Source};
use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Decoded, Incoming, Observer, Packet, PerConnection, Proxy, Shown,
    Verdict,
};
use crate::session::{Event, EventSet, Head, PacketKind};
use crate::sql::{self, Mode};
use crate::wire::{Com, Ok as OkPacket};

/// How much of a statement is looked at. What differs only behind that is one digest.
const LOOKED_AT: usize = 16 << 10;

/// How statements are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestOptions {
    /// How many digests there may be.
    pub max: NonZeroUsize,
    /// How long the text of a digest may be.
    pub max_length: usize,
    /// Whether users are told apart.
    pub by_user: Apart,
    /// Whether schemas are told apart.
    pub by_schema: Apart,
    /// Whether servers are told apart.
    pub by_server: Apart,
}

/// Whether statements that differ in something are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Apart {
    /// They are one.
    #[default]
    Together,
    /// They are two.
    Apart,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Digests {
    /// `None` as long as nothing is counted.
    options: Cell<Option<DigestOptions>>,
    clients: PerConnection<Client>,
    /// How many bytes had been read of each server when its last answer ended.
    servers: PerConnection<u64>,
    table: Rc<RefCell<Table>>,
    /// The key of the statement that is being counted. The buffer is used again.
    key: RefCell<Key>,
}

impl Digests {
    /// Counts statements from now on; those of before are forgotten.
    pub fn start(&self, proxy: &Proxy, options: DigestOptions) {
        self.options.set(Some(options));
        self.table.borrow_mut().restart(options.max);
        proxy.rearm_all();
    }

    /// Stops counting, and forgets what was counted.
    pub fn stop(&self, proxy: &Proxy) {
        if let Some(options) = self.options.take() {
            self.table.borrow_mut().restart(options.max);
            proxy.rearm_all();
        }
    }

    /// How statements are counted, if they are.
    pub fn options(&self) -> Option<DigestOptions> {
        self.options.get()
    }

    /// The tables that show them.
    pub fn sources(&self) -> [Rc<dyn Source>; 2] {
        [
            Rc::new(EachDigest::new(self.table.clone())),
            Rc::new(AllQueries::new(self.table.clone())),
        ]
    }

    /// Their first `count` rows by a column, from the largest. `None` if there is no such column.
    pub fn top(&self, count: usize, column: &str) -> Option<Vec<Row>> {
        figures::top(&self.table.borrow(), count, column)
    }

    /// The columns by which they can be sorted.
    pub fn columns(&self) -> Vec<&'static str> {
        figures::names().collect()
    }

    /// Forgets all of them.
    pub fn reset(&self) {
        self.table.borrow_mut().reset();
    }
}

// What passes -------------------------------------------------------------------------------------

const OF_CLIENTS: EventSet = Event::ClientSentCommand
    .set()
    .with(Event::ClientWaiting.set());
const OF_SERVERS: EventSet = Event::ServerSendingEof
    .set()
    .with(Event::ServerWaitCommand.set())
    .with(Event::ServerReceivedError.set())
    .with(Event::ServerPrepared.set());

impl Observer for Digests {
    fn wants(&self, _: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        if self.options().is_none() {
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
            (Event::ClientWaiting, Some(packet)) => self.login(id, packet),
            (Event::ClientWaiting, None) => self.complete(proxy, id),
            _ => {}
        }
        Verdict::Forward
    }

    /// What became of it: only what clients are sent is part of their answers.
    fn settled(&self, proxy: &Proxy, shown: Shown<'_>, verdict: Verdict) -> Verdict {
        let passes = matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect);
        if shown.conn.kind == ConnKind::Client {
            if shown.event == Event::ClientSentCommand && !passes {
                self.with_running(shown.conn.id, |running| running.held = true);
            }
            return verdict;
        }
        let bytes = self.bytes_of(shown.conn);
        if let (Some(client), Some(packet), true) =
            (proxy.peer(shown.conn.id), shown.packet, passes)
        {
            self.answered(client, shown, packet, bytes);
        }
        verdict
    }

    /// What a script or an observer sends in the place of a server.
    fn sent(&self, _: &Proxy, conn: &Rc<ConnInfo>, packet: &Packet<'_>) {
        if conn.kind != ConnKind::Client {
            return;
        }
        match packet {
            Packet::Err(_) => self.with_running(conn.id, |running| running.outcome.failed = true),
            Packet::Ok(ok) => self.with_running(conn.id, |running| {
                running.outcome.affected += ok.affected_rows;
            }),
            Packet::Row(_) => self.with_running(conn.id, |running| running.outcome.rows += 1),
            Packet::Prepared(ok) => self.prepared(conn.id, ok.statement_id),
            _ => {}
        }
    }

    fn closing(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) {
        // One that is not answered any more has ended, too.
        if conn.kind == ConnKind::Client {
            self.with_running(conn.id, |running| running.outcome.failed = true);
            self.complete(proxy, conn.id);
        }
        drop(self.clients.remove(conn.id));
        self.servers.remove(conn.id);
    }
}

impl Digests {
    fn with_running(&self, client: ConnId, change: impl FnOnce(&mut Running)) {
        self.clients.with(client, |client| {
            if let Some(running) = &mut client.running {
                change(running);
            }
        });
    }

    /// How many bytes have come of a server since its last answer.
    fn bytes_of(&self, server: &ConnInfo) -> u64 {
        let read = server.bytes_read();
        let before = self
            .servers
            .with_default(server.id, |before| std::mem::replace(before, read));
        read.saturating_sub(before)
    }

    fn login(&self, id: ConnId, packet: Incoming<'_>) {
        self.clients
            .with_default(id, |client| client.identity.login(packet));
    }

    /// A command has come; or it is shown again, as it was held back when it came.
    fn command(&self, id: ConnId, packet: Incoming<'_>) {
        let com = Com(packet.payload.first().copied().unwrap_or_default());
        let Some(options) = self.options.get() else {
            return;
        };
        self.clients.with_default(id, |client| {
            let before = client.running.take();
            client.identity.command(com, packet);
            let what = what(client, com, packet, options.max_length);
            let what = what.unwrap_or(What::Other);
            let held = before.filter(|before| before.held);
            // (What has no answer is never shown again, whoever holds it back.)
            client.running = com.expects_answer().then(|| Running {
                began: held.map_or_else(Instant::now, |held| held.began),
                what,
                outcome: Outcome::default(),
                server: None,
                held: false,
            });
        });
    }

    /// A result has ended, or the answer has, or it is an error.
    fn answered(&self, client: ConnId, shown: Shown<'_>, packet: Incoming<'_>, bytes: u64) {
        let server = shown.conn;
        // (Decoding is for what needs it: this is the hot path.)
        if shown.event == Event::ServerPrepared
            && let Ok(Decoded::Prepared(ok)) = packet.decode()
        {
            return self.prepared(client, ok.statement_id);
        }
        self.with_running(client, |running| {
            running.server = Some(server.id);
            let outcome = &mut running.outcome;
            outcome.bytes += bytes;
            match packet.kind {
                PacketKind::Err => outcome.failed = true,
                PacketKind::Ok if packet.payload.first() == Some(&OkPacket::HEADER) => {
                    let affected = OkPacket::peek_affected_rows(packet.payload);
                    outcome.affected += affected.unwrap_or_default();
                }
                // The end of rows.
                PacketKind::Ok | PacketKind::Eof => {
                    outcome.rows += server.rows().unwrap_or_default();
                }
                _ => {}
            }
        });
    }

    /// The client's statement has this number, as the client knows it.
    fn prepared(&self, client: ConnId, id: u32) {
        self.clients.with(client, |client| {
            if let Some(Running {
                what: What::Prepare(digest),
                ..
            }) = &client.running
            {
                let digest = digest.clone();
                client.prepared(id, digest);
            }
        });
    }

    /// The client may send its next command: the one before has been answered.
    fn complete(&self, proxy: &Proxy, id: ConnId) {
        self.clients.with(id, |client| {
            let Some(running) = client.running.take() else {
                return;
            };
            if let What::Statement = running.what {
                self.count(proxy, client, &running);
            }
            client.identity.answered(running.outcome.failed);
        });
    }

    fn count(&self, proxy: &Proxy, client: &Client, running: &Running) {
        let Some(options) = self.options.get() else {
            return;
        };
        let key = &mut *self.key.borrow_mut();
        key.clear();
        key.set(0, |out| out.extend_from_slice(&client.text));
        key.set(1, |out| {
            if options.by_user == Apart::Apart {
                out.extend_from_slice(&client.identity.user);
            }
        });
        key.set(2, |out| {
            if options.by_schema == Apart::Apart {
                out.extend_from_slice(&client.identity.schema);
            }
        });
        key.set(3, |out| {
            let server = running.server.filter(|_| options.by_server == Apart::Apart);
            if let Some(server) = server.and_then(|server| proxy.info(server)) {
                server.write_place(out);
            }
        });
        let took = running.began.elapsed();
        self.table.borrow_mut().add(key, took, running.outcome);
    }
}

/// What a command does, whose digest is left with the client; `None` if it is not of interest.
fn what(client: &mut Client, com: Com, packet: Incoming<'_>, max_length: usize) -> Option<What> {
    match com {
        Com::QUERY => {
            let sql = packet.sql()?;
            write_digest(sql, max_length, &mut client.text);
            Some(What::Statement)
        }
        Com::STMT_PREPARE => {
            write_digest(packet.sql()?, max_length, &mut client.text);
            Some(What::Prepare(client.text.as_slice().into()))
        }
        Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => {
            let digest = client.digest_of(Head::of(packet.payload).statement())?;
            client.text.clear();
            client.text.extend_from_slice(&digest);
            Some(What::Statement)
        }
        Com::STMT_CLOSE => {
            client.close(Head::of(packet.payload).statement());
            None
        }
        Com::CHANGE_USER | Com::RESET_CONNECTION => {
            client.close_all();
            None
        }
        _ => None,
    }
}

fn write_digest(sql: &[u8], max_length: usize, out: &mut Vec<u8>) {
    let head = sql.get(..LOOKED_AT).unwrap_or(sql);
    sql::write_digest(head, Mode::default(), out);
    if out.len() > max_length {
        out.truncate(max_length);
        out.extend_from_slice(b"...");
    }
}
