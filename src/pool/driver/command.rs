//! A client's command comes.

use std::rc::Rc;
use std::time::Instant;

use super::Pools;
use super::lend::Lent;
use super::refusals::refuse;
use super::routing::Goes;
use crate::pool::backend::Use;
use crate::pool::client::{Idle, Phase, Waiting};
use crate::pool::lending::waiters::{Waiter, Want};

use crate::pool::routing::servers::Server;
use crate::proxy::{ConnId, Incoming, Packet, Proxy, Verdict};
use crate::wire::{Com, Ok as OkPacket};

impl Pools {
    /// A client's command is to be forwarded, or held back until there is a connection for it.
    pub(super) fn command(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) -> Verdict {
        let Some(com) = packet.command() else {
            return Verdict::Forward;
        };
        match com {
            // Its connection stays.
            Com::QUIT => {
                proxy.close(client, "the client quit");
                return Verdict::Hold;
            }
            Com::RESET_CONNECTION => {
                self.begin_anew(proxy, client);
                answer_ok(proxy, client);
                return Verdict::Hold;
            }
            _ if Self::is_for_above(packet) => {
                self.hand_up(client, packet);
                return Verdict::Hold;
            }
            _ => {}
        }
        if self.refuses(proxy, client, packet) || self.is_overruled(proxy, client, packet) {
            return Verdict::Hold;
        }
        if let Some(verdict) = self.without_server(proxy, client, packet) {
            return verdict;
        }
        if let Goes::On = self.directs(proxy, client, packet)
            && let Some(server) = proxy.peer(client)
            && !self.must_leave(client, server)
        {
            if self.take_back(client, server) {
                self.with_client(client, |_, pool| pool.counters.kept += 1);
            }
            return self.on_its_connection(proxy, client, packet);
        }
        let line = self.clients.with(client, |(_, client)| client.line);
        let Some(line) = line else {
            return Verdict::Forward;
        };
        let waiting = Waiting {
            command: Vec::new(),
            line,
            since: Instant::now(),
            failures: 0,
        };
        let lent = match self.is_leaving(client) {
            true => Lent::No(waiting),
            false => self.lend(proxy, client, waiting),
        };
        match lent {
            Lent::Linked => self.on_its_connection(proxy, client, packet),
            // The command is needed later.
            Lent::Arranging => {
                self.wait_silently(proxy, client, packet.payload);
                self.keep_command(client, packet.payload.to_vec());
                Verdict::Hold
            }
            Lent::No(mut waiting) => {
                waiting.command = packet.payload.to_vec();
                self.wait_silently(proxy, client, packet.payload);
                self.wait(proxy, client, waiting);
                Verdict::Hold
            }
            Lent::Closed => Verdict::Hold,
        }
    }

    /// Whether a client has a connection that is not in use, and may not use it: its user may use none more, or all
    /// clients wait. If it may, the connection counts as its user's from now on.
    fn must_leave(&self, client: ConnId, server: ConnId) -> bool {
        self.with_both(client, server, |client, backend, pool| {
            let is_free = matches!(backend.used, Use::Free(_));
            let user = client.line.user;
            let is_paused = pool.is_paused
                || pool
                    .servers
                    .get(backend.server)
                    .is_some_and(Server::is_waited_for);
            is_free && (is_paused || !pool.users.try_charge(&mut backend.charged, user))
        }) == Some(true)
    }

    /// The connection that a client still has is not free for others any more. False if it was not.
    pub(super) fn take_back(&self, client: ConnId, server: ConnId) -> bool {
        let user = self.clients.with(client, |(_, client)| client.line.user);
        let was_free = self.with_backend(server, |backend, pool| {
            let Use::Free(place) = backend.used else {
                return false;
            };
            if backend.owner != Some(client) {
                return false;
            }
            if let Some(server) = pool.servers.get_mut(backend.server) {
                server.shelf.remove(place);
            }
            backend.used = Use::Lent;
            pool.users.charge(&mut backend.charged, user.flatten());
            true
        });
        was_free == Some(true)
    }

    /// Keeps a command for which a connection is being made ready.
    pub(super) fn keep_command(&self, client: ConnId, command: Vec<u8>) {
        self.clients.with(client, |(_, client)| {
            if let Phase::Arranging(waiting) | Phase::Waiting(waiting) = &mut client.phase {
                waiting.command = command;
            }
        });
    }

    /// A client waits for a connection from now on.
    pub(super) fn wait(&self, proxy: &Proxy, client: ConnId, waiting: Waiting) {
        let is_full = self.with_client(client, |client_of, pool| {
            let waiter = Waiter {
                client,
                since: waiting.since,
                bytes: waiting.command.len(),
            };
            if pool.queue.push(waiting.line, waiter).is_err() {
                pool.counters.refused_full += 1;
                client_of.phase = Phase::Served;
                return true;
            }
            pool.counters.waited += 1;
            client_of.phase = Phase::Waiting(Box::new(waiting));
            false
        });
        match is_full {
            Some(true) => refuse(
                proxy,
                client,
                "Too many connections: too many clients wait for one",
            ),
            // A connection may have to be opened.
            _ => self.note_news(),
        }
    }

    /// A client keeps the schema that it has on this connection, though not all of its session there may be known.
    fn keep_schema(&self, client: ConnId, server: Option<ConnId>) {
        let schema = server.and_then(|server| {
            self.backends.with(server, |(_, backend)| {
                let schema = backend.session.schema();
                let known = schema.known().map(|schema| schema.map(<[u8]>::to_vec));
                known.filter(|_| backend.owner == Some(client))
            })
        });
        if let Some(schema) = schema.flatten() {
            self.clients.with(client, |(_, client)| {
                client.settings = Rc::new(client.settings.with(schema.as_deref(), &[]));
            });
        }
    }

    /// The client's session begins anew, as after a login.
    pub(super) fn begin_anew(&self, proxy: &Proxy, client: ConnId) {
        let from = self
            .clients
            .with(client, |(_, client)| client.leaving.take());
        let from = from.flatten();
        self.keep_schema(client, proxy.peer(client).or(from));
        if let Some(server) = proxy.peer(client) {
            self.release(proxy, client, server);
        }
        if let Some(server) = from {
            self.keeps_nothing_of(server, client);
        }
        self.clients.with(client, |(_, client)| {
            client.held = None;
            (client.overruled, client.given_up) = (None, None);
            (client.user_variables, client.keeps_user_variables) = (Rc::default(), false);
            if let Some(prepared) = &mut client.prepared {
                prepared.statements.clear();
            }
            client.last_insert_id = 0;
            let snapshot = client.snapshot.as_ref();
            client.settings = Rc::new(client.initial.after_reset(&client.settings, snapshot));
            client.diagnostics.begin_anew();
            client.idle = Idle::new(client.idle.is_interactive);
            client.trackers = None;
        });
    }
}

/// The servers that a client's next command may be executed by.
pub(super) const ANY: Want = Want::Primary;

fn answer_ok(proxy: &Proxy, client: ConnId) {
    let _ = proxy.send(client, Packet::Ok(&OkPacket::default()));
}
