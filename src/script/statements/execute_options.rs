//! The options of `prepared:encode` and `prepared:encode_bulk`.

use mlua::{Table, Value};

use super::param::{from_lua, type_for, type_from_lua};
use crate::script::lua::convert::{describe, to_integer};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::Args;
use crate::script::lua::option_table::OptionTable;
use crate::wire::{Param, ParamType, ParamValue};

/// The options of `encode` and `encode_bulk`.
#[derive(Debug, Default)]
pub struct EncodeOptions {
    types: Vec<Option<ParamType>>,
    /// Flags of an execute.
    pub cursor: u8,
    /// Names and values.
    pub attributes: Vec<(Vec<u8>, ParamValue)>,
    /// Whether each row is to have a result.
    pub unit_results: bool,
}

impl EncodeOptions {
    /// Reads the second argument, which may have these options.
    pub fn read(args: &Args, params: u16, known: &[&str]) -> Result<EncodeOptions, ScriptError> {
        let mut options = EncodeOptions::default();
        let Some(table) = OptionTable::argument(args, 1, known)? else {
            return Ok(options);
        };
        if let Some(types) = table.table("types")? {
            options.types = read_types(args, &types, params)?;
        }
        let cursor = table.read(
            "cursor",
            "a flag such as dpm.CURSOR_TYPE_READ_ONLY",
            |value| to_integer(value, 7),
        )?;
        options.cursor = cursor.unwrap_or_default() as u8;
        if let Some(attributes) = table.table("attributes")? {
            options.attributes = read_attributes(args, &attributes)?;
        }
        options.unit_results = table.boolean("unit_results")?.unwrap_or(false);
        Ok(options)
    }

    /// The type of a parameter: the requested one, or one that holds its value.
    pub fn param_type(&self, at: usize, value: &ParamValue, bound: &[Param]) -> ParamType {
        match self.types.get(at) {
            Some(Some(asked)) => *asked,
            _ => type_for(value, bound.get(at).map(|param| param.param_type)),
        }
    }
}

fn read_types(
    args: &Args,
    types: &Table,
    params: u16,
) -> Result<Vec<Option<ParamType>>, ScriptError> {
    (1..=params)
        .map(|index| match types.raw_get::<Value>(index)? {
            Value::Nil => Ok(None),
            value => type_from_lua(&value)
                .map(Some)
                .map_err(|problem| args.error(format!("types[{index}]: {problem}"))),
        })
        .collect()
}

/// Attributes by their names.
pub fn read_attributes(
    args: &Args,
    attributes: &Table,
) -> Result<Vec<(Vec<u8>, ParamValue)>, ScriptError> {
    let mut read = Vec::new();
    for pair in attributes.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let Value::String(name) = &name else {
            let got = describe(&name);
            return Err(args.error(format!("attributes: expected names, got {got}")));
        };
        let value = from_lua(&value).map_err(|problem| {
            let name = name.to_string_lossy();
            args.error(format!("attributes.{name}: {problem}"))
        })?;
        read.push((name.as_bytes().to_vec(), value));
    }
    // Lua's tables have no order.
    read.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(read)
}
