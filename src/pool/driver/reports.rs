//! What clients are told of changes of their sessions, and what they say about that.

use super::Pools;
use super::diagnostics::status;
use super::made_up::send_results;
use crate::pool::answers::idle;
use crate::pool::answers::made_up::Results;
use crate::pool::answers::reports::{Said, Setting, Trackers, lists_variables, refusal, said};
use crate::pool::client::{Client, Listing};
use crate::pool::judging::reason::Reason;
use crate::pool::state::Snapshot;
use crate::proxy::{ConnId, Decoded, Incoming, Packet, Proxy, Verdict};
use crate::sql::Mode;
use crate::wire::{Com, Command, ErrPacket, Ok as OkPacket, Status};

/// What the proxy does about a statement that is about trackers.
enum Reply {
    Ok(OkPacket),
    Results(Results, Status),
    Refusal(ErrPacket),
    /// The server is to execute this in its place.
    Instead(Vec<u8>),
}

impl Pools {
    /// Answers a query about trackers, of a client that has a connection. False if it is about
    /// something else.
    pub(super) fn answer_trackers(&self, proxy: &Proxy, client: ConnId, sql: &[u8]) -> bool {
        let reply = self.with_client(client, |client, pool| {
            let snapshot = client.snapshot.clone()?;
            let reply = reply(client, &snapshot, sql)?;
            if let Reply::Refusal(err) = &reply {
                if err.errnum == 1105 {
                    pool.counters.refused_session_track += 1;
                    pool.has_refused(Reason::SessionTrack, sql, &client.user);
                }
                client.diagnostics.refused(err);
            }
            Some(reply)
        });
        match reply.flatten() {
            None => return false,
            Some(Reply::Ok(ok)) => {
                let _ = proxy.send(client, Packet::Ok(&ok));
            }
            Some(Reply::Refusal(err)) => {
                let _ = proxy.send(client, Packet::Err(&err));
            }
            Some(Reply::Results(results, status)) => {
                send_results(proxy, client, &results, status, 0);
            }
            Some(Reply::Instead(sql)) => {
                send_instead(proxy, client, sql);
            }
        }
        true
    }

    /// The error for a client's statement that is about trackers: what the proxy answers is in the text protocol. `None` if it
    /// is about something else.
    pub(super) fn refuses_prepare(&self, client: ConnId, text: &[u8]) -> Option<ErrPacket> {
        let err = self.with_client(client, |client, pool| {
            let snapshot = client.snapshot.as_ref()?;
            if said(text, client.settings.mode(snapshot)) == Said::Nothing {
                return None;
            }
            let err = refusal();
            pool.counters.refused_session_track += 1;
            pool.has_refused(Reason::SessionTrack, text, &client.user);
            client.diagnostics.refused(&err);
            Some(err)
        });
        err.flatten()
    }

    /// A client's query is about to be executed: whether rows of its answer are to be looked at.
    pub(super) fn begins_listing(&self, proxy: &Proxy, client: ConnId, server: ConnId, sql: &[u8]) {
        let is_new = self.clients.with(client, |(_, client)| {
            let mode = client.snapshot.as_ref();
            let mode = mode.map_or_else(Mode::default, |of| client.settings.mode(of));
            let listing = match lists_variables(sql, mode) {
                true => Listing::Variables,
                false => Listing::Nothing,
            };
            std::mem::replace(&mut client.listing, listing) != listing
        });
        if is_new == Some(true) {
            proxy.rearm(server);
        }
    }

    /// Whether rows that this client gets are looked at.
    pub(super) fn lists(&self, client: ConnId) -> bool {
        let listing = self.clients.with(client, |(_, client)| client.listing);
        listing == Some(Listing::Variables)
    }

    /// The answer that a client gets of this server has ended.
    pub(super) fn ends_listing(&self, proxy: &Proxy, server: ConnId) {
        let Some(client) = proxy.peer(server).filter(|client| self.lists(*client)) else {
            return;
        };
        self.clients
            .with(client, |(_, client)| client.listing = Listing::Nothing);
        proxy.rearm(server);
    }

    /// Shows a row of a list of variables to its client, with the client's own trackers and `wait_timeout`.
    pub(super) fn show_row(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
        verdict: Verdict,
    ) -> Verdict {
        let Some(client) = proxy.peer(server).filter(|_| verdict == Verdict::Forward) else {
            return verdict;
        };
        let row = self.clients.with(client, |(_, client)| {
            if client.listing == Listing::Nothing {
                return None;
            }
            let snapshot = client.snapshot.as_ref()?;
            let charset = client.settings.effective("character_set_results", snapshot);
            let charset = charset.unwrap_or(Some(b"?"));
            let row = packet.payload;
            let tracker = match &client.trackers {
                Some(trackers) => trackers.listed(row, charset),
                None => Trackers::of(snapshot).listed(row, charset),
            };
            let own = client.idle.beside(snapshot).and_then(|(own, _)| own);
            tracker.or_else(|| idle::listed(row, snapshot.flavour(), charset, own?))
        });
        let Some(row) = row.flatten() else {
            return verdict;
        };
        match proxy.send(client, Packet::Row(&row)) {
            Ok(()) => Verdict::Hold,
            Err(error) => {
                log::debug!("connection {}: {error}", client.serial());
                verdict
            }
        }
    }

