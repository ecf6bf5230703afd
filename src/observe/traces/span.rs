//! A span as OTLP has it, in JSON.
//!
//! The names of attributes are OpenTelemetry's semantic conventions for databases, of which those are stable that are not
//! marked; those of dpm's own begin with `dpm.`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::context::write_hex;
use super::sampling::Ids;
use crate::proxy::Address;

/// The kinds of spans: of a client of something else, or of what happens within a program.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;

/// The status of a span that has failed.
const ERROR: u8 = 2;

/// Longer names and texts are cut.
const MAX_NAME: usize = 255;

/// All that is told of a query.
#[derive(Debug)]
pub(super) struct Span<'a> {
    pub ids: Ids,
    pub name: &'a [u8],
    pub ended: SystemTime,
    pub took: Duration,
    pub client: Client<'a>,
    /// "mysql" or "mariadb".
    pub system: &'static str,
    /// The address of the server that has answered, with its port.
    pub server: Option<&'a [u8]>,
    pub summary: &'a [u8],
    pub text: &'a [u8],
    pub waited: Duration,
    /// From the command to the end of the server's answer.
    pub in_server: Option<Duration>,
    pub rows: u64,
    pub affected: u64,
    pub bytes: u64,
    pub failure: Option<Failure<'a>>,
}

/// Who has sent it.
#[derive(Debug)]
pub(super) struct Client<'a> {
    pub id: u32,
    pub address: Address,
    pub port: u16,
    pub user: &'a [u8],
    pub schema: &'a [u8],
}

/// Why it failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure<'a> {
    /// With this number, and this message if that may be told.
    Error(u16, &'a [u8]),
    /// The client's connection has closed before the answer was complete.
    Closed,
}

impl Span<'_> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"traceId\":\"");
        write_hex(&self.ids.trace, out);
        out.extend_from_slice(b"\",\"spanId\":\"");
        write_hex(&self.ids.span, out);
        if let Some(parent) = &self.ids.parent {
            out.extend_from_slice(b"\",\"parentSpanId\":\"");
            write_hex(parent, out);
        }
        // The second byte of the flags says whether the parent is another program's.
        let flags = if self.ids.parent.is_some() {
            0x301
        } else {
            0x101
        };
        let kind = if self.server.is_some() {
            CLIENT
        } else {
            INTERNAL
        };
        let end = self.ended.duration_since(SystemTime::UNIX_EPOCH);
        let end = end.unwrap_or_default();
        let start = end.saturating_sub(self.took);
        // Writing to a vector does not fail.
        let _ = write!(out, "\",\"flags\":{flags},\"kind\":{kind},\"name\":");
        write_text(self.name, MAX_NAME, out);
        let (start, end) = (start.as_nanos(), end.as_nanos());
        let _ = write!(
            out,
            ",\"startTimeUnixNano\":\"{start}\",\"endTimeUnixNano\":\"{end}\",\"attributes\":["
        );
        self.write_attributes(&mut Attributes { out, any: false });
        out.push(b']');
        if let Some(failure) = &self.failure {
            let _ = write!(out, ",\"status\":{{\"code\":{ERROR}");
            match failure {
                Failure::Error(_, message) if !message.is_empty() => {
                    out.extend_from_slice(b",\"message\":");
                    write_text(message, MAX_NAME * 2, out);
                }
                Failure::Error(..) => {}
                Failure::Closed => {
                    out.extend_from_slice(
                        b",\"message\":\"closed before the answer was complete\"",
                    );
                }
            }
            out.push(b'}');
        }
        out.push(b'}');
    }

    fn write_attributes(&self, to: &mut Attributes<'_>) {
        to.text("db.system.name", self.system.as_bytes());
        to.text("db.namespace", self.client.schema);
        to.text("db.query.summary", self.summary);
        to.whole_text("db.query.text", self.text);
        if let Some(place) = self.server {
            let (host, port) = host_and_port(place);
            to.text("server.address", host);
            if let Some(port) = port {
                to.integer("server.port", port.into());
            }
        }
        to.shown("client.address", &self.client.address);
        if self.client.port != 0 {
            to.integer("client.port", self.client.port.into());
        }
        // (In development, like that of the rows.)
        to.text("user.name", self.client.user);
        to.integer("db.response.returned_rows", self.rows);
        match self.failure {
            Some(Failure::Error(number, _)) => {
                let number = number.to_string();
                to.text("db.response.status_code", number.as_bytes());
                to.text("error.type", number.as_bytes());
            }
            Some(Failure::Closed) => to.text("error.type", b"connection_closed"),
            None => {}
        }
        to.integer("dpm.connection.id", self.client.id.into());
        to.integer("dpm.affected_rows", self.affected);
        to.integer("dpm.response.bytes", self.bytes);
        to.seconds("dpm.wait.duration", self.waited);
        if let Some(in_server) = self.in_server {
            to.seconds("dpm.server.duration", in_server);
        }
    }
}

