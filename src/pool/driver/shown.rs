//! What is told of pools: rows of named values.

use std::time::{Duration, Instant};

use super::Pools;
use crate::pool::client::Phase;
use crate::pool::contents::PoolId;
use crate::pool::servers::{Health, Role, Server};
use crate::proxy::{ConnId, Proxy};

/// A value that is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Text.
    Text(Vec<u8>),
    /// A number.
    Number(u64),
    /// How long something has lasted.
    Age(Duration),
    /// Nothing to tell.
    Nothing,
}

impl From<&str> for Told {
    fn from(text: &str) -> Told {
        Told::Text(text.as_bytes().to_vec())
    }
}

impl From<usize> for Told {
    fn from(number: usize) -> Told {
        Told::Number(number as u64)
    }
}

/// One thing that is told of.
pub type Row = Vec<(&'static str, Told)>;

impl Pools {
    /// The pool as a whole.
    pub fn overview(&self, id: PoolId) -> Row {
        let now = Instant::now();
        let (mut clients, mut held) = (0_usize, 0_usize);
        self.clients.each(|_, (of, client)| {
            if *of == id {
                clients += 1;
                held += usize::from(client.held.is_some());
            }
        });
        let row = self.with_pool(id, |pool| {
            let sum = |of: fn(&Server) -> usize| pool.servers.iter().map(of).sum::<usize>();
            let oldest = pool.queue.oldest();
            let maxwait = oldest.map_or(Told::Nothing, |since| {
                Told::Age(now.saturating_duration_since(since))
            });
            vec![
                (
                    "state",
                    if pool.is_paused { "paused" } else { "active" }.into(),
                ),
                ("clients", clients.into()),
                ("waiting", pool.queue.len().into()),
                ("maxwait", maxwait),
                ("held", held.into()),
                ("connections", sum(|server| server.shelf.count()).into()),
                ("free", sum(|server| server.shelf.free()).into()),
                ("opening", sum(|server| server.shelf.opening()).into()),
                ("size", pool.options.size.into()),
            ]
        });
        row.unwrap_or_default()
    }

    /// Its servers.
    pub fn servers(&self, id: PoolId) -> Vec<Row> {
        let rows = self.with_pool(id, |pool| {
            let row = |server: &Server| {
                let state = match (server.health, server.is_drained) {
                    (_, true) => "drained",
                    (Health::Up, _) => "up",
                    (Health::Down, _) => "down",
                    (Health::Removed, _) => "removed",
                };
                let role = match server.role {
                    Role::Primary => "primary",
                    Role::Replica => "replica",
                };
                let (count, free) = (server.shelf.count(), server.shelf.free());
                vec![
                    ("server", (&*server.name).into()),
                    ("role", role.into()),
                    ("state", state.into()),
                    ("weight", Told::Number(server.weight.into())),
                    ("connections", count.into()),
                    ("free", free.into()),
                    (
                        "busy",
                        count.saturating_sub(free + server.shelf.opening()).into(),
                    ),
                    ("opening", server.shelf.opening().into()),
                    ("size", server.shelf.size().into()),
                ]
            };
            pool.servers.iter().map(row).collect()
        });
        rows.unwrap_or_default()
    }

    /// Its clients.
    pub fn clients(&self, proxy: &Proxy, id: PoolId) -> Vec<Row> {
        let now = Instant::now();
        let mut rows = Vec::new();
        let mut found = Vec::new();
        self.clients.each(|conn, (of, client)| {
            if *of == id {
                let (state, since) = match (&client.phase, &client.held) {
                    (Phase::Waiting(waiting), _) => ("waiting", Some(waiting.since)),
                    (Phase::Arranging(waiting), _) => ("setting up", Some(waiting.since)),
                    (Phase::Served, Some(held)) => ("held", Some(held.since)),
                    (Phase::Served, None) => ("", None),
                };
                let reason = client.held.as_ref().map(|held| held.reason.name());
                found.push((conn, client.user.clone(), state, since, reason));
            }
        });
        for (conn, user, state, since, reason) in found {
            let is_busy = proxy.answering(conn).is_some();
            let state = match (state, is_busy) {
                ("", true) => "busy",
                ("", false) => "idle",
                (state, _) => state,
            };
            let server = proxy.peer(conn);
            let (server_name, thread) = self.server_of(server);
            let info = proxy.info(conn);
            let host = info.map_or(String::new(), |info| info.address().to_string());
            rows.push(vec![
                ("client", Told::Number(conn.serial().into())),
                ("user", (&*user).into()),
                ("host", (&*host).into()),
                ("state", state.into()),
                ("reason", reason.map_or(Told::Nothing, Told::from)),
                (
                    "since",
                    since.map_or(Told::Nothing, |since| age(now, since)),
                ),
                ("server", server_name),
                ("thread", thread),
            ]);
        }
        rows
    }

    /// The clients that keep their connections, and why.
    pub fn held(&self, proxy: &Proxy, id: PoolId) -> Vec<Row> {
        let now = Instant::now();
        let mut found = Vec::new();
        self.clients.each(|conn, (of, client)| {
            if *of == id
                && let Some(held) = &client.held
            {
                found.push((conn, client.user.clone(), (**held).clone()));
            }
        });
        let row = |(conn, user, held): (ConnId, std::rc::Rc<str>, crate::pool::client::Held)| {
            let (server, thread) = self.server_of(proxy.peer(conn));
            vec![
                ("client", Told::Number(conn.serial().into())),
                ("user", (&*user).into()),
                ("reason", held.reason.name().into()),
                ("since", age(now, held.since)),
                ("statement", Told::Text(held.statement)),
                ("advice", held.reason.advice().into()),
                ("server", server),
                ("thread", thread),
            ]
        };
        found.into_iter().map(row).collect()
    }

    /// What it has counted: name, description, value.
    pub fn counters(&self, id: PoolId) -> Vec<(&'static str, &'static str, u64)> {
        let counters = self.with_pool(id, |pool| pool.counters.iter().collect());
        counters.unwrap_or_default()
    }

    fn server_of(&self, server: Option<ConnId>) -> (Told, Told) {
        let found = server.and_then(|server| {
            self.with_backend(server, |backend, pool| {
                let name = pool
                    .servers
                    .get(backend.server)
                    .map(|server| server.name.clone());
                (name, backend.thread_id)
            })
        });
        match found {
            Some((Some(name), thread)) => ((&*name).into(), Told::Number(thread.into())),
            _ => (Told::Nothing, Told::Nothing),
        }
    }
}

fn age(now: Instant, since: Instant) -> Told {
    Told::Age(now.saturating_duration_since(since))
}
