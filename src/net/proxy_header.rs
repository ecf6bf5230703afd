//! The PROXY protocol, versions 1 and 2: a header in front of a connection's own bytes, in which a
//! load balancer says whose connection it passes on.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of every header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The size of the fixed part of a header of version 2.
const FIXED: usize = 16;
/// The longest line of version 1, with its CR LF.
const LONGEST_LINE: usize = 107;

/// A PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address, and the address that it connected to. `None`: the connection is the
    /// sender's own (a health check, for example), or has no addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// The versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyHeader {
    /// Reads the header at the start of `bytes`; returns it and its length. `None`: it is
    /// incomplete. The header's own bytes, at most 65,551, are always enough to decide. What follows the
    /// addresses (information about a certificate, for example) is skipped.
    ///
    /// # Errors
    /// There is no header; the text says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, String> {
        if starts_like(bytes, SIGNATURE) {
            return parse_v2(bytes);
        }
        if starts_like(bytes, b"PROXY ") {
            return parse_v1(bytes);
        }
        Err("expected a PROXY protocol header, got something else".into())
    }

    /// The header as it is sent.
    pub fn encode(&self, version: ProxyVersion) -> Vec<u8> {
        match version {
            ProxyVersion::V1 => self.encode_v1().into_bytes(),
            ProxyVersion::V2 => self.encode_v2(),
        }
    }

    fn encode_v1(&self) -> String {
        let Some((from, to)) = self.addresses else {
            return "PROXY UNKNOWN\r\n".into();
        };
        let (family, from_ip, to_ip) = match same_family(from.ip(), to.ip()) {
            Ips::V4(from, to) => ("TCP4", IpAddr::from(from), IpAddr::from(to)),
            Ips::V6(from, to) => ("TCP6", IpAddr::from(from), IpAddr::from(to)),
        };
        let (from, to) = (from.port(), to.port());
        format!("PROXY {family} {from_ip} {to_ip} {from} {to}\r\n")
    }

    fn encode_v2(&self) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        let Some((from, to)) = self.addresses else {
            // LOCAL, unspecified, no addresses.
            out.extend_from_slice(&[0x20, 0, 0, 0]);
            return out;
        };
        match same_family(from.ip(), to.ip()) {
            Ips::V4(from, to) => {
                out.extend_from_slice(&[0x21, 0x11, 0, 12]);
                out.extend_from_slice(&from.octets());
                out.extend_from_slice(&to.octets());
            }
            Ips::V6(from, to) => {
                out.extend_from_slice(&[0x21, 0x21, 0, 36]);
                out.extend_from_slice(&from.octets());
                out.extend_from_slice(&to.octets());
            }
        }
        out.extend_from_slice(&from.port().to_be_bytes());
        out.extend_from_slice(&to.port().to_be_bytes());
        out
    }
}

