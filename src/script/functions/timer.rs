//! The timer object.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mlua::{AnyUserData, Lua, UserData, UserDataFields, Value};

use crate::script::callbacks::subject::Subject;
use crate::script::callbacks::timers::Scheduled;
use crate::script::lua::error::Answer;
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, Methods, Raiser, nothing};
use crate::script::runtime::Runtime;

/// The longest delay, in seconds: some hundred years, which does not overflow any clock.
const MAX_SECONDS: u64 = 1 << 32;

/// The object of `dpm.new_timer()`.
#[derive(Debug, Default)]
pub struct TimerObject {
    /// The number of the scheduled timer, a new one each time it is scheduled.
    key: Cell<Option<u64>>,
}

/// A timer is due. The next delay begins when the function returns, so late ticks do not pile up.
pub fn due(runtime: &Rc<Runtime>, lua: &Lua, key: u64) {
    let (target, args) = match runtime.timers.scheduled.borrow().get(&key) {
        Some(timer) => (
            Target::Kept(timer.function.place()),
            [
                Arg::Kept(timer.object.place()),
                Arg::Kept(timer.argument.place()),
            ],
        ),
        None => return,
    };
    if !runtime.notify(lua, Subject::Timer(key), target, &args) {
        cancel(runtime, key);
        return;
    }
    // Unless the function cancelled it.
    let mut timers = runtime.timers.scheduled.borrow_mut();
    if let Some(timer) = timers.get_mut(&key) {
        timer.id = runtime.proxy().schedule(timer.delay, key);
    }
}

fn cancel(runtime: &Runtime, key: u64) {
    let scheduled = runtime.timers.scheduled.borrow_mut().remove(&key);
    let Some(scheduled) = scheduled else {
        return;
    };
    runtime.proxy().cancel(scheduled.id);
    if let Ok(Value::UserData(object)) = runtime.refs.value(scheduled.object.place())
        && let Ok(timer) = object.borrow::<TimerObject>()
        && timer.key.get() == Some(key)
    {
        timer.key.set(None);
    }
    let released = [scheduled.object, scheduled.function, scheduled.argument];
    runtime.refs.release(released);
}

impl Runtime {
    /// Cancels all timers.
    pub fn cancel_timers(&self) {
        self.idle.rest(self.proxy());
        let keys: Vec<u64> = self.timers.scheduled.borrow().keys().copied().collect();
        for key in keys {
            cancel(self, key);
        }
    }
}

fn schedule(runtime: &Runtime, object: &AnyUserData, args: &Args) -> Answer {
    let timer = object
        .borrow::<TimerObject>()
        .map_err(|_| args.error("must be called on a timer, as timer:schedule()"))?;
    let seconds = args.integer(0, "seconds", MAX_SECONDS)?;
    let milliseconds = args.integer(1, "milliseconds", MAX_SECONDS)?;
    let function = args.function(2, "function")?;
    let argument = args.get(3);
    let delay = Duration::from_secs(seconds) + Duration::from_millis(milliseconds);
    if delay.is_zero() {
        return Err(args.error("a delay of 0 s 0 ms would never let anything else run"));
    }
    if timer.key.get().is_some() {
        return Err(args.error("the timer is scheduled already: cancel it first"));
    }
    let key = runtime.timers.last_key.get() + 1;
    runtime.timers.last_key.set(key);
    let scheduled = Scheduled {
        object: runtime.refs.keep(object)?,
        function: runtime.refs.keep(function)?,
        argument: runtime.refs.keep(argument)?,
        delay,
        id: runtime.proxy().schedule(delay, key),
    };
    runtime.timers.scheduled.borrow_mut().insert(key, scheduled);
    timer.key.set(Some(key));
    nothing()
}

impl UserData for TimerObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "timer");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "timer")?;
            let rt = runtime.clone();
            methods.add_raw("schedule", move |_, object, args| {
                schedule(&rt, object, args)
            })?;
            methods.add::<TimerObject>("cancel", move |_, timer, _| {
                if let Some(key) = timer.key.get() {
                    cancel(&runtime, key);
                }
                nothing()
            })?;
            Ok(methods.table)
        });
    }
}
