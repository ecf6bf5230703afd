//! The packets of a login's further rounds: `authdata`.

use mlua::{AnyUserData, Lua};

use super::object::{Accessor, Held, PAYLOAD, PacketObject};
use crate::script::lua::error::{Answer, ScriptError};
use crate::script::lua::function::{Args, Methods, nothing, string};
use crate::wire::{AuthMoreData, AuthSwitch, Capabilities};

/// A round of authentication, in either direction.
#[derive(Clone, Default)]
pub struct AuthDataPacket(pub Vec<u8>);

impl std::fmt::Debug for AuthDataPacket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthDataPacket").finish_non_exhaustive()
    }
}

impl From<&[u8]> for AuthDataPacket {
    fn from(bytes: &[u8]) -> Self {
        AuthDataPacket(bytes.to_vec())
    }
}

/// The first byte of the request for the next authentication factor.
const NEXT_FACTOR: u8 = 0x02;
/// The longest name of a plugin.
const NAME: usize = 256;

impl AuthDataPacket {
    /// A server's request for another plugin's answer.
    pub fn switch(plugin: &[u8], data: &[u8]) -> AuthDataPacket {
        let mut payload = Vec::new();
        let packet = AuthSwitch {
            plugin: plugin.to_vec(),
            data: data.to_vec(),
            ..AuthSwitch::default()
        };
        packet.encode(Capabilities::empty(), &mut payload);
        AuthDataPacket(payload)
    }

    /// More data from a server for a plugin.
    pub fn more(data: &[u8]) -> AuthDataPacket {
        let mut payload = Vec::new();
        let packet = AuthMoreData {
            data: data.to_vec(),
        };
        packet.encode(Capabilities::empty(), &mut payload);
        AuthDataPacket(payload)
    }

    /// The plugin and its data, if the packet is a server's that names a plugin.
    pub fn named(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        if !matches!(self.0.first(), Some(&(AuthSwitch::HEADER | NEXT_FACTOR))) {
            return None;
        }
        // The request for the next factor has the same form.
        let mut payload = self.0.clone();
        if let Some(first) = payload.first_mut() {
            *first = AuthSwitch::HEADER;
        }
        let packet = AuthSwitch::decode(&payload, Capabilities::empty()).ok()?;
        Some((packet.plugin, packet.data))
    }

    /// A server's data for the plugin in use. MariaDB's servers leave the header out where the data
    /// cannot be mistaken for another packet.
    pub fn data(&self) -> &[u8] {
        match self.0.split_first() {
            Some((&AuthMoreData::HEADER, data)) => data,
            _ => &self.0,
        }
    }

    fn kind(&self) -> &'static str {
        match self.0.first() {
            Some(&AuthSwitch::HEADER) => "switch",
            Some(&AuthMoreData::HEADER) => "more",
            Some(&NEXT_FACTOR) => "factor",
            _ => "data",
        }
    }
}

impl PacketObject for AuthDataPacket {
    const NAME: &'static str = "authdata";

    fn accessors() -> Vec<Accessor<Self>> {
        vec![Accessor::bytes("data", PAYLOAD, |p| &p.0, |p, v| p.0 = v)]
    }

    fn methods(methods: &Methods<'_>) -> mlua::Result<()> {
        type This = Held<AuthDataPacket>;
        methods.add::<This>("kind", |lua, this, _| string(lua, this.0.borrow().kind()))?;
        methods.add::<This>("plugin", |lua, this, _| {
            let named = this.0.borrow().named();
            match named {
                Some((plugin, _)) => string(lua, plugin),
                None => nothing(),
            }
        })?;
        methods.add::<This>("plugin_data", |lua, this, _| {
            let packet = this.0.borrow().clone();
            match packet.named() {
                Some((_, data)) => string(lua, data),
                None => string(lua, packet.data()),
            }
        })?;
        methods.add::<This>("switch", |_, this, args| {
            let plugin = args.bytes(0, "plugin", NAME)?;
            if plugin.is_empty() || plugin.contains(&0) {
                return Err(args.error("plugin: expected a name without NUL"));
            }
            let data = args.bytes(1, "data", PAYLOAD - 1 - NAME)?;
            *this.0.borrow_mut() = AuthDataPacket::switch(&plugin, &data);
            nothing()
        })?;
        methods.add::<This>("more", |_, this, args| {
            let data = args.bytes(0, "data", PAYLOAD - 1)?;
            *this.0.borrow_mut() = AuthDataPacket::more(&data);
            nothing()
        })
    }
}

/// A new packet as a result.
pub fn object(lua: &Lua, packet: AuthDataPacket) -> Result<AnyUserData, ScriptError> {
    Ok(lua.create_userdata(Held::new(packet))?)
}

/// Such a packet at this place.
pub fn argument(args: &Args, index: usize) -> Option<AuthDataPacket> {
    let packet = args.object(index, "", "", |p: &Held<AuthDataPacket>| {
        p.0.borrow().clone()
    });
    packet.ok()
}

/// A packet as the only result.
pub fn answer(lua: &Lua, packet: AuthDataPacket) -> Answer {
    crate::script::lua::function::one(mlua::Value::UserData(object(lua, packet)?))
}
