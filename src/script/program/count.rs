//! `dpm.worker`, and the options of `dpm.config` about workers.

use mlua::{MultiValue, Value};

use crate::script::lua::convert::to_integer;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;
use crate::workers::{MAX_WORKERS, parallelism};

/// `dpm.worker()`: its number and how many there are.
pub fn worker(runtime: &Runtime) -> Answer {
    let worker = runtime.proxy().worker();
    let numbers = [worker.number(), worker.count()];
    let values = numbers.map(|number| Value::Number(number as f64));
    Ok(MultiValue::from_vec(values.to_vec()))
}

/// The options `workers`, `watchdog` and `relieve`.
pub fn configure(runtime: &Runtime, table: &OptionTable<'_>) -> Result<(), ScriptError> {
    let wanted = format!("\"auto\" or an integer from 1 to {MAX_WORKERS}");
    let count = table.read("workers", wanted, |value| match value {
        Value::String(text) => (text.as_bytes() == b"auto").then(parallelism),
        _ => {
            let count = to_integer(value, MAX_WORKERS as u64)?;
            usize::try_from(count).ok().filter(|count| *count > 0)
        }
    })?;
    let worker = runtime.proxy().worker();
    let mut patience = worker.patience();
    if let Some(limit) = table.seconds("watchdog")? {
        patience.limit = limit;
    }
    if let Some(relieves) = table.boolean("relieve")? {
        patience.relieves = relieves;
    }
    let program = worker.clone();
    runtime.when_in_use(move || program.set_patience(patience));
    let Some(count) = count else {
        return Ok(());
    };
    let set = worker.set_count(count);
    set.map_err(|error| table.error("workers", error))
}
