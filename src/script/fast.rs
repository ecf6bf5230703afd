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
//! - A row is told from other userdata by its metatable, which scripts cannot get at or set.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

use mlua::state::RawLua;
use mlua::{AnyUserData, Function, Lua, Table, Value, WeakLua, ffi, lua_State};

use crate::wire::lenenc;

/// The most that is pushed by anything here.
const STACK: c_int = 16;
/// The most arguments of a callback.
const MAX_ARGS: usize = 4;
/// Values of a row that are found at once, before the first becomes a Lua value.
const BATCH: usize = 32;
/// The longest row that fits into a Lua object.
const MAX_ROW: usize = 1 << 30;

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

/// Where a row comes from, which decides how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowKind {
    /// In the binary protocol's encoding.
    pub binary: bool,
    /// A script packed it: its columns are those that the script gave the resultset.
    pub packed: bool,
}

/// The start of a row's Lua object; `capacity` bytes follow.
#[repr(C)]
struct RowHeader {
    capacity: usize,
    len: usize,
    binary: bool,
    packed: bool,
    /// The bytes outgrew the object, and are a Lua string in its environment.
    moved: bool,
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
            // SAFETY: the place is ours and is not used again. The keys that this writes are in
            // the registry already, so it allocates nothing and cannot fail.
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

    /// A new row object.
    pub fn row(&self, lua: &Lua, kind: RowKind, payload: &[u8]) -> mlua::Result<AnyUserData> {
        if payload.len() > MAX_ROW {
            return Err(mlua::Error::runtime("the row is too long"));
        }
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: as in `call`. `pop` takes what was just pushed.
            unsafe {
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return Err(mlua::Error::StackError);
                }
                new_row(state, kind, payload);
                push_registered(state, self.row_metatable);
                ffi::lua_setmetatable(state, -2);
                raw.pop()
            }
        })
    }

    /// A copy of a row's bytes; `None` if the object is no row.
    pub fn read_row(&self, lua: &Lua, object: &AnyUserData) -> Option<(RowKind, Vec<u8>)> {
        self.with_row(lua, object, |state, header| {
            // SAFETY: the object is on top of the stack, `header` is its start, and nothing but
            // the copying happens while the slice is alive.
            unsafe {
                let kind = RowKind {
                    binary: (*header).binary,
                    packed: (*header).packed,
                };
                let (start, len) = push_bytes(state, -1, header);
                let payload = slice::from_raw_parts(start, len).to_vec();
                (kind, payload)
            }
        })
    }

    /// How a row is encoded; `None` if the object is no row.
    pub fn read_row_kind(&self, lua: &Lua, object: &AnyUserData) -> Option<RowKind> {
        self.with_row(lua, object, |_, header| {
            // SAFETY: `header` is the start of a row object.
            unsafe {
                RowKind {
                    binary: (*header).binary,
                    packed: (*header).packed,
                }
            }
        })
    }

    /// Gives a row other bytes; `false` if the object is no row.
    pub fn write_row(
        &self,
        lua: &Lua,
        object: &AnyUserData,
        kind: RowKind,
        payload: &[u8],
    ) -> bool {
        if payload.len() > MAX_ROW {
            return false;
        }
        self.with_row(lua, object, |state, header| {
            // SAFETY: the object is on top of the stack and `header` is its start. The copy stays
            // inside the object, whose size was noted when it was made; or the bytes become a
            // string that the object's environment keeps. Creating that may run finalizers, which
            // may write to this same row: so the header is written last, and not referenced before.
            unsafe {
                if payload.len() <= (*header).capacity {
                    ptr::copy_nonoverlapping(payload.as_ptr(), inline_bytes(header), payload.len());
                    (*header).moved = false;
                } else {
                    ffi::lua_createtable(state, 1, 0);
                    ffi::lua_pushlstring_(state, payload.as_ptr().cast(), payload.len());
                    ffi::lua_rawseti_(state, -2, 1);
                    ffi::lua_setfenv(state, -2);
                    (*header).moved = true;
                }
                (*header).len = payload.len();
                (*header).binary = kind.binary;
                (*header).packed = kind.packed;
            }
        })
        .is_some()
    }

    /// Whether the object is a row.
    pub fn is_row(&self, lua: &Lua, object: &AnyUserData) -> bool {
        self.with_row(lua, object, |_, _| ()).is_some()
    }

    /// Runs `f` with the object on top of the stack and the pointer to its start. `f` may push a
    /// few values, and must not run Lua code that can fail.
    fn with_row<R>(
        &self,
        lua: &Lua,
        object: &AnyUserData,
        f: impl FnOnce(*mut lua_State, *mut RowHeader) -> R,
    ) -> Option<R> {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: the stack has room and is restored; only a userdata with the metatable of
            // rows was made by `new_row` and begins with a `RowHeader`.
            unsafe {
                let top = ffi::lua_gettop(state);
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return None;
                }
                push_registered(state, self.row_metatable);
                let same = raw.push(object).is_ok()
                    && ffi::lua_getmetatable(state, -1) != 0
                    && ffi::lua_rawequal(state, -1, -3) != 0;
                let result = same.then(|| {
                    ffi::lua_pop(state, 1);
                    f(state, ffi::lua_touserdata(state, -1).cast())
                });
                ffi::lua_settop(state, top);
                result
            }
        })
    }

    /// `rset:parse_row_array(row[, dpm.NULL])` for text rows, and `otherwise` for all else.
    /// `rset` is any resultset: its metatable is what the first argument is recognised by.
    pub fn parse_row_array(
        &self,
        lua: &Lua,
        rset: &AnyUserData,
        otherwise: &Function,
    ) -> mlua::Result<Function> {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: as in `call`. A C function is made of exactly the three values pushed.
            unsafe {
                let top = ffi::lua_gettop(state);
                if ffi::lua_checkstack(state, STACK) == 0 {
                    return Err(mlua::Error::StackError);
                }
                let pushed = (|| {
                    push_registered(state, self.row_metatable);
                    raw.push(rset)?;
                    ffi::lua_getmetatable(state, -1);
                    ffi::lua_remove(state, -2);
                    raw.push(otherwise)
                })();
                if let Err(error) = pushed {
                    ffi::lua_settop(state, top);
                    return Err(error);
                }
                ffi::lua_pushcclosure(state, parse_row_array, 3);
                raw.pop()
            }
        })
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

