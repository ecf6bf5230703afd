//! Starting TLS on a connection, and handling its failure.

use std::borrow::Cow;
use std::rc::Rc;

use crate::auth::is_certificate_proof;
use crate::net::{TlsClient, TlsClientOptions, TlsInfo, TlsMode};
use crate::proxy::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::id::ConnId;
use crate::proxy::options::Options;
use crate::proxy::table::conn::{Conn, Role, Socket};
use crate::proxy::table::core::Core;
use crate::proxy::table::received::Refusal;
use crate::proxy::table::tls_clients::Found;
use crate::wire::frame::{self, HEADER};
use crate::wire::{Capabilities, ErrPacket, Ok as OkPacket, SslRequest};

/// Not 2026, the clients' own number for a failure of TLS: MariaDB's clients do not accept that
/// from a server, and show "malformed packet" instead of its message.
const ER_UNKNOWN_ERROR: u16 = 1105;
/// The error of MySQL's servers under require_secure_transport.
const ER_SECURE_TRANSPORT_REQUIRED: u16 = 3159;

/// An attacker on the network could have inserted it, so that it would be taken for data of the TLS
/// session, such as the server's OK or rows.
/// <https://www.usenix.org/conference/usenixsecurity21/presentation/poddebniak>
pub(crate) const CLEAR_BEFORE_TLS: &str =
    "the server sent more than its handshake in clear, before TLS could begin";

impl Core {
    /// The TLS configuration towards a server. On a unix socket (no host) there is TLS only if the
    /// options ask for it.
    pub fn tls_towards(
        &mut self,
        options: &Options,
        to: Option<(&str, u16)>,
    ) -> Result<Option<Rc<TlsClient>>, ProxyError> {
        let tls = match &options.tls_client {
            Some(tls) => tls.clone(),
            // As MySQL's clients do it.
            None => TlsClientOptions {
                mode: match to {
                    Some(_) => TlsMode::Preferred,
                    None => TlsMode::Disabled,
                },
                ..TlsClientOptions::default()
            },
        };
        if tls.mode == TlsMode::Disabled {
            return Ok(None);
        }
        let (host, port) = to.unwrap_or(("localhost", 0));
        let client = match self.tls_clients.get(&tls, host, port)? {
            Found::Known(client) => client,
            Found::Read(client) => {
                for warning in client.warnings() {
                    self.certificates.add(warning);
                }
                client
            }
        };
        Ok(Some(client))
    }

    /// Begins TLS with a client, if this packet requests TLS and it was offered. Bytes that were
    /// read after the packet belong to TLS: to treat them as packets would let an attacker on the
    /// network insert commands of his own.
    pub fn accept_ssl_request(&mut self, id: ConnId, frames: &[u8], rest: &[u8]) -> bool {
        let Some(conn) = self.open_mut(id) else {
            return false;
        };
        if conn.is_tls() || frames.len() != HEADER + SslRequest::LEN {
            return false;
        }
        let Role::Client(session) = &mut conn.role else {
            return false;
        };
        let Some(tls) = &conn.options.tls_server else {
            return false;
        };
        if !session.awaits_auth() || !SslRequest::matches(&frame::payload(frames)) {
            return false;
        }
        let tls = match tls.session() {
            Ok(tls) => tls,
            Err(error) => {
                self.close_soon.push((id, format!("TLS: {error}")));
                return true;
            }
        };
        session.received_ssl_request(frame::last_seq(frames));
        conn.start_tls(tls, rest);
        self.touch(id);
        true
    }
}

impl Conn {
    /// Requests TLS from the server, if that was decided, before the auth packet that is about to
    /// be sent: the request is the start of that packet. An auth packet without the flag for TLS is
    /// refused then, since it would be sent in clear.
    pub fn upgrade_before_auth(&mut self, auth: &[u8], asked: Capabilities) -> Result<(), String> {
        let Some(tls) = self.tls_client().cloned().filter(|_| !self.is_tls()) else {
            return Ok(());
        };
        let Some(request) = auth
            .get(..SslRequest::LEN)
            .filter(|_| asked.contains(Capabilities::SSL))
        else {
            return Err("there is to be TLS, but the auth packet does not ask for it".into());
        };
        if !self.read.input.is_empty() {
            return Err(CLEAR_BEFORE_TLS.to_string());
        }
        let session = tls.session().map_err(|error| error.to_string())?;
        let mut seq = *self.seq();
        frame::write(request, &mut seq, &mut self.write.output);
        *self.seq() = seq;
        self.start_tls(session, &[]);
        Ok(())
    }

