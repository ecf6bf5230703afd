//! What the proxy asks, answered by the scripts' callbacks.

use std::rc::{Rc, Weak};

use mlua::{AnyUserData, Lua};

use super::answers;
use super::auth_data::AuthDataPacket;
use super::fast::{Arg, Target};
use super::idle;
use super::object::{self, DataPacket, PacketObject, StatsPacket};
use super::refs::Place;
use super::registry::{Due, Entry};
use super::rset::Rset;
use super::runtime::{Runtime, slot_index};
use super::statements;
use crate::proxy::{ConnId, ConnInfo, Hooks, Incoming, Verdict};
use crate::session::{Event, PacketKind};
use crate::wire::{
    Auth, Capabilities, Column, Com, Command, DecodeError, Eof, ErrPacket, Handshake, LocalInfile,
    Ok, PrepareOk, Progress, ResultsetHeader,
};

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
                runtime.burden.add(lua, packet.payload.len());
            }
            verdict
        })
    }

    fn closing(&self, conn: &Rc<ConnInfo>, collected: bool) {
        self.with((), |runtime, lua| closing(runtime, lua, conn.id, collected));
    }

    fn linked(&self, client: ConnId, server: ConnId) {
        self.with((), |runtime, lua| {
            runtime.entry(client, |entry| entry.peer = Some(server));
            runtime.entry(server, |entry| entry.peer = Some(client));
            statements::rearm(runtime, client);
            statements::rearm(runtime, server);
            answers::rearm(runtime, client);
            answers::rearm(runtime, server);
            // Their objects keep each other, unless nobody refers to one of them any more.
            runtime
                .fast()
                .link(lua, slot_index(client), slot_index(server));
        });
    }

    fn unlinked(&self, client: ConnId, server: ConnId) {
        self.with((), |runtime, lua| {
            release(runtime, lua, client);
            release(runtime, lua, server);
            statements::rearm(runtime, client);
            statements::rearm(runtime, server);
            answers::rearm(runtime, client);
            answers::rearm(runtime, server);
        });
    }

    fn timer(&self, key: u64) {
        self.with((), |runtime, lua| match key {
            idle::KEY => idle::due(runtime, lua),
            _ => super::timer::due(runtime, lua, key),
        });
    }

    fn signal(&self, name: &'static str) {
        self.with((), |runtime, lua| {
            super::signals::arrived(runtime, lua, name)
        });
    }

    fn end_of_tick(&self) {
        self.with((), |runtime, _| runtime.end_of_tick());
    }
}

