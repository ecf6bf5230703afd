//! The pool's own commands on a connection that no client is linked to.

use std::rc::Rc;
use std::time::Instant;

use super::Pools;
use crate::pool::backend::{Then, Use};
use crate::pool::errand::{Answer, Errand, command, query};
use crate::pool::flavour::Flavour;
use crate::pool::options::PoolOptions;
use crate::pool::state::{Resets, Snapshot};
use crate::pool::statements::{Dialect, limit_per_connection};
use crate::proxy::{ConnId, Decoded, Incoming, Packet, Proxy};
use crate::session::Event;
use crate::wire::{Capabilities, Column, Com, Command, ErrPacket, TextRow};

/// Whether a wait for a write was answered by the 0 that says that the write is there.
fn has_in_time(answers: &[Answer]) -> bool {
    let row = answers.first().and_then(|answer| answer.rows.first());
    let value = row.and_then(|row| row.first()).and_then(Option::as_deref);
    value == Some(b"0".as_slice())
}

fn reason_of(err: Option<&ErrPacket>) -> String {
    err.map_or(
        "they were answered in another way than asked".into(),
        |err| format!("{} {}", err.errnum, String::from_utf8_lossy(&err.message)),
    )
}

impl Pools {
    /// Executes commands on a connection that no client is linked to.
    pub(super) fn run(&self, proxy: &Proxy, server: ConnId, commands: Vec<Command>, then: Then) {
        let errand = Errand::new(commands.len());
        let (errand, times) = match then {
            // Where there are very many tables, servers need time for that.
            Then::Read(_) => (errand.with_definitions(), 12),
            _ => (errand, 1),
        };
        self.with_backend(server, |backend, pool| {
            backend.used = Use::Errand(Box::new(errand), then);
            backend.errand_until = Instant::now() + pool.options.errand_timeout * times;
            pool.counters.own_commands += commands.len() as u64;
        });
        self.agenda.borrow_mut().errands.insert(server);
        for command in &commands {
            if let Err(error) = proxy.send(server, Packet::Command(command)) {
                log::warn!("connection {}: {error}", server.serial());
                proxy.close(server, "the pool's own command could not be sent");
                return;
            }
        }
    }

    /// Something happens on a connection to a server.
    pub(super) fn server_event(
        &self,
        proxy: &Proxy,
        server: ConnId,
        event: Event,
        packet: Option<Incoming<'_>>,
    ) {
        match event {
            Event::ServerGotCommand => {
                self.with_backend(server, |backend, pool| {
                    backend.sent();
                    let is_limited = !pool.options.statement_timeout.is_zero();
                    backend.began = is_limited.then(Instant::now);
                    pool.judge(backend);
                });
            }
            Event::ServerPrepared => {
                if let Some(Ok(Decoded::Prepared(ok))) = packet.map(|packet| packet.decode()) {
                    self.note_diagnostics(proxy, server, Some(&Decoded::Prepared(ok.clone())));
                    self.backends.with(server, |(_, backend)| {
                        backend.session.prepared(ok.statement_id);
                        if let Use::Errand(errand, _) = &mut backend.used {
                            errand.prepared(ok);
                        }
                    });
                }
            }
            Event::ServerSendingFields | Event::ServerSendingParams => {
                if let Some(Ok(Decoded::Column(column))) = packet.map(|packet| packet.decode()) {
                    self.defined(proxy, server, column);
                }
            }
            Event::ServerSendingRows => {
                if let Some(packet) = packet {
                    self.errand_row(proxy, server, packet);
                }
            }
            Event::ServerSendingEof => self.result_ended(proxy, server, packet, false),
            Event::ServerWaitCommand | Event::ServerReceivedError => {
                self.result_ended(proxy, server, packet, true);
            }
            _ => {}
        }
    }

    /// A server has told of a column, or of a parameter of what was prepared.
    fn defined(&self, proxy: &Proxy, server: ConnId, column: Column) {
        let column = self.backends.with(server, |(_, backend)| {
            let Use::Errand(errand, _) = &mut backend.used else {
                return Some(column);
            };
            errand.column(column);
            None
        });
        if let (Some(Some(column)), Some(client)) = (column, proxy.peer(server)) {
            self.clients.with(client, |(_, client)| {
                if let Some(prepared) = &mut client.prepared {
                    prepared.statements.defines(column);
                }
            });
        }
    }

    fn errand_row(&self, proxy: &Proxy, server: ConnId, packet: Incoming<'_>) {
        let fits = self.backends.with(server, |(_, backend)| {
            let Use::Errand(errand, _) = &mut backend.used else {
                return true;
            };
            errand.row(TextRow::new(packet.payload).map_while(Result::ok))
        });
        if fits == Some(false) {
            proxy.close(server, "the answer to the pool's own command is too long");
        }
    }

