//! The option `tls` of listeners and connects.

use mlua::{Table, Value};

use super::convert::describe;
use super::error::ScriptError;
use super::function::Args;
use crate::proxy::{TlsClientOptions, TlsMode, TlsServer, TlsServerOptions, TlsVerify, TlsVersion};

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

/// The table while it is read.
struct Reader<'a> {
    args: &'a Args,
    table: &'a Table,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, wanted: &str, value: &Value) -> ScriptError {
        let got = describe(value);
        self.args
            .error(format!("tls.{key}: expected {wanted}, got {got}"))
    }

    fn check(&self, known: &[&str]) -> Result<(), ScriptError> {
        for pair in self.table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let key = match &key {
                Value::String(key) => key.to_string_lossy(),
                other => describe(other),
            };
            if !known.contains(&key.as_str()) {
                let known = known.join(", ");
                return Err(self
                    .args
                    .error(format!("there is no option tls.{key}, only {known}")));
            }
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<Option<String>, ScriptError> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(text.to_string_lossy())),
            other => Err(self.wrong(key, "a string", &other)),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, ScriptError> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(false),
            Value::Boolean(flag) => Ok(flag),
            other => Err(self.wrong(key, "true or false", &other)),
        }
    }

    /// One of these words.
    fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, ScriptError> {
        let wanted = || {
            let words: Vec<_> = words.iter().map(|(w, _)| format!("\"{w}\"")).collect();
            words.join(", ")
        };
        let value: Value = self.table.raw_get(key)?;
        match &value {
            Value::Nil => Ok(None),
            Value::String(text) => {
                let text = text.to_string_lossy();
                let found = words.iter().find(|(word, _)| *word == text);
                let (_, found) = found.ok_or_else(|| self.wrong(key, &wanted(), &value))?;
                Ok(Some(*found))
            }
            other => Err(self.wrong(key, &wanted(), other)),
        }
    }

    /// The certificate and its key, which come together.
    fn identity(&self) -> Result<Option<(String, String)>, ScriptError> {
        match (self.text("cert")?, self.text("key")?) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.args.error("tls.key: expected the file of cert's key")),
            (None, Some(_)) => Err(self.args.error("tls.cert: expected the file of key's cert")),
        }
    }
}

/// What a listener's clients are offered.
pub fn of_listener(args: &Args, value: &Value) -> Result<Option<TlsServer>, ScriptError> {
    let options = match value {
        Value::Boolean(false) => return Ok(None),
        Value::Boolean(true) => TlsServerOptions::default(),
        Value::Table(table) => {
            let reader = Reader { args, table };
            reader.check(&LISTENER)?;
            let identity = reader.identity()?;
            match (reader.flag("self_signed")?, &identity) {
                (false, None) => {
                    let wanted = "cert and key, or self_signed = true";
                    return Err(args.error(format!("tls: expected {wanted}")));
                }
                (true, Some(_)) => {
                    let why = "tls: self_signed makes a certificate, so there can be no cert";
                    return Err(args.error(why));
                }
                _ => {}
            }
            let ca = reader.text("ca")?;
            let usual = match ca {
                Some(_) => TlsVerify::Optional,
                None => TlsVerify::None,
            };
            TlsServerOptions {
                identity,
                ca,
                verify: reader.one_of("verify", &VERIFY)?.unwrap_or(usual),
                min_version: reader.one_of("min_version", &VERSIONS)?.unwrap_or_default(),
                required: reader.flag("required")?,
            }
        }
        other => {
            let got = describe(other);
            return Err(args.error(format!("tls: expected true, false or a table, got {got}")));
        }
    };
    let tls = TlsServer::new(&options).map_err(|error| args.error(format!("tls.{error}")))?;
    Ok(Some(tls))
}

/// What is asked of a server.
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
            let reader = Reader { args, table };
            reader.check(&CONNECT)?;
            let ca = reader.text("ca")?;
            // As --ssl-ca does it for MySQL's clients: who names an authority means it.
            let usual = match ca {
                Some(_) => TlsMode::VerifyCa,
                None => TlsMode::default(),
            };
            Ok(TlsClientOptions {
                mode: reader.one_of("mode", &TlsMode::ALL)?.unwrap_or(usual),
                ca,
                identity: reader.identity()?,
                server_name: reader.text("server_name")?,
                min_version: reader.one_of("min_version", &VERSIONS)?.unwrap_or_default(),
            })
        }
        other => Err(args.error(format!(
            "tls: expected {}, false or a table, got {}",
            modes(),
            describe(other)
        ))),
    }
}
