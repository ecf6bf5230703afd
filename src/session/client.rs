//! The state machine of a client's connection: what the client sends, and what may be sent to it.

use super::at_rest::RestingClient;
use super::event::{Event, EventSet};
use super::exchanges::Exchanges;
use super::response::{Response, wants_auth_answer};
use super::statements::Statements;
use super::step::{Head, PacketKind, Step, Violation};
use crate::wire::{Capabilities, Com};

/// The state of a connection whose far end is a client.
#[derive(Debug)]
pub struct ClientSession {
    phase: LoginPhase,
    /// What was agreed on; before that, what was offered.
    capabilities: Capabilities,
    exchanges: Exchanges,
    /// How many EOFs may still come for the exchange that has just ended which, under
    /// CLIENT_DEPRECATE_EOF, are not sent on the wire.
    eofs_due: u8,
    /// Its statements; kept only if executes may have attributes.
    statements: Option<Box<Statements>>,
    /// Whether the client has the whole answer, but the exchange is not over because the server's
    /// EOF, which is not sent to this client, is still to come.
    end_withheld: bool,
    /// The sequence number of the next packet, in either direction.
    pub seq: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginPhase {
    /// The handshake is still to be sent.
    Greeting,
    Auth,
    AuthResult {
        may_speak: bool,
    },
    Ready,
    /// Its login was answered with an ERR.
    Refused,
}

impl Default for ClientSession {
    fn default() -> Self {
        ClientSession {
            phase: LoginPhase::Greeting,
            capabilities: Capabilities::empty(),
            exchanges: Exchanges::default(),
            eofs_due: 0,
            statements: None,
            end_withheld: false,
            seq: 0,
        }
    }
}

/// The result of sending a packet to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// The events that fire on the client once the packet is queued.
    pub events: EventSet,
    /// Whether the packet ended an exchange, so that the client may send a command.
    pub done: bool,
    /// Whether the packet refused a login, so that the connection closes once it is flushed.
    pub refused: bool,
}

impl ClientSession {
    /// What there is to know of it, if its commands are all answered.
    pub fn rest(&self) -> Option<RestingClient> {
        (self.idle() && !self.end_withheld).then(|| RestingClient {
            capabilities: self.capabilities,
            eofs_due: self.eofs_due,
            statements: self.statements.as_deref().map(Statements::counted),
        })
    }

    /// A session that was at rest elsewhere.
    pub fn resume(rest: RestingClient) -> ClientSession {
        ClientSession {
            phase: LoginPhase::Ready,
            capabilities: rest.capabilities,
            eofs_due: rest.eofs_due,
            statements: rest
                .statements
                .map(|counted| Box::new(Statements::of_counted(&counted))),
            ..ClientSession::default()
        }
    }

    /// Whether the login is complete.
    pub fn authenticated(&self) -> bool {
        self.phase == LoginPhase::Ready
    }

    /// Whether its handshake is still to be sent.
    pub fn awaits_handshake(&self) -> bool {
        self.phase == LoginPhase::Greeting
    }

    /// Whether its auth packet, or its request for TLS, is still to come.
    pub fn awaits_auth(&self) -> bool {
        self.phase == LoginPhase::Auth
    }

    /// Whether its login is still to be answered.
    pub fn awaits_login(&self) -> bool {
        matches!(self.phase, LoginPhase::AuthResult { .. })
    }

    /// Its request for TLS had this sequence number: its auth packet has the next one.
    pub fn received_ssl_request(&mut self, seq: u8) {
        self.seq = seq.wrapping_add(1);
    }

    /// Whether all its commands are answered.
    pub fn idle(&self) -> bool {
        self.phase == LoginPhase::Ready && self.exchanges.idle()
    }

    /// Whether so many commands wait for answers that no more should be read.
    pub fn full(&self) -> bool {
        self.exchanges.full()
    }

    /// Whether its next packet is part of the current exchange, rather than a command that could
    /// wait.
    pub fn may_speak_now(&self) -> bool {
        match self.phase {
            LoginPhase::Greeting | LoginPhase::Refused => false,
            LoginPhase::Auth => true,
            LoginPhase::AuthResult { may_speak } => may_speak,
            LoginPhase::Ready => match self.exchanges.current() {
                None => true,
                Some(response) => {
                    response.wants_file() || response.wants_auth() || response.is_binlog()
                }
            },
        }
    }

    /// Whether its next packet is a command.
    pub fn awaits_command(&self) -> bool {
        self.phase == LoginPhase::Ready
            && !self.exchanges.current().is_some_and(|response| {
                response.wants_file() || response.wants_auth() || response.is_binlog()
            })
    }

