//! `dpm.new_verifier`: verifies a client that logs in here.

use std::cell::RefCell;

use mlua::{Lua, UserData, UserDataFields, Value};

use super::credential;
use super::login_object::read_file;
use super::secret_object;
use crate::auth::rsa::KeyPair;
use crate::auth::{self, Check, Claim, Credential, Plugin, Secret};
use crate::proxy::prepare_own_key;
use crate::script::connections::conn::connection;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::script::objects::auth_data;
use crate::script::objects::auth_data::AuthDataPacket;
use crate::script::objects::object::Held;
use crate::wire::{Auth, Capabilities, ChangeUser, Com, Command, Handshake, nonce};

/// The method of clients that cannot name one.
const USUAL: &[u8] = b"mysql_native_password";

/// The object of `dpm.new_verifier`: one client's login, and its later COM_CHANGE_USERs.
pub struct VerifierObject {
    /// The method that the greeting named.
    greeting: Vec<u8>,
    key: Option<KeyPair>,
    progress: RefCell<Verification>,
}

struct Verification {
    /// The challenge that the client answers.
    nonce: Vec<u8>,
    round: Option<Round>,
    /// The credential that the client has proven to know by `mysql_native_password`.
    proven: Option<Credential>,
    used_password: bool,
}

/// Whether a client's answer is one with a password, as servers tell it.
fn shows_password(answer: &[u8]) -> bool {
    !matches!(answer, [] | [0])
}

/// A login in progress.
#[derive(Clone)]
struct Round {
    plugin: &'static dyn Plugin,
    credential: Credential,
    /// Whether there is such an account at all.
    genuine: bool,
    /// What the client was sent last; empty while it has to answer the challenge.
    said: Vec<u8>,
}

impl std::fmt::Debug for VerifierObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifierObject").finish_non_exhaustive()
    }
}

/// The result of a client's packet.
enum Judgement {
    Granted(Option<AuthDataPacket>),
    /// It has shown this password, or has proven that it knows it. Another has to judge it.
    Shown(Secret, Option<AuthDataPacket>),
    Refused,
    More(AuthDataPacket),
}

impl VerifierObject {
    /// `dpm.new_verifier(handshake [, { rsa_key = }])`.
    pub fn create(lua: &Lua, args: &Args) -> Answer {
        let greeting = greeting(args, 0)?;
        let key = private_key(args)?;
        if key.is_none() {
            // In advance, so that no client has to wait for it.
            prepare_own_key();
        }
        let verifier = VerifierObject {
            greeting: greeting.auth_plugin.unwrap_or(USUAL.to_vec()),
            key,
            progress: RefCell::new(Verification {
                nonce: greeting.scramble,
                round: None,
                proven: None,
                used_password: false,
            }),
        };
        one(Value::UserData(lua.create_userdata(verifier)?))
    }

    fn step(&self, lua: &Lua, args: &Args) -> Result<Judgement, ScriptError> {
        const WANTED: &str = "an auth, authdata or COM_CHANGE_USER packet";
        let client = connection(args, 1, "client")?;
        let secure = client.secure.get();
        if let Some(packet) = auth_data::argument(args, 0) {
            return self.go_on(args, &packet.0, secure);
        }
        let credential = credential::argument(lua, args, 2, "credential")?;
        let like = credential::argument(lua, args, 3, "like")?;
        let Value::UserData(object) = args.get(0) else {
            return Err(args.expected(0, "packet", WANTED));
        };
        if let Ok(auth) = object.borrow::<Held<Auth>>() {
            let auth = auth.0.borrow().clone();
            return self.begin(&auth, false, credential, like, secure);
        }
        let command = args.object(0, "packet", WANTED, |p: &Held<Command>| {
            p.0.borrow().clone()
        })?;
        if command.com != Com::CHANGE_USER {
            return Err(args.expected(0, "packet", WANTED));
        }
        match ChangeUser::decode(&command.argument) {
            Ok(login) => {
                // The command does not repeat what the client has agreed on.
                let auth = login.into_auth(client.capabilities.get());
                self.begin(&auth, true, credential, like, secure)
            }
            Err(error) => {
                log::debug!("a COM_CHANGE_USER that cannot be read: {error}");
                Ok(Judgement::Refused)
            }
        }
    }

