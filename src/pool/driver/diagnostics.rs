//! Statements about the statement before: what is known of each client's diagnostics is kept up with
//! its commands, carried when its connection is given away, and answered for it.

use super::Pools;
use super::made_up::send_results;
use crate::pool::answers::diagnostics::{
    self, Answer, Manner, Needs, Outcome, Unread, asked, manner,
};
use crate::pool::answers::made_up::Results;
use crate::pool::backend::{Backend, Use};
use crate::pool::client::Client;
use crate::pool::contents::Pool;
use crate::pool::errand;
use crate::pool::judging::decision::Ongoing;
use crate::pool::judging::reason::Reason;
use crate::pool::routing::hints::Hints;
use crate::pool::state::{Access, Snapshot};
use crate::proxy::{ConnId, Decoded, Packet, Proxy};
use crate::sql::{Mode, digest_hash};
use crate::track::{Fact, Transaction};
use crate::wire::{Com, ErrPacket, Ok as OkPacket, Status};

/// How much of a statement is looked at, to learn it.
const KEPT: usize = 1024;

/// How many conditions a server lists if `max_error_count` is not known: the least that a session
/// has by default.
const LISTED: u64 = 64;

/// What the proxy says to a client in its server's place.
enum Reply {
    Results(Results, Status, u16),
    Refusal(ErrPacket),
}

impl Pools {
    /// Answers a query that asks for diagnostics which the client's connection does not have. False if
    /// it is a matter for the server.
    pub(super) fn answer_diagnostics(&self, proxy: &Proxy, client: ConnId, sql: &[u8]) -> bool {
        let Some(server) = proxy.peer(client) else {
            return false;
        };
        let reply = self.with_client(client, |client_of, pool| {
            if client_of.diagnostics.are_there() {
                return None;
            }
            let own = self.backends.with(server, |(_, backend)| {
                let is_own = backend.owner == Some(client);
                is_own.then(|| (digest_of(backend, client_of), backend.session.transaction()))
            });
            let (last, transaction) = own.flatten().unzip();
            let reply = reply(client_of, pool, sql, (last.flatten(), transaction));
            if let Some(Reply::Refusal(_)) = reply {
                pool.has_refused(Reason::DiagnosticsWanted, sql, &client_of.user);
            }
            reply
        });
        match reply.flatten() {
            None => return false,
            Some(Reply::Refusal(err)) => {
                let _ = proxy.send(client, Packet::Err(&err));
            }
            Some(Reply::Results(results, status, warnings)) => {
                send_results(proxy, client, &results, status, warnings);
            }
        }
        true
    }

    /// The error for an execute of a client's statement that asks for diagnostics which the client's
    /// connection does not have. `None` if it is a matter for the server. (What the proxy would answer
    /// is in the text protocol.)
    pub(super) fn refuses_execute(
        &self,
        client: ConnId,
        server: ConnId,
        id: u32,
    ) -> Option<ErrPacket> {
        let err = self.with_both(client, server, |client_of, backend, pool| {
            if client_of.diagnostics.are_there() {
                return None;
            }
            let statement = client_of
                .prepared
                .as_ref()?
                .statements
                .statement(id)?
                .clone();
            let snapshot = client_of.snapshot.as_ref()?;
            let mode = client_of.settings.mode(snapshot);
            let asked = asked(statement.text(), mode)?;
            if matches!(
                client_of.diagnostics.answer(&asked, Some(b"?")),
                Answer::Server
            ) {
                return None;
            }
            let is_own = backend.owner == Some(client);
            let last = is_own.then(|| digest_of(backend, client_of)).flatten();
            pool.has_refused(Reason::DiagnosticsWanted, statement.text(), &client_of.user);
            Some(refuse(client_of, pool, asked.needs(), last))
        });
        err.flatten()
    }

