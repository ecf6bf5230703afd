//! One client leaves a state with what that knows of it as a string, and comes to another.

use std::rc::Rc;

use mlua::{AnyUserData, Lua, Value};

use crate::proxy::{ConnId, ConnInfo, Packed};
use crate::script::Script;
use crate::script::hooks::{left, link, release};

/// Why a client stays whose script has no functions for moves.
const NO_FUNCTIONS: &str = "its script does not know how to move clients";

impl Script {
    /// What the script knows of a client, for another state that goes on with it. The client is to rest.
    pub fn pack(&self, client: ConnId) -> Packed {
        let (runtime, lua) = (&self.runtime, &self.lua);
        let Some(moving) = runtime.moving.borrow().clone() else {
            return Packed::Stays(NO_FUNCTIONS.to_owned());
        };
        let Some(object) = runtime.object(client) else {
            return Packed::Stays("its script has lost it".to_owned());
        };
        // What waits for an answer on one of the two is not to lose it.
        let is_taken = |id| runtime.entry(id, |entry| entry.package.is_some()) == Some(true);
        if is_taken(client) || runtime.proxy().peer(client).is_some_and(is_taken) {
            return Packed::NotNow;
        }
        let call = || moving.pack.call::<(Option<mlua::LuaString>, Value)>(object);
        match runtime.evaluate(call) {
            Ok((Some(text), _)) => Packed::Text(text.as_bytes().to_vec()),
            Ok((None, Value::Nil)) => Packed::NotNow,
            Ok((None, why)) => Packed::Stays(shown(lua, &why)),
            Err(error) => {
                log::error!("client {}: it cannot be packed: {error}", client.serial());
                runtime.count_error();
                Packed::Stays(
                    "an error while it was to leave its startfile; the log has it".to_owned(),
                )
            }
        }
    }

    /// Whether the script can take in a client of this listener just now. It is asked before the client is packed.
    pub fn is_ready(&self, listener: ConnId) -> bool {
        let ready = self
            .runtime
            .moving
            .borrow()
            .as_ref()
            .and_then(|moving| moving.ready.clone());
        let Some((ready, listener)) = ready.zip(self.runtime.object(listener)) else {
            return true;
        };
        let answer = self.runtime.evaluate(|| ready.call::<Value>(listener));
        answer.unwrap_or_else(|error| {
            log::error!("it cannot be told whether clients may move: {error}");
            self.runtime.count_error();
            Value::Boolean(true)
        }) != Value::Boolean(false)
    }

    /// Goes on with a client, and the server that it is linked to, if any, which another state has [packed](Self::pack).
    /// Both are logged in, and known to the proxy as this script's.
    ///
    /// # Errors
    /// Why the script cannot. It has forgotten the two again.
    pub fn adopt(
        &self,
        listener: ConnId,
        client: &Rc<ConnInfo>,
        server: Option<&Rc<ConnInfo>>,
        text: &[u8],
    ) -> Result<(), String> {
        let adopted = self.take_in(listener, client, server, text);
        if adopted.is_err() {
            for info in [Some(client), server].into_iter().flatten() {
                release(&self.runtime, &self.lua, info.id);
                self.runtime.forget(info.id);
            }
        }
        adopted
    }

    fn take_in(
        &self,
        listener: ConnId,
        client: &Rc<ConnInfo>,
        server: Option<&Rc<ConnInfo>>,
        text: &[u8],
    ) -> Result<(), String> {
        let (runtime, lua) = (&self.runtime, &self.lua);
        let moving = runtime.moving.borrow().clone();
        let moving = moving.ok_or("the new startfile does not know how to take clients in")?;
        let listener = runtime.object(listener);
        let listener = listener.ok_or("the new startfile has lost its listener")?;
        let failed = |error: mlua::Error| error.to_string();
        let object = runtime.adopt(lua, client.clone()).map_err(failed)?;
        let peer = server.map(|info| runtime.adopt(lua, info.clone()));
        let peer: Option<AnyUserData> = peer.transpose().map_err(failed)?;
        if let Some(server) = server {
            link(runtime, lua, client.id, server.id);
        }
        let text = lua.create_string(text).map_err(failed)?;
        let call = || {
            let args = (listener, object, peer, text);
            moving.adopt.call::<(Value, Value)>(args)
        };
        match runtime.evaluate(call) {
            Ok((Value::Boolean(true), _)) => {}
            Ok((_, why)) => return Err(shown(lua, &why)),
            Err(error) => {
                log::error!(
                    "client {}: it cannot be taken in: {error}",
                    client.id.serial()
                );
                runtime.count_error();
                return Err(
                    "an error in the new startfile when it was to take it in; the log has it"
                        .to_owned(),
                );
            }
        }
        // Also if nothing was registered: what was armed before is the other state's.
        for info in [Some(client), server].into_iter().flatten() {
            runtime.rearm(info.id);
        }
        Ok(())
    }

    /// A client has left for another state, with its server. It looks as if both had closed, but their `MY_CLOSING` does
    /// not fire, as the client has not gone.
    pub fn let_go(&self, client: ConnId, server: Option<ConnId>) {
        for id in [Some(client), server].into_iter().flatten() {
            left(&self.runtime, &self.lua, id);
        }
    }
}

fn shown(lua: &Lua, why: &Value) -> String {
    let text = lua.coerce_string(why.clone()).ok().flatten();
    text.map_or_else(
        || "for no reason that its script has given".to_owned(),
        |text| text.to_string_lossy(),
    )
}
