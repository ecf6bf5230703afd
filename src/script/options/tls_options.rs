//! The option `tls` of listeners and connects.

use mlua::{Table, Value};

use crate::proxy::{TlsClientOptions, TlsMode, TlsServer, TlsServerOptions, TlsVerify, TlsVersion};
use crate::script::lua::convert::describe;
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;
use crate::script::lua::option_table::OptionTable;

const LISTENER: [&str; 7] = [
    "cert",
    "key",
    "ca",
    "verify",
    "min_version",
    "required",
    "self_signed",
];
const CONNECT: [&str; 6] = ["mode", "ca", "cert", "key", "server_name", "min_version"];
const VERIFY: [(&str, TlsVerify); 3] = [
    ("none", TlsVerify::None),
    ("optional", TlsVerify::Optional),
    ("required", TlsVerify::Required),
];
const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

/// The certificate and its key, which must both be given.
fn identity(options: &OptionTable<'_>) -> Result<Option<(String, String)>, ScriptError> {
    match (options.text("cert")?, options.text("key")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(options.error("key", "expected the file of cert's key")),
        (None, Some(_)) => Err(options.error("cert", "expected the file of key's cert")),
    }
}

/// The TLS configuration of a listener.
pub fn of_listener(args: &Args, value: &Value) -> Result<Option<TlsServer>, ScriptError> {
    let options = match value {
        Value::Boolean(false) => return Ok(None),
        Value::Boolean(true) => TlsServerOptions::default(),
        Value::Table(table) => listener_table(args, table, None)?,
        other => {
            let got = describe(other);
            return Err(args.error(format!("tls: expected true, false or a table, got {got}")));
        }
    };
    read(args, &options).map(Some)
}

/// The new TLS configuration of a listener that has this one, if any: what the table does not name
/// stays as it is, and the files are read again.
pub fn renewed(
    args: &Args,
    table: &Table,
    before: Option<&TlsServer>,
) -> Result<TlsServer, ScriptError> {
    let options = listener_table(args, table, before.map(TlsServer::options))?;
    read(args, &options)
}

fn read(args: &Args, options: &TlsServerOptions) -> Result<TlsServer, ScriptError> {
    TlsServer::new(options).map_err(|error| args.error(format!("tls.{error}")))
}

fn listener_table(
    args: &Args,
    table: &Table,
    before: Option<&TlsServerOptions>,
) -> Result<TlsServerOptions, ScriptError> {
    let options = OptionTable::of(args, table, "tls.", &LISTENER)?;
    let identity = match (options.boolean("self_signed")?, identity(&options)?) {
        (Some(true), Some(_)) => {
            let why = "tls: self_signed makes a certificate, so there can be no cert";
            return Err(args.error(why));
        }
        (Some(true), None) => None,
        (_, Some(identity)) => Some(identity),
        (said, None) => match before {
            Some(before) if said.is_none() => before.identity.clone(),
            _ => {
                let wanted = "cert and key, or self_signed = true";
                return Err(args.error(format!("tls: expected {wanted}")));
            }
        },
    };
    let ca = options.text("ca")?;
    let verify = options.one_of("verify", &VERIFY)?;
    let usual = match (&ca, before) {
        (Some(_), None | Some(TlsServerOptions { ca: None, .. })) => TlsVerify::Optional,
        (_, Some(before)) => before.verify,
        (None, None) => TlsVerify::None,
    };
    let min_version = options.one_of("min_version", &VERSIONS)?;
    let required = options.boolean("required")?;
    let before = before.cloned().unwrap_or_default();
    Ok(TlsServerOptions {
        identity,
        ca: ca.or(before.ca),
        verify: verify.unwrap_or(usual),
        min_version: min_version.unwrap_or(before.min_version),
        required: required.unwrap_or(before.required),
    })
}

/// The TLS options of a connect.
pub fn of_connect(args: &Args, value: &Value) -> Result<TlsClientOptions, ScriptError> {
    let modes = || {
        let modes = TlsMode::ALL.map(|(name, _)| format!("\"{name}\""));
        modes.join(", ")
    };
    match value {
        Value::Boolean(false) => Ok(TlsClientOptions {
            mode: TlsMode::Disabled,
            ..TlsClientOptions::default()
        }),
        Value::String(text) => {
            let text = text.to_string_lossy();
            let mode = TlsMode::ALL.iter().find(|(name, _)| *name == text);
            let Some((_, mode)) = mode else {
                return Err(args.error(format!(
                    "tls: expected {}, false or a table, got {}",
                    modes(),
                    describe(value)
                )));
            };
            Ok(TlsClientOptions {
                mode: *mode,
                ..TlsClientOptions::default()
            })
        }
        Value::Table(table) => {
            let options = OptionTable::of(args, table, "tls.", &CONNECT)?;
            let ca = options.text("ca")?;
            // Like --ssl-ca for MySQL's clients: an authority implies verification.
            let usual = match ca {
                Some(_) => TlsMode::VerifyCa,
                None => TlsMode::default(),
            };
            Ok(TlsClientOptions {
                mode: options.one_of("mode", &TlsMode::ALL)?.unwrap_or(usual),
                ca,
                identity: identity(&options)?,
                server_name: options.text("server_name")?,
                min_version: options
                    .one_of("min_version", &VERSIONS)?
                    .unwrap_or_default(),
            })
        }
        other => Err(args.error(format!(
            "tls: expected {}, false or a table, got {}",
            modes(),
            describe(other)
        ))),
    }
}
