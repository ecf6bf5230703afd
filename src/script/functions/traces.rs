//! `dpm.trace`: spans of queries.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Value};

use crate::observe::{Comments, News, Ratio, Statements, TraceOptions};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, nothing, one};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;

const NAMES: [&str; 7] = [
    "sample",
    "slower_than",
    "statements",
    "comment",
    "max_text",
    "queue",
    "batch",
];

/// How many spans may wait, and how long a statement may be in one.
const MAX_QUEUE: u64 = 1_000_000;
const MAX_TEXT: u64 = 64 << 10;

const STATEMENTS: [(&str, Statements); 2] =
    [("digest", Statements::Digests), ("text", Statements::Texts)];

/// `dpm.trace(options, fn)`: traces from now on. fn(full) is called when there are spans to be taken, and once more when there
/// are enough for a batch.
pub fn trace(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let table = OptionTable::of(args, args.table(0, "")?, "", &NAMES)?;
    let options = TraceOptions {
        ratio: ratio(&table)?,
        slower_than: table.seconds("slower_than")?.filter(|it| !it.is_zero()),
        statements: table
            .one_of("statements", &STATEMENTS)?
            .unwrap_or(Statements::Digests),
        comments: match table.boolean("comment")? {
            Some(true) => Comments::Context,
            _ => Comments::None,
        },
        max_text: table.integer("max_text", MAX_TEXT)?.unwrap_or(2048) as usize,
        queue: table.positive("queue", MAX_QUEUE)?.unwrap_or(8192),
        batch: table.positive("batch", MAX_QUEUE)?.unwrap_or(512),
    };
    let function = runtime.refs.keep(args.function(1, "fn")?)?;
    runtime.span_sender.set(&runtime.refs, function);
    if runtime.sources.named("traces").is_none() {
        runtime.sources.add(runtime.traces.source());
    }
    let (commons, proxy) = (runtime.commons.clone(), runtime.proxy().clone());
    let number = runtime.number;
    runtime.when_in_use(move || {
        commons.tracer.set(number);
        commons.traces.start(&proxy, options);
    });
    nothing()
}

fn ratio(table: &OptionTable<'_>) -> Result<Ratio, ScriptError> {
    let wanted = "a number from 0 to 1";
    let ratio = table.read("sample", wanted, |value| {
        let share = match value {
            Value::Integer(share) => *share as f64,
            Value::Number(share) => *share,
            _ => return None,
        };
        Ratio::new(share)
    })?;
    ratio.ok_or_else(|| table.error("sample", format!("expected {wanted}, got nil")))
}

/// `dpm.take_spans()`: the oldest ones that wait, as elements of an array of JSON, and how many they are; nil if there are none.
pub fn take(lua: &Lua, runtime: &Rc<Runtime>) -> Answer {
    let Some(batch) = runtime.traces.take() else {
        return one(Value::Nil);
    };
    let spans = Value::String(lua.create_string(&batch.spans)?);
    let count = Value::Number(batch.count as f64);
    Ok(MultiValue::from_vec(vec![spans, count]))
}

/// `dpm.spans_sent(sent, failed)`: what became of those that were taken.
pub fn sent(runtime: &Rc<Runtime>, args: &Args) -> Answer {
    let [sent, failed] = [
        args.integer(0, "sent", u32::MAX.into())?,
        args.integer(1, "failed", u32::MAX.into())?,
    ];
    runtime.traces.note_sent(sent, failed);
    nothing()
}

/// Tells the script of spans that wait.
pub fn end_of_tick(runtime: &Runtime) {
    if runtime.commons.tracer.get() != runtime.number {
        return;
    }
    let Some(news) = runtime.traces.news(runtime.proxy().is_stopping()) else {
        return;
    };
    let place = runtime.span_sender.place();
    if let Some((lua, place)) = runtime.lua().zip(place) {
        let full = Value::Boolean(news == News::Full);
        let what = || "for spans that wait".to_owned();
        runtime.notify(&lua, what, Target::Kept(place), &[Arg::Value(&full)]);
    }
}
