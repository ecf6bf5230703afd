//! The resultset object, which decodes and encodes rows.
//!
//! It has two lists of columns. Those that *arrived*, noted while a server sends them, decode the
//! server's rows. Those that the script *gave* it (`add_field`) encode the rows that the script
//! packs, and decode them again. If one list is empty, the other is used in its place. A script that
//! changes columns begins with those that arrived (`take_fields`); then it is known where each is
//! from, so that the server's rows can be brought into the same shape (`fit_row`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{AnyUserData, Lua, MultiValue, Table, UserData, UserDataFields, Value};

use super::object::Held;
use super::row;
use crate::script::lua::convert::{integer, is_null};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::fast::{Fast, RowKind};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::session::statements::Columns;
use crate::wire::binary_row::BinaryColumn;
use crate::wire::{Column, ResultsetHeader};

/// A resultset.
#[derive(Debug, Default)]
pub struct Rset {
    header: RefCell<ResultsetHeader>,
    given: RefCell<Vec<Given>>,
    arrived: Rc<Columns>,
    /// Whether the given columns began as those that arrived.
    taken: Cell<bool>,
    /// Whether rows are packed for the binary protocol; known once it came, or was wired, as part
    /// of an answer.
    binary: Cell<Option<bool>>,
}

/// A column that a script gave it.
#[derive(Debug)]
struct Given {
    field: Held<Column>,
    /// Its place among those that arrived, from 0 on, if it is one of them.
    from: Option<usize>,
}

impl Rset {
    /// One that begins on the wire, whose columns are noted here as they come.
    pub fn arrived(header: ResultsetHeader, binary: bool, columns: Rc<Columns>) -> Rset {
        Rset {
            header: RefCell::new(header),
            arrived: columns,
            binary: Cell::new(Some(binary)),
            ..Rset::default()
        }
    }

    /// The packet to send.
    pub fn header(&self) -> ResultsetHeader {
        self.header.borrow().clone()
    }

    /// Rows are packed for an answer in this encoding from now on.
    pub fn set_binary(&self, binary: bool) {
        self.binary.set(Some(binary));
    }

    /// Whether rows are packed for the binary protocol.
    pub fn is_binary(&self) -> bool {
        self.binary.get().unwrap_or(false)
    }

    /// The columns by which rows are packed.
    pub fn binary_columns(&self) -> Vec<BinaryColumn> {
        self.columns_for(true, |column| column.into())
    }

    /// Whether a server's rows have another shape than the columns that the script gave it. (As
    /// text all types look alike.)
    fn is_changed(&self) -> bool {
        if !self.taken.get() {
            return false;
        }
        let given = self.given.borrow();
        let arrived = self.arrived.known();
        let same = |(at, (one, column)): (usize, (&Given, &Column))| {
            let now: BinaryColumn = (&*one.field.0.borrow()).into();
            one.from == Some(at) && (!self.is_binary() || now == column.into())
        };
        given.len() != arrived.len() || !given.iter().zip(arrived.iter()).enumerate().all(same)
    }

    fn field_count(&self) -> u64 {
        self.header.borrow().columns
    }

    fn set_field_count(&self, count: u64) {
        self.header.borrow_mut().columns = count;
    }

    /// The field of a column, from 0 on: the script's own, which it can change, or else a copy.
    fn field(&self, at: usize) -> Option<Held<Column>> {
        if self.taken.get() {
            return self.given.borrow().get(at).map(|one| one.field.clone());
        }
        let columns = self.columns_for(false, Column::clone);
        columns.into_iter().nth(at).map(Held::new)
    }

    /// Maps the columns for reading a row (or packing one) through `f`.
    fn columns_for<R>(&self, use_given: bool, f: impl Fn(&Column) -> R) -> Vec<R> {
        let arrived = self.arrived.known();
        let given = self.given.borrow();
        if (use_given && !given.is_empty()) || arrived.is_empty() {
            given.iter().map(|one| f(&one.field.0.borrow())).collect()
        } else {
            arrived.iter().map(f).collect()
        }
    }
}

