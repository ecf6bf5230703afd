//! `dpm.resolve`.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use mlua::{Lua, Value};

use crate::script::lua::error::Answer;
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, nothing};
use crate::script::runtime::Runtime;

/// `dpm.resolve(host, fn)`.
pub fn resolve(runtime: &Runtime, args: &Args) -> Answer {
    let host = args.text(0, "host")?;
    let function = args.function(1, "fn")?;
    let look_ups = &runtime.look_ups;
    let key = look_ups.last_key.get() + 1;
    look_ups.last_key.set(key);
    let function = runtime.refs.keep(function)?;
    if let Err(error) = runtime.proxy().look_up(&host, key) {
        runtime.refs.release([function]);
        return Err(args.error(error));
    }
    look_ups.waiting.borrow_mut().insert(key, function);
    nothing()
}

/// The addresses have come, or the reason why there are none.
pub fn resolved(runtime: &Rc<Runtime>, lua: &Lua, key: u64, addresses: io::Result<Vec<IpAddr>>) {
    let Some(function) = runtime.look_ups.waiting.borrow_mut().remove(&key) else {
        return;
    };
    let target = Target::Kept(function.place());
    let what = || "for the addresses of a name".to_owned();
    match values(lua, addresses) {
        Ok(values) => {
            let args = values.each_ref().map(Arg::Value);
            runtime.notify(lua, what, target, &args);
        }
        Err(error) => {
            log::error!("the addresses of a name cannot be given to the script: {error}");
            runtime.count_error();
        }
    }
    runtime.refs.release([function]);
}

/// An array of addresses and nil, or nil and the reason.
fn values(lua: &Lua, addresses: io::Result<Vec<IpAddr>>) -> mlua::Result<[Value; 2]> {
    Ok(match addresses {
        Ok(addresses) => {
            let texts = addresses.iter().map(IpAddr::to_string);
            let list = lua.create_sequence_from(texts)?;
            [Value::Table(list), Value::Nil]
        }
        Err(error) => {
            let reason = lua.create_string(error.to_string())?;
            [Value::Nil, Value::String(reason)]
        }
    })
}
