//! Functions and methods for scripts: their arguments, and errors that are Lua strings.
//!
//! mlua raises a Rust error as a userdata. Scripts expect a string that begins with file and line,
//! as from any other function. So our functions return a mark and the message, and a few lines of
//! Lua around each of them raise it.

use std::ffi::c_void;
use std::rc::Rc;
use std::time::Duration;

use mlua::{AnyUserData, Function, LightUserData, Lua, MultiValue, Table, Value};

use super::convert::{
    describe, describe_word, integer_wanted, seconds_wanted, to_integer, to_seconds,
};
use super::error::{Answer, ScriptError};
use super::memory;

/// Its address is the mark that distinguishes an error from a result.
static FAILED: u8 = 0;

const RAISE: &str = "
local failed, error = ...
-- Both are tail calls, so that level 2 is the function's caller.
local function check(first, ...)
    if first == failed then
        error((...), 2)
    end
    return first, ...
end
return function(f)
    return function(...)
        return check(f(...))
    end
end";

/// Wraps functions so that their errors are raised.
#[derive(Debug, Clone)]
pub struct Raiser(Function);

impl Raiser {
    /// For this state.
    pub fn new(lua: &Lua) -> mlua::Result<Raiser> {
        let error: Function = lua.globals().get("error")?;
        let chunk = lua.load(RAISE).set_name("=dpm");
        Ok(Raiser(chunk.call((failed(), error))?))
    }

    /// The one of this state, made on the first call.
    pub fn of(lua: &Lua) -> mlua::Result<Raiser> {
        if let Some(raiser) = lua.app_data_ref::<Raiser>() {
            return Ok(raiser.clone());
        }
        let raiser = Raiser::new(lua)?;
        lua.set_app_data(raiser.clone());
        Ok(raiser)
    }

    /// A function for scripts; `path` is how messages name it.
    pub fn function(
        &self,
        lua: &Lua,
        path: &'static str,
        f: impl Fn(&Lua, &Args) -> Answer + 'static,
    ) -> mlua::Result<Function> {
        let inner = lua.create_function(move |lua, values: MultiValue| {
            let args = Args {
                path: path.into(),
                values: values.into_vec(),
                first: 0,
            };
            memory::limited(lua, 0, || {
                f(lua, &args).or_else(|error| failure(lua, &error))
            })
        })?;
        self.0.call(inner)
    }
}

fn failed() -> Value {
    let mark: *const u8 = &raw const FAILED;
    Value::LightUserData(LightUserData(mark.cast_mut().cast::<c_void>()))
}

fn failure(lua: &Lua, error: &ScriptError) -> mlua::Result<MultiValue> {
    let message = Value::String(lua.create_string(&error.0)?);
    Ok(MultiValue::from_vec(vec![failed(), message]))
}

/// The methods of a kind of object, while they are created.
#[derive(Debug)]
pub struct Methods<'a> {
    /// The state they are for.
    pub lua: &'a Lua,
    /// What makes errors out of them.
    pub raiser: &'a Raiser,
    /// The object's name in messages.
    pub object: &'static str,
    /// Where they go.
    pub table: Table,
}

impl<'a> Methods<'a> {
    /// None yet.
    pub fn new(
        lua: &'a Lua,
        raiser: &'a Raiser,
        object: &'static str,
    ) -> mlua::Result<Methods<'a>> {
        Ok(Methods {
            lua,
            raiser,
            object,
            table: lua.create_table()?,
        })
    }

    /// Adds a method of objects that are a `T`.
    pub fn add<T: 'static>(
        &self,
        name: &'static str,
        f: impl Fn(&Lua, &T, &Args) -> Answer + 'static,
    ) -> mlua::Result<()> {
        self.add_raw(name, move |lua, this, args| {
            let this = this.borrow::<T>().map_err(|_| args.not_self())?;
            f(lua, &this, args)
        })
    }

    /// Adds a method that is given its object as Lua's value.
    pub fn add_raw(
        &self,
        name: &'static str,
        f: impl Fn(&Lua, &AnyUserData, &Args) -> Answer + 'static,
    ) -> mlua::Result<()> {
        let path: Rc<str> = format!("{}:{name}", self.object).into();
        let inner = self.lua.create_function(move |lua, values: MultiValue| {
            let args = Args {
                path: path.clone(),
                values: values.into_vec(),
                first: 1,
            };
            memory::limited(lua, 0, || {
                let answer = match args.values.first() {
                    Some(Value::UserData(this)) => f(lua, this, &args),
                    _ => Err(args.not_self()),
                };
                answer.or_else(|error| failure(lua, &error))
            })
        })?;
        let method: Function = self.raiser.0.call(inner)?;
        self.table.raw_set(name, method)
    }
}

/// The arguments of a call by a script.
#[derive(Debug)]
pub struct Args {
    path: Rc<str>,
    values: Vec<Value>,
    /// Where the arguments begin: a method's first value is its object.
    first: usize,
}

impl Args {
    /// How many there are, nils included.
    pub fn len(&self) -> usize {
        self.values.len().saturating_sub(self.first)
    }

    /// Whether there is none at all: an accessor is to be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The argument at this place, from 0 on; nil if it is missing.
    pub fn get(&self, index: usize) -> &Value {
        const NIL: &Value = &Value::Nil;
        self.values.get(self.first + index).unwrap_or(NIL)
    }

