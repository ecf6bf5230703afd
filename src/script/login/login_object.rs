//! `dpm.new_login`: logging in at a server, whatever method it asks for.

use std::cell::RefCell;

use mlua::{Lua, Table, UserData, UserDataFields, Value};
use zeroize::Zeroizing;

use super::secret_object;
use crate::auth::{self, AuthError, Plugin, Secret};
use crate::proxy::ConnInfo;
use crate::script::connections::conn::connection;
use crate::script::lua::convert::to_integer;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one, string};
use crate::script::lua::option_table::OptionTable;
use crate::script::objects::attributes;
use crate::script::objects::auth_data;
use crate::script::objects::auth_data::AuthDataPacket;
use crate::script::objects::object::Held;
use crate::wire::{Auth, AuthSwitch, Capabilities, ChangeUser, Handshake, NONCE};

/// The longest name or password: more than servers accept.
const TEXT: usize = 512;
/// The method that all servers know by name.
const USUAL: &[u8] = b"mysql_native_password";

/// The object of `dpm.new_login`: an account, and the progress of its login.
pub struct LoginObject {
    account: RefCell<Account>,
    progress: RefCell<LoginState>,
}

/// Whether others can read a connection.
#[derive(Clone, Copy, Default)]
struct Private {
    /// True if nobody can: it uses TLS, or is a unix socket.
    connection: bool,
    /// True if it uses TLS.
    tls: bool,
}

impl Private {
    fn of(info: &ConnInfo) -> Private {
        Private {
            connection: info.secure.get(),
            tls: info.tls().is_some(),
        }
    }
}

/// The account and the options of the login.
#[derive(Clone, Default)]
struct Account {
    user: Vec<u8>,
    password: Secret,
    database: Option<Vec<u8>>,
    attributes: Option<Vec<u8>>,
    /// The methods it may use; `None`: all.
    plugins: Option<Vec<&'static str>>,
    server_key: Option<Vec<u8>>,
    allow_cleartext: bool,
    charset: Option<u16>,
}

/// The progress of a login.
#[derive(Clone, Default)]
struct LoginState {
    capabilities: Capabilities,
    /// The method and the challenge of the greeting, for COM_CHANGE_USER.
    greeting: Vec<u8>,
    nonce: Vec<u8>,
    /// The method in use.
    plugin: Option<&'static dyn Plugin>,
    /// The challenge.
    challenge: Vec<u8>,
    /// Its last answer, which may be the password in clear.
    said: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for LoginObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginObject").finish_non_exhaustive()
    }
}

impl LoginObject {
    /// `dpm.new_login{ user =, pass =, ... }`.
    pub fn create(lua: &Lua, args: &Args) -> Answer {
        let mut account = Account::default();
        account.read(args, args.table(0, "")?)?;
        if account.charset.is_some_and(|id| id > u8::MAX.into()) {
            return Err(args.error("charset: expected the id of a collation, up to 255: only change_user has room for others"));
        }
        one(Value::UserData(lua.create_userdata(LoginObject {
            account: RefCell::new(account),
            progress: RefCell::default(),
        })?))
    }

    /// The answer to a server's packet; `None`: it needs none.
    fn answer(&self, lua: &Lua, args: &Args) -> Result<Result<Value, AuthError>, ScriptError> {
        const WANTED: &str = "a handshake or authdata packet";
        let conn = connection(args, 1, "conn")?;
        let secure = Private::of(&conn);
        if let Some(packet) = auth_data::argument(args, 0) {
            let answer = match self.round(&packet, secure) {
                Ok(Some(data)) => auth_data::object(lua, AuthDataPacket(data))?,
                Ok(None) => return Ok(Ok(Value::Nil)),
                Err(error) => return Ok(Err(error)),
            };
            return Ok(Ok(Value::UserData(answer)));
        }
        let greeting = args.object(0, "packet", WANTED, |p: &Held<Handshake>| {
            p.0.borrow().clone()
        })?;
        Ok(match self.begin(&greeting, secure) {
            Ok(auth) => Ok(Value::UserData(lua.create_userdata(Held::new(auth))?)),
            Err(error) => Err(error),
        })
    }

    fn begin(&self, greeting: &Handshake, secure: Private) -> Result<Auth, AuthError> {
        let account = self.account.borrow();
        let offered = greeting.capabilities;
        let mut progress = self.progress.borrow_mut();
        *progress = LoginState {
            capabilities: offered,
            greeting: greeting.auth_plugin.clone().unwrap_or(USUAL.to_vec()),
            nonce: greeting.scramble.clone(),
            ..LoginState::default()
        };
        let (name, nonce) = (progress.greeting.clone(), progress.nonce.clone());
        let (plugin, response) = progress.offer(&account, &name, &nonce, secure)?;

        let mut auth = Auth {
            user: account.user.clone(),
            auth_response: response,
            auth_plugin: Some(plugin),
            ..Auth::default()
        };
        auth.set_database(account.database.clone());
        if let Some(charset) = account.charset {
            auth.character_set = charset;
        }
        // An RSA block is longer than a length of one byte allows.
        auth.capabilities |= Capabilities::PLUGIN_AUTH_LENENC_CLIENT_DATA & offered;
        if account.attributes.is_some() {
            auth.capabilities |= Capabilities::CONNECT_ATTRS & offered;
            auth.attributes.clone_from(&account.attributes);
        }
        Ok(auth)
    }

