//! A client's statement is prepared again on its connection, where it is missing; and statements of
//! servers are closed.

use std::rc::Rc;

use super::Pools;
use super::lend::{Lent, command_of, know};
use crate::pool::backend::{Backend, Preparing, Then as BackendThen, Use};
use crate::pool::client::{Client, Phase, Waiting};
use crate::pool::contents::Pool;
use crate::pool::errand::{Answer, command};
use crate::pool::state::{Settings, Side, Unknown, differs};
use crate::pool::statements::{Dialect, Form, Setting, Sharing, Statement};
use crate::proxy::{ConnId, Incoming, Packet, Proxy, Verdict};
use crate::wire::{Capabilities, Com, Command, ErrPacket};

/// ER_MAX_PREPARED_STMT_COUNT_REACHED.
pub(super) const TOO_MANY: u16 = 1461;

/// What a command cannot be sent without.
enum Lacks {
    /// What the session is like, as statements are those of the setting that they are prepared in: this has to be read.
    Knowledge(Vec<Command>, Unknown),
    /// Its statement is not prepared on this connection, which has these settings. It is to be prepared in that setting.
    Statement(Rc<Statement>, Rc<Setting>, Present),
}

impl Pools {
    /// A client has a connection for its command: what it needs is prepared there first.
    pub(super) fn on_its_connection(
        &self,
        proxy: &Proxy,
        client: ConnId,
        packet: Incoming<'_>,
    ) -> Verdict {
        let is_about = |com: &Com| com.names_statement() || *com == Com::STMT_PREPARE;
        let com = packet.command().filter(is_about);
        let (Some(com), Some(server)) = (com, proxy.peer(client)) else {
            return Verdict::Forward;
        };
        let capabilities = capabilities_of(proxy, server);
        let lacks = self.with_both(client, server, |client, backend, pool| {
            let lacks = lacks(client, backend, pool, (com, &packet, capabilities))?;
            let waiting = Waiting {
                command: packet.payload.to_vec(),
                line: client.line,
                since: std::time::Instant::now(),
                failures: 0,
            };
            client.phase = Phase::Arranging(Box::new(waiting));
            Some(lacks)
        });
        let Some(lacks) = lacks.flatten() else {
            return Verdict::Forward;
        };
        self.with_backend(server, |backend, _| backend.used = Use::Moving);
        let _ = proxy.unlink(client, server);
        self.wait_silently(proxy, client, packet.payload);
        match lacks {
            Lacks::Statement(statement, setting, present) => {
                self.prepare_again(proxy, (client, server), &statement, setting, &present);
            }
            Lacks::Knowledge(commands, unknown) => {
                let then = BackendThen::Known {
                    to: client,
                    unknown,
                    rounds: 0,
                };
                self.run(proxy, server, commands, then);
            }
        }
        Verdict::Hold
    }

    /// Prepares a client's statement on the connection that it has had until now.
    fn prepare_again(
        &self,
        proxy: &Proxy,
        (client, server): (ConnId, ConnId),
        statement: &Rc<Statement>,
        setting: Rc<Setting>,
        present: &Present,
    ) {
        let steps = self.with_backend(server, |backend, _| {
            if setting == present.setting {
                return Some((Vec::new(), Vec::new()));
            }
            // Nobody knows what would have to be set back.
            if present.sharing == Sharing::Nobody {
                return None;
            }
            let snapshot = backend.snapshot.as_ref()?;
            let settings = &*present.settings;
            let within = setting.within(settings);
            let id = backend.session.last_insert_id().known().copied();
            let side = |settings| Side {
                settings,
                last_insert_id: id,
            };
            let there = differs(side(settings), side(&within), snapshot).ok()?;
            let back = differs(side(&within), side(settings), snapshot).ok()?;
            Some((there, back))
        });
        let Some((there, back)) = steps.flatten() else {
            let why = "not-restorable: this statement cannot be prepared again on another connection, \
                       as the session has left the schema or the modes that it was prepared in, and cannot \
                       be led back";
            let err = ErrPacket::new(1105, b"HY000", why.into());
            return self.not_prepared(proxy, client, server, err);
        };
        let preparing = Box::new(Preparing {
            to: client,
            statement: statement.clone(),
            setting,
            back: back.iter().map(command_of).collect(),
        });
        if there.is_empty() {
            return self.prepare_in_setting(proxy, server, preparing);
        }
        let commands = there.iter().map(command_of).collect();
        self.run(proxy, server, commands, BackendThen::InSetting(preparing));
    }

