//! `dpm.wire_packet`.

use std::any::TypeId;
use std::rc::Rc;

use mlua::{AnyUserData, Lua};

use crate::proxy::{ConnId, Packet, ProxyError};
use crate::script::connections::conn::{connection, named};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, nothing};
use crate::script::objects::auth_data::AuthDataPacket;
use crate::script::objects::object;
use crate::script::objects::object::{DataPacket, StatsPacket};
use crate::script::objects::rset::Rset;
use crate::script::runtime::Runtime;
use crate::script::statements::statement::Prepared;
use crate::wire::{
    Auth, Column, Com, Command, Eof, ErrPacket, Handshake, LocalInfile, Ok as OkPacket, Progress,
};

/// Encodes a packet onto a connection.
pub fn wire_packet(lua: &Lua, runtime: &Rc<Runtime>, args: &Args) -> Answer {
    const WANTED: &str = "a packet";
    runtime.check_depth(args)?;
    let conn = connection(args, 0, "conn")?;
    let packet = args.userdata(1, "packet", WANTED)?;
    if conn.closed.get() {
        // Also if it only has moved to another state.
        let (id, reason) = (conn.id.serial(), conn.reason());
        return Err(named(args, &ProxyError::Closed { id, reason }));
    }
    let sent = send(lua, runtime, conn.id, packet)?;
    let sent = sent.ok_or_else(|| args.expected(1, "packet", WANTED))?;
    sent.map_err(|error| match error {
        // The proxy may no longer have the reason.
        ProxyError::Closed { id, .. } => named(
            args,
            &ProxyError::Closed {
                id,
                reason: conn.reason(),
            },
        ),
        error => named(args, &error),
    })?;
    nothing()
}

/// Sends a copy, since callbacks that fire meanwhile may write to the packet. `None` if it is not a
/// packet.
fn send(
    lua: &Lua,
    runtime: &Rc<Runtime>,
    id: ConnId,
    packet: &AnyUserData,
) -> Result<Option<Result<(), ProxyError>>, ScriptError> {
    let proxy = runtime.proxy();
    if let Some((kind, payload)) = runtime.fast().read_row(lua, packet) {
        let columns = proxy.row_values(id).map(u32::from);
        if let (Some(values), Some(columns)) = (kind.packed, columns)
            && values != columns
        {
            let why = format!("the row has {values} values, the result {columns} columns");
            let id = id.serial();
            return Ok(Some(Err(ProxyError::Forbidden { id, why })));
        }
        return Ok(Some(proxy.send(id, Packet::Row(&payload))));
    }
    let Some(kind) = packet.type_id() else {
        return Ok(None);
    };
    macro_rules! send {
        ($($type:ty => $variant:ident),* $(,)?) => {
            $(if kind == TypeId::of::<object::Held<$type>>() {
                let copy = packet.borrow::<object::Held<$type>>()?.0.borrow().clone();
                return Ok(Some(proxy.send(id, Packet::$variant(&copy))));
            })*
        };
    }
    macro_rules! send_bytes {
        ($($type:ty => $variant:ident),* $(,)?) => {
            $(if kind == TypeId::of::<object::Held<$type>>() {
                let copy = packet.borrow::<object::Held<$type>>()?.0.borrow().clone();
                return Ok(Some(proxy.send(id, Packet::$variant(&copy.0))));
            })*
        };
    }
    if kind == TypeId::of::<object::Held<Command>>() {
        let copy = packet.borrow::<object::Held<Command>>()?.0.borrow().clone();
        if runtime.pools.sends_in_place(proxy, id, &copy) {
            return Ok(Some(Ok(())));
        }
        return Ok(Some(proxy.send(id, Packet::Command(&copy))));
    }
    if kind == TypeId::of::<object::Held<Prepared>>() {
        return send_prepared(runtime, id, packet).map(Some);
    }
    send! {
        Column => Column,
        OkPacket => Ok,
        Eof => Eof,
        ErrPacket => Err,
        Handshake => Handshake,
        Auth => Auth,
        LocalInfile => Infile,
        Progress => Progress,
    }
    send_bytes! {
        StatsPacket => Stats,
        AuthDataPacket => AuthData,
        DataPacket => Data,
    }
    if kind == TypeId::of::<Rset>() {
        let header = {
            let rset = packet.borrow::<Rset>()?;
            // It packs rows for this answer from now on.
            if let Some(com) = proxy.answering(id) {
                rset.set_binary(com.has_binary_rows());
            }
            rset.header()
        };
        return Ok(Some(proxy.send(id, Packet::ResultsetHeader(&header))));
    }
    Ok(None)
}

/// Sends the head of the answer to a client's COM_STMT_PREPARE. The client's statement is
/// remembered before any event fires.
fn send_prepared(
    runtime: &Rc<Runtime>,
    id: ConnId,
    packet: &AnyUserData,
) -> Result<Result<(), ProxyError>, ScriptError> {
    let copy = packet
        .borrow::<object::Held<Prepared>>()?
        .0
        .borrow()
        .clone();
    let answers = runtime.proxy().answering(id) == Some(Com::STMT_PREPARE);
    if answers {
        let head = copy.ok.clone();
        runtime.statements.answer(id, head, &copy.known);
    }
    Ok(runtime.proxy().send(id, Packet::Prepared(&copy.ok)))
}
