//! Requests to other servers: `dpm.http_request` and `dpm.parse_url`.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, Table, UserData, UserDataFields, Value};

use super::values;
use crate::http::{Address, Call, CallOptions, Failure, Reply, Underway};
use crate::proxy::{TlsClientOptions, TlsMode};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::script::lua::option_table::OptionTable;
use crate::script::options::tls_options;
use crate::script::runtime::Runtime;

const NAMES: [&str; 7] = [
    "url", "method", "headers", "body", "timeout", "max_size", "tls",
];

/// The longest body of a request and of an answer.
const MAX_BODY: usize = 64 << 20;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_SIZE: usize = 1 << 20;

/// A request under way.
#[derive(Debug)]
struct CallObject(Underway);

/// `dpm.parse_url(text [, base])`: what it consists of.
pub fn parse_url(lua: &Lua, args: &Args) -> Answer {
    let base = match args.get(1) {
        Value::Nil => None,
        _ => Some(address(args, &args.text(1, "base")?, None)?),
    };
    let address = address(args, &args.text(0, "url")?, base.as_ref())?;
    let table = lua.create_table()?;
    table.raw_set("url", address.to_string())?;
    table.raw_set("scheme", if address.is_https() { "https" } else { "http" })?;
    table.raw_set("host", address.host())?;
    table.raw_set("port", address.port())?;
    table.raw_set("target", address.target())?;
    table.raw_set("has_name", address.has_name())?;
    one(Value::Table(table))
}

fn address(args: &Args, text: &str, base: Option<&Address>) -> Result<Address, ScriptError> {
    Address::parse(text, base).map_err(|error| args.error(error))
}

/// `dpm.http_request(options, addresses, fn)`: sends a request to one of these addresses, and calls fn(answer, nil) or
/// fn(nil, problem) once, later.
pub fn http_request(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let call = call(args)?;
    let addresses = addresses(args, args.table(1, "addresses")?)?;
    let function = args.function(2, "fn")?;
    let function = runtime.refs.own(function)?;
    let what = format!("for the answer of {}", call.address());
    let weak = Rc::downgrade(runtime);
    let underway = runtime.http_client.send(call, addresses, move |answer| {
        let Some(runtime) = weak.upgrade() else {
            return;
        };
        let Some((lua, place)) = runtime.lua().zip(function.place()) else {
            return;
        };
        let what = || what.clone();
        match results(&lua, answer) {
            Ok(results) => {
                let results = results.each_ref().map(Arg::Value);
                runtime.notify(&lua, what, Target::Kept(place), &results);
            }
            Err(error) => {
                log::error!("an answer cannot be given to the script: {error}");
                runtime.count_error();
            }
        }
    });
    one(Value::UserData(runtime.create_lean(CallObject(underway))?))
}

fn call(args: &Args) -> Result<Call, ScriptError> {
    let table = OptionTable::of(args, args.table(0, "")?, "", &NAMES)?;
    let url = table
        .text("url")?
        .ok_or_else(|| table.error("url", "expected the address of what is asked for, got nil"))?;
    let body = table.bytes("body", MAX_BODY)?.unwrap_or_default();
    let method = table.text("method")?;
    let usual = if body.is_empty() { "GET" } else { "POST" };
    let timeout = table.seconds("timeout")?.unwrap_or(TIMEOUT);
    if timeout.is_zero() {
        return Err(table.error("timeout", "there is no waiting without an end here"));
    }
    let options = CallOptions {
        method: method.unwrap_or_else(|| usual.to_owned()),
        headers: match table.table("headers")? {
            Some(headers) => values::headers(args, &headers)?,
            None => Vec::new(),
        },
        body,
        timeout,
        max_size: table
            .integer("max_size", MAX_BODY as u64)?
            .map_or(MAX_SIZE, |bytes| bytes as usize),
        tls: tls(args, &table)?,
    };
    let address = address(args, &url, None)?;
    Call::new(address, options).map_err(|error| args.error(error))
}

/// Verifies as browsers do, unless the script says otherwise.
fn tls(args: &Args, table: &OptionTable<'_>) -> Result<TlsClientOptions, ScriptError> {
    let usual = TlsClientOptions {
        mode: TlsMode::VerifyIdentity,
        ca: Some("system".to_owned()),
        ..TlsClientOptions::default()
    };
    let value = table.value("tls")?;
    let Value::Table(given) = &value else {
        return match value {
            Value::Nil => Ok(usual),
            _ => Err(table.wrong("tls", "a table", &value)),
        };
    };
    let mut options = tls_options::of_connect(args, &value)?;
    if matches!(given.get::<Value>("mode")?, Value::Nil) {
        options.mode = usual.mode;
    } else if !options.mode.insists() {
        return Err(table.error("tls", "mode: https has no connection without TLS"));
    }
    if options.mode.verifies() && options.ca.is_none() {
        options.ca = usual.ca;
    }
    Ok(options)
}

fn addresses(args: &Args, table: &Table) -> Result<Vec<IpAddr>, ScriptError> {
    let texts = table.sequence_values::<String>();
    texts
        .map(|text| {
            let text = text?;
            text.parse()
                .map_err(|_| args.error(format!("addresses: {text} is no IP address")))
        })
        .collect()
}

/// The answer as a table and nil, or nil and the reason why there is none.
fn results(lua: &Lua, answer: Result<Reply, Failure>) -> mlua::Result<[Value; 2]> {
    Ok(match answer {
        Err(failure) => {
            let reason = lua.create_string(failure.to_string())?;
            [Value::Nil, Value::String(reason)]
        }
        Ok(reply) => {
            let table = lua.create_table()?;
            table.raw_set("status", reply.status)?;
            table.raw_set("headers", values::headers_table(lua, &reply.headers)?)?;
            table.raw_set("body", lua.create_string(&reply.body)?)?;
            [Value::Table(table), Value::Nil]
        }
    })
}

impl UserData for CallObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "http_call");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let methods = Methods::new(lua, &raiser, "http_call")?;
            methods.add::<CallObject>("cancel", |_, this, _| {
                this.0.cancel();
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
