//! Logins that pass through where the two legs are not equally safe.
//!
//! Client and server agree on how a password is sent, each according to its own leg. If one leg is
//! TLS (or a unix socket) and the other is not, that fails: a client in clear asks for the server's
//! key, which a server with TLS would take for the password; a client with TLS sends its password
//! in clear, which must not be forwarded in clear. So the rounds are followed here, and translated:
//!
//! - the client's leg open, the server's safe: the proxy answers the client's request for a key
//!   with [its own](rsa::own_key), decrypts the password, and sends it over the safe leg;
//! - the client's leg safe, the server's open: packets that reveal the password are refused, unless
//!   the connect's options allow them ([`Cleartext`]).
//!
//! Methods that never reveal the password pass unchanged, and so does everything between equal
//! legs.
//!
//! Each end has its own [`LoginRelay`]: what the client was sent last, by its server or by a
//! script, and what the server sent last. The two may differ, since a script may replace packets.

use zeroize::Zeroizing;

use super::exposure::{Legs, Method};
use crate::auth::rsa;
use crate::proxy::options::Cleartext;
use crate::session::PacketKind;
use crate::wire::{Auth, AuthMoreData, AuthSwitch, Capabilities, ChangeUser, Handshake};

/// The packet that contains an answer of the client's plugin.
pub(crate) enum Carrier {
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
    /// The client has our key: its next answer is encrypted for us.
    OurKeySent(Carrier),
    /// The server was asked for its key, with which the password is to be encrypted.
    KeyAsked(Vec<u8>),
}

/// A login (or change of user) as one of its ends has seen it.
pub(crate) struct LoginRelay {
    pub(crate) plugin: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    /// The server has no hash of the password cached: it asks for the password.
    pub(crate) full: bool,
    /// How many answers the client has sent since the method was last chosen.
    pub(crate) answers: u32,
    stage: Stage,
}

impl Default for LoginRelay {
    fn default() -> LoginRelay {
        LoginRelay::new(b"", b"")
    }
}

impl std::fmt::Debug for LoginRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRelay").finish_non_exhaustive()
    }
}

/// What to do with a packet.
pub(crate) enum Relayed {
    /// It is forwarded unchanged.
    Pass,
    /// This is forwarded in its place.
    Replace(PacketKind, Vec<u8>),
    /// Nothing is forwarded; its sender gets this answer.
    Answer(Vec<u8>),
    /// The login ends here.
    Refuse(String),
}

impl LoginRelay {
    /// That of a login that was over before, in another process.
    pub fn resume(plugin: &[u8], nonce: &[u8]) -> LoginRelay {
        LoginRelay::new(plugin, nonce)
    }

    fn new(plugin: &[u8], nonce: &[u8]) -> LoginRelay {
        LoginRelay {
            plugin: plugin.to_vec(),
            nonce: nonce.to_vec(),
            full: false,
            answers: 0,
            stage: Stage::Following,
        }
    }

    /// A login that begins with this handshake.
    pub(crate) fn greeted(handshake: &[u8]) -> Result<LoginRelay, String> {
        let handshake = Handshake::decode(handshake).map_err(|error| error.to_string())?;
        let plugin = handshake.auth_plugin.unwrap_or_default();
        Ok(LoginRelay::new(&plugin, &handshake.scramble))
    }

    /// The client has named its method in a packet that has a first answer in it.
    pub(crate) fn named(&mut self, plugin: Option<&[u8]>) {
        let nonce = std::mem::take(&mut self.nonce);
        *self = LoginRelay::new(plugin.unwrap_or_default(), &nonce);
        self.answers = 1;
    }

    /// A client changes its user. The challenge is that of its login.
    pub(crate) fn changes_user(&mut self, argument: &[u8]) {
        let command = ChangeUser::decode(argument).ok();
        self.named(command.and_then(|command| command.auth_plugin).as_deref());
    }

    /// The client has answered in a round of its own.
    pub(crate) fn answered(&mut self) {
        self.answers = self.answers.saturating_add(1);
    }

    pub(crate) fn method(&self) -> Method {
        Method::of(&self.plugin)
    }

