//! Tracks the sessions of servers, on the connections for which it is enabled.

use std::rc::Rc;

use crate::proxy::{
    ConnId, ConnInfo, ConnKind, Decoded, Incoming, Observer, Packet, PerConnection, Proxy, Shown,
    Verdict,
};
use crate::session::{Event, EventSet};
use crate::track::{Ending, Hidden, Login, Session};
use crate::wire::{Auth, Capabilities, Com};

/// Longer commands are not parsed, so their effects are unknown.
const MAX_COMMAND: usize = 1 << 20;

/// An observer that keeps a [`Session`] of each server connection that is
/// [tracked](Sessions::track). It only watches the packets that pass.
#[derive(Debug, Default)]
pub struct Sessions(PerConnection<Tracked>);

/// A connection to a server.
#[derive(Debug)]
struct Tracked {
    session: Session,
    hidden: Hidden,
    login: LoginStage,
    /// A command that is about to be sent on the connection.
    command: Option<(Com, Vec<u8>)>,
}

/// The progress of a login.
#[derive(Debug)]
enum LoginStage {
    Begun {
        version: Vec<u8>,
        auth: Option<Auth>,
    },
    Sent,
    Done,
}

impl Tracked {
    fn said(&mut self, com: Com, argument: &[u8]) {
        self.command = match argument.len() <= MAX_COMMAND {
            true => Some((com, argument.to_vec())),
            false if com.expects_answer() => None,
            false => Some((com, Vec::new())),
        };
    }

    /// The auth packet was sent on the connection.
    fn login_sent(&mut self, capabilities: Capabilities) {
        let LoginStage::Begun { version, auth } = &mut self.login else {
            return;
        };
        let version = std::mem::take(version);
        if let Some(auth) = auth.take() {
            let login = Login {
                version: &version,
                capabilities: auth.capabilities & capabilities,
                user: &auth.user,
                schema: auth.database.as_deref().unwrap_or_default(),
                collation: auth.character_set,
            };
            self.session = Session::new(&login, self.hidden);
        }
        self.login = LoginStage::Sent;
    }

    /// A result has ended.
    fn ended(&mut self, ending: Ending<'_>, is_last: bool) {
        match self.login {
            LoginStage::Begun { .. } => {}
            LoginStage::Sent => {
                self.login = LoginStage::Done;
                self.session.result(ending, true);
            }
            // An ERR that answers no command is about the connection.
            LoginStage::Done if self.session.is_idle() => {}
            LoginStage::Done => self.session.result(ending, is_last),
        }
    }

    /// Something happened on the connection.
    fn happened(&mut self, conn: &ConnInfo, event: Event, packet: Option<Incoming<'_>>) {
        match event {
            Event::ServerWaitAuth => {
                if let (
                    Some(Ok(Decoded::Handshake(handshake))),
                    LoginStage::Begun { version, .. },
                ) = (packet.map(|packet| packet.decode()), &mut self.login)
                {
                    *version = handshake.server_version;
                }
            }
            Event::ServerSendingOk => self.login_sent(conn.capabilities.get()),
            Event::ServerGotCommand => match self.command.take() {
                Some((com, argument)) => self.session.command(com, &argument),
                None => self.session.unseen_command(),
            },
            Event::ServerPrepared => {
                if let Some(Ok(Decoded::Prepared(ok))) = packet.map(|packet| packet.decode()) {
                    self.session.prepared(ok.statement_id);
                }
            }
            Event::ServerSendingEof => self.result(packet, false),
            Event::ServerWaitCommand | Event::ServerReceivedError => self.result(packet, true),
            _ => {}
        }
    }

    fn result(&mut self, packet: Option<Incoming<'_>>, is_last: bool) {
        match packet.map(|packet| packet.decode()) {
            Some(Ok(Decoded::Ok(ok))) => self.ended(
                Ending::Ok {
                    status: ok.status,
                    insert_id: ok.insert_id,
                    warnings: ok.warnings,
                    changes: ok.session_changes.as_deref(),
                },
                is_last,
            ),
            Some(Ok(Decoded::Eof(eof))) => {
                let (status, warnings) = (eof.status, eof.warnings);
                self.ended(Ending::Eof { status, warnings }, is_last);
            }
            Some(Ok(Decoded::Err(err))) => self.ended(Ending::Err(err.errnum), is_last),
            _ => self.ended(Ending::Other, is_last),
        }
    }
}

impl Sessions {
    /// None are tracked yet.
    pub fn new() -> Sessions {
        Sessions::default()
    }