/// Adds a field. It raises the count, unless it is one of those announced.
fn add_field(rset: &Rset, args: &Args) -> Answer {
    let field = args.object(0, "field", "a field object", Held::<Column>::clone)?;
    let given = {
        let mut given = rset.given.borrow_mut();
        given.push(Given { field, from: None });
        given.len() as u64
    };
    rset.set_field_count(rset.field_count().max(given));
    nothing()
}

/// `remove_field()` takes the last, `remove_field(n)` the n-th, `remove_field(field)` that one.
fn remove_field(rset: &Rset, args: &Args) -> Answer {
    let count = rset.given.borrow().len();
    let index = match args.get(0) {
        Value::Nil => count.checked_sub(1),
        Value::UserData(_) => {
            let same = |field: &Held<Column>| {
                let given = rset.given.borrow();
                given
                    .iter()
                    .position(|one| Rc::ptr_eq(&one.field.0, &field.0))
            };
            args.object(0, "field", "a field object or its number", same)?
        }
        _ => (args.integer(0, "field", u64::MAX)? as usize).checked_sub(1),
    };
    let Some(index) = index.filter(|index| *index < count) else {
        return Err(args.error(format!("there is no such field among the {count} added")));
    };
    rset.given.borrow_mut().remove(index);
    rset.set_field_count(rset.field_count().saturating_sub(1));
    nothing()
}

fn field_count(lua: &Lua, rset: &Rset, args: &Args) -> Answer {
    if args.is_empty() {
        return one(integer(lua, rset.field_count())?);
    }
    rset.set_field_count(args.integer(0, "", u16::MAX.into())?);
    nothing()
}

fn fields_follow(rset: &Rset, args: &Args) -> Answer {
    if args.is_empty() {
        return one(Value::Boolean(rset.header.borrow().definitions));
    }
    rset.header.borrow_mut().definitions = args.boolean(0, "")?;
    nothing()
}

/// The values of `table`, as many as there are columns.
fn values(rset: &Rset, table: &Table, args: &Args) -> Result<Vec<row::Value>, ScriptError> {
    let given = table.raw_len();
    let columns = match rset.field_count() {
        // The number of columns is unknown.
        0 => row::highest_index(table)?,
        columns => columns as usize,
    };
    if given > columns {
        let problem = format!("the row has {given} values, the resultset {columns} fields");
        return Err(args.error(problem));
    }
    row::from_table(table, columns).map_err(|problem| args.error(problem))
}

/// `pack_row(row, values)` rewrites the row in place, `pack_row(values)` makes a new one; the row is
/// the result.
fn pack_row(lua: &Lua, fast: &Fast, rset: &Rset, args: &Args) -> Answer {
    let makes = args.len() == 1 && matches!(args.get(0), Value::Table(_));
    let object = match makes {
        true => None,
        false => Some(row_argument(lua, fast, args)?),
    };
    let values = values(rset, args.table(usize::from(!makes), "values")?, args)?;
    let before = object.and_then(|object| fast.read_row_kind(lua, object));
    let known = rset.binary.get();
    let binary = known.unwrap_or_else(|| before.is_some_and(|kind| kind.binary));
    let payload = match binary {
        true => row::encode_binary(&values, &rset.columns_for(true, |column| column.into())),
        false => Ok(row::encode_text(&values)),
    }
    .map_err(|problem| args.error(problem))?;
    let kind = packed(binary, values.len());
    let Some(object) = object else {
        return one(Value::UserData(fast.row(lua, kind, &payload)?));
    };
    if !fast.write_row(lua, object, kind, &payload) {
        return Err(args.error(format!("a row of {} bytes is too long", payload.len())));
    }
    one(Value::UserData(object.clone()))
}

