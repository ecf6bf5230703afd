//! What the end of a tick, and time, bring.

use std::time::{Duration, Instant};

use super::Pools;
use crate::pool::backend::Use;
use crate::pool::client::Held;
use crate::pool::contents::PoolId;
use crate::pool::judging::decision::Ongoing;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::waiters::{Line, Want};
use crate::proxy::Proxy;
use crate::track::{Fact, Transaction};
use crate::wire::ErrPacket;

/// How often the end of a tick looks again whether it has caused something to be done.
const PASSES: usize = 16;
/// How long a connection is kept after a statement about which clients are known to ask: they do so at once.
const EXPECTATION: Duration = Duration::from_secs(1);

impl Pools {
    /// The end of a tick.
    pub(super) fn do_what_is_due(&self, proxy: &Proxy) {
        self.note_rings();
        for _ in 0..PASSES {
            let (answered, left, bereaved, turned_away, asked_again, has_news) = {
                let mut agenda = self.agenda.borrow_mut();
                (
                    std::mem::take(&mut agenda.answered),
                    std::mem::take(&mut agenda.left),
                    std::mem::take(&mut agenda.bereaved),
                    std::mem::take(&mut agenda.turned_away),
                    std::mem::take(&mut agenda.asked_again),
                    std::mem::take(&mut agenda.has_news),
                )
            };
            let is_idle = answered.is_empty()
                && left.is_empty()
                && bereaved.is_empty()
                && turned_away.is_empty()
                && asked_again.is_empty()
                && !has_news;
            if is_idle {
                return;
            }
            for client in turned_away {
                self.turn_away(proxy, client);
            }
            for client in asked_again {
                self.ask_again(proxy, client);
            }
            for client in bereaved {
                proxy.close(client, "the server connection with its session is gone");
            }
            for server in left {
                self.left(proxy, server);
            }
            for server in answered {
                self.errand_over(proxy, server);
            }
            self.tell_parted();
            self.serve(proxy);
        }
        // The rest is done at the end of the next tick.
    }

    /// Time has passed: to be called several times a second.
    pub fn tick(&self, proxy: &Proxy, id: PoolId) {
        let now = Instant::now();
        self.end_late_errands(proxy, now);
        self.end_long_waits(proxy, id, now);
        self.end_long_holds(proxy, id, now);
        self.end_expectations(proxy, id, now);
        self.end_abandoned_transactions(proxy, id);
        self.end_silence(proxy, id, now);
        self.end_long_statements(proxy, id, now);
        self.keep_warm(id);
        self.retire_idle(proxy, id, now);
        self.read_what_is_due(proxy, id, now);
        // At the end of this tick, when all that servers have sent was looked at.
        self.note_news();
    }

    fn end_late_errands(&self, proxy: &Proxy, now: Instant) {
        let running: Vec<_> = self.agenda.borrow().errands.iter().copied().collect();
        for server in running {
            let late = self.backends.with(server, |(_, backend)| {
                let is_ending = matches!(backend.used, Use::Ending);
                (backend.errand_until <= now).then_some(is_ending)
            });
            match late.flatten() {
                Some(true) => {
                    proxy.close(server, "its server has not closed it in time");
                }
                Some(false) => self.failed_on(proxy, server, "they took too long"),
                None => {}
            }
        }
    }

    fn end_long_waits(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let late = self.with_pool(id, |pool| match pool.is_paused {
            // The queue's clock stands.
            true => Vec::new(),
            false => pool.late(now),
        });
        for (client, message) in late.unwrap_or_default() {
            self.give_up(proxy, client, message);
        }
    }

