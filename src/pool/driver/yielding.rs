//! Connections are given up for clients of other workers, whose pools are one with this worker's.

use std::time::Instant;

use super::Pools;
use super::opening::FOR_ANOTHER_WORKER;
use crate::pool::contents::{Pool, PoolId};
use crate::pool::lending::budget::Yielded;
use crate::pool::lending::waiters::Want;
use crate::proxy::Proxy;

impl Pools {
    /// Other workers' pools have told that something has changed, or it is time to look at what they wait for.
    pub(super) fn note_rings(&self) {
        let pools = self.pools.borrow();
        // (Each is to be asked.)
        let rung = pools
            .iter()
            .filter(|(_, pool)| pool.bell.was_rung())
            .count();
        let mut agenda = self.agenda.borrow_mut();
        let due = agenda.others_due;
        if due.is_some_and(|due| due <= Instant::now()) {
            agenda.others_due = None;
            agenda.has_news = true;
        }
        agenda.has_news |= rung > 0;
    }

    /// Closes free connections whose places other workers' clients have waited for long enough.
    pub(super) fn yield_to_others(&self, proxy: &Proxy, id: PoolId) {
        if self.with_pool(id, |pool| pool.is_asked()) != Some(true) {
            return;
        }
        let now = Instant::now();
        let waits = self.waits_for_servers(id);
        let servers = self.with_pool(id, |pool| pool.servers.len());
        for index in 0..servers.unwrap_or_default() {
            let own = waits.get(index).copied().flatten();
            while let Some(yielded) = self.with_pool(id, |pool| {
                let yielded = pool.servers.get_mut(index)?.shelf.give_up(own, now);
                pool.counters.closed_for_others += u64::from(matches!(yielded, Yielded::Conn(_)));
                Some(yielded)
            }) {
                match yielded {
                    Some(Yielded::Conn(server)) => {
                        self.retire(proxy, server, FOR_ANOTHER_WORKER);
                    }
                    Some(Yielded::NotBefore(due)) => {
                        self.looks_at_others(proxy, due);
                        break;
                    }
                    Some(Yielded::None) | None => break,
                }
            }
        }
    }

    /// Tells other workers which servers this worker's clients wait for.
    pub(super) fn note_needs(&self, id: PoolId) {
        let waits = self.waits_for_servers(id);
        let now = Instant::now();
        self.with_pool(id, |pool| {
            for (index, server) in pool.servers.iter_mut().enumerate() {
                server.note_need(waits.get(index).copied().flatten(), now);
            }
        });
    }

    fn looks_at_others(&self, proxy: &Proxy, due: Instant) {
        let agenda = &mut *self.agenda.borrow_mut();
        if agenda.others_due.is_none_or(|known| due < known) {
            agenda.others_due = Some(due);
            proxy.turn_at(due);
        }
    }

    /// For each server since when the first waits whose turn is next of those that it will do for; empty if nobody waits.
    fn waits_for_servers(&self, id: PoolId) -> Vec<Option<Instant>> {
        let wants = self.with_pool(id, |pool| match pool.is_paused || pool.queue.is_empty() {
            true => Vec::new(),
            false => pool.queue.wants(),
        });
        let mut waits = Vec::new();
        for want in wants.unwrap_or_default() {
            let Some(since) = self.waits_for(id, want) else {
                continue;
            };
            self.with_pool(id, |pool: &mut Pool| {
                waits.resize(pool.servers.len(), None);
                for index in pool.candidates(want) {
                    if let Some(first) = waits.get_mut(index) {
                        *first = Some(first.map_or(since, |first: Instant| first.min(since)));
                    }
                }
            });
        }
        waits
    }

    /// Since when the first waits whose turn is next of those who want such a server, and may have it.
    fn waits_for(&self, id: PoolId, want: Want) -> Option<Instant> {
        let mut after = None;
        loop {
            let fronts = self.with_pool(id, |pool| {
                let mut fronts = pool.queue.next(want, after);
                let key = fronts.first().map(|(line, _)| line.key);
                fronts.retain(|(line, _)| !pool.users.is_at_limit(line.user));
                (key, fronts)
            })?;
            let (key, fronts) = fronts;
            after = Some(key?);
            let mut fronts = fronts.into_iter();
            if let Some((_, first)) = fronts.find(|(_, waiter)| !self.is_leaving(waiter.client)) {
                return Some(first.since);
            }
        }
    }
}
