//! `dpm.shared`: dictionaries that all workers see.

use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, MultiValue, UserData, UserDataFields, Value};

use super::channels::name;
use crate::script::lua::convert::number;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, one};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;
use crate::workers::{Dictionary, SharedValue, Written, shared};

/// How many bytes a dictionary has if nobody says so.
const DEFAULT_BYTES: usize = 1 << 20;
/// The most bytes that one may have.
const MAX_BYTES: u64 = 1 << 40;
/// How many keys are listed if nobody says so, and at most.
const KEYS: (usize, u64) = (1024, 10_000);

/// The object of `dpm.shared(name)`.
#[derive(Debug)]
struct SharedObject(Arc<Dictionary>);

/// `dpm.shared(name, options)`
pub fn shared(runtime: &Runtime, args: &Args) -> Answer {
    let name = name(args, "name")?;
    let table = OptionTable::argument(args, 1, &["bytes"])?;
    let least = shared::MIN_BYTES;
    let wanted = format!("an integer from {least} to {MAX_BYTES}");
    let bytes = table.as_ref().map(|table| {
        table.read("bytes", wanted, |value| {
            let bytes = crate::script::lua::convert::to_integer(value, MAX_BYTES)?;
            usize::try_from(bytes).ok().filter(|bytes| *bytes >= least)
        })
    });
    let bytes = bytes.transpose()?.flatten();
    let worker = runtime.proxy().worker();
    let dictionary = worker.dictionary(&name, bytes, DEFAULT_BYTES);
    let dictionary = dictionary.map_err(|other| {
        args.error(format!(
            "bytes: {name:?} is there already, with {other} bytes"
        ))
    })?;
    one(Value::UserData(
        runtime.create_lean(SharedObject(dictionary))?,
    ))
}

impl UserData for SharedObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "shared");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let methods = Methods::new(lua, &raiser, "shared")?;
            add_readers(&methods)?;
            add_writers(&methods)?;
            Ok(methods.table)
        });
    }
}

fn add_readers(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<SharedObject>("get", |lua, it, args| {
        let value = it.0.value(&key(args)?);
        one(lua_value(lua, value)?)
    })?;
    methods.add::<SharedObject>("keys", |lua, it, args| {
        let most = match args.get(0) {
            Value::Nil => KEYS.0,
            _ => args.integer(0, "max", KEYS.1)? as usize,
        };
        let keys = it.0.keys(most);
        let keys = keys.iter().map(|key| lua.create_string(key));
        let keys = keys.collect::<mlua::Result<Vec<_>>>()?;
        one(Value::Table(lua.create_sequence_from(keys)?))
    })?;
    methods.add::<SharedObject>("ttl", |_, it, args| {
        let key = key(args)?;
        if args.len() > 1 {
            return one(Value::Boolean(it.0.set_ttl(&key, ttl(args, 1)?)));
        }
        one(match it.0.ttl(&key) {
            None => Value::Nil,
            Some(left) => Value::Number(left.map_or(f64::INFINITY, |left| left.as_secs_f64())),
        })
    })?;
    methods.add::<SharedObject>("usage", |lua, it, _| {
        let usage = it.0.usage();
        let table = lua.create_table()?;
        table.raw_set("entries", usage.entries as f64)?;
        table.raw_set("bytes", usage.bytes as f64)?;
        table.raw_set("max_bytes", usage.most as f64)?;
        table.raw_set("evicted", usage.evicted as f64)?;
        one(Value::Table(table))
    })
}

fn add_writers(methods: &Methods<'_>) -> mlua::Result<()> {
    methods.add::<SharedObject>("set", |_, it, args| {
        let key = key(args)?;
        let written =
            it.0.set(&key, shared_value(args, 1, "value")?, ttl(args, 2)?);
        let written = written.map_err(|error| args.error(error))?;
        one(Value::Number(written.evicted as f64))
    })?;
    methods.add::<SharedObject>("add", |_, it, args| {
        let key = key(args)?;
        let written =
            it.0.add(&key, shared_value(args, 1, "value")?, ttl(args, 2)?);
        answer(args, written, Value::Boolean)
    })?;
    methods.add::<SharedObject>("incr", |_, it, args| {
        let key = key(args)?;
        let step = number_at(args, 1, "n")?;
        let init = match args.get(2) {
            Value::Nil => None,
            _ => Some(number_at(args, 2, "init")?),
        };
        let written = it.0.add_to(&key, step, init, ttl(args, 3)?);
        answer(args, written, |sum| sum.map_or(Value::Nil, Value::Number))
    })?;
    methods.add::<SharedObject>("cas", |_, it, args| {
        let key = key(args)?;
        let expected = shared_value_or_nil(args, 1, "old")?;
        let value = shared_value_or_nil(args, 2, "new")?;
        let expected = expected.as_ref();
        let written = it.0.compare_and_set(&key, expected, value, ttl(args, 3)?);
        answer(args, written, Value::Boolean)
    })?;
    methods.add::<SharedObject>("delete", |_, it, args| {
        one(Value::Boolean(it.0.delete(&key(args)?)))
    })
}

/// The result, and how many entries were evicted.
fn answer<T>(
    args: &Args,
    written: Result<Written<T>, impl std::fmt::Display>,
    value: impl FnOnce(T) -> Value,
) -> Answer {
    let written = written.map_err(|error| args.error(error))?;
    let evicted = Value::Number(written.evicted as f64);
    Ok(MultiValue::from_vec(vec![value(written.result), evicted]))
}

fn key(args: &Args) -> Result<Vec<u8>, ScriptError> {
    args.bytes(0, "key", shared::MAX_KEY)
}

fn number_at(args: &Args, index: usize, what: &str) -> Result<f64, ScriptError> {
    number(args.get(index)).ok_or_else(|| args.expected(index, what, "a number"))
}

/// Seconds; 0 and nothing are no limit.
fn ttl(args: &Args, index: usize) -> Result<Option<Duration>, ScriptError> {
    match args.get(index) {
        Value::Nil => Ok(None),
        _ => {
            let seconds = args.seconds(index, "seconds")?;
            Ok(Some(seconds).filter(|seconds| !seconds.is_zero()))
        }
    }
}

fn shared_value(args: &Args, index: usize, what: &str) -> Result<SharedValue, ScriptError> {
    shared_value_or_nil(args, index, what)?.ok_or_else(|| wrong_value(args, index, what))
}

fn shared_value_or_nil(
    args: &Args,
    index: usize,
    what: &str,
) -> Result<Option<SharedValue>, ScriptError> {
    Ok(Some(match args.get(index) {
        Value::Nil => return Ok(None),
        Value::Boolean(boolean) => SharedValue::Boolean(*boolean),
        Value::String(_) => SharedValue::Text(args.bytes(index, what, shared::MAX_TEXT)?.into()),
        other => match number(other) {
            Some(number) => SharedValue::Number(number),
            None => return Err(wrong_value(args, index, what)),
        },
    }))
}

fn wrong_value(args: &Args, index: usize, what: &str) -> ScriptError {
    args.expected(index, what, "a string, a number or a boolean")
}

fn lua_value(lua: &Lua, value: Option<SharedValue>) -> mlua::Result<Value> {
    Ok(match value {
        None => Value::Nil,
        Some(SharedValue::Text(text)) => Value::String(lua.create_string(&*text)?),
        Some(SharedValue::Number(number)) => Value::Number(number),
        Some(SharedValue::Boolean(boolean)) => Value::Boolean(boolean),
    })
}
