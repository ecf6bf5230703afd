//! Reads values and whole sessions out of the fuzzer's bytes.

use dpm::sql::Mode;
use dpm::wire::Capabilities;

/// The bytes that are left. Beyond their end everything is 0 and empty, so that each input is one.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

/// Who has sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// A packet of a session. Its frame may announce more bytes than there are, as the start of a long packet
/// does.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub from: From,
    pub announced: usize,
    pub seq: u8,
    pub payload: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// The next bytes; fewer at the end.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub fn capabilities(&mut self) -> Capabilities {
        Capabilities::from_bits_retain(self.u64())
    }

    /// What is known of the session that a text of SQL is sent in.
    pub fn mode(&mut self) -> Mode {
        let bits = self.u8();
        let known = |shift: u8| (bits >> shift & 1 == 1).then_some(bits >> (shift + 1) & 1 == 1);
        Mode {
            no_backslash_escapes: known(0),
            ansi_quotes: known(2),
            plain_charset: bits & 16 != 0,
        }
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The packets of a session: for each turn a `C` or an `S`, the number of its bytes in two bytes, and
    /// its frames as on the wire. The recordings in tests/sessions have the same form, in hexadecimal.
    pub fn session(mut self) -> impl Iterator<Item = Sent<'a>> {
        let mut turn = (From::Client, Input(&[]));
        std::iter::from_fn(move || {
            while turn.1.0.is_empty() {
                if self.0.is_empty() {
                    return None;
                }
                let from = match self.u8() {
                    b'C' => From::Client,
                    _ => From::Server,
                };
                let count = usize::from(self.u16());
                turn = (from, Input(self.bytes(count)));
            }
            let (from, frames) = &mut turn;
            let [a, b, c, seq] = frames.array();
            let announced = u32::from_le_bytes([a, b, c, 0]) as usize;
            Some(Sent {
                from: *from,
                announced,
                seq,
                payload: frames.bytes(announced),
            })
        })
    }
}
