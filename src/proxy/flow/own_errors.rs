//! The proxy's own ERR packets, and when a client gets one.

use super::deliver::{Delivered, Leaving, Part};
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;
use crate::proxy::table::conn::{Conn, Role};
use crate::proxy::table::core::Core;
use crate::session::PacketKind;
use crate::wire::{Capabilities, ErrPacket};

impl Proxy {
    /// Sends an ERR of the proxy's own to a client, if it can take one now.
    pub(crate) fn put_error(&self, client: ConnId, err: &ErrPacket) {
        let delivered = self.core().put_error(client, err);
        if let Ok(delivered) = delivered {
            if delivered.refused {
                self.close_for(client, &String::from_utf8_lossy(&err.message));
            } else {
                self.fire_all(client, delivered.events);
            }
        }
    }

    /// Sends a client an ERR that answers no command, as servers do before they close an idle
    /// connection, and closes it.
    pub fn close_telling(&self, client: ConnId, err: &ErrPacket, reason: &str) {
        let mut payload = Vec::new();
        {
            let mut core = self.core();
            let Some(conn) = core.open(client) else {
                return;
            };
            err.encode(
                conn.capabilities() | Capabilities::PROTOCOL_41,
                &mut payload,
            );
            if let Err(why) = core.deliver(client, Leaving::new(Part::Unsolicited, &payload)) {
                log::debug!("connection {}: not told of its end: {why}", client.serial);
            }
        }
        self.close_for(client, reason);
    }

    /// Answers a client's pending command with an ERR. A client that has sent more commands
    /// meanwhile is then closed.
    pub(crate) fn fail_pending(&self, client: ConnId, err: &ErrPacket, reason: &str) {
        self.put_error(client, err);
        let owed = {
            let core = self.core();
            core.open(client).is_some_and(|conn| match &conn.role {
                Role::Client(session) => conn.peer.is_none() && session.outstanding() > 0,
                _ => false,
            })
        };
        if owed {
            self.close_for(client, reason);
        }
    }

    /// A callback on this connection failed: its packet must not be forwarded unchecked.
    pub(crate) fn callback_failed(&self, id: ConnId) {
        let reason = "a callback failed (the log says which)";
        let answered = {
            let mut core = self.core();
            let client = match core.open(id).map(|conn| &conn.role) {
                Some(Role::Client(_)) => Some(id),
                Some(Role::Server(_)) => core.peer(id),
                _ => None,
            };
            client.filter(|client| {
                core.open_mut(*client)
                    .and_then(|conn| conn.client())
                    .is_some_and(|session| {
                        session.authenticated() && session.response().is_some_and(|r| !r.started())
                    })
            })
        };
        let Some(client) = answered else {
            let peer = self.core().peer(id);
            self.close_for(id, reason);
            if let Some(peer) = peer {
                self.close_for(peer, reason);
            }
            return;
        };
        {
            // The rest of the server's answer is dropped.
            let mut core = self.core();
            if let Some(server) = core.peer(client) {
                core.discard_responses(server, 1);
            }
        }
        let message = "A callback of the proxy's script failed; its log says which";
        self.put_error(client, &ErrPacket::new(1105, b"HY000", message.into()));
    }

    /// The far end broke the protocol.
    pub(crate) fn broken(&self, id: ConnId, reason: &str) {
        let address = {
            let mut core = self.core();
            core.stats.protocol_errors += 1;
            core.open(id).map(|conn| conn.info.address().to_string())
        };
        if let Some(address) = address {
            log::warn!("connection {} ({address}): {reason}", id.serial);
            self.close_for(id, reason);
        }
    }
}

impl Core {
    /// Queues an ERR of the proxy's own on a client's connection.
    pub fn put_error(&mut self, id: ConnId, err: &ErrPacket) -> Result<Delivered, String> {
        let is_client = |conn: &&Conn| matches!(conn.role, Role::Client(_));
        let Some(conn) = self.open(id).filter(is_client) else {
            return Ok(Delivered::default());
        };
        let mut payload = Vec::new();
        let capabilities = conn.capabilities() | Capabilities::PROTOCOL_41;
        err.encode(capabilities, &mut payload);
        let packet = Leaving::new(Part::Own(PacketKind::Err), &payload);
        self.deliver(id, packet)
    }
}

pub(crate) fn error_text(payload: &[u8]) -> String {
    match ErrPacket::decode(payload, Capabilities::PROTOCOL_41) {
        Ok(err) => format!("{} {}", err.errnum, String::from_utf8_lossy(&err.message)),
        Err(error) => error.to_string(),
    }
}
