//! A MySQL client that does as little as possible: it logs in, sends queries and counts what comes
//! back, so that the load generator does not limit the proxy.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::tls;

pub const USER: &str = "bench";
pub const PASSWORD: &str = "bench";
pub const DATABASE: &str = "bench";

const HEADER: usize = 4;
const COM_QUIT: u8 = 1;

const SSL: u32 = 1 << 11;
/// The length of the request for TLS, which is the start of the auth packet.
const SSL_REQUEST: usize = 32;
const COM_QUERY: u8 = 3;
const COM_STMT_PREPARE: u8 = 22;
const COM_STMT_EXECUTE: u8 = 23;
const MYSQL_TYPE_LONGLONG: u8 = 8;

/// LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH; not
/// DEPRECATE_EOF, so that the end of a result looks the same through every proxy.
const CAPABILITIES: u32 = 1 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19;

/// What a response was made of.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub bytes: u64,
    pub rows: u64,
}

pub struct Client {
    socket: Socket,
    buffer: Vec<u8>,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
    /// While a plain stream is replaced by one with TLS.
    None,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::None => Ok(0),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::None => Ok(0),
        }
    }
    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::None => Ok(()),
        }
    }
}

impl Client {
    /// Connects and logs in, with TLS or without. `buffer` bytes are read at a time.
    pub fn login(address: SocketAddr, tls: bool, buffer: usize) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self {
            socket: Socket::Plain(socket),
            buffer: vec![0; buffer],
        };

