//! The hot path into Lua: rows and calls, on the raw C API.
//!
//! This module is allowed `unsafe`, because it is the one place where the safe binding costs more
//! than the whole rest of the proxy. For each row of a result with a row callback, mlua takes about
//! 0.45 µs to create an object with its finalizer and call a function with it, and 0.85 µs more to
//! parse three columns into a table. Here that is 0.13 µs and 0.17 µs, for three reasons:
//!
//! - a row's bytes lie inside its Lua object, so it needs no finalizer, which LuaJIT is slow at;
//! - one protected call a callback, with the message handler and the arguments pushed directly;
//! - `parse_row_array` builds its table without a Rust value per column.
//!
//! (The functions of the C API whose names end in `_` are the plain ones: mlua's namesakes add what
//! later Luas return, such as the type of the value, at the cost of another call.)
//!
//! What keeps it sound:
//!
//! - Every stack is left as it was found, and room on it is asked for before it is used.
//! - What may raise a Lua error runs in a protected call, or in a C function that Lua called; no
//!   value with a destructor is alive where that could happen. Outside protected calls only
//!   functions are used that raise for lack of memory alone, at which mlua's allocator aborts
//!   (finalizers' errors do not leave LuaJIT's collector).
//! - A pointer into a Lua object is only used while that object is on the stack, and no Rust
//!   reference into one is alive while Lua code could run, collector and finalizers included.
//! - A row is told from other userdata by its metatable, which scripts get at only through `debug`,
//!   which is as mighty as the native code they may load.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_int;
use std::slice;
use std::time::Duration;

use mlua::state::RawLua;
use mlua::{AnyUserData, Function, Lua, Table, Value, WeakLua, ffi, lua_State};

mod rows;

pub(super) use rows::RowKind;
use rows::{MAX_ROW, new_row};

/// The most that is pushed by anything here.
const STACK: c_int = 16;
/// The most arguments of a callback.
const MAX_ARGS: usize = 5;
/// The time since some time before, as exact as the system's ticks (some milliseconds). Every
/// callback reads the clock, and this costs a fifth of an exact reading.
#[cfg(target_os = "linux")]
pub(super) fn coarse_clock() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours; at an error it is left as it is.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now);
    }
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The time since some time before.
#[cfg(not(target_os = "linux"))]
pub(super) fn coarse_clock() -> Duration {
    Duration::from_secs_f64(super::clock::monotonic() / 1000.0)
}

/// An argument of a callback.
pub(super) enum Arg<'a> {
    /// A row that has just come in.
    Row {
        /// Its encoding.
        binary: bool,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// An object.
    Object(&'a AnyUserData),
    /// The object of the open connection in this place. If it is gone, nothing is called.
    Alive(i32),
    /// A number.
    Number(f64),
    /// Anything else.
    Value(&'a Value),
}

/// What is called.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// A function.
    Function(&'a Function),
    /// The element of a table, if there is one.
    Element(&'a Kept, i32),
}

/// What the hot path needs at hand.
#[derive(Debug, Clone)]
pub(super) struct Fast {
    /// The message handler's place in Lua's registry, where it stays for ever.
    handler: c_int,
    /// The place of the metatable of rows.
    row_metatable: c_int,
    /// The place of the table of open connections' objects.
    alive: c_int,
}

/// A table that is in Lua's registry as long as this lives: pushing it is one cheap call.
pub(super) struct Kept {
    place: c_int,
    lua: WeakLua,
}

impl Kept {
    /// Puts the table there.
    pub fn new(lua: &Lua, table: &Table) -> mlua::Result<Kept> {
        Ok(Kept {
            place: register(lua, table)?,
            lua: lua.weak(),
        })
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.place)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Without the state, its registry is gone too.
        let Some(lua) = self.lua.try_upgrade() else {
            return;
        };
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: the place is ours and is not used again. This writes to the registry, which
            // fails for lack of memory alone.
            unsafe {
                if ffi::lua_checkstack(state, STACK) != 0 {
                    ffi::luaL_unref(state, ffi::LUA_REGISTRYINDEX, self.place);
                }
            }
        });
    }
}

/// Turns an error into its message with a traceback. Errors of the binding bring theirs along.
const HANDLER: &str = "
local traceback, tostring, type, find = debug.traceback, tostring, type, string.find
return function(error)
    local text = tostring(error)
    if type(error) ~= 'string' and find(text, 'stack traceback:', 1, true) then
        return text
    end
    -- Not a tail call, which would take the place of level 1.
    local with_traceback = traceback(text, 2)
    return with_traceback
end";

impl Fast {
    /// The one of this state, made when it is first asked for.
    pub fn of(lua: &Lua) -> mlua::Result<Fast> {
        if let Some(fast) = lua.app_data_ref::<Fast>() {
            return Ok(fast.clone());
        }
        let fast = Fast::new(lua)?;
        lua.set_app_data(fast.clone());
        Ok(fast)
    }

