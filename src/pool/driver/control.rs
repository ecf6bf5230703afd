//! What the layer above tells a pool to do.

use std::rc::Rc;
use std::time::Instant;

use super::Pools;
use crate::pool::answers::diagnostics::Diagnostics;
use crate::pool::client::{Client, Idle, Listing, Phase};
use crate::pool::contents::PoolId;
use crate::pool::lending::key::Key;
use crate::pool::lending::waiters::Line;
use crate::pool::routing::causal::LastWrite;
use crate::pool::routing::servers::{Access, Health, Role};
use crate::pool::state::Settings;
use crate::proxy::{ConnId, Proxy, StatementIds};
use crate::wire::Capabilities;

/// A client that has logged in.
#[derive(Debug)]
pub struct Adopted<'a> {
    /// The client.
    pub client: ConnId,
    /// The name that it has logged in with.
    pub user: &'a str,
    /// The name of the account that connections for it are logged in with.
    pub account: &'a str,
    /// Whose writes its reads have to see, if that is not its own alone.
    pub party: &'a str,
    /// How many connections all clients of this name may use at a time; 0: as many as there are.
    pub max_connections: usize,
    /// What it has negotiated.
    pub capabilities: Capabilities,
    /// Its session after its login.
    pub settings: Settings,
}

impl Pools {
    /// A client has logged in: from now on it gets a connection for each of its commands. It has none
    /// of what it had if it was a pool's client before.
    pub fn adopt(&self, proxy: &Proxy, id: PoolId, adopted: Adopted<'_>) {
        // What COM_CHANGE_USER would have changed, and what it leaves as it is.
        let before = self.clients.with(adopted.client, |(_, client)| {
            (client.snapshot.clone(), client.multi_statements)
        });
        let (snapshot, multi_statements) = before.unzip();
        let snapshot = snapshot.flatten();
        self.client_left(proxy, adopted.client);
        if let Some(server) = proxy.peer(adopted.client) {
            let _ = proxy.unlink(adopted.client, server);
        }
        let client = self.with_pool(id, |pool| {
            let key = Key::new(adopted.account.into(), adopted.capabilities);
            let settings = adopted.settings.after_change_of_user(snapshot.as_ref());
            let settings = pool.share(settings);
            Client {
                user: pool.names.share(adopted.user),
                line: Line {
                    key: pool.keys.id(&key),
                    want: super::command::ANY,
                    user: pool.users.id(adopted.user, adopted.max_connections),
                },
                initial: settings.clone(),
                settings,
                last_insert_id: 0,
                user_variables: Rc::default(),
                keeps_user_variables: false,
                prepared: None,
                multi_statements: multi_statements.unwrap_or_else(|| {
                    let capabilities = adopted.capabilities;
                    capabilities.contains(Capabilities::MULTI_STATEMENTS)
                }),
                phase: Phase::Served,
                party: Some(adopted.party)
                    .filter(|party| !party.is_empty())
                    .map(|party| pool.names.share(party)),
                last_write: LastWrite::None,
                asked: None,
                retries: 0,
                has_read: false,
                idle: Idle::new(adopted.capabilities.contains(Capabilities::INTERACTIVE)),
                overruled: None,
                given_up: None,
                chosen: None,
                held: None,
                diagnostics: Diagnostics::new(),
                trackers: None,
                before: None,
                snapshot: None,
                leaving: None,
                listing: Listing::Nothing,
            }
        });
        if let Some(client) = client {
            self.clients.insert(adopted.client, (id, client));
            if let Some(info) = proxy.info(adopted.client) {
                info.statement_ids.set(StatementIds::Own);
            }
            proxy.rearm(adopted.client);
        }
    }

    /// A server is there, or what is known of it has changed.
    pub fn set_server(&self, id: PoolId, name: &str, role: Role, weight: u32, health: Health) {
        self.with_pool(id, |pool| pool.set_server(name, role, weight, health));
        self.forget_choices(id);
        self.note_news();
    }

    /// Whether a server is a node of Galera's.
    pub fn set_galera(&self, id: PoolId, name: &str, is_galera: bool) {
        self.with_pool(id, |pool| {
            let mut servers = pool.servers.iter_mut();
            if let Some(server) = servers.find(|server| &*server.name == name) {
                server.is_galera = is_galera;
            }
        });
    }

    /// Says what clients may do at a server from now on. False if there is none of this name.
    pub fn open_server(&self, proxy: &Proxy, id: PoolId, name: &str, access: Access) -> bool {
        let free = self.with_pool(id, |pool| {
            let server = pool
                .servers
                .iter_mut()
                .find(|server| &*server.name == name)?;
            server.access = access;
            Some(match access {
                Access::Drained => server.shelf.all_free(),
                Access::Open | Access::Paused => Vec::new(),
            })
        });
        let Some(free) = free.flatten() else {
            return false;
        };
        self.forget_choices(id);
        for server in free {
            self.take_off_the_shelf(server);
            self.retire(proxy, server, "its server is drained");
        }
        self.note_news();
        true
    }

    /// Closes the client with this number. False if the pool has none.
    pub fn kill_client(&self, proxy: &Proxy, id: PoolId, serial: u64) -> bool {
        let mut found = None;
        self.clients.each(|conn, (of, _)| {
            if *of == id && u64::from(conn.serial()) == serial {
                found = Some(conn);
            }
        });
        found.is_some_and(|client| proxy.close(client, "it was killed by an administrator"))
    }

    /// A connection is closed as soon as nobody uses it.
    pub fn retire_soon(&self, server: ConnId) {
        self.backends
            .with(server, |(_, backend)| backend.retires = Instant::now());
    }

    /// Whether the commands of a pool wait.
    pub fn is_paused(&self, id: PoolId) -> bool {
        self.with_pool(id, |pool| pool.is_paused) == Some(true)
    }

    /// Lets all clients wait from now on, or not any more. What is being executed is not disturbed.
    pub fn pause(&self, id: PoolId, is_paused: bool) {
        self.with_pool(id, |pool| pool.is_paused = is_paused);
        self.note_news();
    }
}
