//! Scripts: the `dpm` table, its objects, and the callbacks that answer the proxy.
//!
//! The only layer that knows Lua. [`Script`] is a Lua state bound to a proxy; `api` makes the `dpm`
//! table; `hooks` has the proxy's hooks; `runtime` is the state that all parts share, and the only
//! way into callbacks. The folders:
//!
//! - `lua`: Lua in general: the state, `require`, arguments and errors, values that Rust holds,
//!   calls on the raw C API, garbage collection
//! - `callbacks`: the functions of each connection
//! - `connections`: the connection object, and wiring packets
//! - `objects`: packets, rows and whole results as objects
//! - `statements`: prepared statements and their values
//! - `login`: logging in at servers, verifying clients that log in
//! - `options`: options of connections as tables
//! - `pools`: pools of connections
//! - `reloading`: a proxy has several states for a while, when its startfile is reloaded
//! - `program`: what workers have in common, and tell each other
//! - `web`: HTTP
//! - `functions`: the functions of `dpm` that are not about connections
//!
//! No borrow is held where Lua can run, and Lua can run wherever a value is created: the collector
//! may call finalizers then.

mod api;
mod callbacks;
mod connections;
mod functions;
mod hooks;
mod login;
mod lua;
mod objects;
mod options;
mod pools;
mod program;
mod reloading;
mod runtime;
mod statements;
mod web;

use std::path::Path;
use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua};

use connections::conn::ConnObject;
use hooks::LuaHooks;
pub use lua::error::ScriptError;
use lua::fast::Target;
pub use lua::loader::Startfile;
pub use lua::stack::with_large_stack;
/// The crate of [`Script::lua`]'s type.
pub use mlua;
pub use reloading::scripts::{Invocation, Scripts};
use runtime::{Origin, Runtime};

use crate::output;
use crate::proxy::{ConnId, Proxy};

/// A Lua state whose scripts control a proxy.
#[derive(Debug)]
pub struct Script {
    lua: Lua,
    runtime: Rc<Runtime>,
}

impl Script {
    /// Makes the state and sets the proxy's hooks. `require` looks first in the folder of
    /// `startfile`.
    ///
    /// # Errors
    /// The state cannot be set up.
    pub fn new(proxy: Proxy, startfile: Option<&Path>) -> Result<Script, ScriptError> {
        let script = Script::with(proxy.clone(), startfile, Origin::first())?;
        proxy.set_hooks(Rc::new(LuaHooks(Rc::downgrade(&script.runtime))));
        Ok(script)
    }

    /// The same for one of several states of a proxy; the hooks are not set.
    fn with(proxy: Proxy, startfile: Option<&Path>, origin: Origin) -> Result<Script, ScriptError> {
        let lua = lua::state::new_state();
        if origin.commons.is_none() {
            proxy.set_present_owner(origin.number);
        }
        let runtime = Runtime::install(&lua, proxy, origin)?;
        lua.globals().set("dpm", api::dpm_table(&lua, &runtime)?)?;
        objects::rset::install_fast_path(&lua, runtime.fast())?;
        lua::loader::install(&lua, startfile)?;
        lua::lua_library::install(&lua)?;
        Ok(Script { lua, runtime })
    }

    /// The Lua state, for adding functions for scripts.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// The connection of one of a script's objects.
    pub fn conn_id(object: &AnyUserData) -> Option<ConnId> {
        let conn = object.borrow::<ConnObject>().ok()?;
        Some(conn.id())
    }

    /// The object of an open connection, unless no script has it any more.
    pub fn conn_object(&self, id: ConnId) -> Option<AnyUserData> {
        self.runtime.object(id)
    }

    /// Compiles a startfile, or without one the built-in.
    ///
    /// # Errors
    /// It cannot be read, or is not Lua.
    pub fn load(&self, startfile: Option<&Path>) -> Result<Function, ScriptError> {
        self.compile(&Startfile::read(startfile)?)
    }

    /// Compiles a startfile that was read before.
    ///
    /// # Errors
    /// It is not Lua.
    pub fn compile(&self, startfile: &Startfile) -> Result<Function, ScriptError> {
        startfile.compile(&self.lua)
    }

    /// Sets the global `arg`: `name` at 0, then the arguments.
    ///
    /// # Errors
    /// Lua is out of memory.
    pub fn set_arguments(&self, name: &str, arguments: &[String]) -> Result<(), ScriptError> {
        let table = self.lua.create_table()?;
        table.raw_set(0, name)?;
        for (index, argument) in arguments.iter().enumerate() {
            table.raw_set(index + 1, argument.as_str())?;
        }
        self.lua.globals().set("arg", table)?;
        Ok(())
    }

    /// What is wrong with a startfile that has been compiled, as lines of "file:line: what": globals that nobody
    /// defines, modules that cannot be found. It is not run.
    ///
    /// # Errors
    /// Lua is out of memory.
    pub fn check(&self, startfile: &Function) -> Result<Vec<String>, ScriptError> {
        Ok(lua::check::warnings(&self.lua, startfile)?)
    }

    /// Runs a startfile.
    ///
    /// # Errors
    /// Its Lua error, with a traceback.
    pub fn run(&self, startfile: &Function) -> Result<(), ScriptError> {
        let target = Target::Function(startfile);
        let call = || self.runtime.fast().call(&self.lua, target, &[]);
        // Nobody but the script waits now.
        let result = output::stdout().waiting(call);
        let runtime = &self.runtime;
        (runtime.idle).note_activity(runtime.proxy(), runtime.has_connections());
        result.map(|_| ()).map_err(ScriptError)
    }
}

#[cfg(test)]
mod tests;