    fn round(
        &self,
        packet: &AuthDataPacket,
        secure: Private,
    ) -> Result<Option<Vec<u8>>, AuthError> {
        let account = self.account.borrow();
        let mut progress = self.progress.borrow_mut();
        if packet.0.first() == Some(&AuthSwitch::HEADER) {
            let Some((name, challenge)) = packet.named() else {
                return Err(AuthError::unknown(b""));
            };
            return progress
                .start(&account, &name, &challenge, secure)
                .map(Some);
        }
        let Some(plugin) = progress.plugin else {
            return Err(AuthError::unknown(&progress.greeting));
        };
        let login = account.login(&progress.challenge, secure);
        let said = plugin.more(&login, &progress.said, packet.data())?;
        if let Some(said) = &said {
            progress.said = Zeroizing::new(said.clone());
        }
        Ok(said)
    }

    /// The COM_CHANGE_USER for another login.
    fn change_user(
        &self,
        args: &Args,
    ) -> Result<Result<crate::wire::Command, AuthError>, ScriptError> {
        if !args.is_empty() {
            let mut account = self.account.borrow().clone();
            account.read(args, args.table(0, "")?)?;
            *self.account.borrow_mut() = account;
        }
        let account = self.account.borrow();
        let mut progress = self.progress.borrow_mut();
        if progress.nonce.is_empty() {
            return Err(args.error("this login has not answered a handshake yet"));
        }
        let (name, nonce) = (progress.greeting.clone(), progress.nonce.clone());
        // The command has room only for a single short answer.
        let offer = progress.offer(&account, &name, &nonce, Private::default());
        let (plugin, response) = match offer {
            Ok(offer) => offer,
            Err(error) => return Ok(Err(error)),
        };
        let packet = ChangeUser {
            user: account.user.clone(),
            auth_response: response,
            database: account.database.clone().unwrap_or_default(),
            character_set: account.charset,
            auth_plugin: Some(plugin),
            attributes: account.attributes.clone(),
        };
        let mut capabilities = progress.capabilities;
        if account.attributes.is_none() {
            capabilities -= Capabilities::CONNECT_ATTRS;
        }
        Ok(Ok(packet.command(capabilities)))
    }
}

impl LoginState {
    /// A first answer, with its method's name: the server's method if it may be used, or else one
    /// from which the server will switch.
    fn offer(
        &mut self,
        account: &Account,
        name: &[u8],
        nonce: &[u8],
        secure: Private,
    ) -> Result<(Vec<u8>, Vec<u8>), AuthError> {
        let mut first = Ok(());
        // Methods that send the password itself have to wait for the switch, since TLS, if it is
        // used, begins with the packet that contains this answer.
        let shows = [&b"sha256_password"[..], b"mysql_clear_password"].contains(&name);
        let name = if shows { USUAL } else { name };
        for name in [name, USUAL, b"caching_sha2_password"] {
            match self.start(account, name, nonce, secure) {
                Ok(said) => return Ok((name.to_vec(), said)),
                Err(error) => first = first.and(Err(error)),
            }
        }
        // A challenge that is too short is so for every method.
        first.or_else(|error| match nonce.len() < NONCE {
            true => Err(error),
            false => Ok(()),
        })?;
        self.plugin = None;
        self.said.clear();
        Ok((USUAL.to_vec(), Vec::new()))
    }

    /// The answer to a challenge, by the method that it names.
    fn start(
        &mut self,
        account: &Account,
        name: &[u8],
        challenge: &[u8],
        secure: Private,
    ) -> Result<Vec<u8>, AuthError> {
        let plugin = account.plugin(name)?;
        self.plugin = Some(plugin);
        self.challenge = challenge.to_vec();
        let said = plugin.answer(&account.login(challenge, secure))?;
        self.said = Zeroizing::new(said.clone());
        // The last challenge of this length is the one that COM_CHANGE_USER answers.
        if matches!(challenge.strip_suffix(b"\0").unwrap_or(challenge), c if c.len() == NONCE) {
            self.nonce = challenge.get(..NONCE).unwrap_or_default().to_vec();
        }
        Ok(said)
    }
}

impl Account {
    fn login<'a>(&'a self, nonce: &'a [u8], secure: Private) -> auth::Login<'a> {
        auth::Login {
            password: self.password.bytes(),
            nonce,
            secure: secure.connection,
            tls: secure.tls,
            server_key: self.server_key.as_deref(),
            allow_cleartext: self.allow_cleartext,
        }
    }

