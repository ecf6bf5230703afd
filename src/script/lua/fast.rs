//! The hot path into Lua: rows and calls, on the raw C API.
//!
//! This module is allowed `unsafe`, because here the safe binding would cost more than the whole
//! rest of the proxy. For each row of a result with a row callback, mlua takes about 0.45 µs to
//! create an object with its finalizer and call a function with it, and 0.85 µs more to parse three
//! columns into a table. Here that is 0.13 µs and 0.17 µs, for three reasons:
//!
//! - a row's bytes lie inside its Lua object, so it needs no finalizer, which LuaJIT is slow at;
//! - one protected call a callback, with the message handler and the arguments pushed directly;
//! - `parse_row_array` builds its table without a Rust value per column.
//!
//! (The functions whose names end in `_` are those of the C API itself: mlua's functions of the
//! same name also return what later versions of Lua do, such as the value's type, at the cost of
//! another call.)
//!
//! What keeps it sound:
//!
//! - Every stack is restored, and room on it is requested before it is used.
//! - What may raise a Lua error runs in a protected call, or in a C function that Lua called; no
//!   value with a destructor is alive where that could happen. Outside protected calls only
//!   functions are used that raise for lack of memory alone. Lua's memory is only [limited](memory) inside
//!   them, and otherwise mlua's allocator aborts (finalizers' errors do not leave LuaJIT's collector).
//! - A pointer into a Lua object is only used while that object is on the stack, and no Rust
//!   reference into one is alive while Lua code could run, collector and finalizers included.
//! - A row is recognised by its metatable, which scripts can reach only through `debug`, and with
//!   that they can do as much as with native code, which they may load, too.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_int;
use std::rc::Rc;
use std::slice;
use std::time::Duration;

use mlua::state::RawLua;
use mlua::{AnyUserData, Function, Lua, Table, UserData, Value, ffi, lua_State};

use super::memory;

mod rows;

pub(crate) use rows::RowKind;
use rows::{MAX_ROW, new_row};

/// The most values that any function here pushes.
const STACK: c_int = 16;
/// The most arguments of a callback.
const MAX_ARGS: usize = 5;
/// A coarse monotonic clock (some milliseconds). It is read for every callback, and costs a fifth
/// of the exact one.
#[cfg(target_os = "linux")]
pub(crate) fn coarse_clock() -> Duration {
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

/// A monotonic clock.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse_clock() -> Duration {
    Duration::from_secs_f64(crate::script::functions::clock::monotonic() / 1000.0)
}

/// The number of an element of the table of [what Rust holds](super::refs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub i32);

