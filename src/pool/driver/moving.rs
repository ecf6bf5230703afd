//! A client's logical session is written down, and one that was written down is gone on with.

use std::fmt;
use std::rc::Rc;

use super::Pools;
use super::control::Adopted;
use super::preparing::capabilities_of;
use crate::pool::backend::{Then, Use};
use crate::pool::client::{Client, Held, Phase, Prepared};
use crate::pool::contents::PoolId;
use crate::pool::errand::query;
use crate::pool::judging::reason::Reason;
use crate::pool::lending::key::OF_LOGIN;
use crate::pool::session::{Hold, LogicalSession};
use crate::pool::state::Snapshot;
use crate::pool::statements::ClientStatements;
use crate::proxy::{ConnId, Proxy};
use crate::wire::Capabilities;

/// Why there is no session of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSession {
    /// It is no client of a pool.
    NotPooled,
    /// A command of the client's waits, or is being executed.
    Busy,
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoSession::NotPooled => "it is no client of a pool",
            NoSession::Busy => "a command of the client's waits or is being executed",
        })
    }
}

/// Why a session cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdopted {
    /// It is held.
    Held(Hold),
    /// A command of the client's waits, or is being executed.
    Busy,
    /// It is of servers of another kind.
    OtherServers,
    /// The client has negotiated other capabilities that its session depends on.
    OtherCapabilities,
    /// There is no room for its prepared statements.
    NoRoom,
}

impl fmt::Display for NotAdopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdopted::Held(hold) => hold.fmt(f),
            NotAdopted::Busy => NoSession::Busy.fmt(f),
            NotAdopted::OtherServers => f.write_str("it is a session of servers of another kind"),
            NotAdopted::OtherCapabilities => {
                f.write_str("its client has negotiated other capabilities than this one")
            }
            NotAdopted::NoRoom => f.write_str("there is no room for its prepared statements"),
        }
    }
}

impl Pools {
    /// The logical session of a client that waits for nothing. The client gives its connection back, if
    /// it has one and does not keep it. `None`: what belongs to the session is being read from the
    /// connection; the layer above is told when that is over, and asks again.
    ///
    /// # Errors
    /// There is none at the moment.
    pub fn session(
        &self,
        proxy: &Proxy,
        client: ConnId,
    ) -> Result<Option<LogicalSession>, NoSession> {
        let found = self.clients.with(client, |(id, client)| {
            let is_kept = client.held.is_some() || !client.ongoing().is_empty();
            (*id, matches!(client.phase, Phase::Served), is_kept)
        });
        let (id, is_served, is_kept) = found.ok_or(NoSession::NotPooled)?;
        if !is_served || proxy.answering(client).is_some() {
            return Err(NoSession::Busy);
        }
        if let Some(server) = proxy.peer(client).filter(|_| !is_kept) {
            if !self.take_back(client, server) {
                return Err(NoSession::Busy);
            }
            self.backends
                .with(server, |(_, backend)| backend.used = Use::Moving);
            self.remember_statement(client, server);
            let _ = proxy.unlink(client, server);
            self.part(proxy, server);
        }
        if self.is_leaving(client) {
            self.awaited.borrow_mut().insert(client, id);
            return Ok(None);
        }
        let conn = client;
        let session = self.with_client(client, |client, pool| {
            let account = pool.keys.get(client.line.key)?.account.clone();
            let capabilities = capabilities_of(proxy, conn);
            Some(written(
                client,
                account,
                capabilities,
                pool.snapshot.as_ref(),
            ))
        });
        session.flatten().map(Some).ok_or(NoSession::NotPooled)
    }

    /// Reads what belongs to a connection's last client and is not known. Then the connection is free for
    /// anybody, unless it turns out that the client has to keep it.
    pub(super) fn part(&self, proxy: &Proxy, server: ConnId) {
        let owner = self.backends.with(server, |(_, backend)| backend.owner);
        let Some(owner) = owner.flatten() else {
            self.agenda.borrow_mut().left.push(server);
            return;
        };
        let unread = self.unread_diagnostics(owner);
        if !unread.is_empty() {
            self.note_leaving(server);
            let commands = unread.iter().map(|one| query(one.sql())).collect();
            return self.run(proxy, server, commands, Then::Told { to: None });
        }
        let unknown = self.with_backend(server, |backend, pool| {
            let unknown = super::lend::know(backend, pool).err()?;
            Some((backend.ask(&unknown), unknown))
        });
        let Some((commands, unknown)) = unknown.flatten() else {
            return self.carried(proxy, server, None);
        };
        self.note_leaving(server);
        let then = Then::Carried {
            to: None,
            unknown,
            rounds: 0,
        };
        self.run(proxy, server, commands, then);
    }

