//! What drives the pools: an observer of the proxy's, which lends connections to clients.
//!
//! A command of a client that has no connection is held back until it has one. The hooks, and all
//! other observers, are shown the command only then, so that to them the client looks like any other
//! that is linked to a server. Whatever changes hands does so at the end of the tick, when all that
//! servers have sent has been looked at: bytes that nobody has asked for close a connection, they
//! never become part of another client's answer.
//!
//! - `command`: a client's command comes
//! - `routing`: to which server it goes
//! - `lend`: a client gets a connection; `serve`: those who have waited for one
//! - `errands`: the pool's own commands; `handing_over`: what becomes of the connection and of its clients then
//! - `answer`: a client's command is answered
//! - `judging`: what statements hide
//! - `kills`: a client is killed, or kills
//! - `leaving`: a client or a server is gone; `failover`: what becomes of the command that it executed
//! - `diagnostics`, `reports`, `made_up`: what the proxy answers in a server's place
//! - `opening`: connections are opened, and close
//! - `refusals`: errors of the pool's own; `policies`: what a script decides
//! - `due`: what time brings; `idle`: clients that are silent
//! - `control`: what the layer above tells a pool to do
//! - `statements`: commands about prepared statements, whose ids change with the connection; `preparing`:
//!   statements that are prepared again, and closed
//! - `moving`: sessions are written down, and gone on with
//! - `shown`: what is told of pools
//! - `user_variables`: user variables that are restored
//! - `yielding`: connections are given up for clients of other workers

mod answer;
mod command;
pub mod control;
mod diagnostics;
mod due;
mod errands;
mod failover;
mod handing_over;
mod idle;
mod judging;
pub mod kills;
mod leaving;
mod lend;
mod made_up;
pub mod moving;
pub mod opening;
mod policies;
mod preparing;
mod refusals;
mod reports;
mod routing;
mod serve;
pub mod shown;
mod statements;
mod user_variables;
mod yielding;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use super::above::Above;
use super::backend::{Backend, Use};
use super::client::Client;
use super::contents::{Pool, PoolId};
use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Incoming, Observer, Packet, PerConnection, Proxy, Shown, Verdict,
};
use crate::session::{Event, EventSet, PacketKind};
use crate::wire::Com;

/// What is seen of every connection to a server.
const OF_SERVERS: EventSet = Event::ServerGotCommand
    .set()
    .with(Event::ServerPrepared.set())
    .with(Event::ServerSendingParams.set())
    .with(Event::ServerSendingEof.set())
    .with(Event::ServerWaitCommand.set())
    .with(Event::ServerReceivedError.set());

/// What is seen in addition while the pool's own commands are executed, so that nobody else sees it.
const OF_ERRANDS: EventSet = EventSet::OF_PACKETS;

const OF_CLIENTS: EventSet = Event::ClientSentCommand
    .set()
    .with(Event::ClientWaiting.set());

/// All pools, their clients and their connections.
#[derive(Default)]
pub struct Pools {
    clients: PerConnection<(PoolId, Client)>,
    backends: PerConnection<(PoolId, Backend)>,
    pools: RefCell<Slab<Pool>>,
    /// What is to be done at the end of the tick.
    agenda: RefCell<Agenda>,
    /// Clients whose sessions are to be known, and are being read.
    awaited: RefCell<HashMap<ConnId, PoolId>>,
    /// A buffer for commands to servers.
    written: Cell<Vec<u8>>,
}

/// What is to be done at the end of the tick.
#[derive(Debug, Default)]
struct Agenda {
    /// Connections on which the pool's own commands are answered.
    answered: Vec<ConnId>,
    /// Connections whose clients have left.
    left: Vec<ConnId>,
    /// Clients that have kept a connection which is gone.
    bereaved: Vec<ConnId>,
    /// Clients whose server has refused a command because it is not what it was.
    turned_away: Vec<ConnId>,
    /// Clients whose servers have lost the statement that they have executed.
    asked_again: Vec<ConnId>,
    /// Connections on which the pool's own commands are executed.
    errands: HashSet<ConnId>,
    /// Whether something has become free that somebody may wait for.
    has_news: bool,
    /// When a free connection is to be looked at that clients of other workers wait for.
    others_due: Option<Instant>,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pools")
    }
}

