//! Prepared statements: each command gets to the client's connection with the id that its statement
//! has there.

use super::Pools;
use super::preparing::{TOO_MANY, capabilities_of, form, present};
use crate::pool::backend::{Backend, Use};
use crate::pool::client::Prepared;
use crate::pool::errand::command;
use crate::pool::statements::{Action, ClientStatements, Limits, Outcome, Sending, Then};
use crate::proxy::{ConnId, Decoded, Incoming, Packet, Proxy, Verdict};
use crate::session::{Head, PacketKind};
use crate::wire::{Com, Command, DecodeError, ErrPacket, PrepareOk, Status};

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
        let id = Head::of(packet.payload).statement();
        let refused = id
            .filter(|_| com == Com::STMT_EXECUTE)
            .and_then(|id| self.refuses_execute(client, server, id));
        if let Some(err) = refused {
            let _ = proxy.send(client, Packet::Err(&err));
            return Verdict::Hold;
        }
        let mut written = self.written.take();
        let capabilities = capabilities_of(proxy, server);
        let sending = self.with_both(client, server, |client, backend, pool| {
            let present = present(client, backend, pool)?.setting;
            let form = form(&present, &packet, capabilities);
            let prepared = client.prepared.as_mut()?;
            let statements = &mut prepared.statements;
            prepared.executed = statements.statement(id?).cloned();
            prepared.then = Then::Done;
            backend.asked_as.clear();
            if com == Com::STMT_EXECUTE {
                backend.note_asked(packet.payload);
            }
            let on_server = &mut backend.statements;
            Some(statements.send(packet.payload, on_server, form, &mut written))
        });
        let sent = match sending.flatten() {
            Some(Sending::Ready) => proxy.send(server, Packet::EncodedCommand(&written)),
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

    /// A command that the layer above sends to a client's connection in place of the client's own: it names
    /// the client's statement, which has another id there. False if the command means nothing to the pool, and so
    /// is sent as it is.
    pub fn sends_in_place(&self, proxy: &Proxy, server: ConnId, command: &Command) -> bool {
        let com = command.com;
        if !com.names_statement() && com != Com::STMT_PREPARE {
            return false;
        }
        let is_lent = self
            .backends
            .with(server, |(_, backend)| matches!(backend.used, Use::Lent));
        let client = proxy.peer(server).filter(|_| is_lent == Some(true));
        let Some((client, info)) = client.and_then(|id| Some((id, proxy.info(id)?))) else {
            return false;
        };
        let capabilities = info.capabilities.get();
        let mut payload = Vec::new();
        command.encode(capabilities, &mut payload);
        let packet = Incoming {
            kind: PacketKind::Command,
            payload: &payload,
            capabilities,
            answers: None,
            statement: Head::of(&payload).statement(),
        };
        self.forwards_statement(proxy, client, packet, Verdict::Forward) == Verdict::Hold
    }

    /// A client closes a statement.
    fn closes(&self, proxy: &Proxy, client: ConnId, server: Option<ConnId>) {
        let on_server = server.and_then(|server| {
            let ids = self.with_both(client, server, |client, backend, _| {
                let statements = &mut client.prepared.as_mut()?.statements;
                Some(statements.closed(Some(&mut backend.statements)))
            });
            Some((server, ids.flatten().filter(|ids| !ids.is_empty())?))
        });
        self.clients.with(client, |(_, client)| {
            if let Some(prepared) = &mut client.prepared {
                prepared.statements.closed(None);
            }
        });
        if let Some((server, ids)) = on_server {
            for id in ids {
                self.close_statement(proxy, server, id);
            }
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
        let text = packet.payload.get(1..).unwrap_or_default();
        if let Some(err) = self.refuses_prepare(client, text) {
            return Err(err);
        }
        self.make_room_for_statement(proxy, server);
        let begun = self.with_both(client, server, |client_of, backend, pool| {
            let number = u64::from(client.serial());
            (client_of.prepared)
                .get_or_insert_with(|| Box::new(Prepared::new(number, pool.dialect)));
            let present = present(client_of, backend, pool)?;
            let prepared = client_of.prepared.as_mut()?;
            let present = (&present.setting, present.sharing);
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
        let columns = proxy.info(server).map_or(0, |info| info.columns());
        let then = self.with_both(client, server, |client, backend, _| {
            let prepared = client.prepared.as_mut()?;
            let statements = &mut prepared.statements;
            prepared.has_changed = match outcome {
                Outcome::Ok(_) => statements.gave_columns(columns),
                Outcome::Err(_) => None,
            };
            prepared.then = match statements.preparing() {
                Some(_) => Then::Done,
                None => statements.ended(outcome, &mut backend.statements),
            };
            Some(prepared.then)
        });
        if let Some(Then::Close(id)) = then.flatten() {
            self.close_statement(proxy, server, id);
        }
    }

    /// Whether a server has lost the statement that a client has executed, which has had no effect: the
    /// client is not told, and the statement is prepared again.
    pub(super) fn has_lost_statement(&self, proxy: &Proxy, server: ConnId) -> bool {
        let Some(client) = proxy
            .peer(server)
            .filter(|client| proxy.is_owed_all(*client))
        else {
            return false;
        };
        let is_lost = self.with_both(client, server, |client, backend, _| {
            let then = client.prepared.as_ref().map(|prepared| prepared.then);
            let may = then == Some(Then::Again)
                && !backend.asked_as.is_empty()
                && client.retries < MAX_LOST;
            client.retries += u8::from(may);
            may
        });
        if is_lost == Some(true) {
            self.agenda.borrow_mut().asked_again.push(client);
        }
        is_lost == Some(true)
    }

    /// A client's server has lost the statement of its command: the command is sent again.
    pub(super) fn ask_again(&self, proxy: &Proxy, client: ConnId) {
        let Some(server) = proxy.peer(client) else {
            return;
        };
        let asked = self
            .backends
            .with(server, |(_, backend)| std::mem::take(&mut backend.asked_as));
        if let Some(payload) = asked {
            proxy.show_again(client, &payload);
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

    // Common --------------------------------------------------------------------------------------

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
            (self.clients).with(client, |(_, client)| client.diagnostics.refused(&err));
            // It fails if the client is gone.
            let _ = proxy.send(client, Packet::Err(&err));
            return;
        }
        proxy.resume(client);
        let id = Head::of(payload).statement();
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
}

/// How often a statement of one command may be lost.
const MAX_LOST: u8 = 3;

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 64 << 10;

fn is_silent(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|com| !Com(*com).expects_answer())
}
