//! Rows as Lua objects.
//!
//! A part of [`fast`](super), and `unsafe` for the same reasons: a row's bytes are in its Lua
//! object, to which only the C API gives a pointer.

use std::ffi::{c_int, c_void};
use std::{ptr, slice};

use mlua::{AnyUserData, Function, Lua, ffi, lua_State};

use super::{Fast, STACK, push_registered};
use crate::wire::lenenc;

/// How many values of a row are located at a time, before they become Lua values.
const BATCH: usize = 32;
/// The longest row that fits into a Lua object.
pub(super) const MAX_ROW: usize = 1 << 30;

/// A row's origin, which decides how it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKind {
    /// In the binary protocol's encoding.
    pub binary: bool,
    /// How many values a script packed, if one did: then its columns are those that the script
    /// gave the resultset.
    pub packed: Option<u32>,
}

/// The start of a row's Lua object; `capacity` bytes follow.
#[repr(C)]
struct RowHeader {
    capacity: usize,
    len: usize,
    binary: bool,
    packed: Option<u32>,
    /// Whether the bytes did not fit into the object any more, and are a Lua string in its
    /// environment.
    moved: bool,
}

impl Fast {
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
pub(super) unsafe fn new_row(state: *mut lua_State, kind: RowKind, payload: &[u8]) {
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

/// The place of a row's bytes. If they are a string, pushes it, which keeps it alive.
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
