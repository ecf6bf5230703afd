//! Errors of the pool's own.

use super::Pools;
use crate::pool::judging::decision::refuses;
use crate::pool::judging::reason::Reason;
use crate::proxy::{ConnId, Incoming, Packet, Proxy};
use crate::sql::Mode;
use crate::wire::{Com, ErrPacket};

/// Refuses a client's command for want of a connection.
pub(super) fn refuse(proxy: &Proxy, client: ConnId, message: &str) {
    let err = ErrPacket::new(1040, b"08004", message.to_string());
    // It fails if the client is gone.
    let _ = proxy.send(client, Packet::Err(&err));
}

impl Pools {
    /// Refuses a statement that asks for what the pool was told that nobody asks for. False if there is no
    /// reason to.
    pub(super) fn refuses(&self, proxy: &Proxy, client: ConnId, packet: Incoming<'_>) -> bool {
        let argument = match packet.command() {
            Some(Com::QUERY) => packet.sql(),
            Some(Com::STMT_PREPARE) => packet.payload.get(1..),
            _ => None,
        };
        let Some(sql) = argument else {
            return false;
        };
        let reason = self.with_client(client, |client, pool| {
            // In no mode is it another function.
            let reason = refuses(sql, Mode::default(), pool.policy)?;
            pool.has_refused(reason, sql, &client.user);
            Some(reason)
        });
        match reason.flatten() {
            Some(reason) => {
                refuse_for(proxy, client, reason);
                true
            }
            None => false,
        }
    }
}

/// Refuses a client's statement.
fn refuse_for(proxy: &Proxy, client: ConnId, reason: Reason) {
    let message = format!("{}: {}", reason.name(), reason.advice());
    let err = ErrPacket::new(1105, b"HY000", message);
    let _ = proxy.send(client, Packet::Err(&err));
}
