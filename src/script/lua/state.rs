//! Makes the Lua state.
//!
//! This module is allowed `unsafe` for the state, and for a few C functions in it.
//!
//! [`Lua::unsafe_new_with`]: mlua's safe constructors leave out what scripts of this program are
//! promised: native modules (`package`'s C loaders), `ffi` and `debug`. With these a script can break
//! memory safety, as it can by loading a native module at all. That is not a hole in the proxy: whoever
//! writes the startfile already decides what the process does, and nothing that comes over the network is
//! ever run as Lua.
//!
//! The functions that write to the standard streams are C functions: finalizers call them (`print`) while
//! the state is being closed, when mlua's own functions no longer work. The one that looks at
//! the C stack is called often.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::slice;

use mlua::{Function, Lua, LuaOptions, StdLib, ffi, lua_State};

use super::stack;
use crate::output::{self, OutputStream};

/// A state with all of LuaJIT's libraries.
pub(crate) fn new_state() -> Lua {
    // SAFETY: the caveat of the function is that the state can load native code. Who may give us
    // scripts may do that, see above.
    unsafe { Lua::unsafe_new_with(StdLib::ALL, LuaOptions::default()) }
}

/// What writes to the standard streams, see `standard_streams.lua`.
pub(crate) struct StreamFunctions {
    /// `function(text)`: to standard output.
    pub to_stdout: Function,
    /// `function(text)`: to standard error.
    pub to_stderr: Function,
    /// `function()`: waits until all is written, within limits.
    pub flush: Function,
}

/// Makes these functions.
pub(crate) fn stream_functions(lua: &Lua) -> mlua::Result<StreamFunctions> {
    // SAFETY: the three are called by Lua alone, and keep to its rules, see there.
    unsafe {
        Ok(StreamFunctions {
            to_stdout: lua.create_c_function(to_stdout)?,
            to_stderr: lua.create_c_function(to_stderr)?,
            flush: lua.create_c_function(flush)?,
        })
    }
}

unsafe extern "C-unwind" fn to_stdout(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments.
    unsafe { write(state, output::stdout()) }
}

unsafe extern "C-unwind" fn to_stderr(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments.
    unsafe { write(state, output::stderr()) }
}

/// # Safety
/// For functions that Lua calls.
unsafe fn write(state: *mut lua_State, stream: &OutputStream) -> c_int {
    // SAFETY: an argument that is no string raises an error while no value with a destructor is
    // alive; a string stays on the stack while its bytes are copied.
    unsafe {
        let mut len = 0;
        let start = ffi::luaL_checklstring(state, 1, &mut len);
        stream.write(slice::from_raw_parts(start.cast(), len));
    }
    0
}

unsafe extern "C-unwind" fn flush(_: *mut lua_State) -> c_int {
    output::flush();
    0
}

/// `function() -> boolean`: [`stack::may_nest`].
pub(crate) fn nesting_check(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: it is called by Lua alone, and keeps to its rules.
    unsafe { lua.create_c_function(may_nest) }
}

unsafe extern "C-unwind" fn may_nest(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with room on its stack.
    unsafe { ffi::lua_pushboolean(state, stack::may_nest().into()) };
    1
}