    /// Tells the layer above of clients whose sessions are known now, or are gone.
    pub(super) fn tell_parted(&self) {
        if self.awaited.borrow().is_empty() {
            return;
        }
        let is_over = |client: &ConnId, _: &mut PoolId| !self.is_leaving(*client);
        let parted: Vec<_> = self.awaited.borrow_mut().extract_if(is_over).collect();
        for (client, id) in parted {
            let above = self.with_pool(id, |pool| pool.above.clone());
            if let Some(above) = above {
                above.parted(client);
            }
        }
    }

    /// A client, which has logged in, goes on with a session that was written down. `account` is the name
    /// here of the account that connections for it are logged in with; of these, all clients of its user may
    /// use `max_connections` at a time (0: as many as there are).
    ///
    /// # Errors
    /// It cannot; nothing has changed.
    pub fn adopt_session(
        &self,
        proxy: &Proxy,
        id: PoolId,
        client: ConnId,
        (account, max_connections): (&str, usize),
        session: LogicalSession,
    ) -> Result<(), NotAdopted> {
        if let Some(hold) = session.held {
            return Err(NotAdopted::Held(hold));
        }
        let waits = |(_, client): &mut (PoolId, Client)| !matches!(client.phase, Phase::Served);
        if proxy.answering(client).is_some() || self.clients.with(client, waits) == Some(true) {
            return Err(NotAdopted::Busy);
        }
        let capabilities = capabilities_of(proxy, client);
        if (capabilities ^ session.capabilities).intersects(OF_LOGIN) {
            return Err(NotAdopted::OtherCapabilities);
        }
        let prepared = self.with_pool(id, |pool| {
            let present = pool.snapshot.as_ref().map(Snapshot::flavour);
            if session
                .flavour
                .is_some_and(|of| present.is_some_and(|present| present != of))
            {
                return Err(NotAdopted::OtherServers);
            }
            let Some(statements) = &session.statements else {
                return Ok(None);
            };
            let numbered = (u64::from(client.serial()), pool.dialect);
            let statements =
                ClientStatements::of_portable(statements, numbered, &mut pool.statements);
            let statements = statements.ok_or(NotAdopted::NoRoom)?;
            Ok(Some(Box::new(Prepared {
                statements,
                ..Prepared::new(numbered.0, numbered.1)
            })))
        });
        let prepared = prepared.transpose()?.flatten();
        let adopted = Adopted {
            client,
            user: &session.user,
            account,
            max_connections,
            party: session.party.as_deref().unwrap_or_default(),
            capabilities: session.capabilities,
            settings: (*session.initial).clone(),
        };
        self.adopt(proxy, id, adopted);
        self.with_client(client, |client, pool| {
            client.settings = pool.share((*session.settings).clone());
            client.last_insert_id = session.last_insert_id;
            client.multi_statements = session.multi_statements;
            client.diagnostics = session.diagnostics;
            client.trackers = session.trackers.map(Box::new);
            client.last_write = session.last_write;
            client.before = session.before;
            client.idle.own = session.wait_timeout;
            client.prepared = prepared;
        });
        Ok(())
    }
}

/// A client's session, as far as it is known without the client's connection.
fn written(
    client: &Client,
    account: Rc<str>,
    capabilities: Capabilities,
    snapshot: Option<&Snapshot>,
) -> LogicalSession {
    let mut diagnostics = client.diagnostics.clone();
    diagnostics.part();
    let statements = client
        .prepared
        .as_ref()
        .map(|of| of.statements.to_portable());
    let snapshot = client.snapshot.as_ref().or(snapshot);
    LogicalSession {
        flavour: snapshot.map(Snapshot::flavour),
        user: client.user.clone(),
        account,
        party: client.party.clone(),
        capabilities,
        multi_statements: client.multi_statements,
        initial: client.initial.clone(),
        settings: client.settings.clone(),
        last_insert_id: client.last_insert_id,
        diagnostics,
        statements,
        trackers: client.trackers.as_deref().cloned(),
        last_write: client.last_write.clone(),
        before: client.before,
        wait_timeout: client.idle.own,
        held: client
            .held
            .as_deref()
            .map(hold)
            .or_else(|| keeps_user_variables(client)),
    }
}

/// User variables are restored by SQL, which a session that somebody else has written down must not bring with it.
fn keeps_user_variables(client: &Client) -> Option<Hold> {
    (!client.user_variables.is_empty()).then(|| Hold {
        reason: Reason::UserVariable,
        statement: Vec::new(),
    })
}

fn hold(held: &Held) -> Hold {
    Hold {
        reason: held.reason,
        statement: held.statement.clone(),
    }
}
