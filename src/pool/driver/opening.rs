//! Connections are opened, and close.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::Pools;
use super::lend::know;
use crate::pool::backend::{Backend, Next, Then, Use, Writes};
use crate::pool::client::Phase;
use crate::pool::contents::PoolId;
use crate::pool::errand::{command, query};
use crate::pool::lending::budget::Stage;
use crate::pool::routing::causal::{Consistency, LastWrite};
use crate::pool::statements::{ConnectionStatements, Dialect};
use crate::proxy::{ConnId, Packet, Proxy};
use crate::track::{Ending, Hidden, Login, Session};
use crate::wire::Com;

/// A connection that the layer above has opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The connection; it is logged in.
    pub server: ConnId,
    /// The number of the ticket that it was opened for.
    pub ticket: u64,
    /// The server's number for it.
    pub thread_id: u32,
    /// The version that the server has greeted with.
    pub version: Vec<u8>,
}

impl Pools {
    /// A connection was opened and logged in. False if nobody has asked for it.
    pub fn opened(&self, proxy: &Proxy, id: PoolId, opened: Opened) -> bool {
        let now = Instant::now();
        let asked = self.with_pool(id, |pool| {
            let ticket = pool.tickets.remove(&opened.ticket)?;
            let is_causal = pool.options.consistency != Consistency::None;
            Some((ticket, pool.options.max_lifetime, is_causal))
        });
        let Some((ticket, lifetime, is_causal)) = asked.flatten() else {
            return false;
        };
        // Not all at once.
        let jitter = rand::rng().random_range(0.9..=1.0);
        let lifetime = match lifetime.is_zero() {
            true => Duration::from_secs(u64::from(u32::MAX)),
            false => lifetime.mul_f64(jitter),
        };
        let dialect = Dialect::of_version(&opened.version);
        let max_prepared = self.with_pool(id, |pool| {
            pool.dialect = dialect;
            pool.options.max_prepared
        });
        let backend = Backend {
            statements: ConnectionStatements::new(max_prepared.unwrap_or_default()),
            server: ticket.server,
            key: ticket.key,
            thread_id: opened.thread_id,
            session: logged_in(&opened.version),
            snapshot: None,
            settings: None,
            in_place: None,
            user_variables: Rc::default(),
            owner: None,
            is_unread: false,
            used: Use::Moving,
            charged: None,
            multi_statements: true,
            is_ready: false,
            retires: now + lifetime,
            errand_until: now,
            began: None,
            is_hushed: false,
            is_released: false,
            pins: 0,
            com: Com::SLEEP,
            argument: Vec::new(),
            attributes: None,
            reached: LastWrite::None,
            wrote: None,
            writes: match is_causal {
                true => Writes::Nothing,
                false => Writes::Unwatched,
            },
            is_about_to_send: false,
            asked_as: Vec::new(),
        };
        self.backends.insert(opened.server, (id, backend));
        proxy.rearm(opened.server);
        self.read_snapshot(proxy, opened.server);
        true
    }

    /// A connection could not be opened.
    pub fn failed(&self, id: PoolId, ticket: u64) {
        self.with_pool(id, |pool| {
            if let Some(ticket) = pool.tickets.remove(&ticket)
                && let Some(server) = pool.servers.get_mut(ticket.server)
            {
                server.shelf.lost(Stage::Opening);
                server.has_failed(Instant::now());
                pool.counters.failed += 1;
            }
        });
        self.note_news();
    }

    /// A server has refused the login for this ticket: those who wait for such a connection get none.
    /// They are returned, and have to be told.
    pub fn login_refused(&self, id: PoolId, ticket: u64) -> Vec<ConnId> {
        let waiting = self.with_pool(id, |pool| {
            let ticket = pool.tickets.remove(&ticket)?;
            if let Some(server) = pool.servers.get_mut(ticket.server) {
                server.shelf.lost(Stage::Opening);
            }
            pool.counters.failed += 1;
            Some(pool.queue.take(ticket.key))
        });
        let waiting = waiting.flatten().unwrap_or_default();
        for client in &waiting {
            self.clients
                .with(*client, |(_, client)| client.phase = Phase::Served);
        }
        self.note_news();
        waiting
    }

    /// Closes a connection that nobody uses. Where another is opened in its place, the server closes it, which counts it until
    /// then: it never sees more than there may be.
    pub(super) fn part_with(&self, proxy: &Proxy, server: ConnId, why: &'static str) {
        let is_replaced = [FOR_ANOTHER_KEY, FOR_ANOTHER_WORKER].contains(&why);
        let quit = command(Com::QUIT, b"");
        if !is_replaced || proxy.send(server, Packet::Command(&quit)).is_err() {
            proxy.close(server, why);
            return;
        }
        log::info!("connection {}: it ends: {why}", server.serial());
        self.backends.with(server, |(_, backend)| {
            backend.used = Use::Ending;
            backend.errand_until = Instant::now() + PATIENCE;
        });
        self.agenda.borrow_mut().errands.insert(server);
    }

    /// Closes a connection that is not used, and not on the shelf any more. False if something is read
    /// for its last client before.
    pub(super) fn retire(&self, proxy: &Proxy, server: ConnId, why: &'static str) -> bool {
        if let Some(client) = proxy.peer(server) {
            self.backends
                .with(server, |(_, backend)| backend.used = Use::Moving);
            self.remember_statement(client, server);
            let _ = proxy.unlink(client, server);
        }
        let owner = self.backends.with(server, |(_, backend)| backend.owner);
        let Some(owner) = owner.flatten().filter(|owner| self.clients.has(*owner)) else {
            self.part_with(proxy, server, why);
            return true;
        };
        // What is volatile is read first, as everything else replaces it.
        let unread = self.unread_diagnostics(owner);
        if unread.is_empty() && self.has_unread_user_variables(server) {
            self.note_leaving(server);
            self.read_user_variables(proxy, server, Next::Close(why));
            return false;
        }
        let (commands, then) = if unread.is_empty() {
            let unknown = self.with_backend(server, |backend, pool| {
                let unknown = know(backend, pool).err()?;
                pool.counters.carried += 1;
                Some((backend.ask(&unknown), unknown))
            });
            let Some((commands, unknown)) = unknown.flatten() else {
                return self.saved(proxy, server, why);
            };
            let rounds = 0;
            (
                commands,
                Then::Saved {
                    why,
                    unknown,
                    rounds,
                },
            )
        } else {
            let commands = unread.iter().map(|one| query(one.sql())).collect();
            (commands, Then::Retired { why })
        };
        self.note_leaving(server);
        self.run(proxy, server, commands, then);
        false
    }
}

/// Why a connection closes for a client that needs one of another kind.
pub(super) const FOR_ANOTHER_KEY: &str = "clients that cannot use it need a connection";
/// Why it closes for a client of another worker.
pub(super) const FOR_ANOTHER_WORKER: &str = "clients of another worker need its place";

/// How long a server may take to close a connection that it was told to close.
const PATIENCE: Duration = Duration::from_secs(1);

/// The session of a connection that has just been logged in, to no schema.
pub(super) fn logged_in(version: &[u8]) -> Session {
    let login = Login {
        version,
        ..Login::default()
    };
    let mut session = Session::new(&login, Hidden::Reported);
    session.result(Ending::PLAIN_OK, true);
    session
}
