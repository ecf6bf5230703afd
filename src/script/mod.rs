//! Scripts: the `dpm` table, its objects, and the callbacks that answer the proxy.
//!
//! This layer is the only one that knows Lua. From the outside in:
//!
//! - [`Script`]: a Lua state bound to a proxy
//! - `api`: the functions of the `dpm` table; `send`, `login`, `options`, `tls_options`, `signals`,
//!   `clock`, `sql_helpers`, `json`: parts of it; `constants`
//! - `login_object`: logging in at servers; `verifier`, `credential`: judging clients that log in
//! - `conn`, `callbacks`, `handle`, `timer`: the objects that are no packets
//! - `object`: packets as objects, by tables of accessors, which are in `packets` and `field`;
//!   `rset` and `row`: resultsets and what is in their rows; `statement` and `param`:
//!   prepared statements and values; `command`: executes and the like;
//!   `statements`: those that a connection remembers; `answers`: what a server has answered
//! - `hooks`: the proxy's questions; `runtime`: what all share, and the one way into callbacks;
//!   `registry`: the callbacks of each connection; `refs`: what Rust holds of Lua, without a limit
//! - `function`, `convert`, `error`: arguments, results and errors, without silent losses
//! - `loader`: `require`; `idle`: collects garbage while nothing happens, `burden`: when packets have piled up
//! - `fast`: rows and calls on the raw C API; `state`: the Lua state. Only these two are `unsafe`.
//!
//! No borrow is held where Lua can run, and Lua can run wherever a value is created: the collector
//! may call finalizers then.

mod answers;
mod api;
mod attributes;
mod auth_data;
mod burden;
mod callbacks;
mod change_user;
mod clock;
mod command;
mod conn;
mod constants;
mod convert;
mod credential;
mod error;
mod execute_options;
mod fast;
mod field;
mod function;
mod handle;
mod hooks;
mod idle;
mod json;
mod leg_options;
mod loader;
mod login;
mod login_object;
mod object;
mod option_table;
mod options;
mod packets;
mod param;
mod refs;
mod registry;
mod row;
mod rowset;
mod rset;
mod runtime;
mod send;
mod session_changes;
mod signals;
mod sql_helpers;
mod state;
mod statement;
mod statements;
mod timer;
mod tls_options;
mod tracked_session;
mod verifier;

use std::path::Path;
use std::rc::Rc;

use mlua::{Function, Lua};

pub use error::ScriptError;
use fast::Target;
use hooks::LuaHooks;
use runtime::Runtime;

use crate::proxy::Proxy;

/// A Lua state whose scripts steer a proxy.
#[derive(Debug)]
pub struct Script {
    lua: Lua,
    runtime: Rc<Runtime>,
}

impl Script {
    /// Makes the state and becomes the proxy's hooks. `startfile` is where scripts come from: its
    /// folder is the first that `require` looks in.
    ///
    /// # Errors
    /// The state cannot be set up.
    pub fn new(proxy: Proxy, startfile: Option<&Path>) -> Result<Script, ScriptError> {
        let lua = state::new_state();
        let runtime = Runtime::install(&lua, proxy.clone())?;
        proxy.set_hooks(Rc::new(LuaHooks(Rc::downgrade(&runtime))));
        lua.globals().set("dpm", api::dpm_table(&lua, &runtime)?)?;
        rset::install_fast_path(&lua, runtime.fast())?;
        loader::install(&lua, startfile)?;
        // What a script prints is seen when it prints it, also through a pipe.
        lua.load("io.stdout:setvbuf('line')").exec()?;
        Ok(Script { lua, runtime })
    }

    /// The Lua state, to give scripts more than this crate does.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Compiles a startfile, or without one the built-in.
    ///
    /// # Errors
    /// It cannot be read, or is not Lua.
    pub fn load(&self, startfile: Option<&Path>) -> Result<Function, ScriptError> {
        loader::startfile(&self.lua, startfile)
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

    /// Runs a startfile.
    ///
    /// # Errors
    /// Its Lua error, with a traceback.
    pub fn run(&self, startfile: &Function) -> Result<(), ScriptError> {
        let target = Target::Function(startfile);
        let result = self.runtime.fast().call(&self.lua, target, &[]);
        self.runtime.idle.note_activity(&self.runtime);
        result.map(|_| ()).map_err(ScriptError)
    }
}

#[cfg(test)]
mod tests;
