//! The state machine of a connection to a server: what the server sends, and what may be sent to
//! it.

use super::at_rest::RestingServer;
use super::event::{Event, EventSet};
use super::exchanges::Exchanges;
use super::response::{Response, ok_status, wants_auth_answer};
use super::statements::Statements;
use super::step::{Head, PacketKind, Step, Violation};
use crate::wire::{Capabilities, Com, Status};

/// The state of a connection whose far end is a server.
#[derive(Debug)]
pub struct ServerSession {
    phase: LoginPhase,
    /// What both sides agreed on; before that, what the server offers, less what the proxy cannot
    /// follow.
    capabilities: Capabilities,
    /// Everything that the server offers.
    really_offered: Capabilities,
    exchanges: Exchanges,
    /// Its statements; kept only if executes may have attributes.
    statements: Option<Box<Statements>>,
    /// The status in its last OK or EOF.
    status: Status,
    /// The sequence number of the next packet, in either direction.
    pub seq: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginPhase {
    Greeting,
    Auth,
    AuthResult { we_may_speak: bool },
    Ready,
    Refused,
}

/// What a login that is not over waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginWaits {
    /// The server's greeting.
    Greeting,
    /// Our auth packet.
    Auth,
    /// Our answer to a round of authentication.
    Answer,
    /// The server's judgement.
    Judgement,
}

impl Default for ServerSession {
    fn default() -> Self {
        ServerSession {
            phase: LoginPhase::Greeting,
            capabilities: Capabilities::empty(),
            really_offered: Capabilities::empty(),
            exchanges: Exchanges::default(),
            statements: None,
            status: Status::AUTOCOMMIT,
            seq: 0,
        }
    }
}

impl ServerSession {
    /// What there is to know of it, if it has answered all commands.
    pub fn rest(&self) -> Option<RestingServer> {
        self.idle().then(|| RestingServer {
            capabilities: self.capabilities,
            really_offered: self.really_offered,
            statements: self.statements.as_deref().map(Statements::counted),
            status: self.status,
        })
    }

    /// A session that was at rest elsewhere.
    pub fn resume(rest: RestingServer) -> ServerSession {
        ServerSession {
            phase: LoginPhase::Ready,
            capabilities: rest.capabilities,
            really_offered: rest.really_offered,
            statements: rest
                .statements
                .map(|counted| Box::new(Statements::of_counted(&counted))),
            status: rest.status,
            ..ServerSession::default()
        }
    }

    /// Whether the login is complete.
    pub fn authenticated(&self) -> bool {
        self.phase == LoginPhase::Ready
    }

    /// Whether its greeting has come.
    pub fn greeted(&self) -> bool {
        self.phase != LoginPhase::Greeting
    }

    /// What the login waits for; `None` if it is over.
    pub fn login_waits(&self) -> Option<LoginWaits> {
        match self.phase {
            LoginPhase::Greeting => Some(LoginWaits::Greeting),
            LoginPhase::Auth => Some(LoginWaits::Auth),
            LoginPhase::AuthResult { we_may_speak: true } => Some(LoginWaits::Answer),
            LoginPhase::AuthResult { .. } => Some(LoginWaits::Judgement),
            LoginPhase::Ready | LoginPhase::Refused => None,
        }
    }

    /// Whether the login has been answered with an error, after which the server closes.
    pub fn refused(&self) -> bool {
        self.phase == LoginPhase::Refused
    }

    /// Whether it has answered all commands.
    pub fn idle(&self) -> bool {
        self.phase == LoginPhase::Ready && self.exchanges.idle()
    }

    /// How many responses are still to come.
    pub fn outstanding(&self) -> usize {
        self.exchanges.outstanding()
    }

    /// Whether so many commands wait for answers that no more should be sent.
    pub fn full(&self) -> bool {
        self.exchanges.full()
    }

    /// What was agreed on at login; before that, what the server offers and the proxy can follow.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Everything that the server offers, even if it cannot be used on the other leg.
    pub fn really_offered(&self) -> Capabilities {
        self.really_offered
    }

