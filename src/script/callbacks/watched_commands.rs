//! `server:on_answer`: reports answered commands to scripts, without entering Lua for those that
//! are of no interest. A callback for a command and one for the end of its answer cost more than
//! all that the proxy does with a point select otherwise.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, Value};

use super::handle::{Added, HandleObject};
use crate::observe::{Answer, Conditions};
use crate::proxy::ConnKind;
use crate::script::connections::conn::ConnObject;
use crate::script::lua::convert::to_integer;
use crate::script::lua::error::ScriptError;
use crate::script::lua::fast::Place;
use crate::script::lua::fast::{Arg, Target};
use crate::script::lua::function::{Args, Methods};
use crate::script::lua::option_table::OptionTable;
use crate::script::objects::arrived::{Problem, packet_object};
use crate::script::runtime::{Runtime, slot_index};
use crate::session::PacketKind;
use crate::wire::Status;

/// The method of servers.
pub fn add_methods(methods: &Methods<'_>, runtime: &Rc<Runtime>) -> mlua::Result<()> {
    let rt = runtime.clone();
    methods.add::<ConnObject>("on_answer", move |_, conn, args| {
        if conn.info().kind != ConnKind::Server {
            return Err(args.error("only servers answer"));
        }
        let conditions = conditions(args)?;
        let function = rt.refs.own(args.function(0, "")?)?;
        let weak = Rc::downgrade(&rt);
        let watcher = move |answer: &Answer<'_>| {
            let Some(runtime) = weak.upgrade() else {
                return;
            };
            if let (Some(lua), Some(function)) = (runtime.lua(), function.place()) {
                tell(&runtime, &lua, function, answer);
            }
        };
        let id = conn.id();
        let watch = (rt.watched_commands).watch(rt.proxy(), id, conditions, Rc::new(watcher));
        let Some(watch) = watch else {
            let (id, reason) = (id.serial(), conn.info().reason());
            return Err(args.error(format!("connection {id} is closed ({reason})")));
        };
        HandleObject::answer(&rt, id, Added::Watcher(watch))
    })
}

fn tell(runtime: &Runtime, lua: &Lua, function: Place, answer: &Answer<'_>) {
    let client = answer.client;
    let objects = || -> Result<_, Problem> {
        let command = match answer.command {
            Some(command) => Some(packet_object(runtime, lua, answer.client, command)?),
            None => None,
        };
        let ending = match answer.ending.kind {
            PacketKind::Ok | PacketKind::Eof | PacketKind::Err | PacketKind::Stats => {
                Some(packet_object(runtime, lua, answer.server, answer.ending)?)
            }
            _ => None,
        };
        Ok((command, ending))
    };
    let (command, ending) = match objects() {
        Ok(objects) => objects,
        Err(problem) => {
            log::error!("connection {}: its answer: {problem}", client.serial());
            return;
        }
    };
    let what = || format!("on_answer of connection {}", client.serial());
    let args = [
        command
            .as_ref()
            .map_or(Arg::Value(&Value::Nil), Arg::Object),
        ending.as_ref().map_or(Arg::Value(&Value::Nil), Arg::Object),
        Arg::Number(answer.took.as_secs_f64() * 1000.0),
        Arg::Number(f64::from(answer.status.bits())),
        Arg::Alive(slot_index(client)),
    ];
    runtime.notify(lua, what, Target::Kept(function), &args);
    let size = answer.command.map_or(0, |command| command.payload.len());
    runtime.pressure.add(lua, size);
}

/// What a function does not want to be called for.
fn conditions(args: &Args) -> Result<Conditions, ScriptError> {
    let Some(options) = OptionTable::argument(args, 1, &["slower", "status"])? else {
        return Ok(Conditions::default());
    };
    let slower: Option<Duration> = options.milliseconds("slower")?;
    let status = options.read("status", "a sum of SERVER_* flags", |value| {
        to_integer(value, u16::MAX.into())
    })?;
    Ok(Conditions {
        slower: slower.unwrap_or_default(),
        status: Status::from_bits_retain(status.unwrap_or_default() as u16),
    })
}
