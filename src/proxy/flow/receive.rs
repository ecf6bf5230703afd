//! Receives a complete packet: steps the session of its connection.

use std::borrow::Cow;

use super::flaws::Flaw;
use crate::proxy::id::ConnId;
use crate::proxy::login::login_relay::LoginRelay;
use crate::proxy::login::negotiation;
use crate::proxy::login::tls;
use crate::proxy::table::conn::{Conn, Course, Role};
use crate::proxy::table::core::Core;
use crate::proxy::table::received::{Received, Refusal};
use crate::session::{Event, EventSet, Head, PacketKind, Response};
use crate::wire::frame::MAX_PAYLOAD;
use crate::wire::{Capabilities, Com, SslRequest, Status};

impl Core {
    /// Steps the session with a complete packet.
    pub(crate) fn receive<'a>(
        &mut self,
        id: ConnId,
        seq: u8,
        payload: &'a [u8],
    ) -> Result<Received<'a>, Refusal> {
        let head = Head {
            seq,
            ..Head::of(payload)
        };
        self.stats.packets += 1;
        let Some(conn) = self.open(id) else {
            return Err("closed".to_string().into());
        };
        let flaw = match &conn.role {
            Role::Client(session) if session.awaits_command() => self.flaw(id, payload),
            _ => None,
        };
        // Servers answer it although it would otherwise have no answer.
        let head = match flaw {
            Some(Flaw::Malformed) => Head {
                bytes: &[Com::SLEEP.0],
                ..head
            },
            _ => head,
        };
        let Some(conn) = self.open_mut(id) else {
            return Err("closed".to_string().into());
        };
        let info = conn.info.clone();
        let passthrough =
            conn.peer.is_some() && (conn.passthrough() == conn.peer || !conn.authenticated());
        let discard = conn.read.discard > 0;
        let frames = u8::try_from(payload.len() / MAX_PAYLOAD).unwrap_or_default();
        let mut unsolicited = false;
        let mut answers = None;
        let mut statement = None;
        let mut status = Status::AUTOCOMMIT;
        let mut out_params = false;
        let mut payload = Cow::Borrowed(payload);
        let step = match &mut conn.role {
            Role::Client(session) => session.receive(head),
            Role::Server(session) => {
                unsolicited = session.unsolicited();
                answers = session.response().map(|response| response.com());
                statement = session.response().and_then(Response::statement);
                out_params = session.response().is_some_and(|r| r.is_of_out_params());
                let step = session.receive(head);
                status = session.status();
                step
            }
            Role::Listener(_) => return Err("a listener sends nothing".to_string().into()),
        };
        let mut step = step.map_err(|violation| violation.to_string())?;
        info.count(step.kind, head);
        match &conn.role {
            Role::Client(_) if step.kind == PacketKind::Command => {
                info.tallies.command(head.first().unwrap_or_default());
            }
            Role::Server(_) if step.kind == PacketKind::Err => info.tallies.error(&payload),
            _ => {}
        }
        match (step.kind, &mut conn.role) {
            (PacketKind::Handshake, Role::Server(session)) => {
                let offer = negotiation::read_handshake(&payload)?;
                session.set_offered(offer.followed, offer.really);
                payload = Cow::Owned(offer.payload);
                conn.relay = Some(Box::new(LoginRelay::greeted(&payload)?));
                let offered = offer.really.contains(Capabilities::SSL);
                if let Some(login) = &mut conn.login {
                    login.tls = tls::decide(login.tls.take(), offered)?;
                    if login.tls.is_some() {
                        // Only the request for TLS goes over it in clear.
                        info.secure.set(true);
                    }
                }
            }
            (PacketKind::Auth, Role::Client(session)) => {
                if let Some(tls) = &conn.options.tls_server
                    && tls.required()
                    && !info.secure.get()
                {
                    return Err(tls::insecure());
                }
                if SslRequest::matches(&payload) {
                    let why = "the client demands TLS, which it was not offered here";
                    return Err(negotiation::bad_handshake(why.into()));
                }
                let asked = negotiation::read_auth(&payload, session.capabilities())?;
                session.negotiate(asked.capabilities);
                let relay = conn.relay.get_or_insert_default();
                relay.named(asked.plugin.as_deref());
                if let Some(login) = &mut conn.login {
                    login.zstd_level = asked.zstd_level;
                }
                info.tallies.wants_user(&asked.user);
                payload = Cow::Owned(asked.payload);
            }
            (PacketKind::AuthData, Role::Client(_)) => {
                conn.relay.get_or_insert_default().answered();
            }
            (PacketKind::AuthData, Role::Server(_)) => {
                conn.relay.get_or_insert_default().told(&payload);
            }
            (PacketKind::Command, _) if head.first() == Some(Com::CHANGE_USER.0) => {
                let relay = conn.relay.get_or_insert_default();
                let argument = payload.get(1..).unwrap_or_default();
                relay.changes_user(argument);
                let user = argument.split(|byte| *byte == 0).next();
                info.tallies.wants_user(user.unwrap_or_default());
            }
            _ => {}
        }
        let numbering = conn.numbering(step.kind, seq.wrapping_sub(frames), seq);
        let capabilities = conn.capabilities();
        info.capabilities.set(capabilities);
        if step.kind == PacketKind::Handshake && self.peer(id).is_some() {
            self.login_passes_through(id);
        }
        self.check_login(id);
        if step.kind == PacketKind::Command {
            self.stats.commands += 1;
        }
        if discard {
            // Only its end fires events.
            let ends = match conn_owes(self.get(id)) {
                true => EventSet::NONE,
                false => Event::ServerWaitCommand
                    .set()
                    .with(Event::ServerReceivedError.set()),
            };
            step.events = step.events.and(ends);
            step.synthesised = step.synthesised.and(ends);
        }
        if step.done
            && let Some(conn) = self.open_mut(id)
        {
            conn.read.discard = conn.read.discard.saturating_sub(1);
            if conn.idle() && conn.course == Course::Orphaned {
                conn.course = Course::Followed;
            }
        }
        Ok(Received {
            info,
            numbering,
            answers,
            statement,
            status,
            out_params,
            step,
            payload,
            capabilities,
            unsolicited: unsolicited && step.kind == PacketKind::Err,
            passthrough,
            discard,
            flaw,
        })
    }

    /// Whether all of a client's commands have been answered.
    pub(crate) fn has_been_answered(&self, id: ConnId) -> bool {
        self.open(id).is_some_and(Conn::idle)
    }

    /// Drops this many of the server's responses, from the current one on.
    pub fn discard_responses(&mut self, id: ConnId, most: usize) {
        if let Some(conn) = self.open_mut(id)
            && let Role::Server(session) = &conn.role
        {
            conn.read.discard = u16::try_from(session.outstanding().min(most)).unwrap_or(u16::MAX);
        }
    }

    /// After the login its time limit is lifted, and the idle time-out begins.
    pub fn check_login(&mut self, id: ConnId) {
        if let Some(conn) = self.open_mut(id)
            && conn.authenticated()
            && !conn.logged_in()
        {
            self.arrived(id);
            self.compress(id);
            if let Some(conn) = self.open_mut(id) {
                conn.login = None;
            }
            self.set_deadline(id, std::time::Duration::ZERO);
            self.watch_idle(id);
        }
        self.check_change(id);
    }

    /// During a COM_CHANGE_USER the time limit of logins applies again, since no other client can
    /// use the server while this one is silent.
    pub fn check_change(&mut self, id: ConnId) {
        let Some(conn) = self.open_mut(id).filter(|conn| conn.logged_in()) else {
            return;
        };
        let changes = conn.changes_user();
        if conn.limits.has_deadline() != changes {
            let limit = match changes {
                true => conn.options.handshake_timeout,
                false => std::time::Duration::ZERO,
            };
            self.set_deadline(id, limit);
        }
    }
}

/// Whether responses are still to be dropped.
fn conn_owes(conn: Option<&Conn>) -> bool {
    conn.is_some_and(|conn| conn.read.discard > 1)
}
