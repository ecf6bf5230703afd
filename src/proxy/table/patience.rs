//! Time limits of logins, one inside the other.
//!
//! A client that logs in is closed after `handshake_timeout`. If it waits for a server meanwhile, the server
//! has to fail before that: then another can be tried, or the client be told. So what a server may take, to
//! connect, to greet, and where the proxy logs in at it, to accept the login, is never more than what the
//! client has left.

use std::time::{Duration, Instant};

use super::conn::Role;
use super::core::Core;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;

/// The share of a client's time that is kept for telling it that there is no server.
const RESERVE: u32 = 20;

impl Proxy {
    /// How much time a connection has left: to connect and log in, or to take what is queued when it closes. `None`
    /// if it has no such limit now.
    pub fn time_left(&self, id: ConnId) -> Option<Duration> {
        self.core().time_left(id)
    }

    /// Limits the rest of a connection's login, connecting included. False if it is logged in, or closed.
    pub fn limit_login(&self, id: ConnId, limit: Duration) -> bool {
        self.core().limit_login(id, limit)
    }
}

impl Core {
    fn time_left(&self, id: ConnId) -> Option<Duration> {
        let due = self.get(id)?.limits.deadline()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn limit_login(&mut self, id: ConnId, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let Some(conn) = self.open_mut(id) else {
            return false;
        };
        let Some(login) = &mut conn.login else {
            return false;
        };
        login.until = Some(until);
        // Other addresses of its name are to be tried, too.
        let shares = u32::try_from(login.candidates.len()).map_or(u32::MAX, |others| others + 1);
        let share = limit / shares;
        let left = self.time_left(id).map_or(share, |left| left.min(share));
        self.set_login_deadline(id, left);
        true
    }

    /// Sets the time limit of what a connection does next for its login (zero: none), within the limit of the whole.
    pub fn set_login_deadline(&mut self, id: ConnId, limit: Duration) {
        let whole = self.get(id).and_then(|conn| conn.login.as_ref()?.until);
        let Some(until) = whole else {
            self.set_deadline(id, limit);
            return;
        };
        let left = until.saturating_duration_since(Instant::now());
        let limit = match limit.is_zero() {
            true => left,
            false => limit.min(left),
        };
        // (Zero would be no limit.)
        self.set_deadline(id, limit.max(Duration::from_millis(1)));
    }

    /// A client waits for this server from now on.
    pub fn fit_in(&mut self, client: ConnId, server: ConnId) {
        if self.open(client).is_none_or(|conn| conn.authenticated()) {
            return;
        }
        let has_greeted = match self.open(server).map(|conn| &conn.role) {
            Some(Role::Server(session)) => session.greeted(),
            _ => return,
        };
        if has_greeted {
            self.login_passes_through(server);
        } else if let Some(left) = self.time_left(client) {
            self.limit_login(server, left - left / RESERVE);
        }
    }

    /// It is the client now who takes the time for this server's login.
    pub fn login_passes_through(&mut self, server: ConnId) {
        let Some(conn) = self.open_mut(server) else {
            return;
        };
        let shared = conn.login.as_mut().and_then(|login| login.until.take());
        if shared.is_some() {
            let limit = conn.limit_login();
            self.set_deadline(server, limit);
        }
    }
}
