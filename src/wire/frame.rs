//! Packet framing: three bytes of length, one of sequence, then the payload.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>

use std::borrow::Cow;

use super::Put;
use bytes::{BufMut, BytesMut};

/// The size of a frame's header.
pub const HEADER: usize = 4;

/// The most a frame can carry. A frame that carries as much is followed by another of the same
/// packet, an empty one if need be.
pub const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many bytes of payload follow.
    pub len: usize,
    /// The sequence id.
    pub seq: u8,
}

impl Header {
    /// Reads a header at the start of `bytes`; `None` if it is not all there.
    pub const fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [a, b, c, seq, ..] => Some(Self {
                len: u32::from_le_bytes([*a, *b, *c, 0]) as usize,
                seq: *seq,
            }),
            _ => None,
        }
    }

    /// Whether another frame of the same packet follows.
    pub const fn continues(self) -> bool {
        self.len == MAX_PAYLOAD
    }
}

/// Writes `payload` as one or more frames. `seq` is the id of the first and leaves as the id that
/// comes next; it wraps at 256.
pub fn write(payload: &[u8], seq: &mut u8, out: &mut BytesMut) {
    out.reserve(payload.len() + HEADER * (payload.len() / MAX_PAYLOAD + 1));
    let mut left = payload;
    loop {
        let (part, rest) = left.split_at(left.len().min(MAX_PAYLOAD));
        out.put_u24_le(part.len() as u32);
        out.put_u8(*seq);
        out.put_slice(part);
        *seq = seq.wrapping_add(1);
        left = rest;
        if part.len() < MAX_PAYLOAD {
            return;
        }
    }
}

/// The payload of a packet without the headers of its frames.
pub fn payload(frames: &[u8]) -> Cow<'_, [u8]> {
    let Some(header) = Header::parse(frames) else {
        return Cow::Borrowed(&[]);
    };
    let end = HEADER + header.len;
    if frames.len() <= end {
        return Cow::Borrowed(frames.get(HEADER..).unwrap_or_default());
    }
    let mut payload = Vec::with_capacity(frames.len());
    let mut rest = frames;
    while let Some(header) = Header::parse(rest) {
        let end = (HEADER + header.len).min(rest.len());
        payload.extend_from_slice(rest.get(HEADER..end).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    Cow::Owned(payload)
}

/// The sequence number of the packet's last frame.
pub fn last_seq(frames: &[u8]) -> u8 {
    let mut rest = frames;
    let mut seq = 0;
    while let Some(header) = Header::parse(rest) {
        seq = header.seq;
        rest = rest.get(HEADER + header.len..).unwrap_or_default();
    }
    seq
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths and sequence ids of all frames in `bytes`.
    fn headers(mut bytes: &[u8]) -> Vec<(usize, u8)> {
        let mut found = Vec::new();
        while let Some(header) = Header::parse(bytes) {
            found.push((header.len, header.seq));
            bytes = &bytes[HEADER + header.len..];
        }
        assert!(bytes.is_empty());
        found
    }

    fn framed(len: usize, mut seq: u8) -> (Vec<(usize, u8)>, u8) {
        let mut out = BytesMut::new();
        write(&vec![0; len], &mut seq, &mut out);
        (headers(&out), seq)
    }

    #[test]
    fn small_packets_take_one_frame() {
        assert_eq!(framed(0, 3), (vec![(0, 3)], 4));
        assert_eq!(framed(5, 255), (vec![(5, 255)], 0));
    }

    #[test]
    fn large_packets_are_split() {
        let full = MAX_PAYLOAD;
        assert_eq!(framed(full - 1, 0), (vec![(full - 1, 0)], 1));
        assert_eq!(framed(full, 0), (vec![(full, 0), (0, 1)], 2));
        assert_eq!(framed(full + 1, 255), (vec![(full, 255), (1, 0)], 1));
        assert_eq!(framed(2 * full, 0), (vec![(full, 0), (full, 1), (0, 2)], 3));
    }

    #[test]
    fn half_a_header_is_none() {
        assert_eq!(Header::parse(b"\x01\x00\x00"), None);
    }
}
