//! One pool: its servers, its budget, and those who wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::above::Above;
use super::client::Client;
use super::counters::Counters;
use super::names::Names;
use super::options::PoolOptions;
use super::state::{Settings, Snapshot};
use super::statements::{Dialect, SharedStatements};
use crate::pool::answers::diagnostics::Learnt;
use crate::pool::answers::refusals::Refusals;
use crate::pool::judging::catalogue::Harmless;
use crate::pool::judging::catalogues::Catalogues;
use crate::pool::judging::decision::Policy;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::bells::Bell;
use crate::pool::lending::common::Common;
use crate::pool::lending::key::{KeyId, Keys};
use crate::pool::lending::queue::Queue;
use crate::pool::lending::shelf::Shelf;
use crate::pool::lending::users::Users;
use crate::pool::lending::waiters::{Waiters, Want};
use crate::pool::routing::causal::Parties;
use crate::pool::routing::servers::{Health, Role, Server};
use crate::proxy::ConnId;
use crate::sql::Mode;

/// A pool's place among all.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub usize);

/// A connection that is being opened.
#[derive(Copy, Clone, Debug)]
pub struct Ticket {
    /// The server's place in the list.
    pub server: usize,
    /// For whom.
    pub key: KeyId,
}

/// One pool.
pub struct Pool {
    pub(crate) above: Rc<dyn Above>,
    pub(crate) options: PoolOptions,
    pub(crate) policy: Policy,
    /// Accounts that may not list user variables.
    pub(crate) unlistable: HashSet<KeyId>,
    pub(crate) catalogues: Catalogues,
    pub(crate) servers: Vec<Server>,
    pub(crate) keys: Keys,
    /// What it has in common with those of other workers.
    in_common: Arc<Common>,
    /// Is rung when that has changed.
    pub(crate) bell: Arc<Bell>,
    pub(crate) users: Users,
    pub(crate) queue: Box<dyn Waiters>,
    pub(crate) is_paused: bool,
    /// When silent clients were looked for last.
    pub(crate) looked_for_silent: Option<Instant>,
    pub(crate) counters: Counters,
    pub(crate) refusals: Refusals,
    pub(crate) learnt: Learnt,
    pub(crate) tickets: HashMap<u64, Ticket>,
    pub(crate) statements: SharedStatements,
    /// That of its servers, once one has greeted.
    pub(crate) dialect: Dialect,
    last_ticket: u64,
    /// The names of users and parties.
    pub(crate) names: Names,
    /// Settings that several clients have, so that each is kept once.
    common: Vec<Rc<Settings>>,
    /// The variables of a session after its login.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) parties: Parties,
    /// What those who wait have had no server for, and since when there has been one again.
    outages: BTreeMap<Want, Option<Instant>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

/// The most bytes of the texts of prepared statements.
const MAX_TEXTS: usize = 256 << 20;

/// Why a client has waited in vain whose user is at its limit.
const USER_AT_LIMIT: &str = "Too many connections: this user's max_user_connections are in use, and none became free in time";

/// How many settings are remembered as common.
const COMMON: usize = 64;

impl Pool {
    /// Without servers. It is one with the pools of other workers that have the same in `common`; `bell` makes this worker's
    /// loop turn.
    pub fn new(
        options: PoolOptions,
        above: Rc<dyn Above>,
        common: Arc<Common>,
        bell: Arc<Bell>,
    ) -> Pool {
        let harmless = Harmless::new(options.harmless.iter().map(String::as_str));
        let mut policy = Policy::default();
        policy.set(Policy::HOLD_OPAQUE, options.hold_opaque);
        policy.set(Policy::LASTVAL, options.lastval);
        policy.set(
            Policy::RESTORE_USER_VARIABLES,
            options.restore_user_variables,
        );
        common.add(&bell);
        let queue = Box::new(Queue::of(options.max_waiting, common.waiting()));
        Pool {
            above,
            options,
            policy,
            unlistable: HashSet::new(),
            catalogues: Catalogues::new(harmless),
            servers: Vec::new(),
            keys: Keys::default(),
            users: common.users(&bell),
            in_common: common,
            bell,
            queue,
            is_paused: false,
            looked_for_silent: None,
            counters: Counters::default(),
            refusals: Refusals::default(),
            learnt: Learnt::new(),
            tickets: HashMap::new(),
            statements: SharedStatements::new(MAX_TEXTS),
            dialect: Dialect::MariaDb,
            last_ticket: 0,
            names: Names::default(),
            common: Vec::new(),
            snapshot: None,
            parties: Parties::default(),
            outages: BTreeMap::new(),
        }
    }

    /// Adds a server, or changes what is known of it.
    pub fn set_server(&mut self, name: &str, role: Role, weight: u32, health: Health) {
        match self.servers.iter_mut().find(|server| &*server.name == name) {
            Some(server) => server.is_known(role, weight, health),
            None => {
                let share = self.in_common.share(name, self.options.size, &self.bell);
                let shelf = Box::new(Shelf::new(share));
                self.servers
                    .push(Server::new(name, role, weight, health, shelf));
            }
        }
    }

    /// Whether a server will do.
    pub(crate) fn will_do(&self, index: usize, want: Want) -> bool {
        let Some(server) = self.servers.get(index).filter(|server| server.is_usable()) else {
            return false;
        };
        let is_replica = |server: &Server| server.role == Role::Replica && server.is_usable();
        match want {
            Want::Server(wanted) => wanted == index,
            Want::Primary => server.role == Role::Primary,
            Want::Replica => is_replica(server) || !self.servers.iter().any(is_replica),
        }
    }

