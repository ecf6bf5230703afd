//! Prepared statements: each command gets to the client's connection with the id that its statement
//! has there.

use std::rc::Rc;

use super::Pools;
use super::lend::{Lent, command_of, know};
use crate::pool::backend::{Backend, Preparing, Then as BackendThen, Use};
use crate::pool::client::{Client, Phase, Prepared, Waiting};
use crate::pool::contents::Pool;
use crate::pool::errand::{Answer, command};
use crate::pool::state::{Side, differs};
use crate::pool::statements;
use crate::pool::statements::{
    Action, ClientStatements, Form, Limits, Outcome, Sending, Setting, Sharing, Statement,
};
use crate::proxy::{ConnId, Decoded, Incoming, Packet, Proxy, Verdict};
use crate::wire::{Capabilities, Com, Command, DecodeError, ErrPacket, PrepareOk, Status};

/// ER_MAX_PREPARED_STMT_COUNT_REACHED.
const TOO_MANY: u16 = 1461;

impl Pools {
    // A command comes -----------------------------------------------------------------------------

    /// A client's command, if it is about a statement and needs no server: what is to become of it.
    pub(super) fn without_server(
        &self,
        proxy: &Proxy,
        client: ConnId,
        packet: Incoming<'_>,
    ) -> Option<Verdict> {
        if !packet.command()?.names_statement() {
            return None;
        }
        let action = self.with_client(client, |client_of, pool| match &mut client_of.prepared {
            Some(prepared) => prepared.statements.command(packet.payload),
            None => ClientStatements::new(0, pool.dialect).command(packet.payload),
        })?;
        match action {
            Action::Forward | Action::Prepare | Action::WithStatement(_) | Action::Ping => None,
            // The observers are shown it.
            Action::Closed => Some(Verdict::Forward),
            Action::Nothing => Some(Verdict::Hold),
            Action::Answer(err) => {
                let _ = proxy.send(client, Packet::Err(&err));
                Some(Verdict::Hold)
            }
        }
    }

    /// A client has a connection for its command: what it needs is prepared there first.
    pub(super) fn on_its_connection(
        &self,
        proxy: &Proxy,
        client: ConnId,
        packet: Incoming<'_>,
    ) -> Verdict {
        let is_about_statement = packet.command().is_some_and(Com::names_statement);
        let Some(server) = proxy.peer(client).filter(|_| is_about_statement) else {
            return Verdict::Forward;
        };
        let capabilities = capabilities_of(proxy, server);
        let missing = self.with_both(client, server, |client, backend, pool| {
            let (present, _) = present(client, backend, pool)?;
            let statements = &client.prepared.as_ref()?.statements;
            let form = form(&present, &packet, capabilities);
            let statement = statements.missing(packet.payload, &backend.statements, form)?;
            let waiting = Waiting {
                command: packet.payload.to_vec(),
                line: client.line,
                since: std::time::Instant::now(),
                failures: 0,
            };
            client.phase = Phase::Arranging(Box::new(waiting));
            Some((statement, present))
        });
        let Some((statement, present)) = missing.flatten() else {
            return Verdict::Forward;
        };
        self.with_backend(server, |backend, _| backend.used = Use::Moving);
        let _ = proxy.unlink(client, server);
        self.wait_silently(proxy, client, packet.payload);
        self.prepare_again(proxy, client, server, &statement, &present);
        Verdict::Hold
    }

