//! The prepared object: a prepared statement, which takes executes apart and makes them.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use mlua::{Lua, MultiValue, Value};

use super::execute_options::EncodeOptions;
use super::param::{joined, to_lua, type_for, type_to_lua, values_from_lua};
use crate::proxy::ConnInfo;
use crate::script::lua::convert::is_null;
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, Raiser, nothing, one};
use crate::script::lua::refs::Owned;
use crate::script::objects::object::{Accessor, Held, PacketObject, reading, writing};
use crate::script::runtime::Runtime;
use crate::session::statements::Statement;
use crate::wire::{
    BulkExecute, Capabilities, Column, Com, Command, Execute, Param, ParamType, ParamValue,
    PrepareOk,
};

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;

/// A prepared statement on one connection.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// The first packet of the answer to COM_STMT_PREPARE, which scripts may change.
    pub ok: PrepareOk,
    /// Further knowledge about it.
    pub known: Rc<Statement>,
    /// The connection that it belongs to.
    conn: Option<Rc<ConnInfo>>,
}

impl Prepared {
    /// The statement that is known by this on this connection.
    pub fn new(ok: PrepareOk, known: Rc<Statement>, conn: Option<Rc<ConnInfo>>) -> Prepared {
        Prepared { ok, known, conn }
    }

    /// The capabilities by which its commands are encoded.
    fn capabilities(&self) -> Capabilities {
        match &self.conn {
            Some(conn) => conn.capabilities.get(),
            None => Capabilities::empty(),
        }
    }

    /// Decodes an execute.
    fn decode(&self, command: &Command) -> Result<Execute, String> {
        if command.com != Com::STMT_EXECUTE {
            let name = command.com.name();
            return Err(format!("expected a COM_STMT_EXECUTE, got {name}"));
        }
        let form = self.capabilities();
        self.known.decode(self.ok.params, &command.argument, form)
    }
}

impl PacketObject for Prepared {
    const NAME: &'static str = "prepared";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer(
                "statement_id",
                U32,
                |p| p.ok.statement_id.into(),
                |p, v| p.ok.statement_id = v as u32,
            ),
            Accessor::integer(
                "columns",
                U16,
                |p| p.ok.columns.into(),
                |p, v| p.ok.columns = v as u16,
            ),
            Accessor::integer(
                "params",
                U16,
                |p| p.ok.params.into(),
                |p, v| p.ok.params = v as u16,
            ),
            Accessor::integer(
                "warning_count",
                U16,
                |p| p.ok.warnings.into(),
                |p, v| p.ok.warnings = v as u16,
            ),
            Accessor::boolean(
                "fields_follow",
                |p| p.ok.definitions,
                |p, v| p.ok.definitions = v,
            ),
        ]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        methods.add::<Held<Prepared>>("param", |lua, object, args| {
            definition(lua, object, args, true)
        })?;
        methods.add::<Held<Prepared>>("column", |lua, object, args| {
            definition(lua, object, args, false)
        })?;
        methods.add::<Held<Prepared>>("add_param", |_, object, args| add(object, args, true))?;
        methods.add::<Held<Prepared>>("add_column", |_, object, args| add(object, args, false))?;
        methods.add::<Held<Prepared>>("types", |lua, object, args| {
            let known = reading(&object.0, args)?.known.clone();
            if known.bound().is_empty() {
                return one(Value::Nil);
            }
            let types: Vec<ParamType> = known.bound().iter().map(|p| p.param_type).collect();
            let table = lua.create_table_with_capacity(types.len(), 0)?;
            for (index, param_type) in types.iter().enumerate() {
                table.raw_set(index + 1, type_to_lua(lua, *param_type)?)?;
            }
            one(Value::Table(table))
        })?;
        methods.add::<Held<Prepared>>("sql", |lua, object, args| {
            let known = reading(&object.0, args)?.known.clone();
            one(match known.sql() {
                Some(sql) => Value::String(lua.create_string(sql)?),
                None => Value::Nil,
            })
        })?;
        methods.add::<Held<Prepared>>("notes", notes)?;
        methods.add::<Held<Prepared>>("may_open_cursor", |_, object, args| {
            one(Value::Boolean(
                reading(&object.0, args)?.known.may_open_cursor(),
            ))
        })?;
        methods.add::<Held<Prepared>>("long_data", long_data)?;
        methods.add::<Held<Prepared>>("decode", decode)?;
        methods.add::<Held<Prepared>>("decode_bulk", decode_bulk)?;
        methods.add::<Held<Prepared>>("encode", encode)?;
        methods.add::<Held<Prepared>>("encode_bulk", encode_bulk)
    }
}

