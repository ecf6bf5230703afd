//! Encodes bytes as compressed frames.

use bytes::{BufMut, BytesMut};
use flate2::{FlushCompress, Status};

use super::{Algorithm, HEADER, MAX, Toolbox};
use crate::wire::Put;

/// Fewer bytes than this are not compressed (`MIN_COMPRESS_LENGTH` in the servers).
const MIN: usize = 50;

/// Encodes frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoder {
    algorithm: Algorithm,
    level: u8,
}

impl Encoder {
    /// An encoder of this level, or of the nearest one that there is.
    pub fn new(algorithm: Algorithm, level: u8) -> Self {
        Encoder {
            algorithm,
            level: level.clamp(1, algorithm.max_level()),
        }
    }

    /// Its level.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Appends one frame of this number with as much of `plain` as it can hold, and returns how
    /// much that is.
    pub fn frame(
        &self,
        toolbox: &mut Toolbox,
        number: u8,
        plain: &[u8],
        out: &mut BytesMut,
    ) -> usize {
        let plain = plain.get(..MAX).unwrap_or(plain);
        let start = out.len();
        out.put_u24_le(0);
        out.put_u8(number);
        out.put_u24_le(plain.len() as u32);
        let body = start + HEADER;
        let compressed = if plain.len() < MIN {
            None
        } else {
            // One byte less than `plain`, so that the compression fails unless it saves something.
            out.resize(body + plain.len() - 1, 0);
            out.get_mut(body..)
                .and_then(|room| self.compress(toolbox, plain, room))
        };
        let len = match compressed {
            Some(len) => {
                out.truncate(body + len);
                len
            }
            None => {
                out.truncate(body);
                out.put_slice(plain);
                if let Some(stored) = out.get_mut(start + 4..body) {
                    stored.fill(0);
                }
                plain.len()
            }
        };
        if let Some(header) = out.get_mut(start..start + 3)
            && let Some(bytes) = (len as u32).to_le_bytes().get(..3)
        {
            header.copy_from_slice(bytes);
        }
        plain.len()
    }

    /// Compresses `plain` into `room`; returns the compressed length, or `None` if it does not fit.
    fn compress(&self, toolbox: &mut Toolbox, plain: &[u8], room: &mut [u8]) -> Option<usize> {
        match self.algorithm {
            Algorithm::Zlib => {
                let deflater = toolbox.deflater(self.level)?;
                let status = deflater.compress(plain, room, FlushCompress::Finish).ok()?;
                (status == Status::StreamEnd)
                    .then(|| usize::try_from(deflater.total_out()).unwrap_or_default())
            }
            Algorithm::Zstd => {
                let level = i32::from(self.level);
                let len = toolbox.zstd()?.compress(room, plain, level).ok();
                toolbox.trim();
                len
            }
        }
    }
}
