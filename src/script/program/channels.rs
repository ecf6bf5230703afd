//! `dpm.publish` and `dpm.subscribe`.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Value};

use crate::script::lua::error::Answer;
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, nothing, one};
use crate::script::runtime::Runtime;
use crate::workers::Published;

/// The longest name of a channel.
const MAX_NAME: usize = 255;
/// The longest message.
const MAX_TEXT: usize = 1 << 20;

/// `dpm.publish(channel, text)`: how many workers get it, and how many do not, as too much waits for them.
pub fn publish(runtime: &Runtime, args: &Args) -> Answer {
    let channel = name(args, "channel")?;
    let text = args.bytes(1, "text", MAX_TEXT)?;
    let reached = runtime.proxy().worker().publish(&channel, &text);
    let numbers = [reached.workers, reached.missed];
    let values = numbers.map(|number| Value::Number(number as f64));
    Ok(MultiValue::from_vec(values.to_vec()))
}

/// `dpm.subscribe(channel, fn or nil)`; without a second argument it returns the function in place.
pub fn subscribe(runtime: &Runtime, args: &Args) -> Answer {
    let channel = name(args, "channel")?;
    let functions = &runtime.subscriptions.functions;
    let place = functions.borrow().get(&*channel).map(|it| it.place());
    if args.len() == 1 {
        return one(match place {
            Some(place) => runtime.refs.value(place)?,
            None => Value::Nil,
        });
    }
    match args.function_or_nil(1, "fn")? {
        Some(function) => {
            let function = runtime.refs.keep(function)?;
            let before = functions
                .borrow_mut()
                .insert(channel.clone().into(), function);
            runtime.refs.release(before);
            let worker = runtime.proxy().worker();
            runtime.when_in_use(move || worker.subscribe(&channel));
        }
        None => {
            runtime.proxy().worker().unsubscribe(&channel);
            let before = functions.borrow_mut().remove(&*channel);
            runtime.refs.release(before);
        }
    }
    nothing()
}

/// A message has come: `fn(text, channel, worker)`.
pub fn arrived(runtime: &Rc<Runtime>, lua: &Lua, message: &Published) {
    let functions = runtime.subscriptions.functions.borrow();
    // None if the script has unsubscribed meanwhile.
    let Some(place) = functions.get(&*message.channel).map(|it| it.place()) else {
        return;
    };
    drop(functions);
    let what = || format!("for channel {}", message.channel);
    let strings = lua
        .create_string(&message.text)
        .and_then(|text| Ok([text, lua.create_string(message.channel.as_bytes())?]));
    match strings.map(|strings| strings.map(Value::String)) {
        Ok([text, channel]) => {
            let from = Arg::Number(message.from as f64);
            let args = [Arg::Value(&text), Arg::Value(&channel), from];
            runtime.notify(lua, what, Target::Kept(place), &args);
        }
        Err(error) => {
            log::error!("a message of channel {} is lost: {error}", message.channel);
            runtime.count_error();
        }
    }
}

/// A name that all workers know.
pub fn name(args: &Args, what: &str) -> Result<String, crate::script::ScriptError> {
    let name = args.bytes(0, what, MAX_NAME)?;
    String::from_utf8(name).map_err(|_| args.error(format!("{what}: expected text in UTF-8")))
}
