//! How many bytes all connections hold together: of packets that are not complete, of commands that
//! wait, and of queues.
//!
//! Each connection is limited by `max_packet` and `max_queue`, but there may be very many. Beyond
//! `max_buffered` the connection that holds most is closed, whoever came last.

use super::conn::{Conn, Life, Socket};
use super::core::Core;
use crate::proxy::Proxy;
use crate::proxy::id::ConnId;

/// No login needs more than this. Who holds more before its login is over is closed first.
const LOGIN: u32 = 4 << 10;

impl Conn {
    /// How many bytes it holds.
    fn held(&self) -> usize {
        let header = self.login.as_ref().and_then(|login| login.header.as_ref());
        let channel = match &self.socket {
            Socket::Open(channel) => channel.buffered(),
            _ => 0,
        };
        self.read.input.len() + self.pending() + header.map_or(0, Vec::len) + channel
    }
}

impl Core {
    /// Counts what the connection holds now.
    pub fn account(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id.slot()).filter(|c| c.id() == id) else {
            return;
        };
        let held = u32::try_from(conn.held()).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut conn.write.accounted, held);
        self.stats.buffered = (self.stats.buffered + u64::from(held)) - u64::from(before);
    }

    fn holds_too_much(&self) -> bool {
        self.stats.buffered > self.defaults.max_buffered as u64
    }

    /// The connection to be closed next, and how much it holds.
    fn largest_holder(&self) -> Option<(ConnId, u32)> {
        let conns = self.conns.iter().map(|(_, conn)| conn);
        let conns = conns.filter(|conn| conn.life != Life::Over);
        let largest = conns.max_by_key(|conn| {
            let uninvited = !conn.logged_in() && conn.write.accounted > LOGIN;
            (uninvited, conn.write.accounted)
        })?;
        (largest.write.accounted > 0).then_some((largest.id(), largest.write.accounted))
    }

    /// Drops all that a closing connection holds: not even its queue is flushed.
    fn drop_held(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            conn.drop_buffers();
        }
        self.account(id);
        self.finish(id);
    }
}

impl Proxy {
    /// Closes connections until no more is held than may be.
    pub(crate) fn relieve(&self) {
        loop {
            let largest = {
                let core = self.core();
                if !core.holds_too_much() {
                    return;
                }
                core.largest_holder()
            };
            let Some((id, held)) = largest else {
                return;
            };
            let reason = format!(
                "all connections together hold more than max_buffered, and of them this one holds most ({held} bytes)"
            );
            log::warn!("connection {}: {reason}", id.serial);
            self.close_for(id, &reason);
            let mut core = self.core();
            core.stats.closed_for_memory += 1;
            core.drop_held(id);
        }
    }
}
