//! Where compression begins on a connection.

use crate::proxy::id::ConnId;
use crate::proxy::table::channel::Turn;
use crate::proxy::table::conn::{Conn, Role, Socket};
use crate::proxy::table::core::Core;
use crate::wire::compressed::{Algorithm, Decoder, Encoder, Numbers};

/// The highest level of zstd that a client can ask for: level 22 takes 30 times as long, and all
/// connections wait meanwhile. (In a server only the client's own thread does.)
const ASKED_LEVEL: u8 = 6;

impl Core {
    /// The login is over: what follows on this connection is compressed, if that was agreed on.
    pub fn compress(&mut self, id: ConnId) {
        let Some(conn) = self.open(id) else {
            return;
        };
        let Some(algorithm) = Algorithm::agreed(conn.capabilities()) else {
            return;
        };
        let level = conn.level_of(algorithm);
        self.compress_at(id, algorithm, level);
    }

    /// What follows on this connection is compressed, at this level.
    pub fn compress_at(&mut self, id: ConnId, algorithm: Algorithm, level: u8) {
        let workshop = self.workshop.clone();
        let Some(conn) = self.open_mut(id) else {
            return;
        };
        let encoder = Encoder::new(algorithm, level);
        let (numbers, meter) = match conn.role {
            Role::Server(_) => (Numbers::towards_server(), workshop.borrow().servers.clone()),
            _ => (Numbers::towards_client(), workshop.borrow().clients.clone()),
        };
        let decoder = Decoder::metered(algorithm, meter);
        let behind = conn.read.input.take();
        if let Socket::Open(channel) = &mut conn.socket {
            channel.compress(encoder, decoder, numbers, behind, &workshop);
            conn.info.compression.set(Some(algorithm));
            conn.read.just_compressed = true;
            conn.read.readable = true;
            conn.put_turn(Turn::Begins);
        }
    }
}

impl Conn {
    /// The level at which it is to be compressed.
    fn level_of(&self, algorithm: Algorithm) -> u8 {
        let options = self.options.compression.as_ref();
        // The client's level, as in servers, but limited unless the listener sets one.
        let asked = self.login.as_ref().and_then(|login| login.zstd_level);
        let asked = asked.filter(|_| algorithm == Algorithm::Zstd);
        let asked = asked.map(|level| level.min(ASKED_LEVEL));
        let level = options.and_then(|options| options.level).or(asked);
        level.unwrap_or(algorithm.default_level())
    }
}