    /// A connection is in the setting that a client's statement is to be prepared in. (The text is only
    /// sent now, as its effects depend on modes that have to be known.)
    pub(super) fn prepare_in_setting(
        &self,
        proxy: &Proxy,
        server: ConnId,
        preparing: Box<Preparing>,
    ) {
        self.make_room_for_statement(proxy, server);
        let prepare = command(Com::STMT_PREPARE, preparing.statement.text());
        self.run(
            proxy,
            server,
            vec![prepare],
            BackendThen::Prepared(preparing),
        );
    }

    /// The server has answered what was to be prepared again.
    pub(super) fn prepared_again(
        &self,
        proxy: &Proxy,
        server: ConnId,
        preparing: Preparing,
        answer: Option<Answer>,
    ) {
        let answer = answer.unwrap_or_default();
        let Preparing {
            to,
            statement,
            setting,
            back,
        } = preparing;
        if answer
            .error
            .as_ref()
            .is_some_and(|err| err.errnum == TOO_MANY)
            && self.give_up_statements(proxy, server)
        {
            let preparing = Preparing {
                to,
                statement,
                setting,
                back,
            };
            return self.prepare_in_setting(proxy, server, Box::new(preparing));
        }
        if let Some(ok) = answer.prepared.filter(|ok| ok.params == statement.params()) {
            self.with_backend(server, |backend, pool| {
                if pool.dialect == Dialect::MySql {
                    let parameters = answer.columns.get(..ok.params.into());
                    statement.defined_as(parameters.unwrap_or_default());
                }
                (backend.statements).prepared_in(&setting, &statement, ok.statement_id);
            });
        } else if answer.error.is_none() {
            self.failed_on(proxy, server, "a statement has other parameters");
            return self.try_again(proxy, to, None);
        }
        match (back.is_empty(), answer.error) {
            (true, None) => self.goes_on_prepared(proxy, server, to),
            (true, Some(err)) => self.not_prepared(proxy, to, server, err),
            (false, err) => {
                let err = err.map(Box::new);
                self.run(proxy, server, back, BackendThen::Restored { to, err });
            }
        }
    }

    /// What a client's command needs is prepared on the connection that the client had before.
    pub(super) fn goes_on_prepared(&self, proxy: &Proxy, server: ConnId, to: ConnId) {
        let Some(waiting) = self.take_arranging(to) else {
            self.agenda.borrow_mut().left.push(server);
            return;
        };
        if let Lent::Linked = self.link(proxy, server, to) {
            self.show_command(proxy, to, &waiting.command);
        }
    }

    /// A client's statement could not be prepared again: that is the answer to its command.
    pub(super) fn not_prepared(
        &self,
        proxy: &Proxy,
        client: ConnId,
        server: ConnId,
        err: ErrPacket,
    ) {
        let Some(waiting) = self.take_arranging(client) else {
            self.agenda.borrow_mut().left.push(server);
            return;
        };
        self.link(proxy, server, client);
        let (of_client, of_server) = (
            capabilities_of(proxy, client),
            capabilities_of(proxy, server),
        );
        self.with_both(client, server, |client, backend, pool| {
            let present = present(client, backend, pool)?.setting;
            let form = Form {
                present: &present,
                client: of_client,
                server: of_server,
            };
            let prepared = client.prepared.as_mut()?;
            prepared.statements.bound_in_vain(&waiting.command, form);
            Some(())
        });
        self.answer_instead(proxy, client, &waiting.command, err);
        self.served(proxy, client);
    }

    /// The server of this connection has too many statements: half of those that the pool can do without
    /// are closed. False if there are none.
    pub(super) fn give_up_statements(&self, proxy: &Proxy, server: ConnId) -> bool {
        let mut given_up = Vec::new();
        let of = self.with_backend(server, |backend, _| {
            for _ in 0..backend.statements.len().div_ceil(2) {
                given_up.extend(backend.statements.evict().map(|id| (server, id)));
            }
            backend.server
        });
        if given_up.is_empty() {
            let mut others = Vec::new();
            self.backends.each(|id, (_, backend)| {
                if Some(backend.server) == of && !backend.statements.is_empty() {
                    others.push(id);
                }
            });
            for other in others {
                let evicted = self.with_backend(other, |backend, _| backend.statements.evict());
                given_up.extend(evicted.flatten().map(|id| (other, id)));
            }
        }
        for (server, id) in &given_up {
            self.close_statement(proxy, *server, *id);
        }
        !given_up.is_empty()
    }

