//! Which server executes a client's command, where there are several.

use super::Pools;
use super::lend::{Lent, carry, know};
use crate::pool::above::Policies;
use crate::pool::backend::{Backend, Then, Use};
use crate::pool::client::{Client, Phase, Waiting};
use crate::pool::contents::Pool;
use crate::pool::errand::query;
use crate::pool::lending::waiters::Want;
use crate::pool::routing::causal::{Consistency, LastWrite, wait_for};
use crate::pool::routing::hints::Hints;
use crate::pool::routing::route::{Route, route};
use crate::pool::routing::servers::Role;
use crate::proxy::{ConnId, Incoming, Proxy};
use crate::wire::Com;

/// Where a client's command goes.
pub(super) enum Goes {
    /// Over its link.
    On,
    /// To another connection: the client has none any more.
    Elsewhere,
}

impl Pools {
    /// Notes which servers may execute a client's command. If it is linked to one that may not, it is not any more.
    pub(super) fn directs(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) -> Goes {
        let linked = proxy.peer(client);
        let wanted = self.with_client(client, |client, pool| wanted(client, pool, packet));
        let wanted = wanted.flatten().map(|wanted| self.choice(client, wanted));
        if let Some(wanted) = wanted {
            self.clients
                .with(client, |(_, client)| client.line.want = wanted);
        }
        let Some(server) = linked else {
            return Goes::Elsewhere;
        };
        let Some(wanted) = wanted else {
            return Goes::On;
        };
        let write = self.with_client(client, |client, pool| last_write(client, pool));
        let will_do = self.with_backend(server, |backend, pool| {
            pool.will_do(backend.server, wanted)
                && has_reached(backend, pool, &write.unwrap_or_default())
        });
        match will_do == Some(false) && self.lets_go(proxy, client, server) {
            true => Goes::Elsewhere,
            false => Goes::On,
        }
    }

    /// A client leaves a connection that it does not keep, and takes with it what is on that. False if that is not
    /// known.
    fn lets_go(&self, proxy: &Proxy, client: ConnId, server: ConnId) -> bool {
        let is_carried = self.with_backend(server, |backend, pool| {
            let is_free = backend.owner == Some(client) && matches!(backend.used, Use::Free(_));
            let is_known =
                know(backend, pool).is_ok() && backend.session.last_insert_id().known().is_some();
            is_free && is_known
        });
        if is_carried != Some(true) {
            return false;
        }
        self.backends.with(server, |(_, backend)| {
            self.clients
                .with(client, |(_, client)| carry(backend, client));
        });
        self.take_off_the_shelf(server);
        let _ = proxy.unlink(client, server);
        self.back_on_the_shelf(server);
        true
    }

    /// What a client's command has written, its party's reads see from now on.
    pub(super) fn note_write(client: &mut Client, backend: &mut Backend, pool: &mut Pool) {
        let Some(write) = backend.wrote.take() else {
            return;
        };
        match (pool.options.consistency, &client.party) {
            (Consistency::None, _) => {}
            (Consistency::Party, Some(party)) => pool.parties.wrote(party, write),
            _ => client.last_write = write,
        }
    }

    /// What a connection has to have before a client reads on it, if it is not known to have it.
    pub(super) fn has_to_wait(&self, server: ConnId, client: ConnId) -> Option<LastWrite> {
        let write = self.with_client(client, |client, pool| last_write(client, pool))?;
        let has_reached =
            self.with_backend(server, |backend, pool| has_reached(backend, pool, &write));
        (has_reached == Some(false)).then_some(write)
    }

    /// Has a replica wait for a write before a client reads on this connection, which nobody else uses.
    pub(super) fn wait_for_write(
        &self,
        proxy: &Proxy,
        server: ConnId,
        client: ConnId,
        mut waiting: Waiting,
        write: LastWrite,
    ) -> Lent {
        let ask = self.with_backend(server, |_, pool| {
            let LastWrite::Seen(gtid) = &write else {
                return None;
            };
            let flavour = pool.snapshot.as_ref()?.flavour();
            wait_for(gtid, flavour, pool.options.consistency_timeout)
        });
        let Some(ask) = ask.flatten() else {
            self.back_on_the_shelf(server);
            waiting.line.want = Want::Primary;
            self.clients
                .with(client, |(_, client)| client.line.want = Want::Primary);
            return Lent::No(waiting);
        };
        self.clients.with(client, |(_, client)| {
            client.phase = Phase::Arranging(Box::new(waiting));
        });
        let then = Then::Waited { to: client, write };
        self.run(proxy, server, vec![query(&ask)], then);
        Lent::Arranging
    }
}

/// Which servers may execute a command; `None` if it belongs where the client is.
fn wanted(client: &Client, pool: &Pool, packet: Incoming<'_>) -> Option<Want> {
    if pool.servers.len() < 2 || client.held.is_some() {
        return None;
    }
    if packet.command() != Some(Com::QUERY) {
        let is_unchosen = client.chosen.is_none() && client.line.want == Want::Primary;
        let chooses = pool.above.policies().contains(Policies::CHOOSE);
        return (is_unchosen && chooses).then_some(Want::Primary);
    }
    let sql = packet.sql()?;
    let Some(snapshot) = pool.snapshot.as_ref() else {
        return Some(Want::Primary);
    };
    let settings = &client.settings;
    let mode = settings.mode(snapshot);
    let hints = Hints::of(sql, mode);
    let named = hints.server.as_deref().and_then(|name| {
        let mut servers = pool.servers.iter();
        servers.position(|server| server.name.as_bytes() == name && server.is_usable())
    });
    if let Some(named) = named {
        return Some(Want::Server(named));
    }
    let may_split = settings.autocommit(snapshot) && settings.characteristics().is_empty();
    match hints.role {
        Some(Role::Primary) => return Some(Want::Primary),
        Some(Role::Replica) if may_split => return Some(of_reads(client, pool)),
        _ => {}
    }
    if !pool.options.split {
        return Some(Want::Primary);
    }
    let hides = pool
        .catalogues
        .hides(client.line.key, sql, mode, settings.schema());
    match route(sql, mode, &hides) {
        Route::Stay => None,
        Route::Replica if may_split => Some(of_reads(client, pool)),
        _ => Some(Want::Primary),
    }
}

/// Where a client's reads may go.
fn of_reads(client: &Client, pool: &Pool) -> Want {
    // Galera's nodes have GTIDs of their own, so that none can wait for another's.
    let is_galera = pool.servers.iter().any(|server| server.is_galera);
    match last_write(client, pool) {
        LastWrite::Unseen => Want::Primary,
        LastWrite::Seen(_) if is_galera => Want::Primary,
        _ => Want::Replica,
    }
}

/// The write that a client's reads have to see.
fn last_write(client: &Client, pool: &Pool) -> LastWrite {
    match (pool.options.consistency, &client.party) {
        (Consistency::None, _) => LastWrite::None,
        (Consistency::Party, Some(party)) => pool.parties.last(party),
        _ => client.last_write.clone(),
    }
}

/// Whether a read on this connection sees this write.
fn has_reached(backend: &Backend, pool: &Pool, write: &LastWrite) -> bool {
    let role = pool.servers.get(backend.server).map(|server| server.role);
    // A primary has all writes, and would wait for what never comes.
    role == Some(Role::Primary)
        || *write == LastWrite::None
        || *write != LastWrite::Unseen && *write == backend.reached
}
