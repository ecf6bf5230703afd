//! `dpm.new_rowset`: collects and sends rows without entering Lua for each.
//!
//! A monitoring query to a hundred servers has some 50,000 rows, and scripts do not look at single
//! ones: rows are collected, and sent with a value in front and their columns rearranged. A Lua
//! object for each row would be the most expensive part of that.

use std::rc::Rc;

use mlua::{Lua, Table, UserData, UserDataFields, Value};

use super::row;
use super::rset::Rset;
use crate::observe::{RowLimits, Rows};
use crate::proxy::{Packet, ProxyError};
use crate::script::connections::conn::{connection, named};
use crate::script::lua::convert::{is_null, to_integer};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, number, one};
use crate::script::lua::option_table::OptionTable;
use crate::script::runtime::Runtime;
use crate::wire::binary_row::{self, BinaryColumn};
use crate::wire::row::TextRow;

/// The default limit on bytes of rows.
const MAX_BYTES: u64 = 64 << 20;
/// The most columns of a resultset.
const MAX_COLUMNS: u64 = u16::MAX as u64;

/// The object.
#[derive(Debug, Clone)]
pub struct RowsetObject(pub Rc<Rows>);

/// `dpm.new_rowset([{ rows =, bytes =, total = }])`.
pub fn create(lua: &Lua, args: &Args) -> Answer {
    let mut limits = RowLimits {
        rows: u64::MAX,
        bytes: MAX_BYTES,
        total: u64::MAX,
    };
    if !matches!(args.get(0), Value::Nil) {
        for pair in args.table(0, "limits")?.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let limit = || {
                to_integer(&value, 1 << 53)
                    .ok_or_else(|| args.error("limits: expected numbers, of rows and of bytes"))
            };
            match key
                .as_string()
                .map(|key| key.as_bytes().to_vec())
                .as_deref()
            {
                Some(b"rows") => limits.rows = limit()?,
                Some(b"bytes") => limits.bytes = limit()?,
                Some(b"total") => limits.total = limit()?,
                _ => return Err(args.error("limits: there are only rows, bytes and total")),
            }
        }
    }
    let rows = Rows::new(limits);
    let object = lua.create_userdata(RowsetObject(Rc::new(rows)))?;
    one(Value::UserData(object))
}

/// `rowset:row(n [, dpm.NULL])`: its values, and how many.
fn row_values(lua: &Lua, rowset: &RowsetObject, args: &Args) -> Answer {
    let number = args.integer(0, "number", u64::MAX)?;
    let null = match args.get(1) {
        value if value.is_nil() || is_null(value) => value.clone(),
        _ => return Err(args.expected(1, "null", "dpm.NULL or nothing")),
    };
    let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    let payload = index.and_then(|index| rowset.0.with_row(index, <[u8]>::to_vec));
    let Some(payload) = payload else {
        return one(Value::Nil);
    };
    let values = row::decode_text(&payload).map_err(|problem| args.error(problem))?;
    let table = lua.create_table_with_capacity(values.len(), 0)?;
    for (index, value) in values.iter().enumerate() {
        match value {
            Some(bytes) => table.raw_set(index + 1, lua.create_string(bytes)?)?,
            None if null.is_nil() => {}
            None => table.raw_set(index + 1, null.clone())?,
        }
    }
    Ok(mlua::MultiValue::from_vec(vec![
        Value::Table(table),
        Value::Number(values.len() as f64),
    ]))
}

/// The value before each row, and the columns that follow.
struct Layout {
    prefix: Vec<row::Value>,
    /// The numbers of the columns, from 1; 0 is NULL. `None`: all of them.
    columns: Option<Vec<usize>>,
}

impl Layout {
    fn of(args: &Args, index: usize) -> Result<(Layout, usize, usize), ScriptError> {
        let mut layout = Layout {
            prefix: Vec::new(),
            columns: None,
        };
        let Some(options) =
            OptionTable::argument(args, index, &["prefix", "columns", "from", "count"])?
        else {
            return Ok((layout, 1, usize::MAX));
        };
        if let Some(values) = options.table("prefix")? {
            let many = row::highest_index(&values)?;
            layout.prefix =
                row::from_table(&values, many).map_err(|problem| args.error(problem))?;
        }
        if let Some(numbers) = options.table("columns")? {
            layout.columns = Some(column_numbers(&numbers, args)?);
        }
        let place = |key| {
            let place = options.integer(key, 1 << 53)?;
            Ok(place.map(|place| usize::try_from(place).unwrap_or(usize::MAX)))
        };
        let from: Result<_, ScriptError> = place("from");
        let from = from?.unwrap_or(1).max(1);
        Ok((layout, from, place("count")?.unwrap_or(usize::MAX)))
    }

