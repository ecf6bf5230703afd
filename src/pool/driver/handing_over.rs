//! A connection goes from its last client to the next: what was read of the session stays with the one, what the other
//! needs was set.

use std::time::Instant;

use super::Pools;
use super::lend::{Lent, know};
use crate::pool::backend::{Next, Then, Use};
use crate::pool::client::{Phase, Waiting};
use crate::pool::errand::Answer;
use crate::pool::judging::decision::{Decision, decide};
use crate::pool::lending::budget::Claim;
use crate::pool::lending::waiters::Want;
use crate::pool::routing::causal::LastWrite;
use crate::pool::state::Unknown;
use crate::proxy::{ConnId, Proxy};
use crate::track::Traces;

/// How often something more may be read of a session.
const MAX_ROUNDS: u8 = 2;

const STILL_UNKNOWN: &str = "what they have read does not tell what its session is like";

/// What has become of a connection whose last client's session was read.
enum Parting {
    /// Its last client has no part in it any more.
    Done,
    /// Its last client must keep it.
    Stays,
    /// Still not all is known.
    Unknown,
}

impl Pools {
    /// Takes what was read of a session. Whether all is known now; if there is more to be read, which
    /// may turn out only after an error was reported, that is asked for.
    pub(super) fn learnt(
        &self,
        proxy: &Proxy,
        server: ConnId,
        unknown: &Unknown,
        rounds: u8,
        answers: &[Answer],
        again: impl FnOnce(Unknown, u8) -> Then,
    ) -> bool {
        let more = self.with_backend(server, |backend, pool| {
            let snapshot = backend.snapshot.clone()?;
            let rows: Vec<_> = answers.iter().map(|answer| answer.rows.clone()).collect();
            unknown.learn(&mut backend.session, &snapshot, &rows);
            let more = know(backend, pool).err()?;
            let is_over = more.is_unreadable() || rounds >= MAX_ROUNDS;
            (!is_over).then(|| (backend.ask(&more), more))
        });
        let Some((commands, unknown)) = more.flatten() else {
            return true;
        };
        self.run(proxy, server, commands, again(unknown, rounds + 1));
        false
    }

    /// What was unknown of a session is known; what its client needs was read.
    pub(super) fn carried(&self, proxy: &Proxy, server: ConnId, to: Option<ConnId>) {
        if self.has_unread_user_variables(server) {
            let next = to.map_or(Next::Part, Next::Lend);
            return self.read_user_variables(proxy, server, next);
        }
        match self.parts_from_owner(proxy, server) {
            Parting::Done => {
                // Its next command may have come meanwhile.
                self.note_news();
                match to {
                    Some(to) => self.goes_to(proxy, server, to),
                    None => self.back_on_the_shelf(server),
                }
                return;
            }
            Parting::Unknown => self.failed_on(proxy, server, STILL_UNKNOWN),
            Parting::Stays => {}
        }
        if let Some(to) = to {
            self.try_again(proxy, to, None);
        }
    }

    /// The same of one that is to be closed. Whether it is closed now.
    pub(super) fn saved(&self, proxy: &Proxy, server: ConnId, why: &'static str) -> bool {
        if self.has_unread_user_variables(server) {
            self.read_user_variables(proxy, server, Next::Close(why));
            return false;
        }
        match self.parts_from_owner(proxy, server) {
            Parting::Done => {
                self.note_news();
                self.part_with(proxy, server, why);
                return true;
            }
            Parting::Unknown => self.failed_on(proxy, server, STILL_UNKNOWN),
            Parting::Stays => {}
        }
        false
    }

    /// The last client of a connection keeps what is known of its session, and leaves the connection to
    /// others; or it turns out that it must stay.
    fn parts_from_owner(&self, proxy: &Proxy, server: ConnId) -> Parting {
        let found = self.with_backend(server, |backend, pool| {
            let is_known = know(backend, pool)
                .inspect_err(|unknown| log::debug!("not known after it was read: {unknown:?}"))
                .is_ok();
            let decision = match backend.is_released {
                true => Decision::Share,
                false => {
                    let policy = self.policy_of(backend, pool);
                    decide(&backend.session, backend.ongoing(), policy)
                }
            };
            (is_known, decision, backend.owner)
        });
        let Some((is_known, decision, owner)) = found else {
            return Parting::Unknown;
        };
        let owner = owner.filter(|owner| self.clients.has(*owner));
        // Also if the reading itself was the first use of a transaction, whose session cannot be put elsewhere.
        if let (Some(owner), Decision::Hold(_)) = (owner, decision) {
            self.stays(proxy, server, owner);
            return Parting::Stays;
        }
        if !is_known {
            self.owner_is_lost(server);
            return Parting::Unknown;
        }
        self.backends.with(server, |(_, backend)| {
            (backend.owner, backend.is_unread) = (None, false);
            if let Some(owner) = owner {
                self.clients
                    .with(owner, |(_, client)| super::lend::carry(backend, client));
            }
        });
        Parting::Done
    }

    pub(super) fn owner_is_lost(&self, server: ConnId) {
        let owner = self.backends.with(server, |(_, backend)| backend.owner);
        if let Some(owner) = owner.flatten() {
            self.session_is_lost(owner);
        }
    }

    /// What the session of this client consists of cannot be found out any more: the client is told as
    /// its own server would, by a closed connection.
    pub(super) fn session_is_lost(&self, client: ConnId) {
        if self.clients.has(client) {
            self.agenda.borrow_mut().bereaved.push(client);
        }
    }

