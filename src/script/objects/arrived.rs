//! The object of a packet that callbacks are shown.

use mlua::{AnyUserData, Lua};

use super::auth_data::AuthDataPacket;
use super::object;
use super::object::{DataPacket, PacketObject, StatsPacket};
use super::rset::Rset;
use crate::proxy::{ConnId, Decoded, Incoming};
use crate::script::runtime::Runtime;
use crate::script::statements::statement::Prepared;
use crate::wire::Com;

/// Why there is no object.
pub(crate) type Problem = Box<dyn std::error::Error>;

/// The object of a packet that is no row.
pub(crate) fn packet_object(
    runtime: &Runtime,
    lua: &Lua,
    id: ConnId,
    packet: Incoming<'_>,
) -> Result<AnyUserData, Problem> {
    match packet.decode()? {
        Decoded::Handshake(handshake) => create(lua, handshake),
        Decoded::Auth(auth) => create(lua, auth),
        Decoded::Ok(ok) => create(lua, ok),
        Decoded::Err(err) => create(lua, err),
        Decoded::Command(command) => create(lua, command),
        Decoded::Eof(eof) => create(lua, eof),
        Decoded::Column(column) => create(lua, column),
        Decoded::Infile(infile) => create(lua, infile),
        Decoded::Progress(progress) => create(lua, progress),
        Decoded::Stats(payload) => create(lua, StatsPacket::from(payload)),
        Decoded::AuthData(payload) => create(lua, AuthDataPacket::from(payload)),
        Decoded::Data(payload) => create(lua, DataPacket::from(payload)),
        Decoded::Prepared(head) => {
            let known = runtime.statements.prepared(id).unwrap_or_default();
            let conn = runtime.entry(id, |entry| entry.info.clone());
            create(lua, Prepared::new(head, known, conn))
        }
        Decoded::ResultsetHeader(header) => {
            let binary = packet.answers.is_some_and(Com::has_binary_rows);
            let columns = runtime.statements.columns(id).unwrap_or_default();
            Ok(lua.create_userdata(Rset::arrived(header, binary, columns))?)
        }
        Decoded::TextRow(_) | Decoded::BinaryRow(_) => Err("a row has no object".into()),
    }
}

fn create<T: PacketObject>(lua: &Lua, packet: T) -> Result<AnyUserData, Problem> {
    Ok(lua.create_userdata(object::Held::new(packet))?)
}
