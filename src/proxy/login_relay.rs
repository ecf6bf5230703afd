//! Logins that pass through where the two legs are not equally safe.
//!
//! Client and server agree between themselves on how a password travels, and each goes by the leg
//! that it sees. Where one leg is TLS (or a unix socket) and the other is not, both would be wrong:
//! a client in clear asks for the server's key, which a server behind TLS would take for the
//! password; a client behind TLS says its password as it is, which must not go on in clear. So the
//! rounds are followed here, and translated:
//!
//! - the client's leg open, the server's safe: the proxy answers the client's request for a key
//!   with [its own](rsa::own_key), decrypts what comes, and sends the password over the safe leg;
//! - the client's leg safe, the server's open: what reveals the password is refused, unless the
//!   connect says otherwise ([`Cleartext`]).
//!
//! Methods that never reveal the password pass as they are, and so does everything between equal
//! legs.

use std::borrow::Cow;
use std::sync::Once;

use super::conn::{Conn, ConnId, Role, Socket};
use super::core::Core;
use super::options::Cleartext;
use super::take::Taken;
use crate::auth::{is_certificate_proof, rsa};
use crate::session::{Head, PacketKind};
use crate::wire::{
    Auth, AuthMoreData, AuthSwitch, Capabilities, ChangeUser, Com, Handshake, Ok as OkPacket,
};

/// What a method of authentication reveals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The password, when the server does not know it yet: in clear over TLS and unix sockets,
    /// else encrypted.
    CachingSha2,
    /// The password, always: in clear over TLS, else encrypted.
    Sha256,
    /// The password or a token that is as good.
    Clear,
    /// Nothing (or nothing that we know of).
    Other,
}

impl Method {
    fn of(plugin: &[u8]) -> Method {
        match plugin {
            b"caching_sha2_password" => Method::CachingSha2,
            b"sha256_password" => Method::Sha256,
            b"mysql_clear_password" | b"dialog" | b"authentication_openid_connect_client" => {
                Method::Clear
            }
            _ => Method::Other,
        }
    }

    /// What asks for the server's key.
    fn key_request(self) -> &'static [u8] {
        match self {
            Method::Sha256 => &[1],
            _ => &[2],
        }
    }
}

/// How safe a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leg {
    tls: bool,
    unix: bool,
}

impl Leg {
    fn of(conn: &Conn) -> Leg {
        let tls = match conn.role {
            Role::Server(_) => conn.tls.is_some() && conn.info.secure.get(),
            _ => conn.is_tls(),
        };
        Leg {
            tls,
            unix: matches!(&conn.socket, Socket::Open(channel) if channel.stream.is_unix()),
        }
    }

    /// Whether the server takes a password in clear on it.
    fn takes_clear(self, method: Method) -> bool {
        match method {
            Method::Sha256 => self.tls,
            Method::CachingSha2 => self.tls || self.unix,
            Method::Clear | Method::Other => true,
        }
    }
}

/// The two legs of a login.
#[derive(Debug, Clone, Copy)]
struct Legs {
    client: Leg,
    server: Leg,
    cleartext: Cleartext,
}

/// The packet that an answer of the client's plugin travels in.
enum Carrier {
    /// A packet of its own.
    Round,
    Auth(Box<Auth>),
    ChangeUser(Box<ChangeUser>, Capabilities),
}

impl Carrier {
    /// The packet with this answer in it.
    fn with(self, answer: Vec<u8>) -> (PacketKind, Vec<u8>) {
        match self {
            Carrier::Round => (PacketKind::AuthData, answer),
            Carrier::Auth(mut auth) => {
                auth.auth_response = answer;
                let mut payload = Vec::new();
                auth.encode(&mut payload);
                (PacketKind::Auth, payload)
            }
            Carrier::ChangeUser(mut command, capabilities) => {
                command.auth_response = answer;
                let mut payload = Vec::new();
                command
                    .command(capabilities)
                    .encode(capabilities, &mut payload);
                (PacketKind::Command, payload)
            }
        }
    }
}