    fn new(lua: &Lua) -> mlua::Result<Fast> {
        let handler: Function = lua.load(HANDLER).set_name("=dpm").call(())?;
        let row_metatable = lua.create_table()?;
        row_metatable.raw_set("__metatable", false)?;
        row_metatable.raw_set("__name", "row")?;
        let alive = lua.create_table()?;
        let weak = lua.create_table()?;
        weak.raw_set("__mode", "v")?;
        alive.set_metatable(Some(weak))?;
        Ok(Fast {
            handler: register(lua, &handler)?,
            row_metatable: register(lua, &row_metatable)?,
            alive: register(lua, &alive)?,
        })
    }

    /// The objects of open connections by their places, without keeping them.
    pub fn alive(&self, lua: &Lua) -> mlua::Result<Table> {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: as in `call`.
            unsafe {
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return Err(mlua::Error::StackError);
                }
                push_registered(state, self.alive);
                raw.pop()
            }
        })
    }

    /// Calls a function; the result is its first, if that is a number, or its error with a
    /// traceback. `Ok(None)` also if there is no such function or element.
    pub fn call(
        &self,
        lua: &Lua,
        target: Target<'_>,
        args: &[Arg<'_>],
    ) -> Result<Option<f64>, String> {
        if args.len() > MAX_ARGS {
            return Err("too many arguments for a callback".to_string());
        }
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: the state is the running one. Values belong to it (mlua checks that), the
            // stack has room, and only the protected call runs Lua code with errors.
            unsafe {
                let top = ffi::lua_gettop(state);
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return Err("the Lua stack is full: calls are nested too deep".to_string());
                }
                match self.push_call(raw, target, args) {
                    Ok(true) => {}
                    Ok(false) => {
                        ffi::lua_settop(state, top);
                        return Ok(None);
                    }
                    Err(error) => {
                        ffi::lua_settop(state, top);
                        return Err(error.to_string());
                    }
                }
                let status = ffi::lua_pcall(state, args.len() as c_int, 1, top + 1);
                let result = if status != ffi::LUA_OK {
                    Err(message(state))
                } else if ffi::lua_type(state, -1) == ffi::LUA_TNUMBER {
                    Ok(Some(ffi::lua_tonumber(state, -1)))
                } else {
                    Ok(None)
                };
                ffi::lua_settop(state, top);
                result
            }
        })
    }

    /// Pushes the message handler, the tables that are needed, the function and its arguments;
    /// false if one of these is not there.
    ///
    /// # Safety
    /// The stack must have room for `STACK` values.
    unsafe fn push_call(
        &self,
        raw: &RawLua,
        target: Target<'_>,
        args: &[Arg<'_>],
    ) -> mlua::Result<bool> {
        let state = raw.state();
        // SAFETY: four values, and one and a passing one for each argument.
        unsafe {
            push_registered(state, self.handler);
            push_registered(state, self.alive);
            let alive = ffi::lua_gettop(state);
            match target {
                Target::Function(function) => raw.push(function)?,
                Target::Element(table, index) => {
                    push_registered(state, table.place);
                    ffi::lua_rawgeti_(state, -1, index);
                    if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                        return Ok(false);
                    }
                }
            }
            for arg in args {
                match arg {
                    Arg::Row { payload, .. } if payload.len() > MAX_ROW => {
                        return Err(mlua::Error::runtime("the row is too long"));
                    }
                    Arg::Row { binary, payload } => {
                        let kind = RowKind {
                            binary: *binary,
                            packed: false,
                        };
                        new_row(state, kind, payload);
                        push_registered(state, self.row_metatable);
                        ffi::lua_setmetatable(state, -2);
                    }
                    Arg::Object(object) => raw.push(*object)?,
                    Arg::Alive(index) => {
                        ffi::lua_rawgeti_(state, alive, *index);
                        if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                            return Ok(false);
                        }
                    }
                    Arg::Number(number) => ffi::lua_pushnumber(state, *number),
                    Arg::Value(value) => raw.push_value(value)?,
                }
            }
        }
        Ok(true)
    }
}

/// Puts a value into Lua's registry, where it stays.
fn register(lua: &Lua, value: impl mlua::IntoLua) -> mlua::Result<c_int> {
    let place = Cell::new(0);
    // SAFETY: the value is on top of the stack, and is popped; the call is protected.
    unsafe {
        lua.exec_raw::<()>(value, |state| {
            place.set(ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX));
        })?;
    }
    Ok(place.get())
}

/// Pushes what [`register`] put into the registry.
///
/// # Safety
/// The stack must have room for a value.
unsafe fn push_registered(state: *mut lua_State, place: c_int) {
    // SAFETY: raw access neither runs code nor fails.
    unsafe {
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, place);
    }
}

/// The error message on top of the stack.
///
/// # Safety
/// There must be a value on top of the stack.
unsafe fn message(state: *mut lua_State) -> String {
    // SAFETY: the slice is copied while the string is on the stack.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TSTRING {
            return "an error that is no string".to_string();
        }
        let mut len = 0;
        let start = ffi::lua_tolstring(state, -1, &mut len);
        String::from_utf8_lossy(slice::from_raw_parts(start.cast(), len)).into_owned()
    }
}
