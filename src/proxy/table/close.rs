//! The end of a connection, and its consequences for the linked one.

use std::time::Duration;

use super::conn::{Course, Life, Role};
use super::core::Core;
use super::sides::Stopped;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::session::Event;
use crate::wire::ErrPacket;

/// How long a closing connection may take to flush its queue.
const FLUSH: Duration = Duration::from_secs(5);

/// How long a server may take to answer a login that nobody goes on with.
const PARTING: Duration = Duration::from_secs(2);

/// Why a client closes whose server is gone before it could log in.
const LOGIN_CUT_SHORT: &str = "its server is gone before the login was over";

/// What happens to the other end.
enum Survivor {
    /// It stays open.
    Stays,
    /// It closes, too.
    Closes(&'static str),
    /// A client whose login cannot go on gets an ERR, and closes.
    IsRefused,
    /// A client that waits for an answer gets an ERR instead.
    IsTold,
}

impl Proxy {
    /// Closes a connection: reading stops and [`closing`](crate::proxy::Hooks::closing) is called at
    /// once; what is queued is flushed (5 s at most), then the socket closes. False if it was
    /// closed before.
    pub fn close(&self, id: ConnId, reason: &str) -> bool {
        self.shut(id, reason, false)
    }

    /// The script has no reference to the connection any more: it closes at the end of the tick.
    pub fn collected(&self, id: ConnId) {
        self.shut(id, "nothing in the script refers to it any more", true);
    }

    pub(crate) fn close_for(&self, id: ConnId, reason: &str) {
        self.shut(id, reason, false);
    }

    fn shut(&self, id: ConnId, reason: &str, collected: bool) -> bool {
        let info = {
            let mut core = self.core();
            let Some(conn) = core.open_mut(id) else {
                return false;
            };
            conn.life = Life::Closing;
            conn.info.closed.set(true);
            conn.info.set_reason(reason);
            conn.info.enter(Event::Closing);
            let info = conn.info.clone();
            if info.kind.is_listener() {
                // At once, not at the end of the tick as for others: whoever is told of the end
                // can listen on the same address. The slot stays taken until then.
                core.drop_socket(id);
                core.listeners_changed();
            }
            info
        };
        // Logged more prominently: a script that drops a reference by mistake would otherwise not
        // find out why the connection closed.
        let level = if collected {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(
            level,
            "connection {} ({:?} {}): closing: {reason}",
            id.serial,
            info.kind,
            info.address()
        );
        // The link can still be read while these run.
        self.telling(id, || self.tell_closing(&info, collected));

        let (peer, is_streaming) = {
            let mut core = self.core();
            let mut source = None;
            let is_streaming = core.get_mut(id).and_then(|conn| {
                conn.armed = crate::session::EventSet::NONE;
                source = conn.write.inbound.take().map(|inbound| inbound.from);
                conn.read
                    .streaming
                    .take()
                    .and_then(|streaming| streaming.to)
            });
            if let Some(conn) = source.and_then(|source| core.open_mut(source)) {
                // The rest of its packet is not wanted any more.
                conn.read.stopped.remove(Stopped::THROTTLED);
                let source = conn.id();
                core.schedule(source);
            }
            (core.get(id).and_then(|conn| conn.peer), is_streaming)
        };
        if let Some(receiver) = is_streaming {
            self.close_for(receiver, "its source died inside a packet");
        }
        if let Some(peer) = peer {
            let survivor = self.core().survivor(id, peer);
            let ends = self.core().dissolve(id, peer);
            if let Some((client, server)) = ends {
                self.telling(id, || self.tell_unlinked(client, server));
            }
            match survivor {
                Survivor::Stays => {}
                Survivor::Closes(why) => self.close_for(peer, why),
                Survivor::IsRefused => {
                    log::warn!(
                        "connection {}: there is no server for its login: {reason}",
                        peer.serial
                    );
                    let message = "The proxy cannot reach its server, or has lost it during the login; its log says why";
                    self.tell_client(peer, &ErrPacket::new(1105, b"08S01", message.into()));
                    self.close_for(peer, LOGIN_CUT_SHORT);
                }
                Survivor::IsTold => {
                    // Not 2013: MariaDB's client library takes an ERR numbered 2000 to 2999, which
                    // are the clients' own, for a malformed packet.
                    let message =
                        format!("Lost connection to MySQL server during query ({reason})");
                    self.fail_pending(peer, &ErrPacket::new(1105, b"08S01", message), reason);
                }
            }
        }
        self.core().retire(id);
        true
    }
}

impl Core {
    /// The rules of CONTRACT §3, "Death of one end".
    fn survivor(&mut self, dead: ConnId, peer: ConnId) -> Survivor {
        let Some(conn) = self.open(peer) else {
            return Survivor::Stays;
        };
        if conn.course == Course::Opaque {
            return Survivor::Closes("the other end of its opaque link is gone");
        }
        match &conn.role {
            // An ERR would cross its auth packet.
            Role::Client(session) if session.awaits_auth() => Survivor::Closes(LOGIN_CUT_SHORT),
            Role::Client(session) if !session.authenticated() => Survivor::IsRefused,
            Role::Client(session) => match session.response() {
                None => Survivor::Stays,
                Some(response) if response.started() => {
                    Survivor::Closes("its server is gone in the middle of an answer")
                }
                Some(_) => Survivor::IsTold,
            },
            Role::Server(session) => {
                if conn.passthrough() == Some(dead) || !session.authenticated() {
                    return Survivor::Closes("its client is gone");
                }
                let Some(response) = session.response() else {
                    return Survivor::Stays;
                };
                if response.wants_file() || response.wants_auth() || response.is_binlog() {
                    // The server waits for something that cannot come any more, or its answer would
                    // never end; and half a file must not be taken for a whole one.
                    return Survivor::Closes("its client is gone in the middle of an exchange");
                }
                self.discard_responses(peer, usize::MAX);
                Survivor::Stays
            }
            Role::Listener(_) => Survivor::Stays,
        }
    }