    /// Whether an answer is on its way that needs nothing more of the client.
    pub fn awaits_answer(&self) -> bool {
        match self.phase {
            LoginPhase::AuthResult { .. } | LoginPhase::Ready => !self.may_speak_now(),
            LoginPhase::Greeting | LoginPhase::Auth | LoginPhase::Refused => false,
        }
    }

    /// What was agreed on at login; until that is [negotiated](Self::negotiate), what the handshake
    /// offered.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The response in progress.
    pub fn response(&self) -> Option<&Response> {
        self.exchanges.current()
    }

    /// What a packet from the client means, without changing the state.
    ///
    /// # Errors
    /// The packet is not allowed now: the connection cannot be used any more.
    pub fn peek(&self, head: Head<'_>) -> Result<Step, Violation> {
        let (kind, event) = match self.phase {
            LoginPhase::Greeting => {
                return Err(Violation::by("nothing before the handshake", head));
            }
            LoginPhase::Refused => {
                return Err(Violation::by("nothing behind a refused login", head));
            }
            LoginPhase::Auth => (PacketKind::Auth, Event::ClientWaiting),
            LoginPhase::AuthResult { .. } => (PacketKind::AuthData, Event::ClientSentAuth),
            LoginPhase::Ready => match self.exchanges.current() {
                Some(response) if response.wants_file() && head.len == 0 => {
                    (PacketKind::Data, Event::ClientSentData)
                }
                Some(response) if response.wants_file() || response.is_binlog() => {
                    (PacketKind::Data, Event::ClientSendingData)
                }
                Some(response) if response.wants_auth() => {
                    (PacketKind::AuthData, Event::ClientSentAuth)
                }
                _ => (PacketKind::Command, Event::ClientSentCommand),
            },
        };
        Ok(Step {
            kind,
            events: event.set(),
            synthesised: EventSet::NONE,
            done: false,
        })
    }

    /// Receives the packet that [`peek`](Self::peek) looked at.
    ///
    /// # Errors
    /// As for `peek`.
    pub fn receive(&mut self, head: Head<'_>) -> Result<Step, Violation> {
        let step = self.peek(head)?;
        let seq = head.seq.wrapping_add(1);
        match step.kind {
            PacketKind::Command => {
                let com = Com(head.first().unwrap_or_default());
                self.eofs_due = 0;
                if let Some(statements) = &mut self.statements {
                    statements.command(com, head.statement());
                }
                if com.expects_answer()
                    && let Some(seq) = self.exchanges.push(com, head.statement(), seq)
                {
                    self.seq = seq;
                }
            }
            PacketKind::Auth => {
                self.seq = seq;
                self.phase = LoginPhase::AuthResult { may_speak: false };
            }
            PacketKind::AuthData => {
                self.seq = seq;
                match self.exchanges.current_mut() {
                    Some(response) => response.auth_answered(),
                    None => self.phase = LoginPhase::AuthResult { may_speak: false },
                }
            }
            _ => {
                if let Some(response) = self.exchanges.current_mut()
                    && response.wants_file()
                {
                    self.seq = seq;
                    if head.len == 0 {
                        response.file_complete();
                    }
                }
            }
        }
        Ok(step)
    }

    /// The packet just received was split, and its last frame had this sequence number.
    pub fn received_until(&mut self, last_seq: u8, kind: PacketKind) {
        let seq = last_seq.wrapping_add(1);
        if kind != PacketKind::Command || self.exchanges.amend_response_seq(seq) {
            self.seq = seq;
        }
    }

    /// How many parameters one of its statements takes, if it may send attributes too.
    pub fn statement_params(&self, id: u32) -> Option<u16> {
        self.statements.as_ref()?.params(id)
    }

    /// How many responses are still to come.
    pub fn outstanding(&self) -> usize {
        self.exchanges.outstanding()
    }

    /// The capabilities that the client's auth packet asks for.
    pub fn negotiate(&mut self, asked: Capabilities) {
        self.capabilities &= asked;
    }

    /// Whether an EOF now is one after columns, which is not sent on the wire; if so, counts it as
    /// sent.
    pub fn swallow_eof(&mut self) -> bool {
        match self.exchanges.current_mut() {
            Some(response) => response.swallow_eof(),
            None => {
                let swallowed = self.eofs_due > 0;
                self.eofs_due = self.eofs_due.saturating_sub(1);
                swallowed
            }
        }
    }

    /// Sends the handshake.
    ///
    /// # Errors
    /// It was sent before.
    pub fn send_handshake(&mut self, offered: Capabilities) -> Result<Sent, String> {
        if self.phase != LoginPhase::Greeting {
            return Err(self.forbids("a handshake"));
        }
        self.capabilities = offered;
        self.phase = LoginPhase::Auth;
        Ok(Sent {
            events: Event::ClientWaitAuth.set(),
            ..Sent::default()
        })
    }