    /// Prepares a client's statement on the connection that it has had until now.
    fn prepare_again(
        &self,
        proxy: &Proxy,
        client: ConnId,
        server: ConnId,
        statement: &Rc<Statement>,
        present: &Rc<Setting>,
    ) {
        let steps = self.with_backend(server, |backend, _| {
            if statement.setting() == present {
                return Some((Vec::new(), Vec::new()));
            }
            let snapshot = backend.snapshot.as_ref()?;
            let (_, settings) = backend.settings.as_ref()?;
            let within = statement.setting().within(settings);
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
                       as the session has left the schema that it was prepared in";
            let err = ErrPacket::new(1105, b"HY000", why.into());
            return self.not_prepared(proxy, client, server, err);
        };
        let preparing = Box::new(Preparing {
            to: client,
            statement: statement.clone(),
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
                back,
            };
            return self.prepare_in_setting(proxy, server, Box::new(preparing));
        }
        if let Some(ok) = answer.prepared.filter(|ok| ok.params == statement.params()) {
            self.with_backend(server, |backend, _| {
                backend.statements.prepared(&statement, ok.statement_id);
            });
        } else if answer.error.is_none() {
            self.failed_on(proxy, server, None);
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
        self.answer_instead(proxy, client, &waiting.command, err);
        self.served(proxy, client);
    }

    // A command goes ------------------------------------------------------------------------------

    /// A client's command about a statement goes to the server, unless the hooks have held it back.
    pub(super) fn forwards_statement(
        &self,
        proxy: &Proxy,
        client: ConnId,
        packet: Incoming<'_>,
        verdict: Verdict,
    ) -> Verdict {
        let (Some(com), server) = (packet.command(), proxy.peer(client)) else {
            return verdict;
        };
        if com == Com::STMT_CLOSE {
            self.closes(proxy, client, server);
            return Verdict::Hold;
        }
        let passes = matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect);
        let Some(server) = server.filter(|server| passes && self.backends.has(*server)) else {
            return verdict;
        };
        if com == Com::STMT_PREPARE {
            return match self.prepares(proxy, client, server, packet) {
                Ok(()) => verdict,
                Err(err) => {
                    let _ = proxy.send(client, Packet::Err(&err));
                    Verdict::Hold
                }
            };
        }
        let mut written = self.written.take();
        let capabilities = capabilities_of(proxy, server);
        let sending = self.with_both(client, server, |client, backend, pool| {
            let (present, _) = present(client, backend, pool)?;
            let form = form(&present, &packet, capabilities);
            let prepared = client.prepared.as_mut()?;
            let (statements, on_server) = (&mut prepared.statements, &mut backend.statements);
            let id = crate::session::Head::of(packet.payload).statement()?;
            prepared.executed = statements.statement(id).cloned();
            Some(statements.send(packet.payload, on_server, form, &mut written))
        });
        let sent = match sending.flatten() {
            Some(Sending::Ready) => {
                let argument = written.get(1..).unwrap_or_default();
                let command = command(com, argument);
                proxy.send(server, Packet::Command(&command))
            }
            Some(Sending::Ping) => {
                let ping = command(Com::PING, b"");
                proxy.send(server, Packet::Command(&ping))
            }
            Some(Sending::Answer(err)) => {
                self.answer_instead(proxy, client, packet.payload, err);
                Ok(())
            }
            // Commands that are nobody's are the server's to refuse.
            None => return verdict,
            Some(Sending::Prepare(_)) => {
                let why = "The proxy has lost a statement of this client";
                let err = ErrPacket::new(1105, b"HY000", why.into());
                self.answer_instead(proxy, client, packet.payload, err);
                Ok(())
            }
        };
        written.truncate(KEPT);
        self.written.set(written);
        if let Err(error) = sent {
            log::warn!("connection {}: {error}", client.serial());
            proxy.close(server, "a client's command could not be sent");
        }
        if !com.expects_answer() {
            // Nothing will be answered; but the connection may have to be kept now.
            self.served(proxy, client);
        }
        if verdict == Verdict::FlushDisconnect {
            // It may be unlinked already.
            let _ = proxy.unlink(client, server);
        }
        Verdict::Hold
    }

    /// A client closes a statement.
    fn closes(&self, proxy: &Proxy, client: ConnId, server: Option<ConnId>) {
        let on_server = server.and_then(|server| {
            let id = self.with_both(client, server, |client, backend, _| {
                let statements = &mut client.prepared.as_mut()?.statements;
                statements.closed(Some(&mut backend.statements))
            });
            Some((server, id.flatten()?))
        });
        self.clients.with(client, |(_, client)| {
            if let Some(prepared) = &mut client.prepared {
                prepared.statements.closed(None);
            }
        });
        if let Some((server, id)) = on_server {
            self.close_statement(proxy, server, id);
            if !self.is_free(server) {
                // The connection may have been kept for it alone.
                self.served(proxy, client);
            }
        }
    }

    /// A client's COM_STMT_PREPARE is about to go to the server.
    fn prepares(
        &self,
        proxy: &Proxy,
        client: ConnId,
        server: ConnId,
        packet: Incoming<'_>,
    ) -> Result<(), ErrPacket> {
        self.make_room_for_statement(proxy, server);
        let text = packet.payload.get(1..).unwrap_or_default();
        let begun = self.with_both(client, server, |client_of, backend, pool| {
            let number = u64::from(client.serial());
            (client_of.prepared)
                .get_or_insert_with(|| Box::new(Prepared::new(number, pool.dialect)));
            let present = present(client_of, backend, pool)?;
            let prepared = client_of.prepared.as_mut()?;
            let present = (&present.0, present.1);
            let (statements, shared) = (&mut prepared.statements, &mut pool.statements);
            let begun = statements.begin_prepare(text, present, shared, Limits::default());
            backend.note(Com::STMT_PREPARE, text);
            Some(begun)
        });
        begun.flatten().unwrap_or(Ok(()))
    }

    // The answer ----------------------------------------------------------------------------------

    /// A server has prepared a client's statement: the client gets an id of its own.
    pub(super) fn prepared(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
        verdict: Verdict,
    ) -> Verdict {
        let Some(client) = proxy.peer(server).filter(|_| verdict == Verdict::Forward) else {
            return verdict;
        };
        let Ok(head) = PrepareOk::decode(packet.payload, packet.capabilities) else {
            return verdict;
        };
        let answer = self.with_both(client, server, |client, backend, _| {
            let prepared = client.prepared.as_mut()?;
            prepared.statements.prepared(&head, &mut backend.statements)
        });
        let Some((answer, superseded)) = answer.flatten() else {
            return verdict;
        };
        if let Err(error) = proxy.send(client, Packet::Prepared(&answer)) {
            log::warn!("connection {}: {error}", client.serial());
        }
        for id in superseded {
            self.close_statement(proxy, server, id);
        }
        Verdict::Hold
    }

    /// A server has answered a client's command.
    pub(super) fn statement_answered(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Option<&Result<Decoded<'_>, DecodeError>>,
    ) {
        let Some(client) = proxy.peer(server) else {
            return;
        };
        let outcome = match packet {
            Some(Ok(Decoded::Err(err))) => Outcome::Err(err.errnum),
            Some(Ok(Decoded::Ok(ok))) => Outcome::Ok(ok.status),
            Some(Ok(Decoded::Eof(eof))) => Outcome::Ok(eof.status),
            _ => Outcome::Ok(Status::empty()),
        };
        let then = self.with_both(client, server, |client, backend, _| {
            let statements = &mut client.prepared.as_mut()?.statements;
            Some(match statements.preparing() {
                Some(_) => statements::Then::Done,
                None => statements.ended(outcome, &mut backend.statements),
            })
        });
        if let Some(statements::Then::Close(id)) = then.flatten() {
            self.close_statement(proxy, server, id);
        }
    }

    /// A server has answered a client's command with an ERR. If it has too many statements, and the
    /// pool can do without some of them, the client's is prepared after all.
    pub(super) fn prepare_failed(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
        verdict: Verdict,
    ) -> Verdict {
        let client = proxy.peer(server);
        let text = client.and_then(|client| {
            let text = self.clients.with(client, |(_, client)| {
                let statements = &client.prepared.as_ref()?.statements;
                statements
                    .preparing()
                    .map(|statement| statement.text().to_vec())
            });
            text.flatten()
        });
        let (Some(client), Some(text)) = (client, text) else {
            return verdict;
        };
        let is_too_many =
            matches!(packet.decode(), Ok(Decoded::Err(err)) if err.errnum == TOO_MANY);
        let again = command(Com::STMT_PREPARE, &text);
        if is_too_many
            && verdict == Verdict::Forward
            && self.give_up_statements(proxy, server)
            && proxy.send(server, Packet::Command(&again)).is_ok()
        {
            return Verdict::Hold;
        }
        self.clients.with(client, |(_, client)| {
            if let Some(prepared) = &mut client.prepared {
                prepared.statements.prepare_failed();
            }
        });
        verdict
    }

    /// The server of this connection has too many statements: half of those that the pool can do without
    /// are closed. False if there are none.
    fn give_up_statements(&self, proxy: &Proxy, server: ConnId) -> bool {
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

    // Common --------------------------------------------------------------------------------------

    /// Closes a server's statement.
    fn close_statement(&self, proxy: &Proxy, server: ConnId, id: u32) {
        let close = Command::of_statement(Com::STMT_CLOSE, id);
        if let Err(error) = proxy.send(server, Packet::Command(&close)) {
            log::debug!("connection {}: {error}", server.serial());
        }
    }

    /// Makes room for another statement on a connection.
    fn make_room_for_statement(&self, proxy: &Proxy, server: ConnId) {
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

    /// Answers a client's command with an error, now or with its next execute.
    pub(super) fn answer_instead(
        &self,
        proxy: &Proxy,
        client: ConnId,
        payload: &[u8],
        err: ErrPacket,
    ) {
        let com = payload.first().map_or(Com::SLEEP, |com| Com(*com));
        if com.expects_answer() {
            // It fails if the client is gone.
            let _ = proxy.send(client, Packet::Err(&err));
            return;
        }
        proxy.resume(client);
        let id = crate::session::Head::of(payload).statement();
        self.clients.with(client, |(_, client)| {
            if let (Some(prepared), Some(id)) = (&mut client.prepared, id) {
                prepared.statements.long_data_failed(id, err);
            }
        });
    }

    /// A client's command has to wait. If it is one that is not answered, the next would come before
    /// it was sent.
    pub(super) fn wait_silently(&self, proxy: &Proxy, client: ConnId, payload: &[u8]) {
        if is_silent(payload) {
            proxy.pause(client);
        }
    }

    /// Shows a client's command again, which has waited.
    pub(super) fn show_command(&self, proxy: &Proxy, client: ConnId, payload: &[u8]) {
        if is_silent(payload) {
            proxy.resume(client);
        }
        proxy.show_again(client, payload);
    }

    fn is_free(&self, server: ConnId) -> bool {
        let is_free = |(_, backend): &mut (_, Backend)| matches!(backend.used, Use::Free(_));
        self.backends.with(server, is_free) == Some(true)
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
}

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 << 10;

fn is_silent(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|com| !Com(*com).expects_answer())
}

fn capabilities_of(proxy: &Proxy, id: ConnId) -> Capabilities {
    let info = proxy.info(id);
    info.map(|info| info.capabilities.get()).unwrap_or_default()
}

fn form<'a>(present: &'a Rc<Setting>, packet: &Incoming<'_>, server: Capabilities) -> Form<'a> {
    Form {
        present,
        client: packet.capabilities,
        server,
    }
}

/// The setting that a client's connection is in, and whether that is certain.
fn present(
    client: &mut Client,
    backend: &mut Backend,
    pool: &mut Pool,
) -> Option<(Rc<Setting>, Sharing)> {
    let (settings, sharing) = match know(backend, pool) {
        Ok(()) => (backend.settings.as_ref()?.1.clone(), Sharing::Anyone),
        Err(_) => (client.settings.clone(), Sharing::Nobody),
    };
    let snapshot = backend.snapshot.as_ref()?;
    let prepared = client.prepared.as_mut()?;
    if let Some((of, setting)) = &prepared.setting
        && Rc::ptr_eq(of, &settings)
    {
        return Some((setting.clone(), sharing));
    }
    let setting = pool.statements.setting(Setting::of(&settings, snapshot));
    prepared.setting = Some((settings, setting.clone()));
    Some((setting, sharing))
}
