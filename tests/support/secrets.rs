//! Secrets that must not be in any log, and a search for them.

use std::collections::HashSet;
use std::fmt::Write as _;

use dpm::wire::frame::{HEADER, Header};
use dpm::wire::{Auth, AuthSwitch, Capabilities, Com, Handshake};

/// This many consecutive bytes of a secret count as a leak.
const WINDOW: usize = 8;

/// The secrets of some logins, by name.
#[derive(Default)]
pub struct Secrets {
    found: Vec<(String, Vec<u8>)>,
}

impl Secrets {
    /// Adds one, unless it is so short that it could occur by chance.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        if bytes.len() >= WINDOW && !self.found.iter().any(|(_, known)| known == bytes) {
            self.found.push((name.to_owned(), bytes.to_vec()));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// How many have a name that contains this.
    pub fn named(&self, name: &str) -> usize {
        let named = self.found.iter().filter(|(is, _)| is.contains(name));
        named.count()
    }

    /// Adds all secrets of a recorded connection: challenges, answers, further rounds, and those of
    /// COM_CHANGE_USER. With TLS or compression only what comes before that can be read.
    pub fn of_recording(&mut self, said: &[u8], heard: &[u8]) {
        let (said, heard) = (packets(said), packets(heard));
        let Some(Ok(hello)) = heard.first().map(|first| Handshake::decode(first)) else {
            return;
        };
        self.add("the greeting's challenge", &hello.scramble);
        let mut answers = said.iter();
        match answers.next().map(|first| Auth::decode(first)) {
            Some(Ok(auth)) => self.add("the auth packet's answer", &auth.auth_response),
            _ => return,
        }
        // The server's packets until the login is over are rounds, and so are the client's answers.
        for packet in &heard[1..] {
            match packet.first() {
                Some(0xFE) if packet.len() > 9 => {
                    if let Ok(switch) = AuthSwitch::decode(packet, Capabilities::all()) {
                        self.add("a switch's challenge", &switch.data);
                    }
                }
                // A public key is not a secret.
                Some(0x01) if !packet[1..].starts_with(b"-----BEGIN") && packet.len() < 400 => {
                    self.add("a round of the server", &packet[1..]);
                }
                _ => break,
            }
        }
        for packet in answers {
            match packet.split_first() {
                Some((&first, rest)) if Com(first) == Com::CHANGE_USER => {
                    let user = rest.iter().position(|&b| b == 0).unwrap_or_default();
                    if let Some((&len, answer)) = rest.get(user + 1..).and_then(<[u8]>::split_first)
                    {
                        let answer = answer.get(..usize::from(len)).unwrap_or(answer);
                        self.add("a change of user's answer", answer);
                    }
                }
                // The tests' queries are short SQL, and no secrets.
                Some((&3, _)) | None => {}
                Some(_) => self.add("a round of the client", packet),
            }
        }
    }

    /// The secrets that a log contains, in any form: as they are, in hexadecimal, in base64, as
    /// lists of numbers, escaped, in whole or in part.
    pub fn leaks(&self, log: &[u8]) -> Vec<String> {
        let readings = readings(log).map(|(how, reading)| {
            let parts: HashSet<Vec<u8>> = reading.windows(WINDOW).map(<[u8]>::to_vec).collect();
            (how, parts)
        });
        let as_text = String::from_utf8_lossy(log);
        let mut leaks = Vec::new();
        for (name, secret) in &self.found {
            for (how, parts) in &readings {
                if let Some(part) = secret.windows(WINDOW).find(|part| parts.contains(*part)) {
                    let part = part.escape_ascii();
                    leaks.push(format!("{name}, {how}: {part} of {} bytes", secret.len()));
                }
            }
            // Bytes that are not text may have been replaced.
            let text = String::from_utf8_lossy(secret);
            for run in text.split('\u{fffd}').filter(|run| run.len() >= 6) {
                if as_text.contains(run) {
                    let line = as_text.lines().find(|line| line.contains(run));
                    leaks.push(format!("{name}, as text: {run:?} in {line:?}"));
                }
            }
        }
        leaks.sort();
        leaks.dedup();
        leaks
    }
}

/// The payloads of all complete packets of one direction.
fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(header) = Header::parse(bytes) {
        let Some(payload) = bytes.get(HEADER..HEADER + header.len) else {
            break;
        };
        all.push(payload.to_vec());
        bytes = &bytes[HEADER + header.len..];
    }
    all
}

