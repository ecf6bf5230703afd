//! Connections that go from one part of the layer above to another, such as from one script to the next. Sockets,
//! sessions and what is on its way stay as they are.

use std::rc::Rc;

use super::conn::{Conn, Course, Origin, Role, Socket};
use super::core::Core;
use super::sides::Stopped;
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::id::ConnId;
use crate::proxy::info::{ConnInfo, ConnKind};
use crate::proxy::options::Options;

impl Proxy {
    /// New connections belong to this part of the layer above. Clients of others are listed by
    /// [`take_rested`](Self::take_rested) when they are answered.
    pub fn set_present_owner(&self, owner: u32) {
        self.core().present_owner = owner;
    }

    /// The clients of others that were answered since this was called last.
    pub fn take_rested(&self) -> Vec<ConnId> {
        std::mem::take(&mut self.core().rested)
    }

    /// Whether a client that has logged in waits for nothing, nor the server that it is linked to for its client.
    pub fn is_at_rest(&self, client: ConnId) -> bool {
        let core = self.core();
        let Some(conn) = core.open(client) else {
            return false;
        };
        let rests = |id| core.open(id).is_some_and(Conn::is_at_rest);
        rests(client) && conn.peer.is_none_or(rests)
    }

    /// The open connections of this owner.
    pub fn owned_by(&self, owner: u32) -> Vec<Rc<ConnInfo>> {
        let core = self.core();
        let open = core.conns.iter().map(|(_, conn)| conn);
        let owned = open.filter(|conn| !conn.closing() && conn.info.owner.get() == owner);
        owned.map(|conn| conn.info.clone()).collect()
    }

    /// The listener that a client has come by, if it is open.
    pub fn listener_of(&self, client: ConnId) -> Option<ConnId> {
        let core = self.core();
        let listener = core.open(client)?.listener()?;
        core.open(listener).map(Conn::id)
    }

    /// Gives a connection to this owner. To whoever holds the information about it until now it is closed, for this
    /// reason; there is new information for the new owner. Returns the two.
    pub fn change_owner(
        &self,
        id: ConnId,
        owner: u32,
        reason: &str,
    ) -> Option<(Rc<ConnInfo>, Rc<ConnInfo>)> {
        let mut core = self.core();
        let conn = core.open_mut(id)?;
        let after = Rc::new((*conn.info).clone());
        after.owner.set(owner);
        let before = std::mem::replace(&mut conn.info, after.clone());
        before.closed.set(true);
        before.set_reason(reason);
        Some((before, after))
    }

    /// Undoes [`change_owner`](Self::change_owner), with the information that it has replaced.
    pub fn restore_owner(&self, before: &Rc<ConnInfo>) {
        if let Some(conn) = self.core().open_mut(before.id) {
            before.closed.set(false);
            conn.info.closed.set(true);
            conn.info = before.clone();
        }
    }

    /// A listener that will take the place of another one: it has its address, and no clients until
    /// [`succeed`](Self::succeed).
    ///
    /// # Errors
    /// The other one is closed, or is no listener.
    pub fn listen_after(
        &self,
        before: ConnId,
        options: Options,
    ) -> Result<Rc<ConnInfo>, ProxyError> {
        let core = &mut *self.core();
        let found = core.open(before).map(|conn| conn.info.clone());
        let info = found.filter(|info| info.kind.is_listener());
        let info = info.ok_or_else(|| ProxyError::Closed {
            id: before.serial(),
            reason: "it is no open listener".to_owned(),
        })?;
        let address = info.address();
        let failed = |source| ProxyError::Listen {
            address: address.to_string(),
            source,
        };
        let after = core
            .insert(
                info.kind,
                Role::Listener(Box::default()),
                Socket::None,
                Rc::new(options),
                (address.clone(), info.port.get()),
            )
            .map_err(failed)?;
        after.secure.set(info.secure.get());
        if let Some(tally) = info.tallies.place() {
            after.tallies.is(tally);
        }
        core.warn_of_listener(after.id);
        Ok(after)
    }

    /// One listener takes the place of another, with its socket and its clients, and the other closes. No client is
    /// refused meanwhile.
    pub fn succeed(&self, before: ConnId, after: ConnId) {
        let taken = {
            let core = &mut *self.core();
            let Some(conn) = core.open_mut(before) else {
                return;
            };
            let mut socket = std::mem::replace(&mut conn.socket, Socket::None);
            let state = match &mut conn.role {
                Role::Listener(state) => std::mem::take(state),
                Role::Client(_) | Role::Server(_) => return,
            };
            let paused = conn.read.stopped & Stopped::PAUSED;
            let registered = match &mut socket {
                Socket::Listening(listener) => core
                    .poller
                    .deregister(&mut **listener)
                    .and_then(|()| core.poller.register(&mut **listener, after.slot())),
                Socket::Joined(membership) => {
                    core.joined.insert(membership.key, after);
                    Ok(())
                }
                _ => Ok(()),
            };
            for (_, conn) in &mut core.conns {
                if conn.origin == Origin::Listener(before) {
                    conn.origin = Origin::Listener(after);
                }
            }
            if let Some(conn) = core.open_mut(after) {
                conn.socket = socket;
                conn.role = Role::Listener(state);
                conn.read.stopped.insert(paused);
                // The poller reports what has come before only once.
                conn.read.readable = true;
            }
            core.schedule(after);
            registered
        };
        if let Err(error) = taken {
            log::error!("listener {}: {error}", after.serial());
        }
        self.close_for(before, "another listener has taken its place");
    }

    /// A listener accepts no clients before [`open_listener`](Self::open_listener).
    pub fn close_listener_for_now(&self, id: ConnId) {
        if let Some(conn) = self.core().open_mut(id) {
            conn.read.stopped.insert(Stopped::NOT_YET);
        }
    }

    /// It accepts clients from now on.
    pub fn open_listener(&self, id: ConnId) {
        let mut core = self.core();
        if let Some(conn) = core.open_mut(id) {
            conn.read.stopped.remove(Stopped::NOT_YET);
        }
        core.schedule(id);
    }

    /// How many clients other owners have than the present one.
    pub fn clients_of_others(&self) -> usize {
        let core = self.core();
        let open = core.conns.iter().filter(|(_, conn)| !conn.closing());
        open.filter(|(_, conn)| {
            conn.info.kind == ConnKind::Client && conn.info.owner.get() != core.present_owner
        })
        .count()
    }

    /// How many clients this owner has.
    pub fn clients_of(&self, owner: u32) -> usize {
        let core = self.core();
        let open = core.conns.iter().filter(|(_, conn)| !conn.closing());
        open.filter(|(_, conn)| {
            conn.info.kind == ConnKind::Client && conn.info.owner.get() == owner
        })
        .count()
    }
}

impl Conn {
    /// Whether nothing is under way on it.
    fn is_at_rest(&self) -> bool {
        let is_passing = self.read.streaming.is_some() || self.write.inbound.is_some();
        self.logged_in() && self.idle() && self.course == Course::Followed && !is_passing
    }
}

impl Core {
    /// A client was answered.
    #[inline]
    pub fn note_rest(&mut self, client: ConnId) {
        let present = self.present_owner;
        if self
            .open(client)
            .is_some_and(|conn| conn.info.owner.get() != present)
        {
            self.rested.push(client);
        }
    }
}
