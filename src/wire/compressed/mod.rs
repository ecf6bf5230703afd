//! Compressed framing: once a login that agreed on it is over, the stream of packets travels in
//! frames of its own. Three bytes of length, one of sequence, three of the length before
//! compression (0: stored uncompressed), then the data. A packet may begin and end anywhere in a
//! frame, and span several.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html>
//!
//! Without I/O: [`Encoder`] turns bytes into frames, [`Decoder`] frames into bytes, [`Numbers`]
//! has their sequence numbers, and [`Toolbox`] the compressors and decompressors, which are large
//! and shared by all connections.

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

/// How one leg (client to proxy, or proxy to server) is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Deflate, in zlib's wrapping.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl Algorithm {
    /// Both algorithms.
    pub const ALL: [Algorithm; 2] = [Algorithm::Zlib, Algorithm::Zstd];

    /// MySQL's name for the algorithm.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Zlib => "zlib",
            Algorithm::Zstd => "zstd",
        }
    }

    /// The capability flag that asks for the algorithm.
    pub const fn flag(self) -> Capabilities {
        match self {
            Algorithm::Zlib => Capabilities::COMPRESS,
            Algorithm::Zstd => Capabilities::ZSTD_COMPRESSION,
        }
    }

    /// The level where none is configured, as in the servers.
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

    /// The algorithm that both sides of a leg have agreed on. Servers take zlib if both flags are
    /// set.
    pub fn agreed(negotiated: Capabilities) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| negotiated.contains(algorithm.flag()))
    }
}

/// What is wrong with a compressed frame. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its sequence number is not the expected one.
    #[error("expected a compressed frame numbered {expected}, got one numbered {got}")]
    Sequence {
        /// The number it should have had.
        expected: u8,
        /// Its number.
        got: u8,
    },
    /// Its data is not what the algorithm produces.
    #[error("expected {} data in a compressed frame, got something else", .0.name())]
    Corrupt(Algorithm),
    /// It inflates to more than its header says.
    #[error("expected a compressed frame to inflate to {0} bytes, got more")]
    TooMuch(usize),
    /// It inflates to less than its header says.
    #[error("expected a compressed frame to inflate to {expected} bytes, got {got}")]
    TooLittle {
        /// The length that the header announces.
        expected: usize,
        /// The length it inflates to.
        got: usize,
    },
    /// It is empty. Neither clients nor servers send such frames, and a stream of them would only
    /// waste time.
    #[error("expected a compressed frame with something in it, got an empty one")]
    Empty,
    /// Bytes follow the end of the compressed data.
    #[error("expected nothing behind the data of a compressed frame, got {0} bytes")]
    Trailing(usize),
    /// Together with all other frames that are being decoded, it takes too much memory.
    #[error("expected room for a compressed frame's {size} bytes of memory, got {room}")]
    NoRoom {
        /// The memory it takes.
        size: usize,
        /// The memory that is left for it.
        room: usize,
    },
}

#[cfg(test)]
mod tests;
