//! Decodes compressed frames piece by piece, as they arrive.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

use super::meter::Share;
use super::{Algorithm, FrameError, HEADER, Meter, Numbers, Toolbox};

/// Decodes frames into the caller's buffer, never more than fits there: a frame that inflates to 16
/// MB takes no more memory than its algorithm's window until the caller reads on.
#[derive(Debug)]
pub struct Decoder {
    algorithm: Algorithm,
    meter: Meter,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes of a header have arrived.
    Header([u8; HEADER], usize),
    /// In a frame that is stored uncompressed, with so many bytes left.
    Stored(usize),
    Inflating(Inflating),
}

/// A frame that is being decompressed.
#[derive(Debug)]
struct Inflating {
    engine: Engine,
    /// The engine's memory, counted by the meter.
    share: Share,
    /// Compressed bytes that are still to come.
    compressed_left: usize,
    /// The decompressed length that the frame's header announces…
    size: usize,
    /// …and how much of that has come out.
    out: usize,
    /// Whether the engine filled the output buffer, and so may have more.
    full: bool,
}

enum Engine {
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

/// The result of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decoded {
    /// How many bytes of the input were used.
    pub used: usize,
    /// How many bytes came out.
    pub made: usize,
    /// The next frame's number is not the expected one. That need not be an error: the frame may
    /// begin a command, which the caller finds out from the bytes decoded so far.
    pub out_of_turn: bool,
}

impl Decoder {
    /// A decoder before its first frame.
    pub fn new(algorithm: Algorithm) -> Self {
        Decoder::metered(algorithm, Meter::default())
    }

    /// A decoder whose memory counts towards the limit of this meter, which decoders share.
    pub fn metered(algorithm: Algorithm, meter: Meter) -> Self {
        Decoder {
            algorithm,
            meter,
            state: State::Header([0; HEADER], 0),
        }
    }

    /// Whether no frame is partly read.
    pub fn between_frames(&self) -> bool {
        matches!(self.state, State::Header(_, 0))
    }

    /// Whether the header of a frame has been read, and its number counted, but not all of its
    /// data.
    pub fn inside_frame(&self) -> bool {
        !matches!(self.state, State::Header(..))
    }

