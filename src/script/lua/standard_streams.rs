//! `print` and the standard streams of Lua's `io`, written by the threads of [`output`](crate::output).

use mlua::Lua;

use super::state::{StreamFunctions, stream_functions};

/// Puts `print`, `io.write` and so on over Lua's own.
pub fn install(lua: &Lua) -> mlua::Result<()> {
    let StreamFunctions {
        to_stdout,
        to_stderr,
        flush,
    } = stream_functions(lua)?;
    lua.load(include_str!("standard_streams.lua"))
        .set_name("=dpm")
        .call((to_stdout, to_stderr, flush))
}