    /// Shows an OK of a server's to its client as that is to see it.
    pub(super) fn show_ok(
        &self,
        proxy: &Proxy,
        server: ConnId,
        packet: Incoming<'_>,
        verdict: Verdict,
    ) -> Verdict {
        let Some(client) = proxy.peer(server).filter(|_| verdict == Verdict::Forward) else {
            return verdict;
        };
        let com = self.backends.with(server, |(_, backend)| backend.com);
        let is_simple = matches!(com, Some(Com::PING | Com::INIT_DB | Com::SET_OPTION));
        let status = OkPacket::peek_status(packet.payload).unwrap_or_default();
        let metadata = match com {
            Some(Com::STMT_EXECUTE) => self.other_metadata(client, status),
            _ => None,
        };
        if !status.contains(Status::SESSION_STATE_CHANGED) && !is_simple && metadata.is_none() {
            return verdict;
        }
        let Ok(Decoded::Ok(ok)) = packet.decode() else {
            return verdict;
        };
        let Some(info) = proxy.info(client) else {
            return verdict;
        };
        let asked = proxy.answering(client);
        let other = self.clients.with(client, |(_, client)| {
            let snapshot = client.snapshot.as_ref()?;
            let shown = match &mut client.trackers {
                Some(trackers) => trackers.show(&ok, info.capabilities.get()),
                None => Trackers::of(snapshot).show(&ok, info.capabilities.get()),
            };
            // MySQL counts the warnings that it has kept, which may be another client's. A reset of a statement that
            // is not there is answered by COM_PING, and counts none.
            let warnings = match asked {
                Some(Com::STMT_RESET) => Some(0),
                _ => client.diagnostics.own_warnings(),
            };
            let warnings = warnings.filter(|own| is_simple && *own != ok.warnings);
            if warnings.is_none() && metadata.is_none() {
                return shown;
            }
            let mut shown = shown.unwrap_or(ok);
            shown.warnings = warnings.unwrap_or(shown.warnings);
            let have_changed = shown.status.contains(Status::METADATA_CHANGED);
            (shown.status).set(Status::METADATA_CHANGED, metadata.unwrap_or(have_changed));
            Some(shown)
        });
        let Some(other) = other.flatten() else {
            return verdict;
        };
        match proxy.send(client, Packet::Ok(&other)) {
            Ok(()) => Verdict::Hold,
            Err(error) => {
                log::debug!("connection {}: {error}", client.serial());
                verdict
            }
        }
    }
}

impl Pools {
    /// Whether a client's own server would say that the columns of its statement have changed, if this one says otherwise: it
    /// may have prepared the statement after the change, or have said so to another client.
    fn other_metadata(&self, client: ConnId, status: Status) -> Option<bool> {
        let have_changed = self.clients.with(client, |(_, client)| {
            client.prepared.as_mut()?.has_changed.take()
        });
        let have_changed = have_changed.flatten();
        have_changed.filter(|have| *have != status.contains(Status::METADATA_CHANGED))
    }
}

/// Has a client's server execute this text in place of what the client has sent.
pub(super) fn send_instead(proxy: &Proxy, client: ConnId, sql: Vec<u8>) {
    let command = Command {
        com: Com::QUERY,
        argument: sql.into(),
        ..Command::default()
    };
    if let Some(server) = proxy.peer(client)
        && let Err(error) = proxy.send(server, Packet::Command(&command))
    {
        log::warn!("connection {}: {error}", server.serial());
        proxy.close(server, "a statement could not be sent to it");
    }
}

fn reply(client: &mut Client, snapshot: &Snapshot, sql: &[u8]) -> Option<Reply> {
    let said = said(sql, client.settings.mode(snapshot));
    if said == Said::Nothing {
        return None;
    }
    let charset = client.settings.effective("character_set_results", snapshot);
    let charset = charset.unwrap_or(Some(b"?"));
    let trackers = || match &client.trackers {
        Some(trackers) => (**trackers).clone(),
        None => Trackers::of(snapshot),
    };
    let results = match said {
        Said::Nothing => return None,
        Said::Otherwise => None,
        Said::Selects(items) => trackers().select(&items, charset),
        Said::Lists(pattern) => trackers().list(&pattern, charset),
        Said::Sets { settings, rest } => {
            return Some(set(client, snapshot, trackers(), &settings, rest));
        }
    };
    Some(match results {
        Some(results) => Reply::Results(results, status(client, snapshot)),
        None => Reply::Refusal(refusal()),
    })
}

fn set(
    client: &mut Client,
    snapshot: &Snapshot,
    mut trackers: Trackers,
    settings: &[Setting],
    rest: Option<Vec<u8>>,
) -> Reply {
    if let Err(err) = trackers.set(settings, snapshot) {
        return Reply::Refusal(err);
    }
    client.trackers = Some(Box::new(trackers));
    match rest {
        Some(rest) => Reply::Instead(rest),
        None => {
            client.diagnostics.accepted_set();
            Reply::Ok(OkPacket {
                status: status(client, snapshot),
                ..OkPacket::default()
            })
        }
    }
}