    /// What its last OK or EOF tells about its session: only those status flags that describe the
    /// session rather than the last statement.
    pub fn status(&self) -> Status {
        self.status
            & (Status::AUTOCOMMIT
                | Status::IN_TRANS
                | Status::IN_TRANS_READONLY
                | Status::NO_BACKSLASH_ESCAPES)
    }

    /// The response in progress.
    pub fn response(&self) -> Option<&Response> {
        self.exchanges.current()
    }

    /// What a packet from the server means, without changing the state.
    ///
    /// # Errors
    /// The packet is not allowed now: the connection cannot be used any more.
    pub fn peek(&self, head: Head<'_>) -> Result<Step, Violation> {
        match self.phase {
            LoginPhase::Greeting => match head.first() {
                Some(0xFF) => Ok(step(PacketKind::Err, Event::ServerReceivedError)),
                Some(10) => Ok(step(PacketKind::Handshake, Event::ServerWaitAuth)),
                _ => Err(Violation::by("a handshake of protocol 10, or ERR", head)),
            },
            LoginPhase::AuthResult { .. } => match head.first() {
                Some(0x00) => Ok(step(PacketKind::Ok, Event::ServerWaitCommand)),
                Some(0xFF) => Ok(step(PacketKind::Err, Event::ServerReceivedError)),
                // A switch, more data, or the next factor.
                Some(0xFE | 0x01 | 0x02) => Ok(Step {
                    done: false,
                    ..step(PacketKind::AuthData, Event::ServerSendingAuth)
                }),
                _ => Err(Violation::by("OK, ERR or a round of authentication", head)),
            },
            LoginPhase::Ready => match self.exchanges.current() {
                Some(response) => {
                    let mut probe = *response;
                    probe.step(head, self.capabilities)
                }
                None if head.first() == Some(0xFF) => {
                    Ok(step(PacketKind::Err, Event::ServerReceivedError))
                }
                None => Err(Violation::by(
                    "nothing, since no command was waiting for an answer",
                    head,
                )),
            },
            LoginPhase::Auth => match head.first() {
                Some(0xFF) => Ok(step(PacketKind::Err, Event::ServerReceivedError)),
                _ => Err(Violation::by("nothing until our auth packet", head)),
            },
            LoginPhase::Refused => Err(Violation::by("nothing behind a refused login", head)),
        }
    }

    /// Whether an ERR now would answer no command: then the server says why it closes.
    pub fn unsolicited(&self) -> bool {
        self.phase == LoginPhase::Auth || self.phase == LoginPhase::Ready && self.exchanges.idle()
    }

