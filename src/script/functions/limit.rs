//! `dpm.limit`.

use std::time::Duration;

use mlua::{MultiValue, Value};

use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::Args;
use crate::script::runtime::Runtime;

/// The longest budget, in milliseconds: a day.
pub const MAX_BUDGET: u64 = 24 * 3600 * 1000;

/// `dpm.limit(milliseconds, fn, …)`: calls the function with a budget. True and its results, or false and its error.
pub fn limit(lua: &mlua::Lua, runtime: &Runtime, args: &Args) -> Answer {
    let budget = args.integer(0, "milliseconds", MAX_BUDGET)?;
    let function = args.function(1, "function")?;
    let values: MultiValue = (2..args.len())
        .map(|index| args.get(index).clone())
        .collect();
    let budget = Duration::from_millis(budget.max(1));
    let result = runtime
        .watchdog
        .limited(budget, || function.call::<MultiValue>(values))?;
    Ok(match result {
        Ok(mut results) => {
            results.push_front(Value::Boolean(true));
            results
        }
        Err(error) => {
            let ScriptError(message) = error.into();
            let values = [
                Value::Boolean(false),
                Value::String(lua.create_string(message)?),
            ];
            values.into_iter().collect()
        }
    })
}
