//! The protocol's own types of values, on top of what `bytes::BufMut` already writes.

use bytes::BufMut;

/// Writes the protocol's types of values to any [`BufMut`].
pub trait Put: BufMut {
    /// A length-encoded integer, in its shortest form.
    fn put_lenenc(&mut self, value: u64) {
        match value {
            0..=0xFA => self.put_u8(value as u8),
            0xFB..=0xFFFF => {
                self.put_u8(0xFC);
                self.put_u16_le(value as u16);
            }
            0x1_0000..=0xFF_FFFF => {
                self.put_u8(0xFD);
                self.put_u24_le(value as u32);
            }
            _ => {
                self.put_u8(0xFE);
                self.put_u64_le(value);
            }
        }
    }

    /// A string behind its length-encoded length.
    fn put_lenenc_bytes(&mut self, value: &[u8]) {
        self.put_lenenc(value.len() as u64);
        self.put_slice(value);
    }

    /// A string and a NUL. A NUL inside would end the string early and shift all that follows, so
    /// only what precedes it is written.
    fn put_nul_terminated(&mut self, value: &[u8]) {
        let end = memchr::memchr(0, value).unwrap_or(value.len());
        self.put_slice(value.get(..end).unwrap_or(value));
        self.put_u8(0);
    }

    /// A three-byte integer, of the low 24 bits of `value`.
    fn put_u24_le(&mut self, value: u32) {
        self.put_uint_le(u64::from(value & 0xFF_FFFF), 3);
    }
}

impl<B: BufMut + ?Sized> Put for B {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_ends_a_string() {
        let mut out = Vec::new();
        out.put_nul_terminated(b"ro\0ot");
        out.put_nul_terminated(b"x");
        out.put_u24_le(0x0102_0304);
        assert_eq!(out, b"ro\0x\0\x04\x03\x02");
    }
}