    /// Receives the packet that [`peek`](Self::peek) looked at.
    ///
    /// # Errors
    /// As for `peek`.
    pub fn receive(&mut self, head: Head<'_>) -> Result<Step, Violation> {
        let step = self.peek(head)?;
        if matches!(
            step.kind,
            PacketKind::Handshake | PacketKind::AuthData | PacketKind::Infile
        ) {
            // Our answer has the next number.
            self.seq = head.seq.wrapping_add(1);
        }
        match self.phase {
            LoginPhase::Greeting | LoginPhase::Auth if step.kind == PacketKind::Err => {
                self.phase = LoginPhase::Refused;
            }
            LoginPhase::Greeting => self.phase = LoginPhase::Auth,
            LoginPhase::AuthResult { .. } => {
                self.phase = match step.kind {
                    PacketKind::Ok => {
                        self.status = ok_status(head).unwrap_or(self.status);
                        LoginPhase::Ready
                    }
                    PacketKind::Err => LoginPhase::Refused,
                    _ => LoginPhase::AuthResult {
                        we_may_speak: wants_auth_answer(head),
                    },
                }
            }
            _ => {
                if let Some(response) = self.exchanges.current_mut() {
                    response.step(head, self.capabilities)?;
                    self.status = response.status().unwrap_or(self.status);
                    if step.kind == PacketKind::Prepared
                        && self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES)
                    {
                        self.statements.get_or_insert_default().count(head);
                    }
                    if step.done {
                        self.exchanges.finish();
                    }
                }
            }
        }
        Ok(step)
    }

    /// Sets what the handshake offers: `offered` is masked, `really` is not.
    pub fn set_offered(&mut self, offered: Capabilities, really: Capabilities) {
        self.capabilities = offered;
        self.really_offered = really;
    }

    /// Sends the auth packet, which asks for these capabilities.
    ///
    /// # Errors
    /// There has been no handshake, or the login is under way.
    pub fn send_auth(&mut self, asked: Capabilities) -> Result<EventSet, String> {
        if self.phase != LoginPhase::Auth {
            return Err(self.forbids("an auth packet"));
        }
        self.capabilities = asked & self.really_offered;
        self.phase = LoginPhase::AuthResult {
            we_may_speak: false,
        };
        Ok(Event::ServerSendingOk.set())
    }

    /// Sends another round of authentication.
    ///
    /// # Errors
    /// The server did not ask for one.
    pub fn send_auth_data(&mut self) -> Result<EventSet, String> {
        match (self.phase, self.exchanges.current_mut()) {
            (LoginPhase::AuthResult { we_may_speak: true }, _) => {
                self.phase = LoginPhase::AuthResult {
                    we_may_speak: false,
                };
                Ok(EventSet::NONE)
            }
            (LoginPhase::Ready, Some(response)) if response.wants_auth() => {
                response.auth_answered();
                Ok(EventSet::NONE)
            }
            _ => Err(self.forbids("a round of authentication")),
        }
    }

    /// How many parameters one of its statements takes, if it takes attributes too.
    pub fn statement_params(&self, id: u32) -> Option<u16> {
        self.statements.as_ref()?.params(id)
    }

    /// Sends the command with this head, whose frames are numbered from 0.
    ///
    /// # Errors
    /// The login is not complete, or the server expects something else now.
    pub fn send_command(&mut self, head: Head<'_>) -> Result<EventSet, String> {
        let com = Com(head.first().unwrap_or_default());
        let takes_it_for_data = self.exchanges.current().is_some_and(|response| {
            response.wants_file() || response.wants_auth() || response.is_binlog()
        });
        if self.phase != LoginPhase::Ready || takes_it_for_data {
            return Err(self.forbids("a command"));
        }
        if let Some(statements) = &mut self.statements {
            statements.command(com, head.statement());
        }
        if com.expects_answer() {
            self.exchanges.push(com, head.statement(), 1);
        }
        Ok(Event::ServerGotCommand.set())
    }

    /// Sends a piece of the file that the server asked for; an empty piece ends it.
    ///
    /// # Errors
    /// It asked for none.
    pub fn send_data(&mut self, empty: bool) -> Result<EventSet, String> {
        let response = self.exchanges.current_mut();
        match response {
            Some(response) if response.wants_file() => {
                if empty {
                    response.file_complete();
                }
                Ok(EventSet::NONE)
            }
            // A replica's acknowledgement.
            Some(response) if response.is_binlog() => Ok(EventSet::NONE),
            _ => Err(self.forbids("data")),
        }
    }

    fn forbids(&self, what: &str) -> String {
        let state = match self.phase {
            LoginPhase::Greeting => "has not sent its handshake yet",
            LoginPhase::Auth => "waits for the auth packet",
            LoginPhase::AuthResult { .. } => "has not accepted the login yet",
            LoginPhase::Ready => match self.exchanges.current() {
                Some(response) => {
                    return format!(
                        "the server does not take {what} now: what is next is {}",
                        response.expects()
                    );
                }
                None => "waits for a command",
            },
            LoginPhase::Refused => "has refused the login",
        };
        format!("the server does not take {what} now: it {state}")
    }
}

fn step(kind: PacketKind, event: Event) -> Step {
    Step {
        kind,
        events: event.set(),
        synthesised: EventSet::NONE,
        done: true,
    }
}