/// The log decoded in every way in which it could contain a secret.
fn readings(log: &[u8]) -> [(&'static str, Vec<u8>); 8] {
    [
        ("as it is", log.to_vec()),
        ("in hexadecimal", from_hex(log)),
        ("as numbers", from_numbers(log)),
        ("escaped", from_escapes(log)),
        ("in base64", from_base64(log, 0)),
        ("in base64", from_base64(log, 1)),
        ("in base64", from_base64(log, 2)),
        ("in base64", from_base64(log, 3)),
    ]
}

/// Runs of hexadecimal digits, at both alignments, whatever separates them: "de ad", "de:ad",
/// "0xde, 0xad".
fn from_hex(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut digits = Vec::new();
    let mut flush = |digits: &mut Vec<u8>| {
        for skip in [0, 1] {
            let pairs = digits.get(skip..).unwrap_or_default().chunks_exact(2);
            out.extend(pairs.map(|pair| pair[0] << 4 | pair[1]));
            out.push(b'\n');
        }
        digits.clear();
    };
    for &byte in log {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) => digits.push(digit as u8),
            (None, b'x') if digits.last() == Some(&0) => {
                digits.pop();
            }
            (None, b' ' | b':' | b',' | b'-') => {}
            (None, _) => flush(&mut digits),
        }
    }
    flush(&mut digits);
    out
}

/// "[1, 2, 3]", "1 2 3" and the like.
fn from_numbers(log: &[u8]) -> Vec<u8> {
    log.split(|byte| !byte.is_ascii_digit())
        .filter_map(|number| std::str::from_utf8(number).ok()?.parse::<u8>().ok())
        .collect()
}

/// Decodes backslash escapes: `\x1b`, `\u{1b}`, `\027`, `\n`.
fn from_escapes(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = log;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let number = |bytes: &[u8], radix| {
            let text = std::str::from_utf8(bytes).ok()?;
            u8::from_str_radix(text, radix).ok()
        };
        let braced = || {
            let end = tail.iter().position(|&b| b == b'}')?;
            Some((number(tail.get(2..end)?, 16)?, end + 1))
        };
        let found = match tail.first() {
            Some(b'x') => tail.get(1..3).and_then(|hex| Some((number(hex, 16)?, 3))),
            Some(b'u') => braced(),
            Some(b'0'..=b'9') => (1..=3)
                .rev()
                .find_map(|n| Some((number(tail.get(..n)?, 10)?, n))),
            Some(b'n') => Some((b'\n', 1)),
            Some(b'r') => Some((b'\r', 1)),
            Some(b't') => Some((b'\t', 1)),
            Some(&other) => Some((other, 1)),
            None => None,
        };
        if let Some((byte, size)) = found {
            out.push(byte);
            rest = &tail[size..];
        }
    }
    out
}

/// Decodes runs of base64, each from its character `skip` on.
fn from_base64(log: &[u8], skip: usize) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut out = Vec::new();
    for run in log.split(|&byte| value(byte).is_none()) {
        let run = run.get(skip..).unwrap_or_default();
        for four in run.chunks(4) {
            let bits = four.iter().fold(0u32, |bits, &b| {
                bits << 6 | u32::from(value(b).unwrap_or(0))
            });
            let bytes = (bits << (6 * (4 - four.len()))).to_be_bytes();
            out.extend_from_slice(&bytes[1..four.len()]);
        }
        out.push(b'\n');
    }
    out
}

#[test]
fn a_leak_is_found_in_every_form() {
    let secret: Vec<u8> = (0..20u8)
        .map(|n| n.wrapping_mul(37).wrapping_add(101))
        .collect();
    let mut secrets = Secrets::default();
    secrets.add("it", &secret);
    let mut hex = String::new();
    let mut spaced = String::new();
    for byte in &secret {
        write!(hex, "{byte:02X}").expect("a string");
        write!(spaced, "{byte:#04x}, ").expect("a string");
    }
    let bytes = secret.escape_ascii().to_string();
    let base64 = |input: &[u8]| {
        const SIGNS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for three in input.chunks_exact(3) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            for shift in [18, 12, 6, 0] {
                out.push(char::from(SIGNS[(bits >> shift) as usize & 63]));
            }
        }
        out
    };
    let forms = [
        hex.clone().into_bytes(),
        hex.to_lowercase().into_bytes(),
        format!("<{hex}>").into_bytes(),
        format!("a{hex}").into_bytes(),
        spaced.into_bytes(),
        format!("{secret:?}").into_bytes(),
        format!("b\"{bytes}\"").into_bytes(),
        base64(&secret).into_bytes(),
        base64(&[&b"x"[..], &secret].concat()).into_bytes(),
        format!("AAA{}", base64(&secret)).into_bytes(),
        [b"in the middle ", &secret[4..13], b" of it"].concat(),
    ];
    for form in forms {
        let log = [b"[2026] INFO: ", &form[..], b".\nmore\n"].concat();
        let shown = String::from_utf8_lossy(&log).into_owned();
        assert!(!secrets.leaks(&log).is_empty(), "{shown}");
    }
    assert!(
        secrets
            .leaks(b"[2026-11-21T03:00:00Z INFO] fine 1 2 3 abcdef\n")
            .is_empty()
    );
}