/// `notes()`: a table of the script's own, which stays with the statement until that is closed; nil if
/// no connection remembers the statement.
fn notes(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let known = reading(&object.0, args)?.known.clone();
    let runtime = Runtime::of(lua)?;
    let noted = known.note().and_then(|note| note.downcast::<Owned>().ok());
    // Those of the startfile before are of no use to this one.
    let noted = noted.filter(|noted| runtime.refs.has(noted));
    if let Some(place) = noted.and_then(|noted| noted.place()) {
        return one(runtime.refs.value(place)?);
    }
    let table = lua.create_table()?;
    let noted = Rc::new(runtime.refs.own(&table)?);
    match known.set_note(noted) {
        true => one(Value::Table(table)),
        false => one(Value::Nil),
    }
}

/// `param(n)` and `column(n)`: a copy of the definition, nil if it is not known.
fn definition(lua: &Lua, object: &Held<Prepared>, args: &Args, is_param: bool) -> Answer {
    let index = args.integer(0, "", U16)? as usize;
    let known = reading(&object.0, args)?.known.clone();
    let column = {
        let definitions = known.definitions();
        let list = match is_param {
            true => &definitions.params,
            false => &definitions.columns,
        };
        index.checked_sub(1).and_then(|at| list.get(at).cloned())
    };
    match column {
        Some(column) => {
            let field = Held::new((*column).clone());
            one(Value::UserData(lua.create_userdata(field)?))
        }
        None => one(Value::Nil),
    }
}

/// `add_param(field)` and `add_column(field)`: adds a definition, which raises the count unless it
/// was announced.
fn add(object: &Held<Prepared>, args: &Args, is_param: bool) -> Answer {
    let field = args.object(0, "", "a field object", Held::<Column>::clone)?;
    let column = reading(&field.0, args)?.clone();
    let mut statement = writing(&object.0, args)?;
    let count = u16::try_from(statement.known.add(column, is_param))
        .map_err(|_| args.error("there are 65535 already"))?;
    let counted = match is_param {
        true => &mut statement.ok.params,
        false => &mut statement.ok.columns,
    };
    *counted = count.max(*counted);
    nothing()
}

/// `long_data(n)`: how many bytes of the parameter were sent by COM_STMT_SEND_LONG_DATA, and the
/// bytes, if they are kept.
fn long_data(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let index = args.integer(0, "", U16)?;
    let known = reading(&object.0, args)?.known.clone();
    let Some(param) = index.checked_sub(1) else {
        return one(Value::Nil);
    };
    let found = known.long_data(param as u16, |long| {
        (long.size, long.pieces.as_deref().map(joined))
    });
    match found {
        None => one(Value::Nil),
        Some((size, bytes)) => {
            let bytes = match bytes {
                Some(bytes) => Value::String(lua.create_string(bytes)?),
                None => Value::Nil,
            };
            let size = crate::script::lua::convert::integer(lua, size)?;
            Ok(MultiValue::from_vec(vec![size, bytes]))
        }
    }
}

/// The command in the first argument, and the value for NULL.
fn command_argument(args: &Args) -> Result<(Command, Value), ScriptError> {
    let command = args.object(0, "cmd", "a cmd object", |cmd: &Held<Command>| {
        cmd.0.try_borrow().map(|cmd| cmd.clone())
    })?;
    let command = command.map_err(|_| args.error("the packet is being written to"))?;
    let null = match args.get(1) {
        value if value.is_nil() || is_null(value) => value.clone(),
        _ => return Err(args.expected(1, "null", "dpm.NULL or nothing")),
    };
    Ok((command, null))
}

/// `decode(cmd [, dpm.NULL])`: values, how many, and the attributes by their names.
fn decode(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let (command, null) = command_argument(args)?;
    let statement = reading(&object.0, args)?.clone();
    let execute = statement
        .decode(&command)
        .map_err(|problem| args.error(problem))?;
    let count = execute.values.len().min(statement.ok.params.into());
    let values = lua.create_table_with_capacity(count, 0)?;
    let mut attributes = None;
    for (at, (value, param)) in execute.values.iter().zip(&execute.params).enumerate() {
        if at < count {
            values.raw_set(at + 1, to_lua(lua, value, &null)?)?;
            continue;
        }
        let table = match attributes.take() {
            Some(table) => table,
            None => lua.create_table()?,
        };
        table.raw_set(
            lua.create_string(&param.name)?,
            to_lua(lua, value, &Value::NULL)?,
        )?;
        attributes = Some(table);
    }
    Ok(MultiValue::from_vec(vec![
        Value::Table(values),
        Value::Number(count as f64),
        attributes.map_or(Value::Nil, Value::Table),
    ]))
}

