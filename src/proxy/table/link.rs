//! Linking a client and a server.

use super::conn::{Course, Role};
use super::core::Core;
use super::sides::Stopped;
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::id::ConnId;
use crate::proxy::translate::translation::SERVER_INITIATIVE;

impl Proxy {
    /// Links a client and a server, whose idle links to others are dissolved first.
    ///
    /// # Errors
    /// One of them is closed or of the wrong kind, the server is in the middle of another client's
    /// exchange, only one of them is logged in, or they have negotiated capabilities that cannot be
    /// translated.
    pub fn link(&self, client: ConnId, server: ConnId) -> Result<(), ProxyError> {
        let refuse = |why: String| ProxyError::Link {
            client: client.serial(),
            server: server.serial(),
            why,
        };
        if self.core().peer(client) == Some(server) {
            return Ok(());
        }
        let others = self.core().check_link(client, server).map_err(refuse)?;
        for (client, server) in others {
            self.unlink_if_linked(client, server);
        }
        {
            let mut core = self.core();
            core.fit_in(client, server);
            for (id, peer) in [(client, server), (server, client)] {
                if let Some(conn) = core.open_mut(id) {
                    conn.peer = Some(peer);
                    conn.info.remote_id.set(peer.serial());
                }
                core.arrived(id);
                core.schedule(id);
            }
        }
        self.tell_linked(client, server);
        Ok(())
    }

    /// Unlinks the two.
    ///
    /// # Errors
    /// They are not linked.
    pub fn unlink(&self, client: ConnId, server: ConnId) -> Result<(), ProxyError> {
        if self.unlink_if_linked(client, server) {
            return Ok(());
        }
        Err(ProxyError::Link {
            client: client.serial(),
            server: server.serial(),
            why: "they are not linked to each other".into(),
        })
    }

    /// Unlinks the two (in either order) if they are linked; `remote_id` reads 0 from then on.
    pub(crate) fn unlink_if_linked(&self, a: ConnId, b: ConnId) -> bool {
        let ends = self.core().dissolve(a, b);
        let Some((client, server)) = ends else {
            return false;
        };
        {
            let core = self.core();
            for id in [client, server] {
                if let Some(conn) = core.get(id) {
                    conn.info.remote_id.set(0);
                }
            }
        }
        self.tell_unlinked(client, server);
        let opaque = self
            .core()
            .open(client)
            .is_some_and(|conn| conn.course == Course::Opaque);
        if opaque {
            // Neither end's bytes can be parsed any more.
            self.close_for(client, "its opaque link was undone");
            self.close_for(server, "its opaque link was undone");
        }
        true
    }
}

impl Core {
    /// Checks whether the two can be linked; returns the idle links that have to be dissolved
    /// first.
    fn check_link(&self, client: ConnId, server: ConnId) -> Result<Vec<(ConnId, ConnId)>, String> {
        let (Some(c), Some(s)) = (self.open(client), self.open(server)) else {
            return Err("one of them is closed".into());
        };
        let (Role::Client(c_session), Role::Server(s_session)) = (&c.role, &s.role) else {
            return Err("the first must be a client, the second a server".into());
        };
        if c_session.authenticated() != s_session.authenticated() {
            return Err("one of them is logged in and the other is not".into());
        }
        if c.course == Course::Opaque || s.course == Course::Opaque {
            return Err("the link of one of them has become opaque".into());
        }
        let mut others = Vec::new();
        if let Some(other) = s.peer {
            if !s_session.idle() {
                return Err(format!(
                    "the server is in the middle of an exchange of client {}",
                    other.serial
                ));
            }
            others.push((other, server));
        }
        if s.course == Course::Orphaned || s.read.discard > 0 {
            return Err("the server is in the middle of another client's exchange".into());
        }
        if let Some(other) = c.peer {
            let busy = self.open(other).is_some_and(|other| !other.idle());
            if busy && c_session.authenticated() {
                return Err(format!(
                    "the client is in the middle of an exchange with server {}",
                    other.serial
                ));
            }
            others.push((client, other));
        }
        if s_session.authenticated() {
            let unexpected =
                s_session.capabilities() & SERVER_INITIATIVE & !c_session.capabilities();
            if !unexpected.is_empty() {
                return Err(format!(
                    "the server was asked for {unexpected:?}, which the client does not understand"
                ));
            }
        }
        Ok(others)
    }

    /// Removes the link; returns its client and server.
    pub fn dissolve(&mut self, a: ConnId, b: ConnId) -> Option<(ConnId, ConnId)> {
        let (first, second) = self.pair_mut(a, b)?;
        if first.peer != Some(b) || second.peer != Some(a) {
            return None;
        }
        first.peer = None;
        second.peer = None;
        first.read.stopped.remove(Stopped::THROTTLED);
        second.read.stopped.remove(Stopped::THROTTLED);
        let (client, server) = match first.role {
            Role::Client(_) => (a, b),
            _ => (b, a),
        };
        if let Some(conn) = self.get_mut(server)
            && conn.authenticated()
            && !conn.idle()
        {
            conn.course = Course::Orphaned;
        }
        self.schedule(a);
        self.schedule(b);
        Some((client, server))
    }
}
