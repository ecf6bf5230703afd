//! The body of a request: how long it is, and its chunks.

use bytes::{Buf, BytesMut};

use super::head::{Framing, MAX_HEAD};
use super::refusal::Refusal;

const TOO_LARGE: Refusal = Refusal::new(413, "its body is too large");
const BAD_CHUNK: Refusal = Refusal::bad("a chunk of its body is not well formed");

/// How long the line may be that a chunk begins with. Its extensions mean nothing here.
const MAX_CHUNK_LINE: usize = 256;

/// Takes a body out of what a client sends.
#[derive(Debug)]
pub(super) struct BodyReader {
    step: Step,
    /// How many bytes the body may still have.
    room: usize,
    /// How many bytes of lines that are no content there may still be.
    overhead: usize,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many bytes are still to come, and end the body.
    Last(usize),
    /// The line before a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// Headers after the last chunk, which are read and dropped.
    Trailers,
    Done,
}

impl BodyReader {
    /// For a body of at most `max` bytes.
    pub fn new(framing: Framing, max: usize) -> Result<BodyReader, Refusal> {
        let step = match framing {
            Framing::Chunked => Step::Size,
            Framing::Length(0) => Step::Done,
            Framing::Length(length) => {
                let length = usize::try_from(length).map_err(|_| TOO_LARGE)?;
                if length > max {
                    return Err(TOO_LARGE);
                }
                Step::Last(length)
            }
        };
        Ok(BodyReader {
            step,
            room: max,
            // A chunk of one byte costs six more, and whoever sends such chunks sends not many of them.
            overhead: MAX_HEAD.saturating_add(max.saturating_mul(8)),
        })
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// Moves what is there of the body from `input` to `body`. What follows the body stays.
    pub fn read(&mut self, input: &mut BytesMut, body: &mut Vec<u8>) -> Result<(), Refusal> {
        loop {
            self.step = match self.step {
                Step::Done => return Ok(()),
                Step::Last(left) => match take(input, left, body) {
                    0 => Step::Done,
                    left if input.is_empty() => {
                        self.step = Step::Last(left);
                        return Ok(());
                    }
                    left => Step::Last(left),
                },
                Step::Size => match self.line(input, MAX_CHUNK_LINE)? {
                    None => return Ok(()),
                    Some(line) => match chunk_size(&line)? {
                        0 => Step::Trailers,
                        size if size > self.room => return Err(TOO_LARGE),
                        size => {
                            self.room -= size;
                            Step::Chunk(size)
                        }
                    },
                },
                Step::Chunk(left) => match take(input, left, body) {
                    0 => Step::ChunkEnd,
                    left => {
                        self.step = Step::Chunk(left);
                        return Ok(());
                    }
                },
                Step::ChunkEnd => match self.line(input, 2)? {
                    None => return Ok(()),
                    Some(line) if line.is_empty() => Step::Size,
                    Some(_) => return Err(BAD_CHUNK),
                },
                Step::Trailers => match self.line(input, MAX_HEAD)? {
                    None => return Ok(()),
                    Some(line) if line.is_empty() => Step::Done,
                    Some(_) => Step::Trailers,
                },
            };
        }
    }

    /// The next line without its end, if it is there as a whole.
    fn line(&mut self, input: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, Refusal> {
        let within = input.get(..max.min(input.len())).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', within) else {
            return match input.len() < max {
                true => Ok(None),
                false => Err(BAD_CHUNK),
            };
        };
        let mut line = input.split_to(at + 1);
        if !line.ends_with(b"\r\n") {
            return Err(BAD_CHUNK);
        }
        self.overhead = self.overhead.checked_sub(line.len()).ok_or(TOO_LARGE)?;
        line.truncate(line.len() - 2);
        if line.contains(&b'\r') {
            return Err(BAD_CHUNK);
        }
        Ok(Some(line))
    }
}

/// Moves at most `wanted` bytes. Returns how many are still to come.
fn take(input: &mut BytesMut, wanted: usize, body: &mut Vec<u8>) -> usize {
    let part = input.get(..wanted).unwrap_or(input);
    body.extend_from_slice(part);
    let taken = part.len();
    input.advance(taken);
    wanted - taken
}

/// The size of a chunk from its line: hexadecimal digits, then perhaps extensions.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // Spaces before an extension are allowed to be there.
    let digits = match digits.len() == line.len() {
        true => digits,
        false => digits.trim_ascii_end(),
    };
    // (More digits than 15 would be a body that nobody has.)
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BAD_CHUNK);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BAD_CHUNK)?;
    usize::from_str_radix(digits, 16).map_err(|_| BAD_CHUNK)
}
