//! `dpm.config{}` and the options of listeners and connects.

use std::time::Duration;

use mlua::{Table, Value};

use super::leg_options;
use super::tls_options;
use crate::proxy::{Cleartext, Options};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;

/// The largest `max_packet`, as in MySQL.
const MAX_PACKET: u64 = 1 << 30;
/// The largest `max_queue`.
const MAX_QUEUE: u64 = 1 << 40;
/// The largest `max_clients`.
const MAX_CLIENTS: u64 = 1 << 20;

/// The values of `cleartext`.
const CLEARTEXT: [(&str, Cleartext); 3] = [
    ("refuse", Cleartext::Refuse),
    ("rsa", Cleartext::Rsa),
    ("allow", Cleartext::Allow),
];

/// The options of `dpm.config`.
pub const PROCESS: &[&str] = &[
    "max_packet",
    "max_queue",
    "max_buffered",
    "connect_timeout",
    "handshake_timeout",
    "drain",
    "upgrade_drain",
    "idle_timeout",
    "keepalive",
    "max_clients_per_address",
    "max_lua_memory",
    "workers",
    "watchdog",
    "relieve",
    "budget",
];
/// The options of `dpm.listener`.
pub const LISTENER: &[&str] = &[
    "max_packet",
    "max_queue",
    "handshake_timeout",
    "idle_timeout",
    "keepalive",
    "max_clients",
    "max_clients_per_address",
    "tls",
    "allow_redirect",
    "compression",
    "proxy_protocol",
];
/// The options of `dpm.connect`.
pub const CONNECT: &[&str] = &[
    "max_packet",
    "max_queue",
    "connect_timeout",
    "handshake_timeout",
    "idle_timeout",
    "keepalive",
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
    let defaults = runtime.options();
    match args.get(index) {
        Value::Nil => Ok(defaults),
        _ => read(args, args.table(index, "options")?, defaults, known),
    }
}

/// `options`, changed by the table.
pub fn read(
    args: &Args,
    table: &Table,
    mut options: Options,
    known: &[&str],
) -> Result<Options, ScriptError> {
    let table = OptionTable::of(args, table, "", known)?;
    set(
        &mut options.max_packet,
        table.positive("max_packet", MAX_PACKET)?,
    );
    set(
        &mut options.max_queue,
        table.positive("max_queue", MAX_QUEUE)?,
    );
    set(
        &mut options.max_buffered,
        table.positive("max_buffered", MAX_QUEUE)?,
    );
    set(
        &mut options.connect_timeout,
        table.seconds("connect_timeout")?,
    );
    set(
        &mut options.handshake_timeout,
        table.seconds("handshake_timeout")?,
    );
    set(&mut options.drain, table.seconds("drain")?);
    set(&mut options.upgrade_drain, table.seconds("upgrade_drain")?);
    set(&mut options.idle_timeout, table.seconds("idle_timeout")?);
    // The kernel counts in whole seconds.
    let keepalive = table.seconds("keepalive")?;
    set(
        &mut options.keepalive,
        keepalive.map(|idle| Duration::from_secs_f64(idle.as_secs_f64().ceil())),
    );
    set(
        &mut options.allow_redirect,
        table.boolean("allow_redirect")?,
    );
    // An option of listeners whose default dpm.config sets.
    let per_address = table.positive("max_clients_per_address", MAX_CLIENTS)?;
    options.max_clients_per_address = per_address.or(options.max_clients_per_address);
    let compression = converted(&table, "compression", leg_options::compression)?;
    options.compression = compression.or(options.compression);
    match known {
        LISTENER => read_listener(args, &table, &mut options)?,
        CONNECT => read_connect(args, &table, &mut options)?,
        _ => {}
    }
    Ok(options)
}

/// Options of listeners only.
fn read_listener(
    args: &Args,
    table: &OptionTable<'_>,
    options: &mut Options,
) -> Result<(), ScriptError> {
    let max_clients = table.positive("max_clients", MAX_CLIENTS)?;
    options.max_clients = max_clients.or(options.max_clients);
    let tls = table.value("tls")?;
    if !tls.is_nil() {
        options.tls_server = tls_options::of_listener(args, &tls)?;
    }
    set(
        &mut options.trusted,
        converted(table, "proxy_protocol", leg_options::trusted)?,
    );
    Ok(())
}

/// Options of connects only.
fn read_connect(
    args: &Args,
    table: &OptionTable<'_>,
    options: &mut Options,
) -> Result<(), ScriptError> {
    let tls = table.value("tls")?;
    if !tls.is_nil() {
        options.tls_client = Some(tls_options::of_connect(args, &tls)?);
    }
    set(
        &mut options.cleartext,
        table.one_of("cleartext", &CLEARTEXT)?,
    );
    let version = converted(table, "proxy_protocol", leg_options::proxy_version)?;
    let client = converted(table, "client", leg_options::client)?;
    if client.is_some() && version.is_none() {
        return Err(table.error("client", "expected proxy_protocol beside it, got none"));
    }
    options.proxy_header = version.map(|version| (version, client));
    Ok(())
}

/// Sets an option that is given.
fn set<T>(option: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *option = said;
    }
}

/// An option that is read by a function of its own.
fn converted<T>(
    table: &OptionTable<'_>,
    key: &str,
    convert: fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, ScriptError> {
    match table.value(key)? {
        Value::Nil => Ok(None),
        value => convert(&value)
            .map(Some)
            .map_err(|problem| table.error(key, problem)),
    }
}