fn packed(binary: bool, values: usize) -> RowKind {
    RowKind {
        binary,
        packed: Some(values as u32),
    }
}

/// `take_fields()`: from now on `field`, `add_field` and `remove_field` are about the columns that
/// arrived, and change them. False if they are not known.
fn take_fields(rset: &Rset, args: &Args) -> Answer {
    if rset.taken.get() {
        return one(Value::Boolean(true));
    }
    let arrived = rset.arrived.known();
    let all = !arrived.is_empty() && arrived.len() as u64 == rset.field_count();
    if all {
        if !rset.given.borrow().is_empty() {
            return Err(args.error("the resultset has fields of the script's own already"));
        }
        let given = arrived.iter().enumerate().map(|(at, column)| Given {
            field: Held::new(column.clone()),
            from: Some(at),
        });
        *rset.given.borrow_mut() = given.collect();
        rset.taken.set(true);
    }
    one(Value::Boolean(all))
}

/// `fit_row(row)`: brings a server's row into the shape that the script gave the resultset. False
/// if it has that shape already. `fit_row()`: whether rows have to be brought into another shape.
fn fit_row(lua: &Lua, fast: &Fast, rset: &Rset, args: &Args) -> Answer {
    let is_changed = rset.is_changed();
    if !is_changed || args.is_empty() {
        return one(Value::Boolean(is_changed));
    }
    let object = row_argument(lua, fast, args)?;
    let Some((kind, payload)) = fast.read_row(lua, object) else {
        return Err(args.expected(0, "row", "a row object"));
    };
    if kind.packed.is_some() {
        return one(Value::Boolean(false));
    }
    let decoded = match kind.binary {
        true => row::decode_binary(&payload, &rset.columns_for(false, |column| column.into())),
        false => row::decode_text(&payload),
    };
    let mut arrived = decoded.map_err(|problem| args.error(problem))?;
    let given = rset.given.borrow();
    let value = |one: &Given| arrived.get_mut(one.from?).and_then(Option::take);
    let values: Vec<row::Value> = given.iter().map(value).collect();
    drop(given);
    let payload = match kind.binary {
        true => row::encode_binary(&values, &rset.binary_columns()),
        false => Ok(row::encode_text(&values)),
    }
    .map_err(|problem| args.error(problem))?;
    if !fast.write_row(lua, object, packed(kind.binary, values.len()), &payload) {
        return Err(args.error(format!("a row of {} bytes is too long", payload.len())));
    }
    one(Value::Boolean(true))
}

/// The row, how it reads, and what stands for NULL.
fn parsed(
    lua: &Lua,
    fast: &Fast,
    rset: &Rset,
    args: &Args,
) -> Result<(Vec<row::Value>, RowKind, Value), ScriptError> {
    let object = row_argument(lua, fast, args)?;
    let null = match args.get(1) {
        value if value.is_nil() || is_null(value) => value.clone(),
        _ => return Err(args.expected(1, "null", "dpm.NULL or nothing")),
    };
    let Some((kind, payload)) = fast.read_row(lua, object) else {
        return Err(args.expected(0, "row", "a row object"));
    };
    let values = match kind.binary {
        true => row::decode_binary(
            &payload,
            &rset.columns_for(kind.packed.is_some(), |column| column.into()),
        ),
        false => row::decode_text(&payload),
    }
    .map_err(|problem| args.error(problem))?;
    Ok((values, kind, null))
}

/// The cases that the hot path leaves: binary rows, and errors.
fn parse_row_array(lua: &Lua, fast: &Fast, rset: &Rset, args: &Args) -> Answer {
    let (values, _, null) = parsed(lua, fast, rset, args)?;
    let table = lua.create_table_with_capacity(values.len(), 0)?;
    for (index, value) in values.iter().enumerate() {
        match value {
            Some(bytes) => table.raw_set(index + 1, lua.create_string(bytes)?)?,
            None if null.is_nil() => {}
            None => table.raw_set(index + 1, null.clone())?,
        }
    }
    let count = Value::Number(values.len() as f64);
    Ok(MultiValue::from_vec(vec![Value::Table(table), count]))
}

