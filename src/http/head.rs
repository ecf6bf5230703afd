//! The head of a request: where it ends, and what it says.
//!
//! What two readers of the same bytes could understand differently is refused rather than guessed, because that is
//! how requests are smuggled past a reverse proxy: bare line feeds, folded lines, two lengths, a length beside
//! `Transfer-Encoding`.

use httparse::{Error, Header, Status};

use super::refusal::Refusal;
use super::request::{Request, Target};

/// How long a head may be, with what precedes and ends it.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// How many lines a head may have.
const MAX_HEADERS: usize = 64;

const TOO_LARGE: Refusal = Refusal::new(431, "its head is too large");

/// Looks for the empty line that ends a head. Each byte is looked at once, however many reads the head comes in.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    /// How much has been looked at.
    seen: usize,
    /// Where the present line begins.
    line: usize,
    /// Where the request line begins, after empty lines; clients may send such after a body.
    begin: Option<usize>,
}

impl HeadEnd {
    /// Where the head begins and ends, if it is there as a whole.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Refusal> {
        while let Some(rest) = bytes.get(self.seen..) {
            let Some(at) = memchr::memchr(b'\n', rest) else {
                self.seen = bytes.len();
                break;
            };
            let end = self.seen + at;
            let line = bytes.get(self.line..end).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Refusal::bad("a line of its head does not end with CR LF"));
            };
            let is_empty = line.is_empty();
            if !is_empty && self.begin.is_none() {
                self.begin = Some(self.line);
            }
            self.seen = end + 1;
            self.line = self.seen;
            if self.seen > MAX_HEAD {
                return Err(TOO_LARGE);
            }
            if let Some(begin) = self.begin.filter(|_| is_empty) {
                return Ok(Some((begin, self.seen)));
            }
        }
        match bytes.len() >= MAX_HEAD {
            true => Err(TOO_LARGE),
            false => Ok(None),
        }
    }
}

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// What a head says.
#[derive(Debug, Clone)]
pub(super) struct RequestHead {
    pub request: Request,
    pub framing: Framing,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
    /// The client waits to be told to send the body.
    pub expects_continue: bool,
    /// The client understands chunks.
    pub is_http_1_1: bool,
}

impl RequestHead {
    /// Reads a whole head.
    pub fn parse(bytes: &[u8]) -> Result<RequestHead, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Refusal::bad("its head is not well formed")),
            Err(Error::TooManyHeaders) => {
                return Err(Refusal::new(431, "its head has too many lines"));
            }
            Err(Error::Version) => {
                return Err(Refusal::new(
                    505,
                    "only the versions 1.1 and 1.0 are spoken",
                ));
            }
            Err(_) => return Err(Refusal::bad("its head is not well formed")),
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Refusal::bad("its head is not well formed"));
        };
        let is_http_1_1 = version == 1;
        let fields = Fields::read(parsed.headers, is_http_1_1)?;
        let target = Target::parse(method, target)?;
        Ok(RequestHead {
            framing: fields.framing,
            keep_alive: fields.keep_alive,
            expects_continue: fields.expects_continue,
            is_http_1_1,
            request: Request::new(method, target, parsed.headers),
        })
    }
}

/// The headers that this service acts on.
struct Fields {
    framing: Framing,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>], is_http_1_1: bool) -> Result<Fields, Refusal> {
        let mut fields = Fields {
            framing: Framing::Length(0),
            keep_alive: is_http_1_1,
            expects_continue: false,
        };
        let (mut hosts, mut lengths, mut encodings) = (0, 0, 0);
        for header in headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                hosts += 1;
            } else if is("content-length") {
                lengths += 1;
                fields.framing = Framing::Length(length(header.value)?);
            } else if is("transfer-encoding") {
                encodings += 1;
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::new(501, "only chunks are known as an encoding"));
                }
            } else if is("connection") {
                for option in header.value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    if option.eq_ignore_ascii_case(b"close") {
                        fields.keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && !is_http_1_1 {
                        fields.keep_alive = true;
                    }
                }
            } else if is("expect") {
                if !header.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::new(417, "it expects what is not known"));
                }
                fields.expects_continue = is_http_1_1;
            }
        }
        if hosts > 1 || hosts == 0 && is_http_1_1 {
            return Err(Refusal::bad("it needs one Host header"));
        }
        if lengths > 1 || encodings > 1 || lengths + encodings > 1 {
            return Err(Refusal::bad("the length of its body is said twice"));
        }
        if encodings == 1 {
            if !is_http_1_1 {
                return Err(Refusal::bad("HTTP/1.0 has no chunks"));
            }
            fields.framing = Framing::Chunked;
        }
        Ok(fields)
    }
}

/// Decimal digits and nothing else: no sign, no list.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    const BAD: Refusal = Refusal::bad("its Content-Length is not a number");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let digits = std::str::from_utf8(value).map_err(|_| BAD)?;
    digits.parse().map_err(|_| BAD)
}
