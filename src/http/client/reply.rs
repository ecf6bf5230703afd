//! An answer, and its head.

use httparse::{Error, Header, Status};

use super::failure::Failure;
use crate::http::body::BodyReader;
use crate::http::head::Framing;

/// How many lines a head may have.
const MAX_HEADERS: usize = 128;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers in their order, their names in small letters.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Where the body of an answer ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// There is none.
    None,
    Framed(BodyReader),
    /// With the connection.
    Connection,
}

/// What the head of an answer says.
#[derive(Debug)]
pub(super) struct ReplyHead {
    pub reply: Reply,
    pub ending: Ending,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
}

impl ReplyHead {
    /// Reads a whole head. `is_head`: it answers HEAD.
    pub fn parse(bytes: &[u8], is_head: bool, max: usize) -> Result<ReplyHead, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(Status::Complete(length)) if length == bytes.len() => {}
            Err(Error::TooManyHeaders) => {
                return Err(Failure::Malformed("its head has too many lines"));
            }
            _ => return Err(Failure::Malformed("its head is not well formed")),
        }
        let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
            return Err(Failure::Malformed("its head is not well formed"));
        };
        if status < 100 {
            return Err(Failure::Malformed("it has no status"));
        }
        let fields = Fields::read(parsed.headers, version == 1)?;
        let bodiless = is_head || status < 200 || matches!(status, 204 | 304);
        let ending = match fields.framing {
            _ if bodiless => Ending::None,
            None => Ending::Connection,
            Some(framing) => {
                let reader = BodyReader::new(framing, max);
                Ending::Framed(reader.map_err(|_| Failure::TooLarge(max))?)
            }
        };
        let headers = parsed.headers.iter();
        let headers =
            headers.map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()));
        Ok(ReplyHead {
            keep_alive: fields.keep_alive && !matches!(ending, Ending::Connection),
            ending,
            reply: Reply {
                status,
                headers: headers.collect(),
                body: Vec::new(),
            },
        })
    }
}

/// The headers that the client acts on. What two readers could understand differently is refused.
struct Fields {
    framing: Option<Framing>,
    keep_alive: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>], is_http_1_1: bool) -> Result<Fields, Failure> {
        let mut fields = Fields {
            framing: None,
            keep_alive: is_http_1_1,
        };
        let mut framings = 0;
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                framings += 1;
                let length = length(header.value);
                let length = length.ok_or(Failure::Malformed("its Content-Length is no number"))?;
                fields.framing = Some(Framing::Length(length));
            } else if is("transfer-encoding") {
                framings += 1;
                if !header.value.eq_ignore_ascii_case(b"chunked") || !is_http_1_1 {
                    return Err(Failure::Malformed(
                        "it has an encoding that was not asked for",
                    ));
                }
                fields.framing = Some(Framing::Chunked);
            } else if is("connection") {
                for option in header.value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    if option.eq_ignore_ascii_case(b"close") {
                        fields.keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") && !is_http_1_1 {
                        fields.keep_alive = true;
                    }
                }
            }
        }
        if framings > 1 {
            return Err(Failure::Malformed("the length of its body is said twice"));
        }
        Ok(fields)
    }
}

/// Decimal digits and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
