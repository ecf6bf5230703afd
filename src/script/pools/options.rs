//! A pool's options as a table.

use crate::pool::{Consistency, PoolOptions};
use crate::script::lua::error::ScriptError;
use crate::script::lua::option_table::OptionTable;

/// The names of the options.
pub const NAMES: &[&str] = &[
    "name",
    "size",
    "min_idle",
    "max_prepared",
    "max_waiting",
    "queue_timeout",
    "idle_timeout",
    "max_lifetime",
    "max_hold",
    "statement_timeout",
    "failover_timeout",
    "split",
    "consistency",
    "consistency_timeout",
    "retry_reads",
    "tells_links",
    "restore_user_variables",
    "hold_opaque",
    "harmless",
    "lastval",
];

/// The most connections, and the most clients that may wait.
const MAX_SIZE: u64 = 100_000;

/// Reads the options; those that are left out have their defaults.
pub fn read(table: &OptionTable<'_>) -> Result<PoolOptions, ScriptError> {
    let usual = PoolOptions::default();
    let count = |name| -> Result<Option<usize>, ScriptError> {
        let count = table.integer(name, MAX_SIZE)?;
        Ok(count.and_then(|count| usize::try_from(count).ok()))
    };
    Ok(PoolOptions {
        size: table.positive("size", MAX_SIZE)?.unwrap_or(usual.size),
        min_idle: count("min_idle")?.unwrap_or(usual.min_idle),
        max_prepared: table
            .positive("max_prepared", MAX_SIZE)?
            .unwrap_or(usual.max_prepared),
        max_waiting: count("max_waiting")?.unwrap_or(usual.max_waiting),
        queue_timeout: table
            .seconds("queue_timeout")?
            .unwrap_or(usual.queue_timeout),
        idle_timeout: table.seconds("idle_timeout")?.unwrap_or(usual.idle_timeout),
        max_lifetime: table.seconds("max_lifetime")?.unwrap_or(usual.max_lifetime),
        max_hold: table.seconds("max_hold")?.unwrap_or(usual.max_hold),
        statement_timeout: table
            .seconds("statement_timeout")?
            .unwrap_or(usual.statement_timeout),
        failover_timeout: table
            .seconds("failover_timeout")?
            .unwrap_or(usual.failover_timeout),
        errand_timeout: usual.errand_timeout,
        split: table.boolean("split")?.unwrap_or(usual.split),
        consistency: table
            .one_of(
                "consistency",
                &[
                    ("none", Consistency::None),
                    ("session", Consistency::Session),
                    ("party", Consistency::Party),
                ],
            )?
            .unwrap_or(usual.consistency),
        consistency_timeout: table
            .seconds("consistency_timeout")?
            .unwrap_or(usual.consistency_timeout),
        retry_reads: table.boolean("retry_reads")?.unwrap_or(usual.retry_reads),
        tells_links: table.boolean("tells_links")?.unwrap_or(usual.tells_links),
        restore_user_variables: table
            .boolean("restore_user_variables")?
            .unwrap_or(usual.restore_user_variables),
        hold_opaque: table.boolean("hold_opaque")?.unwrap_or(usual.hold_opaque),
        harmless: harmless(table)?.unwrap_or_default(),
        lastval: table.boolean("lastval")?.unwrap_or(usual.lastval),
    })
}

/// A list of names.
fn harmless(table: &OptionTable<'_>) -> Result<Option<Vec<String>>, ScriptError> {
    table.read("harmless", "a list of names", |value| {
        let list = value.as_table()?;
        let names: Result<Vec<String>, _> = list.sequence_values().collect();
        names.ok().filter(|names| names.len() == list.raw_len())
    })
}
