//! What frames under way may hold, all together.

use std::cell::Cell;
use std::rc::Rc;

use super::FrameError;

/// What engines may hold between two pieces of their frames, all together.
///
/// A frame of zstd says how far back it refers, up to 16 MB, which are held until it ends: a few
/// hundred bytes of it can take them, and then the rest never comes.
pub(super) const ROOM: usize = 512 << 20;

/// Less than this is not looked at: zlib's windows, and those of frames that are not large.
pub(super) const SMALL: usize = 1 << 20;

/// Knows how much is held.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Cell<usize>>);

/// What one frame holds of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    meter: Meter,
    size: usize,
}

impl Meter {
    /// Nothing yet.
    pub(super) fn share(&self) -> Share {
        Share {
            meter: self.clone(),
            size: 0,
        }
    }
}

impl Share {
    /// It holds so much now.
    ///
    /// # Errors
    /// That is too much, with all the others.
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