/// An argument of a callback.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    /// A row that has just come in.
    Row {
        /// Its encoding.
        binary: bool,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// An object.
    Object(&'a AnyUserData),
    /// The object of the open connection in this place. If it has been collected, nothing is
    /// called.
    Alive(i32),
    /// A value that Rust holds on to.
    Kept(Place),
    /// A number.
    Number(f64),
    /// Anything else.
    Value(&'a Value),
}

/// The function to call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target<'a> {
    /// A function.
    Function(&'a Function),
    /// A function that Rust holds on to.
    Kept(Place),
    /// The function in this place of a package that Rust holds on to.
    InPackage(Place, i32),
}

/// References that the hot path uses.
#[derive(Debug, Clone)]
pub(crate) struct Fast {
    /// The message handler's place in Lua's registry.
    handler: c_int,
    /// The place of the metatable of rows.
    row_metatable: c_int,
    /// The place of the table of open connections' objects.
    alive: c_int,
    /// The place of the table of values that Rust holds on to.
    refs: c_int,
    /// The place of the environment of objects that need none: of connections without a link, of handles.
    unlinked: c_int,
    /// Where mlua keeps the values of its handles.
    handles: *mut lua_State,
    /// How much memory Lua may take.
    memory_limit: Rc<Cell<usize>>,
}

/// Turns an error into its message with a traceback. Errors of the binding have one already.
const HANDLER: &str = "
local traceback, tostring, type, find, pcall = debug.traceback, tostring, type, string.find, pcall
local gethook, sethook, error, jit = debug.gethook, debug.sethook, error, jit
local MOST_INSTRUCTIONS = 1000000

-- An object shows itself (__tostring), which may fail, or never end.
local function shown(object)
    local hook, mask, count = gethook()
    local compiles = jit.status()
    -- Compiled code calls no hooks.
    jit.off()
    sethook(function() error('it takes too long', 0) end, '', MOST_INSTRUCTIONS)
    local well, text = pcall(tostring, object)
    sethook(hook, mask, count)
    if compiles then jit.on() end
    if well and type(text) == 'string' then
        return text
    end
    return 'an error that cannot be shown, a ' .. type(object)
end

return function(error)
    local text = error
    if type(error) ~= 'string' then
        text = shown(error)
        if find(text, 'stack traceback:', 1, true) then
            return text
        end
    end
    -- Not a tail call, which would take the place of level 1.
    local with_traceback = traceback(text, 2)
    return with_traceback
end";

impl Fast {
    /// The one of this state, made on the first call.
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
        let refs = lua.create_table()?;
        let unlinked = lua.create_table()?;
        Ok(Fast {
            handler: register(lua, &handler)?,
            row_metatable: register(lua, &row_metatable)?,
            alive: register(lua, &alive)?,
            refs: register(lua, &refs)?,
            unlinked: register(lua, &unlinked)?,
            handles: handles_thread(lua)?,
            memory_limit: Rc::new(Cell::new(memory::default_limit())),
        })
    }

    /// How much memory Lua may take from now on.
    pub fn limit_memory(&self, bytes: usize) {
        self.memory_limit.set(bytes);
    }

    /// The objects of open connections by their places, without keeping them.
    pub fn alive(&self, lua: &Lua) -> mlua::Result<Table> {
        table(lua, self.alive)
    }

    /// The values that Rust holds on to, by their places.
    pub fn refs(&self, lua: &Lua) -> mlua::Result<Table> {
        table(lua, self.refs)
    }

    /// How many handles mlua holds for Rust.
    pub fn handles(&self, lua: &Lua) -> usize {
        lua.exec_raw_lua(|_| {
            // SAFETY: the thread lives as long as the state, which is locked. Reading its stack changes
            // nothing.
            unsafe {
                let used = |index| ffi::lua_type(self.handles, index) != ffi::LUA_TNIL;
                (1..=ffi::lua_gettop(self.handles))
                    .filter(|index| used(*index))
                    .count()
            }
        })
    }

    /// Makes the objects of two open connections keep each other alive, in a way that Lua's
    /// collector understands: both have the same environment table, which contains both.
    pub fn link(&self, lua: &Lua, client: i32, server: i32) -> bool {
        self.with_alive(lua, &[client, server], |state| {
            // SAFETY: the two objects are on top of a stack that has room, and are userdata, which have
            // an environment. Nothing here runs Lua code that can fail.
            unsafe {
                let server = ffi::lua_gettop(state);
                ffi::lua_createtable(state, 2, 0);
                for (index, object) in [(1, server - 1), (2, server)] {
                    ffi::lua_pushvalue(state, object);
                    ffi::lua_rawseti_(state, -2, index);
                    ffi::lua_pushvalue(state, -1);
                    ffi::lua_setfenv(state, object);
                }
            }
        })
    }

    /// Makes an object that shares its environment with all others made here. mlua would give each
    /// object an empty table of its own.
    pub fn create_lean<T: UserData + 'static>(
        &self,
        lua: &Lua,
        data: T,
    ) -> mlua::Result<AnyUserData> {
        let object = lua.create_userdata(data)?;
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: as in `call`. The value pushed first is a userdata, which has an environment.
            unsafe {
                let top = ffi::lua_gettop(state);
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return Err(mlua::Error::StackError);
                }
                raw.push(&object)?;
                push_registered(state, self.unlinked);
                ffi::lua_setfenv(state, -2);
                ffi::lua_settop(state, top);
            }
            Ok(())
        })?;
        Ok(object)
    }

    /// Undoes `link` for one of them.
    pub fn unlink(&self, lua: &Lua, index: i32) -> bool {
        self.with_alive(lua, &[index], |state| {
            // SAFETY: as in `link`.
            unsafe {
                push_registered(state, self.unlinked);
                ffi::lua_setfenv(state, -2);
            }
        })
    }

    /// Runs `f` with the objects of open connections on top of the stack; false if one is gone.
    fn with_alive(&self, lua: &Lua, places: &[i32], f: impl FnOnce(*mut lua_State)) -> bool {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: the stack has room for the few objects and is restored.
            unsafe {
                let top = ffi::lua_gettop(state);
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return false;
                }
                push_registered(state, self.alive);
                let alive = ffi::lua_gettop(state);
                for index in places {
                    ffi::lua_rawgeti_(state, alive, *index);
                }
                let found = (1..=places.len() as c_int)
                    .all(|depth| ffi::lua_type(state, -depth) == ffi::LUA_TUSERDATA);
                if found {
                    f(state);
                }
                ffi::lua_settop(state, top);
                found
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
                let call = || ffi::lua_pcall(state, args.len() as c_int, 1, top + 1);
                let status = memory::limited(lua, self.memory_limit.get(), call);
                if status == ffi::LUA_ERRMEM {
                    // What filled the memory is probably garbage now, and the next callback needs the memory.
                    // (Objects with finalizers are only freed in the cycle after the one that finds them.)
                    ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
                    ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
                }
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
        // SAFETY: six values, and one and a passing one for each argument.
        unsafe {
            push_registered(state, self.handler);
            push_registered(state, self.alive);
            push_registered(state, self.refs);
            let refs = ffi::lua_gettop(state);
            let alive = refs - 1;
            match target {
                Target::Function(function) => raw.push(function)?,
                Target::Kept(place) => {
                    ffi::lua_rawgeti_(state, refs, place.0);
                    if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                        return Ok(false);
                    }
                }
                Target::InPackage(place, index) => {
                    ffi::lua_rawgeti_(state, refs, place.0);
                    if ffi::lua_type(state, -1) != ffi::LUA_TUSERDATA {
                        return Ok(false);
                    }
                    ffi::lua_getfenv(state, -1);
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
                            packed: None,
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
                    Arg::Kept(place) => ffi::lua_rawgeti_(state, refs, place.0),
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

/// A table that [`register`] put into the registry.
fn table(lua: &Lua, place: c_int) -> mlua::Result<Table> {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: as in `call`. `pop` takes what was just pushed.
        unsafe {
            if ffi::lua_checkstack(state, STACK) == 0 {
                return Err(mlua::Error::StackError);
            }
            push_registered(state, place);
            raw.pop()
        }
    })
}

/// The thread on whose stack mlua keeps the values of its handles: it puts the thread into the registry
/// as it sets up the state, before anybody else can.
fn handles_thread(lua: &Lua) -> mlua::Result<*mut lua_State> {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: the stack has room and is restored; raw access neither runs code nor fails.
        unsafe {
            let top = ffi::lua_gettop(state);
            if ffi::lua_checkstack(state, STACK) == 0 {
                return Err(mlua::Error::StackError);
            }
            let len = ffi::lua_objlen(state, ffi::LUA_REGISTRYINDEX) as c_int;
            let thread = (1..=len).find_map(|place| {
                push_registered(state, place);
                let thread = ffi::lua_tothread(state, -1);
                ffi::lua_settop(state, top);
                (!thread.is_null()).then_some(thread)
            });
            thread.ok_or_else(|| mlua::Error::runtime("mlua keeps its handles elsewhere"))
        }
    })
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