    /// The method of this name, if the account may use it.
    fn plugin(&self, name: &[u8]) -> Result<&'static dyn Plugin, AuthError> {
        let plugin = auth::plugin(name)?;
        match &self.plugins {
            Some(allowed) if !allowed.contains(&plugin.name()) => Err(AuthError::Refused {
                plugin: plugin.name(),
                why: "the server asks for it, and it is not among this login's plugins",
            }),
            _ => Ok(plugin),
        }
    }

    /// Reads the options.
    fn read(&mut self, args: &Args, table: &Table) -> Result<(), ScriptError> {
        const KNOWN: &[&str] = &[
            "user",
            "pass",
            "db",
            "attributes",
            "plugins",
            "server_public_key",
            "allow_cleartext",
            "charset",
        ];
        let options = OptionTable::of(args, table, "", KNOWN)?;
        if let Some(user) = options.bytes_without_nul("user", TEXT)? {
            self.user = user;
        }
        if let Some(shown) = secret_object::secret_in(&options.value("pass")?) {
            self.password = shown;
        } else if let Some(password) = options.bytes("pass", TEXT)? {
            self.password = Secret::new(password);
        }
        let database = options.bytes_without_nul("db", TEXT)?;
        self.database = database.filter(|name| !name.is_empty());
        if let Some(pairs) = options.table("attributes")? {
            self.attributes = Some(attributes::from_table(args, &pairs)?);
        }
        let names = options.value("plugins")?;
        if !names.is_nil() {
            self.plugins = Some(plugins(args, &names)?);
        }
        let key = options.value("server_public_key")?;
        if !key.is_nil() {
            self.server_key = Some(public_key(args, &key)?);
        }
        self.allow_cleartext = options.boolean("allow_cleartext")?.unwrap_or(false);
        let wanted = "the id of a collation, up to 255 (65535 with change_user)";
        let charset = options.read("charset", wanted, |value| {
            to_integer(value, u16::MAX.into())
        })?;
        self.charset = charset.map(|id| id as u16).or(self.charset);
        Ok(())
    }
}

/// A list of methods.
fn plugins(args: &Args, value: &Value) -> Result<Vec<&'static str>, ScriptError> {
    let names: Vec<Value> = match value {
        Value::Table(names) => names.sequence_values().collect::<mlua::Result<_>>()?,
        one => vec![one.clone()],
    };
    let mut plugins = Vec::new();
    for name in names {
        let Value::String(name) = name else {
            return Err(args.error("plugins: expected names"));
        };
        let plugin = auth::plugin(&name.as_bytes());
        plugins.push(
            plugin
                .map_err(|error| args.error(format!("plugins: {error}")))?
                .name(),
        );
    }
    match plugins.is_empty() {
        true => Err(args.error("plugins: expected at least one name")),
        false => Ok(plugins),
    }
}

/// A key in PEM, or the path of a file that holds one.
fn public_key(args: &Args, value: &Value) -> Result<Vec<u8>, ScriptError> {
    const KEY: &str = "server_public_key";
    let Value::String(text) = value else {
        let wanted = "a key in PEM, or the path of one";
        return Err(args.error(format!("{KEY}: expected {wanted}")));
    };
    let text = text.as_bytes();
    let pem = match text.starts_with(b"-----BEGIN") {
        true => text.to_vec(),
        false => read_file(args, KEY, &text)?,
    };
    auth::rsa::check_public(&pem).map_err(|error| args.error(format!("{KEY}: {error}")))?;
    Ok(pem)
}

/// Reads a file; errors name it.
pub fn read_file(args: &Args, key: &str, path: &[u8]) -> Result<Vec<u8>, ScriptError> {
    let path = String::from_utf8_lossy(path);
    std::fs::read(&*path).map_err(|error| args.error(format!("{key}: {path}: {error}")))
}

/// nil and the error's text, for an error that comes from the network rather than from the script.
fn told(lua: &Lua, error: &AuthError) -> Answer {
    let mut values = one(Value::Nil)?;
    values.extend(string(lua, error.to_string())?);
    Ok(values)
}

impl UserData for LoginObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "login");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let methods = Methods::new(lua, &raiser, "login")?;
            methods.add::<LoginObject>("answer", |lua, login, args| {
                match login.answer(lua, args)? {
                    Ok(Value::Nil) => nothing(),
                    Ok(packet) => one(packet),
                    Err(error) => told(lua, &error),
                }
            })?;
            methods.add::<LoginObject>("change_user", |lua, login, args| {
                match login.change_user(args)? {
                    Ok(command) => {
                        let packet = lua.create_userdata(Held::new(command))?;
                        one(Value::UserData(packet))
                    }
                    Err(error) => told(lua, &error),
                }
            })?;
            methods.add::<LoginObject>("plugin", |lua, login, _| {
                let plugin = login.progress.borrow().plugin;
                match plugin {
                    Some(plugin) => string(lua, plugin.name()),
                    None => nothing(),
                }
            })?;
            Ok(methods.table)
        });
    }
}
