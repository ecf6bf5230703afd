//! A request that is to be sent.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use url::{Host, Url};

use crate::http::field::{add, is_name, is_value};
use crate::net::TlsClientOptions;

/// Headers that say where a request ends, whom it is for, or that are about the connection.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a request is made of.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// The method.
    pub method: String,
    /// Headers by their names.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What is sent.
    pub body: Vec<u8>,
    /// How long all of it may take, from the connect to the end of the answer.
    pub timeout: Duration,
    /// How many bytes the body of the answer may have.
    pub max_size: usize,
    /// What is verified of an https server's certificate.
    pub tls: TlsClientOptions,
}

/// What cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCall {
    /// This is no address of HTTP.
    Url(String),
    /// No request can have this method.
    Method(String),
    /// No header can have this name.
    Name(String),
    /// No header can have this value.
    Value(String),
    /// This header is set by the client itself.
    Reserved(String),
}

impl fmt::Display for BadCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadCall::Url(problem) => write!(f, "url: {problem}"),
            BadCall::Method(method) => write!(
                f,
                "method: expected a word such as \"GET\" or \"POST\", got {method:?}"
            ),
            BadCall::Name(name) => write!(f, "headers: {name:?} cannot be a header's name"),
            BadCall::Value(name) => write!(
                f,
                "headers: the value of {name} has control characters, which no header can have"
            ),
            BadCall::Reserved(name) => {
                write!(
                    f,
                    "headers: {name} is set by the request itself: leave it out"
                )
            }
        }
    }
}

impl std::error::Error for BadCall {}

/// The address of what is asked for: `http` or `https`, a host, a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads one; relative ones begin at `base`.
    ///
    /// # Errors
    /// It is none that can be asked for.
    pub fn parse(text: &str, base: Option<&Address>) -> Result<Address, BadCall> {
        let bad = |problem: String| Err(BadCall::Url(problem));
        // The parser drops some of them silently, and who sends them means no good.
        if text.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return bad(
                "it has spaces or control characters: write them as %20 and the like".into(),
            );
        }
        let parsed = match base {
            None => Url::parse(text),
            Some(base) => base.0.join(text),
        };
        let mut url = match parsed {
            Ok(url) => url,
            Err(error) => {
                return bad(format!(
                    "expected one like http://host:port/path, got {text:?} ({error})"
                ));
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return bad(format!("expected http or https, got {}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad(
                "it has a user's name or password: give a header Authorization instead".into(),
            );
        }
        url.set_fragment(None);
        Ok(Address(url))
    }

    /// Whether it is asked for over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host: a name or an address (that of IPv6 without brackets).
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// Whether the host is a name, which has to be looked up.
    pub fn has_name(&self) -> bool {
        matches!(self.0.host(), Some(Host::Domain(_)))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.0
            .as_str()
            .get(self.0[..url::Position::BeforePath].len()..)
            .unwrap_or("/")
    }

    /// The host and, if it is not the usual one, the port, as they are in a header.
    fn authority(&self) -> &str {
        &self.0[url::Position::BeforeHost..url::Position::AfterPort]
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A request that can be sent.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) address: Address,
    pub(super) options: CallOptions,
}