    /// An error that names the function.
    pub fn error(&self, problem: impl std::fmt::Display) -> ScriptError {
        ScriptError(format!("{}: {problem}", self.path))
    }

    /// An error about an argument of the wrong kind. `what` names the argument, if there are
    /// several.
    pub fn expected(
        &self,
        index: usize,
        what: &str,
        wanted: impl std::fmt::Display,
    ) -> ScriptError {
        let got = describe(self.get(index));
        let colon = if what.is_empty() { "" } else { ": " };
        self.error(format!("{what}{colon}expected {wanted}, got {got}"))
    }

    /// An error about an argument that is not one of certain words.
    pub fn no_such_word(&self, index: usize, what: &str, wanted: &str) -> ScriptError {
        let got = describe_word(self.get(index));
        self.error(format!("{what}: expected {wanted}, got {got}"))
    }

    fn not_self(&self) -> ScriptError {
        let (object, name) = self.path.split_once(':').unwrap_or(("", &self.path));
        let got = self.values.first().map_or("nothing".to_string(), describe);
        self.error(format!(
            "must be called on {object} as {object}:{name}(), not on {got}"
        ))
    }

    /// An integer from 0 to `max`.
    pub fn integer(&self, index: usize, what: &str, max: u64) -> Result<u64, ScriptError> {
        to_integer(self.get(index), max)
            .ok_or_else(|| self.expected(index, what, integer_wanted(max)))
    }

    /// A string of at most `max` bytes.
    pub fn bytes(&self, index: usize, what: &str, max: usize) -> Result<Vec<u8>, ScriptError> {
        let wanted = || format!("a string of at most {max} bytes");
        let Value::String(string) = self.get(index) else {
            return Err(self.expected(index, what, wanted()));
        };
        let bytes = string.as_bytes();
        if bytes.len() > max {
            let colon = if what.is_empty() { "" } else { ": " };
            let len = bytes.len();
            return Err(self.error(format!(
                "{what}{colon}expected {}, got {len} bytes",
                wanted()
            )));
        }
        Ok(bytes.to_vec())
    }

    /// A string of any length, without a copy.
    pub fn string(&self, index: usize, what: &str) -> Result<&mlua::LuaString, ScriptError> {
        match self.get(index) {
            Value::String(string) => Ok(string),
            _ => Err(self.expected(index, what, "a string")),
        }
    }

    /// A string that is text.
    pub fn text(&self, index: usize, what: &str) -> Result<String, ScriptError> {
        let bytes = self.bytes(index, what, 4096)?;
        String::from_utf8(bytes).map_err(|_| self.expected(index, what, "text in UTF-8"))
    }

    /// Seconds, with fractions.
    pub fn seconds(&self, index: usize, what: &str) -> Result<Duration, ScriptError> {
        to_seconds(self.get(index)).ok_or_else(|| self.expected(index, what, seconds_wanted()))
    }

    /// True or false.
    pub fn boolean(&self, index: usize, what: &str) -> Result<bool, ScriptError> {
        match self.get(index) {
            Value::Boolean(boolean) => Ok(*boolean),
            _ => Err(self.expected(index, what, "true or false")),
        }
    }

    /// A table.
    pub fn table(&self, index: usize, what: &str) -> Result<&Table, ScriptError> {
        match self.get(index) {
            Value::Table(table) => Ok(table),
            _ => Err(self.expected(index, what, "a table")),
        }
    }

    /// A function.
    pub fn function(&self, index: usize, what: &str) -> Result<&Function, ScriptError> {
        match self.get(index) {
            Value::Function(function) => Ok(function),
            _ => Err(self.expected(index, what, "a function")),
        }
    }

    /// A function, or nil.
    pub fn function_or_nil(
        &self,
        index: usize,
        what: &str,
    ) -> Result<Option<&Function>, ScriptError> {
        match self.get(index) {
            Value::Nil => Ok(None),
            Value::Function(function) => Ok(Some(function)),
            _ => Err(self.expected(index, what, "a function or nil")),
        }
    }

    /// Runs `f` on an object that is a `T`.
    pub fn object<T: 'static, R>(
        &self,
        index: usize,
        what: &str,
        wanted: &str,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, ScriptError> {
        let Value::UserData(object) = self.get(index) else {
            return Err(self.expected(index, what, wanted));
        };
        let object = object
            .borrow::<T>()
            .map_err(|_| self.expected(index, what, wanted))?;
        Ok(f(&object))
    }

    /// The userdata at this place.
    pub fn userdata(
        &self,
        index: usize,
        what: &str,
        wanted: &str,
    ) -> Result<&AnyUserData, ScriptError> {
        match self.get(index) {
            Value::UserData(object) => Ok(object),
            _ => Err(self.expected(index, what, wanted)),
        }
    }
}

/// No result.
pub fn nothing() -> Answer {
    Ok(MultiValue::new())
}

/// One result.
pub fn one(value: Value) -> Answer {
    Ok(MultiValue::from_vec(vec![value]))
}

/// A number as the result.
pub fn number(number: f64) -> Answer {
    one(Value::Number(number))
}

/// A string as the result.
pub fn string(lua: &Lua, bytes: impl AsRef<[u8]>) -> Answer {
    one(Value::String(lua.create_string(bytes)?))
}