    /// A login begins: its answer is verified if it was made by the credential's method; otherwise
    /// the client is asked to switch.
    fn begin(
        &self,
        auth: &Auth,
        again: bool,
        credential: Option<Credential>,
        like: Option<Credential>,
        secure: bool,
    ) -> Result<Judgement, ScriptError> {
        let genuine = credential.is_some();
        // An unknown user gets the same packets, and its answers take the same time.
        let credential = credential.unwrap_or_else(|| {
            let like = like.unwrap_or_else(|| Credential::password(b"password"));
            like.decoy()
        });
        let used = match credential.is_judged_elsewhere() && secure {
            true => shown_in_clear(auth).or_else(|| named_plugin(auth, again)),
            false => named_plugin(auth, again),
        };
        let plugin = match (credential.plugin(), used) {
            (Some(_), Some(used)) if used.name() == auth::clear::NAME => used,
            (Some(needed), _) => needed,
            (None, Some(used)) => used,
            (None, None) => default_plugin(&self.greeting),
        };
        let round = Round {
            plugin,
            credential,
            genuine,
            said: Vec::new(),
        };
        let mut progress = self.progress.borrow_mut();
        progress.used_password = shows_password(&auth.auth_response);
        let can_switch = auth.capabilities.contains(Capabilities::PLUGIN_AUTH);
        // Clients differ in which challenge they use for COM_CHANGE_USER: that of their first
        // login, or that of a later switch. A new challenge is unambiguous. The same goes for a
        // client whose plugin is not the handshake's, for which it had no challenge yet.
        let had_no_challenge = auth.auth_response.is_empty()
            && auth
                .auth_plugin
                .as_ref()
                .is_some_and(|used| *used != self.greeting);
        let same = used.is_some_and(|used| used.name() == plugin.name());
        if same && !(can_switch && (again || had_no_challenge)) {
            drop(progress);
            return self.judge(round, &auth.auth_response, secure);
        }
        if !can_switch {
            return Ok(Judgement::Refused);
        }
        let nonce = nonce();
        progress.nonce = nonce.to_vec();
        progress.round = Some(round);
        let data = [&nonce[..], b"\0"].concat();
        let packet = AuthDataPacket::switch(plugin.name().as_bytes(), &data);
        Ok(Judgement::More(packet))
    }

    fn go_on(&self, args: &Args, data: &[u8], secure: bool) -> Result<Judgement, ScriptError> {
        let mut progress = self.progress.borrow_mut();
        progress.used_password = shows_password(data);
        let round = progress.round.take();
        drop(progress);
        match round {
            Some(round) => self.judge(round, data, secure),
            None => Err(args.error("no login is under way that this packet could belong to")),
        }
    }

    fn judge(&self, mut round: Round, data: &[u8], secure: bool) -> Result<Judgement, ScriptError> {
        let mut progress = self.progress.borrow_mut();
        let claim = Claim {
            credential: &round.credential,
            nonce: &progress.nonce,
            secure,
            key: self.key.as_ref(),
        };
        let check = round.plugin.check(&claim, &round.said, data);
        Ok(match check.map_err(ScriptError::new)? {
            Check::Granted(said) if round.genuine => {
                let proven = match &round.credential {
                    Credential::Shown { known } => known.clone(),
                    _ => None,
                };
                let native = round.plugin.name().as_bytes() == USUAL;
                progress.proven = native.then_some(round.credential);
                let said = said.map(|data| AuthDataPacket::more(&data));
                match proven {
                    Some(known) => Judgement::Shown(known, said),
                    None => Judgement::Granted(said),
                }
            }
            Check::Shown(password) => Judgement::Shown(password, None),
            Check::Granted(_) | Check::Refused => Judgement::Refused,
            Check::More(said) => {
                let packet = AuthDataPacket::more(&said);
                round.said = said;
                progress.round = Some(round);
                Judgement::More(packet)
            }
        })
    }
}

/// The method of a client's answer, if it is known and can be verified here. Clients of before such
/// names existed use the usual one; one that may name its method and does not is asked to switch
/// (which COM_CHANGE_USER, `again`, asks for in any case).
fn named_plugin(auth: &Auth, again: bool) -> Option<&'static dyn Plugin> {
    let can_name = auth.capabilities.contains(Capabilities::PLUGIN_AUTH);
    let name = match &auth.auth_plugin {
        None if can_name && !again => return None,
        name => name.as_deref().unwrap_or(USUAL),
    };
    auth::plugin(name).ok().filter(|plugin| plugin.verifies())
}

/// The method by which a client that was asked for nothing else shows its password in clear.
fn shown_in_clear(auth: &Auth) -> Option<&'static dyn Plugin> {
    let named = auth.auth_plugin.as_deref()?;
    let clear = named == auth::clear::NAME.as_bytes();
    auth::plugin(named).ok().filter(|_| clear)
}

fn default_plugin(greeting: &[u8]) -> &'static dyn Plugin {
    match auth::plugin(greeting) {
        Ok(plugin) if plugin.verifies() => plugin,
        _ => &auth::native::Native,
    }
}