impl Pools {
    /// None yet.
    pub fn new() -> Pools {
        Pools::default()
    }

    /// Adds a pool.
    pub fn add(&self, pool: Pool) -> PoolId {
        PoolId(self.pools.borrow_mut().insert(pool))
    }

    /// Ends a pool, whose clients and connections are gone.
    pub fn remove(&self, id: PoolId) {
        let ended = self.pools.borrow_mut().try_remove(id.0);
        drop(ended);
    }

    /// Calls `f` with a pool. `f` must not use `self`.
    fn with_pool<R>(&self, id: PoolId, f: impl FnOnce(&mut Pool) -> R) -> Option<R> {
        self.pools.borrow_mut().get_mut(id.0).map(f)
    }

    /// Calls `f` with a client and its pool. `f` must not use `self`.
    fn with_client<R>(&self, id: ConnId, f: impl FnOnce(&mut Client, &mut Pool) -> R) -> Option<R> {
        let mut pools = self.pools.borrow_mut();
        let found = self.clients.with(id, |(pool, client)| {
            pools.get_mut(pool.0).map(|pool| f(client, pool))
        });
        found.flatten()
    }

    /// Calls `f` with a connection to a server and its pool. `f` must not use `self`.
    fn with_backend<R>(
        &self,
        id: ConnId,
        f: impl FnOnce(&mut Backend, &mut Pool) -> R,
    ) -> Option<R> {
        let mut pools = self.pools.borrow_mut();
        let found = self.backends.with(id, |(pool, backend)| {
            pools.get_mut(pool.0).map(|pool| f(backend, pool))
        });
        found.flatten()
    }

    /// Calls `f` with a client, a connection and their pool. `f` must not use `self`.
    fn with_both<R>(
        &self,
        client: ConnId,
        server: ConnId,
        f: impl FnOnce(&mut Client, &mut Backend, &mut Pool) -> R,
    ) -> Option<R> {
        let mut pools = self.pools.borrow_mut();
        let found = self.clients.with(client, |(id, client)| {
            let pool = pools.get_mut(id.0)?;
            self.backends
                .with(server, |(_, backend)| f(client, backend, pool))
        });
        found.flatten()
    }

    /// Whether the pool's own commands are executed on a connection, the last of which is to close it.
    fn is_on_errand(&self, server: ConnId) -> bool {
        let is = |(_, backend): &mut (PoolId, Backend)| {
            matches!(backend.used, Use::Errand(..) | Use::Ending)
        };
        self.backends.with(server, is) == Some(true)
    }

    /// Something may have become free.
    fn note_news(&self) {
        self.agenda.borrow_mut().has_news = true;
    }
}

impl Observer for Pools {
    fn wants(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match conn.kind {
            ConnKind::Client if self.clients.has(conn.id) => OF_CLIENTS,
            ConnKind::Server if self.backends.has(conn.id) => match proxy.peer(conn.id) {
                Some(client) if self.lists(client) => {
                    OF_SERVERS.with(Event::ServerSendingRows.set())
                }
                Some(_) => OF_SERVERS,
                None => OF_ERRANDS,
            },
            _ => EventSet::NONE,
        }
    }

    fn event(&self, proxy: &Proxy, shown: Shown<'_>) -> Verdict {
        let conn = shown.conn;
        match (shown.event, shown.packet) {
            (Event::ClientSentCommand, Some(packet)) => {
                return self.command(proxy, conn.id, packet);
            }
            (Event::ClientWaiting, _) => {
                self.begins_to_idle(conn.id);
                self.served(proxy, conn.id);
            }
            (Event::ServerReceivedError, Some(packet))
                if self.is_turned_away(proxy, conn.id, packet) =>
            {
                self.server_event(proxy, conn.id, Event::ServerReceivedError, Some(packet));
                return Verdict::Hold;
            }
            (event, packet) if conn.kind == ConnKind::Server => {
                self.server_event(proxy, conn.id, event, packet);
                if event == Event::ServerReceivedError && self.has_lost_statement(proxy, conn.id) {
                    return Verdict::Hold;
                }
                if self.is_on_errand(conn.id) {
                    // Nobody else is shown the pool's own commands and their answers.
                    return Verdict::Hold;
                }
            }
            _ => {}
        }
        Verdict::Forward
    }

