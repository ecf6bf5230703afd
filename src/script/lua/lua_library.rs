//! Functions that take the place of some in Lua's own library.

use mlua::Lua;

use super::state::{StreamFunctions, nesting_check, stream_functions};

/// Puts `print`, `io.write` and so on, which the threads of [`output`](crate::output) write, over Lua's own;
/// and what is written in C and calls Lua behind a check of [how deep that is nested](super::stack).
pub fn install(lua: &Lua) -> mlua::Result<()> {
    let StreamFunctions {
        to_stdout,
        to_stderr,
        flush,
    } = stream_functions(lua)?;
    lua.load(include_str!("standard_streams.lua"))
        .set_name("=dpm")
        .call::<()>((to_stdout, to_stderr, flush))?;
    lua.load(include_str!("nesting.lua"))
        .set_name("=dpm")
        .call(nesting_check(lua)?)
}