fn greeting(args: &Args, index: usize) -> Result<Handshake, ScriptError> {
    args.object(
        index,
        "handshake",
        "a handshake packet",
        |p: &Held<Handshake>| p.0.borrow().clone(),
    )
}

/// The key that clients may have been given beforehand.
fn private_key(args: &Args) -> Result<Option<KeyPair>, ScriptError> {
    const KEY: &str = "rsa_key";
    let Some(options) = OptionTable::argument(args, 1, &[KEY])? else {
        return Ok(None);
    };
    let wanted = "a private key in PEM, or the path of one";
    let text = options.read(KEY, wanted, |value| {
        value.as_string().map(|text| text.as_bytes().to_vec())
    })?;
    let Some(text) = text else {
        return Ok(None);
    };
    let pem = match text.starts_with(b"-----BEGIN") {
        true => text,
        false => read_file(args, KEY, &text)?,
    };
    let key = KeyPair::from_pem(&pem).map_err(|error| options.error(KEY, error))?;
    Ok(Some(key))
}

/// `dpm.verify_auth(auth, handshake, credential)`: the same for a login that needs only one packet.
/// True or false; nil if the method needs more rounds, or another method is needed.
pub fn verify_auth(lua: &Lua, args: &Args) -> Answer {
    let auth = args.object(0, "auth", "an auth packet", |p: &Held<Auth>| {
        p.0.borrow().clone()
    })?;
    let greeting = greeting(args, 1)?;
    let credential = credential::argument(lua, args, 2, "credential")?;
    let genuine = credential.is_some();
    let credential = credential.unwrap_or_else(|| Credential::password(b"password").decoy());
    let used = named_plugin(&auth, false);
    let Some(plugin) = used else {
        return one(Value::Nil);
    };
    if credential
        .plugin()
        .is_some_and(|needed| needed.name() != plugin.name())
    {
        return one(Value::Nil);
    }
    let claim = Claim {
        credential: &credential,
        nonce: &greeting.scramble,
        secure: false,
        key: None,
    };
    let check = plugin.check(&claim, b"", &auth.auth_response);
    one(match check.map_err(ScriptError::new)? {
        Check::Granted(_) => Value::Boolean(genuine),
        Check::Refused => Value::Boolean(false),
        Check::Shown(_) => Value::Nil,
        Check::More(_) if credential.judges_at_once() => Value::Boolean(false),
        Check::More(_) => Value::Nil,
    })
}

/// `verifier:certificate_proof(fingerprint)`: the OK's message for a client that was shown that
/// certificate; nil if it cannot be proven.
fn certificate_proof(lua: &Lua, verifier: &VerifierObject, args: &Args) -> Answer {
    const WANTED: &str = "the 64 hexadecimal digits of a SHA-256";
    let digits = args.text(0, "fingerprint")?;
    let fingerprint = auth::bytes_of(&digits).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let fingerprint = fingerprint.ok_or_else(|| args.expected(0, "fingerprint", WANTED))?;
    let progress = verifier.progress.borrow();
    let proof = progress
        .proven
        .as_ref()
        .and_then(|known| auth::certificate_proof(known, &progress.nonce, &fingerprint));
    drop(progress);
    match proof {
        Some(proof) => string(lua, proof),
        None => nothing(),
    }
}

impl UserData for VerifierObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "verifier");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let methods = Methods::new(lua, &raiser, "verifier")?;
            methods.add::<VerifierObject>("step", |lua, verifier, args| {
                let (verdict, packet, shown) = match verifier.step(lua, args)? {
                    Judgement::Granted(packet) => (Value::Boolean(true), packet, None),
                    Judgement::Shown(password, packet) => {
                        (Value::Boolean(true), packet, Some(password))
                    }
                    Judgement::Refused => (Value::Boolean(false), None, None),
                    Judgement::More(packet) => (Value::Nil, Some(packet), None),
                };
                let mut values = one(verdict)?;
                match packet {
                    Some(packet) => values.extend(auth_data::answer(lua, packet)?),
                    None if shown.is_some() => values.extend(one(Value::Nil)?),
                    None => {}
                }
                if let Some(password) = shown {
                    values.extend(one(secret_object::object(lua, password)?)?);
                }
                Ok(values)
            })?;
            methods.add::<VerifierObject>("used_password", |_, verifier, _| {
                one(Value::Boolean(verifier.progress.borrow().used_password))
            })?;
            methods.add::<VerifierObject>("certificate_proof", certificate_proof)?;
            Ok(methods.table)
        });
    }
}
