//! The packets whose Lua objects have only accessors.

use bytes::Bytes;

use super::attributes;
use super::object::{Accessor, PAYLOAD, PacketObject};
use super::session_changes;
use crate::script::lua::function::Methods;
use crate::wire::{
    Auth, Capabilities, Com, Command, Eof, ErrPacket, Handshake, LocalInfile, Ok, Progress, Status,
};

/// A user's or a database's name: more than any server allows.
const NAME: usize = 512;
/// A message: clients cut it at 512 bytes.
const MESSAGE: usize = 0xFFFF;
/// All bits that have a constant fit into a Lua number.
const CAPABILITIES: u64 = (1 << 53) - 1;

const U8: u64 = u8::MAX as u64;
const U16: u64 = u16::MAX as u64;
const U24: u64 = (1 << 24) - 1;
const U32: u64 = u32::MAX as u64;

fn capabilities(bits: u64) -> Capabilities {
    Capabilities::from_bits_retain(bits)
}

/// The accessors have checked the range.
fn status(bits: u64) -> Status {
    Status::from_bits_retain(bits as u16)
}

impl PacketObject for Handshake {
    const NAME: &'static str = "handshake";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::constant("protocol_version", |p| p.protocol_version.into()),
            Accessor::constant_bytes("server_version", |p| &p.server_version),
            Accessor::constant("thread_id", |p| p.thread_id.into()),
            Accessor::constant_bytes("scramble_buff", |p| &p.scramble),
            Accessor::flags(
                "server_capabilities",
                CAPABILITIES,
                |p| p.capabilities.bits(),
                |p, v| p.capabilities = capabilities(v),
            ),
            Accessor::integer(
                "server_language",
                U8,
                |p| p.character_set.into(),
                |p, v| p.character_set = v as u8,
            ),
            Accessor::flags(
                "server_status",
                U16,
                |p| p.status.bits().into(),
                |p, v| p.status = status(v),
            ),
            Accessor::optional(
                "auth_plugin",
                NAME,
                |p: &Self| p.auth_plugin.as_deref(),
                |p, v| {
                    p.capabilities.set(Capabilities::PLUGIN_AUTH, v.is_some());
                    p.auth_plugin = v;
                },
            )
            .without_nul(),
        ]
    }
}

impl PacketObject for Auth {
    const NAME: &'static str = "auth";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::flags(
                "client_flags",
                CAPABILITIES,
                |p| p.capabilities.bits(),
                |p, v| p.capabilities = capabilities(v),
            ),
            Accessor::integer(
                "max_packet_size",
                U32,
                |p| p.max_packet_size.into(),
                |p, v| p.max_packet_size = v as u32,
            ),
            Accessor::integer(
                "charset_number",
                U8,
                |p| p.character_set.into(),
                |p, v| p.character_set = v as u16,
            ),
            Accessor::bytes("user", NAME, |p: &Self| &p.user, |p, v| p.user = v).without_nul(),
            Accessor::optional(
                "databasename",
                NAME,
                |p: &Self| p.database.as_deref(),
                // Together with its flag, without which the name would not be sent.
                |p, v| p.set_database(v),
            )
            .without_nul(),
            Accessor::optional(
                "auth_plugin",
                NAME,
                |p: &Self| p.auth_plugin.as_deref(),
                |p, v| {
                    p.capabilities.set(Capabilities::PLUGIN_AUTH, v.is_some());
                    p.auth_plugin = v;
                },
            )
            .without_nul(),
            Accessor::bytes(
                "auth_response",
                MESSAGE,
                |p| &p.auth_response,
                |p, v| {
                    // Too long for a length of one byte, or for a NUL-terminated string.
                    if v.len() > 255 {
                        p.capabilities |= Capabilities::PLUGIN_AUTH_LENENC_CLIENT_DATA;
                    }
                    p.auth_response = v;
                },
            ),
        ]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        attributes::add(methods)
    }
}

impl PacketObject for Ok {
    const NAME: &'static str = "ok";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer(
                "affected_rows",
                u64::MAX,
                |p| p.affected_rows,
                |p, v| p.affected_rows = v,
            ),
            Accessor::integer(
                "insert_id",
                u64::MAX,
                |p| p.insert_id,
                |p, v| p.insert_id = v,
            ),
            Accessor::flags(
                "server_status",
                U16,
                |p| p.status.bits().into(),
                |p, v| p.status = status(v),
            ),
            Accessor::integer(
                "warning_count",
                U16,
                |p| p.warnings.into(),
                |p, v| p.warnings = v as u16,
            ),
            Accessor::bytes("message", MESSAGE, |p| &p.message, |p, v| p.message = v),
        ]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        session_changes::add(methods)
    }
}

impl PacketObject for Eof {
    const NAME: &'static str = "eof";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer(
                "warning_count",
                U16,
                |p| p.warnings.into(),
                |p, v| p.warnings = v as u16,
            ),
            Accessor::flags(
                "server_status",
                U16,
                |p| p.status.bits().into(),
                |p, v| p.status = status(v),
            ),
        ]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        session_changes::add_to_eof(methods)
    }
}

impl PacketObject for ErrPacket {
    const NAME: &'static str = "err";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer(
                "errnum",
                U16,
                |p| p.errnum.into(),
                |p, v| p.errnum = v as u16,
            ),
            Accessor::exactly(
                "sqlstate",
                5,
                // The SQLSTATE that clients assume for an error without one.
                |p| p.sqlstate.as_ref().map_or(b"HY000", |state| state),
                |p, v| p.sqlstate = v.try_into().ok(),
            ),
            Accessor::bytes("message", MESSAGE, |p| &p.message, |p, v| p.message = v),
        ]
    }
}

impl PacketObject for Command {
    const NAME: &'static str = "cmd";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer(
                "command",
                U8,
                |p| p.com.0.into(),
                |p, v| p.com = Com(v as u8),
            ),
            Accessor::bytes(
                "argument",
                PAYLOAD,
                |p| &p.argument,
                |p, v| p.argument = Bytes::from(v),
            ),
        ]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        super::command::add_methods(methods)?;
        super::change_user::add(methods)
    }
}

impl PacketObject for Progress {
    const NAME: &'static str = "progress";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![
            Accessor::integer("stage", U8, |p| p.stage.into(), |p, v| p.stage = v as u8),
            Accessor::integer(
                "max_stage",
                U8,
                |p| p.max_stage.into(),
                |p, v| p.max_stage = v as u8,
            ),
            Accessor::integer(
                "progress",
                U24,
                |p| p.progress.into(),
                |p, v| p.progress = v as u32,
            ),
            Accessor::bytes("info", MESSAGE, |p| &p.info, |p, v| p.info = v),
        ]
    }
}

impl PacketObject for LocalInfile {
    const NAME: &'static str = "infile";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![Accessor::bytes(
            "filename",
            PAYLOAD,
            |p| &p.filename,
            |p, v| p.filename = v,
        )]
    }
}