enum Ips {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// Converts both addresses to one family: a header has one for both.
fn same_family(from: IpAddr, to: IpAddr) -> Ips {
    match (from.to_canonical(), to.to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ips::V4(from, to),
        (from, to) => Ips::V6(as_v6(from), as_v6(to)),
    }
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Whether `bytes` begin with `start`, or may do so once more of them have arrived.
fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes.get(..len) == start.get(..len)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, String> {
    let longest = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = longest.windows(2).position(|pair| pair == b"\r\n") else {
        if longest.len() == LONGEST_LINE {
            let why = format!("expected a PROXY line of at most {LONGEST_LINE} bytes, got more");
            return Err(why);
        }
        return Ok(None);
    };
    let line = longest.get(..end).unwrap_or_default();
    // Escaped, because it is logged.
    let bad = || {
        format!(
            "expected a PROXY line with addresses, got '{}'",
            line.escape_ascii()
        )
    };
    let text = std::str::from_utf8(line).map_err(|_| bad())?;
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().ok_or_else(bad);
    let v4 = match word()? {
        "TCP4" => true,
        "TCP6" => false,
        "UNKNOWN" => {
            // The specification says to ignore the rest of the line.
            return Ok(Some((ProxyHeader { addresses: None }, end + 2)));
        }
        _ => return Err(bad()),
    };
    let ip = |text: &str| {
        let ip: IpAddr = text.parse().map_err(|_| bad())?;
        (ip.is_ipv4() == v4).then_some(ip).ok_or_else(bad)
    };
    let port = |text: &str| {
        // Rust's `parse` would accept "+1".
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let port = text.parse::<u16>().ok().filter(|_| digits);
        port.ok_or_else(bad)
    };
    let (from_ip, to_ip) = (ip(word()?)?, ip(word()?)?);
    let from = SocketAddr::new(from_ip, port(word()?)?);
    let to = SocketAddr::new(to_ip, port(word()?)?);
    if words.next().is_some() {
        return Err(bad());
    }
    let addresses = Some((from, to));
    Ok(Some((ProxyHeader { addresses }, end + 2)))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, String> {
    let Some([command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let size = FIXED + len;
    if command >> 4 != 2 {
        let version = command >> 4;
        return Err(format!(
            "expected version 2 of the PROXY protocol's binary header, got {version}"
        ));
    }
    let is_local = match command & 0x0F {
        0 => true,
        1 => false,
        other => {
            return Err(format!(
                "expected the PROXY header's command to be 0 or 1, got {other}"
            ));
        }
    };
    let Some(body) = bytes.get(FIXED..size) else {
        return Ok(None);
    };
    let short = || format!("expected a PROXY header with two addresses, got {len} bytes of them");
    let addresses = match family {
        _ if is_local => None,
        0x11 => Some(body.first_chunk::<12>().map(v4_pair).ok_or_else(short)?),
        0x21 => Some(body.first_chunk::<36>().map(v6_pair).ok_or_else(short)?),
        // Unix sockets, datagrams and future families: the specification says to accept them, and
        // to treat the connection as the sender's own.
        _ => None,
    };
    Ok(Some((ProxyHeader { addresses }, size)))
}

fn v4_pair(bytes: &[u8; 12]) -> (SocketAddr, SocketAddr) {
    let [a, b, c, d, e, f, g, h, from, from_low, to, to_low] = *bytes;
    (
        SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([from, from_low])),
        SocketAddr::new([e, f, g, h].into(), u16::from_be_bytes([to, to_low])),
    )
}

fn v6_pair(bytes: &[u8; 36]) -> (SocketAddr, SocketAddr) {
    let ip = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        IpAddr::from(octets).to_canonical()
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    (
        SocketAddr::new(ip(0), port(32)),
        SocketAddr::new(ip(16), port(34)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, String> {
        // Wherever it is cut, a part is never taken for the whole.
        let whole = ProxyHeader::parse(bytes);
        if let Ok(Some((_, len))) = whole {
            for cut in 0..len {
                assert_eq!(ProxyHeader::parse(&bytes[..cut]), Ok(None), "{cut}");
            }
        }
        whole
    }

    fn addresses(bytes: &[u8]) -> (String, String) {
        let (header, len) = parse(bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        let (from, to) = header.addresses.unwrap();
        (from.to_string(), to.to_string())
    }

    fn pair(from: &str, to: &str) -> (String, String) {
        (from.into(), to.into())
    }

    #[test]
    fn lines() {
        assert_eq!(
            addresses(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 3306\r\n"),
            pair("192.0.2.7:56324", "198.51.100.1:3306")
        );
        assert_eq!(
            addresses(b"PROXY TCP6 2001:db8::7 ::1 65535 0\r\n"),
            pair("[2001:db8::7]:65535", "[::1]:0")
        );
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff:f ffff:f 65535 65535\r\n",
        ] {
            let none = ProxyHeader { addresses: None };
            assert_eq!(parse(line.as_bytes()), Ok(Some((none, line.len()))));
        }
    }

    #[test]
    fn what_follows_is_not_the_headers() {
        let (_, len) = parse(b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(len, 15);
        let mut bytes = ProxyHeader { addresses: None }.encode(ProxyVersion::V2);
        bytes.push(7);
        assert_eq!(parse(&bytes).unwrap().unwrap().1, 16);
    }

    #[test]
    fn lines_that_are_none() {
        for line in [
            "GET / HTTP/1.0\r\n",
            "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY \r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 +2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 localhost localhost 1 2\r\n",
            "PROXY \u{e9}\r\n",
        ] {
            parse(line.as_bytes()).unwrap_err();
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert!(parse(&endless).unwrap_err().contains("107"));
        assert_eq!(parse(&endless[..106]), Ok(None));
    }

    #[test]
    fn binary_headers() {
        // After the specification: signature, version and command, family, length.
        let mut v4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        v4.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 1, 0xDC, 0x04, 0x0C, 0xEA]);
        let expected = pair("192.0.2.7:56324", "198.51.100.1:3306");
        assert_eq!(addresses(&v4), expected);
        // An extension of an unknown type follows.
        v4[15] += 5;
        v4.extend_from_slice(&[0xE0, 0, 2, 1, 2]);
        assert_eq!(addresses(&v4), expected);

        v4[12] = 0x20;
        assert_eq!(parse(&v4).unwrap().unwrap().0.addresses, None);
        v4[12] = 0x21;
        v4[13] = 0x31;
        assert_eq!(parse(&v4).unwrap().unwrap().0.addresses, None);
        for (at, byte) in [(12, 0x22), (12, 0x11), (11, b' '), (0, b'x')] {
            let mut bad = v4.clone();
            bad[at] = byte;
            parse(&bad).unwrap_err();
        }
        // As much as the length can say.
        let mut long = v4.clone();
        (long[12], long[13], long[14], long[15]) = (0x21, 0x11, 0xFF, 0xFF);
        assert_eq!(ProxyHeader::parse(&long), Ok(None));
        long.resize(FIXED + 0xFFFF, 7);
        assert_eq!(addresses(&long), expected);
        let mut short = v4.clone();
        short[13] = 0x21;
        assert!(parse(&short).unwrap_err().contains("17 bytes"));
    }

    #[test]
    fn what_is_sent_is_understood() {
        for (from, to) in [
            ("192.0.2.7:1", "198.51.100.1:3306"),
            ("[2001:db8::7]:65535", "[::1]:0"),
        ] {
            let addresses_of = |version| {
                let pair = (from.parse().unwrap(), to.parse().unwrap());
                addresses(
                    &ProxyHeader {
                        addresses: Some(pair),
                    }
                    .encode(version),
                )
            };
            assert_eq!(addresses_of(ProxyVersion::V1), pair(from, to));
            assert_eq!(addresses_of(ProxyVersion::V2), pair(from, to));
        }
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let none = ProxyHeader { addresses: None };
            let bytes = none.encode(version);
            assert_eq!(parse(&bytes), Ok(Some((none, bytes.len()))));
            // A header has one family for both.
            let mixed = ("192.0.2.7:1".parse().unwrap(), "[::1]:2".parse().unwrap());
            let bytes = ProxyHeader {
                addresses: Some(mixed),
            }
            .encode(version);
            let (header, _) = parse(&bytes).unwrap().unwrap();
            let (from, to) = header.addresses.unwrap();
            assert_eq!(from.ip().to_canonical().to_string(), "192.0.2.7");
            assert_eq!(to.to_string(), "[::1]:2");
        }
    }
}