    /// The values of a row as they go out.
    fn arrange<'a>(
        &'a self,
        payload: &'a [u8],
        found: &mut Vec<Option<&'a [u8]>>,
        out: &mut Vec<Option<&'a [u8]>>,
    ) -> Result<(), String> {
        found.clear();
        for value in TextRow::new(payload) {
            found.push(value.map_err(|error| error.to_string())?);
        }
        out.clear();
        out.extend(self.prefix.iter().map(Option::as_deref));
        match &self.columns {
            None => out.append(found),
            Some(columns) => out.extend(columns.iter().map(|number| {
                let index = number.checked_sub(1)?;
                found.get(index).copied().flatten()
            })),
        }
        Ok(())
    }
}

fn column_numbers(numbers: &Table, args: &Args) -> Result<Vec<usize>, ScriptError> {
    (1..=numbers.raw_len())
        .map(|index| {
            let value: Value = numbers.raw_get(index)?;
            to_integer(&value, MAX_COLUMNS)
                .map(|number| number as usize)
                .ok_or_else(|| args.error("columns: expected numbers of columns, 0 for NULL"))
        })
        .collect()
}

/// `rowset:wire(conn, rset [, { prefix =, columns =, from =, count = }])` sends rows to a client whose answer
/// `rset` began, and returns how many.
fn wire(runtime: &Rc<Runtime>, rowset: &RowsetObject, args: &Args) -> Answer {
    runtime.check_depth(args)?;
    let conn = connection(args, 0, "conn")?;
    let (columns, binary) = args.object(1, "rset", "a resultset", |rset: &Rset| {
        (rset.binary_columns(), rset.is_binary())
    })?;
    let (layout, from, count) = Layout::of(args, 2)?;
    let width = layout.prefix.len();
    if let Some(numbers) = &layout.columns
        && width + numbers.len() != columns.len()
    {
        let (rows, fields) = (width + numbers.len(), columns.len());
        return Err(args.error(format!(
            "the rows have {rows} values, the resultset {fields} fields"
        )));
    }
    let mut wired = 0;
    let mut payload = Vec::new();
    while wired < count {
        payload.clear();
        let encoded = rowset.0.with_row(from - 1 + wired, |row| {
            let (mut found, mut values) = (Vec::new(), Vec::new());
            layout
                .arrange(row, &mut found, &mut values)
                .and_then(|()| encode(&values, binary, &columns, &mut payload))
        });
        match encoded {
            None => break,
            Some(encoded) => encoded.map_err(|problem| args.error(problem))?,
        }
        runtime
            .proxy()
            .send(conn.id, Packet::Row(&payload))
            .map_err(|error| match error {
                ProxyError::Closed { id, .. } => named(
                    args,
                    &ProxyError::Closed {
                        id,
                        reason: conn.reason(),
                    },
                ),
                error => named(args, &error),
            })?;
        wired += 1;
    }
    number(wired as f64)
}

fn encode(
    values: &[Option<&[u8]>],
    binary: bool,
    columns: &[BinaryColumn],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if values.len() != columns.len() {
        let (values, fields) = (values.len(), columns.len());
        return Err(format!(
            "a row has {values} values, the resultset {fields} fields"
        ));
    }
    if binary {
        return binary_row::encode(values.iter().copied(), columns, out)
            .map_err(|error| error.to_string());
    }
    crate::wire::row::encode(values.iter().copied(), out);
    Ok(())
}

impl UserData for RowsetObject {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "rowset");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let runtime = Runtime::of(lua)?;
            let methods = Methods::new(lua, &raiser, "rowset")?;
            methods.add::<RowsetObject>("count", |_, rowset, _| number(rowset.0.count() as f64))?;
            methods.add::<RowsetObject>("bytes", |_, rowset, _| number(rowset.0.bytes() as f64))?;
            methods.add::<RowsetObject>("cut", |_, rowset, _| number(rowset.0.cut() as f64))?;
            methods.add::<RowsetObject>("row", row_values)?;
            methods.add::<RowsetObject>("clear", |_, rowset, _| {
                rowset.0.clear();
                nothing()
            })?;
            methods.add::<RowsetObject>("sibling", |lua, rowset, _| {
                let sibling = RowsetObject(Rc::new(rowset.0.sibling()));
                one(Value::UserData(lua.create_userdata(sibling)?))
            })?;
            methods
                .add::<RowsetObject>("wire", move |_, rowset, args| wire(&runtime, rowset, args))?;
            Ok(methods.table)
        });
    }
}
