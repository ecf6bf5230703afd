//! What statements hide: it is told to their session, and the catalogue that knows it is read.

use std::time::Instant;

use super::Pools;
use crate::pool::backend::{Backend, Then, Use};
use crate::pool::contents::{Pool, PoolId};
use crate::pool::errand::{Answer, query};
use crate::pool::judging::catalogue::Reading;
use crate::pool::judging::catalogues::Turn;
use crate::pool::lending::key::KeyId;
use crate::proxy::{ConnId, Proxy};
use crate::track::Traces;
use crate::wire::Com;

impl Pool {
    /// A command was sent on a connection: its session is told what does not show in it.
    pub(super) fn judge(&mut self, backend: &mut Backend) {
        let is_statement = matches!(backend.com, Com::QUERY | Com::STMT_PREPARE);
        if !is_statement {
            return;
        }
        let is_own = backend.com == Com::QUERY && matches!(backend.used, Use::Errand(..));
        if is_own {
            backend.session.hides(Traces::empty(), None);
            return;
        }
        let mode = backend.session.mode();
        let schema = backend.session.schema();
        let schema = schema.known().copied().flatten();
        let sql = &backend.argument;
        let hides = self.catalogues.hides(backend.key, sql, mode, schema);
        self.catalogues.passed(sql, mode, Instant::now());
        backend.session.hides(hides.traces, hides.opaque);
    }
}

impl Pools {
    /// A connection is ready for a client, but for the catalogue of its account: that may have to be read, or
    /// waited for.
    pub(super) fn read_or_use(&self, proxy: &Proxy, server: ConnId) {
        let turn = self.with_backend(server, |backend, pool| {
            let flavour = backend.snapshot.as_ref()?.flavour();
            let now = Instant::now();
            Some(pool.catalogues.turn(backend.key, server, flavour, now))
        });
        match turn.flatten() {
            Some(Turn::Reads(reading)) => self.go_on_reading(proxy, server, reading),
            Some(Turn::Waits) => {}
            Some(Turn::Ready) | None => self.back_on_the_shelf(server),
        }
    }

    fn go_on_reading(&self, proxy: &Proxy, server: ConnId, reading: Box<Reading>) {
        let queries = reading.queries();
        if !queries.is_empty() {
            let commands = queries.iter().map(|sql| query(sql)).collect();
            return self.run(proxy, server, commands, Then::Read(reading));
        }
        let told = self.with_backend(server, |backend, pool| {
            let now = Instant::now();
            let (waiting, is_blind) = pool.catalogues.read(backend.key, *reading, now);
            let account = pool.keys.get(backend.key)?.account.clone();
            if pool.catalogues.is_unread(backend.key) {
                log::warn!(
                    "the pool's account {account} cannot read definitions from information_schema, so whoever uses \
                     a table keeps the connection"
                );
            }
            Some((waiting, is_blind.then_some(account)))
        });
        let Some((waiting, blind)) = told.flatten() else {
            return;
        };
        if let Some(account) = blind {
            log::warn!(
                "the pool's account {account} cannot see which tables have triggers, so whoever writes to one keeps \
                 the connection: grant it TRIGGER on its schemas"
            );
        }
        for server in waiting.into_iter().chain([server]) {
            self.back_on_the_shelf(server);
        }
    }

    /// The connection has died that read the catalogue of its account.
    pub(super) fn reading_was_interrupted(&self, proxy: &Proxy, id: PoolId, key: KeyId) {
        let waiting = self.with_pool(id, |pool| pool.catalogues.interrupted(key));
        for server in waiting.unwrap_or_default() {
            self.read_or_use(proxy, server);
        }
    }

    /// A part of the catalogue was read.
    pub(super) fn has_read(
        &self,
        proxy: &Proxy,
        server: ConnId,
        mut reading: Box<Reading>,
        answers: &[Answer],
    ) {
        for answer in answers {
            for row in &answer.rows {
                let values: Vec<_> = row.iter().map(Option::as_deref).collect();
                reading.row(&values);
            }
            match answer.error {
                None => reading.done(),
                Some(_) => reading.failed(),
            }
        }
        self.go_on_reading(proxy, server, reading);
    }

    /// Where it is time to read a catalogue again, a connection that nobody claims does so.
    pub(super) fn read_what_is_due(&self, proxy: &Proxy, id: PoolId, now: Instant) {
        let due = self.with_pool(id, |pool| {
            let keys = pool.catalogues.due(now);
            let mut found = Vec::new();
            for key in keys {
                let mut servers = pool.servers.iter_mut();
                found.extend(servers.find_map(|server| server.shelf.take_unclaimed(key)));
            }
            found
        });
        for server in due.unwrap_or_default() {
            self.backends
                .with(server, |(_, backend)| backend.used = Use::Moving);
            // A session whose texts are in utf8mb4, as a login makes it.
            self.reset(proxy, server);
        }
    }
}
