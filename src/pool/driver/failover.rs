//! What becomes of a client's command when its server dies, or is not what it was any more.

use std::time::Instant;

use super::Pools;
use crate::pool::backend::{Backend, Use};
use crate::pool::client::Waiting;
use crate::pool::contents::PoolId;
use crate::proxy::{ConnId, Decoded, Incoming, Packet, Proxy};
use crate::sql::{Mode, statement};
use crate::track::{Traces, Transaction};
use crate::wire::{Com, ErrPacket};

/// How often a read is executed again whose connection has died.
const MAX_RETRIES: u8 = 3;

/// ER_OPTION_PREVENTS_STATEMENT, which is about other options, too.
const PREVENTED: u16 = 1290;
/// ER_READ_ONLY_MODE.
const READ_ONLY: u16 = 1836;
/// ER_UNKNOWN_COM_ERROR, with which a node of Galera's refuses that is not in the primary component.
const NOT_PREPARED: u16 = 1047;

/// Whether a server has refused a command, and done nothing of it, because it takes no writes (any more).
fn takes_no_writes(err: &ErrPacket) -> bool {
    let says = |words: &[u8]| memchr::memmem::find(&err.message, words).is_some();
    match err.errnum {
        PREVENTED => says(b"read-only") || says(b"read_only"),
        READ_ONLY => true,
        NOT_PREPARED => says(b"WSREP"),
        _ => false,
    }
}

/// Whether the client's command on this connection belongs to a transaction, as far as that is known.
fn is_in_transaction(backend: &Backend) -> bool {
    !matches!(
        backend.session.transaction().known(),
        Some(Transaction::None)
    )
}

/// Whether the command only reads, so that it does no harm to execute it twice.
fn only_reads(backend: &Backend) -> bool {
    let about = match backend.com {
        Com::QUERY => statement(&backend.argument, Mode::default()),
        _ => None,
    };
    about.is_some_and(|about| about.read_only && !about.ambiguous)
}

impl Pools {
    /// Whether an ERR means that the command has not happened, and can be executed by another server. It is then not
    /// shown to the client.
    pub(super) fn is_turned_away(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
    ) -> bool {
        let Ok(Decoded::Err(err)) = packet.decode() else {
            return false;
        };
        if !takes_no_writes(&err) {
            return false;
        }
        let Some(client) = proxy
            .peer(server)
            .filter(|client| proxy.is_owed_all(*client))
        else {
            return false;
        };
        let is_free = self.backends.with(server, |(_, backend)| {
            backend.owner == Some(client)
                && matches!(backend.used, Use::Lent)
                && backend.attributes.is_some()
                && !backend
                    .session
                    .known_to_be_left()
                    .contains(Traces::USER_VARIABLES)
                && !is_in_transaction(backend)
        });
        let is_held = self
            .clients
            .with(client, |(_, client)| client.held.is_some());
        if is_free != Some(true) || is_held != Some(false) {
            return false;
        }
        self.agenda.borrow_mut().turned_away.push(client);
        true
    }

    /// A client's server takes no writes any more: its command waits for one that does.
    pub(super) fn turn_away(&self, proxy: &Proxy, client: ConnId) {
        let Some(server) = proxy.peer(client) else {
            return;
        };
        let command = self.with_backend(server, |backend, pool| {
            pool.counters.turned_away += 1;
            if let Some(of) = pool.servers.get_mut(backend.server) {
                of.distrust(Instant::now());
            }
            (backend.server, backend.clients_command())
        });
        self.release(proxy, client, server);
        if let Some((of, Some(command))) = command {
            self.look_again_at(client, of);
            self.wait_once_more(client, command);
        }
    }

    /// A client's command is to be executed once more, as soon as there is a server for it. It has waited since it
    /// came.
    fn wait_once_more(&self, client: ConnId, command: Vec<u8>) {
        let waiting = self.clients.with(client, |(_, client)| Waiting {
            command,
            line: client.line,
            since: *client.asked.get_or_insert_with(Instant::now),
            failures: 0,
        });
        if let Some(waiting) = waiting {
            self.wait_again(client, waiting);
        }
    }

    /// Has the layer above look at one of the servers of a client's pool.
    fn look_again_at(&self, client: ConnId, server: usize) {
        let of = self.with_client(client, |_, pool| {
            let of = pool.servers.get(server)?;
            Some((pool.above.clone(), of.name.clone()))
        });
        if let Some((above, name)) = of.flatten() {
            above.look_again(&name);
        }
    }

    /// A connection closes that a client's command is executed on: the command is executed once more, or the client is
    /// told that nobody knows what has become of it.
    pub(super) fn died_under(
        &self,
        proxy: &Proxy,
        client: ConnId,
        server: ConnId,
        backend: &Backend,
        may_repeat: bool,
    ) {
        self.look_again_at(client, backend.server);
        if !proxy.is_owed_all(client) {
            return; // it has the beginning of an answer that will not end
        }
        let retries = self.with_client(client, |client, pool| {
            let may = may_repeat
                && pool.options.retry_reads
                && client.held.is_none()
                && client.retries < MAX_RETRIES
                && !is_in_transaction(backend)
                && only_reads(backend);
            if may {
                client.retries += 1;
                pool.counters.retried += 1;
            }
            may
        });
        let command = backend.clients_command().filter(|_| retries == Some(true));
        let _ = proxy.unlink(client, server);
        match command {
            Some(command) => self.wait_once_more(client, command),
            None => tell_unknown(proxy, client, server),
        }
    }

    /// Closes all connections to a server that does not answer, so that those who wait for it can go on elsewhere.
    pub fn abandon(&self, proxy: &Proxy, id: PoolId, name: &str) {
        let of = self.with_pool(id, |pool| {
            pool.servers.iter().position(|server| &*server.name == name)
        });
        let mut lost = Vec::new();
        self.backends.each(|conn, (pool, backend)| {
            if *pool == id && Some(Some(backend.server)) == of {
                lost.push(conn);
            }
        });
        for server in lost {
            proxy.close(server, "its server does not answer");
        }
    }
}

/// Tells a client that its command may or may not have been executed.
fn tell_unknown(proxy: &Proxy, client: ConnId, server: ConnId) {
    let reason = proxy.info(server).map(|info| info.reason());
    let message = format!(
        "outcome-unknown: the connection to the server was lost while it executed this; it may have happened ({})",
        reason.unwrap_or_default()
    );
    let err = ErrPacket::new(1105, b"08S01", message);
    let _ = proxy.send(client, Packet::Err(&err));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_happened_is_told_from_other_errors() {
        let err = |errnum, message: &str| ErrPacket::new(errnum, b"HY000", message.to_owned());
        let option = "The MariaDB server is running with the --read-only option so it cannot execute this statement";
        assert!(takes_no_writes(&err(1290, option)));
        assert!(takes_no_writes(&err(
            1290,
            "… with the --super-read-only option …"
        )));
        assert!(takes_no_writes(&err(1836, "Running in read-only mode")));
        assert!(takes_no_writes(&err(
            1047,
            "WSREP has not yet prepared node for application use"
        )));
        assert!(!takes_no_writes(&err(
            1290,
            "… with the --secure-file-priv option …"
        )));
        assert!(!takes_no_writes(&err(1047, "Unknown command")));
        assert!(!takes_no_writes(&err(
            1792,
            "Cannot execute statement in a READ ONLY transaction."
        )));
    }
}