fn parse_row_table(lua: &Lua, fast: &Fast, rset: &Rset, args: &Args) -> Answer {
    let (values, kind, null) = parsed(lua, fast, rset, args)?;
    let columns = rset.columns_for(kind.packed.is_some(), |column| column.name.clone());
    if columns.len() != values.len() {
        let (columns, values) = (columns.len(), values.len());
        let problem = format!("the row has {values} values, but {columns} fields are known");
        return Err(args.error(format!("{problem}: give them with rset:add_field")));
    }
    let table = lua.create_table_with_capacity(0, values.len())?;
    for (name, value) in columns.iter().zip(&values) {
        let value = match value {
            Some(bytes) => Value::String(lua.create_string(bytes)?),
            None => null.clone(),
        };
        table.raw_set(lua.create_string(name)?, value)?;
    }
    one(Value::Table(table))
}

fn row_argument<'a>(
    lua: &Lua,
    fast: &Fast,
    args: &'a Args,
) -> Result<&'a AnyUserData, ScriptError> {
    match args.get(0) {
        Value::UserData(object) if fast.is_row(lua, object) => Ok(object),
        _ => Err(args.expected(0, "row", "a row object")),
    }
}

impl UserData for Rset {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", "rset");
        fields.add_meta_field_with("__index", |lua| {
            let raiser = Raiser::of(lua)?;
            let fast = Fast::of(lua)?;
            let methods = Methods::new(lua, &raiser, "rset")?;
            methods.add::<Rset>("field_count", field_count)?;
            methods.add::<Rset>("binary", |_, rset, args| {
                if args.is_empty() {
                    return one(Value::Boolean(rset.binary.get().unwrap_or(false)));
                }
                rset.set_binary(args.boolean(0, "")?);
                nothing()
            })?;
            methods.add::<Rset>("fields_follow", |_, rset, args| fields_follow(rset, args))?;
            methods.add::<Rset>("field", |lua, rset, args| {
                let number = args.integer(0, "", u16::MAX.into())? as usize;
                match number.checked_sub(1).and_then(|at| rset.field(at)) {
                    Some(field) => one(Value::UserData(lua.create_userdata(field)?)),
                    None => one(Value::Nil),
                }
            })?;
            methods.add::<Rset>("take_fields", |_, rset, args| take_fields(rset, args))?;
            let own = fast.clone();
            methods.add::<Rset>("fit_row", move |lua, rset, args| {
                fit_row(lua, &own, rset, args)
            })?;
            methods.add::<Rset>("add_field", |_, rset, args| add_field(rset, args))?;
            methods.add::<Rset>("remove_field", |_, rset, args| remove_field(rset, args))?;
            let own = fast.clone();
            methods.add::<Rset>("pack_row", move |lua, rset, args| {
                pack_row(lua, &own, rset, args)
            })?;
            let own = fast.clone();
            methods.add::<Rset>("parse_row_table", move |lua, rset, args| {
                parse_row_table(lua, &own, rset, args)
            })?;
            methods.add::<Rset>("parse_row_array", move |lua, rset, args| {
                parse_row_array(lua, &fast, rset, args)
            })?;
            Ok(methods.table)
        });
    }
}

/// Replaces `parse_row_array` by the hot path. That needs the metatable, which exists only once
/// there is a resultset.
pub fn install_fast_path(lua: &Lua, fast: &Fast) -> mlua::Result<()> {
    let rset = lua.create_userdata(Rset::default())?;
    let methods: Table = rset.metatable()?.get("__index")?;
    let otherwise = methods.raw_get("parse_row_array")?;
    methods.raw_set(
        "parse_row_array",
        fast.parse_row_array(lua, &rset, &otherwise)?,
    )
}
