//! Buffers of queues that have been written, for the queues that begin next: an idle connection holds no buffer, and a
//! busy one does not have memory allocated for each packet.

use bytes::BytesMut;

/// Enough for the connections of which something is queued at the same time, in most ticks.
const MAX_BUFFERS: usize = 64;

/// Larger buffers are freed: they come from results whose readers were slow.
const MAX_CAPACITY: usize = 16 << 10;

/// Empty buffers.
#[derive(Debug, Default)]
pub struct SpareBuffers(Vec<BytesMut>);

impl SpareBuffers {
    /// Keeps the buffer of a queue that is empty now.
    pub fn keep(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        let is_kept = self.0.len() < MAX_BUFFERS;
        // Of a buffer that was written in parts, only the rest's capacity shows.
        if is_kept && buffer.try_reclaim(1) && buffer.capacity() <= MAX_CAPACITY {
            self.0.push(buffer);
        }
    }

    /// A buffer for a queue that begins.
    pub fn take(&mut self) -> Option<BytesMut> {
        self.0.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut spare = SpareBuffers::default();
        let mut buffer = BytesMut::from(&[1; 100][..]);
        bytes::Buf::advance(&mut buffer, 100);
        spare.keep(buffer);
        let buffer = spare.take().unwrap();
        assert!(buffer.is_empty() && buffer.capacity() >= 100);
        assert!(spare.take().is_none());
    }

    #[test]
    fn few_and_small_ones_are_kept() {
        let mut spare = SpareBuffers::default();
        spare.keep(BytesMut::new());
        spare.keep(BytesMut::with_capacity(MAX_CAPACITY + 1));
        assert!(spare.take().is_none());
        for _ in 0..=MAX_BUFFERS {
            spare.keep(BytesMut::with_capacity(10));
        }
        assert_eq!(std::iter::from_fn(|| spare.take()).count(), MAX_BUFFERS);
    }
}