    /// Notes what a round from the server changes. It is parsed as tolerantly as clients may do.
    pub(crate) fn told(&mut self, payload: &[u8]) {
        match payload {
            [AuthSwitch::HEADER, ..] => {
                let switch = AuthSwitch::decode(payload, Capabilities::PROTOCOL_41);
                *self = switch.map_or_else(
                    |_| LoginRelay::default(),
                    |switch| LoginRelay::new(&switch.plugin, switch.scramble()),
                );
            }
            // The next factor: a method and its challenge, as in a switch.
            [0x02, rest @ ..] => {
                let mut parts = rest.splitn(2, |b| *b == 0);
                let plugin = parts.next().unwrap_or_default();
                let nonce = parts.next().unwrap_or_default();
                *self = LoginRelay::new(plugin, nonce.strip_suffix(b"\0").unwrap_or(nonce));
            }
            [AuthMoreData::HEADER, 4, ..] | [4, ..] => {
                self.full |= self.method() == Method::CachingSha2;
            }
            _ => {}
        }
    }

    /// Handles a round from the server, whose challenge is `nonce`.
    pub(crate) fn server_says(&mut self, payload: &[u8], nonce: &[u8], legs: Legs) -> Relayed {
        let names_method = matches!(payload.first(), Some(&AuthSwitch::HEADER | 0x02));
        if !names_method && legs.exposed() && !self.method().has_round(payload) {
            return Relayed::Refuse(
                "the server says what its method of authentication does not know, over a connection \
                 that is not encrypted: who asks may not be the server"
                    .to_string(),
            );
        }
        match (
            std::mem::replace(&mut self.stage, Stage::Following),
            payload,
        ) {
            (Stage::KeyAsked(password), [AuthMoreData::HEADER, data @ ..]) => {
                match rsa::encrypt(data, &password, nonce) {
                    Ok(encrypted) => Relayed::Answer(encrypted),
                    Err(error) => Relayed::Refuse(format!("the server's key: {error}")),
                }
            }
            (stage, _) => {
                self.stage = stage;
                self.told(payload);
                Relayed::Pass
            }
        }
    }

    /// Handles an answer of the client's plugin, in this kind of packet.
    pub(crate) fn client_says(&mut self, answer: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        match std::mem::replace(&mut self.stage, Stage::Following) {
            Stage::Following => self.answer(answer, carrier, legs),
            Stage::OurKeySent(carrier) => self.encrypted(answer, carrier, legs),
            Stage::KeyAsked(_) => Relayed::Refuse("the client speaks out of turn".to_string()),
        }
    }

    fn answer(&mut self, answer: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        let method = self.method();
        if legs.exposed() && method.hides(answer, self.answers <= 1 && !self.full) {
            return Relayed::Pass;
        }
        match method {
            Method::Unnamed | Method::Unknown if legs.exposed() => {
                return Relayed::Refuse(
                    "nobody knows whether the client's method of authentication shows the \
                     password, and the connection to the server is not encrypted: give it TLS, or \
                     say cleartext = \"allow\""
                        .to_string(),
                );
            }
            Method::Proof | Method::Unnamed | Method::Unknown => return Relayed::Pass,
            // Until the server asks for more, the answer is only a hash.
            Method::CachingSha2 if !self.full && !legs.exposed() => return Relayed::Pass,
            // The empty password, in the form that all methods share.
            _ if matches!(answer, [] | [0]) => return Relayed::Pass,
            // A client that sends it in clear on an open leg was configured to do so.
            Method::Clear if !legs.client.safe() => return Relayed::Pass,
            Method::Clear => return self.password_in(answer, carrier, legs),
            Method::CachingSha2 | Method::Sha256 => {}
        }
        let wants_clear = legs.server.takes_clear(method);
        if answer == method.key_request() {
            return match wants_clear {
                // Server and client act as they would without the proxy.
                false => Relayed::Pass,
                true => self.our_key(carrier),
            };
        }
        // Some clients treat a unix socket as safe, and some do not.
        if legs.client.tls || legs.client.unix && !method.by_key(answer) {
            return self.password_in(answer, carrier, legs);
        }
        match wants_clear {
            false => Relayed::Pass,
            true => self.encrypted(answer, carrier, legs),
        }
    }

    /// Sends the client our key.
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
            Some(password) => {
                let password = Zeroizing::new([password.bytes(), b"\0"].concat());
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

    /// Forwards a password (with its NUL) to the server.
    fn password_in(&mut self, password: &[u8], carrier: Carrier, legs: Legs) -> Relayed {
        let method = self.method();
        let safe = legs.server.safe();
        let replace = |answer: Vec<u8>| {
            let (kind, payload) = carrier.with(answer);
            Relayed::Replace(kind, payload)
        };
        if safe && legs.server.takes_clear(method) {
            return replace(password.to_vec());
        }
        match (method, legs.cleartext) {
            (Method::Clear, Cleartext::Allow) => replace(password.to_vec()),
            // The server accepts it only encrypted.
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
