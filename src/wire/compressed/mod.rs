//! Compressed framing: once a login that agreed on it is over, the stream of packets travels in
//! frames of its own. Three bytes of length, one of sequence, three of the length before
//! compression (0: stored as it is), then the bytes. Frames cut packets anywhere.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>
//!
//! Without I/O: [`Encoder`] turns bytes into frames, [`Decoder`] frames into bytes, [`Numbers`]
//! knows how they are numbered, and [`Toolbox`] has the engines, which are large and shared by all
//! connections.

mod decoder;
mod encoder;
mod meter;
mod numbers;
mod toolbox;

pub use decoder::{Decoded, Decoder};
pub use encoder::Encoder;
pub use meter::Meter;
pub use numbers::Numbers;
pub use toolbox::Toolbox;

use super::Capabilities;

/// The size of a compressed frame's header.
pub const HEADER: usize = 7;

/// The most that a frame can carry, compressed or not: its lengths have three bytes.
pub const MAX: usize = 0xFF_FFFF;

/// How a leg is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Deflate, in zlib's wrapping.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd];

    /// What MySQL calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Zlib => "zlib",
            Algorithm::Zstd => "zstd",
        }
    }

    /// The flag that asks for it.
    pub const fn flag(self) -> Capabilities {
        match self {
            Algorithm::Zlib => Capabilities::COMPRESS,
            Algorithm::Zstd => Capabilities::ZSTD_COMPRESSION,
        }
    }

    /// What is used where the level is not said, as in the servers.
    pub const fn default_level(self) -> u8 {
        match self {
            Algorithm::Zlib => 6,
            Algorithm::Zstd => 3,
        }
    }

    /// The highest level.
    pub const fn max_level(self) -> u8 {
        match self {
            Algorithm::Zlib => 9,
            Algorithm::Zstd => 22,
        }
    }

    /// What both sides of a leg have agreed on. The servers take zlib if both flags are set.
    pub fn agreed(negotiated: Capabilities) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| negotiated.contains(algorithm.flag()))
    }
}

/// What is wrong with a compressed frame. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is not its turn.
    #[error("expected a compressed frame numbered {expected}, got one numbered {got}")]
    Sequence {
        /// Its number should have been this.
        expected: u8,
        /// Its number.
        got: u8,
    },
    /// It is not what its algorithm makes.
    #[error("expected {} data in a compressed frame, got something else", .0.name())]
    Corrupt(Algorithm),
    /// More came out than it said.
    #[error("expected a compressed frame to inflate to {0} bytes, got more")]
    TooMuch(usize),
    /// Less came out than it said.
    #[error("expected a compressed frame to inflate to {expected} bytes, got {got}")]
    TooLittle {
        /// So many should have come.
        expected: usize,
        /// So many came.
        got: usize,
    },
    /// There is nothing in it. Neither clients nor servers send such, and a stream of them is work
    /// for nothing.
    #[error("expected a compressed frame with something in it, got an empty one")]
    Empty,
    /// Something follows the compressed data.
    #[error("expected nothing behind the data of a compressed frame, got {0} bytes")]
    Trailing(usize),
    /// All frames that are under way hold too much.
    #[error("expected room for a compressed frame's {size} bytes of memory, got {room}")]
    NoRoom {
        /// It holds so much.
        size: usize,
        /// It may hold so much.
        room: usize,
    },
}

#[cfg(test)]
mod tests;