    /// A result of a client's command has ended.
    pub(super) fn note_diagnostics(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Option<&Decoded<'_>>,
    ) {
        let about = self.backends.with(server, |(_, backend)| {
            let owner = backend
                .owner
                .filter(|_| matches!(backend.used, Use::Lent) && !backend.session.is_idle())?;
            let is_prepared = backend.com == Com::STMT_PREPARE
                && !matches!(packet, Some(Decoded::Err(_) | Decoded::Prepared(_)));
            // A reset of a statement that is not there is a COM_PING.
            let asked = proxy.answering(owner);
            let com = asked
                .filter(|com| *com == Com::STMT_RESET)
                .unwrap_or(backend.com);
            Some((owner, manner_of(backend, com)?)).filter(|_| !is_prepared)
        });
        let Some((client, manner)) = about.flatten() else {
            return;
        };
        let rows = proxy.info(server).and_then(|info| info.rows());
        self.clients.with(client, |(_, client)| {
            client.diagnostics.ended(manner, outcome(packet, rows));
            client.before = None;
        });
    }

    /// What has to be read of its last client before a connection is given to another one.
    pub(super) fn unread_diagnostics(&self, client: ConnId) -> Vec<Unread> {
        let unread = self
            .clients
            .with(client, |(_, client)| client.diagnostics.unread().collect());
        unread.unwrap_or_default()
    }

    /// That was read from this connection.
    pub(super) fn read_diagnostics(&self, server: ConnId, answers: &[errand::Answer]) {
        let of = self.backends.with(server, |(_, backend)| {
            let owner = backend.owner?;
            self.clients
                .with(owner, |(_, client)| super::lend::carry(backend, client));
            Some((owner, backend.snapshot.clone()?))
        });
        let Some((owner, snapshot)) = of.flatten() else {
            return;
        };
        let unread = self.unread_diagnostics(owner);
        self.clients.with(owner, |(_, client)| {
            let charset = client
                .settings
                .effective("character_set_results", &snapshot);
            let limit = client.settings.effective("max_error_count", &snapshot);
            let limit = limit
                .flatten()
                .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            for (unread, answer) in unread.into_iter().zip(answers) {
                let rows = answer.rows.iter();
                let rows = rows.map(|row| row.iter().map(Option::as_deref).collect());
                // Texts in an uncertain character set are of no use.
                if let Some(charset) = charset {
                    client
                        .diagnostics
                        .read(unread, rows, charset, limit.unwrap_or(LISTED));
                }
            }
            client.diagnostics.part();
        });
    }

    /// Another client gets the connection of this one.
    pub(super) fn remember_statement(&self, client: ConnId, server: ConnId) {
        self.backends.with(server, |(_, backend)| {
            self.clients.with(client, |(_, client)| {
                client.before = digest_of(backend, client);
            });
        });
    }
}

/// What is going on with the statement that a client has just been answered: whether it is one after
/// which diagnostics were asked for.
pub(super) fn ongoing(backend: &Backend, client: &Client, pool: &mut Pool) -> Ongoing {
    let is_learnt = !pool.learnt.is_empty() && {
        let mode = mode(client, backend.snapshot.as_ref());
        let last = last_statement(backend, client);
        !last.is_empty() && pool.learnt.holds(last, mode)
    };
    let mut ongoing = Ongoing::empty();
    ongoing.set(Ongoing::DIAGNOSTICS_WANTED, is_learnt);
    if backend.com == Com::QUERY {
        let mode = mode(client, backend.snapshot.as_ref());
        ongoing.set(Ongoing::HINT, Hints::of(&backend.argument, mode).hold);
    }
    ongoing
}

/// The digest of the last statement that a client has executed on a connection.
fn digest_of(backend: &Backend, client: &Client) -> Option<[u8; 16]> {
    let statement = Some(last_statement(backend, client)).filter(|text| !text.is_empty())?;
    let mode = mode(client, backend.snapshot.as_ref());
    Some(digest_hash(statement, mode))
}

fn mode(client: &Client, snapshot: Option<&Snapshot>) -> Mode {
    snapshot.map_or_else(Mode::default, |snapshot| client.settings.mode(snapshot))
}

