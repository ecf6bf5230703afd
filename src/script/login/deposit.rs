//! `dpm.deposit_secret` and `dpm.withdraw_secret`: passwords that go from one Lua state of this process to another, without
//! being seen by either.

use mlua::{Lua, Value};

use super::secret_object::{object, secret_in};
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, one, string};
use crate::script::runtime::Runtime;

/// `dpm.deposit_secret(password)`: a word for which it is given out once, in this process; nil if there are too many.
pub fn deposit(lua: &Lua, runtime: &Runtime, args: &Args) -> Answer {
    let secret = secret_in(args.get(0))
        .ok_or_else(|| args.expected(0, "password", "a password that a client has shown"))?;
    match runtime.commons.deposit.put(secret) {
        Some(word) => string(lua, word),
        None => one(Value::Nil),
    }
}

/// `dpm.withdraw_secret(word)`: the password, or nil.
pub fn withdraw(lua: &Lua, runtime: &Runtime, args: &Args) -> Answer {
    let secret = runtime.commons.deposit.take(&args.text(0, "word")?);
    match secret {
        Some(secret) => one(object(lua, secret)?),
        None => one(Value::Nil),
    }
}
