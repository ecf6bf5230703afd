//! An answer.

use std::fmt;
use std::time::SystemTime;

use bytes::BytesMut;

use super::field::{add, is_name, is_value};
use super::refusal::Refusal;

/// The status and headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status and headers.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
}

/// What an answer cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadResponse {
    /// The status is not one of a final answer.
    Status(u64),
    /// No header can have this name.
    Name(String),
    /// No header can have this value: a line end in it would begin another header.
    Value(String),
    /// The service sets this header by itself.
    Reserved(String),
}

/// Headers that say where an answer ends, or that are about the connection.
const RESERVED: [&str; 6] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadResponse::Status(status) => {
                write!(
                    f,
                    "status: expected an integer from 200 to 599, got {status}"
                )
            }
            BadResponse::Name(name) => write!(f, "headers: {name:?} cannot be a header's name"),
            BadResponse::Value(name) => write!(
                f,
                "headers: the value of {name} has control characters, which no header can have"
            ),
            BadResponse::Reserved(name) => {
                write!(f, "headers: {name} is set by the listener itself")
            }
        }
    }
}

impl std::error::Error for BadResponse {}

impl Head {
    /// Checks status and headers.
    ///
    /// # Errors
    /// They cannot be sent.
    pub fn new(status: u64, headers: Vec<(String, Vec<u8>)>) -> Result<Head, BadResponse> {
        let known = u16::try_from(status).ok();
        let status = known
            .filter(|status| (200..600).contains(status))
            .ok_or(BadResponse::Status(status))?;
        for (name, value) in &headers {
            if !is_name(name) {
                return Err(BadResponse::Name(name.clone()));
            }
            if RESERVED.iter().any(|its| its.eq_ignore_ascii_case(name)) {
                return Err(BadResponse::Reserved(name.clone()));
            }
            if !is_value(value) {
                return Err(BadResponse::Value(name.clone()));
            }
        }
        Ok(Head { status, headers })
    }

    /// Whether an answer of this status has a body.
    pub(super) fn allows_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    /// Writes it, with these further lines.
    pub(super) fn encode(&self, output: &mut BytesMut, further: &[(&str, &str)]) {
        let status = self.status;
        let line = format!("HTTP/1.1 {status} {}\r\n", phrase(status));
        output.extend_from_slice(line.as_bytes());
        let date = httpdate::fmt_http_date(SystemTime::now());
        let dated = [("Date", date.as_str())];
        for (name, value) in dated.iter().chain(further) {
            add(output, name, value.as_bytes());
        }
        for (name, value) in &self.headers {
            add(output, name, value);
        }
        output.extend_from_slice(b"\r\n");
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(its, _)| its.eq_ignore_ascii_case(name))
    }
}

impl Response {
    /// A whole answer. Without a Content-Type a body is plain text.
    pub fn new(mut head: Head, body: Vec<u8>) -> Response {
        if !body.is_empty() && !head.has("content-type") {
            head.headers
                .push(("Content-Type".into(), b"text/plain; charset=utf-8".to_vec()));
        }
        Response { head, body }
    }

    /// An error with a line of text.
    pub fn error(refusal: Refusal, headers: &[(&str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let head = Head {
            status: refusal.status,
            headers: headers.collect(),
        };
        Response::new(head, format!("{}\n", refusal.reason).into_bytes())
    }
}

/// What a status is called.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // The phrase may be empty.
        _ => "",
    }
}
