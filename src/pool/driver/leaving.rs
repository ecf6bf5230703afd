//! A client or a server is gone.

use std::time::Instant;

use super::Pools;
use crate::pool::backend::{Then, Use};
use crate::pool::client::Phase;
use crate::pool::judging::decision::Return;
use crate::pool::lending::budget::Stage;
use crate::pool::state::Settings;
use crate::proxy::{ConnId, Proxy};

impl Pools {
    /// A client closes.
    pub(super) fn client_left(&self, proxy: &Proxy, client: ConnId) {
        let Some((id, gone)) = self.clients.remove(client) else {
            return;
        };
        if self.awaited.borrow().contains_key(&client) {
            self.note_news();
        }
        if let Some(server) = gone.leaving {
            self.keeps_nothing_of(server, client);
        }
        if let Phase::Waiting(waiting) = &gone.phase {
            self.with_pool(id, |pool| pool.queue.remove(waiting.line, client));
        }
        // A connection that is being made ready for it finds nobody, and goes back.
        if let Some(server) = proxy.last_peer(client) {
            self.leave(proxy, client, server);
        }
    }

    /// A client leaves the connection that it is linked to.
    fn leave(&self, proxy: &Proxy, client: ConnId, server: ConnId) {
        let is_its = self.backends.with(server, |(_, backend)| {
            let is_its = backend.owner == Some(client);
            if is_its {
                backend.owner = None;
            }
            is_its
        });
        if is_its != Some(true) {
            return;
        }
        if proxy.answering(server).is_none() {
            self.forget_statements(proxy, client, server);
        }
        self.take_off_the_shelf(server);
        self.agenda.borrow_mut().left.push(server);
    }

    /// A client gives its connection back, and stays.
    pub(super) fn release(&self, proxy: &Proxy, client: ConnId, server: ConnId) {
        self.leave(proxy, client, server);
        let _ = proxy.unlink(client, server);
    }

    /// What is being read of this connection for its last client is of no use to that one any more: its session has ended,
    /// or begins anew.
    pub(super) fn keeps_nothing_of(&self, server: ConnId, client: ConnId) {
        self.backends.with(server, |(_, backend)| {
            let is_read = matches!(&backend.used, Use::Errand(..));
            if is_read && backend.owner == Some(client) {
                backend.owner = None;
            }
        });
    }

    /// A connection that is free is not any more.
    pub(super) fn take_off_the_shelf(&self, server: ConnId) {
        self.with_backend(server, |backend, pool| {
            if let Use::Free(place) = backend.used
                && let Some(of) = pool.servers.get_mut(backend.server)
            {
                of.shelf.remove(place);
            }
            backend.used = Use::Moving;
        });
    }

    /// Tells the server to end the statement that is executed on this connection.
    fn kill(&self, server: ConnId) {
        let what = self.with_backend(server, |backend, pool| {
            let key = pool.keys.get(backend.key)?.clone();
            let name = pool.servers.get(backend.server)?.name.clone();
            Some((pool.above.clone(), name, key, backend.thread_id))
        });
        if let Some((above, server, key, thread_id)) = what.flatten() {
            above.kill(&server, &key, thread_id);
        }
    }

    /// Whether a client's statement is executed although the client has left: it would keep its locks.
    fn runs_on(&self, proxy: &Proxy, server: ConnId) -> bool {
        let was_lent = self.backends.with(server, |(_, backend)| {
            matches!(backend.used, Use::Moving | Use::Lent)
        });
        was_lent == Some(true) && proxy.answering(server).is_some()
    }

    /// A connection that its client has left can be used by others, or is made so.
    pub(super) fn left(&self, proxy: &Proxy, server: ConnId) {
        if proxy.peer(server).is_some() || proxy.info(server).is_none() {
            return;
        }
        if self.runs_on(proxy, server) {
            self.kill(server);
            proxy.close(server, "its client is gone in the middle of a command");
            return;
        }
        let returned = self.with_backend(server, |backend, pool| {
            if !matches!(backend.used, Use::Moving | Use::Lent) || backend.pins > 0 {
                return None;
            }
            let is_known = super::lend::know(backend, pool).is_ok()
                || backend.snapshot.as_ref().is_some_and(|snapshot| {
                    Settings::left_behind(&backend.session, snapshot).is_some()
                });
            Some(
                match Return::of(&backend.session, backend.ongoing(), pool.policy) {
                    Return::AsItIs if !is_known => Return::Reset,
                    other => other,
                },
            )
        });
        match returned.flatten() {
            None => {}
            Some(Return::AsItIs) => self.back_on_the_shelf(server),
            Some(Return::Reset) => self.reset(proxy, server),
            Some(Return::Close) => {
                self.with_backend(server, |_, pool| pool.counters.closed_unclean += 1);
                proxy.close(server, "its session has what a reset would leave behind");
            }
        }
    }

    /// A connection to a server closes.
    pub(super) fn server_died(&self, proxy: &Proxy, server: ConnId) {
        self.take_off_the_shelf(server);
        self.listen_again(proxy, server, proxy.last_peer(server));
        let has_variables = self.has_unread_user_variables(server);
        let Some((id, mut backend)) = self.backends.remove(server) else {
            return;
        };
        // What is on that connection alone is gone with it.
        let is_loss = has_variables || backend.is_unread;
        self.agenda.borrow_mut().errands.remove(&server);
        self.with_pool(id, |pool| {
            if let Some(of) = pool.servers.get_mut(backend.server) {
                of.shelf.lost(match backend.is_ready {
                    true => Stage::Open,
                    false => Stage::Opening,
                });
                if !backend.is_ready {
                    of.has_failed(Instant::now());
                }
            }
            pool.counters.died += 1;
            pool.users.charge(&mut backend.charged, None);
        });
        // Another may be opened for those who wait.
        self.note_news();
        if let Use::Errand(_, Then::Read(_)) = &backend.used {
            self.reading_was_interrupted(proxy, id, backend.key);
        }
        if let Use::Errand(_, then) = &backend.used {
            if let Some(to) = then.client() {
                self.try_again(proxy, to, None);
            }
            if let Some(owner) = backend.owner.filter(|_| then.reads_session()) {
                self.session_is_lost(owner);
            }
        }
        let Some(client) = backend
            .owner
            .filter(|_| proxy.last_peer(server) == backend.owner)
        else {
            return;
        };
        self.clients.with(client, |(_, client)| {
            if let Some(prepared) = &mut client.prepared {
                prepared.statements.interrupted();
            }
        });
        let waits = self
            .clients
            .with(client, |(_, client)| !matches!(client.phase, Phase::Served));
        if waits == Some(true) {
            // Its command has not been sent.
            let _ = proxy.unlink(client, server);
        } else if proxy.answering(client).is_some() {
            let may_repeat = !is_loss;
            self.died_under(proxy, client, server, &backend, may_repeat);
        }
        let is_held = self
            .clients
            .with(client, |(_, client)| client.held.take().is_some());
        if is_held == Some(true) || is_loss {
            self.agenda.borrow_mut().bereaved.push(client);
        }
    }
}
