//! `dpm.once`.

use std::rc::Rc;

use mlua::Lua;

use super::channels::name;
use crate::script::lua::error::Answer;
use crate::script::lua::fast::Target;
use crate::script::lua::function::{Args, nothing};
use crate::script::runtime::Runtime;

/// `dpm.once(name, fn)`: one of the workers that say so calls its function, soon after this has returned.
pub fn once(runtime: &Runtime, args: &Args) -> Answer {
    let name = name(args, "name")?;
    let function = runtime.refs.keep(args.function(1, "fn")?)?;
    let before = runtime
        .subscriptions
        .once
        .borrow_mut()
        .insert(name.clone().into(), function);
    runtime.refs.release(before);
    let is_staged = runtime.staging.waits();
    let worker = runtime.proxy().worker();
    runtime.when_in_use(move || {
        // With the function of the startfile before it may be under way.
        if is_staged {
            worker.once_again(&name);
        }
        worker.once(&name);
    });
    nothing()
}

/// This worker is the one. If its function fails, another has its turn.
pub fn due(runtime: &Rc<Runtime>, lua: &Lua, name: &str) {
    let place = {
        let functions = runtime.subscriptions.once.borrow();
        functions.get(name).map(|it| it.place())
    };
    let Some(place) = place else {
        return;
    };
    let what = || format!("of dpm.once({name:?})");
    if runtime.notify(lua, what, Target::Kept(place), &[]) {
        return;
    }
    match runtime.proxy().worker().once_failed(name) {
        Some(worker) => log::warn!("worker {worker} is the one for {name:?} now"),
        None => log::error!("no worker is left that could be the one for {name:?}"),
    }
}
