//! The script's functions that a pool calls.

use std::rc::{Rc, Weak};

use mlua::{Lua, Table, Value};

use crate::pool::{Above, Key};
use crate::proxy::ConnId;
use crate::script::lua::error::ScriptError;
use crate::script::lua::fast::{Arg, Place, Target};
use crate::script::lua::function::Args;
use crate::script::runtime::{Runtime, slot_index};
use crate::wire::Com;

/// Calls the functions of a table: `open(ticket, server, account, capabilities)`,
/// `kill(server, account, thread_id)`, `lent(client, server)`, `taken(client, server)`,
/// `command(client_id, number, argument)` and `look_again(server)`.
#[derive(Debug)]
pub struct Functions {
    runtime: Weak<Runtime>,
    open: Place,
    kill: Place,
    lent: Place,
    taken: Place,
    command: Place,
    look_again: Place,
}

impl Functions {
    /// The functions of this table.
    pub fn of(runtime: &Rc<Runtime>, args: &Args, table: &Table) -> Result<Functions, ScriptError> {
        let keep = |name: &str| -> Result<Place, ScriptError> {
            match table.raw_get(name)? {
                // As long as the program runs, so the reference is never released.
                Value::Function(function) => Ok(runtime.refs.keep(&function)?.place()),
                _ => Err(args.error(format!("{name}: expected a function"))),
            }
        };
        Ok(Functions {
            runtime: Rc::downgrade(runtime),
            open: keep("open")?,
            kill: keep("kill")?,
            lent: keep("lent")?,
            taken: keep("taken")?,
            command: keep("command")?,
            look_again: keep("look_again")?,
        })
    }

    fn call(
        &self,
        name: &str,
        function: Place,
        args: impl FnOnce(&Lua) -> mlua::Result<Vec<Value>>,
    ) {
        let Some(runtime) = self.runtime.upgrade() else {
            return;
        };
        let Some(lua) = runtime.lua() else {
            return;
        };
        let args = match args(&lua) {
            Ok(args) => args,
            Err(error) => {
                log::error!("pool: {name}: {error}");
                return;
            }
        };
        let args: Vec<_> = args.iter().map(Arg::Value).collect();
        runtime.notify(
            &lua,
            || format!("{name} of a pool"),
            Target::Kept(function),
            &args,
        );
    }

    /// Tells which connection a client has, or has no longer.
    fn tell_link(&self, name: &str, function: Place, client: ConnId, server: ConnId) {
        let Some(runtime) = self.runtime.upgrade() else {
            return;
        };
        let Some(lua) = runtime.lua() else {
            return;
        };
        let ends = [client, server].map(|end| Arg::Alive(slot_index(end)));
        let what = || format!("{name} of a pool");
        runtime.notify(&lua, what, Target::Kept(function), &ends);
    }
}

fn text(lua: &Lua, text: &str) -> mlua::Result<Value> {
    Ok(Value::String(lua.create_string(text)?))
}

impl Above for Functions {
    fn open(&self, ticket: u64, server: &str, key: &Key) {
        self.call("open", self.open, |lua| {
            Ok(vec![
                Value::Number(ticket as f64),
                text(lua, server)?,
                text(lua, &key.account)?,
                Value::Number(key.capabilities.bits() as f64),
            ])
        });
    }

    fn kill(&self, server: &str, key: &Key, thread_id: u32) {
        self.call("kill", self.kill, |lua| {
            Ok(vec![
                text(lua, server)?,
                text(lua, &key.account)?,
                Value::Number(thread_id.into()),
            ])
        });
    }

    fn lent(&self, client: ConnId, server: ConnId) {
        self.tell_link("lent", self.lent, client, server);
    }

    fn taken(&self, client: ConnId, server: ConnId) {
        self.tell_link("taken", self.taken, client, server);
    }

    fn command(&self, client: ConnId, com: Com, argument: &[u8]) {
        self.call("command", self.command, |lua| {
            Ok(vec![
                Value::Number(client.serial().into()),
                Value::Number(com.0.into()),
                Value::String(lua.create_string(argument)?),
            ])
        });
    }

    fn look_again(&self, server: &str) {
        self.call("look_again", self.look_again, |lua| {
            Ok(vec![text(lua, server)?])
        });
    }
}