impl Call {
    /// Checks what a request is made of.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn new(address: Address, options: CallOptions) -> Result<Call, BadCall> {
        if !is_name(&options.method) || options.method == "CONNECT" {
            return Err(BadCall::Method(options.method));
        }
        for (name, value) in &options.headers {
            if !is_name(name) {
                return Err(BadCall::Name(name.clone()));
            }
            if RESERVED.iter().any(|its| its.eq_ignore_ascii_case(name)) {
                return Err(BadCall::Reserved(name.clone()));
            }
            if !is_value(value) {
                return Err(BadCall::Value(name.clone()));
            }
        }
        Ok(Call { address, options })
    }

    /// What it asks for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the answer has no body, whatever its head says.
    pub(super) fn is_head(&self) -> bool {
        self.options.method == "HEAD"
    }

    /// Whether it may be sent twice.
    pub(super) fn is_idempotent(&self) -> bool {
        let method = self.options.method.as_str();
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
    }

    /// The bytes of it.
    pub(super) fn encode(&self) -> BytesMut {
        let CallOptions {
            method,
            headers,
            body,
            ..
        } = &self.options;
        let mut output = BytesMut::with_capacity(512 + body.len());
        let line = format!("{method} {} HTTP/1.1\r\n", self.address.target());
        output.extend_from_slice(line.as_bytes());
        add(&mut output, "Host", self.address.authority().as_bytes());
        let says = |name: &str| {
            headers
                .iter()
                .any(|(its, _)| its.eq_ignore_ascii_case(name))
        };
        if !says("user-agent") {
            let ours = concat!("dpm/", env!("CARGO_PKG_VERSION"));
            add(&mut output, "User-Agent", ours.as_bytes());
        }
        for (name, value) in headers {
            add(&mut output, name, value);
        }
        if !body.is_empty() || matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
            let length = body.len().to_string();
            add(&mut output, "Content-Length", length.as_bytes());
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(body);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<Address, String> {
        Address::parse(text, None).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let known = address("http://[::1]:8080/a?b=c#d").unwrap();
        assert_eq!(
            (known.host().as_str(), known.port(), known.target()),
            ("::1", 8080, "/a?b=c")
        );
        assert_eq!(known.authority(), "[::1]:8080");
        assert!(!known.has_name());
        let known = address("HTTPS://Example.COM").unwrap();
        assert!(known.is_https() && known.has_name());
        assert_eq!(
            (known.host().as_str(), known.port(), known.target()),
            ("example.com", 443, "/")
        );
        assert_eq!(known.authority(), "example.com");
        let next = Address::parse("../x?y", Some(&address("http://a:1/b/c/d").unwrap()));
        assert_eq!(next.unwrap().to_string(), "http://a:1/b/x?y");
        for (text, part) in [
            ("", "like http://host"),
            ("localhost:80/x", "expected http or https"),
            ("/x", "like http://host"),
            ("ftp://a/", "expected http or https, got ftp"),
            ("file:///etc/passwd", "expected http or https"),
            ("http://", "like http://host"),
            ("http://a:99999/", "like http://host"),
            ("http://me:secret@a/", "Authorization"),
            ("http://a/x HTTP/1.1\r\nX: y", "control characters"),
            ("http://a/\n", "control characters"),
        ] {
            let problem = address(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    fn call(method: &str, name: &str, value: &str) -> Result<Call, BadCall> {
        let options = CallOptions {
            method: method.into(),
            headers: vec![(name.into(), value.into())],
            body: b"{}".to_vec(),
            timeout: Duration::from_secs(1),
            max_size: 100,
            tls: TlsClientOptions::default(),
        };
        Call::new(address("http://localhost:81/x").unwrap(), options)
    }

    #[test]
    fn requests_are_written() {
        let bytes = call("POST", "X-A", "b").unwrap().encode();
        let text = std::str::from_utf8(&bytes).unwrap();
        let agent = concat!("User-Agent: dpm/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            text,
            format!(
                "POST /x HTTP/1.1\r\nHost: localhost:81\r\n{agent}\r\nX-A: b\r\nContent-Length: 2\r\n\r\n{{}}"
            )
        );
    }

    #[test]
    fn nothing_can_be_smuggled_in() {
        for (method, name, value) in [
            ("GET / HTTP/1.1\r\nX: y\r\n", "X", "y"),
            ("", "X", "y"),
            ("CONNECT", "X", "y"),
            ("GET", "X: y\r\nZ", "y"),
            ("GET", "", "y"),
            ("GET", "X", "y\r\nZ: z"),
            ("GET", "X", "y\0"),
            ("GET", "X", "y\n"),
            ("GET", "Content-Length", "0"),
            ("GET", "transfer-encoding", "chunked"),
            ("GET", "Host", "other"),
        ] {
            assert!(
                call(method, name, value).is_err(),
                "{method} {name} {value}"
            );
        }
    }
}
