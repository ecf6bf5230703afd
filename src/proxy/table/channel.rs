//! The layer between a connection and its socket: nothing, or compression.
//!
//! A [`Channel`] follows the same rules as a [`Stream`]: bytes that it took may still be buffered,
//! and a read may return more although the socket has nothing. Without compression it is only its
//! stream.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::{Buf, BytesMut};

use crate::net::Stream;
use crate::wire::compressed::{Decoded, Decoder, Encoder, FrameError, Meter, Numbers, Toolbox};

/// The most that is put into one frame. Larger ones save little, and are only read as a whole.
const FRAME: usize = 128 << 10;

/// How much is read from a socket at once.
const READ: usize = 64 << 10;

/// How often one call of `read` reads the socket: a peer may send frames without data, and must not
/// keep the loop busy with them.
const READS: usize = 4;

/// How much of a connection's queue is compressed in one pass of the loop. At the levels that
/// clients may ask for that takes some 10 ms.
const ALLOWANCE: usize = 2 * FRAME;

/// What all compressed channels of the loop share, since each needs it only while it is coding.
#[derive(Default)]
pub(crate) struct Workshop {
    toolbox: Toolbox,
    scratch: Vec<u8>,
    /// The memory of clients' frames and that of servers' frames, counted separately so that
    /// clients cannot use up the servers'.
    pub clients: Meter,
    pub servers: Meter,
}

/// A pipe.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The stream below.
    pub stream: Stream,
    compression: Option<Box<Compression>>,
}

/// What the frames that are sent from here on carry, which decides their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first compressed frames.
    Begins,
    /// A command to a server.
    Command {
        /// Whether it will be answered.
        answered: bool,
    },
    /// The continuation of the exchange that a server is answering.
    More,
    /// A new numbering, from this number.
    Anew(u8),
}

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The continuation of what came before.
    More,
    /// A command.
    Command,
    /// A replica's acknowledgement, which has its own numbering.
    Acknowledgement,
}

struct Compression {
    workshop: Rc<RefCell<Workshop>>,
    decoder: Decoder,
    encoder: Encoder,
    numbers: Numbers,
    /// Whether what is written is compressed; bytes that were queued before have left.
    writes: bool,
    /// Frames that were read, but not decoded yet.
    raw: BytesMut,
    /// Bytes that wait to be put into a frame.
    plain: BytesMut,
    /// Frames that the stream has not taken yet.
    frames: BytesMut,
    /// The pass of the loop in which it was last written, and how much was written in that pass.
    written: (u64, usize),
    turns: Turns,
}

/// The positions in the written bytes at which the frames' numbering changes.
#[derive(Default)]
struct Turns {
    /// How many bytes have been written.
    written: u64,
    /// Changes still to come: after how many bytes, and to which numbering.
    queue: VecDeque<(u64, Turn)>,
    /// The last of these.
    last: Option<Turn>,
}