/// The object of an end no longer keeps the other one.
fn release(runtime: &Runtime, lua: &Lua, id: ConnId) {
    let open = runtime.entry(id, |entry| entry.peer = None);
    if open.is_some() {
        runtime.fast().unlink(lua, slot_index(id));
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

/// Why a callback was not called.
pub(super) type Problem = Box<dyn std::error::Error>;

fn fire(
    runtime: &Rc<Runtime>,
    lua: &Lua,
    conn: &Rc<ConnInfo>,
    event: Event,
    packet: Option<Incoming<'_>>,
) -> Result<Verdict, Problem> {
    let id = conn.id;
    if let Some(packet) = packet
        && let PacketKind::TextRow | PacketKind::BinaryRow = packet.kind
        && let Some(rows) = runtime
            .entry(id, |entry| entry.collecting.clone())
            .flatten()
    {
        if packet.kind == PacketKind::BinaryRow {
            return Err("rows of the binary protocol cannot be collected".into());
        }
        rows.push(packet.payload);
        return Ok(Verdict::Hold);
    }
    let target = runtime.watching(id, event);
    let Some(packet) = packet else {
        let Some(target) = target else {
            return Ok(Verdict::Forward);
        };
        return Ok(runtime.fire(lua, id, event, target, None));
    };

    if runtime.entry(id, |entry| entry.answers_told) == Some(true) {
        answers::note(runtime, lua, conn, event, packet);
    }
    if let PacketKind::TextRow | PacketKind::BinaryRow = packet.kind {
        let binary = packet.kind == PacketKind::BinaryRow;
        let Some(target) = target else {
            return Ok(Verdict::Forward);
        };
        let payload = packet.payload;
        return Ok(runtime.fire(lua, id, event, target, Some(Arg::Row { binary, payload })));
    }

    match packet.kind {
        PacketKind::Command => {
            let tracked = runtime.entry(id, |entry| entry.statements_tracked);
            if tracked != Some(true) {
                return show(runtime, lua, id, event, packet, target);
            }
            statements::command_arrives(runtime, id, packet.payload);
            let verdict = show(runtime, lua, id, event, packet, target)?;
            Ok(statements::command_passed(
                runtime,
                id,
                packet.payload,
                verdict,
            ))
        }
        PacketKind::Prepared => {
            let ok = PrepareOk::decode(packet.payload, packet.capabilities)?;
            let statement = statements::prepared(runtime, conn, ok);
            let verdict = match target {
                Some(target) => {
                    let object = object::Packet::new(statement.clone());
                    let object = lua.create_userdata(object)?;
                    runtime.fire(lua, id, event, target, Some(Arg::Object(&object)))
                }
                None => Verdict::Forward,
            };
            statements::prepared_passed(runtime, id, statement, verdict);
            Ok(verdict)
        }
        _ => show(runtime, lua, id, event, packet, target),
    }
}

/// Shows a packet to the callbacks, if there are any.
fn show(
    runtime: &Rc<Runtime>,
    lua: &Lua,
    id: ConnId,
    event: Event,
    packet: Incoming<'_>,
    target: Option<Due>,
) -> Result<Verdict, Problem> {
    let Some(object) = arrived_object(runtime, lua, id, event, packet, target.is_some())? else {
        return Ok(Verdict::Forward);
    };
    let Some(target) = target else {
        return Ok(Verdict::Forward);
    };
    Ok(runtime.fire(lua, id, event, target, Some(Arg::Object(&object))))
}

/// The object of a packet, unless nobody will see it.
fn arrived_object(
    runtime: &Rc<Runtime>,
    lua: &Lua,
    id: ConnId,
    event: Event,
    packet: Incoming<'_>,
    watched: bool,
) -> Result<Option<AnyUserData>, Problem> {
    let capabilities = packet.capabilities;
    match packet.kind {
        PacketKind::ResultsetHeader => {
            let binary = packet.answers.is_some_and(Com::has_binary_rows);
            let header = ResultsetHeader::decode(packet.payload, capabilities)?;
            let bare = !header.definitions;
            let rset = Rset::arrived(header, binary);
            let arrived = watched.then(|| rset.columns());
            if binary && let (Some(arrived), Some(statement)) = (&arrived, packet.statement) {
                statements::result(runtime, id, statement, arrived, bare);
            }
            let arrived = arrived.as_ref().map(Rc::downgrade);
            runtime.entry(id, |entry| entry.arrived = arrived.unwrap_or_default());
            Ok(Some(lua.create_userdata(rset)?))
        }
        PacketKind::Column => {
            let column = Column::decode(packet.payload, capabilities)?;
            if packet.answers == Some(Com::STMT_PREPARE) {
                let is_param = event == Event::ServerSendingParams;
                statements::definition(runtime, id, &column, is_param);
            } else if event == Event::ServerSendingFields {
                let arrived = runtime.entry(id, |entry| entry.arrived.upgrade()).flatten();
                arrived.inspect(|arrived| arrived.note(&column));
            }
            match watched {
                true => Ok(Some(lua.create_userdata(object::Packet::new(column))?)),
                false => Ok(None),
            }
        }
        _ if !watched => Ok(None),
        _ => Ok(Some(packet_object(lua, packet)?)),
    }
}

pub(super) fn packet_object(lua: &Lua, packet: Incoming<'_>) -> Result<AnyUserData, Problem> {
    let payload = packet.payload;
    match packet.kind {
        PacketKind::Handshake => create(lua, Handshake::decode(payload)),
        PacketKind::Auth => create(lua, Auth::decode(payload)),
        PacketKind::Ok => decoded(lua, packet, Ok::decode),
        PacketKind::Err => decoded(lua, packet, ErrPacket::decode),
        PacketKind::Command => decoded(lua, packet, Command::decode),
        PacketKind::Eof => decoded(lua, packet, Eof::decode),
        PacketKind::Infile => decoded(lua, packet, LocalInfile::decode),
        PacketKind::Progress => decoded(lua, packet, Progress::decode),
        PacketKind::Stats => create(lua, Ok(StatsPacket::from(payload))),
        PacketKind::AuthData => create(lua, Ok(AuthDataPacket::from(payload))),
        PacketKind::Data => create(lua, Ok(DataPacket::from(payload))),
        PacketKind::ResultsetHeader
        | PacketKind::Prepared
        | PacketKind::Column
        | PacketKind::TextRow
        | PacketKind::BinaryRow => Err("the packet was dealt with before".into()),
    }
}

fn decoded<T: PacketObject>(
    lua: &Lua,
    packet: Incoming<'_>,
    decode: fn(&[u8], Capabilities) -> Result<T, DecodeError>,
) -> Result<AnyUserData, Problem> {
    create(lua, decode(packet.payload, packet.capabilities))
}

fn create<T: PacketObject>(
    lua: &Lua,
    packet: Result<T, DecodeError>,
) -> Result<AnyUserData, Problem> {
    Ok(lua.create_userdata(object::Packet::new(packet?))?)
}

/// Calls those of a connection's functions that have not been removed before it was their turn.
fn notify_all(
    runtime: &Runtime,
    lua: &Lua,
    id: ConnId,
    what: impl Fn() -> String,
    functions: Vec<Place>,
    args: &[Arg<'_>],
) {
    for function in functions {
        if runtime.entry(id, |entry| entry.own.has(function)) == Some(true) {
            runtime.notify(lua, &what, Target::Kept(function), args);
        }
    }
}

/// `MY_CLOSING`, then what was registered with `on_close`; then nothing is known of the connection.
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
        let what = || format!("MY_CLOSING of connection {serial}");
        runtime.notify(lua, what, first, &args);
        notify_all(runtime, lua, id, what, others, &args);
    }

    let functions = runtime.entry(id, |entry| entry.own.closed());
    let what = || format!("on_close of connection {serial}");
    notify_all(runtime, lua, id, what, functions.unwrap_or_default(), &args);

    release(runtime, lua, id);
    runtime.forget(id);
    if !runtime.has_connections() {
        runtime.idle.rest(runtime);
    }
}
