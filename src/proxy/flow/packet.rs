//! A packet that is handled whole: shown to hooks, forwarded or held back.

use std::borrow::Cow;

use super::own_errors::error_text;
use crate::proxy::Proxy;
use crate::proxy::hooks::{Incoming, Verdict};
use crate::proxy::id::ConnId;
use crate::proxy::info::ConnKind;
use crate::proxy::login::follow::Handed;
use crate::proxy::table::conn::Role;
use crate::proxy::table::received::Received;
use crate::session::{EventSet, Head, PacketKind};
use crate::wire::{Com, Eof, ErrPacket, frame};

impl Proxy {
    /// Handles the packet that these frames hold.
    pub(crate) fn packet(&self, id: ConnId, frames: &[u8]) {
        let payload = frame::payload(frames);
        let received = self.core().receive(id, frame::last_seq(frames), &payload);
        let received = match received {
            Ok(received) => received,
            Err(refusal) => {
                if let Some(err) = refusal.answer {
                    let client = self.core().peer(id).filter(|_| refusal.by_server);
                    match client {
                        Some(client) => self.tell_client(client, &err),
                        None => self.put_error(id, &err),
                    }
                }
                self.broken(id, &refusal.reason);
                return;
            }
        };
        if let Some(flaw) = received.flaw {
            let com = Com(received.payload.first().copied().unwrap_or_default());
            log::debug!(
                "connection {}: {flaw:?} command 0x{:02x} of {} bytes",
                id.serial,
                com.0,
                received.payload.len()
            );
            if let Some(err) = flaw.answer() {
                self.put_error(id, &err);
            }
            return;
        }
        self.handle(received);
    }

    /// Shows a packet that its session has received, and forwards it.
    pub(crate) fn handle(&self, mut received: Received<'_>) {
        let id = received.info.id;
        let Some((mut hold, mut unlink)) = self.ask(&received) else {
            return;
        };
        if !hold && received.expects_answer() && self.core().has_been_answered(id) {
            // If it were forwarded, the server would execute it, and its answer would be taken for
            // that of the next command.
            log::error!(
                "connection {}: a callback answered a command without returning \
                 dpm.DPM_NOPROXY: the command is not forwarded",
                id.serial
            );
            hold = true;
        }
        let receiver = self.core().peer(id);
        let mut events = EventSet::NONE;
        if received.step.kind == PacketKind::Command && self.core().remark.is_on(id) && !hold {
            let core = self.core();
            let commented = core.remark.put(&received.payload, received.capabilities);
            if let Some(commented) = commented {
                received.payload = Cow::Owned(commented);
            }
        }
        if !hold {
            match self.hand_over(&mut received, receiver) {
                Some(fired) => events = fired,
                None => return,
            }
        }
        if received.unsolicited {
            let reason = unsolicited_reason(&received);
            self.close_for(id, &reason);
            if let Some(receiver) = receiver.filter(|_| received.passthrough) {
                self.close_for(receiver, &reason);
            }
            return;
        }
        if received.discard
            && matches!(
                received.step.kind,
                PacketKind::Infile | PacketKind::AuthData
            )
        {
            self.close_for(id, "it asks for what its client, who is gone, cannot give");
            return;
        }
        if !received.step.synthesised.is_empty() {
            let (unlinks, more) = self.synthesise(&received, receiver);
            unlink |= unlinks;
            events = events.with(more);
        }
        let Some(receiver) = receiver else {
            return;
        };
        self.fire_all(receiver, events);
        if unlink && self.unlink_if_linked(id, receiver) {
            // In the middle of a response the rest is dropped.
            self.core().discard_responses(id, usize::MAX);
        }
        if !hold && received.is_quit() {
            self.close_for(id, "the client quit");
        }
    }

    /// Shows the packet to the hooks that are armed for it. Returns whether one holds it back, and
    /// whether one unlinks; `None`: the packet needs no further handling.
    fn ask(&self, received: &Received<'_>) -> Option<(bool, bool)> {
        let id = received.info.id;
        let mut hold = received.discard || received.unsolicited && !received.passthrough;
        let mut unlink = false;
        for event in received.step.events {
            if self.core().armed(id, event.set()).is_empty() {
                received.info.enter(event);
                continue;
            }
            let packet = Incoming {
                kind: received.step.kind,
                payload: &received.payload,
                capabilities: received.capabilities,
                answers: received.answers,
                statement: received.statement,
            };
            match self.fire(&received.info, event, Some(packet)) {
                Verdict::Forward => {}
                Verdict::Hold => hold = true,
                Verdict::FlushDisconnect => unlink = true,
                Verdict::Failed => {
                    self.callback_failed(id);
                    return None;
                }
            }
            self.core().open(id)?;
        }
        Some((hold, unlink))
    }

