//! One connection without its socket: what a client sends goes in, requests come out; answers go in, and what is to be
//! sent comes out.

use bytes::{Buf, BytesMut};

use super::body::BodyReader;
use super::head::{HeadEnd, MAX_HEAD, RequestHead};
use super::refusal::Refusal;
use super::request::Request;
use super::response::{Head, Response};

/// Before more than this has been sent, the next request is not looked at.
const MAX_UNSENT: usize = 64 << 10;

/// Before more than this has been sent, a stream takes nothing more.
const MAX_QUEUED: usize = 1 << 20;

/// What a conversation needs to go on.
#[derive(Debug)]
pub enum Next {
    /// The answer of this request, of which it is told by [`Conversation::answer`] or [`Conversation::start`].
    Request(Request),
    /// More from the client.
    Input,
    /// The answer to the last request, or the end of its stream.
    Answer,
    /// That the client takes what is queued for it.
    Output,
    /// Nothing: it is over when what is queued has been sent.
    Nothing,
}

/// What has become of a part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Taken,
    /// The client does not keep up: it was dropped.
    Full,
    /// There is no such stream any more.
    Gone,
}

/// One connection of a client.
#[derive(Debug)]
pub struct Conversation {
    input: BytesMut,
    output: BytesMut,
    head_end: HeadEnd,
    phase: Phase,
    max_body: usize,
}

#[derive(Debug)]
enum Phase {
    Head,
    Body(Box<Arriving>),
    Asked(Asked),
    Streaming(Asked),
    Over,
}

/// A request whose body is still to come.
#[derive(Debug)]
struct Arriving {
    head: RequestHead,
    reader: BodyReader,
}

/// What has to be known of a request for its answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    wants_body: bool,
    is_http_1_1: bool,
    keep_alive: bool,
}

impl Conversation {
    /// A new one; the body of a request may have so many bytes.
    pub fn new(max_body: usize) -> Conversation {
        Conversation {
            input: BytesMut::new(),
            output: BytesMut::new(),
            head_end: HeadEnd::default(),
            phase: Phase::Head,
            max_body,
        }
    }

    /// How many bytes it has room for. It may have none until a request has been answered.
    pub fn room(&self) -> usize {
        match self.phase {
            Phase::Over => 0,
            _ => MAX_HEAD.saturating_sub(self.input.len()),
        }
    }

    /// The client has sent this.
    pub fn received(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Goes on as far as it can.
    pub fn go_on(&mut self) -> Next {
        match self.advance() {
            Ok(next) => next,
            Err(refusal) => {
                self.refuse(refusal, &[]);
                Next::Nothing
            }
        }
    }

    fn advance(&mut self) -> Result<Next, Refusal> {
        if let Phase::Head = self.phase {
            if self.output.len() > MAX_UNSENT {
                return Ok(Next::Output);
            }
            let Some((begin, end)) = self.head_end.find(&self.input)? else {
                return Ok(Next::Input);
            };
            self.head_end = HeadEnd::default();
            let bytes = self.input.split_to(end);
            let head = RequestHead::parse(bytes.get(begin..).unwrap_or_default())?;
            let reader = BodyReader::new(head.framing, self.max_body)?;
            if head.expects_continue && !reader.is_done() && self.input.is_empty() {
                self.output
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.phase = Phase::Body(Box::new(Arriving { head, reader }));
        }
        match &mut self.phase {
            Phase::Head | Phase::Over => Ok(Next::Nothing),
            Phase::Asked(_) | Phase::Streaming(_) => Ok(Next::Answer),
            Phase::Body(arriving) => {
                let Arriving { head, reader } = &mut **arriving;
                reader.read(&mut self.input, &mut head.request.body)?;
                if !reader.is_done() {
                    return Ok(Next::Input);
                }
                let asked = Asked {
                    wants_body: head.request.method != "HEAD",
                    is_http_1_1: head.is_http_1_1,
                    keep_alive: head.keep_alive,
                };
                let Phase::Body(arriving) = std::mem::replace(&mut self.phase, Phase::Asked(asked))
                else {
                    return Ok(Next::Nothing);
                };
                Ok(Next::Request(arriving.head.request))
            }
        }
    }

    /// Whether a request has begun to arrive.
    pub fn is_receiving(&self) -> bool {
        match self.phase {
            Phase::Head => !self.input.is_empty(),
            Phase::Body(_) => true,
            _ => false,
        }
    }

    /// Whether a stream is being answered.
    pub fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming(_))
    }

