//! Clients that are silent: their `wait_timeout` acts on them as at a server, but here, and no connection has it.

use std::time::{Duration, Instant};

use super::Pools;
use super::reports::send_instead;
use crate::pool::answers::idle::{Said, said};
use crate::pool::client::{Client, Phase};
use crate::pool::contents::{Pool, PoolId};
use crate::proxy::{ConnId, Proxy};
use crate::wire::ErrPacket;

/// How often clients are looked at. Their limits are in seconds.
const PAUSE: Duration = Duration::from_secs(1);

/// What MySQL says. MariaDB says nothing.
const MESSAGE: &str = "The client was disconnected by the server because of inactivity. See wait_timeout and \
     interactive_timeout for configuring this behavior.";

impl Pools {
    /// A client's command is answered.
    pub(super) fn begins_to_idle(&self, client: ConnId) {
        self.clients
            .with(client, |(_, client)| client.idle.since = Instant::now());
    }

    /// Has the server execute in other words what a client says of its `wait_timeout`. False if it says nothing of it.
    pub(super) fn rewrite_idle(&self, proxy: &Proxy, client: ConnId, sql: &[u8]) -> bool {
        let instead = self
            .clients
            .with(client, |(_, client)| instead(client, sql));
        let Some(sql) = instead.flatten() else {
            return false;
        };
        send_instead(proxy, client, sql);
        true
    }

    /// Closes clients that have been silent for too long.
    pub(super) fn end_silence(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let snapshot = self.with_pool(id, |pool: &mut Pool| {
            let last = pool.looked_for_silent;
            let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
            let snapshot = pool.snapshot.clone().filter(|_| is_due)?;
            pool.looked_for_silent = Some(now);
            Some(snapshot)
        });
        let Some(snapshot) = snapshot.flatten() else {
            return;
        };
        let mut silent = Vec::new();
        self.clients.each(|conn, (of, client)| {
            let passed = now.saturating_duration_since(client.idle.since);
            let is_late = || {
                client
                    .idle
                    .limit(&snapshot)
                    .is_some_and(|limit| passed >= limit)
            };
            if *of == id && passed >= PAUSE && matches!(client.phase, Phase::Served) && is_late() {
                silent.push(conn);
            }
        });
        for client in silent {
            if proxy.answering(client).is_some() {
                continue;
            }
            self.with_pool(id, |pool| pool.counters.closed_idle_clients += 1);
            let reason = "it was silent for longer than its wait_timeout";
            match snapshot.is_mariadb() {
                true => {
                    proxy.close(client, reason);
                }
                false => {
                    let err = ErrPacket::new(4031, b"HY000", MESSAGE.into());
                    proxy.close_telling(client, &err, reason);
                }
            }
        }
    }
}

/// What the server is to execute in place of a client's statement.
fn instead(client: &mut Client, sql: &[u8]) -> Option<Vec<u8>> {
    let snapshot = client.snapshot.as_ref()?;
    let (own, kept) = client.idle.beside(snapshot)?;
    match said(sql, client.settings.mode(snapshot), own, kept) {
        Said::Nothing => None,
        Said::Sets(patience, sql) => {
            client.idle.pending = Some(patience);
            Some(sql)
        }
        Said::Asks(sql) => Some(sql),
    }
}
