//! What can be known of a script without running it.

use mlua::{Function, Lua};

/// What is wrong with a chunk, and with the modules that it requires, as lines of "file:line: what".
pub fn warnings(lua: &Lua, chunk: &Function) -> mlua::Result<Vec<String>> {
    let check: Function = lua
        .load(include_str!("check.lua"))
        .set_name("=dpm")
        .call(())?;
    check.call(chunk)
}