        let handshake = client.packet()?;
        let sha2 = handshake.ends_with(b"caching_sha2_password\0");
        let auth = auth(&challenge(&handshake)?, sha2, tls);
        if tls {
            client.send(1, &auth[..SSL_REQUEST])?;
            if let Socket::Plain(socket) = mem::replace(&mut client.socket, Socket::None) {
                client.socket = Socket::Tls(Box::new(tls::begin(socket)?));
            }
        }
        client.send(1 + u8::from(tls), &auth)?;
        let mut sequence = 3 + u8::from(tls);
        loop {
            let answer = client.packet()?;
            let response = match answer.as_slice() {
                [0, ..] => return Ok(client),
                // MySQL Router's handshake has a challenge of its own, and the server's comes in an auth
                // switch.
                [0xFE, switch @ ..] => response_to(switch),
                // The server of caching_sha2_password needs the password itself, or does not.
                [1, 4] if tls => [PASSWORD.as_bytes(), b"\0"].concat(),
                [1, 3] => {
                    sequence += 1;
                    continue;
                }
                _ => return Err(refused(&answer)),
            };
            client.send(sequence, &response)?;
            sequence += 2;
        }
    }

    pub fn query(&mut self, sql: &str) -> Result<Count> {
        self.query_watched(sql, |_| {})
    }

    /// Prepares a statement with one parameter, a number; returns its id.
    pub fn prepare(&mut self, sql: &str) -> Result<u32> {
        self.send(0, &[&[COM_STMT_PREPARE], sql.as_bytes()].concat())?;
        let head = self.packet()?;
        let &[0, a, b, c, d, columns, _, parameters, _, ..] = &head[..] else {
            return Err(refused(&head));
        };
        for count in [parameters, columns] {
            // An EOF follows where there are definitions.
            for _ in 0..u16::from(count) + u16::from(count > 0) {
                self.packet()?;
            }
        }
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    /// Executes it.
    pub fn execute(&mut self, statement: u32, parameter: u64) -> Result<Count> {
        let mut command = vec![COM_STMT_EXECUTE];
        command.extend_from_slice(&statement.to_le_bytes());
        command.extend_from_slice(&[0, 1, 0, 0, 0]); // no cursor, once
        command.extend_from_slice(&[0, 1, MYSQL_TYPE_LONGLONG, 0]); // not NULL, and of this type
        command.extend_from_slice(&parameter.to_le_bytes());
        self.send(0, &command)?;
        self.response(|_| {})
    }

    /// Like `query`; `watch` is told after each read how many bytes have come.
    pub fn query_watched(&mut self, sql: &str, watch: impl FnMut(u64)) -> Result<Count> {
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(COM_QUERY);
        command.extend_from_slice(sql.as_bytes());
        self.send(0, &command)?;
        self.response(watch)
    }

    fn response(&mut self, mut watch: impl FnMut(u64)) -> Result<Count> {
        let mut response = Response::default();
        let mut kept = 0;
        loop {
            let read = self.socket.read(&mut self.buffer[kept..])?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            response.count.bytes += read as u64;
            let filled = kept + read;
            let used = response.feed(&self.buffer[..filled])?;
            if response.phase == Phase::Done {
                return Ok(response.count);
            }
            self.buffer.copy_within(used..filled, 0);
            kept = filled - used;
            watch(response.count.bytes);
        }
    }

    pub fn quit(mut self) -> Result<()> {
        self.send(0, &[COM_QUIT])
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> Result<()> {
        let mut packet = Vec::with_capacity(HEADER + payload.len());
        packet.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        packet.push(sequence);
        packet.extend_from_slice(payload);
        self.socket.write_all(&packet)?;
        self.socket.flush()
    }

    /// One whole packet, for the login only.
    fn packet(&mut self) -> Result<Vec<u8>> {
        let mut header = [0; HEADER];
        self.socket.read_exact(&mut header)?;
        let mut payload = vec![0; length(&header)];
        self.socket.read_exact(&mut payload)?;
        Ok(payload)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Begin,
    Columns,
    Rows,
    Done,
}

/// Parses a response by its packets' headers and first bytes only.
#[derive(Default)]
struct Response {
    phase: Phase,
    count: Count,
    /// Bytes of the current packet that have not arrived yet.
    skip: usize,
}

impl Response {
    /// Returns how many bytes were consumed; the rest must be passed again, with more after it.
    fn feed(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut at = self.skip.min(bytes.len());
        self.skip -= at;
        while let Some(head) = bytes.get(at..at + HEADER + 1) {
            let (length, first) = (length(head), head[HEADER]);
            let eof = first == 0xfe && length < 9;
            match self.phase {
                Phase::Rows if first != 0xff && !eof => self.count.rows += 1,
                _ if first == 0xff => {
                    return Err(refused(&bytes[at + HEADER..]));
                }
                Phase::Begin if first == 0 => self.phase = Phase::Done,
                Phase::Begin => self.phase = Phase::Columns,
                Phase::Columns if eof => self.phase = Phase::Rows,
                Phase::Rows => self.phase = Phase::Done,
                Phase::Columns => {}
                Phase::Done => return Err(invalid("bytes after the response")),
            }
            let end = at + HEADER + length;
            if end > bytes.len() {
                self.skip = end - bytes.len();
                return Ok(bytes.len());
            }
            at = end;
        }
        Ok(at)
    }
}

fn length(header: &[u8]) -> usize {
    u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize
}

/// The twenty random bytes in the server's handshake.
fn challenge(handshake: &[u8]) -> Result<Vec<u8>> {
    if handshake.first() != Some(&10) {
        return Err(refused(handshake));
    }
    let short = || invalid("the handshake is too short");
    let version = handshake.iter().position(|&b| b == 0).ok_or_else(short)?;
    let rest = &handshake[version + 1..];
    // thread id 4, challenge 8, filler 1, capabilities 2, charset 1, status 2, capabilities 2,
    // length 1, reserved 10, challenge 12
    let first = rest.get(4..12).ok_or_else(short)?;
    let second = rest.get(31..43).ok_or_else(short)?;
    Ok([first, second].concat())
}

/// `sha2`: for `caching_sha2_password`, otherwise for `mysql_native_password`.
fn auth(challenge: &[u8], sha2: bool, tls: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let capabilities = CAPABILITIES | if tls { SSL } else { 0 };
    packet.extend_from_slice(&capabilities.to_le_bytes());
    packet.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    packet.push(33); // utf8
    packet.extend_from_slice(&[0; 23]);
    packet.extend_from_slice(USER.as_bytes());
    packet.push(0);
    let (response, plugin) = match sha2 {
        true => (
            caching_sha2_password(challenge),
            &b"caching_sha2_password\0"[..],
        ),
        false => (native_password(challenge), &b"mysql_native_password\0"[..]),
    };
    packet.push(response.len() as u8);
    packet.extend_from_slice(&response);
    packet.extend_from_slice(DATABASE.as_bytes());
    packet.push(0);
    packet.extend_from_slice(plugin);
    packet
}

/// SHA1(password) xor SHA1(challenge, SHA1(SHA1(password)))
fn native_password(challenge: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(PASSWORD);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(challenge).chain_update(twice);
    once.iter()
        .zip(mask.finalize())
        .map(|(a, b)| a ^ b)
        .collect()
}

/// SHA256(password) xor SHA256(SHA256(SHA256(password)), challenge)
fn caching_sha2_password(challenge: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(PASSWORD);
    let twice = Sha256::digest(once);
    let mask = Sha256::new()
        .chain_update(twice)
        .chain_update(challenge)
        .finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The answer to an auth switch: the plugin's name and its challenge follow.
fn response_to(switch: &[u8]) -> Vec<u8> {
    let mut parts = switch.splitn(2, |&b| b == 0);
    let plugin = parts.next().unwrap_or_default();
    let challenge = parts.next().unwrap_or_default();
    let challenge = challenge.strip_suffix(b"\0").unwrap_or(challenge);
    match plugin {
        b"caching_sha2_password" => caching_sha2_password(challenge),
        _ => native_password(challenge),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

fn refused(packet: &[u8]) -> Error {
    Error::other(format!("refused: {}", packet.escape_ascii()))
}