/// An array of attributes that is being written. Those without a value are left out.
struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl Attributes<'_> {
    fn key(&mut self, key: &str) {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(b',');
        }
        let _ = write!(self.out, "{{\"key\":\"{key}\",\"value\":");
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.text_up_to(key, value, MAX_NAME);
    }

    fn whole_text(&mut self, key: &str, value: &[u8]) {
        self.text_up_to(key, value, usize::MAX);
    }

    /// Something that is shown without quotes or control characters.
    fn shown(&mut self, key: &str, value: &impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{{\"stringValue\":\"{value}\"}}}}");
    }

    fn text_up_to(&mut self, key: &str, value: &[u8], max: usize) {
        if value.is_empty() {
            return;
        }
        self.key(key);
        self.out.extend_from_slice(b"{\"stringValue\":");
        write_text(value, max, self.out);
        self.out.extend_from_slice(b"}}");
    }

    /// (JSON's numbers do not hold all of them, so that they are strings.)
    fn integer(&mut self, key: &str, value: u64) {
        self.key(key);
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let _ = write!(self.out, "{{\"intValue\":\"{value}\"}}}}");
    }

    fn seconds(&mut self, key: &str, value: Duration) {
        self.key(key);
        let value = value.as_secs_f64();
        let _ = write!(self.out, "{{\"doubleValue\":{value:.6}}}}}");
    }
}

/// Appends bytes as a string of JSON, up to so many of them. What is no UTF-8 is replaced.
fn write_text(bytes: &[u8], max: usize, out: &mut Vec<u8>) {
    let bytes = bytes.get(..max).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    // Writing a string to a vector does not fail.
    let _ = serde_json::to_writer(&mut *out, &*text);
}

/// The parts of an address as figures have it: "host:port", "[::1]:port", or the path of a socket.
fn host_and_port(place: &[u8]) -> (&[u8], Option<u16>) {
    let Some(at) = memchr::memrchr(b':', place) else {
        return (place, None);
    };
    let (host, port) = place.split_at(at);
    let port = port
        .get(1..)
        .and_then(|port| std::str::from_utf8(port).ok());
    match port.and_then(|port| port.parse().ok()) {
        Some(port) => {
            let bare = host
                .strip_prefix(b"[")
                .and_then(|host| host.strip_suffix(b"]"));
            (bare.unwrap_or(host), Some(port))
        }
        None => (place, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn span<'a>(text: &'a [u8], failure: Option<Failure<'a>>) -> Span<'a> {
        Span {
            ids: Ids {
                trace: [0xAB; 16],
                span: [0xCD; 8],
                parent: Some([1; 8]),
            },
            name: b"SELECT t",
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            took: Duration::from_micros(1500),
            client: Client {
                id: 7,
                address: Address::Ip(std::net::Ipv6Addr::LOCALHOST.into()),
                port: 1234,
                user: b"ann\"\n",
                schema: b"",
            },
            system: "mysql",
            server: Some(b"[::1]:3306"),
            summary: b"SELECT t",
            text,
            waited: Duration::ZERO,
            in_server: None,
            rows: u64::MAX,
            affected: 0,
            bytes: 3,
            failure,
        }
    }

    fn written(span: &Span<'_>) -> Value {
        let mut out = Vec::new();
        span.write(&mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a Value> {
        let list = span["attributes"].as_array().unwrap();
        let found = list.iter().find(|each| each["key"] == key)?;
        found["value"].as_object().unwrap().values().next()
    }

    #[test]
    fn what_is_told() {
        let told = written(&span(b"SELECT ? FROM t", None));
        assert_eq!(told["traceId"], "ab".repeat(16));
        assert_eq!(told["parentSpanId"], "01".repeat(8));
        assert_eq!(told["kind"], 3);
        assert_eq!(told["startTimeUnixNano"], "1699999999998500000");
        assert_eq!(told["endTimeUnixNano"], "1700000000000000000");
        assert!(told.get("status").is_none());
        assert_eq!(attribute(&told, "server.address").unwrap(), "::1");
        assert_eq!(attribute(&told, "server.port").unwrap(), "3306");
        assert_eq!(attribute(&told, "user.name").unwrap(), "ann\"\n");
        assert_eq!(
            attribute(&told, "db.response.returned_rows").unwrap(),
            "9223372036854775807"
        );
        assert_eq!(attribute(&told, "db.namespace"), None);
        assert_eq!(attribute(&told, "error.type"), None);
    }

    #[test]
    fn failures_are_told() {
        let told = written(&span(
            b"x",
            Some(Failure::Error(1064, b"You have an error")),
        ));
        assert_eq!(told["status"]["code"], 2);
        assert_eq!(told["status"]["message"], "You have an error");
        assert_eq!(attribute(&told, "error.type").unwrap(), "1064");
        assert_eq!(attribute(&told, "db.response.status_code").unwrap(), "1064");
        let told = written(&span(b"x", Some(Failure::Error(1064, b""))));
        assert!(told["status"].get("message").is_none());
        let told = written(&span(b"x", Some(Failure::Closed)));
        assert_eq!(attribute(&told, "error.type").unwrap(), "connection_closed");
    }

    #[test]
    fn any_text_is_json() {
        for text in [
            &b"\xFF\xFE '\"\\\0\x1F"[..],
            "SELECT 'ä', '\u{2028}'".as_bytes(),
            b"</script>\r\n",
        ] {
            let told = written(&span(text, Some(Failure::Error(1, text))));
            let lossy = String::from_utf8_lossy(text);
            assert_eq!(attribute(&told, "db.query.text").unwrap(), &*lossy);
        }
    }

    #[test]
    fn places_are_taken_apart() {
        assert_eq!(host_and_port(b"db1:3306"), (&b"db1"[..], Some(3306)));
        assert_eq!(host_and_port(b"[::1]:1"), (&b"::1"[..], Some(1)));
        assert_eq!(host_and_port(b"/run/a.sock"), (&b"/run/a.sock"[..], None));
        assert_eq!(host_and_port(b"/run/a:b"), (&b"/run/a:b"[..], None));
    }
}