/// Without contents, which may be passwords.
impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression")
            .field("encoder", &self.encoder)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// A channel without compression.
    pub fn new(stream: Stream) -> Self {
        Channel {
            stream,
            compression: None,
        }
    }

    /// Whether what is read is compressed. (Uncompressed bytes may still be waiting to be written.)
    pub fn compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// What is read from here on is compressed, beginning with `behind`, which was read already.
    /// What is written is compressed from [`Turn::Begins`] on.
    pub fn compress(
        &mut self,
        encoder: Encoder,
        decoder: Decoder,
        numbers: Numbers,
        behind: BytesMut,
        workshop: &Rc<RefCell<Workshop>>,
    ) {
        self.compression = Some(Box::new(Compression {
            workshop: workshop.clone(),
            decoder,
            encoder,
            numbers,
            writes: false,
            raw: behind,
            plain: BytesMut::new(),
            frames: BytesMut::new(),
            written: (0, 0),
            turns: Turns::default(),
        }));
    }

    /// The level of its compression, if nothing is on its way in either direction; without compression 0.
    pub fn level_at_rest(&self) -> Option<u8> {
        let Some(compression) = self.compression.as_deref() else {
            return Some(0);
        };
        let turns = &mut compression.turns.queue.iter();
        let is_at_rest = compression.raw.is_empty()
            && compression.plain.is_empty()
            && compression.frames.is_empty()
            && turns.all(|(_, turn)| *turn == Turn::Begins)
            && compression.decoder.between_frames();
        is_at_rest.then(|| compression.encoder.level())
    }

    /// Puts back bytes that were read before it was known that they are compressed.
    pub fn unread(&mut self, bytes: &[u8]) {
        if let Some(compression) = &mut self.compression {
            let mut raw = BytesMut::from(bytes);
            raw.extend_from_slice(&compression.raw);
            compression.raw = raw;
        }
    }

    /// Sets what is expected next from a client.
    pub fn expect(&mut self, expect: Expect) {
        let Some(compression) = &mut self.compression else {
            return;
        };
        if compression.decoder.inside_frame() {
            return;
        }
        match expect {
            Expect::More => {}
            Expect::Command => compression.numbers.await_command(),
            Expect::Acknowledgement => compression.numbers.await_acknowledgement(),
        }
    }

    /// The error about a frame that has arrived with another number than expected.
    fn out_of_turn(&self) -> Option<FrameError> {
        let compression = self.compression.as_ref()?;
        Some(FrameError::Sequence {
            expected: compression.numbers.expected(),
            got: compression.decoder.next_number()?,
        })
    }

    /// Reads. `patient`: a frame whose number is not the expected one is kept for later, and
    /// nothing after it is read.
    pub fn read(&mut self, space: &mut [u8], patient: bool) -> io::Result<usize> {
        let Some(compression) = &mut self.compression else {
            return self.stream.read(space);
        };
        match compression.read(&mut self.stream, space)? {
            Some(n) => Ok(n),
            None if patient => Err(io::ErrorKind::WouldBlock.into()),
            None => match self.out_of_turn() {
                Some(error) => Err(invalid(error)),
                None => Err(io::ErrorKind::InvalidData.into()),
            },
        }
    }

    /// Whether it keeps such a frame, so that `WouldBlock` does not mean that the socket is empty.
    pub fn holds_back(&self) -> bool {
        self.out_of_turn().is_some()
    }

    /// See [`Stream::short_read_is_all`].
    pub fn short_read_is_all(&self) -> bool {
        self.compression.is_none() && self.stream.short_read_is_all()
    }

    /// How much may still be written in this pass of the loop.
    pub fn allowance(&mut self, pass: u64) -> usize {
        let Some(compression) = self.compression.as_mut().filter(|it| it.writes) else {
            return usize::MAX;
        };
        if compression.written.0 != pass {
            compression.written = (pass, 0);
        }
        ALLOWANCE.saturating_sub(compression.written.1)
    }

    /// Writes. See [`Stream`] for what that means.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(compression) = &mut self.compression else {
            return self.stream.write(bytes);
        };
        let received = match compression.writes {
            true => compression.write(&mut self.stream, bytes)?,
            false => self.stream.write(bytes)?,
        };
        compression.turns.written += received as u64;
        Ok(received)
    }

    /// Changes the numbering after this many queued bytes.
    pub fn put_turn(&mut self, queued: usize, turn: Turn) {
        if let Some(compression) = &mut self.compression {
            let turns = &mut compression.turns;
            turns.queue.push_back((turns.written + queued as u64, turn));
            turns.last = Some(turn);
        }
    }

    /// The last turn that was put.
    pub fn last_turn(&self) -> Option<Turn> {
        self.compression.as_ref()?.turns.last
    }

    /// How many of so many queued bytes can be written in one go. What is next has taken its turn
    /// then.
    pub fn writable_len(&mut self, queued: usize) -> usize {
        loop {
            let Some(compression) = &mut self.compression else {
                return queued;
            };
            let turns = &mut compression.turns;
            let Some((at, turn)) = turns.queue.front().copied() else {
                return queued;
            };
            let before = usize::try_from(at - turns.written).unwrap_or(usize::MAX);
            if before > 0 {
                return before.min(queued);
            }
            turns.queue.pop_front();
            if turns.queue.is_empty() {
                // Frees the memory: an idle connection is to hold no buffer.
                turns.queue = VecDeque::new();
            }
            self.turn(turn);
        }
    }

    /// Sets what is written from here on.
    fn turn(&mut self, turn: Turn) {
        let Some(compression) = &mut self.compression else {
            return;
        };
        compression.seal();
        match turn {
            Turn::Begins => compression.writes = true,
            Turn::Command { answered } => compression.numbers.send_command(answered),
            Turn::More => compression.numbers.send_more(),
            Turn::Anew(number) => compression.numbers.send_anew(number),
        }
    }

    /// How many bytes compression has buffered, on the way in and out.
    pub fn buffered(&self) -> usize {
        self.compression.as_ref().map_or(0, |compression| {
            compression.raw.len() + compression.plain.len() + compression.frames.len()
        })
    }

    /// The number of the frame that begins with the next byte, if one does.
    pub fn next_frame(&self) -> Option<u8> {
        let compression = self.compression.as_deref()?;
        compression
            .plain
            .is_empty()
            .then(|| compression.numbers.next())
    }

    /// Whether it has buffered bytes that the socket has not taken.
    pub fn wants_write(&self) -> bool {
        let inside = |compression: &Compression| {
            !compression.plain.is_empty() || !compression.frames.is_empty()
        };
        self.compression.as_deref().is_some_and(inside) || self.stream.wants_write()
    }

    /// Writes the buffered bytes to the socket. `WouldBlock` means that some are left.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(compression) = &mut self.compression {
            compression.push(&mut self.stream)?;
            compression.seal();
            compression.push(&mut self.stream)?;
        }
        self.stream.flush()
    }

    /// Nothing more will be written.
    pub fn finish(&mut self) {
        let sealed = self.compression.as_mut().is_none_or(|compression| {
            compression.seal();
            compression.push(&mut self.stream).is_ok()
        });
        if sealed {
            self.stream.finish();
        }
    }
}

