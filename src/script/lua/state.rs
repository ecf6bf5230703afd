//! Makes the Lua state.
//!
//! This module is allowed `unsafe` for one call: [`Lua::unsafe_new_with`]. mlua's safe
//! constructors leave out what scripts of this program are promised: native modules (`package`'s C
//! loaders), `ffi` and `debug`. With these a script can break memory safety, as it can by loading a
//! native module at all. That is not a hole in the proxy: whoever writes the startfile already
//! decides what the process does, and nothing that comes over the network is ever run as Lua.
#![allow(unsafe_code)]

use mlua::{Lua, LuaOptions, StdLib};

/// A state with all of LuaJIT's libraries.
pub(crate) fn new_state() -> Lua {
    // SAFETY: the caveat of the function is that the state can load native code. Who may give us
    // scripts may do that, see above.
    unsafe { Lua::unsafe_new_with(StdLib::ALL, LuaOptions::default()) }
}