    /// Closes a server's statement.
    pub(super) fn close_statement(&self, proxy: &Proxy, server: ConnId, id: u32) {
        let close = Command::of_statement(Com::STMT_CLOSE, id);
        if let Err(error) = proxy.send(server, Packet::Command(&close)) {
            log::debug!("connection {}: {error}", server.serial());
        }
    }

    /// Makes room for another statement on a connection.
    pub(super) fn make_room_for_statement(&self, proxy: &Proxy, server: ConnId) {
        loop {
            let id = self.with_backend(server, |backend, _| backend.statements.make_room());
            let Some(id) = id.flatten() else {
                return;
            };
            self.close_statement(proxy, server, id);
        }
    }

    /// A client has left a connection: what was set apart for it there is closed.
    pub(super) fn forget_statements(&self, proxy: &Proxy, client: ConnId, server: ConnId) {
        let number = u64::from(client.serial());
        let forgotten = self.with_backend(server, |backend, _| {
            backend.statements.forget_client(number)
        });
        for id in forgotten.unwrap_or_default() {
            self.close_statement(proxy, server, id);
        }
    }
}

pub(super) fn capabilities_of(proxy: &Proxy, id: ConnId) -> Capabilities {
    let info = proxy.info(id);
    info.map(|info| info.capabilities.get()).unwrap_or_default()
}

pub(super) fn form<'a>(
    present: &'a Rc<Setting>,
    packet: &Incoming<'_>,
    server: Capabilities,
) -> Form<'a> {
    Form {
        present,
        client: packet.capabilities,
        server,
    }
}

/// What a client's command about a statement lacks; `None` if nothing.
fn lacks(
    client: &mut Client,
    backend: &mut Backend,
    pool: &mut Pool,
    (com, packet, server): (Com, &Incoming<'_>, Capabilities),
) -> Option<Lacks> {
    let missing = if com == Com::STMT_PREPARE {
        None
    } else {
        let present = present(client, backend, pool)?;
        let statements = &client.prepared.as_ref()?.statements;
        let form = form(&present.setting, packet, server);
        let missing = statements.missing(packet.payload, &backend.statements, form)?;
        let (statement, setting) = missing;
        Some(Lacks::Statement(statement, setting, present))
    };
    if known(backend, pool).is_none()
        && !client.has_read
        && let Err(unknown) = know(backend, pool)
    {
        let commands = backend.ask(&unknown);
        if !commands.is_empty() {
            client.has_read = true;
            return Some(Lacks::Knowledge(commands, unknown));
        }
    }
    missing
}

/// The settings that a client's connection has now.
pub(super) struct Present {
    settings: Rc<Settings>,
    /// What they are for statements.
    pub setting: Rc<Setting>,
    /// Whether that is certain.
    pub sharing: Sharing,
}

/// The settings that a client's connection has now.
pub(super) fn present(
    client: &mut Client,
    backend: &mut Backend,
    pool: &mut Pool,
) -> Option<Present> {
    let (settings, sharing) = match known(backend, pool) {
        Some(settings) => (settings, Sharing::Anyone),
        None => (client.settings.clone(), Sharing::Nobody),
    };
    let snapshot = backend.snapshot.as_ref()?;
    let prepared = client.prepared.as_mut()?;
    let setting = match &prepared.setting {
        Some((of, setting)) if Rc::ptr_eq(of, &settings) => setting.clone(),
        _ => {
            let setting = pool.statements.setting(Setting::of(&settings, snapshot));
            prepared.setting = Some((settings.clone(), setting.clone()));
            setting
        }
    };
    Some(Present {
        settings,
        setting,
        sharing,
    })
}

/// The settings that a connection has now, also in a transaction that is nowhere else. `None` if they are not known.
fn known(backend: &mut Backend, pool: &mut Pool) -> Option<Rc<Settings>> {
    let revision = backend.session.revision();
    if let Some((of, settings)) = &backend.in_place
        && *of == revision
    {
        return Some(settings.clone());
    }
    let settings = match (know(backend, pool), &backend.settings) {
        (Ok(()), Some((_, settings))) if settings.characteristics().is_empty() => settings.clone(),
        // Its transaction must not be begun once more, as that may have savepoints.
        _ => {
            let snapshot = backend.snapshot.as_ref()?;
            pool.share(Settings::in_place(&backend.session, snapshot)?)
        }
    };
    backend.in_place = Some((revision, settings.clone()));
    Some(settings)
}
