//! Errors of the pool's own.

use crate::proxy::{ConnId, Packet, Proxy};
use crate::wire::ErrPacket;

/// Refuses a client's command for want of a connection.
pub(super) fn refuse(proxy: &Proxy, client: ConnId, message: &str) {
    let err = ErrPacket::new(1040, b"08004", message.to_string());
    // It fails if the client is gone.
    let _ = proxy.send(client, Packet::Err(&err));
}