    /// A client's command is forwarded, or not.
    fn settled(&self, proxy: &Proxy, shown: Shown<'_>, verdict: Verdict) -> Verdict {
        let Shown {
            conn,
            event,
            packet: Some(packet),
            ..
        } = shown
        else {
            return verdict;
        };
        match event {
            Event::ServerPrepared => return self.prepared(proxy, conn.id, packet, verdict),
            Event::ServerReceivedError => {
                return self.prepare_failed(proxy, conn.id, packet, verdict);
            }
            Event::ClientSentCommand => {}
            Event::ServerSendingRows => return self.show_row(proxy, conn.id, packet, verdict),
            _ if conn.kind == ConnKind::Server && packet.kind == PacketKind::Ok => {
                return self.show_ok(proxy, conn.id, packet, verdict);
            }
            _ => return verdict,
        }
        let com = packet.command();
        if com.is_some_and(|com| com.names_statement() || com == Com::STMT_PREPARE) {
            return self.forwards_statement(proxy, conn.id, packet, verdict);
        }
        if matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect) {
            if self.answers(proxy, conn.id, packet) {
                return Verdict::Hold;
            }
            self.forwards(proxy, conn.id, packet);
        }
        verdict
    }

    /// A packet that a script, an observer or the pool itself has sent.
    fn sent(&self, _: &Proxy, conn: &Rc<ConnInfo>, packet: &Packet<'_>) {
        if let Some((com, argument)) = packet.command() {
            self.backends
                .with(conn.id, |(_, backend)| backend.note(com, argument));
        }
    }

    fn linked(&self, _: &Proxy, client: ConnId, server: ConnId) {
        if let Some(above) = self.told_of_links(server) {
            above.lent(client, server);
        }
    }

    fn unlinked(&self, _: &Proxy, client: ConnId, server: ConnId) {
        if let Some(above) = self.told_of_links(server) {
            above.taken(client, server);
        }
        let is_lent = self
            .backends
            .with(server, |(_, backend)| matches!(backend.used, Use::Lent));
        if is_lent == Some(true) {
            // Not by the pool, which takes a connection off its shelf before.
            self.agenda.borrow_mut().left.push(server);
        }
    }

    fn end_of_tick(&self, proxy: &Proxy) {
        self.do_what_is_due(proxy);
    }

    fn closing(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) {
        match conn.kind {
            ConnKind::Client => self.client_left(proxy, conn.id),
            ConnKind::Server => self.server_died(proxy, conn.id),
            _ => {}
        }
    }
}

impl Pools {
    /// The layer above, if it is to be told which client has this connection.
    fn told_of_links(&self, server: ConnId) -> Option<Rc<dyn Above>> {
        let above = self.with_backend(server, |_, pool| {
            pool.options.tells_links.then(|| pool.above.clone())
        });
        above.flatten()
    }

    /// Answers a client's command in its server's place, if that has to be.
    fn answers(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) -> bool {
        if packet.command() != Some(Com::QUERY) || !self.clients.has(client) {
            return false;
        }
        let sql = packet.sql().unwrap_or_default();
        self.answer_diagnostics(proxy, client, sql)
            || self.answer_trackers(proxy, client, sql)
            || self.rewrite_idle(proxy, client, sql)
    }

    fn forwards(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) {
        let Some(server) = proxy.peer(client) else {
            return;
        };
        let (Some(com), Some(argument)) = (packet.command(), packet.payload.get(1..)) else {
            return;
        };
        let sql = packet.sql().unwrap_or(argument);
        let size = argument.len() - sql.len();
        let attributes = argument.get(..size).unwrap_or_default();
        if com == Com::QUERY {
            self.begins_listing(proxy, client, server, sql);
        }
        self.backends.with(server, |(_, backend)| {
            backend.note_clients(com, attributes, sql)
        });
    }
}