    /// Closes clients that keep a connection and have been silent for too long.
    fn end_long_holds(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let limit = self.with_pool(id, |pool| pool.options.max_hold);
        let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
            return;
        };
        let mut late = Vec::new();
        self.clients.each(|client, (of, client_of)| {
            let is_late = |held: &Held| now.saturating_duration_since(held.answered) >= limit;
            if *of == id && client_of.held.as_deref().is_some_and(is_late) {
                late.push(client);
            }
        });
        for client in late
            .into_iter()
            .filter(|client| proxy.answering(*client).is_none())
        {
            self.with_pool(id, |pool| pool.counters.closed_silent += 1);
            let message = "The client was disconnected by the server because of inactivity.";
            let err = ErrPacket::new(4031, b"HY000", message.into());
            proxy.close_telling(
                client,
                &err,
                "it has kept a connection and said nothing for max_hold",
            );
        }
    }

    /// A client that has gone away while its statement runs in a transaction waits for no answer: it is closed, and its
    /// statement killed, or it would keep its locks. (Outside of transactions who has sent all that it has to say gets its
    /// answers.)
    fn end_abandoned_transactions(&self, proxy: &Proxy, id: PoolId) {
        let mut gone = Vec::new();
        self.clients.each(|client, (of, client_of)| {
            if *of == id && client_of.held.is_some() && proxy.has_hung_up(client) {
                gone.push(client);
            }
        });
        for client in gone
            .into_iter()
            .filter(|client| proxy.answering(*client).is_some())
        {
            let is_in_transaction = proxy.peer(client).and_then(|server| {
                self.backends.with(server, |(_, backend)| {
                    let transaction = backend.session.transaction();
                    matches!(transaction, Fact::Known(Transaction::Open { .. }))
                })
            });
            if is_in_transaction == Some(true) {
                proxy.close(client, "it has gone away in the middle of a transaction");
            }
        }
    }

    /// Who has not asked about its last statement by now will not: what was learnt of statements like that one
    /// keeps its connection no longer.
    fn end_expectations(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let mut over = Vec::new();
        self.clients.each(|client, (of, client_of)| {
            let is_over = |held: &Held| {
                held.reason == Reason::DiagnosticsWanted
                    && now.saturating_duration_since(held.answered) >= EXPECTATION
            };
            if *of == id && client_of.held.as_deref().is_some_and(is_over) {
                over.push(client);
            }
        });
        for client in over
            .into_iter()
            .filter(|client| proxy.answering(*client).is_none())
        {
            self.keep_or_share(proxy, client, Ongoing::DIAGNOSTICS_WANTED);
        }
    }

    /// Opens connections that nobody needs yet, so that the next clients need not wait for them.
    fn keep_warm(&self, id: PoolId) {
        let keys = self.with_pool(id, |pool| {
            let is_short = pool.servers.iter().any(|server| {
                server.is_usable()
                    && server.shelf.total() < pool.options.min_idle.min(server.shelf.size())
            });
            (is_short && !pool.is_paused)
                .then(|| pool.last_key())
                .flatten()
        });
        let Some(key) = keys.flatten() else {
            return;
        };
        let servers = self
            .with_pool(id, |pool| pool.servers.len())
            .unwrap_or_default();
        for server in 0..servers {
            let is_short = self.with_pool(id, |pool| {
                pool.servers.get(server).is_some_and(|of| {
                    of.is_usable() && of.shelf.total() < pool.options.min_idle.min(of.shelf.size())
                })
            });
            if is_short == Some(true) {
                let line = Line {
                    key,
                    want: Want::Server(server),
                    user: None,
                };
                self.open_for(id, line);
            }
        }
    }

    fn retire_idle(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let idle = self.with_pool(id, |pool| {
            let then = now.checked_sub(pool.options.idle_timeout);
            let mut idle = Vec::new();
            for server in &pool.servers {
                let may_go = server.shelf.total().saturating_sub(pool.options.min_idle);
                let since = then
                    .map(|then| server.shelf.idle_since(then))
                    .unwrap_or_default();
                idle.extend(since.into_iter().take(may_go));
            }
            pool.counters.closed_idle += idle.len() as u64;
            idle
        });
        for server in idle.unwrap_or_default() {
            self.take_off_the_shelf(server);
            self.retire(proxy, server, "nobody has used it for a while");
        }
        let old = self.with_pool(id, |pool| {
            let free = pool.servers.iter().flat_map(|server| {
                let every = now.checked_sub(Duration::ZERO).unwrap_or(now);
                server.shelf.idle_since(every)
            });
            let is_old = |conn: &crate::proxy::ConnId| {
                let retires = self.backends.with(*conn, |(_, backend)| backend.retires);
                retires.is_some_and(|retires| retires <= now)
            };
            let old: Vec<_> = free.filter(is_old).collect();
            pool.counters.closed_old += old.len() as u64;
            old
        });
        for server in old.unwrap_or_default() {
            self.take_off_the_shelf(server);
            self.retire(proxy, server, "it is old");
        }
    }
}
