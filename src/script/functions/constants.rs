//! The constants of the `dpm` table.

use mlua::{Table, Value};

use crate::script::connections::methods;
use crate::script::runtime;
use crate::script::statements::param;
use crate::session::Event;
use crate::wire::{Capabilities, ColumnType, Com, Status, column_flags, session_changes};

/// `dpm.INADDR_ANY`: every address of this machine.
pub const INADDR_ANY: &str = "0.0.0.0 and ::";

/// Puts them into the table.
pub fn add(table: &Table) -> mlua::Result<()> {
    table.raw_set("NULL", Value::NULL)?;
    table.raw_set("INADDR_ANY", INADDR_ANY)?;
    for (name, mark) in param::CONSTANTS {
        table.raw_set(name, mark.value())?;
    }
    let numbers = (runtime::VERDICTS.into_iter())
        .chain(methods::CONSTANTS)
        .chain(param::flags())
        .chain(
            Event::ALL
                .iter()
                .map(|(name, event)| (*name, *event as u64)),
        )
        .chain(Com::ALL.iter().map(|(name, com)| (*name, com.0.into())))
        .chain(session_changes::change_type::ALL.iter().copied())
        .chain(
            Capabilities::ALL
                .iter()
                .map(|(name, flag)| (*name, flag.bits())),
        )
        .chain(
            Status::ALL
                .iter()
                .map(|(name, flag)| (*name, flag.bits().into())),
        )
        .chain(
            ColumnType::ALL
                .iter()
                .map(|(name, kind)| (*name, kind.0.into())),
        )
        .chain(
            column_flags::ALL
                .iter()
                .map(|(name, flag)| (*name, (*flag).into())),
        );
    for (name, number) in numbers {
        // All are below 2^53.
        table.raw_set(name, number as f64)?;
    }
    Ok(())
}
