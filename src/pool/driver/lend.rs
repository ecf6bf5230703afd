//! A client gets a connection.

use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use super::Pools;
use super::refusals::refuse;
use crate::pool::backend::{Backend, Next, Then, Use};
use crate::pool::client::{Client, Phase, Waiting};
use crate::pool::contents::{Pool, PoolId, Ticket};
use crate::pool::errand::{command, query};
use crate::pool::judging::decision::Return;
use crate::pool::lending::budget::{Claim, Fit};
use crate::pool::lending::waiters::{Line, Waiter};
use crate::pool::state::{Settings, Side, Step, Unknown, differs};
use crate::proxy::{ConnId, Packet, Proxy};
use crate::wire::{Com, Command, ErrPacket};

/// How many connections may fail to be made ready for a client's command.
const MAX_FAILURES: u8 = 3;

/// What has come of looking for a connection.
pub(super) enum Lent {
    /// The client is linked to a connection that is ready for its command.
    Linked,
    /// A connection is being made ready; the command is to be kept for it.
    Arranging,
    /// There is none at the moment.
    No(Waiting),
    /// The client was told that there will be none.
    Closed,
}

/// What becomes of a free connection on which something may have come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Unquiet {
    /// It is looked at again at the end of the tick: the poller tells of bytes again that were read with those before.
    Waits,
    /// Everything that has come was read by now: it is closed.
    Closes,
}

/// What has to be done before a connection can be used by a client.
enum Need {
    Nothing,
    /// These have to be executed: they tell of its last client's last statement.
    Ask(Vec<Command>),
    /// The user variables of its last client have to be read.
    ReadUserVariables,
    /// This has to be read, or the session of its last client is not known.
    Read(Unknown),
    /// These have to be executed; the session is the client's then.
    Set(Vec<Command>),
    /// The session has to be reset first.
    Reset,
    /// The session cannot become the client's.
    Another,
}

impl Pools {
    /// Looks for a connection for a client.
    pub(super) fn lend(&self, proxy: &Proxy, client: ConnId, waiting: Waiting) -> Lent {
        let line = waiting.line;
        // What is free is for those who have waited.
        let is_first = self.with_client(client, |_, pool| {
            let may = |user| !pool.users.is_at_limit(user);
            may(line.user) && !pool.queue.is_before(line, &may)
        });
        let chosen = match is_first {
            Some(true) => self.choose(proxy, client, line, Unquiet::Waits),
            _ => None,
        };
        match chosen {
            Some(server) => self.hand_over(proxy, server, client, waiting),
            None => Lent::No(waiting),
        }
    }

    /// A free connection, which is not free any more.
    pub(super) fn choose(
        &self,
        proxy: &Proxy,
        client: ConnId,
        line: Line,
        unquiet: Unquiet,
    ) -> Option<ConnId> {
        let now = Instant::now();
        loop {
            let taken = {
                let mut pools = self.pools.borrow_mut();
                let (id, wanted) = self
                    .clients
                    .with(client, |(id, client)| (*id, client.settings.clone()))?;
                let pool = pools.get_mut(id.0).filter(|pool| !pool.is_paused)?;
                self.take(pool, line, &wanted, now)?
            };
            if proxy.is_quiet(taken) {
                return Some(taken);
            }
            match unquiet {
                Unquiet::Waits => {
                    self.put_back(taken);
                    return None;
                }
                // Bytes that nobody has asked for: it is not used any more.
                Unquiet::Closes => {
                    proxy.close(taken, "the server has sent what nobody has asked for");
                }
            }
        }
    }

    /// A connection goes back to where it was taken from, with its last client's session on it.
    fn put_back(&self, server: ConnId) {
        self.with_backend(server, |backend, pool| {
            pool.users.charge(&mut backend.charged, None);
            pool.counters.borrowed -= 1;
            let claim = match (backend.owner, backend.is_unread) {
                (None, _) => Claim::None,
                (Some(_), false) => Claim::Light,
                (Some(_), true) => Claim::Heavy,
            };
            let of = pool.servers.get_mut(backend.server)?;
            let place = of.shelf.put(server, backend.key, claim, Instant::now());
            backend.used = Use::Free(place);
            Some(())
        });
        self.note_news();
    }

    fn take(
        &self,
        pool: &mut Pool,
        line: Line,
        wanted: &Rc<Settings>,
        now: Instant,
    ) -> Option<ConnId> {
        let fit = |conn: ConnId| self.fit(conn, wanted);
        let take = |pool: &mut Pool, server: usize| {
            pool.servers
                .get_mut(server)?
                .shelf
                .take(line.key, now, &fit)
        };
        let mut charged = None;
        if !pool.users.try_charge(&mut charged, line.user) {
            return None;
        }
        let taken = match pool.only_candidate(line.want) {
            Some(server) => take(pool, server),
            None => {
                let mut candidates = pool.candidates(line.want).into_iter();
                candidates.find_map(|server| take(pool, server))
            }
        };
        let Some(taken) = taken else {
            pool.users.charge(&mut charged, None);
            return None;
        };
        self.backends.with(taken, |(_, backend)| {
            backend.used = Use::Lent;
            pool.users.charge(&mut backend.charged, None);
            backend.charged = charged;
        });
        pool.counters.borrowed += 1;
        Some(taken)
    }

