//! KILL of the pool's clients. Who is killed has another connection from one command to the next, so
//! a connection is not lent to anybody else until the server has answered a KILL that is for it.

use std::rc::Rc;
use std::time::Instant;

use super::Pools;
use crate::pool::backend::Use;
use crate::pool::client::Phase;
use crate::pool::contents::PoolId;
use crate::proxy::{ConnId, Incoming, Packet, Proxy};
use crate::sql;
use crate::wire::{Com, ErrPacket};

/// What a client is doing when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, and its connection, if it still has one, could be given to others.
    Nothing,
    /// It waits for a connection, or for one to be made ready for its command.
    Waiting,
    /// The server executes its command.
    Executing,
    /// It keeps its connection, and does nothing on it.
    Holding,
}

/// The connection that a client has at present.
#[derive(Debug, Clone)]
pub struct Present {
    /// The connection.
    pub conn: ConnId,
    /// The name of its server.
    pub server: Rc<str>,
    /// The server's number for it.
    pub thread_id: u32,
}

impl Pools {
    /// Whether a command is for the layer above: it logs in anew, or is to kill a client.
    pub(super) fn is_for_above(packet: Incoming<'_>) -> bool {
        match packet.command() {
            Some(Com::CHANGE_USER | Com::PROCESS_KILL) => true,
            Some(Com::QUERY | Com::STMT_PREPARE) => {
                let sql = packet.sql().unwrap_or_default();
                !sql::kills(sql, sql::Mode::default()).is_empty()
            }
            _ => false,
        }
    }

    /// Gives a command to the layer above, which answers it.
    pub(super) fn hand_up(&self, client: ConnId, packet: Incoming<'_>) {
        let above = self.with_client(client, |_, pool| pool.above.clone());
        let (Some(above), Some(com)) = (above, packet.command()) else {
            return;
        };
        let argument = packet.payload.get(1..).unwrap_or_default();
        above.command(client, com, packet.sql().unwrap_or(argument));
    }

    /// What a client is doing; `None` if it is none of a pool's.
    pub fn doing(&self, proxy: &Proxy, client: ConnId) -> Option<Doing> {
        let (waits, is_held) = self.clients.with(client, |(_, client)| {
            let waits = !matches!(client.phase, Phase::Served);
            (waits, client.held.is_some())
        })?;
        let executes = proxy
            .peer(client)
            .is_some_and(|server| proxy.answering(server).is_some());
        Some(match (waits, executes, is_held) {
            (true, ..) => Doing::Waiting,
            (_, true, _) => Doing::Executing,
            (_, _, true) => Doing::Holding,
            _ => Doing::Nothing,
        })
    }

    /// The connection that a client has, which is not lent to anybody else until [`Pools::unpin`]. Whoever waits has
    /// none that a KILL could be for.
    pub fn pin(&self, proxy: &Proxy, client: ConnId) -> Option<Present> {
        let conn = proxy.peer(client)?;
        let waits = self
            .clients
            .with(client, |(_, client)| !matches!(client.phase, Phase::Served));
        if waits == Some(true) {
            return None;
        }
        self.take_back(client, conn);
        let present = self.with_backend(conn, |backend, pool| {
            let server = pool.servers.get(backend.server)?.name.clone();
            backend.pins += 1;
            Some(Present {
                conn,
                server,
                thread_id: backend.thread_id,
            })
        });
        present.flatten()
    }

    /// Ends statements at the servers that have taken too long. Their clients are not listened to meanwhile, as a KILL that
    /// comes late would hit their next statements.
    pub(super) fn end_long_statements(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let limit = self.with_pool(id, |pool| pool.options.statement_timeout);
        let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
            return;
        };
        let mut late = Vec::new();
        self.backends.each(|conn, (of, backend)| {
            let is_late = |began| now.saturating_duration_since(began) >= limit;
            let may_last = matches!(backend.com, Com::BINLOG_DUMP | Com::BINLOG_DUMP_GTID);
            let is_clients = matches!(backend.used, Use::Lent) && backend.pins == 0 && !may_last;
            if *of == id && is_clients && backend.began.is_some_and(is_late) {
                late.push(conn);
            }
        });
        for server in late {
            let Some(client) = proxy
                .peer(server)
                .filter(|_| proxy.answering(server).is_some())
            else {
                continue;
            };
            let found = self.with_backend(server, |backend, pool| {
                let name = pool.servers.get(backend.server)?.name.clone();
                let key = pool.keys.get(backend.key)?.clone();
                backend.pins += 1;
                // If it goes on all the same, it is ended once more later.
                (backend.began, backend.is_hushed) = (Some(now), true);
                pool.counters.ended_late += 1;
                Some((pool.above.clone(), name, key, backend.thread_id))
            });
            if let Some((above, name, key, thread_id)) = found.flatten() {
                proxy.pause(client);
                above.interrupt(server, &name, &key, thread_id);
            }
        }
    }

    /// The client of this connection is listened to again, if it was not.
    pub(super) fn listen_again(&self, proxy: &Proxy, server: ConnId, client: Option<ConnId>) {
        let was_hushed = self.backends.with(server, |(_, backend)| {
            std::mem::take(&mut backend.is_hushed)
        });
        if let (Some(true), Some(client)) = (was_hushed, client) {
            proxy.resume(client);
        }
    }

    /// The server has answered a KILL that was for this connection.
    pub fn unpin(&self, proxy: &Proxy, server: ConnId) {
        let is_last = self.backends.with(server, |(_, backend)| {
            backend.pins = backend.pins.saturating_sub(1);
            backend.pins == 0
        });
        if is_last != Some(true) {
            return;
        }
        self.listen_again(proxy, server, proxy.peer(server));
        match proxy.peer(server) {
            None => {
                self.agenda.borrow_mut().left.push(server);
                self.note_news();
            }
            Some(client) if proxy.answering(server).is_none() => self.served(proxy, client),
            // Its end will tell.
            Some(_) => {}
        }
    }

    /// Ends the command of a client that waits for a connection. False if it does not wait.
    pub fn interrupt(&self, proxy: &Proxy, client: ConnId) -> bool {
        let waited = self.with_client(client, |client_of, pool| {
            match std::mem::replace(&mut client_of.phase, Phase::Served) {
                Phase::Served => false,
                Phase::Waiting(waiting) => {
                    pool.queue.remove(waiting.line, client);
                    true
                }
                // The connection that is made ready for it finds nobody, and goes back.
                Phase::Arranging(_) => true,
            }
        });
        if waited == Some(true) {
            let err = ErrPacket::new(1317, b"70100", "Query execution was interrupted".into());
            let _ = proxy.send(client, Packet::Err(&err));
            self.note_news();
        }
        waited == Some(true)
    }
}