    /// A result, or all of an answer, has ended on a connection.
    fn result_ended(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Option<Incoming<'_>>,
        is_last: bool,
    ) {
        let decoded = packet.map(|packet| packet.decode());
        let known = decoded.as_ref().and_then(|decoded| decoded.as_ref().ok());
        self.note_diagnostics(proxy, server, known);
        if is_last {
            self.statement_answered(proxy, server, decoded.as_ref());
        }
        let over = self.backends.with(server, |(_, backend)| {
            let error = match &decoded {
                Some(Ok(Decoded::Err(err))) => Some(err.clone()),
                _ => None,
            };
            let is_set = error.is_none() && backend.com == Com::SET_OPTION;
            if let (Some(_), Some(owner)) = (&error, backend.owner) {
                self.clients
                    .with(owner, |(_, client)| client.idle.pending = None);
            }
            backend.told(decoded, is_last);
            let Use::Errand(errand, _) = &mut backend.used else {
                if is_set {
                    // 0 is MYSQL_OPTION_MULTI_STATEMENTS_ON.
                    backend.multi_statements = backend.argument.first() == Some(&0);
                }
                return false;
            };
            is_last && errand.answered(error)
        });
        if over == Some(true) {
            self.agenda.borrow_mut().answered.push(server);
        } else if is_last {
            self.ends_listing(proxy, server);
            self.answered(proxy, server);
        }
    }

    /// The pool's own commands on this connection are answered.
    pub(super) fn errand_over(&self, proxy: &Proxy, server: ConnId) {
        self.agenda.borrow_mut().errands.remove(&server);
        let finished = self.backends.with(server, |(_, backend)| {
            match std::mem::replace(&mut backend.used, Use::Moving) {
                Use::Errand(errand, then) if errand.is_over() => {
                    Some((errand.into_answers(), then))
                }
                other => {
                    backend.used = other;
                    None
                }
            }
        });
        let Some((answers, then)) = finished.flatten() else {
            return;
        };
        if let Then::Read(reading) = then {
            return self.has_read(proxy, server, reading, &answers);
        }
        if let Then::UserVariables { names, next } = then {
            return self.have_read_user_variables(proxy, server, names, next, &answers);
        }
        let err = answers.iter().find_map(|answer| answer.error.clone());
        match then {
            Then::InSetting(preparing) if err.is_none() => {
                self.prepare_in_setting(proxy, server, preparing);
            }
            Then::Prepared(preparing) => {
                self.prepared_again(proxy, server, *preparing, answers.into_iter().next());
            }
            Then::Restored { to, err: failed } if err.is_none() => match failed {
                Some(failed) => self.not_prepared(proxy, to, server, *failed),
                None => self.goes_on_prepared(proxy, server, to),
            },
            Then::Reset if err.is_none() => {
                self.backends
                    .with(server, |(_, backend)| backend.statements.clear());
                self.read_snapshot(proxy, server);
            }
            Then::Snapshot if err.is_none() => self.use_snapshot(proxy, server, &answers),
            Then::Ready if err.is_none() => self.ready(proxy, server),
            Then::Carried {
                to,
                unknown,
                rounds,
            } if err.is_none() => {
                let again = |unknown, rounds| Then::Carried {
                    to,
                    unknown,
                    rounds,
                };
                if self.learnt(proxy, server, &unknown, rounds, &answers, again) {
                    self.carried(proxy, server, to);
                }
            }
            Then::Known {
                to,
                unknown,
                rounds,
            } if err.is_none() => {
                let again = |unknown, rounds| Then::Known {
                    to,
                    unknown,
                    rounds,
                };
                if self.learnt(proxy, server, &unknown, rounds, &answers, again) {
                    self.goes_on_prepared(proxy, server, to);
                }
            }
            Then::Saved {
                why,
                unknown,
                rounds,
            } if err.is_none() => {
                let again = |unknown, rounds| Then::Saved {
                    why,
                    unknown,
                    rounds,
                };
                if self.learnt(proxy, server, &unknown, rounds, &answers, again) {
                    self.saved(proxy, server, why);
                }
            }
            Then::Told { to } if err.is_none() => self.told(proxy, server, to, &answers),
            Then::Retired { why } if err.is_none() => {
                self.read_diagnostics(server, &answers);
                self.retire(proxy, server, why);
            }
            Then::Waited { to, write } => {
                let in_time = err.is_none() && has_in_time(&answers);
                self.waited(proxy, server, to, write, in_time);
            }
            Then::SetUp { to } if err.is_none() => self.set_up(proxy, server, to),
            then => {
                if then.reads_session() {
                    self.owner_is_lost(server);
                }
                self.failed_on(proxy, server, &reason_of(err.as_ref()));
                if let Some(to) = then.client() {
                    self.try_again(proxy, to, err.as_ref());
                }
            }
        }
    }