    /// The TLS handshake is over.
    pub fn established(&mut self, session: TlsInfo) {
        log::debug!(
            "connection {}: {} with {}{}{}",
            self.id().serial,
            session.version,
            session.cipher,
            if session.resumed { ", resumed" } else { "" },
            match &session.peer {
                Some(peer) => format!(", certificate of {}", peer.subject),
                None => String::new(),
            }
        );
        self.info.set_tls(TlsInfo {
            shown: self.own_certificate(),
            ..session
        });
    }

    /// The SHA-256 of the certificate that this client has been shown.
    pub fn own_certificate(&self) -> Option<[u8; 32]> {
        let shown = matches!(self.role, Role::Client(_)) && self.is_tls();
        let tls = self.options.tls_server.as_ref().filter(|_| shown)?;
        Some(tls.fingerprint())
    }
}

impl Proxy {
    /// If the connection failed because of TLS: why. A client whose login passes through to that
    /// server gets an error.
    pub(crate) fn without_tls(&self, id: ConnId) -> Option<String> {
        let (reason, client) = {
            let core = self.core();
            let conn = core.open(id)?;
            let Socket::Open(channel) = &conn.socket else {
                return None;
            };
            let reason = format!("TLS: {}", channel.stream.tls_failure()?);
            let client = match conn.role {
                Role::Server(_) if !conn.authenticated() => core.peer(id),
                _ => None,
            };
            (reason, client)
        };
        log::warn!("connection {}: {reason}", id.serial());
        if let Some(client) = client {
            let message = format!("SSL connection error: {reason}");
            self.tell_client(client, &ErrPacket::new(ER_UNKNOWN_ERROR, b"HY000", message));
        }
        Some(reason)
    }

    /// Sends a client the reason why its login fails. The client is closed together with its
    /// server.
    pub(crate) fn tell_client(&self, client: ConnId, err: &ErrPacket) {
        if let Err(why) = self.core().put_error(client, err) {
            log::debug!("connection {}: not told of it: {why}", client.serial);
        }
    }
}

/// Decides whether to use TLS with a server, once it is known whether it offers TLS.
pub(crate) fn decide(
    wanted: Option<Rc<TlsClient>>,
    offered: bool,
) -> Result<Option<Rc<TlsClient>>, Refusal> {
    match wanted {
        Some(tls) if !offered && tls.mode().insists() => Err(Refusal {
            reason: "TLS is required, but the server does not offer it".to_string(),
            answer: Some(ErrPacket::new(
                ER_UNKNOWN_ERROR,
                b"HY000",
                "SSL connection error: SSL is required but the server doesn't support it".into(),
            )),
            by_server: true,
        }),
        wanted => Ok(wanted.filter(|_| offered)),
    }
}

/// The OK of a login without MariaDB's proof of the server's certificate, since the client was
/// shown another certificate.
pub(crate) fn without_proof<'a>(
    payload: &Cow<'a, [u8]>,
    capabilities: Capabilities,
) -> Cow<'a, [u8]> {
    match OkPacket::decode(payload, capabilities) {
        Ok(mut ok) if is_certificate_proof(&ok.message) => {
            ok.message.clear();
            let mut without = Vec::new();
            ok.encode(capabilities, &mut without);
            Cow::Owned(without)
        }
        _ => payload.clone(),
    }
}

/// The error for a client that logs in without TLS although its listener requires it.
pub(crate) fn insecure() -> Refusal {
    Refusal {
        reason: "the client logs in without TLS, which its listener requires".to_string(),
        answer: Some(ErrPacket::new(
            ER_SECURE_TRANSPORT_REQUIRED,
            b"HY000",
            "Connections using insecure transport are prohibited here".into(),
        )),
        by_server: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::ConnKind;

    #[test]
    fn a_login_without_the_wish_for_tls_is_not_sent_in_clear() {
        let mut core = Core::new(crate::workers::Worker::alone()).unwrap();
        let role = Role::Server(Default::default());
        let options = core.defaults.clone();
        let info = core
            .insert(
                ConnKind::Server,
                role,
                Socket::None,
                options,
                ("db".into(), 3306),
            )
            .unwrap();
        let conn = core.get_mut(info.id).unwrap();
        assert_eq!(
            conn.upgrade_before_auth(&[0; 64], Capabilities::empty()),
            Ok(())
        );
        let tls = TlsClient::new(&TlsClientOptions::default(), "db").unwrap();
        conn.login.get_or_insert_default().tls = Some(Rc::new(tls));
        let refused = conn.upgrade_before_auth(&[0; 64], Capabilities::USUAL);
        assert!(refused.is_err_and(|why| why.contains("TLS")));
        let short = conn.upgrade_before_auth(&[0; 8], Capabilities::SSL);
        assert!(short.is_err());
        assert!(conn.write.output.is_empty());
    }
}
