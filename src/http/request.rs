//! A request.

use std::net::IpAddr;

use httparse::Header;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// A request, as a handler gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, in the letters that it came in (methods are case-sensitive).
    pub method: String,
    /// What was asked for, as it was sent: path and query.
    pub target: String,
    /// The path, decoded.
    pub path: Vec<u8>,
    /// The names and values after the `?`, decoded, in their order.
    pub query: Vec<(Vec<u8>, Vec<u8>)>,
    /// The headers in their order, their names in small letters.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Where the client is; `None` if it has no address.
    pub peer: Option<IpAddr>,
}

impl Request {
    pub(super) fn new(method: &str, target: Target, headers: &[Header<'_>]) -> Request {
        let headers = headers.iter();
        Request {
            method: method.to_owned(),
            target: target.text,
            path: target.path,
            query: target.query,
            headers: headers
                .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
                .collect(),
            body: Vec::new(),
            peer: None,
        }
    }

    /// The first header of this name, which is in small letters.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(its, _)| its == name);
        found.map(|(_, value)| value.as_slice())
    }
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    text: String,
    path: Vec<u8>,
    query: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Target {
    /// Reads a target: a path, the whole address that clients send to proxies, or `*`.
    pub fn parse(method: &str, text: &str) -> Result<Target, Refusal> {
        const BAD: Refusal = Refusal::bad("its target is no path");
        if method == "CONNECT" {
            return Err(Refusal::new(501, "this is no proxy for HTTP"));
        }
        let text = match text {
            "*" if method == "OPTIONS" => "*",
            _ if text.starts_with('/') => text,
            _ => path_of_address(text).ok_or(BAD)?,
        };
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let path: Vec<u8> = percent_decode_str(path).collect();
        if path.contains(&0) || path.iter().any(u8::is_ascii_control) {
            return Err(Refusal::bad("its path has control characters"));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (form_decoded(name), form_decoded(value))
            })
            .collect();
        Ok(Target {
            text: text.to_owned(),
            path,
            query,
        })
    }
}

/// The path of `http://host/path?query`.
fn path_of_address(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    match rest.find(['/', '?']) {
        Some(at) if rest.get(at..)?.starts_with('/') => rest.get(at..),
        Some(_) => None,
        None => Some("/"),
    }
}

/// Decodes a part of a query, where a plus sign is a space.
fn form_decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}
