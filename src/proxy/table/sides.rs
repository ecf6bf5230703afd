//! The two directions of a connection: reading from it, and writing to it.

use std::io;

use bitflags::bitflags;
use bytes::BytesMut;

use crate::proxy::id::ConnId;
use crate::session::{Event, PacketKind};

bitflags! {
    /// The reasons why a connection is not read.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Stopped: u8 {
        /// A script.
        const PAUSED = 1;
        /// Its peer, whose queue is full.
        const THROTTLED = 2;
        /// A listener whose time is yet to come.
        const NOT_YET = 4;
    }
}

/// What is known of the far end, in the order in which it can only get worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FarEnd {
    /// It may send more.
    Open,
    /// It will send nothing more, but what it has sent has not all been read.
    HungUp,
    /// The same, and all has been read. It may still be there to read what is sent to it.
    Ended,
    /// Its socket failed: it takes nothing any more.
    Gone,
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct ReadSide {
    pub input: Input,
    /// The packet in transit from here.
    pub streaming: Option<Streaming>,
    /// The socket may have something to read.
    pub readable: bool,
    pub far_end: FarEnd,
    pub stopped: Stopped,
    /// Compression has just begun: bytes that were read before and are in the loop's buffer are
    /// compressed, too.
    pub just_compressed: bool,
    /// How many of a server's responses, from the current one on, are to be dropped.
    pub discard: u16,
    /// The number of a binlog stream's next packet, unless the server restarts the numbering.
    pub stream_seq: u8,
}

impl ReadSide {
    pub fn new() -> ReadSide {
        ReadSide {
            input: Input::default(),
            streaming: None,
            readable: false,
            far_end: FarEnd::Open,
            stopped: Stopped::empty(),
            just_compressed: false,
            discard: 0,
            stream_seq: 0,
        }
    }

    /// Notes what has become of the far end.
    pub fn far_end_is(&mut self, far_end: FarEnd) {
        self.far_end = self.far_end.max(far_end);
    }

    /// Whether the far end sends nothing more, and what it has sent is not enough for another
    /// packet.
    pub fn exhausted(&self) -> bool {
        self.far_end >= FarEnd::Ended && !self.input.suffices()
    }
}

/// Bytes that were read, but not processed yet. A connection that has none owns no memory for them.
#[derive(Debug, Default)]
pub(crate) struct Input(Option<Box<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    bytes: BytesMut,
    need: usize,
}

impl Input {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |gathered| &gathered.bytes)
    }

    /// How many bytes are needed to process the packet at the front.
    pub fn need(&self) -> usize {
        self.0.as_ref().map_or(0, |gathered| gathered.need)
    }

    /// Whether there are bytes, and as many as are needed.
    pub fn suffices(&self) -> bool {
        !self.is_empty() && self.len() >= self.need()
    }

    /// Takes all of it out.
    pub fn take(&mut self) -> BytesMut {
        self.0.take().map_or_else(BytesMut::new, |it| it.bytes)
    }

    /// Replaces the bytes.
    pub fn put(&mut self, bytes: BytesMut, need: usize) {
        self.0 = (!bytes.is_empty()).then(|| Box::new(Gathered { bytes, need }));
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let gathered = self.0.get_or_insert_default();
            gathered.bytes.extend_from_slice(bytes);
        }
    }

    /// Prepends bytes; usually there are none yet.
    pub fn push_front(&mut self, front: &[u8], need: usize) {
        if front.is_empty() {
            return;
        }
        let behind = self.take();
        let mut bytes = BytesMut::from(front);
        bytes.extend_from_slice(&behind);
        self.put(bytes, need);
    }
}

/// A packet that is being forwarded before it is complete.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// Its receiver; `None`: it is dropped.
    pub to: Option<ConnId>,
    /// Bytes left of the present frame.
    pub left: u32,
    /// Whether another frame follows this one.
    pub split: bool,
    /// The number of the present frame.
    pub last_seq: u8,
    pub kind: PacketKind,
    /// The state that the receiver is in when the packet is complete, which fires then.
    pub state: Option<Event>,
    /// The packet ends the receiving client's exchange.
    pub done: bool,
    /// False for a command without an answer.
    pub answered: bool,
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct WriteSide {
    /// Bytes to be written.
    pub output: BytesMut,
    /// The packet in transit to this connection.
    pub inbound: Option<Box<Inbound>>,
    /// Why writing failed, if it did; bytes from the far end may still have to be read.
    pub broken: Option<io::Error>,
    /// The socket may take something.
    pub writable: bool,
    /// Above the high-water mark, and not yet below the low one again.
    pub flooded: bool,
    /// How many bytes the connection held, in both directions, when that was last counted. (It is
    /// here because there is room.)
    pub accounted: u32,
}

impl WriteSide {
    pub fn new() -> WriteSide {
        WriteSide {
            output: BytesMut::new(),
            inbound: None,
            broken: None,
            writable: false,
            flooded: false,
            accounted: 0,
        }
    }

    /// The connection that has a packet in transit to this one.
    pub fn source(&self) -> Option<ConnId> {
        self.inbound.as_ref().map(|inbound| inbound.from)
    }

    /// Whether another connection has a packet in transit to this one, so that a packet has to
    /// wait.
    pub fn is_taken_from(&self, id: ConnId) -> bool {
        self.source().is_some_and(|from| from != id)
    }
}

/// A packet of another connection in transit to this one.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub from: ConnId,
    /// Packets that were wired meanwhile, and wait for it to be complete.
    pub deferred: Vec<Deferred>,
}

/// A packet that waits until another packet in transit to the same connection is complete.
pub(crate) struct Deferred {
    pub payload: Vec<u8>,
    pub numbering: Numbering,
}

impl std::fmt::Debug for Deferred {
    /// Without the payload, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deferred")
            .field("numbering", &self.numbering)
            .finish_non_exhaustive()
    }
}

/// How a packet's frames are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// The numbers continue.
    GoesOn,
    /// They begin at 0: a command.
    Restarts,
    /// The numbers continue, and the packet ends an exchange: the next one belongs to the next
    /// exchange.
    Ends,
    /// They begin here.
    From(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_takes_no_memory() {
        let mut input = Input::default();
        input.push(b"");
        input.put(BytesMut::new(), 4);
        assert!(input.is_empty() && input.need() == 0);
        input.push(b"cd");
        input.push_front(b"ab", 9);
        assert_eq!((input.bytes(), input.need()), (&b"abcd"[..], 9));
        assert_eq!(&input.take()[..], b"abcd");
        assert!(input.is_empty());
    }
}
