//! Logins that pass through, packet by packet: the two ends' [relays](super::login_relay) are told, and
//! say what becomes of each.

use std::borrow::Cow;

use super::exposure::{Leg, Legs, Method};
use super::login_relay::{Carrier, LoginRelay, Relayed};
use super::own_key::prepare_own_key;
use super::tls::without_proof;
use crate::proxy::flow::deliver::{Leaving, Part};
use crate::proxy::id::ConnId;
use crate::proxy::outgoing::Packet;
use crate::proxy::table::conn::{Conn, Role, Socket};
use crate::proxy::table::core::Core;
use crate::proxy::table::received::Received;
use crate::proxy::table::sides::Numbering;
use crate::session::PacketKind;
use crate::wire::{Auth, ChangeUser, Com};

/// The result of handling a login's packet.
pub(crate) enum Handed {
    /// It is to be forwarded to the peer, perhaps changed.
    On,
    /// Its sender has been answered, and nothing is forwarded.
    Answered,
    /// The login is to be refused.
    Refused(String),
}

impl Conn {
    /// Follows a packet of a login that a script has wired.
    pub(crate) fn follow_wired(
        &mut self,
        packet: Packet<'_>,
        payload: &[u8],
    ) -> Result<(), String> {
        let is_client = matches!(self.role, Role::Client(_));
        match packet {
            Packet::Handshake(_) => self.relay = Some(Box::new(LoginRelay::greeted(payload)?)),
            Packet::AuthData(_) if is_client => self.relay.get_or_insert_default().told(payload),
            Packet::Auth(auth) => {
                let relay = self.relay.get_or_insert_default();
                relay.named(auth.auth_plugin.as_deref());
            }
            Packet::Command(command) if command.com == Com::CHANGE_USER => {
                let relay = self.relay.get_or_insert_default();
                relay.changes_user(&command.argument);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Core {
    /// Follows a packet of a login that is about to be forwarded.
    pub fn relay(
        &mut self,
        id: ConnId,
        to: ConnId,
        received: &mut Received<'_>,
    ) -> Result<Handed, String> {
        let login = match received.step.kind {
            PacketKind::Handshake | PacketKind::Auth | PacketKind::AuthData => true,
            PacketKind::Command => received.payload.first() == Some(&Com::CHANGE_USER.0),
            PacketKind::Ok | PacketKind::Err => false,
            _ => return Ok(Handed::On),
        };
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Handed::On);
        };
        let (client, server) = match from.role {
            Role::Server(_) => (&mut *receiver, &mut *from),
            _ => (&mut *from, &mut *receiver),
        };
        let legs = Legs::of(client, server);
        if !login {
            // Kept, since a COM_CHANGE_USER may refer to the challenge of the login.
            if legs.client == legs.server {
                client.relay = None;
                server.relay = None;
            }
            let ours = client.own_certificate();
            let theirs = server.info.tls();
            let theirs = theirs.as_ref().and_then(|session| session.peer.as_ref());
            if received.step.kind == PacketKind::Ok
                && matches!(received.answers, None | Some(Com::CHANGE_USER))
                && ours.is_none_or(|ours| theirs.is_none_or(|peer| peer.fingerprint != ours))
            {
                received.payload = without_proof(&received.payload, received.capabilities);
            }
            return Ok(Handed::On);
        }
        let capabilities = client.capabilities();
        let relay = client.relay.get_or_insert_default();
        let served = server.relay.get_or_insert_default();
        let relayed = match received.step.kind {
            PacketKind::Handshake => {
                **relay = LoginRelay::greeted(&received.payload)?;
                Relayed::Pass
            }
            PacketKind::Auth => {
                let auth = Auth::decode(&received.payload).map_err(|error| error.to_string())?;
                served.named(auth.auth_plugin.as_deref());
                if matches!(relay.method(), Method::CachingSha2 | Method::Sha256)
                    && legs.server.takes_clear(relay.method())
                    && !legs.client.takes_clear(relay.method())
                {
                    prepare_own_key();
                }
                let answer = auth.auth_response.clone();
                relay.client_says(&answer, Carrier::Auth(Box::new(auth)), legs)
            }
            PacketKind::Command => {
                let argument = received.payload.get(1..).unwrap_or_default();
                let command = ChangeUser::decode(argument).map_err(|error| error.to_string())?;
                served.named(command.auth_plugin.as_deref());
                let answer = command.auth_response.clone();
                let carrier = Carrier::ChangeUser(Box::new(command), capabilities);
                relay.client_says(&answer, carrier, legs)
            }
            _ if matches!(received.info.kind, crate::proxy::ConnKind::Server) => {
                relay.server_says(&received.payload, &served.nonce, legs)
            }
            _ => relay.client_says(&received.payload, Carrier::Round, legs),
        };
        match relayed {
            Relayed::Pass => Ok(Handed::On),
            Relayed::Replace(kind, payload) => {
                // What is sent later in place of COM_CHANGE_USER still begins a new exchange.
                received.numbering = match kind {
                    PacketKind::Command => Numbering::Restarts,
                    _ => Numbering::GoesOn,
                };
                received.step.kind = kind;
                received.payload = Cow::Owned(payload);
                Ok(Handed::On)
            }
            Relayed::Answer(payload) => {
                let round = Part::Own(PacketKind::AuthData);
                self.deliver(id, Leaving::new(round, &payload))?;
                Ok(Handed::Answered)
            }
            Relayed::Refuse(why) => Ok(Handed::Refused(why)),
        }
    }

    /// Whether a script may wire this to a server: a client's secrets must not go to the open leg
    /// in this way either.
    pub(crate) fn keeps_secret(&self, id: ConnId, packet: Packet<'_>) -> Result<(), String> {
        let Some(server) = self.open(id) else {
            return Ok(());
        };
        let Some(client) = self.peer(id).and_then(|client| self.open(client)) else {
            return Ok(());
        };
        let logs_in = !client.authenticated() || client.answering() == Some(Com::CHANGE_USER);
        let to_server = matches!(server.role, Role::Server(_));
        if !to_server || !logs_in || !Legs::of(client, server).exposed() {
            return Ok(());
        }
        let asked_more = [client, server]
            .into_iter()
            .filter_map(|conn| conn.relay.as_ref())
            .any(|relay| relay.full || relay.answers > 1);
        let hidden = |plugin: Option<&[u8]>, answer: &[u8], first: bool| {
            let method = Method::of(plugin.unwrap_or_default());
            method.hides(answer, first) || method.by_key(answer)
        };
        let hidden = match packet {
            Packet::Auth(auth) => hidden(auth.auth_plugin.as_deref(), &auth.auth_response, true),
            Packet::Command(command) if command.com == Com::CHANGE_USER => {
                let command =
                    ChangeUser::decode(&command.argument).map_err(|error| error.to_string())?;
                hidden(command.auth_plugin.as_deref(), &command.auth_response, true)
            }
            Packet::AuthData(answer) => {
                let plugin = server.relay.as_ref().map(|relay| &*relay.plugin);
                hidden(plugin, answer, !asked_more)
            }
            _ => true,
        };
        match hidden {
            true => Ok(()),
            false => Err(
                "it may show a password that came over an encrypted connection to one that is not: \
                 give the connection to the server TLS, or say cleartext = \"allow\""
                    .to_string(),
            ),
        }
    }
}

impl Leg {
    pub fn of(conn: &Conn) -> Leg {
        let tls = match conn.role {
            Role::Server(_) => {
                conn.is_tls() || conn.tls_client().is_some() && conn.info.secure.get()
            }
            _ => conn.is_tls(),
        };
        Leg {
            tls,
            unix: matches!(&conn.socket, Socket::Open(channel) if channel.stream.is_unix()),
        }
    }
}

impl Legs {
    pub fn of(client: &Conn, server: &Conn) -> Legs {
        Legs {
            client: Leg::of(client),
            server: Leg::of(server),
            cleartext: server.options.cleartext,
        }
    }
}
