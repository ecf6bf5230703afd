//! The field object: a column's definition.

use mlua::{MultiValue, Value};

use super::object::{Accessor, Held, PacketObject, reading, writing};
use crate::script::lua::error::ScriptError;
use crate::script::lua::function::{Args, Methods, nothing, one};
use crate::wire::{Column, ColumnType};

/// The longest name: several times what servers allow for an alias.
const NAME: usize = 0xFFFF;
const U8: u64 = u8::MAX as u64;
const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// What `full()` reads and writes, by their names in its table.
fn attributes() -> Vec<Accessor<Column>> {
    vec![
        Accessor::bytes("catalog", NAME, |c| &c.catalog, |c, v| c.catalog = v),
        Accessor::bytes("db", NAME, |c| &c.schema, |c, v| c.schema = v),
        Accessor::bytes("table", NAME, |c| &c.table, |c, v| c.table = v),
        Accessor::bytes("org_table", NAME, |c| &c.org_table, |c, v| c.org_table = v),
        Accessor::bytes("name", NAME, |c| &c.name, |c, v| c.name = v),
        Accessor::bytes("org_name", NAME, |c| &c.org_name, |c, v| c.org_name = v),
        Accessor::integer(
            "charset_number",
            U16,
            |c| c.character_set.into(),
            |c, v| c.character_set = v as u16,
        ),
        Accessor::integer(
            "length",
            U32,
            |c| c.length.into(),
            |c, v| c.length = v as u32,
        ),
        Accessor::integer(
            "type",
            U8,
            |c| c.column_type.0.into(),
            |c, v| c.column_type = ColumnType(v as u8),
        ),
        Accessor::flags("flags", U16, |c| c.flags.into(), |c, v| c.flags = v as u16),
        Accessor::integer(
            "decimals",
            U8,
            |c| c.decimals.into(),
            |c, v| c.decimals = v as u8,
        ),
        Accessor::bytes("extended", NAME, |c| &c.extended, |c, v| c.extended = v),
        Accessor::optional(
            "default",
            NAME,
            |c| c.default.as_ref().and_then(Option::as_deref),
            |c, v| c.default = Some(v),
        ),
    ]
}

impl PacketObject for Column {
    const NAME: &'static str = "field";

    /// Each attribute has an accessor of its own too; `name` does more, below.
    fn accessors() -> Vec<Accessor<Self>> {
        attributes()
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        // name() → name, type; name(name[, type]) writes.
        methods.add::<Held<Column>>("name", |lua, field, args| {
            if args.is_empty() {
                let column = reading(&field.0, args)?;
                let name = Value::String(lua.create_string(&column.name)?);
                let kind = Value::Number(column.column_type.0.into());
                return Ok(MultiValue::from_vec(vec![name, kind]));
            }
            let name = args.bytes(0, "name", NAME)?;
            let column_type = match args.len() {
                1 => None,
                _ => Some(ColumnType(args.integer(1, "type", U8)? as u8)),
            };
            let mut column = writing(&field.0, args)?;
            column.name = name;
            column.column_type = column_type.unwrap_or(column.column_type);
            nothing()
        })?;

        let attributes = attributes();
        methods.add::<Held<Column>>("full", move |lua, field, args| {
            if args.is_empty() {
                let table = lua.create_table()?;
                for attribute in &attributes {
                    let value = attribute.read(lua, &*reading(&field.0, args)?)?;
                    table.raw_set(attribute.name, value)?;
                }
                return one(Value::Table(table));
            }
            let changes = changes(args, &attributes)?;
            let mut column = writing(&field.0, args)?;
            for change in changes {
                change.apply(&mut column);
            }
            nothing()
        })
    }
}

/// The changes in the table, all checked before any is applied.
fn changes(
    args: &Args,
    attributes: &[Accessor<Column>],
) -> Result<Vec<super::object::Change<Column>>, ScriptError> {
    let mut changes = Vec::new();
    for pair in args.table(0, "")?.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let attribute = match &key {
            Value::String(key) => attributes
                .iter()
                .find(|a| key.as_bytes() == a.name.as_bytes()),
            _ => None,
        };
        let Some(attribute) = attribute else {
            let names: Vec<_> = attributes.iter().map(|a| a.name).collect();
            let key = key.to_string().unwrap_or_default();
            let names = names.join(", ");
            return Err(args.error(format!("no attribute is called {key}: there are {names}")));
        };
        let change = attribute.write(&value).map_err(|wanted| {
            let got = crate::script::lua::convert::describe(&value);
            args.error(format!("{}: expected {wanted}, got {got}", attribute.name))
        })?;
        changes.push(change);
    }
    Ok(changes)
}
