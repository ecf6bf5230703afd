//! `dpm.reload` and `dpm.on_move`.

use std::rc::Rc;

use mlua::{Lua, Value};

use super::commons::{Answered, Outcome};
use crate::script::callbacks::moving::Moving;
use crate::script::lua::error::Answer;
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, nothing};
use crate::script::runtime::Runtime;

/// `dpm.reload(fn)`: runs the startfile anew, soon after this has returned, and calls fn(problem) then.
pub fn reload(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let reloads = &runtime.commons.reloads;
    if !reloads.offered.get() {
        return Err(args.error("this program cannot run its startfile anew"));
    }
    if runtime.staging.waits() {
        return Err(
            args.error("the startfile that is being reloaded cannot ask for another reload")
        );
    }
    let function = args.function_or_nil(0, "fn")?;
    let function = function
        .map(|function| runtime.refs.own(function))
        .transpose()?;
    let weak = Rc::downgrade(runtime);
    let answered = Answered(Box::new(move |result: &Outcome| {
        let Some(runtime) = weak.upgrade() else {
            return;
        };
        if let (Some(lua), Some(place)) =
            (runtime.lua(), function.as_ref().and_then(|it| it.place()))
        {
            tell(&runtime, &lua, Target::Kept(place), result);
        }
    }));
    reloads.wanted.borrow_mut().push(answered);
    nothing()
}

fn tell(runtime: &Runtime, lua: &Lua, target: Target<'_>, result: &Outcome) {
    let problem = match result {
        Ok(()) => Value::Nil,
        Err(problem) => match lua.create_string(problem) {
            Ok(problem) => Value::String(problem),
            Err(error) => return log::error!("a script is not told of its reload: {error}"),
        },
    };
    let what = || "for a reload".to_owned();
    runtime.notify(lua, what, target, &[Arg::Value(&problem)]);
}

/// `dpm.on_move(pack, adopt, ready)`: how clients leave this state for the next one, and come from the one before.
pub fn on_move(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let moving = Moving {
        pack: args.function(0, "pack")?.clone(),
        adopt: args.function(1, "adopt")?.clone(),
        ready: args.function_or_nil(2, "ready")?.cloned(),
    };
    runtime.moving.replace(Some(moving));
    nothing()
}