    /// The pool's own commands have failed on this connection, so that its state is not what it should
    /// be.
    pub(super) fn failed_on(&self, proxy: &Proxy, server: ConnId, why: &str) {
        self.with_backend(server, |_, pool| pool.counters.closed_failed += 1);
        proxy.close(
            server,
            &format!("the pool's own commands have failed on it: {why}"),
        );
    }

    /// Reads a session's variables, as its login or a reset has left them.
    pub(super) fn read_snapshot(&self, proxy: &Proxy, server: ConnId) {
        let mut commands = vec![query(Snapshot::query())];
        let resets = self.resets(server).and_then(Resets::query);
        commands.extend(resets.map(|sql| query(&sql)));
        self.run(proxy, server, commands, Then::Snapshot);
    }

    /// What a reset of this connection makes of other variables than its login has.
    fn resets(&self, server: ConnId) -> Option<Resets> {
        let of = self.with_backend(server, |backend, pool| {
            let capabilities = pool.keys.get(backend.key)?.capabilities;
            let flavour = match pool.dialect {
                Dialect::MySql => Flavour::MySql,
                Dialect::MariaDb => Flavour::MariaDb,
            };
            let ignores_space = capabilities.contains(Capabilities::IGNORE_SPACE);
            Some(Resets::of(flavour, ignores_space))
        });
        of.flatten()
    }

    fn use_snapshot(&self, proxy: &Proxy, server: ConnId, answers: &[Answer]) {
        let rows = answers.first().map_or(&[][..], |answer| &answer.rows);
        let variables = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(name), value, ..] => Some((name.as_slice(), value.as_deref())),
            _ => None,
        });
        let mut snapshot = Snapshot::new(variables);
        if let Some(row) = answers.get(1).and_then(|answer| answer.rows.first()) {
            let resets = self.resets(server);
            snapshot = resets.map_or(snapshot.clone(), |resets| snapshot.with_reset(resets, row));
        }
        let trackers = snapshot.enable_trackers();
        let most = rows.iter().find_map(|row| match row.as_slice() {
            [Some(name), Some(value), ..] if name == b"max_prepared_stmt_count" => {
                std::str::from_utf8(value).ok()?.parse().ok()
            }
            _ => None,
        });
        self.with_backend(server, |backend, pool| {
            // Usually all connections of a server have the same, which is kept once.
            let known = pool.snapshot.take().filter(|known| *known == snapshot);
            let snapshot = known.unwrap_or(snapshot);
            pool.snapshot = Some(snapshot.clone());
            backend.snapshot = Some(snapshot);
            if let Some(most) = most {
                let PoolOptions {
                    max_prepared, size, ..
                } = pool.options;
                let limit = limit_per_connection(max_prepared, most, size);
                backend.statements.set_limit(limit);
            }
        });
        self.run(proxy, server, vec![query(&trackers)], Then::Ready);
    }

    fn ready(&self, proxy: &Proxy, server: ConnId) {
        let is_known = self.with_backend(server, |backend, pool| {
            let snapshot = backend.snapshot.as_ref()?;
            backend.session.begin_reports(snapshot.values().clone());
            backend.owner = None;
            let is_new = !std::mem::replace(&mut backend.is_ready, true);
            if is_new && let Some(server) = pool.servers.get_mut(backend.server) {
                server.has_opened(Instant::now());
                pool.counters.opened += 1;
            }
            super::lend::know(backend, pool)
                .inspect_err(|unknown| log::debug!("{unknown:?}"))
                .ok()
        });
        match is_known.flatten() {
            Some(()) => self.read_or_use(proxy, server),
            None => self.failed_on(proxy, server, "what it begins with is not known"),
        }
    }

    /// Makes a connection's session what a login makes it.
    pub(super) fn reset(&self, proxy: &Proxy, server: ConnId) {
        self.with_backend(server, |backend, pool| {
            pool.counters.reset += 1;
            backend.user_variables = Rc::default();
            backend.is_released = false;
            pool.users.charge(&mut backend.charged, None);
            backend.owner = None;
        });
        let mut commands = vec![command(Com::RESET_CONNECTION, b"")];
        let undo = self.resets(server).and_then(Resets::undo);
        commands.extend(undo.map(query));
        self.run(proxy, server, commands, Then::Reset);
    }
}