    /// The diagnostics of its last client were read.
    pub(super) fn told(
        &self,
        proxy: &Proxy,
        server: ConnId,
        to: Option<ConnId>,
        answers: &[Answer],
    ) {
        self.read_diagnostics(server, answers);
        self.note_news();
        // The answers may have told what else was unknown: that must not be lost with the connection.
        let is_known = self.with_backend(server, |backend, pool| know(backend, pool).is_ok());
        match to {
            Some(to) if is_known != Some(true) => self.goes_to(proxy, server, to),
            Some(to) => self.carried(proxy, server, Some(to)),
            None => self.part(proxy, server),
        }
    }

    /// A connection of whose last client more is known than before goes to this one.
    pub(super) fn goes_to(&self, proxy: &Proxy, server: ConnId, to: ConnId) {
        let Some(waiting) = self.take_arranging(to) else {
            // Nobody needs it any more. Its last client may still have something unread on it.
            let owner = self.backends.with(server, |(_, backend)| backend.owner);
            match owner.flatten().filter(|owner| self.clients.has(*owner)) {
                Some(owner) => self.stays(proxy, server, owner),
                None => self.back_on_the_shelf(server),
            }
            return;
        };
        let command = waiting.command.clone();
        match self.hand_over(proxy, server, to, waiting) {
            Lent::Linked => {
                self.show_command(proxy, to, &command);
            }
            Lent::No(waiting) => self.wait_again(to, waiting),
            Lent::Arranging | Lent::Closed => {}
        }
    }

    /// A connection has waited for a write that its next client has to see.
    pub(super) fn waited(
        &self,
        proxy: &Proxy,
        server: ConnId,
        to: ConnId,
        write: LastWrite,
        in_time: bool,
    ) {
        self.backends.with(server, |(_, backend)| {
            if in_time {
                backend.reached = write;
            }
        });
        let Some(mut waiting) = self.take_arranging(to) else {
            self.back_on_the_shelf(server);
            return;
        };
        if in_time {
            let command = waiting.command.clone();
            match self.hand_over(proxy, server, to, waiting) {
                Lent::Linked => {
                    proxy.show_again(to, &command);
                }
                Lent::No(waiting) => self.wait_again(to, waiting),
                Lent::Arranging | Lent::Closed => {}
            }
            return;
        }
        self.back_on_the_shelf(server);
        // The primary is sure to have it.
        waiting.line.want = Want::Primary;
        self.with_client(to, |client, pool| {
            client.line.want = Want::Primary;
            pool.counters.waited_in_vain += 1;
        });
        self.wait_again(to, waiting);
    }

    /// What was read has shown that a client must keep its connection.
    pub(super) fn stays(&self, proxy: &Proxy, server: ConnId, owner: ConnId) {
        // Its next command may have come meanwhile.
        let waiting = self.with_client(owner, |client, pool| {
            match std::mem::replace(&mut client.phase, Phase::Served) {
                Phase::Waiting(waiting) => {
                    pool.queue.remove(waiting.line, owner);
                    Some(waiting)
                }
                other => {
                    client.phase = other;
                    None
                }
            }
        });
        if let Lent::Linked = self.link(proxy, server, owner) {
            match waiting.flatten() {
                Some(waiting) => self.show_command(proxy, owner, &waiting.command),
                None => self.served(proxy, owner),
            }
        }
    }

    /// A connection is set up for a client.
    pub(super) fn set_up(&self, proxy: &Proxy, server: ConnId, to: ConnId) {
        let wanted = self.clients.with(to, |(_, client)| {
            (client.settings.clone(), client.user_variables.clone())
        });
        let is_known = self.with_backend(server, |backend, pool| {
            if let Some((wanted, variables)) = wanted {
                wanted.were_put_on(&mut backend.session);
                backend.session.were_read(Traces::USER_VARIABLES);
                backend.user_variables = variables;
            }
            know(backend, pool)
                .inspect_err(|unknown| log::debug!("not known after it was set: {unknown:?}"))
                .is_ok()
        });
        if is_known != Some(true) {
            self.failed_on(proxy, server, STILL_UNKNOWN);
            self.try_again(proxy, to, None);
            return;
        }
        let Some(waiting) = self.take_arranging(to) else {
            self.back_on_the_shelf(server);
            return;
        };
        if let Lent::Linked = self.link(proxy, server, to) {
            self.show_command(proxy, to, &waiting.command);
        }
    }

    pub(super) fn take_arranging(&self, client: ConnId) -> Option<Waiting> {
        let waiting = self.clients.with(client, |(_, client)| {
            match std::mem::replace(&mut client.phase, Phase::Served) {
                Phase::Arranging(waiting) => Some(*waiting),
                other => {
                    client.phase = other;
                    None
                }
            }
        });
        waiting.flatten()
    }

    /// A connection whose session is known is free for anybody.
    pub(super) fn back_on_the_shelf(&self, server: ConnId) {
        self.with_backend(server, |backend, pool| {
            backend.owner = None;
            pool.users.charge(&mut backend.charged, None);
            let Some(of) = pool.servers.get_mut(backend.server) else {
                return;
            };
            let place = of
                .shelf
                .put(server, backend.key, Claim::None, Instant::now());
            backend.used = Use::Free(place);
        });
        self.note_news();
    }
}
