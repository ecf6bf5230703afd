//! `dpm.config{}` and the options of listeners and connects.

use std::time::Duration;

use mlua::{Table, Value};

use super::convert::{describe, to_integer};
use super::error::ScriptError;
use super::function::Args;
use super::leg_options;
use super::runtime::Runtime;
use super::tls_options;
use crate::proxy::{Cleartext, Options};

/// The largest `max_packet`, as in MySQL.
const MAX_PACKET: u64 = 1 << 30;
/// A time-out of a day or more had better be none.
const MAX_SECONDS: f64 = 86_400.0 * 365.0;

/// What becomes of passwords that would go on in clear.
const CLEARTEXT: [(&str, Cleartext); 3] = [
    ("refuse", Cleartext::Refuse),
    ("rsa", Cleartext::Rsa),
    ("allow", Cleartext::Allow),
];

/// What each place takes.
pub const PROCESS: &[&str] = &[
    "max_packet",
    "max_queue",
    "connect_timeout",
    "handshake_timeout",
    "drain",
    "idle_timeout",
    "max_clients_per_address",
];
/// What `dpm.listener` takes.
pub const LISTENER: &[&str] = &[
    "max_packet",
    "max_queue",
    "handshake_timeout",
    "idle_timeout",
    "max_clients",
    "max_clients_per_address",
    "tls",
    "allow_redirect",
    "compression",
    "proxy_protocol",
];
/// What `dpm.connect` takes.
pub const CONNECT: &[&str] = &[
    "max_packet",
    "max_queue",
    "connect_timeout",
    "handshake_timeout",
    "idle_timeout",
    "tls",
    "allow_redirect",
    "compression",
    "proxy_protocol",
    "client",
    "cleartext",
];

/// The options that are an argument, or those of the process.
pub fn argument(
    args: &Args,
    index: usize,
    runtime: &Runtime,
    known: &[&str],
) -> Result<Options, ScriptError> {
    let defaults = runtime.proxy().defaults();
    match args.get(index) {
        Value::Nil => Ok(defaults),
        _ => read(args, args.table(index, "options")?, defaults, known),
    }
}

/// `options` with what the table says.
pub fn read(
    args: &Args,
    table: &Table,
    mut options: Options,
    known: &[&str],
) -> Result<Options, ScriptError> {
    let (mut version, mut client) = (None, None);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match &key {
            Value::String(key) => key.to_string_lossy(),
            other => describe(other),
        };
        if !known.contains(&key.as_str()) {
            let known = known.join(", ");
            return Err(args.error(format!("there is no option {key}, only {known}")));
        }
        let bytes = |max: u64| {
            to_integer(&value, max)
                .filter(|n| *n > 0)
                .map(|n| n as usize)
                .ok_or_else(|| wrong(args, &key, format!("an integer from 1 to {max}"), &value))
        };
        let number = match &value {
            Value::Integer(n) => Some(*n as f64),
            Value::Number(n) => Some(*n),
            _ => None,
        };
        let boolean = || match value {
            Value::Boolean(boolean) => Ok(boolean),
            _ => Err(wrong(args, &key, "true or false".to_string(), &value)),
        };
        let seconds = || match number {
            Some(n) if (0.0..=MAX_SECONDS).contains(&n) => Ok(Duration::from_secs_f64(n)),
            _ => Err(wrong(
                args,
                &key,
                format!("seconds from 0 to {MAX_SECONDS}"),
                &value,
            )),
        };
        let failed = |problem: String| args.error(format!("{key}: {problem}"));
        match key.as_str() {
            "max_packet" => options.max_packet = bytes(MAX_PACKET)?,
            "max_queue" => options.max_queue = bytes(1 << 40)?,
            "max_clients" => options.max_clients = Some(bytes(1 << 20)?),
            "max_clients_per_address" => {
                options.max_clients_per_address = Some(bytes(1 << 20)?);
            }
            "connect_timeout" => options.connect_timeout = seconds()?,
            "handshake_timeout" => options.handshake_timeout = seconds()?,
            "allow_redirect" => options.allow_redirect = boolean()?,
            "drain" => options.drain = seconds()?,
            "tls" if known.contains(&"max_clients") => {
                options.tls_server = tls_options::of_listener(args, &value)?;
            }
            "cleartext" => {
                let words: Vec<_> = CLEARTEXT.iter().map(|(w, _)| format!("\"{w}\"")).collect();
                let wanted = || wrong(args, &key, words.join(", "), &value);
                let word = value.as_string().map(|word| word.to_string_lossy());
                let found = CLEARTEXT
                    .iter()
                    .find(|(name, _)| word.as_deref() == Some(*name));
                options.cleartext = found.ok_or_else(wanted)?.1;
            }
            "tls" => options.tls_client = Some(tls_options::of_connect(args, &value)?),
            "compression" => {
                let compression = leg_options::compression(&value);
                options.compression = Some(compression.map_err(failed)?);
            }
            "proxy_protocol" if known.contains(&"max_clients") => {
                options.trusted = leg_options::trusted(&value).map_err(failed)?;
            }
            "proxy_protocol" => {
                version = Some(leg_options::proxy_version(&value).map_err(failed)?);
            }
            "client" => client = Some(leg_options::client(&value).map_err(failed)?),
            _ => options.idle_timeout = seconds()?,
        }
    }
    options.proxy_header = version.map(|version| (version, client));
    if client.is_some() && version.is_none() {
        return Err(args.error("client: expected proxy_protocol beside it, got none"));
    }
    Ok(options)
}

fn wrong(args: &Args, key: &str, wanted: String, value: &Value) -> ScriptError {
    args.error(format!("{key}: expected {wanted}, got {}", describe(value)))
}