    /// Decodes until the input is used up, the output is full, or a frame's number is not the
    /// expected one.
    ///
    /// # Errors
    /// The frame's data is corrupt, or not as long as its header says.
    pub fn decode(
        &mut self,
        toolbox: &mut Toolbox,
        numbers: &mut Numbers,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<Decoded, FrameError> {
        let mut done = Decoded::default();
        loop {
            let rest = input.get(done.used..).unwrap_or_default();
            let room = output.get_mut(done.made..).unwrap_or_default();
            match &mut self.state {
                State::Header(header, have) => {
                    let count = (HEADER - *have).min(rest.len());
                    if let (Some(to), Some(from)) =
                        (header.get_mut(*have..*have + count), rest.get(..count))
                    {
                        to.copy_from_slice(from);
                    }
                    *have += count;
                    done.used += count;
                    if *have < HEADER {
                        return Ok(done);
                    }
                    let [a, b, c, number, d, e, f] = *header;
                    if !numbers.accept(number) {
                        done.out_of_turn = true;
                        return Ok(done);
                    }
                    let compressed_left = u32::from_le_bytes([a, b, c, 0]) as usize;
                    let size = u32::from_le_bytes([d, e, f, 0]) as usize;
                    self.state = match size {
                        0 if compressed_left == 0 => return Err(FrameError::Empty),
                        0 => State::Stored(compressed_left),
                        _ => State::Inflating(Inflating {
                            engine: self.engine(toolbox)?,
                            share: self.meter.share(),
                            compressed_left,
                            size,
                            out: 0,
                            full: false,
                        }),
                    };
                }
                State::Stored(0) => self.state = State::Header([0; HEADER], 0),
                State::Stored(left) => {
                    let count = (*left).min(rest.len()).min(room.len());
                    if count == 0 {
                        return Ok(done);
                    }
                    if let (Some(to), Some(from)) = (room.get_mut(..count), rest.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    *left -= count;
                    done.used += count;
                    done.made += count;
                }
                State::Inflating(frame) => {
                    let (used, made, ended) = frame.step(self.algorithm, rest, room)?;
                    done.used += used;
                    done.made += made;
                    if ended {
                        let state =
                            std::mem::replace(&mut self.state, State::Header([0; HEADER], 0));
                        if let State::Inflating(frame) = state {
                            frame.engine.give_back(toolbox);
                        }
                    } else {
                        frame.share.holds(frame.engine.size())?;
                        if used == 0 && made == 0 {
                            return Ok(done);
                        }
                    }
                }
            }
        }
    }

    /// The number of the frame that [`decode`](Self::decode) found out of turn.
    pub fn next_number(&self) -> Option<u8> {
        match self.state {
            State::Header([_, _, _, number, ..], HEADER) => Some(number),
            _ => None,
        }
    }

    fn engine(&self, toolbox: &mut Toolbox) -> Result<Engine, FrameError> {
        match self.algorithm {
            Algorithm::Zlib => Ok(Engine::Zlib(toolbox.inflater())),
            Algorithm::Zstd => toolbox
                .unzstd()
                .map(Engine::Zstd)
                .ok_or(FrameError::Corrupt(self.algorithm)),
        }
    }
}

impl Inflating {
    /// Decompresses more of the frame. Returns how many bytes were used, how many came out, and
    /// whether the frame is complete.
    fn step(
        &mut self,
        algorithm: Algorithm,
        input: &[u8],
        room: &mut [u8],
    ) -> Result<(usize, usize, bool), FrameError> {
        let input = input.get(..self.compressed_left).unwrap_or(input);
        let size_left = self.size - self.out;
        let starved = input.is_empty() && !self.full && self.compressed_left > 0;
        if starved || room.is_empty() && size_left > 0 {
            return Ok((0, 0, false));
        }
        let inflated = if size_left > 0 {
            let len = room.len().min(size_left);
            let room = room.get_mut(..len).unwrap_or_default();
            let inflated = self.engine.run(input, room);
            self.full = inflated.is_some_and(|inflated| inflated.made == len);
            inflated
        } else {
            // All announced bytes are out; the engine has only to see the end of its data. One more
            // byte of output would be an error.
            let mut excess = [0];
            self.full = false;
            let inflated = self.engine.run(input, &mut excess);
            if inflated.is_some_and(|inflated| inflated.made > 0) {
                return Err(FrameError::TooMuch(self.size));
            }
            inflated
        };
        let Inflated { used, made, ended } = inflated.ok_or(FrameError::Corrupt(algorithm))?;
        self.compressed_left -= used;
        self.out += made;
        if ended {
            if self.out < self.size {
                return Err(self.too_little());
            }
            if self.compressed_left > 0 {
                return Err(FrameError::Trailing(self.compressed_left));
            }
        } else if self.compressed_left == 0 && made == 0 {
            // The engine has read all the data and has no more output.
            return Err(match self.out < self.size {
                true => self.too_little(),
                false => FrameError::Corrupt(algorithm),
            });
        } else if used == 0 && made == 0 && !input.is_empty() {
            return Err(FrameError::Corrupt(algorithm));
        }
        Ok((used, made, ended))
    }

    fn too_little(&self) -> FrameError {
        FrameError::TooLittle {
            expected: self.size,
            got: self.out,
        }
    }
}

/// What an engine did.
#[derive(Clone, Copy)]
struct Inflated {
    used: usize,
    made: usize,
    ended: bool,
}

impl Engine {
    /// `None`: the input is corrupt.
    fn run(&mut self, input: &[u8], room: &mut [u8]) -> Option<Inflated> {
        match self {
            Engine::Zlib(inflater) => {
                let (was_in, was_out) = (inflater.total_in(), inflater.total_out());
                let status = inflater.decompress(input, room, FlushDecompress::None);
                Some(Inflated {
                    ended: status.ok()? == Status::StreamEnd,
                    used: usize::try_from(inflater.total_in() - was_in).ok()?,
                    made: usize::try_from(inflater.total_out() - was_out).ok()?,
                })
            }
            Engine::Zstd(ctx) => {
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(room);
                let hint = ctx.decompress_stream(&mut to, &mut from).ok()?;
                Some(Inflated {
                    ended: hint == 0,
                    used: from.pos(),
                    made: to.pos(),
                })
            }
        }
    }

    /// The memory that it takes.
    fn size(&self) -> usize {
        match self {
            // Not counted: never more than the 32 KiB of its window and the tables of a block.
            Engine::Zlib(_) => 0,
            Engine::Zstd(ctx) => ctx.sizeof(),
        }
    }

    fn give_back(self, toolbox: &mut Toolbox) {
        match self {
            Engine::Zlib(inflater) => toolbox.return_inflater(inflater),
            Engine::Zstd(ctx) => toolbox.return_unzstd(ctx),
        }
    }
}