/// The bytes behind the header.
///
/// # Safety
/// `header` must be the start of a row object.
unsafe fn inline_bytes(header: *mut RowHeader) -> *mut u8 {
    // SAFETY: the object is at least as large as its header.
    unsafe { header.add(1).cast() }
}

/// Pushes a row object without a metatable.
///
/// # Safety
/// The stack must have room for a value, and the payload be no longer than `MAX_ROW`.
unsafe fn new_row(state: *mut lua_State, kind: RowKind, payload: &[u8]) {
    // SAFETY: the object has room for header and payload, and Lua aligns objects to at least 8.
    unsafe {
        let size = size_of::<RowHeader>() + payload.len();
        let header: *mut RowHeader = ffi::lua_newuserdata(state, size).cast();
        header.write(RowHeader {
            capacity: payload.len(),
            len: payload.len(),
            binary: kind.binary,
            packed: kind.packed,
            moved: false,
        });
        ptr::copy_nonoverlapping(payload.as_ptr(), inline_bytes(header), payload.len());
    }
}

/// Where a row's bytes are now. If they are a string of their own, pushes that, which keeps it.
///
/// # Safety
/// The row is at `index`, begins at `header`, and the stack must have room for two values.
unsafe fn push_bytes(
    state: *mut lua_State,
    index: c_int,
    header: *mut RowHeader,
) -> (*const u8, usize) {
    // SAFETY: `moved` is only set along with an environment that has the string.
    unsafe {
        if !(*header).moved {
            return (inline_bytes(header), (*header).len);
        }
        ffi::lua_getfenv(state, index);
        ffi::lua_rawgeti_(state, -1, 1);
        ffi::lua_remove(state, -2);
        let mut len = 0;
        let start = ffi::lua_tolstring(state, -1, &mut len);
        (start.cast(), len)
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

/// One value of a row: where it starts and how long it is.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
    null: bool,
}

/// Finds up to [`BATCH`] values from `at` on; returns how many, and where the next would start.
/// `None` if the row is malformed.
fn scan(bytes: &[u8], mut at: usize, spans: &mut [Span; BATCH]) -> Option<(usize, usize)> {
    let mut found = 0;
    while found < BATCH {
        let rest = bytes.get(at..)?;
        let Some(&first) = rest.first() else { break };
        let (head, len, null) = match first {
            0..=250 => (1, usize::from(first), false),
            lenenc::NULL => (1, 0, true),
            _ => {
                let (len, head) = lenenc::decode(rest)?;
                (head, usize::try_from(len).ok()?, false)
            }
        };
        let start = at + head;
        let end = start.checked_add(len).filter(|&end| end <= bytes.len())?;
        spans[found] = Span { start, len, null };
        found += 1;
        at = end;
    }
    Some((found, at))
}

/// See [`Fast::parse_row_array`]. The upvalues: the metatable of rows, that of resultsets, and the
/// function for what is not done here.
unsafe extern "C-unwind" fn parse_row_array(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments and room for 20 values. No value here has a
    // destructor, so an error may pass through. The row stays on the stack, or the string that
    // holds its bytes; slices of it live only while `scan` runs, which does not know Lua.
    unsafe {
        let args = ffi::lua_gettop(state);
        let null = args == 3 && ffi::lua_type(state, 3) == ffi::LUA_TLIGHTUSERDATA;
        let header = match args == 2 || null {
            true => row_argument(state, args),
            false => ptr::null_mut(),
        };
        if header.is_null() || (*header).binary {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3));
            ffi::lua_insert(state, 1);
            ffi::lua_call(state, args, ffi::LUA_MULTRET);
            return ffi::lua_gettop(state);
        }

        let null: *mut c_void = match null {
            true => ffi::lua_touserdata(state, 3),
            false => ptr::null_mut(),
        };
        let fill = args == 3;
        let (start, len) = push_bytes(state, 2, header);
        let mut spans = [Span {
            start: 0,
            len: 0,
            null: false,
        }; BATCH];
        let mut at = 0;
        let mut count: c_int = 0;
        loop {
            let Some((found, next)) = scan(slice::from_raw_parts(start, len), at, &mut spans)
            else {
                return ffi::luaL_error(
                    state,
                    c"rset:parse_row_array: the row is malformed".as_ptr(),
                );
            };
            if at == 0 {
                ffi::lua_createtable(state, found as c_int, 0);
            }
            for span in &spans[..found] {
                count += 1;
                if !span.null {
                    ffi::lua_pushlstring_(state, start.add(span.start).cast(), span.len);
                } else if fill {
                    ffi::lua_pushlightuserdata(state, null);
                } else {
                    continue;
                }
                ffi::lua_rawseti_(state, -2, count);
            }
            at = next;
            if found < BATCH {
                break;
            }
        }
        ffi::lua_pushinteger(state, count as _);
        2
    }
}

/// The row that is the second of the arguments, if the first is a resultset; null if not.
///
/// # Safety
/// Only for [`parse_row_array`], with two arguments or more.
unsafe fn row_argument(state: *mut lua_State, args: c_int) -> *mut RowHeader {
    // SAFETY: a userdata with the metatable of rows begins with a header. Only userdata can have
    // that metatable.
    unsafe {
        let is_row = ffi::lua_getmetatable(state, 1) != 0
            && ffi::lua_rawequal(state, -1, ffi::lua_upvalueindex(2)) != 0
            && ffi::lua_getmetatable(state, 2) != 0
            && ffi::lua_rawequal(state, -1, ffi::lua_upvalueindex(1)) != 0;
        ffi::lua_settop(state, args);
        match is_row {
            true => ffi::lua_touserdata(state, 2).cast(),
            false => ptr::null_mut(),
        }
    }
}