    /// How a free connection fits these settings.
    pub(super) fn fit(&self, conn: ConnId, wanted: &Rc<Settings>) -> Fit {
        let fit = self.backends.with(conn, |(_, backend)| {
            let Some((_, settings)) = &backend.settings else {
                return Fit::Changeable;
            };
            match Rc::ptr_eq(settings, wanted) {
                true => Fit::Equal,
                // No command leads back to no schema.
                false if wanted.schema().is_none() && settings.schema().is_some() => Fit::Never,
                false => Fit::Changeable,
            }
        });
        fit.unwrap_or(Fit::Never)
    }

    /// Gives a connection, which is not free any more, to a client.
    pub(super) fn hand_over(
        &self,
        proxy: &Proxy,
        server: ConnId,
        client: ConnId,
        waiting: Waiting,
    ) -> Lent {
        let need = self.need(server, client);
        if let Some(last) = proxy.peer(server) {
            self.with_backend(server, |backend, pool| {
                backend.used = Use::Moving;
                pool.counters.stolen += 1;
            });
            self.remember_statement(last, server);
            let _ = proxy.unlink(last, server);
        }
        if let Some(write) = self.has_to_wait(server, client) {
            return self.wait_for_write(proxy, server, client, waiting, write);
        }
        let (commands, then) = match need {
            Some(Need::Nothing) => {
                return self.link(proxy, server, client);
            }
            Some(Need::Ask(commands)) => (commands, Then::Told { to: Some(client) }),
            Some(Need::Read(unknown)) => {
                let commands = self.with_backend(server, |backend, _| backend.ask(&unknown));
                let then = Then::Carried {
                    to: Some(client),
                    unknown,
                    rounds: 0,
                };
                (commands.unwrap_or_default(), then)
            }
            Some(Need::ReadUserVariables) => {
                self.clients.with(client, |(_, client)| {
                    client.phase = Phase::Arranging(Box::new(waiting));
                });
                self.note_leaving(server);
                self.read_user_variables(proxy, server, Next::Lend(client));
                return Lent::Arranging;
            }
            Some(Need::Set(commands)) => {
                // All that its last client has is known. What the connection gets now is not that client's any more, who may
                // begin anew meanwhile, in the schema that it has.
                self.backends.with(server, |(_, backend)| {
                    backend.owner = backend.owner.filter(|owner| *owner == client);
                });
                (commands, Then::SetUp { to: client })
            }
            Some(Need::Reset) => {
                self.reset(proxy, server);
                return Lent::No(waiting);
            }
            Some(Need::Another) => {
                self.with_backend(server, |_, pool| pool.counters.closed_unclean += 1);
                proxy.close(server, "its session cannot become that of the next client");
                return Lent::No(waiting);
            }
            None => {
                self.back_on_the_shelf(server);
                return Lent::No(waiting);
            }
        };
        self.clients.with(client, |(_, client)| {
            client.phase = Phase::Arranging(Box::new(waiting));
        });
        self.note_leaving(server);
        self.run(proxy, server, commands, then);
        Lent::Arranging
    }

