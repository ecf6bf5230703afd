//! `print` and the standard streams of Lua's `io`, written by the threads of [`output`].

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, LuaString};

use crate::output;

/// Whether the startfile still runs. Nobody but the script waits then: so `print` waits for a slow reader,
/// and nothing is lost.
#[derive(Debug, Clone, Default)]
pub struct Starting(Rc<Cell<bool>>);

impl Starting {
    /// Runs the startfile.
    pub fn during<R>(&self, startfile: impl FnOnce() -> R) -> R {
        self.0.set(true);
        let result = startfile();
        self.0.set(false);
        result
    }
}

/// Puts `print`, `io.write` and so on over Lua's own.
pub fn install(lua: &Lua) -> mlua::Result<Starting> {
    let starting = Starting::default();
    let patient = starting.clone();
    let to_stdout = lua.create_function(move |_, text: LuaString| {
        match patient.0.get() {
            true => output::stdout().write_patiently(&text.as_bytes()),
            false => output::stdout().write(&text.as_bytes()),
        }
        Ok(())
    })?;
    let to_stderr = lua.create_function(|_, text: LuaString| {
        output::stderr().write(&text.as_bytes());
        Ok(())
    })?;
    let patient = starting.clone();
    let flush = lua.create_function(move |_, ()| {
        if patient.0.get() {
            output::stdout().flush_patiently();
        }
        output::flush_before_the_end();
        Ok(())
    })?;
    lua.load(include_str!("standard_streams.lua"))
        .set_name("=dpm")
        .call::<()>((to_stdout, to_stderr, flush))?;
    Ok(starting)
}