    /// No further request is answered.
    pub fn end_after_answer(&mut self) {
        match &mut self.phase {
            Phase::Asked(asked) | Phase::Streaming(asked) => asked.keep_alive = false,
            _ => self.phase = Phase::Over,
        }
    }

    /// Answers the request. False if it has been answered, or a stream has begun.
    pub fn answer(&mut self, response: &Response) -> bool {
        let Phase::Asked(asked) = self.phase else {
            return false;
        };
        self.encode(asked, response);
        self.answered(asked);
        true
    }

    fn encode(&mut self, asked: Asked, response: &Response) {
        let length = response.body.len().to_string();
        let mut further = Vec::new();
        if response.head.allows_body() {
            further.push(("Content-Length", length.as_str()));
        }
        further.extend(connection_header(asked));
        response.head.encode(&mut self.output, &further);
        if asked.wants_body && response.head.allows_body() {
            self.output.extend_from_slice(&response.body);
        }
    }

    /// Begins a stream as the answer. False if the request has been answered, or a stream has begun.
    pub fn start(&mut self, head: &Head) -> bool {
        let Phase::Asked(mut asked) = self.phase else {
            return false;
        };
        let has_body = asked.wants_body && head.allows_body();
        let mut further = Vec::new();
        if asked.is_http_1_1 && head.allows_body() {
            further.push(("Transfer-Encoding", "chunked"));
        } else if has_body {
            // Its end is the end of the connection.
            asked.keep_alive = false;
        }
        further.extend(connection_header(asked));
        head.encode(&mut self.output, &further);
        match has_body {
            true => self.phase = Phase::Streaming(asked),
            false => self.answered(asked),
        }
        true
    }

    /// Sends a part of the stream.
    pub fn send(&mut self, bytes: &[u8]) -> Sent {
        let Phase::Streaming(asked) = self.phase else {
            return Sent::Gone;
        };
        if self.output.len() >= MAX_QUEUED {
            return Sent::Full;
        }
        if bytes.is_empty() {
            // As a chunk it would end the stream.
            return Sent::Taken;
        }
        if !asked.is_http_1_1 {
            self.output.extend_from_slice(bytes);
            return Sent::Taken;
        }
        let size = format!("{:x}\r\n", bytes.len());
        for part in [size.as_bytes(), bytes, b"\r\n"] {
            self.output.extend_from_slice(part);
        }
        Sent::Taken
    }

    /// Ends the stream.
    pub fn finish(&mut self) {
        let Phase::Streaming(asked) = self.phase else {
            return;
        };
        if asked.is_http_1_1 {
            self.output.extend_from_slice(b"0\r\n\r\n");
        }
        self.answered(asked);
    }

    fn answered(&mut self, asked: Asked) {
        self.phase = match asked.keep_alive {
            true => Phase::Head,
            false => Phase::Over,
        };
    }

    /// Answers with an error, unless something else was begun; that is the end.
    pub fn refuse(&mut self, refusal: Refusal, headers: &[(&str, &str)]) {
        let mut asked = match self.phase {
            Phase::Asked(asked) => asked,
            Phase::Head | Phase::Body(_) => Asked {
                wants_body: true,
                is_http_1_1: true,
                keep_alive: false,
            },
            Phase::Streaming(_) | Phase::Over => {
                self.phase = Phase::Over;
                return;
            }
        };
        asked.keep_alive = false;
        let response = Response::error(refusal, headers);
        self.encode(asked, &response);
        self.phase = Phase::Over;
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So much of it has been sent.
    pub fn sent(&mut self, count: usize) {
        self.output.advance(count.min(self.output.len()));
        if self.output.is_empty() {
            // Frees the memory: most connections are idle.
            self.output = BytesMut::new();
        }
    }
}

/// What has to be said about the connection: HTTP/1.1's stay open by default, HTTP/1.0's do not.
fn connection_header(asked: Asked) -> Option<(&'static str, &'static str)> {
    match (asked.keep_alive, asked.is_http_1_1) {
        (true, true) => None,
        (true, false) => Some(("Connection", "keep-alive")),
        (false, _) => Some(("Connection", "close")),
    }
}