/// Where the exchange stands.
enum Stage {
    Following,
    /// The client has our key: what it sends next is for us.
    OurKeySent(Carrier),
    /// The server was asked for its key, with which the password is to be encrypted.
    KeyAsked(Vec<u8>),
}

/// A login (or a change of user) as it passes.
pub(super) struct LoginRelay {
    plugin: Vec<u8>,
    nonce: Vec<u8>,
    /// The server knows no hash of the password: it wants the password.
    full: bool,
    stage: Stage,
}

impl std::fmt::Debug for LoginRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRelay").finish_non_exhaustive()
    }
}

/// What becomes of a packet.
enum Relayed {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place.
    Replace(PacketKind, Vec<u8>),
    /// Nothing goes on; its sender gets this answer.
    Answer(Vec<u8>),
    /// The login ends here.
    Refuse(String),
}

impl LoginRelay {
    fn new(plugin: &[u8], nonce: &[u8]) -> LoginRelay {
        LoginRelay {
            plugin: plugin.to_vec(),
            nonce: nonce.to_vec(),
            full: false,
            stage: Stage::Following,
        }
    }

    /// A login that begins with this handshake. It is noted when the handshake comes: a script may
    /// send the client a copy that it has changed, in place of what would pass here.
    pub(super) fn greeted(handshake: &[u8]) -> Result<LoginRelay, String> {
        let handshake = Handshake::decode(handshake).map_err(|error| error.to_string())?;
        let plugin = handshake.auth_plugin.unwrap_or_default();
        Ok(LoginRelay::new(&plugin, &handshake.scramble))
    }

    fn method(&self) -> Method {
        Method::of(&self.plugin)
    }

    /// A round from the server.
    fn server_says(&mut self, payload: &[u8]) -> Relayed {
        match payload.first() {
            Some(&AuthSwitch::HEADER) => {
                if let Ok(switch) = AuthSwitch::decode(payload, Capabilities::PROTOCOL_41) {
                    *self = LoginRelay::new(&switch.plugin, switch.scramble());
                }
                Relayed::Pass
            }
            // The next factor: a method and its challenge, as in a switch.
            Some(0x02) => {
                let mut parts = payload.get(1..).unwrap_or_default().splitn(2, |b| *b == 0);
                let plugin = parts.next().unwrap_or_default();
                let nonce = parts.next().unwrap_or_default();
                *self = LoginRelay::new(plugin, nonce.strip_suffix(b"\0").unwrap_or(nonce));
                Relayed::Pass
            }
            Some(&AuthMoreData::HEADER) => {
                let data = payload.get(1..).unwrap_or_default();
                match std::mem::replace(&mut self.stage, Stage::Following) {
                    Stage::KeyAsked(password) => match rsa::encrypt(data, &password, &self.nonce) {
                        Ok(encrypted) => Relayed::Answer(encrypted),
                        Err(error) => Relayed::Refuse(format!("the server's key: {error}")),
                    },
                    stage => {
                        self.stage = stage;
                        self.full |= self.method() == Method::CachingSha2 && data == [4];
                        Relayed::Pass
                    }
                }
            }
            _ => Relayed::Pass,
        }
    }

    /// What the client's plugin says, and the packet that it says it in.
    fn client_says(&mut self, answer: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        match std::mem::replace(&mut self.stage, Stage::Following) {
            Stage::Following => self.answer(answer, carrier, legs),
            Stage::OurKeySent(carrier) => self.encrypted(answer, carrier, legs),
            Stage::KeyAsked(_) => Relayed::Refuse("the client speaks out of turn".to_string()),
        }
    }