    /// Sends the packet with this head, which is of this kind (or of any kind: `None`).
    ///
    /// # Errors
    /// The packet is not allowed now; the state does not change then.
    pub fn send(&mut self, head: Head<'_>, kind: Option<PacketKind>) -> Result<Sent, String> {
        let what = kind.map_or("this packet", PacketKind::name);
        let nothing = Sent::default();
        let login_over = |phase: &mut LoginPhase| {
            *phase = LoginPhase::Refused;
            Ok(Sent {
                refused: true,
                ..nothing
            })
        };
        match self.phase {
            LoginPhase::Greeting | LoginPhase::Auth | LoginPhase::AuthResult { .. }
                if head.first() == Some(0xFF) && matches!(kind, None | Some(PacketKind::Err)) =>
            {
                login_over(&mut self.phase)
            }
            LoginPhase::AuthResult { .. } => match head.first() {
                Some(0x00) if matches!(kind, None | Some(PacketKind::Ok)) => {
                    self.phase = LoginPhase::Ready;
                    Ok(Sent {
                        events: Event::ClientWaiting.set(),
                        done: true,
                        ..nothing
                    })
                }
                Some(0xFE | 0x01 | 0x02) if matches!(kind, None | Some(PacketKind::AuthData)) => {
                    self.phase = LoginPhase::AuthResult {
                        may_speak: wants_auth_answer(head),
                    };
                    Ok(nothing)
                }
                _ => Err(self.forbids(what)),
            },
            // What comes from the server instead of the EOF is not for this client, which would take it for
            // the answer to its next command.
            LoginPhase::Ready if self.end_withheld => Err(self.forbids(what)),
            LoginPhase::Ready => {
                let Some(current) = self.exchanges.current() else {
                    return Err(self.forbids(what));
                };
                let mut response = *current;
                let step = response
                    .step(head, self.capabilities)
                    .map_err(|_| self.forbids(what))?;
                if kind.is_some_and(|kind| !same_kind(kind, step.kind)) {
                    return Err(self.forbids(what));
                }
                if step.kind == PacketKind::Prepared
                    && self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
                {
                    self.statements.get_or_insert_default().count(head);
                }
                if !step.done {
                    if let Some(current) = self.exchanges.current_mut() {
                        *current = response;
                    }
                    return Ok(nothing);
                }
                self.eofs_due = response.eofs_due();
                // The response's last packet still gets its number from the old count, so the next
                // response's first number is set by `begin_next`.
                Ok(Sent {
                    events: Event::ClientWaiting.set(),
                    done: true,
                    ..nothing
                })
            }
            _ => Err(self.forbids(what)),
        }
    }

    /// The packet just sent ended the exchange for the client, but the server's answer is not
    /// complete.
    pub fn withhold_end(&mut self) {
        self.end_withheld = true;
    }

    /// The server's EOF that is not sent to this client has come. Returns whether the exchange only
    /// waited for it; then the exchange is over.
    pub fn take_withheld_end(&mut self) -> bool {
        let withheld = std::mem::take(&mut self.end_withheld);
        if withheld {
            self.finish_exchange();
        }
        withheld
    }

    /// The last packet of a response has been numbered: the exchange is over.
    pub fn finish_exchange(&mut self) {
        self.end_withheld = false;
        if let Some(seq) = self.exchanges.finish() {
            self.seq = seq;
        }
    }

    fn forbids(&self, what: &str) -> String {
        let state = match self.phase {
            LoginPhase::Greeting => "waits for a handshake",
            LoginPhase::Auth => "has not sent its auth packet yet",
            LoginPhase::AuthResult { .. } => "waits for OK, ERR or a round of authentication",
            LoginPhase::Ready if self.end_withheld => "has its whole answer",
            LoginPhase::Ready => match self.exchanges.current() {
                Some(response) => {
                    return format!(
                        "the client does not take {what} now: it waits for {}",
                        response.expects()
                    );
                }
                None => "has asked for nothing",
            },
            LoginPhase::Refused => "has been refused",
        };
        format!("the client does not take {what} now: it {state}")
    }
}

/// Whether a packet that a script sends as `sent` may stand where the client expects `taken`: OK
/// and EOF both end rows, and text and binary rows are both rows.
fn same_kind(sent: PacketKind, taken: PacketKind) -> bool {
    use PacketKind::{BinaryRow, Eof, Ok, TextRow};
    sent == taken
        || matches!(
            (sent, taken),
            (TextRow | BinaryRow, TextRow | BinaryRow) | (Ok | Eof, Ok | Eof)
        )
}
