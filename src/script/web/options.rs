//! The options of a listener as a table.

use crate::auth::Secret;
use crate::http::{Access, Account, HttpOptions, Open};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;
use crate::script::lua::option_table::OptionTable;
use crate::script::options::tls_options;

const NAMES: [&str; 10] = [
    "token",
    "user",
    "password",
    "open",
    "tls",
    "max_clients",
    "max_body",
    "request_timeout",
    "idle_timeout",
    "answer_timeout",
];

/// How long a token or a password may be.
const MAX_SECRET: usize = 4096;

/// How short a token may not be: it is all that stands between strangers and the page.
const MIN_SECRET: usize = 8;

/// Reads the options that are an argument, which may be left out.
pub fn argument(args: &Args, index: usize) -> Result<HttpOptions, ScriptError> {
    let mut options = HttpOptions::default();
    let Some(table) = OptionTable::argument(args, index, &NAMES)? else {
        return Ok(options);
    };
    options.access = access(&table)?;
    if let Some(count) = table.positive("max_clients", 100_000)? {
        options.max_clients = count;
    }
    if let Some(bytes) = table.integer("max_body", 1 << 30)? {
        options.max_body = bytes as usize;
    }
    for (name, timeout) in [
        ("request_timeout", &mut options.request_timeout),
        ("idle_timeout", &mut options.idle_timeout),
        ("answer_timeout", &mut options.answer_timeout),
    ] {
        if let Some(seconds) = table.seconds(name)? {
            if seconds.is_zero() {
                return Err(table.error(name, "there is no waiting without an end here"));
            }
            *timeout = seconds;
        }
    }
    let tls = table.value("tls")?;
    if !tls.is_nil() {
        options.tls = tls_options::of_listener(args, &tls)?;
    }
    Ok(options)
}

fn access(table: &OptionTable<'_>) -> Result<Access, ScriptError> {
    let secret = |name| -> Result<Option<Secret>, ScriptError> {
        let Some(bytes) = table.bytes(name, MAX_SECRET)? else {
            return Ok(None);
        };
        if bytes.len() < MIN_SECRET {
            return Err(table.error(name, format!("needs at least {MIN_SECRET} characters")));
        }
        Ok(Some(Secret::new(bytes)))
    };
    let token = secret("token")?;
    let account = match (table.text("user")?, secret("password")?) {
        (None, None) => None,
        (Some(user), Some(_)) if user.contains(':') => {
            return Err(table.error("user", "basic authentication has no users with a colon"));
        }
        (Some(user), Some(password)) => Some(Account { user, password }),
        (Some(_), None) => return Err(table.error("password", "a user needs a password")),
        (None, Some(_)) => return Err(table.error("user", "a password needs a user")),
    };
    Ok(Access {
        token,
        account,
        open: open(table)?,
    })
}

fn open(table: &OptionTable<'_>) -> Result<Open, ScriptError> {
    let value = table.value("open")?;
    if value.is_nil() || value.as_boolean() == Some(false) {
        return Ok(Open::Nothing);
    }
    if value.as_boolean() == Some(true) {
        return Ok(Open::Everything);
    }
    let wrong = || table.wrong("open", "a list of paths, or true for all", &value);
    let paths = value.as_table().ok_or_else(wrong)?;
    let paths = paths.sequence_values::<mlua::LuaString>();
    let paths: Result<Vec<_>, _> = paths
        .map(|path| path.map(|path| path.to_string_lossy()))
        .collect();
    Ok(Open::Paths(paths.map_err(|_| wrong())?))
}
