//! User variables are read before a connection is given away, if they are restored and something has changed.

use std::rc::Rc;

use super::Pools;
use crate::pool::backend::{Backend, Next, Then};
use crate::pool::client::Client;
use crate::pool::contents::Pool;
use crate::pool::errand::{Answer, query};
use crate::pool::flavour::Flavour;
use crate::pool::judging::decision::Policy;
use crate::pool::state::{Names, Snapshot, UserVariables};
use crate::proxy::{ConnId, Proxy};
use crate::track::Traces;

impl Pools {
    /// Whether the last client of a connection, which is there, has changed user variables that have to be read before others get
    /// the connection.
    pub(super) fn has_unread_user_variables(&self, server: ConnId) -> bool {
        let mut pools = self.pools.borrow_mut();
        let has = self.backends.with(server, |(id, backend)| {
            let traces = backend.session.known_to_be_left();
            if !traces.contains(Traces::USER_VARIABLES) {
                return false;
            }
            let (Some(pool), Some(owner)) = (pools.get_mut(id.0), backend.owner) else {
                return false;
            };
            let policy = self.policy_of(backend, pool);
            self.clients.has(owner) && policy.contains(Policy::RESTORE_USER_VARIABLES)
        });
        has == Some(true)
    }

    /// What the pool was told about the last client of a connection.
    pub(super) fn policy_of(&self, backend: &Backend, pool: &Pool) -> Policy {
        let of = |client: &Client| pool.policy_for(backend.key, Some(client));
        let policy = backend
            .owner
            .and_then(|owner| self.clients.with(owner, |(_, client)| of(client)));
        policy.unwrap_or_else(|| pool.policy_for(backend.key, None))
    }

    /// Reads the user variables of a connection's last client: first their names.
    pub(super) fn read_user_variables(&self, proxy: &Proxy, server: ConnId, next: Next) {
        let flavour = self.with_backend(server, |backend, pool| {
            pool.counters.carried += 1;
            backend.snapshot.as_ref().map(Snapshot::flavour)
        });
        let ask = Names::query(flavour.flatten().unwrap_or(Flavour::MySql));
        let then = Then::UserVariables { names: None, next };
        self.run(proxy, server, vec![query(&ask)], then);
    }

    /// Their names, or their values, were read.
    pub(super) fn have_read_user_variables(
        &self,
        proxy: &Proxy,
        server: ConnId,
        names: Option<Names>,
        next: Next,
        answers: &[Answer],
    ) {
        let [first, rest @ ..] = answers else {
            return self.failed_on(proxy, server, "there is no answer");
        };
        let is_denied = names.is_none() && first.error.is_some();
        if is_denied {
            self.note_unlistable(server, first);
        }
        let read = match names {
            _ if answers.iter().any(|answer| answer.error.is_some()) => None,
            None => match Names::of(&first.rows) {
                Some(names) if names.is_empty() => Some(UserVariables::default()),
                Some(names) => {
                    let commands = names.queries().iter().map(|sql| query(sql)).collect();
                    let names = Some(names);
                    return self.run(proxy, server, commands, Then::UserVariables { names, next });
                }
                None => None,
            },
            Some(names) => {
                let row = rest.first().and_then(|answer| answer.rows.first());
                row.and_then(|row| UserVariables::read(&names, &first.columns, row))
            }
        };
        match read {
            Some(read) => self.know_user_variables(proxy, server, read, next),
            None => self.keep_user_variables(proxy, server, is_denied, next),
        }
    }

    /// They are known: the connection goes on to what comes next.
    fn know_user_variables(&self, proxy: &Proxy, server: ConnId, read: UserVariables, next: Next) {
        let read = Rc::new(read);
        self.backends.with(server, |(_, backend)| {
            backend.session.were_read(Traces::USER_VARIABLES);
            backend.user_variables = read.clone();
            if let Some(owner) = backend.owner {
                self.clients.with(owner, |(_, client)| {
                    super::lend::carry(backend, client);
                    client.user_variables = read;
                });
            }
        });
        match next {
            Next::Lend(to) => self.goes_to(proxy, server, to),
            Next::Part => self.part(proxy, server),
            Next::Close(why) => {
                self.retire(proxy, server, why);
            }
        }
    }

    /// They cannot be restored: their client keeps its connection.
    fn keep_user_variables(&self, proxy: &Proxy, server: ConnId, is_denied: bool, next: Next) {
        let owner = self.backends.with(server, |(_, backend)| backend.owner);
        match owner.flatten().filter(|owner| self.clients.has(*owner)) {
            Some(owner) => {
                if !is_denied {
                    self.clients
                        .with(owner, |(_, client)| client.keeps_user_variables = true);
                }
                self.stays(proxy, server, owner);
            }
            None => self.agenda.borrow_mut().left.push(server),
        }
        if let Next::Lend(to) = next {
            self.try_again(proxy, to, None);
        }
    }

    /// The account of a connection may not list user variables.
    fn note_unlistable(&self, server: ConnId, answer: &Answer) {
        let account = self.with_backend(server, |backend, pool| {
            let is_new = pool.unlistable.insert(backend.key);
            let key = pool.keys.get(backend.key)?;
            is_new.then(|| key.account.clone())
        });
        let (Some(account), Some(err)) = (account.flatten(), &answer.error) else {
            return;
        };
        log::warn!(
            "the pool's account {account} cannot list user variables ({} {}), so whoever sets some keeps the connection: on \
             MySQL grant it SELECT on performance_schema.user_variables_by_thread",
            err.errnum,
            String::from_utf8_lossy(&err.message)
        );
    }
}
