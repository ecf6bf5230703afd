//! What is told of pools: rows of named values.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Pools;
use crate::pool::answers::refusals::Refused;
use crate::pool::backend::Use;
use crate::pool::client::Phase;
use crate::pool::contents::PoolId;
use crate::pool::lending::key::{Key, KeyId};
use crate::pool::routing::servers::{Access, Health, Role, Server};
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

/// What is counted of the clients and connections of one key.
#[derive(Default)]
struct Sums {
    clients: usize,
    held: usize,
    waiting: usize,
    /// Since when the first of them waits.
    first: Option<Instant>,
    connections: usize,
    free: usize,
}

impl Sums {
    fn waits_since(&mut self, since: Instant) {
        self.waiting += 1;
        self.first = Some(self.first.map_or(since, |first| first.min(since)));
    }
}

impl Pools {
    /// The connections that can stand for each other, by their keys: whose they are, and who waits
    /// for one.
    pub fn pools(&self, id: PoolId) -> Vec<Row> {
        let now = Instant::now();
        let mut sums: BTreeMap<KeyId, Sums> = BTreeMap::new();
        self.clients.each(|_, (of, client)| {
            if *of == id {
                let sums = sums.entry(client.line.key).or_default();
                sums.clients += 1;
                sums.held += usize::from(client.held.is_some());
                if let Phase::Waiting(waiting) = &client.phase {
                    sums.waits_since(waiting.since);
                }
            }
        });
        self.backends.each(|_, (of, backend)| {
            if *of == id {
                let sums = sums.entry(backend.key).or_default();
                sums.connections += 1;
                sums.free += usize::from(matches!(backend.used, Use::Free(_)));
            }
        });
        let rows = self.with_pool(id, |pool| {
            let row = |(key, sums): (KeyId, Sums)| {
                let first = sums.first.map_or(Told::Nothing, |since| age(now, since));
                let state = if pool.is_paused { "paused" } else { "active" };
                let key = pool.keys.get(key);
                let account = key.map(|key| &*key.account);
                let capabilities = key.map(Key::capability_names);
                vec![
                    ("account", account.unwrap_or_default().into()),
                    ("capabilities", (&*capabilities.unwrap_or_default()).into()),
                    ("state", state.into()),
                    ("clients", sums.clients.into()),
                    ("held", sums.held.into()),
                    ("waiting", sums.waiting.into()),
                    ("maxwait", first),
                    ("connections", sums.connections.into()),
                    ("free", sums.free.into()),
                ]
            };
            sums.into_iter().map(row).collect()
        });
        rows.unwrap_or_default()
    }

    /// Its servers.
    pub fn servers(&self, id: PoolId) -> Vec<Row> {
        let rows = self.with_pool(id, |pool| {
            let row = |server: &Server| {
                let state = match (server.health, server.access) {
                    (_, Access::Drained) => "drained",
                    (Health::Up, Access::Paused) => "paused",
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

    /// What it has refused, the last first.
    pub fn refused(&self, id: PoolId) -> Vec<Row> {
        let now = Instant::now();
        let row = |one: &Refused| {
            vec![
                ("reason", one.reason.name().into()),
                ("statement", Told::Text(one.statement.clone())),
                ("times", Told::Number(one.times)),
                ("since", age(now, one.last)),
                ("user", (&*one.user).into()),
                ("advice", one.reason.advice().into()),
            ]
        };
        let rows = self.with_pool(id, |pool| pool.refusals.iter().map(row).collect());
        rows.unwrap_or_default()
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