    /// Forwards the packet over the link as it stands now. `None`: that was the end of the
    /// connection.
    fn hand_over(&self, received: &mut Received<'_>, peer: Option<ConnId>) -> Option<EventSet> {
        let id = received.info.id;
        let Some(peer) = peer else {
            if received.step.kind == PacketKind::Command {
                self.without_peer(id, &received.payload);
            }
            return Some(EventSet::NONE);
        };
        if received.step.kind == PacketKind::Command
            && let Some(statement) = self.unknown_statement(id, peer, Head::of(&received.payload))
        {
            // The same error as a server's.
            let message = format!(
                "Unknown prepared statement handler ({statement}) given to mysqld_stmt_execute"
            );
            self.put_error(id, &ErrPacket::new(1243, b"HY000", message));
            return Some(EventSet::NONE);
        }
        let is_row = matches!(
            received.step.kind,
            PacketKind::TextRow | PacketKind::BinaryRow
        );
        if is_row && self.refuse_row(id, peer) {
            return Some(EventSet::NONE);
        }
        let handed = self.core().relay(id, peer, received);
        let delivered = match handed {
            Ok(Handed::On) => self.core().forward(id, peer, received),
            Ok(Handed::Answered) => return Some(EventSet::NONE),
            Ok(Handed::Refused(why)) => {
                self.refuse_login(id, peer, &why);
                return None;
            }
            Err(why) => Err(why),
        };
        match delivered {
            Ok(delivered) => {
                if delivered.refused {
                    self.close_for(peer, &refused_reason(&received.payload));
                }
                Some(delivered.events)
            }
            Err(reason) => {
                self.broken(id, &reason);
                self.close_for(peer, &reason);
                None
            }
        }
    }

    /// Whether a server's row has another number of values than its client expects: a script has
    /// told the client of other columns. The client gets an error instead of rows that it would
    /// misread, and the rest of the answer is dropped.
    fn refuse_row(&self, server: ConnId, client: ConnId) -> bool {
        {
            let mut core = self.core();
            let fits = match (core.open(client), core.open(server)) {
                (Some(client), Some(server)) => !client.in_rows() || client.fits_rows_of(server),
                _ => true,
            };
            if fits {
                return false;
            }
            core.discard_responses(server, 1);
        }
        let message = "The rows do not fit the columns that the proxy's script has sent";
        log::warn!("connection {}: {message}", client.serial);
        self.put_error(client, &ErrPacket::new(1105, b"HY000", message.into()));
        true
    }

    fn unknown_statement(&self, id: ConnId, peer: ConnId, command: Head<'_>) -> Option<u32> {
        let core = self.core();
        core.unknown_statement(core.open(id)?, peer, command)
    }

    /// A login that cannot pass through: the client gets the reason.
    fn refuse_login(&self, id: ConnId, peer: ConnId, why: &str) {
        let (client, server) = match self.core().open(id).map(|conn| conn.info.kind) {
            Some(ConnKind::Server) => (peer, id),
            _ => (id, peer),
        };
        log::warn!("connection {}: the login is refused: {why}", client.serial);
        self.tell_client(client, &ErrPacket::new(1105, b"HY000", why.to_string()));
        self.close_for(server, why);
        self.close_for(client, why);
    }

    /// A command that was not held back, but has no server.
    fn without_peer(&self, id: ConnId, payload: &[u8]) {
        let com = Com(payload.first().copied().unwrap_or_default());
        if com == Com::QUIT {
            self.close_for(id, "the client quit");
            return;
        }
        let unanswered = {
            let core = self.core();
            core.open(id).is_some_and(|conn| match &conn.role {
                Role::Client(session) => session.response().is_some_and(|r| !r.started()),
                _ => false,
            })
        };
        if unanswered {
            let message = "The proxy has no server for this connection";
            self.put_error(id, &ErrPacket::new(1105, b"HY000", message.into()));
        }
    }

    /// Fires the events of an EOF that this server does not send, and sends the EOF to a client
    /// that needs it. Returns whether to unlink, and the events that then fire on the client.
    fn synthesise(&self, received: &Received<'_>, receiver: Option<ConnId>) -> (bool, EventSet) {
        let id = received.info.id;
        let mut unlink = false;
        let mut events = EventSet::NONE;
        for event in received.step.synthesised {
            let eof = Eof {
                warnings: 0,
                status: received.status,
            };
            let armed = !self.core().armed(id, event.set()).is_empty();
            received.info.enter(event);
            if armed {
                let mut payload = Vec::new();
                eof.encode(received.capabilities, &mut payload);
                let packet = Incoming {
                    kind: PacketKind::Eof,
                    payload: &payload,
                    capabilities: received.capabilities,
                    answers: received.answers,
                    statement: received.statement,
                };
                match self.fire(&received.info, event, Some(packet)) {
                    Verdict::FlushDisconnect => unlink = true,
                    Verdict::Failed => {
                        self.callback_failed(id);
                        return (false, EventSet::NONE);
                    }
                    Verdict::Forward | Verdict::Hold => {}
                }
            }
            // That a cursor is open is announced in the flags of the EOF that would be inserted
            // here. So it waits for the packet after the columns, which has these flags.
            let may_open_cursor = received.answers == Some(Com::STMT_EXECUTE);
            if let Some(receiver) = receiver.filter(|_| !received.discard && !may_open_cursor) {
                events = events.with(self.core().insert_eof(receiver, &eof));
            }
        }
        (unlink, events)
    }
}

fn refused_reason(payload: &[u8]) -> String {
    format!("the login was refused: {}", error_text(payload))
}

fn unsolicited_reason(received: &Received<'_>) -> String {
    format!(
        "the server sent an error on its own: {}",
        error_text(&received.payload)
    )
}
