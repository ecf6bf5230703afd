//! A MySQL client that does as little as possible: it logs in, sends queries and counts what comes
//! back, so that the load generator does not limit the proxy.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sha1::{Digest, Sha1};

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
        let own = handshake.ends_with(b"caching_sha2_password\0");
        let auth = auth(&challenge(&handshake)?, own, tls);
        if tls {
            client.send(1, &auth[..SSL_REQUEST])?;
            if let Socket::Plain(socket) = mem::replace(&mut client.socket, Socket::None) {
                client.socket = Socket::Tls(Box::new(tls::begin(socket)?));
            }
        }
        client.send(1 + u8::from(tls), &auth)?;
        let mut answer = client.packet()?;
        // MySQL Router's handshake has a challenge of its own, and the server's comes in an auth
        // switch.
        if answer.first() == Some(&0xFE) {
            let challenge = answer.split(|&b| b == 0).nth(1).unwrap_or_default();
            let response = native_password(challenge);
            client.send(3 + u8::from(tls), &response)?;
            answer = client.packet()?;
        }
        match answer.first() {
            Some(0) => Ok(client),
            _ => Err(refused(&answer)),
        }
    }

    pub fn query(&mut self, sql: &str) -> Result<Count> {
        self.query_watched(sql, |_| {})
    }

    /// Like `query`; `watch` is told after each read how many bytes have come.
    pub fn query_watched(&mut self, sql: &str, mut watch: impl FnMut(u64)) -> Result<Count> {
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(COM_QUERY);
        command.extend_from_slice(sql.as_bytes());
        self.send(0, &command)?;

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

/// `none`: with an empty answer, because the server's challenge is not known yet.
fn auth(challenge: &[u8], none: bool, tls: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let capabilities = CAPABILITIES | if tls { SSL } else { 0 };
    packet.extend_from_slice(&capabilities.to_le_bytes());
    packet.extend_from_slice(&(1_u32 << 24).to_le_bytes());
    packet.push(33); // utf8
    packet.extend_from_slice(&[0; 23]);
    packet.extend_from_slice(USER.as_bytes());
    packet.push(0);
    if none {
        packet.push(0);
    } else {
        packet.push(20);
        packet.extend_from_slice(&native_password(challenge));
    }
    packet.extend_from_slice(DATABASE.as_bytes());
    packet.push(0);
    packet.extend_from_slice(match none {
        true => b"caching_sha2_password\0",
        false => b"mysql_native_password\0",
    });
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

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

fn refused(packet: &[u8]) -> Error {
    Error::other(format!("refused: {}", packet.escape_ascii()))
}
