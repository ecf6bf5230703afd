//! Policies of a script's: who may keep a connection, and which server a command goes to. They are asked only if they
//! are given.

use super::Pools;
use super::opening::logged_in;
use crate::pool::above::{Above, Overrule, Policies};
use crate::pool::client::{Client, Phase};
use crate::pool::contents::{Pool, PoolId};
use crate::pool::judging::catalogue::Hides;
use crate::pool::judging::decision::foresee;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::waiters::{Waiter, Want};
use crate::proxy::{ConnId, Incoming, Packet, Proxy};
use crate::wire::{Com, ErrPacket};
use std::rc::Rc;

impl Client {
    /// What a script has said to its keeping the connection for this reason.
    pub(super) fn overruled_for(&self, reason: Reason) -> Option<Overrule> {
        let said = self.overruled.filter(|(of, _)| *of == reason);
        said.map(|(_, overrule)| overrule)
    }
}

/// The layer above, if it has this policy.
fn policy(pool: &Pool, policy: Policies) -> Option<Rc<dyn Above>> {
    pool.above
        .policies()
        .contains(policy)
        .then(|| pool.above.clone())
}

/// Why a client's statement would make it keep its connection, as far as its text tells, and that is news.
fn foreseen(client: &Client, pool: &Pool, sql: &[u8]) -> Option<Reason> {
    let snapshot = client.snapshot.as_ref().or(pool.snapshot.as_ref())?;
    let settings = &client.settings;
    let mode = settings.mode(snapshot);
    let key = client.line.key;
    // What the catalogue will tell, the answer shows in time.
    let hides = match pool.catalogues.is_unread(key) {
        true => Hides::NOTHING,
        false => pool.catalogues.hides(key, sql, mode, settings.schema()),
    };
    let mut blank = logged_in(snapshot.version());
    blank.begin_reports(snapshot.values().clone());
    let policy = pool.policy_for(client.line.key, Some(client));
    let reason = foresee(sql, &hides, blank, policy)?;
    let is_known = client.held.is_some() || client.overruled_for(reason).is_some();
    (!is_known).then_some(reason)
}

impl Pools {
    /// Refuses a client's command if a script wants that, or if the client has not been told yet that it has lost something.
    pub(super) fn is_overruled(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) -> bool {
        let expects = packet.command().is_some_and(Com::expects_answer);
        let given_up = self.clients.with(client, |(_, client)| match expects {
            true => client.given_up.take(),
            false => None,
        });
        if let Some(reason) = given_up.flatten() {
            let _ = proxy.send(client, Packet::Err(&given_up_for(reason)));
            return true;
        }
        let sql = match packet.command() {
            Some(Com::QUERY) => packet.sql(),
            Some(Com::STMT_PREPARE) => packet.payload.get(1..),
            _ => None,
        };
        let Some(sql) = sql else {
            return false;
        };
        let asked = self.with_client(client, |client, pool| {
            let above = policy(pool, Policies::ON_HOLD)?;
            Some((above, foreseen(client, pool, sql)?))
        });
        let Some((above, reason)) = asked.flatten() else {
            return false;
        };
        let overrule = above.on_hold(client, reason, sql);
        self.with_client(client, |client, pool| {
            if overrule == Overrule::Refuse {
                pool.counters.refused_holds += 1;
                pool.has_refused(reason, sql, &client.user);
            } else {
                client.overruled = Some((reason, overrule));
            }
        });
        if overrule != Overrule::Refuse {
            return false;
        }
        let message = format!(
            "{}: the pool's script refuses statements that keep a connection for this; {}",
            reason.name(),
            reason.advice()
        );
        let err = ErrPacket::new(1105, b"HY000", message);
        self.clients
            .with(client, |(_, client)| client.diagnostics.refused(&err));
        let _ = proxy.send(client, Packet::Err(&err));
        true
    }