impl Compression {
    /// `None`: the next frame's number is not the expected one.
    fn read(&mut self, stream: &mut Stream, space: &mut [u8]) -> io::Result<Option<usize>> {
        let workshop = self.workshop.clone();
        let workshop = &mut *workshop.borrow_mut();
        let raw = std::mem::take(&mut self.raw);
        let done = self.decode(workshop, &raw, space);
        // After an error nothing more is decoded.
        let done = done?;
        self.raw = raw;
        self.raw.advance(done.used);
        if self.raw.is_empty() {
            // Frees the memory: an idle connection is to hold no buffer.
            self.raw = BytesMut::new();
        }
        if done.made > 0 {
            return Ok(Some(done.made));
        }
        if done.out_of_turn {
            return Ok(None);
        }
        let mut scratch = std::mem::take(&mut workshop.scratch);
        scratch.resize(READ, 0);
        let read = self.read_on(workshop, &mut scratch, stream, space);
        workshop.scratch = scratch;
        read
    }

    /// Reads until there is output. `Interrupted`: all that one call may read gave none.
    fn read_on(
        &mut self,
        workshop: &mut Workshop,
        scratch: &mut [u8],
        stream: &mut Stream,
        space: &mut [u8],
    ) -> io::Result<Option<usize>> {
        for _ in 0..READS {
            let n = stream.read(scratch)?;
            if n == 0 {
                if self.decoder.between_frames() {
                    return Ok(Some(0));
                }
                let why = "closed in the middle of a compressed frame";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            let bytes = scratch.get(..n).unwrap_or_default();
            let done = self.decode(workshop, bytes, space)?;
            self.raw
                .extend_from_slice(bytes.get(done.used..).unwrap_or_default());
            if done.made > 0 {
                return Ok(Some(done.made));
            }
            if done.out_of_turn {
                return Ok(None);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn decode(
        &mut self,
        workshop: &mut Workshop,
        bytes: &[u8],
        space: &mut [u8],
    ) -> io::Result<Decoded> {
        self.decoder
            .decode(&mut workshop.toolbox, &mut self.numbers, bytes, space)
            .map_err(invalid)
    }

    fn write(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        self.push(stream)?;
        let received = if self.plain.is_empty() && bytes.len() >= FRAME {
            let bytes = bytes.get(..FRAME).unwrap_or_default();
            self.frame(bytes)
        } else {
            let received = bytes.len().min(FRAME.saturating_sub(self.plain.len()));
            self.plain
                .extend_from_slice(bytes.get(..received).unwrap_or_default());
            if self.plain.len() >= FRAME {
                self.seal();
            }
            received
        };
        self.written.1 += received;
        match self.push(stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(received),
        }
    }

    /// Encodes the waiting bytes as a frame.
    fn seal(&mut self) {
        if !self.plain.is_empty() {
            let plain = std::mem::take(&mut self.plain);
            self.frame(&plain);
        }
    }

    fn frame(&mut self, plain: &[u8]) -> usize {
        let mut workshop = self.workshop.borrow_mut();
        let number = self.numbers.give();
        self.encoder
            .frame(&mut workshop.toolbox, number, plain, &mut self.frames)
    }

    /// Writes frames. `WouldBlock`: some are left.
    fn push(&mut self, stream: &mut Stream) -> io::Result<()> {
        while !self.frames.is_empty() {
            if stream.wants_write() {
                stream.flush()?;
            }
            match stream.write(&self.frames)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => self.frames.advance(n),
            }
        }
        self.frames = BytesMut::new();
        Ok(())
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
