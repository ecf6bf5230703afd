//! `dpm.on_signal`.

use std::rc::Rc;

use mlua::{Lua, Value};

use crate::script::callbacks::subject::{SIGNALS, Subject};
use crate::script::lua::error::Answer;
use crate::script::lua::fast::Target;
use crate::script::lua::function::{Args, nothing, one};
use crate::script::runtime::Runtime;

/// `dpm.on_signal(name, fn or nil)`; without a second argument it returns the function in place, so that a
/// library can call it, too.
pub fn on_signal(runtime: &Runtime, args: &Args) -> Answer {
    let wanted = "\"HUP\", \"USR1\" or \"USR2\"";
    let name = args
        .bytes(0, "name", 8)
        .map_err(|_| args.no_such_word(0, "name", wanted))?;
    let known = SIGNALS.iter().find(|known| known.as_bytes() == name);
    let Some(name) = known else {
        return Err(args.no_such_word(0, "name", wanted));
    };
    let mut handlers = runtime.signals.0.borrow_mut();
    if args.len() == 1 {
        return one(handlers
            .get(name)
            .cloned()
            .map_or(Value::Nil, Value::Function));
    }
    let function = args.function_or_nil(1, "function")?.cloned();
    match function {
        Some(function) => handlers.insert(name, function),
        None => handlers.remove(name),
    };
    nothing()
}

/// The process got this signal. Whether the script has a function for it.
pub fn arrived(runtime: &Rc<Runtime>, lua: &Lua, name: &'static str) -> bool {
    let function = runtime.signals.0.borrow().get(name).cloned();
    let Some(function) = function else {
        log::info!("signal {name}: the script has no function for it");
        return false;
    };
    runtime.notify(lua, Subject::Signal(name), Target::Function(&function), &[]);
    true
}