    /// A closing connection: its socket closes when its queue is empty.
    fn retire(&mut self, id: ConnId) {
        let Some(conn) = self.get_mut(id) else {
            return;
        };
        let input = conn.read.input.take();
        let listener = conn.listener();
        let ip = conn.counted_address();
        let is_client = matches!(conn.role, Role::Client(_));
        let is_server = matches!(conn.role, Role::Server(_));
        let info = conn.info.clone();
        if is_client {
            self.stats.clients = self.stats.clients.saturating_sub(1);
            self.worker.note_clients(self.stats.clients);
        } else if is_server {
            self.stats.servers = self.stats.servers.saturating_sub(1);
        } else {
            self.stats.listeners = self.stats.listeners.saturating_sub(1);
        }
        if is_client || is_server {
            info.tallies.leave();
        }
        self.arrived(id);
        if let Some(listener) = listener.and_then(|id| self.get_mut(id)?.listener_clients()) {
            listener.leave(ip);
        }
        // No packet may be in transit from or to it any more.
        if self.begin_parting(id, input) {
            self.set_deadline(id, PARTING);
            return;
        }
        let flushable = self.get_mut(id).is_some_and(|conn| {
            if conn.write.output.is_empty() {
                conn.finish_writing();
            }
            conn.unsent()
        });
        if flushable {
            self.set_deadline(id, FLUSH);
            self.touch(id);
        } else {
            self.finish(id);
        }
    }

    /// The connection has ended: it is freed at the end of the tick.
    pub fn finish(&mut self, id: ConnId) {
        self.set_deadline(id, Duration::ZERO);
        let Some(conn) = self.get_mut(id) else {
            return;
        };
        let timers = [
            conn.limits.set_idle(None),
            conn.limits.set_pace(None).map(|pace| pace.timer),
        ];
        if std::mem::replace(&mut conn.life, Life::Over) != Life::Over {
            self.finished.push(id);
        }
        for timer in timers.into_iter().flatten() {
            self.timers.remove(timer);
        }
    }
}
