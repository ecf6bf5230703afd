//! The proxy's hooks: call the scripts' callbacks.

use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use mlua::Lua;

use super::callbacks::registry::Entry;
use super::callbacks::subject::Subject;
use super::functions::traces;
use super::lua::fast::Place;
use super::lua::fast::{Arg, Target};
use super::objects::arrived::{Problem, packet_object};
use super::runtime::{Runtime, slot_index};
use crate::proxy::{ConnId, ConnInfo, Hooks, Incoming, Verdict};
use crate::session::{Event, PacketKind};
use crate::workers::Published;

/// The proxy's hooks. They do not keep the binding alive: the binding has the proxy.
#[derive(Debug)]
pub struct LuaHooks(pub Weak<Runtime>);

impl LuaHooks {
    fn with<R>(&self, otherwise: R, f: impl FnOnce(&Rc<Runtime>, &Lua) -> R) -> R {
        let Some(runtime) = self.0.upgrade() else {
            return otherwise;
        };
        let Some(lua) = runtime.lua() else {
            return otherwise;
        };
        f(&runtime, &lua)
    }
}

impl Hooks for LuaHooks {
    fn accepted(&self, listener: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict {
        self.with(Verdict::Failed, |runtime, lua| {
            accepted(runtime, lua, listener, client)
        })
    }

    fn event(&self, conn: &Rc<ConnInfo>, event: Event, packet: Option<Incoming<'_>>) -> Verdict {
        self.with(Verdict::Failed, |runtime, lua| {
            let verdict = match fire(runtime, lua, conn, event, packet) {
                Ok(verdict) => verdict,
                Err(problem) => {
                    let id = conn.id.serial();
                    log::error!("connection {id}: {}: {problem}", event.name());
                    Verdict::Failed
                }
            };
            // (Rows lie in Lua's own heap.)
            if let Some(packet) = packet
                && !matches!(packet.kind, PacketKind::TextRow | PacketKind::BinaryRow)
            {
                runtime.pressure.add(lua, packet.payload.len());
            }
            verdict
        })
    }

    fn closing(&self, conn: &Rc<ConnInfo>, collected: bool) {
        self.with((), |runtime, lua| closing(runtime, lua, conn.id, collected));
    }

    fn linked(&self, client: ConnId, server: ConnId) {
        self.with((), |runtime, lua| {
            link(runtime, lua, client, server);
        });
    }

    fn unlinked(&self, client: ConnId, server: ConnId) {
        self.with((), |runtime, lua| {
            release(runtime, lua, client);
            release(runtime, lua, server);
        });
    }

    fn timer(&self, key: u64) {
        self.with((), |runtime, lua| match key {
            key if key == runtime.idle.key => {
                let has_connections = runtime.has_connections();
                runtime.idle.due(runtime.proxy(), has_connections, lua);
            }
            _ => super::functions::timer::due(runtime, lua, key),
        });
    }

    fn resolved(&self, key: u64, addresses: io::Result<Vec<IpAddr>>) {
        self.with((), |runtime, lua| {
            super::functions::resolve::resolved(runtime, lua, key, addresses)
        });
    }

    fn signal(&self, name: &'static str) -> bool {
        self.with(false, |runtime, lua| {
            super::functions::signals::arrived(runtime, lua, name)
        })
    }

    fn published(&self, message: &Published) {
        self.with((), |runtime, lua| {
            super::program::channels::arrived(runtime, lua, message)
        });
    }

    fn once(&self, name: &str) {
        self.with((), |runtime, lua| {
            super::program::once::due(runtime, lua, name)
        });
    }

    fn end_of_tick(&self) {
        self.with((), |runtime, _| {
            traces::end_of_tick(runtime);
            runtime.end_of_tick();
        });
    }
}

fn accepted(
    runtime: &Rc<Runtime>,
    lua: &Lua,
    listener: &Rc<ConnInfo>,
    client: &Rc<ConnInfo>,
) -> Verdict {
    let id = listener.id;
    let client = match runtime.adopt(lua, client.clone()) {
        Ok(client) => client,
        Err(error) => {
            log::error!("connection {}: {error}", client.id.serial());
            return Verdict::Failed;
        }
    };
    let Some(target) = runtime.watching(id, Event::ClientConnect) else {
        log::warn!("listener {} has no MYC_CONNECT callback", id.serial());
        return Verdict::Failed;
    };
    runtime.fire(
        lua,
        id,
        Event::ClientConnect,
        target,
        Some(Arg::Object(&client)),
    )
}

fn fire(
    runtime: &Rc<Runtime>,
    lua: &Lua,
    conn: &Rc<ConnInfo>,
    event: Event,
    packet: Option<Incoming<'_>>,
) -> Result<Verdict, Problem> {
    let id = conn.id;
    let Some(due) = runtime.watching(id, event) else {
        return Ok(Verdict::Forward);
    };
    let Some(packet) = packet else {
        return Ok(runtime.fire(lua, id, event, due, None));
    };
    if let PacketKind::TextRow | PacketKind::BinaryRow = packet.kind {
        let row = Arg::Row {
            binary: packet.kind == PacketKind::BinaryRow,
            payload: packet.payload,
        };
        return Ok(runtime.fire(lua, id, event, due, Some(row)));
    }
    let object = packet_object(runtime, lua, id, packet)?;
    Ok(runtime.fire(lua, id, event, due, Some(Arg::Object(&object))))
}

/// Calls a connection's functions, except those that are removed meanwhile.
fn notify_all(
    runtime: &Runtime,
    lua: &Lua,
    id: ConnId,
    what: Subject,
    functions: Vec<Place>,
    args: &[Arg<'_>],
) {
    for function in functions {
        if runtime.entry(id, |entry| entry.own.has(function)) == Some(true) {
            runtime.notify(lua, what, Target::Kept(function), args);
        }
    }
}

/// Calls `MY_CLOSING`, then the functions of `on_close`; then forgets the connection.
fn closing(runtime: &Rc<Runtime>, lua: &Lua, id: ConnId, collected: bool) {
    let serial = id.serial();
    // Held while the functions run, because their argument must not be collected between them.
    let object = match collected {
        true => None,
        false => runtime.object(id),
    };
    let conn = object.as_ref().map_or(Arg::Value(&mlua::Nil), Arg::Object);
    let args = [Arg::Number(serial.into()), conn];

    let all = |entry: &mut Entry| {
        let due = entry.due(Event::Closing)?;
        Some((due.first, entry.others(Event::Closing, due)))
    };
    if let Some((first, others)) = runtime.entry(id, all).flatten() {
        let what = Subject::Event(Event::Closing, serial);
        runtime.notify(lua, what, first, &args);
        notify_all(runtime, lua, id, what, others, &args);
    }

    ended(runtime, lua, id, &args);
}

/// Calls the functions of `on_close`; then forgets the connection.
fn ended(runtime: &Rc<Runtime>, lua: &Lua, id: ConnId, args: &[Arg<'_>]) {
    let functions = runtime.entry(id, |entry| entry.own.on_close());
    let what = Subject::OnClose(id.serial());
    notify_all(runtime, lua, id, what, functions.unwrap_or_default(), args);

    release(runtime, lua, id);
    runtime.forget(id);
    if !runtime.has_connections() {
        runtime.idle.rest(runtime.proxy());
    }
}

/// Two connections are linked.
pub fn link(runtime: &Runtime, lua: &Lua, client: ConnId, server: ConnId) {
    runtime.entry(client, |entry| entry.peer = Some(server));
    runtime.entry(server, |entry| entry.peer = Some(client));
    // Their objects keep each other alive, unless one has been collected already.
    runtime
        .fast()
        .link(lua, slot_index(client), slot_index(server));
}

/// The object of one end no longer keeps the other alive.
pub fn release(runtime: &Runtime, lua: &Lua, id: ConnId) {
    let open = runtime.entry(id, |entry| entry.peer = None);
    if open.is_some() {
        runtime.fast().unlink(lua, slot_index(id));
    }
}

/// A connection belongs to another state now.
pub fn left(runtime: &Rc<Runtime>, lua: &Lua, id: ConnId) {
    let object = runtime.object(id);
    let conn = object.as_ref().map_or(Arg::Value(&mlua::Nil), Arg::Object);
    let args = [Arg::Number(id.serial().into()), conn];
    ended(runtime, lua, id, &args);
}