    fn answer(&mut self, answer: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        let method = self.method();
        match method {
            Method::Other => return Relayed::Pass,
            // Until the server asks for more, it is but a hash.
            Method::CachingSha2 if !self.full => return Relayed::Pass,
            // Nobody's password, in the form that all take.
            _ if matches!(answer, [] | [0]) => return Relayed::Pass,
            // A client that says it in clear on an open leg has been told to.
            Method::Clear if !legs.client.tls && !legs.client.unix => return Relayed::Pass,
            Method::Clear => return self.password_in(answer, carrier, legs),
            Method::CachingSha2 | Method::Sha256 => {}
        }
        let wants_clear = legs.server.takes_clear(method);
        if answer == method.key_request() {
            return match wants_clear {
                // Server and client do it as they would without us.
                false => Relayed::Pass,
                true => self.our_key(carrier),
            };
        }
        // Over a unix socket, some clients take the connection for safe and some do not.
        let looks_clear = answer.iter().position(|byte| *byte == 0) == Some(answer.len() - 1);
        if legs.client.tls || legs.client.unix && looks_clear {
            return self.password_in(answer, carrier, legs);
        }
        match wants_clear {
            false => Relayed::Pass,
            true => self.encrypted(answer, carrier, legs),
        }
    }

    /// Gives the client a key of ours.
    fn our_key(&mut self, carrier: Carrier) -> Relayed {
        match rsa::own_key() {
            Ok(key) => {
                self.stage = Stage::OurKeySent(carrier);
                let mut payload = Vec::new();
                AuthMoreData {
                    data: key.public_pem().to_vec(),
                }
                .encode(Capabilities::PROTOCOL_41, &mut payload);
                Relayed::Answer(payload)
            }
            Err(error) => Relayed::Refuse(format!("the proxy has no key: {error}")),
        }
    }

    /// A password encrypted with our key, or with one that the client had beforehand.
    fn encrypted(&mut self, answer: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        let key = rsa::own_key().ok();
        match key.and_then(|key| key.decrypt(answer, &self.nonce)) {
            Some(mut password) => {
                password.push(0);
                self.password_in(&password, carrier, legs)
            }
            None => Relayed::Refuse(
                "the password is encrypted with a key that is not the proxy's: let the client ask \
                 for the key (--get-server-public-key) rather than know the server's beforehand, or \
                 use TLS towards the proxy"
                    .to_string(),
            ),
        }
    }

    /// A password (with its NUL) on its way to the server.
    fn password_in(&mut self, password: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        let method = self.method();
        let safe = legs.server.tls || legs.server.unix;
        let replace = |answer: Vec<u8>| {
            let (kind, payload) = carrier.with(answer);
            Relayed::Replace(kind, payload)
        };
        if safe && legs.server.takes_clear(method) {
            return replace(password.to_vec());
        }
        match (method, legs.cleartext) {
            (Method::Clear, Cleartext::Allow) => replace(password.to_vec()),
            // The server itself takes it only encrypted.
            (Method::CachingSha2 | Method::Sha256, Cleartext::Rsa | Cleartext::Allow)
            | (Method::Sha256, _)
                if safe || legs.cleartext != Cleartext::Refuse =>
            {
                let password = password.strip_suffix(b"\0").unwrap_or(password);
                self.stage = Stage::KeyAsked(password.to_vec());
                replace(method.key_request().to_vec())
            }
            (Method::Clear, _) => Relayed::Refuse(
                "the proxy does not send a password in clear to its server: give the connection \
                 to the server TLS, or say cleartext = \"allow\""
                    .to_string(),
            ),
            _ => Relayed::Refuse(
                "the proxy does not send a password over a connection that is not encrypted: \
                 give the connection to the server TLS, or say cleartext = \"rsa\""
                    .to_string(),
            ),
        }
    }
}

/// Makes our key beside the loop, which it would hold up: it may be asked for soon.
fn prepare_own_key() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let made = std::thread::Builder::new()
            .name("rsa key".to_string())
            .spawn(|| rsa::own_key().map(|_| ()));
        if let Err(error) = made {
            log::debug!("no thread to make a key on: {error}");
        }
    });
}

/// The OK of a login without MariaDB's proof of the server's certificate, which is not the one that
/// the client has seen.
fn without_proof<'a>(payload: &Cow<'a, [u8]>, capabilities: Capabilities) -> Cow<'a, [u8]> {
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

/// What came of handing a packet of a login over.
pub(super) enum Handed {
    /// It is to be put through to the peer, changed perhaps.
    On,
    /// Its sender has been answered, and nothing goes on.
    Answered,
    /// The login is to be refused.
    Refused(String),
}

