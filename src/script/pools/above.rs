//! The script's functions that a pool calls.

use std::rc::{Rc, Weak};

use mlua::{Lua, Table, Value};

use crate::pool::{Above, Key, Overrule, Policies, Reason};
use crate::proxy::ConnId;
use crate::script::lua::error::ScriptError;
use crate::script::lua::fast::{Arg, Place, Target};
use crate::script::lua::function::Args;
use crate::script::runtime::{Runtime, slot_index};
use crate::wire::Com;

/// Calls the functions of a table: `open(ticket, server, account, capabilities)`,
/// `kill(server, account, thread_id)`, `lent(client, server)`, `taken(client, server)`,
/// `command(client_id, number, argument)`, `parted(client_id)`, `look_again(server)` and
/// `interrupt(connection_id, server, account, thread_id)`. If it has
/// them, also `on_hold(client_id, reason, sql)`, which returns 1 to release and 2 to refuse, and `choose(client_id, servers)`, which
/// returns a place in that list.
#[derive(Debug)]
pub struct Functions {
    runtime: Weak<Runtime>,
    open: Place,
    kill: Place,
    lent: Place,
    taken: Place,
    command: Place,
    parted: Place,
    look_again: Place,
    interrupt: Place,
    on_hold: Option<Place>,
    choose: Option<Place>,
}

impl Functions {
    /// The functions of this table.
    pub fn of(runtime: &Rc<Runtime>, args: &Args, table: &Table) -> Result<Functions, ScriptError> {
        let find = |name: &str| -> Result<Option<Place>, ScriptError> {
            match table.raw_get(name)? {
                // As long as the program runs, so the reference is never released.
                Value::Function(function) => Ok(Some(runtime.refs.keep(&function)?.place())),
                Value::Nil => Ok(None),
                _ => Err(args.error(format!("{name}: expected a function"))),
            }
        };
        let keep = |name: &str| -> Result<Place, ScriptError> {
            find(name)?.ok_or_else(|| args.error(format!("{name}: expected a function")))
        };
        Ok(Functions {
            runtime: Rc::downgrade(runtime),
            open: keep("open")?,
            kill: keep("kill")?,
            lent: keep("lent")?,
            taken: keep("taken")?,
            command: keep("command")?,
            parted: keep("parted")?,
            look_again: keep("look_again")?,
            interrupt: keep("interrupt")?,
            on_hold: find("on_hold")?,
            choose: find("choose")?,
        })
    }

    fn call(
        &self,
        name: &str,
        function: Place,
        args: impl FnOnce(&Lua) -> mlua::Result<Vec<Value>>,
    ) {
        self.ask(name, function, args);
    }

    /// Calls a function that may return a number.
    fn ask(
        &self,
        name: &str,
        function: Place,
        args: impl FnOnce(&Lua) -> mlua::Result<Vec<Value>>,
    ) -> Option<f64> {
        let runtime = self.runtime.upgrade()?;
        let lua = runtime.lua()?;
        let args = args(&lua)
            .inspect_err(|error| log::error!("pool: {name}: {error}"))
            .ok()?;
        let args: Vec<_> = args.iter().map(Arg::Value).collect();
        let what = || format!("{name} of a pool");
        let answer = runtime.ask(&lua, &what, Target::Kept(function), &args);
        if answer.is_err() {
            runtime.count_error();
        }
        answer.ok().flatten()
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

    fn interrupt(&self, connection: ConnId, server: &str, key: &Key, thread_id: u32) {
        self.call("interrupt", self.interrupt, |lua| {
            Ok(vec![
                Value::Number(connection.serial().into()),
                text(lua, server)?,
                text(lua, &key.account)?,
                Value::Number(thread_id.into()),
            ])
        });
    }

    fn policies(&self) -> Policies {
        let mut policies = Policies::empty();
        policies.set(Policies::ON_HOLD, self.on_hold.is_some());
        policies.set(Policies::CHOOSE, self.choose.is_some());
        policies
    }

    fn on_hold(&self, client: ConnId, reason: Reason, sql: &[u8]) -> Overrule {
        let answer = self.on_hold.and_then(|function| {
            self.ask("on_hold", function, |lua| {
                Ok(vec![
                    Value::Number(client.serial().into()),
                    text(lua, reason.name())?,
                    Value::String(lua.create_string(sql)?),
                ])
            })
        });
        match answer {
            Some(1.0) => Overrule::Release,
            Some(2.0) => Overrule::Refuse,
            _ => Overrule::Keep,
        }
    }

    fn choose(&self, client: ConnId, servers: &[Rc<str>]) -> Option<usize> {
        let place = self.ask("choose", self.choose?, |lua| {
            let names = servers.iter().map(|name| &**name);
            Ok(vec![
                Value::Number(client.serial().into()),
                Value::Table(lua.create_sequence_from(names)?),
            ])
        })?;
        // Lua counts from one; what is no place is none.
        (place >= 1.0 && place <= servers.len() as f64).then_some(place as usize - 1)
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

    fn parted(&self, client: ConnId) {
        self.call("parted", self.parted, |_| {
            Ok(vec![Value::Number(client.serial().into())])
        });
    }

    fn look_again(&self, server: &str) {
        self.call("look_again", self.look_again, |lua| {
            Ok(vec![text(lua, server)?])
        });
    }
}
