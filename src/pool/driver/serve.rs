//! Those who wait for a connection are served.

use std::time::Instant;

use super::Pools;
use super::lend::{Lent, Unquiet};
use super::opening::FOR_ANOTHER_KEY;
use crate::pool::backend::Use;
use crate::pool::client::Phase;
use crate::pool::contents::PoolId;
use crate::pool::lending::waiters::{Line, Waiter};
use crate::pool::routing::servers::Server;
use crate::proxy::{ConnId, Proxy};

impl Pools {
    /// Serves those who wait, as far as there are connections for them.
    pub(super) fn serve(&self, proxy: &Proxy) {
        let pools = self.pools.borrow().capacity();
        for pool in (0..pools).map(PoolId) {
            self.yield_to_others(proxy, pool);
            while self.serve_one(proxy, pool) {}
            self.note_needs(pool);
        }
    }

    /// Serves one of those who wait. False if there is nothing for anybody.
    fn serve_one(&self, proxy: &Proxy, id: PoolId) -> bool {
        let fronts = self.with_pool(id, |pool| {
            if pool.is_paused || pool.queue.is_empty() {
                return Vec::new();
            }
            let mut fronts = pool.queue.fronts(&pool.free_keys());
            fronts.retain(|(line, _)| !pool.users.is_at_limit(line.user));
            fronts
        });
        for (line, waiter) in fronts.unwrap_or_default() {
            if self.is_leaving(waiter.client) {
                continue;
            }
            if self.goes_on(proxy, waiter.client) {
                return true;
            }
            if let Some(server) = self.choose(proxy, waiter.client, line, Unquiet::Closes) {
                self.serve_with(proxy, id, (line, waiter), server);
                return true;
            }
        }
        // Only then, or what was opened for one line would be closed for another before it is used.
        self.make_room(proxy, id)
    }

    /// Gives a connection to the first who waits in a line.
    fn serve_with(&self, proxy: &Proxy, id: PoolId, first: (Line, Waiter), server: ConnId) {
        let (line, Waiter { client, .. }) = first;
        let served = self.with_pool(id, |pool| pool.queue.serve(line, client));
        let waiting = self.clients.with(client, |(_, client)| {
            match std::mem::replace(&mut client.phase, Phase::Served) {
                Phase::Waiting(waiting) if served == Some(true) => Some(*waiting),
                other => {
                    client.phase = other;
                    None
                }
            }
        });
        let Some(mut waiting) = waiting.flatten() else {
            self.back_on_the_shelf(server);
            return;
        };
        let command = std::mem::take(&mut waiting.command);
        match self.hand_over(proxy, server, client, waiting) {
            Lent::Linked => self.show_command(proxy, client, &command),
            Lent::No(mut waiting) => {
                waiting.command = command;
                self.wait_again(client, waiting);
            }
            Lent::Arranging => self.keep_command(client, command),
            Lent::Closed => {}
        }
    }

    /// A client has waited for its user's limit alone, and still has its connection. False if that is not so.
    fn goes_on(&self, proxy: &Proxy, client: ConnId) -> bool {
        let Some(server) = proxy.peer(client) else {
            return false;
        };
        let is_free = self.with_both(client, server, |of, backend, pool| {
            backend.owner == Some(client)
                && matches!(backend.used, Use::Free(_))
                && pool
                    .servers
                    .get(backend.server)
                    .is_some_and(Server::is_usable)
                && pool.users.try_charge(&mut backend.charged, of.line.user)
        });
        if is_free != Some(true) {
            return false;
        }
        let waiting = self.with_client(client, |client_of, pool| {
            match std::mem::replace(&mut client_of.phase, Phase::Served) {
                Phase::Waiting(waiting) => {
                    pool.queue.serve(waiting.line, client);
                    pool.counters.kept += 1;
                    Some(waiting)
                }
                other => {
                    client_of.phase = other;
                    None
                }
            }
        });
        let Some(waiting) = waiting.flatten() else {
            return false;
        };
        self.take_back(client, server);
        self.show_command(proxy, client, &waiting.command);
        true
    }

    /// Opens connections for those who wait, where some may be opened, or closes one that is of no use
    /// to the first of a line. True if one was closed.
    fn make_room(&self, proxy: &Proxy, id: PoolId) -> bool {
        let wants = self.with_pool(id, |pool| match pool.is_paused {
            true => Vec::new(),
            false => pool.queue.wants(),
        });
        let now = Instant::now();
        // Only few lines are looked at, as most of them have a use for whatever is possible.
        let next = |want, after| {
            let next = self.with_pool(id, |pool| match pool.may_make_room(want, now) {
                true => pool.queue.next(want, after),
                false => Vec::new(),
            });
            next.unwrap_or_default()
        };
        wants.unwrap_or_default().into_iter().any(|want| {
            let mut fronts = next(want, None);
            while let Some(key) = fronts.first().map(|(line, _)| line.key) {
                for (line, waiter) in fronts {
                    let is_at_limit = self.with_pool(id, |pool| pool.users.is_at_limit(line.user));
                    if is_at_limit == Some(false)
                        && self.make_room_for(proxy, id, line, waiter.client)
                    {
                        return true;
                    }
                }
                fronts = next(want, Some(key));
            }
            false
        })
    }

    /// Opens a connection for those who wait in this line, if one may be opened; else closes one that
    /// is of no use to the first of them. True if one was closed.
    fn make_room_for(&self, proxy: &Proxy, id: PoolId, line: Line, first: ConnId) -> bool {
        if self.open_for(id, line) {
            return false;
        }
        let wanted = self
            .clients
            .with(first, |(_, client)| client.settings.clone());
        let replaced = self.with_pool(id, |pool| {
            let wanted = wanted?;
            let fit = |conn: ConnId| self.fit(conn, &wanted);
            let mut candidates = pool.candidates(line.want).into_iter();
            let replaced = candidates
                .find_map(|index| pool.servers.get_mut(index)?.shelf.replace(line.key, &fit))?;
            pool.counters.closed_for_others += 1;
            Some(replaced)
        });
        match replaced.flatten() {
            Some(server) => self.retire(proxy, server, FOR_ANOTHER_KEY),
            None => false,
        }
    }
}