    /// Starts tracking the session of this connection to a server. If it starts before the login,
    /// much is known; otherwise only what is sent from then on, and the schema if that is given.
    pub fn track(&self, proxy: &Proxy, server: &ConnInfo, hidden: Hidden, schema: Option<&[u8]>) {
        let login = match server.state.get() {
            None | Some(Event::ServerConnect | Event::ServerWaitAuth) => LoginStage::Begun {
                version: Vec::new(),
                auth: None,
            },
            // During its login, or after it.
            Some(_) => LoginStage::Done,
        };
        let mut session = Session::unknown(hidden);
        if let Some(schema) = schema {
            session.set_schema(schema);
        }
        let tracked = Tracked {
            session,
            hidden,
            login,
            command: None,
        };
        self.0.insert(server.id, tracked);
        self.rearm(proxy, server.id);
    }

    /// Forgets it.
    pub fn untrack(&self, proxy: &Proxy, server: ConnId) {
        self.0.remove(server);
        self.rearm(proxy, server);
    }

    /// Whether the session of this connection is followed.
    pub fn has(&self, server: ConnId) -> bool {
        self.0.has(server)
    }

    /// Calls `f` with the session of this connection, if it is tracked. `f` must not use `self`.
    pub fn with<R>(&self, server: ConnId, f: impl FnOnce(&Session) -> R) -> Option<R> {
        self.0.with(server, |tracked| f(&tracked.session))
    }

    fn rearm(&self, proxy: &Proxy, server: ConnId) {
        proxy.rearm(server);
        if let Some(client) = proxy.peer(server) {
            proxy.rearm(client);
        }
    }
}

impl Observer for Sessions {
    fn keeps(&self, _: &Proxy, conn: ConnId) -> Option<&'static str> {
        self.has(conn).then_some("its script follows its session")
    }

    fn wants(&self, proxy: &Proxy, conn: &Rc<ConnInfo>) -> EventSet {
        match conn.kind {
            ConnKind::Server if self.has(conn.id) => Event::ServerWaitAuth
                .set()
                .with(Event::ServerSendingOk.set())
                .with(Event::ServerGotCommand.set())
                .with(Event::ServerPrepared.set())
                .with(Event::ServerSendingEof.set())
                .with(Event::ServerWaitCommand.set())
                .with(Event::ServerReceivedError.set()),
            ConnKind::Client if proxy.peer(conn.id).is_some_and(|server| self.has(server)) => {
                Event::ClientWaiting
                    .set()
                    .with(Event::ClientSentCommand.set())
            }
            _ => EventSet::NONE,
        }
    }

    fn event(&self, _: &Proxy, shown: Shown<'_>) -> Verdict {
        let Shown {
            conn,
            event,
            packet,
            ..
        } = shown;
        if conn.kind == ConnKind::Server {
            self.0
                .with(conn.id, |tracked| tracked.happened(conn, event, packet));
        }
        Verdict::Forward
    }

    /// A client's command is forwarded to its server, or not.
    fn settled(&self, proxy: &Proxy, shown: Shown<'_>, verdict: Verdict) -> Verdict {
        let Shown { conn, packet, .. } = shown;
        if conn.kind != ConnKind::Client
            || !matches!(verdict, Verdict::Forward | Verdict::FlushDisconnect)
        {
            return verdict;
        }
        let (Some(server), Some(packet)) = (proxy.peer(conn.id), packet) else {
            return verdict;
        };
        self.0.with(server, |tracked| {
            if let (Some(com), Some(argument)) = (packet.command(), packet.payload.get(1..)) {
                tracked.said(com, packet.sql().unwrap_or(argument));
            } else if let (Ok(Decoded::Auth(said)), LoginStage::Begun { auth, .. }) =
                (packet.decode(), &mut tracked.login)
            {
                *auth = Some(said);
            }
        });
        verdict
    }

    /// A packet that a script or an observer has sent.
    fn sent(&self, _: &Proxy, conn: &Rc<ConnInfo>, packet: &Packet<'_>) {
        self.0.with(conn.id, |tracked| {
            if let Some((com, argument)) = packet.command() {
                tracked.said(com, argument);
            } else if let (Packet::Auth(said), LoginStage::Begun { auth, .. }) =
                (packet, &mut tracked.login)
            {
                *auth = Some((*said).clone());
            }
        });
    }

    fn closing(&self, _: &Proxy, conn: &Rc<ConnInfo>) {
        self.0.remove(conn.id);
    }
}
