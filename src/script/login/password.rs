//! Passwords for `mysql_native_password`: `dpm.check_pass` and `dpm.crypt_pass`; and `dpm.hash_pass`.

use mlua::{Lua, Value};

use crate::auth::{Credential, PASSWORD_MAX, native};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, nothing, number, string};
use crate::script::objects::object::Held;
use crate::wire::{Auth, Handshake, NONCE};

/// The only method for which a password's hash is enough.
const NATIVE: &[u8] = b"mysql_native_password";

fn nonce(args: &Args) -> Result<Vec<u8>, ScriptError> {
    let scramble = args.object(
        1,
        "handshake",
        "a handshake packet",
        |p: &Held<Handshake>| p.0.borrow().scramble.clone(),
    )?;
    match scramble.get(..NONCE) {
        Some(nonce) => Ok(nonce.to_vec()),
        None => Err(args.error(format!(
            "the handshake's scramble has less than {NONCE} bytes"
        ))),
    }
}

/// 0 if the client knew the password, else 1.
pub fn check_pass(args: &Args) -> Answer {
    let (plugin, answer) = args.object(0, "auth", "an auth packet", |p: &Held<Auth>| {
        let auth = p.0.borrow();
        (auth.auth_plugin.clone(), auth.auth_response.clone())
    })?;
    let nonce = nonce(args)?;
    let hash = args.bytes(2, "stored_hash", 41)?;
    if hash.is_empty() {
        // An account without a password.
        return number(if answer.is_empty() { 0.0 } else { 1.0 });
    }
    let hash = std::str::from_utf8(&hash)
        .ok()
        .and_then(native::parse_native_hash);
    let Some(hash) = hash else {
        let wanted = "what SELECT PASSWORD('...') prints: 40 hexadecimal digits, or none";
        return Err(args.error(format!("stored_hash: expected {wanted}")));
    };
    let native = plugin.is_none_or(|plugin| plugin == NATIVE);
    let knew = native && native::native_verify(&answer, &nonce, &hash);
    number(if knew { 0.0 } else { 1.0 })
}

/// Puts the answer to the handshake's challenge into the auth packet.
pub fn crypt_pass(args: &Args) -> Answer {
    let nonce = nonce(args)?;
    let password = args.bytes(2, "plaintext", PASSWORD_MAX)?;
    let answer = match password.is_empty() {
        true => Vec::new(),
        false => native::native_answer(&password, &nonce).to_vec(),
    };
    args.object(0, "auth", "an auth packet", |p: &Held<Auth>| {
        let mut auth = p.0.borrow_mut();
        auth.auth_response = answer;
        auth.auth_plugin = Some(NATIVE.to_vec());
    })?;
    nothing()
}

/// The hash that a server would store for this password, for `check_pass` and verifiers: by default
/// what `SELECT PASSWORD('...')` prints, a function that newer servers lack. The hash of an empty
/// password is empty.
pub fn hash_pass(lua: &Lua, args: &Args) -> Answer {
    let password = args.bytes(0, "plaintext", PASSWORD_MAX)?;
    let plugin = match args.get(1) {
        Value::Nil => "mysql_native_password".to_string(),
        _ => args.text(1, "plugin")?,
    };
    let hash = match plugin.as_str() {
        _ if password.is_empty() => Credential::password(b""),
        "mysql_native_password" => Credential::native(&password),
        "caching_sha2_password" => Credential::sha2(&password),
        "sha256d" => Credential::sha2_double(&password),
        _ => {
            let wanted = "\"mysql_native_password\", \"caching_sha2_password\" or \"sha256d\"";
            return Err(args.error(format!("plugin: expected {wanted}")));
        }
    };
    string(lua, hash.print().unwrap_or_default())
}