impl Core {
    /// Follows a packet that is about to be put through from one end of a login to the other.
    pub fn relay(
        &mut self,
        id: ConnId,
        to: ConnId,
        taken: &mut Taken<'_>,
    ) -> Result<Handed, String> {
        let login = match taken.step.kind {
            PacketKind::Handshake | PacketKind::Auth | PacketKind::AuthData => true,
            PacketKind::Command => taken.payload.first() == Some(&Com::CHANGE_USER.0),
            PacketKind::Ok | PacketKind::Err => false,
            _ => return Ok(Handed::On),
        };
        let Some((from, receiver)) = self.pair_mut(id, to) else {
            return Ok(Handed::On);
        };
        let (client, server) = match from.role {
            Role::Server(_) => (&*receiver, &mut *from),
            _ => (&*from, &mut *receiver),
        };
        let legs = Legs {
            client: Leg::of(client),
            server: Leg::of(server),
            cleartext: server.options.cleartext,
        };
        if !login {
            // COM_CHANGE_USER may come, and refer to the challenge of the login.
            if legs.client == legs.server {
                server.relay = None;
            }
            let ours = client.info.own_certificate.get();
            let theirs = server.info.tls.borrow();
            let theirs = theirs.as_ref().and_then(|session| session.peer.as_ref());
            if taken.step.kind == PacketKind::Ok
                && matches!(taken.answers, None | Some(Com::CHANGE_USER))
                && ours.is_none_or(|ours| theirs.is_none_or(|peer| peer.fingerprint != ours))
            {
                taken.payload = without_proof(&taken.payload, taken.capabilities);
            }
            return Ok(Handed::On);
        }
        let capabilities = client.capabilities();
        let relay = server
            .relay
            .get_or_insert_with(|| Box::new(LoginRelay::new(b"", b"")));
        let relayed = match taken.step.kind {
            PacketKind::Handshake => {
                **relay = LoginRelay::greeted(&taken.payload)?;
                Relayed::Pass
            }
            PacketKind::Auth => {
                let auth = Auth::decode(&taken.payload).map_err(|error| error.to_string())?;
                relay.plugin = auth.auth_plugin.clone().unwrap_or_default();
                relay.full = false;
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
                let argument = taken.payload.get(1..).unwrap_or_default();
                let command = ChangeUser::decode(argument).map_err(|error| error.to_string())?;
                let plugin = command.auth_plugin.clone().unwrap_or_default();
                let nonce = std::mem::take(&mut relay.nonce);
                **relay = LoginRelay::new(&plugin, &nonce);
                let answer = command.auth_response.clone();
                let carrier = Carrier::ChangeUser(Box::new(command), capabilities);
                relay.client_says(&answer, carrier, legs)
            }
            _ if matches!(taken.info.kind, super::ConnKind::Server) => {
                relay.server_says(&taken.payload)
            }
            _ => relay.client_says(&taken.payload, Carrier::Round, legs),
        };
        match relayed {
            Relayed::Pass => Ok(Handed::On),
            Relayed::Replace(kind, payload) => {
                taken.step.kind = kind;
                taken.payload = Cow::Owned(payload);
                Ok(Handed::On)
            }
            Relayed::Answer(payload) => {
                self.answer_round(id, &payload)?;
                Ok(Handed::Answered)
            }
            Relayed::Refuse(why) => Ok(Handed::Refused(why)),
        }
    }

    /// A round of the proxy's own, to either end.
    fn answer_round(&mut self, id: ConnId, payload: &[u8]) -> Result<(), String> {
        let Some(conn) = self.open_mut(id) else {
            return Ok(());
        };
        match &mut conn.role {
            Role::Client(session) => {
                session.send(Head::of(payload), Some(PacketKind::AuthData))?;
            }
            Role::Server(session) => {
                session.send_auth_data()?;
            }
            Role::Listener(_) => return Ok(()),
        }
        conn.queue(payload, super::conn::Numbering::GoesOn);
        self.after_queueing(id);
        Ok(())
    }
}