    /// What has to be done before a connection can be used by a client.
    fn need(&self, server: ConnId, client: ConnId) -> Option<Need> {
        let has_changed = self.has_unread_user_variables(server);
        let mut pools = self.pools.borrow_mut();
        let (owner, read) = self.backends.with(server, |(id, backend)| {
            let pool = pools.get_mut(id.0)?;
            Some((backend.owner, know(backend, pool)))
        })??;
        let owner = owner.filter(|owner| *owner != client && self.clients.has(*owner));
        // What is volatile is read first, as everything else replaces it.
        let unread = owner.map_or_else(Vec::new, |owner| self.unread_diagnostics(owner));
        if !unread.is_empty() {
            self.count(&mut pools, server, |pool| pool.counters.carried += 1);
            let commands = unread.iter().map(|one| query(one.sql()));
            return Some(Need::Ask(commands.collect()));
        }
        if owner.is_some() && has_changed {
            return Some(Need::ReadUserVariables);
        }
        match (read, owner) {
            (Ok(()), _) => {}
            (Err(unknown), Some(_)) => {
                self.count(&mut pools, server, |pool| pool.counters.carried += 1);
                return Some(Need::Read(unknown));
            }
            (Err(_), None) => {
                let left = self.backends.with(server, |(_, backend)| {
                    let left = Settings::left_behind(&backend.session, backend.snapshot.as_ref()?)?;
                    backend.settings = Some((backend.session.revision(), Rc::new(left)));
                    Some(())
                });
                if left.flatten().is_none() {
                    return Some(Need::Reset);
                }
            }
        }
        // What is opaque may be anything: nobody else sees it.
        let is_opaque = self
            .backends
            .with(server, |(_, backend)| backend.session.opaque().is_some());
        let is_released = self
            .backends
            .with(server, |(_, backend)| backend.is_released);
        if is_released == Some(true) {
            let returned = self.backends.with(server, |(id, backend)| {
                let policy = pools.get(id.0)?.policy;
                Some(Return::of(&backend.session, backend.ongoing(), policy))
            });
            return Some(match returned.flatten() {
                Some(Return::Close) => Need::Another,
                _ => Need::Reset,
            });
        }
        if is_opaque == Some(true) {
            return Some(Need::Reset);
        }
        let (wanted, wanted_id, several, variables) =
            self.clients.with(client, |(_, client)| {
                let wanted = client.settings.clone();
                let variables = client.user_variables.clone();
                let several = client.multi_statements;
                (wanted, client.last_insert_id, several, variables)
            })?;
        let need = self.backends.with(server, |(_, backend)| {
            let (_, present) = backend.settings.clone()?;
            let is_same = Rc::ptr_eq(&present, &wanted) || present == wanted;
            let variables = match Rc::ptr_eq(&variables, &backend.user_variables) {
                true => None,
                false => variables.differs(&backend.user_variables),
            };
            let is_same = is_same && variables.is_none();
            let present_id = backend.session.last_insert_id().known().copied();
            let is_allowed = backend.multi_statements == several;
            if is_same && present_id == Some(wanted_id) && is_allowed {
                return Some(Need::Nothing);
            }
            let option = (!is_allowed).then(|| set_multi_statements(several));
            // If it cannot be set, the connection is closed.
            backend.multi_statements = several;
            let snapshot = backend.snapshot.clone()?;
            let from = Side {
                settings: &present,
                last_insert_id: present_id,
            };
            let to = Side {
                settings: &wanted,
                last_insert_id: Some(wanted_id),
            };
            Some(match differs(from, to, &snapshot) {
                Err(_) => Need::Another,
                Ok(steps) if steps.is_empty() && option.is_none() && variables.is_none() => {
                    wanted.were_put_on(&mut backend.session);
                    backend.settings = Some((backend.session.revision(), wanted));
                    Need::Nothing
                }
                Ok(steps) => {
                    let variables = variables.iter().map(|sql| query(sql));
                    let steps = steps.iter().map(command_of).chain(option);
                    Need::Set(variables.chain(steps).collect())
                }
            })
        })??;
        if matches!(need, Need::Set(_)) {
            self.count(&mut pools, server, |pool| pool.counters.switched += 1);
        }
        Some(need)
    }

    fn count(&self, pools: &mut Slab<Pool>, server: ConnId, count: impl FnOnce(&mut Pool)) {
        let id = self.backends.with(server, |(id, _)| *id);
        if let Some(pool) = id.and_then(|id| pools.get_mut(id.0)) {
            count(pool);
        }
    }

    /// Links a client to a connection that is ready for it.
    pub(super) fn link(&self, proxy: &Proxy, server: ConnId, client: ConnId) -> Lent {
        let user = self.clients.with(client, |(_, client)| client.line.user);
        self.with_backend(server, |backend, pool| {
            backend.is_unread &= backend.owner == Some(client);
            backend.owner = Some(client);
            backend.used = Use::Lent;
            pool.users.charge(&mut backend.charged, user.flatten());
        });
        let snapshot = self
            .backends
            .with(server, |(_, backend)| backend.snapshot.clone());
        self.clients.with(client, |(_, client)| {
            client.phase = Phase::Served;
            client.arrive(snapshot.flatten());
        });
        if let Err(error) = proxy.link(client, server) {
            log::error!("connection {}: {error}", client.serial());
            proxy.close(server, "its client could not be linked to it");
            let message = "The proxy could not give its server's connection to this client";
            let err = ErrPacket::new(1105, b"HY000", message.into());
            let _ = proxy.send(client, Packet::Err(&err));
            return Lent::Closed;
        }
        Lent::Linked
    }