    /// Asks a script what becomes of a client that is about to keep its connection, and notes that.
    pub(super) fn ask_on_hold(&self, client: ConnId, reason: Reason, sql: &[u8]) {
        let above = self.with_client(client, |_, pool| pool.above.clone());
        let Some(above) = above else {
            return;
        };
        let mut overrule = above.on_hold(client, reason, sql);
        if overrule == Overrule::Release && !reason.can_be_given_up() {
            log::warn!(
                "on_hold: what is held because of {} cannot be released: its client's statements would do something else",
                reason.name()
            );
            overrule = Overrule::Keep;
        }
        self.clients.with(client, |(_, client)| {
            client.overruled = Some((reason, overrule));
        });
    }

    /// A client loses what it would have kept its connection for, and is told so with its next command.
    pub(super) fn give_up_hold(
        &self,
        proxy: &Proxy,
        client: ConnId,
        reason: Reason,
        is_known: bool,
    ) {
        let Some(server) = proxy.peer(client) else {
            return;
        };
        self.with_client(client, |client, pool| {
            pool.counters.refused_holds += 1;
            client.held = None;
            client.overruled = None;
            client.given_up = Some(reason);
        });
        if is_known {
            return self.release(proxy, client, server);
        }
        // Its session could not be set up elsewhere.
        proxy.close_telling(
            client,
            &given_up_for(reason),
            "a script refuses that it keeps a connection",
        );
    }

    /// Which server a client's command goes to, if a script chooses among several.
    pub(super) fn choice(&self, client: ConnId, want: Want) -> Want {
        let asked = self.with_client(client, |client, pool| {
            client.chosen = None;
            if matches!(want, Want::Server(_)) {
                return None;
            }
            let above = policy(pool, Policies::CHOOSE)?;
            let mut candidates = pool.candidates(want);
            candidates.sort_unstable();
            let servers = candidates.iter().filter_map(|at| pool.servers.get(*at));
            let names: Vec<_> = servers.map(|server| server.name.clone()).collect();
            (names.len() > 1).then_some((above, candidates, names))
        });
        let Some((above, candidates, names)) = asked.flatten() else {
            return want;
        };
        let place = above.choose(client, &names);
        let Some(server) = place.and_then(|place| candidates.get(place)) else {
            return want;
        };
        self.clients
            .with(client, |(_, client)| client.chosen = Some(want));
        Want::Server(*server)
    }

    /// A server that scripts have chosen may be gone: the commands for it go wherever they could have gone.
    pub(super) fn forget_choices(&self, id: PoolId) {
        let chooses = self.with_pool(id, |pool| policy(pool, Policies::CHOOSE).is_some());
        if chooses != Some(true) {
            return;
        }
        let mut pools = self.pools.borrow_mut();
        let Some(pool) = pools.get_mut(id.0) else {
            return;
        };
        let mut homeless = Vec::new();
        self.clients.each(|conn, (of, client)| {
            let has_none = || pool.candidates(client.line.want).is_empty();
            if *of == id && client.chosen.is_some() && has_none() {
                homeless.push(conn);
            }
        });
        for conn in homeless {
            self.clients.with(conn, |(_, client)| {
                let Some(want) = client.chosen.take() else {
                    return;
                };
                client.line.want = want;
                if let Phase::Waiting(waiting) = &mut client.phase {
                    pool.queue.remove(waiting.line, conn);
                    waiting.line.want = want;
                    let waiter = Waiter {
                        client: conn,
                        since: waiting.since,
                        bytes: waiting.command.len(),
                    };
                    pool.queue.push_front(waiting.line, waiter);
                }
            });
        }
    }
}

fn given_up_for(reason: Reason) -> ErrPacket {
    let message = format!(
        "{}: the pool's script refuses that a connection is kept for this, and what the statement before has left is lost; {}",
        reason.name(),
        reason.advice()
    );
    ErrPacket::new(1105, b"HY000", message)
}
