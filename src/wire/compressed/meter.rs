//! A limit on the memory of all frames that are being decompressed.

use std::cell::Cell;
use std::rc::Rc;

use super::FrameError;

/// The most memory that all decompressors together may keep while they wait for more of their
/// frames.
///
/// A zstd frame announces how far back it refers, up to 16 MB, and that much memory is kept until
/// the frame ends: a peer could make the proxy allocate it with a few hundred bytes, and never send
/// the rest.
pub(super) const ROOM: usize = 512 << 20;

/// Smaller amounts are not counted: zlib's windows, and those of small frames.
pub(super) const SMALL: usize = 1 << 20;

/// Counts the memory; copies share one count.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Cell<usize>>);

/// The memory of one frame, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    meter: Meter,
    size: usize,
}

impl Meter {
    /// A share that holds nothing yet.
    pub(super) fn share(&self) -> Share {
        Share {
            meter: self.clone(),
            size: 0,
        }
    }
}

impl Share {
    /// Sets how much memory this share holds now.
    ///
    /// # Errors
    /// Together with all other shares that is too much.
    pub fn holds(&mut self, size: usize) -> Result<(), FrameError> {
        let size = if size > SMALL { size } else { 0 };
        let held = &self.meter.0;
        held.set(held.get().saturating_sub(self.size));
        self.size = 0;
        let room = ROOM.saturating_sub(held.get());
        if size > room {
            return Err(FrameError::NoRoom { size, room });
        }
        held.set(held.get() + size);
        self.size = size;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let held = &self.meter.0;
        held.set(held.get().saturating_sub(self.size));
    }
}