/// `for values, n in decode_bulk(cmd [, dpm.NULL])`: the rows of a COM_STMT_BULK_EXECUTE.
fn decode_bulk(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let (command, null) = command_argument(args)?;
    if command.com != Com::STMT_BULK_EXECUTE {
        let name = command.com.name();
        return Err(args.error(format!("expected a COM_STMT_BULK_EXECUTE, got {name}")));
    }
    let statement = reading(&object.0, args)?.clone();
    let types: Vec<ParamType> = (statement.known.bound().iter())
        .map(|param| param.param_type)
        .collect();
    let (_, rows) = BulkExecute::decode(&command.argument, statement.ok.params, &types)
        .map_err(|error| args.error(error))?;
    let rows = RefCell::new(rows);
    let next = Raiser::of(lua)?.function(lua, "prepared:decode_bulk", move |lua, args| {
        let row = match rows.try_borrow_mut() {
            Ok(mut rows) => rows.next(),
            Err(_) => None,
        };
        let Some(row) = row else {
            return one(Value::Nil);
        };
        let row = row.map_err(|error| args.error(error))?;
        let table = lua.create_table_with_capacity(row.len(), 0)?;
        for (at, value) in row.iter().enumerate() {
            table.raw_set(at + 1, to_lua(lua, value, &null)?)?;
        }
        let count = Value::Number(row.len() as f64);
        Ok(MultiValue::from_vec(vec![Value::Table(table), count]))
    })?;
    one(Value::Function(next))
}

/// `encode(values [, options])`: a command that executes the statement.
fn encode(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let statement = reading(&object.0, args)?.clone();
    let params = statement.ok.params;
    let mut values = match args.get(0) {
        Value::Nil => vec![ParamValue::Null; params.into()],
        _ => values_from_lua(args.table(0, "values")?, params.into())
            .map_err(|problem| args.error(problem))?,
    };
    let known = ["types", "cursor", "attributes"];
    let options = EncodeOptions::read(args, params, &known)?;
    let bound = statement.known.bound();
    let mut params: Vec<Param> = (values.iter().enumerate())
        .map(|(at, value)| Param {
            param_type: options.param_type(at, value, &bound),
            name: Vec::new(),
        })
        .collect();
    drop(bound);
    for (name, value) in options.attributes {
        let param_type = type_for(&value, None);
        params.push(Param { param_type, name });
        values.push(value);
    }
    let execute = Execute {
        statement_id: statement.ok.statement_id,
        flags: options.cursor,
        iterations: 1,
        types_sent: true,
        params,
        values,
    };
    let mut argument = Vec::new();
    execute
        .encode(statement.capabilities(), &mut argument)
        .map_err(|error| args.error(error))?;
    command(lua, Com::STMT_EXECUTE, argument)
}

/// `encode_bulk(rows [, options])`: a command that executes it for each row.
fn encode_bulk(lua: &Lua, object: &Held<Prepared>, args: &Args) -> Answer {
    let statement = reading(&object.0, args)?.clone();
    let params = statement.ok.params;
    let options = EncodeOptions::read(args, params, &["types", "unit_results"])?;
    let table = args.table(0, "rows")?;
    let mut rows = Vec::new();
    for index in 1..=table.raw_len() {
        let Value::Table(row) = table.raw_get(index)? else {
            return Err(args.error(format!("row {index}: expected a table")));
        };
        let row = values_from_lua(&row, params.into())
            .map_err(|problem| args.error(format!("row {index}: {problem}")))?;
        rows.push(row);
    }
    let types = bulk_types(&options, &rows, params, &statement.known.bound());
    let mut flags = BulkExecute::SEND_TYPES;
    if options.unit_results {
        flags |= BulkExecute::SEND_UNIT_RESULTS;
    }
    let bulk = BulkExecute {
        statement_id: statement.ok.statement_id,
        flags,
        types,
    };
    let mut argument = Vec::new();
    bulk.encode(&rows, &mut argument)
        .map_err(|error| args.error(error))?;
    command(lua, Com::STMT_BULK_EXECUTE, argument)
}

/// For each column a type that holds all its values.
fn bulk_types(
    options: &EncodeOptions,
    rows: &[Vec<ParamValue>],
    params: u16,
    bound: &[Param],
) -> Vec<ParamType> {
    let text = ParamType::of(&ParamValue::Bytes(Vec::new()));
    (0..usize::from(params))
        .map(|at| {
            let mut there = rows.iter().filter_map(|row| row.get(at)).filter(|value| {
                !matches!(
                    value,
                    ParamValue::Null | ParamValue::Default | ParamValue::Ignore
                )
            });
            let Some(first) = there.next() else {
                return options.param_type(at, &ParamValue::Bytes(Vec::new()), bound);
            };
            let found = options.param_type(at, first, bound);
            match there.all(|value| type_for(value, Some(found)) == found) {
                true => found,
                false => text,
            }
        })
        .collect()
}

fn command(lua: &Lua, com: Com, argument: Vec<u8>) -> Answer {
    let argument = Bytes::from(argument);
    let command = Held::new(Command {
        com,
        argument,
        ..Command::default()
    });
    one(Value::UserData(lua.create_userdata(command)?))
}
