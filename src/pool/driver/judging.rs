//! What statements hide: it is told to their session, and the catalogue that knows it is read.

use std::time::Instant;

use super::Pools;
use crate::pool::backend::{Backend, Then, Use};
use crate::pool::catalogue::Reading;
use crate::pool::contents::{Pool, PoolId};
use crate::pool::errand::{Answer, query};
use crate::pool::flavour::Flavour;
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
    /// Reads the catalogue by this connection, if that is due. False if it is not.
    pub(super) fn begin_reading(&self, proxy: &Proxy, server: ConnId) -> bool {
        let reading = self.with_backend(server, |backend, pool| {
            let flavour = match backend.snapshot.as_ref()?.is_mariadb() {
                true => Flavour::MariaDb,
                false => Flavour::MySql,
            };
            pool.catalogues.begin(backend.key, flavour, Instant::now())
        });
        match reading.flatten() {
            Some(reading) => {
                self.go_on_reading(proxy, server, Box::new(reading));
                true
            }
            None => false,
        }
    }

    fn go_on_reading(&self, proxy: &Proxy, server: ConnId, reading: Box<Reading>) {
        match reading.query() {
            Some(sql) => self.run(proxy, server, vec![query(&sql)], Then::Read(reading)),
            None => {
                let is_blind = self.with_backend(server, |backend, pool| {
                    let is_blind = pool.catalogues.read(backend.key, *reading, Instant::now());
                    let account = pool.keys.get(backend.key)?.account.clone();
                    is_blind.then_some(account)
                });
                if let Some(account) = is_blind.flatten() {
                    log::warn!(
                        "the pool's account {account} cannot see which tables have triggers: whoever writes one \
                         keeps the connection (view-or-trigger). Grant it TRIGGER on its schemas"
                    );
                }
                self.back_on_the_shelf(server);
            }
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
