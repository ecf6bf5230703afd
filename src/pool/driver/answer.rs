//! A client's command is answered.

use std::time::Instant;

use super::Pools;
use super::diagnostics::ongoing;
use super::lend::{carry, know};
use crate::pool::above::{Overrule, Policies};
use crate::pool::backend::{Backend, Use};
use crate::pool::client::{Client, Held};
use crate::pool::contents::Pool;
use crate::pool::judging::decision::{Decision, Ongoing, decide};
use crate::pool::judging::reason::Reason;
use crate::pool::lending::budget::Claim;
use crate::pool::state::Settings;
use crate::proxy::{ConnId, Proxy};
use crate::track::Traces;

/// How much of a statement is kept that makes its client keep a connection.
const KEPT_OF_STATEMENT: usize = 1024;

impl Pools {
    /// A server has answered its last command. If its client has all of the answer already, as when that was a
    /// single packet with the client's own id of a statement in it, nothing else ends the command.
    pub(super) fn answered(&self, proxy: &Proxy, server: ConnId) {
        let has_answer = |client: &ConnId| proxy.answering(*client).is_none();
        if let Some(client) = proxy.peer(server).filter(has_answer) {
            self.served(proxy, client);
        }
    }

    /// A client's command is answered: its connection is free for others, or the client keeps it.
    pub(super) fn served(&self, proxy: &Proxy, client: ConnId) {
        self.keep_or_share(proxy, client, Ongoing::empty());
    }

    /// The same, but this is no reason to keep it any more.
    pub(super) fn keep_or_share(&self, proxy: &Proxy, client: ConnId, over: Ongoing) {
        match self.share_or_hold(proxy, client, over) {
            Served::Nothing => {}
            Served::Free => self.note_news(),
            Served::Asks(reason, sql) => {
                self.ask_on_hold(client, reason, &sql);
                self.keep_or_share(proxy, client, over);
            }
            Served::GivesUp(reason, is_known) => {
                self.give_up_hold(proxy, client, reason, is_known);
            }
        }
    }

    fn share_or_hold(&self, proxy: &Proxy, client: ConnId, over: Ongoing) -> Served {
        let Some(server) = proxy.peer(client) else {
            return Served::Nothing;
        };
        let mut pools = self.pools.borrow_mut();
        let is_free = self.backends.with(server, |(id, backend)| {
            let pool = pools.get_mut(id.0)?;
            if backend.owner != Some(client) || !matches!(backend.used, Use::Lent) {
                return None;
            }
            if !backend.session.is_idle() {
                return None; // until the end of the server's answer has been looked at
            }
            backend.is_unread = know(backend, pool).is_err();
            self.clients.with(client, |(_, client_of)| {
                (client_of.asked, client_of.retries) = (None, 0);
                client_of.has_read = false;
                if backend.pins > 0 {
                    return None; // until the server has answered the KILL
                }
                let before = client_of.settings.clone();
                carry(backend, client_of);
                client_of.idle.answered(&before, &client_of.settings);
                Pools::note_write(client_of, backend, pool);
                let ongoing =
                    backend.ongoing() | client_of.ongoing() | ongoing(backend, client_of, pool);
                let policy = pool.policy_for(backend.key, Some(client_of));
                let decision = decide(&backend.session, ongoing - over, policy);
                let overruled = match decision {
                    Decision::Hold(reason) if asks(pool) => match client_of.overruled_for(reason) {
                        None => {
                            let sql = client_of.executed(backend).to_vec();
                            return Some(Served::Asks(reason, sql));
                        }
                        Some(Overrule::Refuse) => {
                            let is_known = keeps_settings(backend, client_of, pool);
                            return Some(Served::GivesUp(reason, is_known));
                        }
                        Some(overrule) => overrule,
                    },
                    _ => Overrule::Keep,
                };
                backend.is_released = overruled == Overrule::Release;
                match decision {
                    Decision::Hold(reason) if !backend.is_released => {
                        if let Some(held) = &mut client_of.held {
                            held.answered = Instant::now();
                        }
                        let is_new = client_of
                            .held
                            .as_ref()
                            .is_none_or(|held| held.reason != reason);
                        if is_new {
                            pool.counters.held += u64::from(client_of.held.is_none());
                            let statement = client_of.executed(backend);
                            client_of.held = Some(Box::new(held(statement, reason)));
                        }
                        None
                    }
                    _ => {
                        client_of.held = None;
                        match backend.is_released {
                            true => pool.counters.released += 1,
                            false => client_of.overruled = None,
                        }
                        let of = pool.servers.get_mut(backend.server)?;
                        let is_changed = backend
                            .session
                            .known_to_be_left()
                            .contains(Traces::USER_VARIABLES);
                        let is_light = !backend.is_unread && !backend.is_released && !is_changed;
                        let claim = match is_light {
                            true => Claim::Light,
                            false => Claim::Heavy,
                        };
                        let place = of.shelf.put(server, backend.key, claim, Instant::now());
                        let is_asked = of.shelf.is_asked();
                        backend.used = Use::Free(place);
                        pool.users.charge(&mut backend.charged, None);
                        (is_asked || !pool.queue.is_empty()).then_some(Served::Free)
                    }
                }
            })?
        });
        is_free.flatten().unwrap_or(Served::Nothing)
    }
}

/// What comes of a client's command that is answered.
enum Served {
    /// Nothing more.
    Nothing,
    /// Somebody waits who may get the connection, or its place.
    Free,
    /// A script has to be asked whether the client keeps it for this, because of this statement.
    Asks(Reason, Vec<u8>),
    /// The client may not keep it for this; and whether its session is known.
    GivesUp(Reason, bool),
}

/// A client's transaction is about to be ended, and its settings stay. False if these are not known.
fn keeps_settings(backend: &Backend, client: &mut Client, pool: &mut Pool) -> bool {
    let snapshot = backend.snapshot.as_ref();
    let settings = snapshot.and_then(|of| Settings::without_transaction(&backend.session, of));
    if let Some(settings) = settings {
        client.settings = pool.share(settings);
        return true;
    }
    false
}

fn asks(pool: &Pool) -> bool {
    pool.above.policies().contains(Policies::ON_HOLD)
}

fn held(statement: &[u8], reason: Reason) -> Held {
    let start = statement.get(..KEPT_OF_STATEMENT);
    Held {
        reason,
        since: Instant::now(),
        answered: Instant::now(),
        statement: start.unwrap_or(statement).to_vec(),
    }
}
