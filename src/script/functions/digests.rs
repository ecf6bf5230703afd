//! `dpm.count_digests`: statistics of statements.

use std::num::NonZeroUsize;
use std::rc::Rc;

use mlua::{Lua, Value};

use crate::observe::{Apart, DigestOptions};
use crate::script::functions::figures;
use crate::script::lua::error::Answer;
use crate::script::lua::function::{Args, nothing, one};
use crate::script::runtime::Runtime;

/// The largest number of digests, and of bytes of one.
const MAX: u64 = 1_000_000;
const MAX_LENGTH: u64 = 16_384;

fn apart(
    args: &Args,
    index: usize,
    what: &str,
) -> Result<Apart, crate::script::lua::error::ScriptError> {
    Ok(match args.boolean(index, what)? {
        true => Apart::Apart,
        false => Apart::Together,
    })
}

/// `dpm.count_digests(max, max_length, by_user, by_schema, by_server)`: counts from now on.
pub fn count(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let max = args.integer(0, "max", MAX)? as usize;
    let options = DigestOptions {
        max: NonZeroUsize::new(max).ok_or_else(|| args.error("max: expected at least 1, got 0"))?,
        max_length: args.integer(1, "max_length", MAX_LENGTH)? as usize,
        by_user: apart(args, 2, "by_user")?,
        by_schema: apart(args, 3, "by_schema")?,
        by_server: apart(args, 4, "by_server")?,
    };
    let goes_on = runtime.staging.waits();
    if runtime.sources.named("digests").is_none() {
        for source in runtime.digests.sources() {
            runtime.sources.add(source);
        }
    }
    let (digests, proxy) = (runtime.digests.clone(), runtime.proxy().clone());
    runtime.when_in_use(move || {
        // A reload forgets nothing.
        if !goes_on || digests.options() != Some(options) {
            digests.start(&proxy, options);
        }
    });
    nothing()
}

/// `dpm.top_digests(count, column)`: the rows of the first ones.
pub fn top(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let count = args.integer(0, "count", MAX)? as usize;
    let column = args.text(1, "column")?;
    let rows = runtime.digests.top(count, &column).ok_or_else(|| {
        let names = runtime.digests.columns().join(", ");
        args.error(format!("there is no column {column}, only {names}"))
    })?;
    one(Value::Table(figures::rows(lua, rows)?))
}

/// `dpm.reset_digests()`: forgets all.
pub fn reset(runtime: &Rc<Runtime>) -> Answer {
    runtime.digests.reset();
    nothing()
}