    /// Whether those who want this wait for a server that is paused: the queue's clock stands.
    fn is_paused_for(&self, want: Want) -> bool {
        let mut waited_for = self.servers.iter().enumerate();
        waited_for.any(|(index, server)| {
            server.is_waited_for()
                && match want {
                    Want::Server(wanted) => wanted == index,
                    Want::Primary => server.role == Role::Primary,
                    Want::Replica => true,
                }
        })
    }

    /// What the client that came last needs connections for.
    pub(crate) fn last_key(&self) -> Option<KeyId> {
        self.keys.last()
    }

    /// The only server that will do, if there is exactly one.
    pub(crate) fn only_candidate(&self, want: Want) -> Option<usize> {
        match (self.servers.as_slice(), want) {
            ([server], _) if server.is_usable() => Some(0),
            (servers, Want::Primary) => {
                let is_primary =
                    |server: &Server| server.is_usable() && server.role == Role::Primary;
                let mut all = servers
                    .iter()
                    .enumerate()
                    .filter(|(_, server)| is_primary(server));
                let first = all.next()?.0;
                all.next().is_none().then_some(first)
            }
            _ => None,
        }
    }

    /// The servers that will do, the best first: those with the most room for their weight.
    pub(crate) fn candidates(&self, want: Want) -> Vec<usize> {
        let usable = |(_, server): &(usize, &Server)| server.is_usable();
        let all = self.servers.iter().enumerate().filter(usable);
        let of = |role| {
            let all = all.clone().filter(move |(_, server)| server.role == role);
            all.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let mut found = match want {
            Want::Primary => of(Role::Primary),
            Want::Server(index) => all
                .clone()
                .map(|(at, _)| at)
                .filter(|at| *at == index)
                .collect(),
            Want::Replica => {
                let replicas = of(Role::Replica);
                match replicas.is_empty() {
                    true => of(Role::Primary),
                    false => replicas,
                }
            }
        };
        if found.len() > 1 {
            let load = |index: &usize| {
                self.servers.get(*index).map_or(usize::MAX, |server| {
                    let busy = server.shelf.count() - server.shelf.free();
                    busy * 1000 / (server.weight.max(1) as usize)
                })
            };
            found.sort_by_key(load);
        }
        found
    }

    /// The keys of which connections are free that clients may be given.
    pub(crate) fn free_keys(&self) -> BTreeSet<KeyId> {
        let usable = self.servers.iter().filter(|server| server.is_usable());
        usable.flat_map(|server| server.shelf.free_keys()).collect()
    }

    /// Whether a connection may be opened, or closed for another, at one of the servers that will do.
    pub(crate) fn may_make_room(&self, want: Want, now: Instant) -> bool {
        self.candidates(want).into_iter().any(|index| {
            let server = self.servers.get(index);
            server.is_some_and(|server| server.may_make_room(now))
        })
    }

    /// Whether clients of other workers need connections to any of its servers.
    pub(crate) fn is_asked(&self) -> bool {
        self.servers.iter().any(|server| server.shelf.is_asked())
    }

    /// Those who have waited for too long, and for what. While there is no server for them the queue's clock stands,
    /// and another is looked at.
    pub(crate) fn late(&mut self, now: Instant) -> Vec<(ConnId, &'static str)> {
        for server in &mut self.servers {
            server.forgive(now);
        }
        let mut late = Vec::new();
        for line in self.queue.lines() {
            let limit = if self.candidates(line.want).is_empty() {
                self.outages.insert(line.want, None);
                if self.is_paused_for(line.want) {
                    continue;
                }
                let then = now.checked_sub(self.options.failover_timeout);
                then.map(|then| (then, "No server can be used at the moment"))
            } else {
                let again = self.outages.get_mut(&line.want);
                let since = again.map(|again| *again.get_or_insert(now));
                let then = now.checked_sub(self.options.queue_timeout);
                let then = then.filter(|then| since.is_none_or(|since| since <= *then));
                let message = match self.users.is_at_limit(line.user) {
                    true => USER_AT_LIMIT,
                    false => "Too many connections: none became free in time",
                };
                then.map(|then| (then, message))
            };
            if let Some((then, message)) = limit {
                let waiting = self.queue.waiting_since(line, then);
                late.extend(waiting.into_iter().map(|client| (client, message)));
            }
        }
        late
    }

    /// What it was told about a client whose connection has this key. User variables are not restored where that cannot be done:
    /// an account may not list them, or the client has such as cannot be set; nor where the client's next statement may need
    /// another server at once.
    pub(crate) fn policy_for(&self, key: KeyId, client: Option<&Client>) -> Policy {
        let cannot = self.servers.len() > 1
            || self.unlistable.contains(&key)
            || client.is_none_or(|client| client.keeps_user_variables);
        match cannot {
            true => self.policy - Policy::RESTORE_USER_VARIABLES,
            false => self.policy,
        }
    }

    /// A statement of this user's was refused.
    pub(crate) fn has_refused(&mut self, reason: Reason, sql: &[u8], user: &Rc<str>) {
        self.refusals
            .note(reason, sql, Mode::default(), user, Instant::now());
    }

    /// A number for a connection that is to be opened.
    pub(crate) fn ticket(&mut self, ticket: Ticket) -> u64 {
        self.last_ticket += 1;
        self.tickets.insert(self.last_ticket, ticket);
        self.last_ticket
    }

    /// The settings, shared with those that are equal.
    pub(crate) fn share(&mut self, settings: Settings) -> Rc<Settings> {
        let found = self.common.iter().position(|common| **common == settings);
        let shared = match found {
            Some(index) => self.common.remove(index),
            None => Rc::new(settings),
        };
        if self.common.len() >= COMMON {
            self.common.remove(0);
        }
        self.common.push(shared.clone());
        shared
    }
}