fn reply(
    client: &mut Client,
    pool: &mut Pool,
    sql: &[u8],
    (last, transaction): (Option<[u8; 16]>, Option<Fact<Transaction>>),
) -> Option<Reply> {
    let snapshot = client.snapshot.as_ref()?;
    let mode = client.settings.mode(snapshot);
    let asked = asked(sql, mode)?;
    let charset = client.settings.effective("character_set_results", snapshot);
    // In an uncertain character set there can be no texts.
    let charset = charset.unwrap_or(Some(b"?"));
    match client.diagnostics.answer(&asked, charset) {
        Answer::Server => None,
        Answer::Own(results) => {
            pool.counters.answered += 1;
            let mut status = status(client, snapshot);
            // One that has been used is nowhere but on the client's connection.
            if let Some(Fact::Known(Transaction::Open { read_only, .. })) = transaction {
                status.insert(Status::IN_TRANS);
                status.set(Status::IN_TRANS_READONLY, read_only);
            }
            let warnings = client.diagnostics.answered(&asked, &results);
            Some(Reply::Results(results, status, warnings))
        }
        Answer::Refused(needs) => Some(Reply::Refusal(refuse(client, pool, needs, last))),
    }
}

/// Refuses a client what it has asked for, and learns of the statement that came before.
fn refuse(client: &mut Client, pool: &mut Pool, needs: Needs, last: Option<[u8; 16]>) -> ErrPacket {
    pool.counters.refused_diagnostics += 1;
    // The last one on a connection that has just become the client's is the pool's own.
    if let Some(digest) = client.before.or(last) {
        pool.learnt.learn(digest);
    }
    let err = diagnostics::refusal(needs);
    client.diagnostics.refused(&err);
    err
}

/// The status of a client's session, whose transaction has used nothing yet if there is one.
pub(super) fn status(client: &Client, snapshot: &Snapshot) -> Status {
    let mut status = Status::empty();
    status.set(Status::AUTOCOMMIT, client.settings.autocommit(snapshot));
    let mode = client.settings.mode(snapshot);
    status.set(
        Status::NO_BACKSLASH_ESCAPES,
        mode.no_backslash_escapes == Some(true),
    );
    if let Some(access) = client.settings.begun(snapshot) {
        status.insert(Status::IN_TRANS);
        status.set(Status::IN_TRANS_READONLY, access == Access::ReadOnly);
    }
    let tells_quotes = snapshot.is_mariadb();
    status.set(
        Status::ANSI_QUOTES,
        tells_quotes && mode.ansi_quotes == Some(true),
    );
    status
}

fn manner_of(backend: &Backend, com: Com) -> Option<Manner> {
    let flavour = backend.snapshot.as_ref()?.flavour();
    let sql = (com == Com::QUERY).then_some(&backend.argument[..]);
    manner(com, sql, backend.session.mode(), flavour)
}

fn outcome<'a>(packet: Option<&'a Decoded<'_>>, rows: Option<u64>) -> Outcome<'a> {
    match packet {
        Some(Decoded::Ok(ok)) if ok.header == OkPacket::HEADER_EOF => Outcome::Rows {
            rows,
            warnings: ok.warnings,
        },
        Some(Decoded::Ok(ok)) => Outcome::Ok {
            affected: ok.affected_rows,
            warnings: ok.warnings,
        },
        Some(Decoded::Eof(eof)) => Outcome::Rows {
            rows,
            warnings: eof.warnings,
        },
        Some(Decoded::Prepared(ok)) => Outcome::Ok {
            affected: 0,
            warnings: ok.warnings,
        },
        Some(Decoded::Err(err)) => Outcome::Err {
            errno: err.errnum,
            message: &err.message,
        },
        _ => Outcome::Other,
    }
}

/// The start of the last statement on a client's connection, if it was one.
fn last_statement<'a>(backend: &'a Backend, client: &'a Client) -> &'a [u8] {
    let text = match backend.com {
        Com::QUERY | Com::STMT_EXECUTE | Com::STMT_BULK_EXECUTE => client.executed(backend),
        _ => b"",
    };
    text.get(..KEPT).unwrap_or(text)
}
