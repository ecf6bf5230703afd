//! Reads an account's credential from a script's value.

use std::cell::RefCell;
use std::collections::HashMap;

use mlua::{Lua, Value};

use super::secret_object;
use crate::auth::{Credential, PASSWORD_MAX, Secret, WANTED};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;

/// How many parsed hashes are cached.
const KEPT: usize = 4096;

/// Parsed hashes. The `Credential` of a `caching_sha2_password` verifier remembers a fast hash
/// after the first login, but scripts only have the verifier's text, so the same text has to lead
/// to the same credential.
#[derive(Default)]
struct Kept(RefCell<HashMap<Vec<u8>, Credential>>);

/// The credential in this argument. `None`: there is no such account.
pub fn argument(
    lua: &Lua,
    args: &Args,
    index: usize,
    what: &str,
) -> Result<Option<Credential>, ScriptError> {
    match args.get(index) {
        Value::Nil => Ok(None),
        Value::String(hash) => read_hash(lua, args, what, &hash.as_bytes()).map(Some),
        Value::Table(table) => {
            let value = |key: &str| -> Result<Option<Vec<u8>>, ScriptError> {
                match table.raw_get::<Value>(key)? {
                    Value::Nil => Ok(None),
                    Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
                    _ => Err(args.error(format!("{what}.{key}: expected a string"))),
                }
            };
            if table.raw_get::<bool>("show")? {
                let known = known_password(args, what, &table.raw_get("known")?)?;
                return Ok(Some(Credential::Shown { known }));
            }
            match (value("password")?, value("hash")?) {
                (Some(password), None) => {
                    if password.len() > PASSWORD_MAX || password.contains(&0) {
                        let wanted = format!("at most {PASSWORD_MAX} bytes without NUL");
                        return Err(args.error(format!("{what}.password: expected {wanted}")));
                    }
                    Ok(Some(Credential::password(&password)))
                }
                (None, Some(hash)) => read_hash(lua, args, what, &hash).map(Some),
                _ => {
                    let wanted = "either { password = ... } or { hash = ... }";
                    Err(args.error(format!("{what}: expected {wanted}")))
                }
            }
        }
        _ => Err(args.expected(index, what, "a hash, { password = ... } or nil")),
    }
}

fn known_password(args: &Args, what: &str, value: &Value) -> Result<Option<Secret>, ScriptError> {
    if value.is_nil() {
        return Ok(None);
    }
    let secret = secret_object::secret_in(value);
    let wrong = || {
        args.error(format!(
            "{what}.known: expected a password that verifier:step gave"
        ))
    };
    secret.map(Some).ok_or_else(wrong)
}

fn read_hash(lua: &Lua, args: &Args, what: &str, text: &[u8]) -> Result<Credential, ScriptError> {
    if lua.app_data_ref::<Kept>().is_none() {
        lua.set_app_data(Kept::default());
    }
    let kept = lua.app_data_ref::<Kept>();
    let known = kept
        .as_ref()
        .and_then(|kept| kept.0.borrow().get(text).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    // Without the text, which may be a password in the wrong place.
    let credential =
        Credential::parse(text).ok_or_else(|| args.error(format!("{what}: expected {WANTED}")))?;
    if let Some(kept) = kept {
        let mut kept = kept.0.borrow_mut();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(text.to_vec(), credential.clone());
    }
    Ok(credential)
}