    /// A connection could not be made ready for a client: it looks for another.
    pub(super) fn try_again(&self, proxy: &Proxy, client: ConnId, err: Option<&ErrPacket>) {
        let waiting = self.clients.with(client, |(_, client)| {
            match std::mem::replace(&mut client.phase, Phase::Served) {
                Phase::Arranging(waiting) => Some(*waiting),
                _ => None,
            }
        });
        let Some(mut waiting) = waiting.flatten() else {
            return;
        };
        waiting.failures += 1;
        if waiting.failures >= MAX_FAILURES {
            let why = err.map_or("the connections have died".into(), |err| {
                format!("{} {}", err.errnum, String::from_utf8_lossy(&err.message))
            });
            let message = format!(
                "not-restorable: this session could not be set up on another connection ({why})"
            );
            let err = ErrPacket::new(1105, b"HY000", message);
            self.answer_instead(proxy, client, &waiting.command, err);
            return;
        }
        self.wait_again(client, waiting);
    }

    /// A client that has waited before is the first of its line again.
    pub(super) fn wait_again(&self, client: ConnId, waiting: Waiting) {
        self.with_client(client, |client_of, pool| {
            let waiter = Waiter {
                client,
                since: waiting.since,
                bytes: waiting.command.len(),
            };
            pool.queue.push_front(waiting.line, waiter);
            client_of.phase = Phase::Waiting(Box::new(waiting));
        });
        self.note_news();
    }

    /// What belongs to its last client is being read from this connection.
    pub(super) fn note_leaving(&self, server: ConnId) {
        let owner = self.backends.with(server, |(_, backend)| backend.owner);
        if let Some(owner) = owner.flatten() {
            self.clients
                .with(owner, |(_, client)| client.leaving = Some(server));
        }
    }

    /// Whether what belongs to this client is still being read, so that its session is not known.
    pub(super) fn is_leaving(&self, client: ConnId) -> bool {
        let from = self.clients.with(client, |(_, client)| client.leaving);
        let Some(server) = from.flatten() else {
            return false;
        };
        let is_read = self.backends.with(server, |(_, backend)| {
            let Use::Errand(_, then) = &backend.used else {
                return false;
            };
            backend.owner == Some(client) && then.reads_session()
        });
        is_read == Some(true)
    }

    /// Opens a connection for this line. False if none may be opened now.
    pub(super) fn open_for(&self, id: PoolId, line: Line) -> bool {
        let now = Instant::now();
        let opened = self.with_pool(id, |pool| {
            let key = pool.keys.get(line.key)?.clone();
            let server = pool.candidates(line.want).into_iter().find(|index| {
                let server = pool.servers.get_mut(*index);
                server.is_some_and(|server| server.begin_opening(now))
            })?;
            let ticket = pool.ticket(Ticket {
                server,
                key: line.key,
            });
            let of = pool.servers.get(server)?;
            Some((ticket, of.name.clone(), key, pool.above.clone()))
        });
        match opened.flatten() {
            Some((ticket, server, key, above)) => {
                above.open(ticket, &server, &key);
                true
            }
            None => false,
        }
    }

    /// A client has waited for too long.
    pub(super) fn give_up(&self, proxy: &Proxy, client: ConnId, message: &str) {
        let waited = self.with_client(client, |client_of, pool| {
            let Phase::Waiting(waiting) = &client_of.phase else {
                return false;
            };
            pool.queue.remove(waiting.line, client);
            pool.counters.refused_late += 1;
            client_of.phase = Phase::Served;
            true
        });
        if waited == Some(true) {
            refuse(proxy, client, message);
        }
    }
}

/// Finds out what is on a connection, as far as that can be told without asking.
pub(super) fn know(backend: &mut Backend, pool: &mut Pool) -> Result<(), Unknown> {
    let revision = backend.session.revision();
    let is_known = backend
        .settings
        .as_ref()
        .is_some_and(|(of, _)| *of == revision);
    if !is_known {
        let snapshot = backend.snapshot.as_ref().ok_or_else(Unknown::default)?;
        let settings = Settings::of(&backend.session, snapshot)?;
        backend.settings = Some((revision, pool.share(settings)));
    }
    Ok(())
}

/// Keeps for its client what is known of the session on its connection.
pub(super) fn carry(backend: &Backend, client: &mut Client) {
    if let Some((_, settings)) = &backend.settings
        && !Rc::ptr_eq(settings, &client.settings)
    {
        client.settings = settings.clone();
    }
    if let Some(id) = backend.session.last_insert_id().known() {
        client.last_insert_id = *id;
    }
    client.multi_statements = backend.multi_statements;
}

/// COM_SET_OPTION, which lets queries have several statements, or not.
fn set_multi_statements(may_have_several: bool) -> Command {
    // MYSQL_OPTION_MULTI_STATEMENTS_ON is 0, and …_OFF is 1.
    command(Com::SET_OPTION, &[u8::from(!may_have_several), 0])
}

pub(super) fn command_of(step: &Step) -> Command {
    match step {
        Step::Query(sql) => query(sql),
        Step::InitDb(schema) => command(Com::INIT_DB, schema),
    }
}
